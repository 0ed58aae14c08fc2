"""The nested quantizer: against torchao and torch on the same tensors, its identities, its gradients."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torchao.quantization.quant_primitives import dequantize_affine, quantize_affine

from lib.hqnas.quantizer import (
    assemble,
    codes,
    fixed_bits,
    gaussian_clip,
    planes,
    quantize,
    ranges,
    relu6,
    shares_of,
    step_size,
)
from lib.hqnas.space import BITS
from lib.training.seeding import generator

SHAPES = [(12, 5, 1, 1), (9, 1, 5, 5), (6, 24, 1, 1)]
PATTERNS = list(itertools.product((0.0, 1.0), repeat=2))


def weight_of(shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


@pytest.mark.parametrize("clip", ["shared", "per_width"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("place", "bits"), list(enumerate(BITS)))
def test_codes_and_values_are_those_of_torchao(shape, place, bits, clip):
    weight = weight_of(shape)
    limit = ranges(weight, clip)[place]
    ours, step = codes(weight, bits, limit)
    most = 2 ** (bits - 1) - 1
    zero = torch.zeros(shape[0], dtype=torch.int32)
    block = (1, *shape[1:])
    theirs = quantize_affine(weight, block, step.flatten(), zero, torch.int8, -most, most)
    assert torch.equal(ours.to(torch.int8), theirs)
    back = dequantize_affine(theirs, block, step.flatten(), zero, torch.int8, -most, most)
    assert torch.allclose(quantize(weight, bits, limit), back, atol=1e-6)


@pytest.mark.parametrize("bits", BITS)
def test_values_are_those_of_torch_s_own_fake_quantization(bits):
    weight = weight_of((7, 3, 1, 1))
    limit = ranges(weight, "shared")[0]
    step = step_size(bits, limit).flatten()
    most = 2 ** (bits - 1) - 1
    theirs = torch.fake_quantize_per_channel_affine(weight, step, torch.zeros(7, dtype=torch.int32), 0, -most, most)
    assert torch.allclose(quantize(weight, bits, limit), theirs, atol=1e-6)


@pytest.mark.parametrize("bits", BITS)
def test_every_level_is_used_and_none_beyond(bits):
    weight = torch.linspace(-1, 1, 4001)[None]
    found, _ = codes(weight, bits, ranges(weight, "shared")[0])
    most = 2 ** (bits - 1) - 1
    assert found.unique().tolist() == list(range(-most, most + 1))


def test_without_the_shrunk_clip_the_largest_weight_would_leave_the_grid():
    weight = torch.tensor([[1.0, -1.0, 0.3]])
    assert (weight / step_size(2, torch.ones(1, 1))).round().abs().max() == 2  # round half to even: 1.5 becomes 2
    found, _ = codes(weight, 2, torch.ones(1, 1))
    assert found.tolist() == [[1.0, -1.0, 0.0]]


@given(st.integers(0, 10_000), st.floats(1e-4, 1e3))
@settings(max_examples=60, deadline=None)
def test_quantizing_the_rest_of_the_rest_equals_quantizing_at_once(seed, scale):
    """s_2 = 5 s_4 = 85 s_8 on one range: Bayesian Bits' recursion gives the plain quantizers' values."""
    weight = scale * weight_of((4, 50), seed).double()
    limit = ranges(weight, "shared")[0]
    two = quantize(weight, 2, limit)
    inside = weight.clamp(-limit * (1 - 1e-6), limit * (1 - 1e-6))
    step4, step8 = step_size(2, limit) / 5, step_size(2, limit) / 85
    rest4 = step4 * ((inside - two) / step4).round()
    rest8 = step8 * ((inside - two - rest4) / step8).round()
    assert torch.allclose(two + rest4, quantize(weight, 4, limit), atol=1e-9 * scale, rtol=0)
    assert torch.allclose(two + rest4 + rest8, quantize(weight, 8, limit), atol=1e-9 * scale, rtol=0)


@pytest.mark.parametrize("clip", ["shared", "per_width"])
@pytest.mark.parametrize(("gates", "bits"), [((0.0, 0.0), 2), ((0.0, 1.0), 2), ((1.0, 0.0), 4), ((1.0, 1.0), 8)])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_assembled_weight_is_the_plain_quantizer_s(shape, gates, bits, clip):
    weight = weight_of(shape)
    found = assemble(weight, shares_of(torch.tensor(gates)), planes(weight, clip))
    assert torch.allclose(found, quantize(weight, bits, ranges(weight, clip)[BITS.index(bits)]), atol=1e-6)
    assert torch.allclose(found, fixed_bits(weight, bits, clip), atol=1e-6)


@pytest.mark.parametrize("gates", PATTERNS)
def test_straight_through_slope_is_one_for_every_pattern(gates):
    weight = weight_of((5, 3, 1, 1)).requires_grad_()
    up = weight_of((5, 3, 1, 1), 1)
    (assemble(weight, shares_of(torch.tensor(gates)), planes(weight)) * up).sum().backward()
    assert torch.equal(weight.grad, up)


@pytest.mark.parametrize("gates", PATTERNS)
def test_gates_get_the_gradient_of_the_sum_of_corrections(gates):
    weight, up = weight_of((5, 8)).double(), weight_of((5, 8), 1).double()
    four, eight = (torch.tensor(one, dtype=torch.double, requires_grad=True) for one in gates)
    parts = planes(weight)
    (assemble(weight, shares_of(torch.stack([four, eight])), parts) * up).sum().backward()
    r4, r8 = parts.corrections.view(2, 5, 8)
    assert torch.allclose(four.grad, (up * (r4 + gates[1] * r8)).sum())
    assert torch.allclose(eight.grad, (up * gates[0] * r8).sum())


def test_a_fixed_width_has_slope_one_and_no_bits_change_nothing():
    weight = weight_of((4, 6)).requires_grad_()
    fixed_bits(weight, 2).sum().backward()
    assert torch.equal(weight.grad, torch.ones(4, 6))
    assert fixed_bits(weight, 0) is weight
    with pytest.raises(ValueError, match="2, 4, 8"):
        fixed_bits(weight, 3)


def test_what_is_not_in_use_counts_for_nothing():
    weight = weight_of((6, 10, 1, 1))
    kept = (torch.arange(10) < 5).float().view(1, -1, 1, 1)
    part = weight[:, :5]
    assert torch.allclose(ranges(weight, "per_width", kept), ranges(part, "per_width"))
    assert torch.allclose(planes(weight, "per_width", columns=kept).ratios, planes(part, "per_width").ratios)
    rows = (torch.arange(6) < 3).float().view(-1, 1, 1, 1)
    assert torch.allclose(planes(weight, "per_width", rows).ratios, planes(weight[:3], "per_width").ratios)


@pytest.mark.parametrize("clip", ["shared", "per_width"])
def test_a_channel_of_zeros_stays_zero_and_finite(clip):
    weight = weight_of((3, 4))
    weight[1] = 0
    found = planes(weight, clip)
    assert torch.isfinite(found.ratios).all()
    assert fixed_bits(weight, 2, clip)[1].abs().max() < 1e-20


@pytest.mark.parametrize("bits", [2, 4])
def test_the_clip_has_the_least_error_for_normal_weights(bits):
    """Against integration on a grid of ranges, and sampled weights: nearby ranges are worse."""
    best = gaussian_clip(bits)
    weight = torch.randn(1, 400_000, generator=generator(3))

    def error(m: float) -> float:
        return float((quantize(weight, bits, torch.tensor([[m]])) - weight).square().mean())

    assert error(best) < min(error(0.85 * best), error(1.15 * best))
    assert best == pytest.approx(
        {2: 1.836, 4: 2.6505}[bits], abs=0.01
    )  # Max, 1960: 3 levels 1.224 apart, 15 levels 0.3534


def test_the_integral_is_the_sampled_error():
    """The exact error of two bits at the best range is 0.1902 of the variance (Max, 1960, three levels)."""
    step = 2 * gaussian_clip(2) / 3
    inner = quad(lambda x: x * x * torch.exp(torch.tensor(-x * x / 2)).item(), 0, step / 2)[0]
    outer = quad(lambda x: (x - step) ** 2 * torch.exp(torch.tensor(-x * x / 2)).item(), step / 2, 12)[0]
    assert 2 * (inner + outer) / (2 * torch.pi) ** 0.5 == pytest.approx(0.1902, abs=5e-4)


def test_errors_of_gaussian_weights_fall_as_the_dossier_measured():
    """One range up to the largest of ten thousand weights: some 70 %, 15 % and 1 %."""
    weight = torch.randn(1, 10_000, generator=generator(0))
    limit = ranges(weight, "shared")[0]
    errors = [float((quantize(weight, bits, limit) - weight).norm() / weight.norm()) for bits in BITS]
    assert 0.6 < errors[0] < 0.9
    assert 0.1 < errors[1] < 0.2
    assert errors[2] < 0.015


def test_activations_are_those_of_torch_s_fake_quantization():
    x = 4 * torch.randn(2, 3, 8, 8, generator=generator(0)) + 2
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    up = torch.randn(x.shape, generator=generator(1))
    left = relu6(ours)
    right = torch.fake_quantize_per_tensor_affine(theirs, 6 / 255, 0, 0, 255)
    assert torch.allclose(left, right, atol=1e-6)
    (left * up).sum().backward()
    (right * up).sum().backward()
    inside = (x > 0.02) & (x < 5.98)  # at the very edge the two disagree by half a step
    assert torch.equal(ours.grad[inside], theirs.grad[inside])
    assert not ours.grad[(x < -0.02) | (x > 6.02)].any()
    assert torch.equal(relu6(x, quantized=False), torch.nn.functional.relu6(x))
