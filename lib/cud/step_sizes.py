"""How far ahead the catch-up term looks: the step h, drawn for each sample.

The grid constant T_N (16 in every published command) bounds the step: h <= 1/T_N, but in discrete time, where h is
drawn up to t. Source: official code, flag ``adapt_cu``.
"""

import math

import torch
from torch import Tensor

from lib.errors import UserError

STRATEGIES = ("uniform", "rule", "fixed")


def draw_step_sizes(
    t: Tensor, strategy: str, grid: int, generator: torch.Generator, *, discrete: bool = False
) -> Tensor:
    """The look-ahead steps h, one a sample: (batch,), non-negative.

    Args:
        t: times of the samples, (batch,), in [ε, 1].
        strategy: ``uniform``: h ~ U(0, 1) / T_N (every published command); ``rule``: h = t / T_N;
            ``fixed``: h = 1 / T_N (the code calls it ``origin``).
        grid: T_N, the number of cells that the unit interval is cut into.
        generator: source of randomness. It is advanced by one draw whatever the strategy.
        discrete: the discrete-time ablation, where t and h are multiples of 1/T_N. With ``uniform`` the step is
            floor(u t T_N) / T_N, which may be 0: the sample is then its own target.

    Raises:
        UserError: unknown strategy, a grid below 1, or ``rule`` in discrete time, which has no multiple to take.
    """
    check_strategy(strategy, grid, discrete=discrete)
    u = torch.rand(t.shape[0], generator=generator, device=generator.device).to(t.device)
    if strategy == "uniform":
        return torch.floor(u * t * grid) / grid if discrete else u / grid
    if strategy == "rule":
        return t / grid
    return torch.full_like(t, 1 / grid)


def check_strategy(strategy: str, grid: int, *, discrete: bool = False) -> None:
    """Refuse an unknown strategy, an impossible grid, or a pair that does not go together."""
    if strategy not in STRATEGIES:
        raise UserError(f"step size '{strategy}' is not known: choose one of {', '.join(STRATEGIES)}.")
    if grid < 1:
        raise UserError(f"the grid constant T_N must be at least 1, not {grid}.")
    if discrete and strategy == "rule":
        raise UserError("step size 'rule' has no discrete form: choose uniform or fixed with discrete time.")


def mean_step_size(strategy: str, grid: int) -> float:
    """E[h] over uniform times: half a cell, but for ``fixed``, which always takes a whole one."""
    check_strategy(strategy, grid)
    return (1.0 if strategy == "fixed" else 0.5) / grid


def expected_lag(strategy: str, grid: int, head: int = 1, ratio: float = 1.0) -> float:
    """λ: by how much time the learnt velocity of a head looks ahead, to first order.

    With constant weights the minimiser obeys v = (w2 u + w1 v(t - i h)) / (w1 + w2). Head 1 chases itself, so its lag
    solves λ_1 = ρ (λ_1 + E[h]) with ρ = w1 / (w1 + w2), that is λ_1 = (w1/w2) E[h]. Head i chases head 1, i steps
    ahead: λ_i = ρ (λ_1 + i E[h]). At w1 = w2 this is λ_i = (i + 1) / 2 · E[h] (our analysis, not a statement of
    the paper).

    Args:
        head: i, counted from 1.
        ratio: w1 / w2. Infinity (the end of the ramp) gives an infinite lag.
    """
    if math.isinf(ratio):
        return math.inf
    step, rho = mean_step_size(strategy, grid), ratio / (1 + ratio)
    return rho * (ratio * step + head * step)
