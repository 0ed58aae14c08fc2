"""Hard decisions with usable gradients: is a norm above its threshold?

    forward   g(x) = 1 if x >= 0 else 0,  x = norm - t
    backward  the slope of a sigmoid at x

(Single-Path NAS's released code; for HQNAS a summary says that hard choices are relaxed.) Norms are compared as ratios
of root mean squares, which do not grow with the width of a layer: with plain norms the sigmoid's slope falls to exactly
0 for wide layers, and their thresholds would never move.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.hqnas.space import BITS, EXPANSIONS, KERNELS, PARTS, Choice, Choices, SearchSpace

ROW = ("skip", "expansion", "kernel", *(f"{part} {bits} bits" for part in PARTS for bits in BITS[1:]))
"""The gates of one block, by name."""
SHAPE_GATES = 3
"""The first of them: those that are not of bits."""


def hard_gate(margin: Tensor, temperature: float = 1.0) -> Tensor:
    """1 where ``margin`` (a norm minus its threshold) is 0 or more, else 0; any shape.

    Backwards it is sigmoid(margin / temperature).
    """
    soft = torch.sigmoid(margin / temperature)
    return (margin >= 0).to(margin.dtype) + (soft - soft.detach())  # the bracket is exactly 0, and has the slope


class Gates(NamedTuple):
    """Every decision of a network, 0 or 1 (or between).

    Attributes:
        skip, expansion, kernel: g_s, g_e and g_k, (blocks,). g_s = 1 keeps the block; where none can be left out it is
            the constant 1.
        bits: g_4 and g_8, (blocks, convolutions, 2).
    """

    skip: Tensor
    expansion: Tensor
    kernel: Tensor
    bits: Tensor

    def detach(self) -> "Gates":
        """Without their history."""
        return Gates(*(one.detach() for one in self))

    def to(self, device: torch.device) -> "Gates":
        """On another device."""
        return Gates(*(one.to(device) for one in self))

    def flat(self) -> Tensor:
        """All of them in one row a block, in the order of ``ROW``: (blocks, 9)."""
        return torch.cat([torch.stack([self.skip, self.expansion, self.kernel], 1), self.bits.flatten(1)], 1)

    def choices(self) -> Choices:
        """What hard gates decide."""
        four, eight = (self.bits[..., place] > 0.5 for place in (0, 1))
        bits = (four.long() + (four & eight).long()).tolist()
        rows = zip(self.skip.tolist(), self.expansion.tolist(), self.kernel.tolist(), bits, strict=True)
        return tuple(
            Choice(KERNELS[int(kernel > 0.5)], EXPANSIONS[int(expansion > 0.5)], tuple(BITS[one] for one in parts))
            if skip > 0.5
            else None
            for skip, expansion, kernel, parts in rows
        )

    @staticmethod
    def of(choices: Choices) -> "Gates":
        """The gates that decide so. A block that is left out has its other gates closed."""
        rows = [(0, 0, 0, [[0, 0]] * len(PARTS)) if one is None else _row(one) for one in choices]
        skip, expansion, kernel, bits = (
            torch.tensor(column, dtype=torch.float32) for column in zip(*rows, strict=True)
        )
        return Gates(skip, expansion, kernel, bits)


def _row(choice: Choice) -> tuple:
    bits = [[float(one > BITS[0]), float(one > BITS[1])] for one in choice.bits]
    return 1, int(choice.expansion == EXPANSIONS[1]), int(choice.kernel == KERNELS[1]), bits


class Thresholds(nn.Module):
    """The learnt thresholds of all blocks: t_s, t_e, t_k, and (t_4, t_8) of each convolution. All start at 0: open.

    Attributes:
        levels: all of them in one row a block, in the order of ``ROW``: (blocks, 9).
        skippable: which blocks can be left out, (blocks,).
    """

    def __init__(self, space: SearchSpace):
        super().__init__()
        self.levels = nn.Parameter(torch.zeros(len(space.blocks), len(ROW)))
        self.register_buffer("skippable", torch.tensor([block.skippable for block in space.blocks]))
        always = torch.zeros(len(space.blocks), SHAPE_GATES, dtype=torch.bool)
        always[:, 0] = ~self.skippable
        self.register_buffer("always", always, persistent=False)

    def shape_and_bits(self) -> tuple[Tensor, Tensor]:
        """(t_s, t_e, t_k), (blocks, 3); and (t_4, t_8) of each convolution, (blocks, convolutions, 2)."""
        shape, bits = self.levels.split([SHAPE_GATES, len(ROW) - SHAPE_GATES], 1)
        return shape, bits.unflatten(1, (len(PARTS), -1))
