"""How straight the sampling paths are."""

import torch
from torch import Tensor

from lib.cud.samplers import trajectory


def straightness(points: Tensor, times: Tensor) -> float:
    """S = mean over steps, samples and dimensions of |(x_i - x_{i+1}) / h - (x_start - x_end)|²; 0 for a straight walk.

    Args:
        points: (N + 1, batch, ...), from noise to data.
        times: (N + 1,), falling from 1 to 0.

    Source: Liu et al., "Flow straight and fast", 2022, on a grid.
    """
    h = (times[:-1] - times[1:]).reshape(-1, *([1] * (points.dim() - 1))).to(points)
    velocities = (points[:-1] - points[1:]) / h
    return (velocities - (points[0] - points[-1])).square().mean().item()


def path_straightness(model: torch.nn.Module, noise: Tensor, *, head: int | None = None, steps: int = 64) -> float:
    """S of the Euler walk of ``steps`` intervals from ``noise`` (batch, ...)."""
    walk = trajectory(model, noise, steps, head=head)
    return straightness(walk.points, walk.times)
