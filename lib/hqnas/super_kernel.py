"""The super-kernel: one block whose large kernel contains the small one, and whose many channels contain the few.

    w_eff = w_core + g_k w_ring                    3x3 inside 5x5 (Single-Path NAS, equations restated in its code)
    channels C_b times g_e, the block times g_s    expansion 3 inside 6, nothing inside 3

Single-Path NAS multiplies the depthwise kernel by g_e and g_s. Batch normalisation stands behind it, and two things
follow. A closed channel, all zeros, still puts out the normalisation's shift: so the mask must come after it. And where
it is open, normalisation forgets the scale of what comes in: the gradient that reaches a gate through the kernel is
zero. Our mask stands behind normalisation and ReLU6, on the weights of the projection that read the channels: the same
network, no pass over the activations, a gradient that says what the channels are worth (also behind a closed gate), and
statistics of closed channels that stay fit for use. g_s multiplies what the projection's normalisation puts out.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.hqnas.quantizer import relu6
from lib.hqnas.space import EXPANSIONS, KERNELS, Block

MOMENTUM = 0.1
EPSILON = 1e-5


def kernel_sums(kernels: Sequence[Tensor], halves: Tensor) -> Tensor:
    """Sums of squares of depthwise kernels (channels, 1, 5, 5), with gradients, all blocks at once.

    Args:
        halves: ``half_of_channels`` of these kernels.

    Returns:
        (blocks, 2, 2): first and second half of the channels, all 25 taps and the inner nine.
    """
    squares = torch.cat([kernel.flatten(1) for kernel in kernels]).square()  # (channels of all blocks, 25)
    return (halves @ squares @ _taps(squares.device).to(squares.dtype)).unflatten(0, (-1, 2))


def half_of_channels(counts: Sequence[int]) -> Tensor:
    """Which channels, of all blocks in a row, belong to which half of which block: (2 blocks, channels), of 0 and 1."""
    return torch.block_diag(*[torch.ones(1, count // 2) for count in counts for _ in range(2)])


def kernel_norms(sums: Tensor, at_start: Tensor) -> Tensor:
    """What (t_s, t_e, t_k) are compared with: ratios of root mean squares, with gradients, (..., 3).

    Args:
        sums: of ``kernel_sums``, (..., 2, 2). at_start: the first half's sum when training began, (...).

    In this order: the first half of the channels to what it was at the start; the second half to the first; the ring of
    16 outer taps to the inner 3x3, over all channels. The first two count all 25 taps, whatever the ring's gate says.
    """
    first, second = sums[..., 0].unbind(-1)
    whole, core = sums.sum(-2).unbind(-1)
    inner = KERNELS[0] ** 2
    outer = KERNELS[1] ** 2 - inner
    squares = torch.stack(
        [first / at_start, second / first.clamp_min(_TINY), (whole - core) * (inner / outer) / core.clamp_min(_TINY)],
        -1,
    )
    return squares.clamp_min(_TINY).sqrt()


_TINY = 1e-12


@cache
def _taps(device: torch.device) -> Tensor:
    """Which of the 25 taps count for a sum: all of them, or the inner nine; (25, 2)."""
    return torch.stack([torch.ones(KERNELS[1] ** 2), inner_taps().flatten()], 1).to(device)


def inner_taps() -> Tensor:
    """1 for the inner 3x3 taps of 5x5, else 0."""
    return F.pad(torch.ones(KERNELS[0], KERNELS[0]), (1, 1, 1, 1))


def tap_masks(gates: Tensor) -> Tensor:
    """1 for the inner 3x3 taps, g_k for the ring: (blocks, 1, 1, 5, 5). A kernel times it is w_core + g_k w_ring."""
    core = _taps(gates.device)[:, 1].to(gates.dtype)
    return torch.addcmul(core, 1 - core, gates[:, None]).view(-1, 1, 1, KERNELS[1], KERNELS[1])


def channel_masks(gates: Tensor, halves: Tensor) -> Tensor:
    """1 for the first half of a block's expanded channels, g_e for the second: all blocks' channels in a row.

    Args:
        gates: g_e, (blocks,). halves: see ``half_of_channels``.
    """
    first, second = halves.unflatten(0, (-1, 2)).unbind(1)  # (blocks, channels)
    return first.sum(0) + gates @ second


def scaled_norm(x: Tensor, norm: nn.BatchNorm2d, gate: Tensor | None = None) -> Tensor:
    """Batch normalisation, then times ``gate``: one number, or one a channel. It goes into scale and shift."""
    weight, bias = norm.weight, norm.bias
    if gate is not None:
        weight, bias = weight * gate, bias * gate
    return F.batch_norm(x, norm.running_mean, norm.running_var, weight, bias, norm.training, MOMENTUM, EPSILON)


class SuperBlock(nn.Module):
    """A searched block at its largest: 5x5, expansion 6. What of it is in use the gates say."""

    def __init__(self, block: Block):
        super().__init__()
        self.block = block
        middle = EXPANSIONS[1] * block.in_channels
        self.middle = middle
        self.expand = nn.Parameter(torch.empty(middle, block.in_channels, 1, 1))
        self.depthwise = nn.Parameter(torch.empty(middle, 1, KERNELS[1], KERNELS[1]))
        self.project = nn.Parameter(torch.empty(block.out_channels, middle, 1, 1))
        for weight in (self.expand, self.depthwise, self.project):
            nn.init.kaiming_normal_(weight)
        self.expand_norm, self.depthwise_norm = nn.BatchNorm2d(middle), nn.BatchNorm2d(middle)
        self.project_norm = nn.BatchNorm2d(block.out_channels)
        self.register_buffer("at_start", self.depthwise[: middle // 2].detach().square().sum())

    def forward(
        self, x: Tensor, weights: tuple[Tensor, Tensor, Tensor], mask: Tensor, keep: Tensor, quantized: bool
    ) -> Tensor:
        """(batch, in, height, width) -> (batch, out, ...).

        Args:
            weights: of the three convolutions, quantized or not. mask: of the channels. keep: g_s, one number.
            quantized: whether activations have 8 bits.
        """
        expand, depthwise, project = weights
        y = relu6(scaled_norm(F.conv2d(x, expand), self.expand_norm), quantized)
        y = F.conv2d(y, depthwise, stride=self.block.stride, padding=KERNELS[1] // 2, groups=self.middle)
        y = relu6(scaled_norm(y, self.depthwise_norm), quantized)
        y = F.conv2d(y, project * mask.view(1, -1, 1, 1))
        if not self.block.skippable:
            return scaled_norm(y, self.project_norm)
        return x + scaled_norm(y, self.project_norm, keep)
