"""Distributions in the plane: small enough to see a whole flow, hard enough to bend it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib.errors import UserError


def ring(count: int, generator: torch.Generator) -> Tensor:
    """Eight Gaussians of standard deviation 0.1 on a circle of radius 2: (count, 2)."""
    angle = torch.randint(0, 8, (count,), generator=generator) * (math.pi / 4)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centres + 0.1 * torch.randn(count, 2, generator=generator)


def checkerboard(count: int, generator: torch.Generator) -> Tensor:
    """The black squares of a 4 x 4 board that covers [-2, 2]²: (count, 2)."""
    row = torch.randint(0, 4, (count,), generator=generator)
    column = 2 * torch.randint(0, 2, (count,), generator=generator) + row % 2
    corner = torch.stack([column, row], dim=1).float() - 2
    return corner + torch.rand(count, 2, generator=generator)


def two_moons(count: int, generator: torch.Generator) -> Tensor:
    """Two interleaved half circles, with noise of 0.08: (count, 2)."""
    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.rand(count, generator=generator) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    moons = 1.5 * (torch.stack([x, y], dim=1) - torch.tensor([0.5, 0.25]))
    return moons + 0.08 * torch.randn(count, 2, generator=generator)


SHAPES: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    shape.__name__: shape for shape in (ring, checkerboard, two_moons)
}


def shape_named(name: str) -> Callable[[int, torch.Generator], Tensor]:
    """The distribution of that name, or a UserError that lists the names."""
    if name not in SHAPES:
        raise UserError(f"the plane has no distribution '{name}': choose one of {', '.join(SHAPES)}.")
    return SHAPES[name]
