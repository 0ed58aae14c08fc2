"""The ONNX file: the same logits, all that one needs to know, and nothing of this machine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import lib.cenet.export
from lib.cenet.config import scaled, with_network
from lib.cenet.export import export_onnx, load_onnx
from lib.cenet.spotter import KeywordModel, Spotter
from lib.errors import UserError

NAMES = ("yes", "no", "größer", "silence")


def spotter_of(network: str, seed: int = 1) -> Spotter:
    """Untrained, with statistics and running means that are not the trivial ones, and graphs that do something."""
    config = with_network(scaled(), network)
    model = KeywordModel(config, len(NAMES), seed).eval().requires_grad_(False)
    chance = torch.Generator().manual_seed(seed)
    features = model.extract(0.1 * torch.randn(16, 16000, generator=chance))
    model.normalise.fit(features)
    model.train()  # running means and variances as after training: else some networks give nothing but zeros
    for norm in (one for one in model.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)):
        norm.momentum = 1.0
    model(features)
    model.eval()
    for graph in getattr(model.network, "graphs", torch.nn.ModuleDict()).values():
        graph.gamma.fill_(0.7)
    return Spotter(config, model, NAMES)


@pytest.fixture(scope="module", params=["cenet-gcn-6", "tc-resnet8", "bc-resnet-1"])
def exported(request, tmp_path_factory) -> tuple[Spotter, Path, float]:
    spotter = spotter_of(request.param)
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    return spotter, path, export_onnx(spotter, path)


def test_the_file_says_what_the_spotter_says(exported):
    spotter, path, difference = exported
    assert 0 <= difference < 1e-4
    read = load_onnx(path)
    sound = 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(5))
    features = spotter.model.extract(sound)
    for batch in (1, 2, 3):
        logits = read(features[:batch].numpy())
        assert logits.dtype == np.float32
        assert np.abs(logits - spotter.logits(sound[:batch]).numpy()).max() < 1e-4
    assert logits.std(0).max() > 1e-3  # there is something to get wrong


def test_it_tells_classes_and_features_and_nothing_of_this_machine(exported):
    spotter, path, _ = exported
    read = load_onnx(path)
    assert read.class_names == NAMES
    assert read.features == spotter.config.features
    assert read.seconds == 1.0
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {one.key for one in model.metadata_props} == {"class_names", "features", "sample_rate", "seconds"}
    (shape,) = (one.type.tensor_type.shape.dim for one in model.graph.input)
    assert [(one.dim_param, one.dim_value) for one in shape] == [("batch", 0), ("", 51), ("", 40)]
    content = path.read_bytes()
    for trace in (Path(__file__).parents[2], Path.home(), "site-packages", ".py", "File "):
        assert str(trace).encode() not in content
    assert [one.name for one in path.parent.iterdir()] == [path.name]  # nothing beside it


def test_a_file_that_would_not_say_the_same_is_not_written(exported, monkeypatch, tmp_path):
    spotter, path, _ = exported
    model = onnx.load(path)
    monkeypatch.setattr(lib.cenet.export, "_exported", lambda network, features: model)
    assert export_onnx(spotter, tmp_path / "same.onnx") < 1e-4
    other = spotter_of(path.stem, seed=2)
    diverged = replace(other, model=KeywordModel(other.config, len(NAMES)))
    next(diverged.model.network.parameters()).data.fill_(torch.nan)
    for wrong in (other, diverged):
        with pytest.raises(UserError, match="differ by"):
            export_onnx(wrong, tmp_path / "wrong.onnx")
    with pytest.raises(UserError, match="cannot be written"):
        export_onnx(spotter, tmp_path / "same.onnx" / "below.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["same.onnx"]


def test_exporting_is_quiet_and_leaves_the_spotter_as_it_was(capfd, monkeypatch, tmp_path):
    spotter = spotter_of("tc-resnet8")
    before = {name: value.clone() for name, value in spotter.model.state_dict().items()}
    export_onnx(spotter, tmp_path / "a.onnx")
    assert capfd.readouterr() == ("", "")
    assert all(torch.equal(before[name], value) for name, value in spotter.model.state_dict().items())


def test_bad_files(tmp_path):
    with pytest.raises(UserError, match="is no file"):
        load_onnx(tmp_path / "missing.onnx")
    with pytest.raises(UserError, match="is no file"):
        load_onnx(tmp_path)
    for content in (b"", b"RIFF", b"\x08\x0a" * 100, bytes(1000)):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.onnx"):
            load_onnx(tmp_path / "bad.onnx")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    foreign = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [x], [y]), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match="says nothing of classes"):
        load_onnx(tmp_path / "foreign.onnx")
