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


def kernel_sums(kernels: Tensor, halves: Tensor) -> Tensor:
    """Sums of squares of the depthwise kernels of all blocks in a row, (channels, 1, 5, 5), with gradients.

    Args:
        halves: which channel belongs to which half of which block (``half_of_channels``).

    Returns:
        (blocks, 2, 2): first and second half of the channels, all 25 taps and the inner nine.
    """
    squares = kernels.square().flatten(1)  # (channels, 25)
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
    above, below = (sums.flatten(-2) @ _ratios(sums.device).to(sums.dtype)).chunk(2, -1)
    start = F.pad(at_start.unsqueeze(-1), (0, 2))  # the first ratio's denominator, and nothing to the others
    return (above / (below + start).clamp_min(_TINY)).clamp_min(_TINY).sqrt()


_TINY = 1e-12


@cache
@torch.inference_mode(False)  # also where they are first needed for an evaluation: training takes them from here
def _ratios(device: torch.device) -> Tensor:
    """Columns 0 to 2: what stands above the line in each ratio of ``kernel_norms``; 3 to 5: what stands below.

    Rows are the sums: all taps and inner nine of the first half of the channels, the same of the second.
    """
    inner = KERNELS[0] ** 2
    share = inner / (KERNELS[1] ** 2 - inner)  # of means, not of sums
    ring, core = [share, -share, share, -share], [0.0, 1.0, 0.0, 1.0]
    first, second, none = [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0] * 4
    return torch.tensor([first, second, ring, none, first, core], device=device).t()


@cache
@torch.inference_mode(False)
def _taps(device: torch.device) -> Tensor:
    """Which of the 25 taps count for a sum: all of them, or the inner nine; (25, 2)."""
    return torch.stack([torch.ones(KERNELS[1] ** 2), inner_taps().flatten()], 1).to(device)


def inner_taps() -> Tensor:
    """1 for the inner 3x3 taps of 5x5, else 0."""
    return F.pad(torch.ones(KERNELS[0], KERNELS[0]), (1, 1, 1, 1))


@cache
@torch.inference_mode(False)
def _core_and_ring(device: torch.device) -> tuple[Tensor, Tensor]:
    """1 for the inner nine taps, 1 for the outer sixteen: both (25,)."""
    core = inner_taps().flatten().to(device)
    return core, 1 - core


def tap_masks(gates: Tensor) -> Tensor:
    """1 for the inner 3x3 taps, g_k for the ring: (n,) -> (n, 1, 5, 5). A kernel times it is w_core + g_k w_ring."""
    core, ring = _core_and_ring(gates.device)
    return torch.addcmul(core, ring, gates[:, None]).view(-1, 1, KERNELS[1], KERNELS[1])


class Channels(nn.Module):
    """The expanded channels of all blocks in a row: whose they are, and which stand in the first half of a block.

    Args:
        counts: how many each block has.

    Attributes:
        halves: see ``half_of_channels``. owner: the same without halves, (blocks, channels). first, second: 1 for the
            channels of any first half, and of any second half, (channels,).
    """

    def __init__(self, counts: Sequence[int]):
        super().__init__()
        self.counts = list(counts)
        halves = half_of_channels(counts)
        first, second = halves.unflatten(0, (-1, 2)).unbind(1)
        named = {"halves": halves, "owner": first + second, "first": first.sum(0), "second": second.sum(0)}
        for name, value in named.items():
            self.register_buffer(name, value, persistent=False)

    def spread(self, gates: Tensor) -> Tensor:
        """To each channel its block's gate: (blocks,) -> (channels,)."""
        return gates @ self.owner

    def masks(self, gates: Tensor) -> Tensor:
        """1 for the first half of a block's channels, g_e for the second; ``gates``: g_e of each channel."""
        return torch.addcmul(self.first, self.second, gates)


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

    def forward(
        self, x: Tensor, weights: tuple[Tensor, Tensor, Tensor], mask: Tensor, keep: Tensor, quantized: bool
    ) -> Tensor:
        """(batch, in, height, width) -> (batch, out, ...).

        Args:
            weights: of the three convolutions, quantized or not. mask: of the channels, (1, channels, 1, 1).
            keep: g_s, one number.
            quantized: whether activations have 8 bits.
        """
        expand, depthwise, project = weights
        y = relu6(scaled_norm(F.conv2d(x, expand), self.expand_norm), quantized)
        y = F.conv2d(y, depthwise, stride=self.block.stride, padding=KERNELS[1] // 2, groups=self.middle)
        y = relu6(scaled_norm(y, self.depthwise_norm), quantized)
        y = F.conv2d(y, project * mask)
        if not self.block.skippable:
            return scaled_norm(y, self.project_norm)
        return x + scaled_norm(y, self.project_norm, keep)
