"""A nonlinear equation with a known answer, to measure orders: x' = sin(3x) + cos(2t) x."""

import math

import torch
from scipy.integrate import solve_ivp


def nonlinear(x: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """v(x, t) for points (batch, 1) and times (batch,) or a number."""
    t = torch.as_tensor(t, dtype=x.dtype)
    return torch.sin(3 * x) + torch.cos(2 * t.reshape(-1, 1)) * x


def exact(x: float, start: float, end: float) -> float:
    """x(end) for x(start) = x, by SciPy at tolerance 1e-13."""
    walk = solve_ivp(
        lambda t, y: [math.sin(3 * y[0]) + math.cos(2 * t) * y[0]], (start, end), [x], rtol=1e-13, atol=1e-13
    )
    return float(walk.y[0, -1])
