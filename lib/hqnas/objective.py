"""How the task's loss and the hardware's cost become one number. T is the target.

    multiplicative   CE * (LAT / T) ** beta              the usual meaning of "Pareto reward" (MnasNet); our reading
    additive         CE + lambda * log(LAT / T)          Single-Path NAS's released code
    hinge            CE + lambda * relu(LAT / T - 1)     nothing to gain below the target
    absolute         CE + lambda * |LAT / T - 1|         at the target, from both sides (TuNAS)

A summary of the paper names a Pareto reward function; its form could not be read. The slope of the multiplicative
form on LAT is CE * beta / LAT * (LAT / T) ** beta: on an easy data set CE goes to 0, and the penalty switches itself
off. The hinge lets gates that have overshot the target stay closed, and so part of the budget unused.
"""

import torch
from torch import Tensor, nn

from lib.hqnas.config import ObjectiveConfig

WITH_TARGET = ("hinge", "absolute")
"""The forms that promise to keep the target."""


class Objective(nn.Module):
    """The loss of a search for a target cost.

    Attributes:
        target: T, in the unit of the device. pressure: a factor of lambda, 1 at first, in the forms with a target; it
            is multiplied by 1 + ``GROWTH`` * (LAT / T - 1) at every step: it grows above the target, and falls below.
    """

    GROWTH = 0.02

    def __init__(self, config: ObjectiveConfig, target: float):
        super().__init__()
        if not target > 0:
            raise ValueError(f"a target is a positive cost, not {target}")
        self.config, self.target = config, target
        self.register_buffer("pressure", torch.ones(()))

    def forward(self, cross_entropy: Tensor, cost: Tensor) -> Tensor:
        """Both one number -> the loss. Weights see the gradient of both, thresholds too."""
        strength, share = self.config.strength, cost / self.target
        if self.config.form == "multiplicative":
            return cross_entropy * share**strength
        if self.config.form == "additive":
            return cross_entropy + strength * share.log()
        over = share - 1
        return cross_entropy + strength * self.pressure * (over.relu() if self.config.form == "hinge" else over.abs())

    @torch.no_grad()
    def press(self, cost: Tensor) -> None:
        """After a step: press harder the longer the cost stays above the target, less below it."""
        if self.config.form in WITH_TARGET:
            self.pressure.mul_(1 + self.GROWTH * (cost / self.target - 1).clamp(-1, 1)).clamp_(0.1, 1e3)
