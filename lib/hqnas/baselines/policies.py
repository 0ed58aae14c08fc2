"""Networks that nobody searched: random ones that keep a target, and the best of the uniform ones."""

import torch

from lib.errors import UserError
from lib.hqnas.cost import CostTable
from lib.hqnas.space import BITS, EXPANSIONS, KERNELS, PARTS, Choice, Choices, SearchSpace

TRIES = 100_000


def random_choices(space: SearchSpace, source: torch.Generator) -> Choices:
    """Every choice of every block equally likely."""

    def pick(count: int) -> int:
        return int(torch.randint(count, (), generator=source))

    found = []
    for block in space.blocks:
        options = len(KERNELS) * len(EXPANSIONS)
        if block.skippable and pick(options + 1) == options:
            found.append(None)
            continue
        bits = tuple(BITS[pick(len(BITS))] for _ in PARTS)
        found.append(Choice(KERNELS[pick(len(KERNELS))], EXPANSIONS[pick(len(EXPANSIONS))], bits))
    return tuple(found)


def random_within(
    space: SearchSpace, table: CostTable, share: float, source: torch.Generator, least: float = 0.8
) -> Choices:
    """A random policy whose cost is at most this share of the full cost, and at least ``least`` of that.

    Raises:
        UserError: none in 100,000 tries.
    """
    target = table.target(space, share)
    for _ in range(TRIES):
        choices = random_choices(space, source)
        if least * target <= table.of(choices) <= target:
            return choices
    raise UserError(
        f"No random policy in {TRIES:,} costs between {least:g} and 1 times the budget of {share:g}: ask for more."
    )


def uniform_within(space: SearchSpace, table: CostTable, share: float) -> Choices | None:
    """The dearest network with one kernel, expansion and bit-width everywhere that keeps the budget, if any does."""
    target = table.target(space, share)
    every = [space.uniform(bits, kernel, expansion) for bits in BITS for kernel in KERNELS for expansion in EXPANSIONS]
    affordable = [one for one in every if table.of(one) <= target]
    return max(affordable, key=table.of) if affordable else None
