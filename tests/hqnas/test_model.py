"""The supernet: all open an ordinary network, masked the slice; its gradients say what channels are worth."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.hqnas import super_kernel
from lib.hqnas.config import GateConfig
from lib.hqnas.gates import Gates
from lib.hqnas.model import Network, Supernet, sliced_from
from lib.hqnas.quantizer import fixed_bits
from lib.hqnas.space import PARTS, SearchSpace
from lib.hqnas.super_kernel import scaled_norm
from lib.training.seeding import generator
from tests.hqnas.tiny import TINY, WHOLE, lived_in, some_choices, tiny_space


def images(count: int = 16) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=generator(5))


def plain_forward(supernet: Supernet, x: torch.Tensor, bits: int) -> torch.Tensor:
    """The largest network written out layer by layer, with torch's own fake quantization of activations."""

    def active(y):
        return torch.fake_quantize_per_tensor_affine(y, 6 / 255, 0, 0, 255)

    def norm(y, layer):
        return F.batch_norm(y, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.1, 1e-5)

    def fixed(layer, y, linear=False):
        conv = layer.conv
        y = F.conv2d(y, fixed_bits(layer.weight, 8, supernet.clip), None, conv.stride, conv.kernel // 2, 1, conv.groups)
        y = norm(y, layer.norm)
        return y if linear else active(y)

    def fixed_block(block, y):
        layers = block.layers
        z = fixed(layers["expand"], y) if "expand" in layers else y
        z = fixed(layers["project"], fixed(layers["depthwise"], z), linear=True)
        return y + z if block.skippable else z

    y = fixed(supernet.stem, x)
    if supernet.first:
        y = fixed_block(supernet.first, y)
    for block in supernet.blocks:
        z = active(norm(F.conv2d(y, fixed_bits(block.expand, bits, supernet.clip)), block.expand_norm))
        kernel = fixed_bits(block.depthwise, bits, supernet.clip)
        z = F.conv2d(z, kernel, stride=block.block.stride, padding=2, groups=len(kernel))
        z = active(norm(z, block.depthwise_norm))
        z = norm(F.conv2d(z, fixed_bits(block.project, bits, supernet.clip)), block.project_norm)
        y = y + z if block.block.skippable else z
    if supernet.last:
        y = fixed_block(supernet.last, y)
    if supernet.head:
        y = fixed(supernet.head, y)
    weight = fixed_bits(supernet.classifier.weight, 8, supernet.clip)
    return F.linear(y.mean((2, 3)), weight, supernet.classifier.bias)


@pytest.mark.parametrize("clip", ["shared", "per_width"])
@pytest.mark.parametrize("config", [TINY, WHOLE])
def test_all_open_it_is_the_ordinary_network_at_8_bits(config, clip):
    supernet = lived_in(Supernet(tiny_space(config), GateConfig(clip=clip)))
    logits, decision = supernet(images())
    assert decision.gates.choices() == supernet.space.uniform(8)
    assert torch.allclose(logits, plain_forward(supernet, images(), 8), atol=1e-5)


@pytest.mark.parametrize("clip", ["shared", "per_width"])
@pytest.mark.parametrize("config", [TINY, WHOLE])
@pytest.mark.parametrize("seed", range(5))
def test_slicing_equals_masking(seed, config, clip):
    space = tiny_space(config)
    supernet = lived_in(Supernet(space, GateConfig(clip=clip)), seed)
    choices = some_choices(space, seed)
    masked, _ = supernet(images(), Gates.of(choices))
    network = sliced_from(supernet, choices)
    assert torch.allclose(network(images()), masked, atol=1e-5)
    assert not network.training


@pytest.mark.parametrize("seed", range(3))
def test_in_training_the_slice_has_the_same_gradients(seed):
    """Batch statistics, too: what is trained behind a mask is what is trained after slicing."""
    space = tiny_space()
    choices = some_choices(space, seed)
    supernet = lived_in(Supernet(space), seed).train()
    network = sliced_from(supernet, choices)
    labels = torch.arange(16) % 10
    F.cross_entropy(supernet(images(), Gates.of(choices))[0], labels).backward()
    F.cross_entropy(network(images()), labels).backward()
    for number, block in network.blocks.items():
        source, choice = supernet.blocks[int(number)], choices[int(number)]
        kept = choice.expansion * source.block.in_channels
        edge = (5 - choice.kernel) // 2
        whole = {
            "expand": source.expand.grad[:kept],
            "depthwise": source.depthwise.grad[:kept, :, edge : 5 - edge, edge : 5 - edge],
            "project": source.project.grad[:, :kept],
        }
        for part in PARTS:
            assert torch.allclose(block.layers[part].weight.grad, whole[part], atol=1e-5)
        assert not source.expand.grad[kept:].any()


def test_without_quantization_it_is_a_network_of_floats():
    space = tiny_space()
    supernet = lived_in(Supernet(space, GateConfig(bits=False, start_bits=0)))
    network = sliced_from(supernet, space.uniform(8))
    assert not network.quantized
    assert torch.allclose(network(images()), supernet(images())[0], atol=1e-5)
    assert torch.equal(fixed_bits(network.stem.weight, 0), network.stem.weight)


def test_a_closed_channel_behind_the_normalisation_leaks_its_shift():
    """Why the mask stands after batch normalisation: zeros come out as the shift."""
    norm = nn.BatchNorm2d(2)
    nn.init.constant_(norm.bias, 0.7)
    x = torch.randn(8, 2, 4, 4, generator=generator(0))
    mask = torch.tensor([1.0, 0.0])
    before = scaled_norm(x * mask.view(1, -1, 1, 1), norm)
    after = scaled_norm(x, norm, mask)
    assert torch.allclose(before[:, 1], torch.full((8, 4, 4), 0.7))
    assert not after[:, 1].any()


def test_through_the_kernel_a_gate_would_get_no_gradient():
    """Batch normalisation forgets the scale of what comes in; the mask behind it does not."""
    x = torch.randn(32, 4, 6, 6, generator=generator(0)).double()
    weight = torch.randn(4, 1, 3, 3, generator=generator(1)).double()
    up = torch.randn(32, 4, 6, 6, generator=generator(2)).double()
    norm = nn.BatchNorm2d(4, eps=1e-12).double()

    def slope(before: bool) -> float:
        gate = torch.ones((), dtype=torch.double, requires_grad=True)
        y = F.conv2d(x, weight * gate if before else weight, padding=1, groups=4)
        mask = None if before else gate.expand(4)
        y = F.batch_norm(y, None, None, norm.weight * (1 if mask is None else mask), norm.bias, True)
        (y * up).sum().backward()
        return abs(float(gate.grad))

    assert slope(before=True) < 1e-3 * slope(before=False)


def test_a_closed_gate_still_hears_what_opening_would_bring():
    """Forward nothing passes; backward the gate gets the gradient of the channels that it holds back."""
    space = tiny_space()
    supernet = lived_in(Supernet(space)).train()
    with torch.no_grad():
        supernet.thresholds.levels[:, 1:3] = 10.0  # of expansion and kernel
    logits, decision = supernet(images())
    assert not decision.gates.expansion.any()
    sensitivity = torch.autograd.grad(
        F.cross_entropy(logits, torch.arange(16) % 10), [decision.gates.expansion, decision.gates.kernel]
    )
    assert all((one != 0).all() for one in sensitivity)


def test_a_supernet_can_be_trained_after_one_was_only_evaluated():
    """Constants that are made once are no tensors of inference mode, whoever needs them first."""
    supernet = Supernet(tiny_space())
    for one in (super_kernel._taps, super_kernel._ratios, super_kernel._core_and_ring):
        one.cache_clear()
    with torch.inference_mode():
        supernet(images())
    supernet(images())[0].sum().backward()
    assert supernet.blocks[0].depthwise.grad.any()


def test_a_block_that_is_left_out_passes_its_input_through():
    space = tiny_space()
    supernet = lived_in(Supernet(space))
    block = supernet.blocks[0]
    x = torch.randn(4, 4, 8, 8, generator=generator(0))
    out = block(
        x, (block.expand, block.depthwise, block.project), torch.ones(1, block.middle, 1, 1), torch.zeros(()), True
    )
    assert torch.equal(out, x)


def test_seeds_make_the_same_weights_again():
    one, two, other = (Supernet(tiny_space(), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(one.blocks[0].expand, other.blocks[0].expand)


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_paper_sizes_are_presets_of_the_same_code(name):
    from lib.hqnas.config import preset_named

    config = preset_named(name)
    side = 32 if name == "cifar10" else 224
    space = SearchSpace(config.space, (3, side, side), 10 if name == "cifar10" else 1000)
    assert len(space.blocks) == 20
    assert sum(block.skippable for block in space.blocks) == 15
    assert space.architectures == 4**5 * 5**15  # about 3e13, as the dossier says
    with torch.device("meta"):
        network = Network(space, space.uniform(8))
        logits = network(torch.empty(2, 3, side, side))
    assert logits.shape == (2, space.classes)
    by_shape = sum(conv.parameters for _, conv, _ in space.convs(space.uniform(8)))
    convs = sum(weight.numel() for name, weight in network.named_parameters() if weight.ndim > 1)
    assert convs == by_shape


def test_multiplications_are_those_of_the_book_s_counter():
    from lib.training.multiplies import count_multiplies

    space = tiny_space(WHOLE)
    choices = some_choices(space, 3)
    network = Network(space, choices, quantized=False).eval()
    counted = count_multiplies(lambda: network(torch.zeros(1, 1, 8, 8)))
    assert counted.by_weights == sum(conv.macs for _, conv, _ in space.convs(choices))
