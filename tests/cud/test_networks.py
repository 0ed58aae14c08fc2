"""Networks of Catch-Up Distillation: configs, the paper's parameter counts, each part against a reference."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.cud.model import build_encoder, build_model
from lib.cud.networks import (
    MLPConfig,
    UNetConfig,
    network_config_from_dict,
    presets,
    prior_shakedrop,
    with_shakedrop,
)
from lib.cud.networks.blocks import ResidualBlock, SelfAttention, group_norm
from lib.cud.networks.embedding import TimeEmbedding, sinusoidal_embedding
from lib.errors import UserError
from lib.training.multiplies import count_parameters

PRESETS = [
    "toy_mlp", "toy_encoder", "digits_unet", "digits_encoder", "mnist_unet", "mnist_encoder",
    "cifar10_unet", "cifar10_encoder", "imagenet64_unet",
]  # fmt: skip
TINY = UNetConfig(resolution=8, channels=8, multipliers=(1, 2), blocks=1)


def random_weights(module, seed=0):
    """Give every parameter a value that matters: fresh networks have branches that are nearly silent."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return module


# --- configs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_config_survives_json(name):
    config = getattr(presets, name)()
    again = network_config_from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "unet", "chanels": 16}, "Unknown setting 'chanels'.*channels"),
        ({"kind": "mlp", "phi": 0.75}, "Unknown setting 'phi'"),
        ({"kind": "transformer"}, "'transformer'; give one of mlp, unet"),
        ({"width": 3}, "None; give one of mlp, unet"),
        ([1, 2], "None; give one of mlp, unet"),
        ({"kind": "mlp", "width": 0}, "width is 0"),
        ({"kind": "mlp", "depth": 2.5}, "depth is 2.5"),
        ({"kind": "mlp", "width": True}, "width is True"),
        ({"kind": "mlp", "out_dimension": -1}, "out_dimension is -1"),
        ({"kind": "mlp", "time": "yes"}, "time is 'yes'"),
        ({"kind": "unet", "multipliers": []}, "multipliers is empty"),
        ({"kind": "unet", "multipliers": [1, "2"]}, "multipliers is"),
        ({"kind": "unet", "multipliers": 2}, "multipliers is 2"),
        ({"kind": "unet", "resolution": 7}, "resolution is 7.*multiple of 2"),
        ({"kind": "unet", "channels": 15}, "even number"),
        ({"kind": "unet", "blocks": 0}, "blocks is 0"),
        ({"kind": "unet", "dropout": 1.0}, "dropout is 1.0"),
        ({"kind": "unet", "phi": 1.5}, "phi is 1.5"),
        ({"kind": "unet", "phi": float("nan")}, "phi is nan"),
        ({"kind": "unet", "scale_shift": 1}, "scale_shift is 1"),
        ({"kind": "unet", "time_scale": 0}, "time_scale is 0"),
        ({"kind": "unet", "attention_head_channels": 12}, "does not divide 32"),
        ({"kind": "unet", "out_channels": 0}, "out_channels is 0"),
    ],
)
def test_bad_config_is_one_clear_sentence(values, says):
    with pytest.raises(UserError, match=says) as caught:
        network_config_from_dict(values)
    assert "\n" not in str(caught.value)


def test_config_of_another_kind_is_refused():
    with pytest.raises(UserError, match="not 'unet'"):
        UNetConfig.from_dict(MLPConfig().to_dict())
    with pytest.raises(UserError, match="JSON object"):
        MLPConfig.from_dict("wide")


def test_with_shakedrop():
    assert with_shakedrop(TINY, 0.75) == replace(TINY, phi=0.75)
    assert with_shakedrop(MLPConfig(), None) == MLPConfig()
    with pytest.raises(UserError, match="MLP has no skip connections"):
        with_shakedrop(MLPConfig(), 0.75)


# --- sizes of the paper ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "heads", "parameters"),
    [
        ("mnist_unet", 1, 2_155_201),
        ("mnist_unet", 3, 2_155_201 + 2 * 705),
        ("cifar10_unet", 1, 55_732_739),
        ("cifar10_unet", 3, 55_732_739 + 2 * 7_427),
        ("imagenet64_unet", 1, 295_899_267),
        ("toy_mlp", 1, (3 * 128 + 128) + 2 * (128 * 128 + 128) + (128 * 2 + 2)),
    ],
)
def test_parameter_counts_of_the_paper(name, heads, parameters):
    with torch.device("meta"):  # shapes only, nothing is stored
        model = build_model(getattr(presets, name)(), heads)
    assert count_parameters(model) == parameters


@pytest.mark.parametrize(("name", "parameters"), [("mnist_encoder", 2_155_778), ("cifar10_encoder", 2_208_966)])
def test_parameter_counts_of_the_encoders(name, parameters):
    with torch.device("meta"):
        assert count_parameters(build_encoder(getattr(presets, name)())) == parameters


def test_small_unet_is_small():
    assert 80_000 <= count_parameters(build_model(presets.digits_unet())) <= 110_000


@pytest.mark.parametrize(
    ("name", "at", "heads"),
    [
        ("mnist_unet", {7: 1}, {1}),  # the bottleneck alone
        ("cifar10_unet", {16: 4 + 1, 8: 1}, {1}),  # all encoder blocks, the last decoder block; bottleneck
        ("imagenet64_unet", {32: 3 + 4, 16: 3 + 4, 8: 3 + 4 + 1}, {6, 9, 12}),  # 64 channels a head
        ("digits_unet", {}, set()),
    ],
)
def test_where_attention_sits(name, at, heads):
    config = getattr(presets, name)()
    with torch.device("meta"):
        model = build_model(config)
        seen: dict[int, int] = {}
        for module in model.modules():
            if isinstance(module, SelfAttention):
                module.register_forward_hook(
                    lambda layer, inputs, output: seen.update({output.shape[-1]: seen.get(output.shape[-1], 0) + 1})
                )
        labels = torch.zeros(1, dtype=torch.long) if config.classes else None
        model(torch.zeros(1, *config.input_shape), torch.zeros(1), labels)
    assert seen == at
    assert {module.heads for module in model.modules() if isinstance(module, SelfAttention)} == heads


def test_dropout_and_blocks_of_the_paper():
    with torch.device("meta"):
        cifar, imagenet = build_model(presets.cifar10_unet()), build_model(presets.imagenet64_unet())
    assert {module.p for module in cifar.modules() if isinstance(module, nn.Dropout)} == {0.13}
    assert {module.p for module in imagenet.modules() if isinstance(module, nn.Dropout)} == {0.1}
    # Three levels of five decoder blocks read a skip connection; the two blocks on the way up do not.
    assert cifar.trunk.joins.count(True) == 15
    assert cifar.trunk.joins.count(False) == 2


def test_the_decoder_attends_in_its_last_block_of_the_level():
    with torch.device("meta"):
        trunk = build_model(presets.cifar10_unet()).trunk
    # Five blocks at side 8, up, five at side 16, up, five at side 32: the last one at side 16 has index 10.
    assert [index for index, layer in enumerate(trunk.decoder) if layer.attention is not None] == [10]
    assert [index for index, layer in enumerate(trunk.bottleneck) if layer.attention is not None] == [0]


@pytest.mark.parametrize(("channels", "groups"), [(2, 1), (8, 2), (16, 4), (32, 8), (128, 32), (384, 32), (18, 3)])
def test_groups_hold_four_channels_or_more(channels, groups):
    assert group_norm(channels, 1e-6).num_groups == groups


# --- parts against references ----------------------------------------------------------------------------------


def test_sinusoidal_embedding_is_the_formula():
    t = torch.tensor([0.0, 0.3, 1.0])
    got = sinusoidal_embedding(t, 6)
    frequencies = np.array([1.0, 1e-2, 1e-4])  # from 1 to 1/10000 in equal ratios
    angles = t.numpy()[:, None] * frequencies
    np.testing.assert_allclose(got, np.concatenate([np.cos(angles), np.sin(angles)], 1), atol=1e-6)


def test_time_scale_stretches_time():
    slow, fast = (TimeEmbedding(8, [4], 0, time_scale=scale) for scale in (1.0, 10.0))
    fast.load_state_dict(slow.state_dict())
    t = torch.tensor([0.05])
    torch.testing.assert_close(fast(t)[0], slow(10 * t)[0])
    assert not torch.allclose(fast(t)[0], slow(t)[0])


def reference_group_norm(x, layer):
    batch, channels = x.shape[:2]
    grouped = x.reshape(batch, layer.num_groups, -1)
    centred = grouped - grouped.mean(-1, keepdim=True)
    normed = centred / (grouped.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
    return normed.reshape(x.shape) * layer.weight.view(1, channels, 1, 1) + layer.bias.view(1, channels, 1, 1)


@pytest.mark.parametrize("resample", ["", "up", "down"])
@pytest.mark.parametrize("scale_shift", [False, True])
def test_residual_block_is_its_formula(resample, scale_shift):
    block = random_weights(
        ResidualBlock(8, 12, resample=resample, scale_shift=scale_shift, residual_scale=0.5)
    ).double()
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, 8, 4, 4, generator=draw, dtype=torch.float64)
    time = torch.randn(2, block.time_size, generator=draw, dtype=torch.float64)

    def change(y):
        if resample == "up":
            return y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        if resample == "down":
            return (y[..., ::2, ::2] + y[..., 1::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4
        return y

    hidden = reference_group_norm(x, block.norm_1)
    hidden = F.conv2d(change(hidden * hidden.sigmoid()), block.conv_1.weight, block.conv_1.bias, padding=1)
    bend = time.view(2, -1, 1, 1)
    if scale_shift:
        hidden = reference_group_norm(hidden, block.norm_2) * (1 + bend[:, :12]) + bend[:, 12:]
    else:
        hidden = reference_group_norm(hidden + bend, block.norm_2)
    hidden = F.conv2d(hidden * hidden.sigmoid(), block.conv_2.weight, block.conv_2.bias, padding=1)
    shortcut = torch.einsum("oi,bihw->bohw", block.shortcut.weight[..., 0, 0], change(x))
    expected = 0.5 * (shortcut + block.shortcut.bias.view(1, -1, 1, 1) + hidden)
    torch.testing.assert_close(block(x, time), expected)


def test_residual_block_refuses_a_typing_mistake():
    with pytest.raises(ValueError, match="'dwon'"):
        ResidualBlock(8, 8, resample="dwon")


@pytest.mark.parametrize("head_channels", [None, 4])
def test_self_attention_is_its_formula(head_channels):
    layer = random_weights(SelfAttention(8, head_channels, 0.5, 1e-6)).double()
    x = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    joint = torch.einsum(
        "oi,bip->bop", layer.query_key_value.weight[..., 0, 0], reference_group_norm(x, layer.norm).flatten(2)
    ) + layer.query_key_value.bias.view(1, -1, 1)
    width = head_channels or 8
    parts = []
    for first in range(0, 8, width):
        query, key, value = (joint[:, part * 8 + first : part * 8 + first + width] for part in range(3))
        weights = torch.softmax(torch.einsum("bcp,bcq->bpq", query, key) / math.sqrt(width), dim=-1)
        parts.append(torch.einsum("bpq,bcq->bcp", weights, value))
    summed = torch.einsum("oi,bip->bop", layer.projection.weight[..., 0, 0], torch.cat(parts, 1))
    expected = 0.5 * (x + (summed + layer.projection.bias.view(1, -1, 1)).view_as(x))
    torch.testing.assert_close(layer(x), expected)


def test_mlp_forward_from_its_weights_alone():
    """What the chapter's widget does in JavaScript: matrix products and SiLU on the exported weights."""
    model = build_model(presets.toy_mlp(), heads=2, seed=3)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    assert sorted(weights) == sorted(
        f"{part}.{kind}"
        for part in ("trunk.0", "trunk.2", "trunk.4", "heads.0", "heads.1")
        for kind in ("weight", "bias")
    )
    x = np.array([[0.5, -1.0], [2.0, 0.1]], dtype=np.float32)
    t = np.array([0.25, 0.75], dtype=np.float32)
    hidden = np.concatenate([x, t[:, None]], axis=1)
    for index in (0, 2, 4):
        hidden = hidden @ weights[f"trunk.{index}.weight"].T + weights[f"trunk.{index}.bias"]
        hidden = hidden / (1 + np.exp(-hidden))
    expected = hidden @ weights["heads.1.weight"].T + weights["heads.1.bias"]
    got = model(torch.from_numpy(x), torch.from_numpy(t), head=2).detach()
    np.testing.assert_allclose(got, expected, atol=1e-5)


# --- Prior ShakeDrop -------------------------------------------------------------------------------------------


def test_shakedrop_by_hand():
    backbone, skip = torch.ones(3, 2, 1, 1), torch.ones(3, 1, 1, 1)
    t = torch.tensor([0.0, 0.5, 1.0])
    got = prior_shakedrop(backbone, skip, t, phi=0.75).flatten(1)
    expected = torch.tensor([[1.5, 1.5, 0.5], [1.0, 1.0, 1.0], [0.5, 0.5, 1.5]])
    torch.testing.assert_close(got, expected)


def test_shakedrop_properties():
    draw = torch.Generator().manual_seed(0)
    backbone, skip = torch.randn(4, 3, 2, 2, generator=draw), torch.randn(4, 5, 2, 2, generator=draw)
    t = torch.rand(4, generator=draw)
    assert torch.equal(prior_shakedrop(backbone, skip, t, 0.5), torch.cat([backbone, skip], 1))
    once = prior_shakedrop(backbone, skip, t, 0.75)
    assert torch.equal(once, prior_shakedrop(backbone, skip, t, 0.75))
    torch.testing.assert_close(once, prior_shakedrop(backbone, skip, 1 - t, 0.25))
    for single in (0.3, torch.tensor(0.3)):
        assert torch.equal(
            prior_shakedrop(backbone, skip, single, 0.75),
            prior_shakedrop(backbone, skip, torch.full((4,), 0.3), 0.75),
        )


def test_shakedrop_acts_where_a_skip_is_read_and_nowhere_else():
    """With phi the input of each joined block is the plain one, weighed; no other block's input is touched."""
    plain = random_weights(build_model(TINY)).trunk
    shaken = random_weights(build_model(replace(TINY, phi=0.75))).trunk
    x, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, 1.0])

    def inputs(trunk, names):
        seen = {}
        modules = dict(trunk.named_modules())
        hooks = [
            modules[name].register_forward_pre_hook(lambda module, given, name=name: seen.update({name: given[0]}))
            for name in names
        ]
        with torch.no_grad():
            trunk(x, t)
        for hook in hooks:
            hook.remove()
        return seen

    untouched = [f"encoder.{i}" for i in range(4)] + [f"bottleneck.{i}" for i in range(2)]
    before, after = inputs(plain, [*untouched, "decoder.0"]), inputs(shaken, [*untouched, "decoder.0"])
    assert all(torch.equal(before[name], after[name]) for name in untouched)
    width = before["bottleneck.1"].shape[1]
    expected = prior_shakedrop(before["decoder.0"][:, :width], before["decoder.0"][:, width:], t, 0.75)
    torch.testing.assert_close(after["decoder.0"], expected)
    assert not torch.allclose(after["decoder.0"], before["decoder.0"])

    # The block on the way up receives the very output of the block before it.
    up = shaken.joins.index(False)
    seen = {}
    modules = dict(shaken.named_modules())
    modules[f"decoder.{up - 1}"].register_forward_hook(lambda module, given, output: seen.update(out=output))
    modules[f"decoder.{up}"].register_forward_pre_hook(lambda module, given: seen.update(up=given[0]))
    with torch.no_grad():
        shaken(x, t)
    assert torch.equal(seen["out"], seen["up"])


def test_shakedrop_in_the_network():
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, half, shaken = (random_weights(build_model(replace(TINY, phi=phi))) for phi in (None, 0.5, 0.75))
        assert torch.equal(plain(x, 0.2), half(x, 0.2))
        torch.testing.assert_close(plain(x, 0.5), shaken(x, 0.5))  # p(1/2) = 1/2 for every phi
        assert not torch.allclose(plain(x, 0.2), shaken(x, 0.2))


# --- initialisation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, presets.digits_unet()])
def test_fresh_unet_is_nearly_silent(config):
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    velocity = build_model(config)(x, 0.5)
    assert 0 < velocity.abs().max() < 1e-3


def test_head_starts_at_a_hundred_thousandth():
    head = build_model(TINY, heads=2).heads[1]
    fan_in, fan_out = 8 * 9, 1 * 9
    assert head[0].eps == 1e-6
    assert head[2].weight.abs().max() <= 1e-5 * math.sqrt(6 / (fan_in + fan_out))
    assert head[2].weight.abs().max() > 0.5e-5 * math.sqrt(6 / (fan_in + fan_out))
    assert head[2].bias.abs().max() == 0
