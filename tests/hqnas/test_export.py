"""The ONNX files: the same logits in floats, exactly the trained codes in integers, and nothing that does not fit."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

import lib.hqnas.export
from lib.errors import UserError
from lib.hqnas.config import RecipeConfig, SpaceConfig, StageConfig, scaled
from lib.hqnas.evaluate import accuracy, size_bytes
from lib.hqnas.export import ExportReport, export_onnx, load_onnx, measured_latency, onnx_bytes
from lib.hqnas.folding import RELU6, Folded, Grid, blocks_of, folded, folded_classifier, observed
from lib.hqnas.model import FixedConv, Network
from lib.hqnas.onnx_file import network_of
from lib.hqnas.quantizer import codes, quantize, ranges
from lib.hqnas.retrain import retrain
from lib.hqnas.space import BITS, Choice, SearchSpace, choices_to_list
from lib.hqnas.train import Deployable
from lib.training.run import Run
from lib.vision.data import ImageSet, load_images, to_uint8

STAGES = (StageConfig(4, 1, 2), StageConfig(6, 2, 2))
MIXED = (Choice(3, 3, (2, 4, 8)), None, Choice(5, 6, (8, 2, 4)), Choice(5, 3, (4, 8, 2)))
SPACES = {
    "plain": SearchSpace(SpaceConfig(stem=4, stages=STAGES), (1, 8, 8), 5),
    "whole": SearchSpace(
        SpaceConfig(stem=4, stem_stride=2, first=4, stages=STAGES, last=10, head=12, dropout=0.2), (3, 11, 9), 5
    ),
}


def images_for(space: SearchSpace, count: int = 40, seed: int = 3) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.rand(count, *space.image_shape, generator=chance) * 2 - 1


def network_for(name: str, seed: int = 1, quantized: bool = True) -> Network:
    """Untrained, with factors of both signs and running means and variances as after training."""
    space = SPACES[name]
    network = Network(space, MIXED, seed=seed, quantized=quantized)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=chance))
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=chance))
        network.classifier.weight.mul_(5)
        network.train()
        for _ in range(30):
            network(images_for(space))
    return network.eval().requires_grad_(False)


def layers_of(network: Network) -> dict[str, FixedConv]:
    """Convolutions by the names that they have in the file."""
    layers = {"stem": network.stem} | ({"head": network.head} if network.head else {})
    return layers | {
        f"{name}.{part}": layer for name, block in blocks_of(network) for part, layer in block.layers.items()
    }


def limit_of(weight: Tensor, bits: int, clip: str) -> Tensor:
    return ranges(weight, clip)[BITS.index(bits)]


def constants(content: bytes) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer}


def int8_of(network: Network) -> bytes:
    return onnx_bytes(network, int8=True, calibration=images_for(network.space))


def set_of(space: SearchSpace, count: int = 40) -> ImageSet:
    names = tuple("abcde"[: space.classes])
    labels = torch.arange(count) % space.classes
    return ImageSet("noise", "test", labels, names, space.image_shape, to_uint8(images_for(space, count)))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("quantized", [True, False])
def test_in_floats_the_logits_are_the_same(name, quantized):
    network = network_for(name, quantized=quantized)
    file = network_of(onnx_bytes(network, int8=False), "file")
    expected = copy.deepcopy(network)
    if quantized:
        for layer in layers_of(expected).values():
            layer.weight.copy_(quantize(layer.weight, layer.bits, limit_of(layer.weight, layer.bits, layer.clip)))
        last = expected.classifier.weight
        last.copy_(quantize(last, 8, limit_of(last, 8, expected.clip)))
        expected.quantized = False
    for count in (1, 7):
        x = images_for(network.space, count)
        logits = file(x.numpy())
        assert logits.dtype == np.float32
        assert np.abs(logits - expected(x).numpy()).max() < 1e-4
    assert logits.std(0).max() > 0.1  # there is something to get wrong


@pytest.mark.parametrize("name", SPACES)
def test_the_integers_of_the_file_are_the_trained_codes(name):
    network = network_for(name)
    found = constants(int8_of(network))
    layers = layers_of(network)
    assert {layer.bits for layer in layers.values()} == set(BITS)
    turned = 0
    for place, layer in layers.items():
        expected, step = codes(layer.weight, layer.bits, limit_of(layer.weight, layer.bits, layer.clip))
        negative = layer.norm.weight < 0
        turned += int(negative.sum())
        expected[negative] *= -1
        weight = found[f"{place}.weight"]
        assert weight.dtype == np.int8
        assert np.array_equal(weight, expected.numpy())
        assert np.abs(weight).max() == 2 ** (layer.bits - 1) - 1
        assert not found[f"{place}.weight.zero"].any()
        factor = layer.norm.weight / (layer.norm.running_var + 1e-5).sqrt()
        assert np.allclose(found[f"{place}.weight.scale"], (step.flatten() * factor.abs()).numpy(), rtol=1e-5)
        assert found[f"{place}.bias"].dtype == np.int32
        bias = (layer.norm.bias - layer.norm.running_mean * factor).numpy()
        unit = found[f"{place}.bias.scale"]
        assert (np.abs(found[f"{place}.bias"] * unit - bias) <= 0.51 * unit + 1e-6).all()
    assert turned > 10
    last = network.classifier.weight
    assert np.array_equal(found["classifier.weight"], codes(last, 8, limit_of(last, 8, network.clip))[0].numpy())


@pytest.mark.parametrize("name", SPACES)
def test_the_runtime_computes_with_integers(name, tmp_path):
    network = network_for(name)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    content = int8_of(network)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == len(layers_of(network))
    assert kinds.count("QLinearAdd") == sum(block.skippable for _, block in blocks_of(network)) > 0
    assert kinds.count("QGemm") == kinds.count("QLinearGlobalAveragePool") == 1
    assert not {"Conv", "Gemm", "Add", "DequantizeLinear"} & set(kinds)


def in_integers(network: Network, x: Tensor) -> Tensor:
    """What the file should compute, layer by layer in torch: float64 numbers that stand on grids."""
    grids = observed(network, x)

    def rounded(values: Tensor, grid: Grid) -> tuple[Tensor, float]:
        codes = (values / grid.scale).round().add(grid.zero_point).clamp(0, 255)
        return (codes - grid.zero_point) * grid.scale, grid.scale

    def weights(layer: Folded, scale: float) -> tuple[Tensor, Tensor]:
        unit = scale * layer.scale
        return torch.tensor(layer.weight), torch.tensor(np.round(layer.bias / unit) * unit)

    def convolved(values: Tensor, scale: float, layer: FixedConv, place: str) -> tuple[Tensor, float]:
        shape = layer.conv
        y = torch.nn.functional.conv2d(
            values, *weights(folded(layer), scale), shape.stride, shape.kernel // 2, 1, shape.groups
        )
        return rounded(y, grids[place] if layer.linear else RELU6)

    now = convolved(*rounded(x.double(), grids["image"]), network.stem, "stem")
    for place, block in blocks_of(network):
        start, _ = now
        for part, layer in block.layers.items():
            now = convolved(*now, layer, f"{place}.{part}")
        if block.skippable:
            now = rounded(start + now[0], grids[f"{place}.sum"])
    if network.head:
        now = convolved(*now, network.head, "head")
    mean, scale = rounded(now[0].mean((2, 3)), grids["mean"])
    return torch.nn.functional.linear(mean, *weights(folded_classifier(network), scale))


@pytest.mark.parametrize("name", SPACES)
def test_integers_lose_only_what_eight_bits_lose(name):
    network = network_for(name)
    x = images_for(network.space)
    logits = network_of(int8_of(network), "file")(x.numpy())
    apart = np.abs(logits - in_integers(network, x).numpy())
    # Where two floats round a half to different sides, others follow: that is rare.
    assert (apart < 1e-4).mean() > 0.9
    assert apart.max() < 0.5
    assert np.corrcoef(logits.flatten(), network(x).flatten())[0, 1] > 0.99


def test_grids_reach_what_was_seen_and_have_zero():
    for low, high in ((-1.0, 1.0), (0.2, 3.0), (-3.0, -1.0), (-0.001, 5.0), (-5.0, 0.001), (0.0, 1e-30)):
        grid = Grid.over(low, high)
        assert 0 <= grid.zero_point <= 255
        assert -grid.zero_point * grid.scale <= min(low, 0) + grid.scale / 2
        assert (255 - grid.zero_point) * grid.scale >= max(high, 0) - grid.scale / 2
        assert grid.scale <= max(2 * (max(high, 0) - min(low, 0)) / 255, 1e-15)
    assert Grid.over(0.0, 0.0) == Grid(1.0)
    pixels = (np.arange(256) / 127.5 - 1) / Grid.over(-1.0, 1.0).scale
    assert len(set(np.round(pixels))) == 255  # only the two next to zero become one
    assert pytest.approx(6 / 255) == RELU6.scale


def test_closed_channels_and_dead_weights():
    """A factor of 0 leaves the bias, which must still fit into an integer."""
    network = network_for("plain")
    layer = network.blocks["2"].layers["depthwise"]
    layer.norm.weight[:5] = 0
    layer.norm.bias[:5] = torch.tensor([5.0, -3.0, 0.0, 1e-6, 2.5])
    layer.weight[6] = 0
    network.stem.norm.weight[1] = 1e-20
    network.classifier.weight[2] = 0
    content = int8_of(network)
    found, place = constants(content), "blocks.2.depthwise"
    expected, _ = codes(layer.weight, layer.bits, limit_of(layer.weight, layer.bits, layer.clip))
    assert np.array_equal(np.abs(found[f"{place}.weight"]), np.abs(expected.numpy()))
    assert np.abs(found[f"{place}.bias"].astype(np.int64)).max() <= 2**30 + 64
    bias = found[f"{place}.bias"] * found[f"{place}.bias.scale"].astype(np.float64)
    assert np.allclose(bias[:5], layer.norm.bias[:5], rtol=1e-5)
    x = images_for(network.space)
    logits, ours = network_of(content, "file")(x.numpy()), network(x).numpy()
    assert np.abs(logits - ours).mean() < 0.03 * ours.std()
    floats = network_of(onnx_bytes(network, int8=False), "file")(x.numpy())
    assert np.abs(floats - ours).mean() < 0.03 * ours.std()


@pytest.fixture(scope="module")
def trained() -> Network:
    digits = load_images("embedded")
    stages = (StageConfig(8, 1, 2), StageConfig(12, 2, 1), StageConfig(16, 2, 1))
    space = SearchSpace(SpaceConfig(stem=8, stages=stages), digits.shape, len(digits.class_names))
    choices = (Choice(3, 3, (4, 2, 8)), None, Choice(5, 3, (2, 8, 4)), Choice(3, 3, (8, 4, 2)))
    network, _ = retrain(space, choices, RecipeConfig(steps=120), digits, Run(progress=False))
    return network


@pytest.mark.parametrize("int8", [True, False])
def test_a_trained_network_keeps_its_accuracy(trained, int8, tmp_path):
    digits = load_images("embedded", "test")
    path = tmp_path / "deep" / "digits.onnx"
    report = export_onnx(trained, path, digits, int8=int8, calibration=load_images("embedded"))
    assert isinstance(report, ExportReport)
    assert (report.path, report.form, report.images) == (path, "int8" if int8 else "float32", 497)
    assert report.torch_accuracy == pytest.approx(accuracy(trained, digits))
    assert report.torch_accuracy > 0.8
    assert report.onnx_accuracy > report.torch_accuracy - 0.02
    assert report.agreement > 0.97
    assert 0 <= report.difference < (2.0 if int8 else 1e-4)
    assert report.file_bytes == path.stat().st_size
    assert report.weight_bytes == np.ceil(size_bytes(trained.space, trained.choices))
    read = load_onnx(path)
    assert (read.class_names, read.image_shape, read.form) == (digits.class_names, (1, 8, 8), report.form)
    named = read(digits.tensor().numpy()).argmax(1)
    assert (named == digits.labels.numpy()).mean() == pytest.approx(report.onnx_accuracy)


def test_the_file_tells_all_and_nothing_of_this_machine(tmp_path):
    network = network_for("whole")
    data = set_of(network.space)
    deployable = Deployable(scaled(), network, data.class_names, 1.0, 1.0, "cycles", "device")
    report = export_onnx(deployable, tmp_path / "a.onnx", data, most_lost=1)
    content = report.path.read_bytes()
    model = onnx.load_from_string(content)
    about = {one.key: one.value for one in model.metadata_props}
    assert (about["format"], about["version"], about["form"]) == ("hqnas-network", "1", "int8")
    assert json.loads(about["class_names"]) == list("abcde")
    assert json.loads(about["image_shape"]) == [3, 11, 9]
    assert json.loads(about["pixel_range"]) == [-1, 1]
    assert json.loads(about["policy"]) == choices_to_list(MIXED)
    bits = json.loads(about["bits"])
    assert list(bits.items()) == [(name, bits) for name, _, bits in network.space.convs(MIXED)]
    assert bits["stage 2, block 1, depthwise"] == 2
    for trace in (Path(__file__).parents[2], Path.home(), "site-packages", ".py"):
        assert str(trace).encode() not in content
    assert [one.name for one in tmp_path.iterdir()] == ["a.onnx"]  # nothing beside it
    assert content == onnx_bytes(network, int8=True, calibration=data.tensor(), class_names=data.class_names)


def test_a_network_stays_as_it_was(capfd):
    network = network_for("whole").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    in_training = onnx_bytes(network, int8=True, calibration=images_for(network.space))
    assert network.training
    assert network.quantized
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(layer._forward_hooks for layer in network.modules())
    assert in_training == int8_of(network.eval())
    assert capfd.readouterr() == ("", "")


def test_what_does_not_say_the_same_is_not_written(monkeypatch, tmp_path):
    network, path = network_for("plain"), tmp_path / "a.onnx"
    data = set_of(network.space)
    with pytest.raises(UserError, match=r"a\.onnx was not written: as int8 it names .* of noise rightly"):
        export_onnx(network, path, data, most_lost=-1)
    diverged = copy.deepcopy(network)
    diverged.stem.weight[0, 0, 0, 0] = torch.nan
    for int8 in (True, False):
        with pytest.raises(UserError, match="not finite"):
            export_onnx(diverged, path, data, int8=int8)
    other = onnx_bytes(network_for("plain", seed=2), int8=False, class_names=data.class_names)
    monkeypatch.setattr(lib.hqnas.export, "onnx_bytes", lambda *_, **__: other)
    with pytest.raises(UserError, match="differ by"):
        export_onnx(network, path, data, int8=False)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    export_onnx(network, path, data, int8=False)
    with pytest.raises(UserError, match="cannot be written"):
        export_onnx(network, path / "below.onnx", data, int8=False)
    assert [one.name for one in tmp_path.iterdir()] == ["a.onnx"]


def test_bad_networks_and_images(tmp_path):
    network = network_for("plain")
    space = network.space
    good = images_for(space)
    for wrong in (None, good[:0], good[0], good[:, :, :7], good.byte(), 2 * good, good * torch.nan):
        with pytest.raises(UserError, match=r"1x8x8 numbers in -1 \.\.\. 1"):
            onnx_bytes(network, int8=True, calibration=wrong)
    with pytest.raises(UserError, match="3 class names for 5 outputs"):
        onnx_bytes(network, int8=False, class_names="abc")
    floats = network_for("plain", quantized=False)
    with pytest.raises(UserError, match="without codes"):
        onnx_bytes(floats, int8=True, calibration=good)
    data = set_of(space)
    report = export_onnx(floats, tmp_path / "floats.onnx", data, int8=False)
    assert report.weight_bytes == 4 * sum(conv.parameters for _, conv, _ in space.convs(MIXED))
    for wrong, match in (
        (replace(data, labels=data.labels[:0]), "has no image"),
        (set_of(SPACES["whole"]), "3x11x9 numbers and the network takes 1x8x8"),
        (replace(data, class_names=tuple("abcd")), "other classes"),
    ):
        for one, calibration in ((wrong, None), (data, wrong)):
            with pytest.raises(UserError, match=match):
                export_onnx(network, tmp_path / "a.onnx", one, calibration=calibration)
    deployable = Deployable(scaled(), network, tuple("vwxyz"), 1.0, 1.0, "cycles", "device")
    with pytest.raises(UserError, match="other classes"):
        export_onnx(deployable, tmp_path / "a.onnx", data)
    assert [one.name for one in tmp_path.iterdir()] == ["floats.onnx"]
    read = load_onnx(tmp_path / "floats.onnx")
    for shape in ((1, 8, 8), (2, 1, 8, 9), (2, 3, 8, 8), ()):
        with pytest.raises(UserError, match=r"the network takes \(batch, 1, 8, 8\)"):
            read(np.zeros(shape))


def test_bad_files(tmp_path):
    path = tmp_path / "bad.onnx"
    for missing in (path, tmp_path):
        with pytest.raises(UserError, match="is no file"):
            load_onnx(missing)
    good = int8_of(network_for("plain"))
    for content in (b"", b"RIFF", b"\x08\x0a" * 100, bytes(1000), good[:100], good[: len(good) // 2], good[:-1]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.onnx"):
            load_onnx(path)
    for changes, match in (
        ({"format": "another"}, "no network of ours"),
        ({"version": "2"}, "has version 2"),
        ({"class_names": "["}, "does not say"),
        ({"class_names": '["a"]'}, "does not say"),
        ({"class_names": "5"}, "does not say"),
        ({"image_shape": "[1, 9, 9]"}, "does not say"),
        ({"form": "int4"}, "does not say"),
    ):
        model = onnx.load_from_string(good)
        about = {one.key: one.value for one in model.metadata_props}
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, about | changes)
        onnx.save(model, path)
        with pytest.raises(UserError, match=rf"bad\.onnx .*{match}"):
            load_onnx(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(UserError, match="no network of ours"):
        load_onnx(path)


def test_latency_of_both_forms():
    found = measured_latency(network_for("plain"), rounds=1)
    assert len(found) == 2
    assert all(0 < one.minimum_us <= one.median_us for one in found)
    with pytest.raises(UserError, match="without codes"):
        measured_latency(network_for("plain", quantized=False), rounds=1)


def test_folding_by_hand():
    network = network_for("plain")
    layer = network.stem
    found = folded(layer)
    x = images_for(network.space, 2)
    conv = torch.nn.functional.conv2d(
        x.double(), torch.tensor(found.weight), torch.tensor(found.bias), padding=1
    ).clamp(0, 6)
    assert (conv - layer(x)).abs().max() < 6 / 255 * 0.51
    assert np.array_equal(found.codes * found.scale.reshape(-1, 1, 1, 1), found.weight)
