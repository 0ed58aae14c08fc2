"""A supernet with parallel branches, as DARTS has it: every shape of a block has its own weights, and all are computed.

The outputs of the branches are added, weighted by a softmax over one number each. Bits, too, are a softmax: the weight
of a branch is the weighted sum of its three quantized versions (as EdMIPS does, cheaper than a branch for each width).
It is here for the price: time and memory grow with the number of branches.
"""

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.hqnas.config import GateConfig
from lib.hqnas.model import _Frame
from lib.hqnas.quantizer import quantize, ranges, relu6
from lib.hqnas.space import BITS, EXPANSIONS, KERNELS, PARTS, Block, SearchSpace
from lib.hqnas.super_kernel import scaled_norm
from lib.training.seeding import isolated_seed


class _Branch(nn.Module):
    """One shape of a block with its own weights, and numbers for its bits."""

    def __init__(self, block: Block, kernel: int, expansion: int, config: GateConfig):
        super().__init__()
        self.convs, self.config = block.convs(kernel, expansion), config
        self.weights = nn.ParameterList()
        self.norms = nn.ModuleList()
        for conv in self.convs:
            shape = (conv.out_channels, conv.in_channels // conv.groups, conv.kernel, conv.kernel)
            self.weights.append(nn.init.kaiming_normal_(torch.empty(shape)))
            self.norms.append(nn.BatchNorm2d(conv.out_channels))
        self.bits = nn.Parameter(torch.zeros(len(PARTS), len(BITS)))

    def forward(self, x: Tensor) -> Tensor:
        quantized = self.config.start_bits > 0
        for place, (conv, weight, norm) in enumerate(zip(self.convs, self.weights, self.norms, strict=True)):
            if quantized:
                weight = self._mixed(weight, self.bits[place].softmax(0))
            x = F.conv2d(x, weight, stride=conv.stride, padding=conv.kernel // 2, groups=conv.groups)
            x = scaled_norm(x, norm)
            if place < len(self.convs) - 1:
                x = relu6(x, quantized)
        return x

    def _mixed(self, weight: Tensor, shares: Tensor) -> Tensor:
        limits = ranges(weight, self.config.clip)
        versions = torch.stack([quantize(weight, bits, limit) for bits, limit in zip(BITS, limits, strict=True)])
        mixed = torch.einsum("b,b...->...", shares, versions)
        return mixed + (weight - weight.detach())  # slope 1, as in the supernet


class BranchedSupernet(_Frame):
    """All shapes of every block side by side; leaving it out is one more branch, without weights."""

    def __init__(self, space: SearchSpace, config: GateConfig | None = None, seed: int = 0):
        config = config or GateConfig()
        with isolated_seed(seed):
            super().__init__(space, config.clip)
            self.branches = nn.ModuleList(
                nn.ModuleList(_Branch(block, k, e, config) for k, e in product(KERNELS, EXPANSIONS))
                for block in space.blocks
            )
        options = len(KERNELS) * len(EXPANSIONS)
        self.alphas = nn.ParameterList(torch.zeros(options + block.skippable) for block in space.blocks)
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channels, height, width) -> logits (batch, classes)."""
        bits = None if self.config.start_bits else 0
        x = self._before(x, bits)
        for block, branches, alpha in zip(self.space.blocks, self.branches, self.alphas, strict=True):
            shares = alpha.softmax(0)
            # A shape of a skippable block has its input added, so that leaving it out means the input alone.
            y = sum(share * branch(x) for share, branch in zip(shares, branches, strict=False))
            x = x + y if block.skippable else y
        return self._behind(x, bits)
