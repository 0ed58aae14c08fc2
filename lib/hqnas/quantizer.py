"""Bit-sharing: one weight whose coarse codes are contained in the fine ones, and gates that add the corrections.

Symmetric quantization of b bits on the range [-m, m] has 2^b - 1 levels a step s_b = 2 m / (2^b - 1) apart:

    q_b = s_b round(w / s_b),  r_4 = q_4 - q_2,  r_8 = q_8 - q_4
    w_q = q_2 + g_4 (r_4 + g_8 r_8)                                  2, 4 or 8 bits

(The nested form is that of Bayesian Bits' released code; that HQNAS shares bits is in a summary of the paper, how is
our reading.) With one range for all widths s_2 = 5 s_4 = 85 s_8, and quantizing the rest of the rest gives the same
numbers as three plain quantizers: so we compute those and take differences. With a range of its own for each width
("per_width") the sum still telescopes, and 2 bits need not stretch three levels to the largest weight.

Ranges are those of each output channel: what a channel's codes mean does not depend on whether others are there.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from lib.hqnas.space import BITS

JUST_BELOW = 1 - 1e-6
"""A weight equal to m would be rounded to a level beyond the last: the range is clipped this far inside."""


@cache
def gaussian_clip(bits: int) -> float:
    """The range, in standard deviations, with the least square error for normally distributed weights.

    Found by SciPy, as the least of the exact error.
    """
    from scipy.integrate import quad
    from scipy.optimize import minimize_scalar

    levels = 2**bits - 1

    def error(m: float) -> float:
        step = 2 * m / levels
        code = levels // 2
        total = 0.0
        for k in range(code + 1):
            low = max(0.0, (k - 0.5) * step)
            high = (k + 0.5) * step if k < code else math.inf
            total += quad(lambda x, k=k: (x - k * step) ** 2 * math.exp(-x * x / 2), low, high)[0]
        return total

    return float(minimize_scalar(error, bounds=(0.5, 6.0), method="bounded").x)


def step_size(bits: int, limit: Tensor) -> Tensor:
    """s_b for the range [-limit, limit]."""
    return limit * (2 / (2**bits - 1))


@cache
def _constants(clip: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Clips in standard deviations (a huge number: none), and steps of the range 1."""
    clips = [gaussian_clip(bits) if clip == "per_width" and bits < BITS[-1] else 1e9 for bits in BITS]
    steps = [2 / (2**bits - 1) for bits in BITS]
    columns = (torch.tensor(one, dtype=dtype, device=device).view(-1, 1) for one in (clips, steps))
    return tuple(columns)


def ranges(weight: Tensor, clip: str, columns: Tensor | None = None) -> Tensor:
    """m for each bit-width and output channel: (3, channels, 1, ...).

    Args:
        weight: (channels, ...). clip: ``shared`` or ``per_width`` (``lib.hqnas.config.GateConfig``).
        columns: (1, ...), 1 for the inputs and taps that are in use; the others do not count. None: all are.

    A channel without a weight gets a range of nearly nothing, and quantizes to nearly 0.
    """
    found = _ranges(weight.detach().flatten(1), clip, None if columns is None else columns.flatten(1))
    return found.view(len(BITS), -1, *[1] * (weight.ndim - 1))


def _ranges(flat: Tensor, clip: str, columns: Tensor | None) -> Tensor:
    """(channels, n) -> (3, channels, 1); ``columns`` (1, n)."""
    clips, _ = _constants(clip, flat.dtype, flat.device)
    count = flat.shape[1]
    if columns is not None:
        flat, count = flat * columns, columns.sum()
    largest = torch.linalg.vector_norm(flat, ord=torch.inf, dim=1)
    deviation = torch.linalg.vector_norm(flat, dim=1) / count**0.5
    return torch.minimum(largest, clips * deviation).clamp_min_(_TINY).unsqueeze(-1)


_TINY = 1e-30


def codes(weight: Tensor, bits: int, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Whole-number codes -(2^(b-1) - 1) ... 2^(b-1) - 1 of a weight, as floats, and the step between them."""
    step = step_size(bits, limit)
    inside = limit * JUST_BELOW
    return (weight.detach().clamp(-inside, inside) / step).round_(), step


def quantize(weight: Tensor, bits: int, limit: Tensor) -> Tensor:
    """q_b, without a gradient. Weights outside of the range become its last level."""
    found, step = codes(weight, bits, limit)
    return found.mul_(step)


@dataclass(frozen=True)
class Planes:
    """A weight taken apart: q_2 and the two corrections, none with a gradient.

    Attributes:
        coarse: q_2, (channels, ...). corrections: r_4 and r_8, (2, channels * ...).
        ratios: (2,) norms of r_4 and r_8 over that of the weight: scaled, they are what t_4 and t_8 are compared with.
    """

    coarse: Tensor
    corrections: Tensor
    ratios: Tensor


def planes(weight: Tensor, clip: str = "shared", rows: Tensor | None = None, columns: Tensor | None = None) -> Planes:
    """Take a weight apart, all widths at once.

    Args:
        weight: (channels, ...). clip, columns: see ``ranges``.
        rows: (channels, 1, ...), 1 for the output channels that are in use. Norms count those only; ranges are each
            channel's own, so that also a channel that is not in use has its codes.
    """
    flat = weight.detach().flatten(1)
    if columns is not None:
        columns = columns.detach().flatten(1)
    limits = _ranges(flat, clip, columns)
    _, steps = _constants(clip, flat.dtype, flat.device)
    step, inside = limits * steps.unsqueeze(-1), limits * JUST_BELOW
    found = flat.clamp(-inside, inside).div_(step).round_().mul_(step)  # (3, channels, n)
    corrections = found[1:] - found[:-1]
    counted, whole = corrections, flat
    for mask in (columns, None if rows is None else rows.detach().flatten(1)):
        if mask is not None:
            counted, whole = counted * mask, whole * mask
    norms = torch.linalg.vector_norm(counted, dim=(1, 2)) / torch.linalg.vector_norm(whole).clamp_min(_TINY)
    return Planes(found[0].view_as(weight), corrections.flatten(1), norms)


class _Assemble(torch.autograd.Function):
    """q_2 + c_4 r_4 + c_8 r_8: straight through to the weight, with slope 1 for every pattern of gates."""

    @staticmethod
    def forward(ctx, weight: Tensor, shares: Tensor, coarse: Tensor, corrections: Tensor) -> Tensor:
        ctx.save_for_backward(corrections)
        return torch.addmv(coarse.flatten(), corrections.t(), shares).view_as(weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (corrections,) = ctx.saved_tensors
        return gradient, corrections @ gradient.flatten(), None, None


def shares_of(gates: Tensor) -> Tensor:
    """(g_4, g_8) -> what the corrections are multiplied by, (g_4, g_4 g_8); (..., 2).

    So a closed g_4 keeps g_8 from learning.
    """
    four, eight = gates.unbind(-1)
    return torch.stack([four, four * eight], -1)


def assemble(weight: Tensor, shares: Tensor, parts: Planes) -> Tensor:
    """The quantized weight q_2 + g_4 r_4 + g_4 g_8 r_8 for ``shares`` = (g_4, g_4 g_8).

    Backwards the weight gets slope 1, and each share the sum of gradient * correction.
    """
    return _Assemble.apply(weight, shares, parts.coarse, parts.corrections)


class _StraightThrough(torch.autograd.Function):
    """Another value, with slope 1 backwards."""

    @staticmethod
    def forward(ctx, weight: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def fixed_bits(weight: Tensor, bits: int, clip: str = "shared") -> Tensor:
    """A weight of so many bits, with slope 1 backwards; 0 bits: as it is."""
    if not bits:
        return weight
    if bits not in BITS:
        raise ValueError(f"weights have {', '.join(map(str, BITS))} bits, or 0 for none, not {bits}")
    return _StraightThrough.apply(weight, quantize(weight, bits, ranges(weight, clip)[BITS.index(bits)]))


ACTIVATION_LIMIT = 6.0
ACTIVATION_BITS = 8


class _QuantizedReLU6(torch.autograd.Function):
    """One pass forwards and one back; torch's own fake quantization took seventeen times as long on a processor."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        levels = 2**ACTIVATION_BITS - 1
        scaled = x.clamp(0, ACTIVATION_LIMIT).mul_(levels / ACTIVATION_LIMIT)
        return scaled.round_().mul_(ACTIVATION_LIMIT / levels)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, 0.0, ACTIVATION_LIMIT)


def relu6(activations: Tensor, quantized: bool = True) -> Tensor:
    """ReLU6; quantized to 8 unsigned bits on [0, 6], with slope 1 inside."""
    return _QuantizedReLU6.apply(activations) if quantized else torch.nn.functional.relu6(activations)
