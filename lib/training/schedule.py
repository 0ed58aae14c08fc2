"""The learning rate as a pure function of the step: nothing to save, nothing to lose at a restart."""

import math

import torch


def learning_rate(step: int, *, base: float, warmup: int = 0, total: int | None = None, floor: float = 0.0) -> float:
    """Learning rate of `step` (from 0).

    The first `warmup` steps rise linearly and step `warmup - 1` has `base`. With `total` the rate then falls along
    half a cosine and reaches `floor` at step `total`; without it stays at `base`.

    >>> [round(learning_rate(step, base=1.0, warmup=2, total=6), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return base * (step + 1) / warmup
    if total is None:
        return base
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (base - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use `value` for all parameters from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = value
