"""The straight-line flow between data and noise, and the plain flow-matching loss.

Direction of time, once and for the whole package (the paper's figure and the official code agree):
t = 0 is DATA (x_0) and t = 1 is NOISE (x_1). Sampling walks from t = 1 down to t = 0. Rectified flow and most
later libraries name the ends the other way round: flip the sign of the velocity when you compare code.
"""

import functools

import torch
from torch import Tensor

SMALLEST_TIME = 1e-5
"""ε: times are drawn from [ε, 1], and every look-ahead is held at or above ε."""


def expand_time(t: Tensor, x: Tensor) -> Tensor:
    """Reshape per-sample times (batch,) so that they broadcast over x (batch, ...)."""
    return t.reshape(-1, *([1] * (x.dim() - 1)))


def draw_times(
    batch: int, generator: torch.Generator, *, grid: int | None = None, device: torch.device | None = None
) -> Tensor:
    """Times t ~ U(ε, 1), one a sample: (batch,).

    With ``grid`` = T_N the time is a multiple of 1/T_N in {1/T_N, ..., 1} (the paper's discrete-time ablation).
    """
    if grid is not None:
        steps = torch.randint(1, grid + 1, (batch,), generator=generator, device=generator.device)
        return (steps / grid).to(device)
    times = torch.empty(batch, device=generator.device).uniform_(SMALLEST_TIME, 1, generator=generator)
    return times.to(device)


def interpolate(x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1, for data x0 and noise x1 (batch, ...) and times t (batch,)."""
    return torch.lerp(x0, x1, expand_time(t, x0))


def velocity_target(x0: Tensor, x1: Tensor) -> Tensor:
    """u = x_1 - x_0: the velocity of the straight path, the same at each of its times."""
    return x1 - x0


def clean_estimate(x: Tensor, t: Tensor | float, velocity: Tensor) -> Tensor:
    """x̂_0 = x - t v: where the straight line through x with velocity v meets the data end."""
    if isinstance(t, Tensor) and t.dim() == 1:
        t = expand_time(t, x)
    return x - t * velocity


def flow_matching_loss(predictions: tuple[Tensor, ...], target: Tensor) -> Tensor:
    """L_ori = Σ_i mean (v_i(x_t, t) - (x_1 - x_0))²: every head learns the same straight-path velocity.

    Args:
        predictions: the velocities of the K heads, each (batch, ...).
        target: u = x_1 - x_0, (batch, ...).

    Source: method figure of the official repository; official code (``flows.py``).
    """
    return total([torch.nn.functional.mse_loss(v, target) for v in predictions])


def total(terms: list[Tensor]) -> Tensor:
    """The sum of at least one tensor. Python's own sum would start from 0: one more operation, forwards and back."""
    return functools.reduce(torch.add, terms)
