"""What a network costs on a device, as one table over all choices: exact for hard gates, smooth in between.

The cost of a network is a constant, for the layers that are not searched, and a sum over the convolutions that it has.
With p_e = (1 - g_e, g_e), p_k = (1 - g_k, g_k), p_b = (1 - g_4, g_4 (1 - g_8), g_4 g_8) for each block and convolution

    LAT = const + sum_l g_s,l  sum_conv,e,k,b  p_e p_k p_b TABLE[l, conv, e, k, b]

is multilinear in the gates (after Single-Path NAS, whose published table this generalises; the form is our reading).
It is computed as what it means: a gate leads from the cost without it to the cost with it, one inside the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.errors import UserError
from lib.hqnas.gates import Gates
from lib.hqnas.space import BITS, EXPANSIONS, FIXED_BITS, KERNELS, PARTS, Choice, Choices, Conv, SearchSpace


@dataclass(frozen=True)
class CostTable:
    """The cost of every choice on one device.

    Attributes:
        table: float32 (blocks, convolutions, expansions, kernels, bits), with the options in the order of
            ``EXPANSIONS``, ``KERNELS`` and ``BITS``. Where a device was measured block by block, the whole block's cost
            stands with its first convolution.
        constant: of the layers that every network has. unit: of both, as "kilocycles".
        device: its name.
    """

    table: Tensor
    constant: float
    unit: str
    device: str

    def __post_init__(self):
        shape = (len(PARTS), len(EXPANSIONS), len(KERNELS), len(BITS))
        if self.table.ndim != 5 or tuple(self.table.shape[1:]) != shape:
            raise ValueError(f"a table of costs has shape (blocks, {', '.join(map(str, shape))})")

    def expected(self, gates: Gates) -> Tensor:
        """The cost of gates, hard or between 0 and 1: one number, with gradients."""
        two, four, eight = self.table.to(gates.skip.device).unbind(-1)  # (blocks, convolutions, expansions, kernels)
        g4, g8 = gates.bits[..., None, None, :].unbind(-1)
        # g_8 stands in the brackets of g_4, as in the quantizer.
        by_bits = torch.lerp(two, torch.lerp(four, eight, g8), g4).sum(1)
        by_kernel = torch.lerp(*by_bits.unbind(-1), gates.kernel[:, None])  # (blocks, expansions)
        return self.constant + gates.skip @ torch.lerp(*by_kernel.unbind(-1), gates.expansion)

    def of(self, choices: Choices) -> float:
        """The cost of one network."""
        return self.constant + sum(sum(parts) for parts in self.shares(choices))

    def shares(self, choices: Choices) -> list[list[float]]:
        """The cost of each convolution of each block; empty for a block that is left out."""
        found = []
        for row, choice in zip(self.table.tolist(), choices, strict=True):
            if choice is None:
                found.append([])
                continue
            expansion, kernel = EXPANSIONS.index(choice.expansion), KERNELS.index(choice.kernel)
            found.append(
                [part[expansion][kernel][BITS.index(bits)] for part, bits in zip(row, choice.bits, strict=True)]
            )
        return found

    def full(self, space: SearchSpace) -> float:
        """The cost of the largest network at 8 bits: what budgets are shares of."""
        return self.of(space.uniform(BITS[-1]))

    def cheapest(self, space: SearchSpace) -> Choices:
        """The network that costs least. On a measured device that need not be the smallest."""
        choices = []
        for block, row in zip(space.blocks, self.table, strict=True):
            least, bits = row.min(-1)  # over the bits: (convolutions, expansions, kernels)
            whole = least.sum(0)
            expansion, kernel = divmod(int(whole.argmin()), len(KERNELS))
            chosen = tuple(BITS[int(one)] for one in bits[:, expansion, kernel])
            choices.append(None if block.skippable else Choice(KERNELS[kernel], EXPANSIONS[expansion], chosen))
        return tuple(choices)

    def target(self, space: SearchSpace, share: float) -> float:
        """The budget, in the unit of the device, that is this share of the full cost.

        Raises:
            UserError: no network of the space is that cheap.
        """
        full, least = self.full(space), self.of(self.cheapest(space))
        if share * full < least:
            raise UserError(
                f"A budget of {share:g} of the full cost is impossible on {self.device}: the cheapest network of this "
                f"space takes {least / full:.3f} of it ({least:,.4g} of {full:,.4g} {self.unit}); ask for more."
            )
        return share * full


def table_of(space: SearchSpace, device: str, unit: str, cost: Callable[[Conv, int], float]) -> CostTable:
    """The table of a device that gives each convolution a cost: ``cost(conv, weight_bits) -> float``.

    Args:
        cost: of one ``Conv`` for one image, with activations of 8 bits.
    """
    table = torch.zeros(len(space.blocks), len(PARTS), len(EXPANSIONS), len(KERNELS), len(BITS))
    for number, block in enumerate(space.blocks):
        for e, expansion in enumerate(EXPANSIONS):
            for k, kernel in enumerate(KERNELS):
                for part, conv in enumerate(block.convs(kernel, expansion)):
                    for b, bits in enumerate(BITS):
                        table[number, part, e, k, b] = cost(conv, bits)
    return CostTable(table, float(sum(cost(conv, FIXED_BITS) for conv in space.fixed.values())), unit, device)


def conv_costs(space: SearchSpace, choices: Choices, cost: Callable[[Conv, int], float]) -> list[tuple[str, float]]:
    """(name, cost) of every convolution of one network, the fixed layers included."""
    return [(name, float(cost(conv, bits))) for name, conv, bits in space.convs(choices)]
