"""Exponential moving average of a network's weights: smoother than the weights of any one step."""

import copy

import torch
from torch import Tensor, nn

from lib.errors import UserError
from lib.training.devices import unwrapped

STARTS = ("plain", "unbiased", "ramp")


class ExponentialMovingAverage:
    """Keeps `average <- decay * average + (1 - decay) * weights`, once for each call of `update`.

    `start` says what becomes of the weights that the network has at first. After n updates their share would be
    `decay**n`: nearly all of the average for `1 / (1 - decay)` steps, longer than a short run lasts.

    "plain"     they stay: right where the network was trained before
    "unbiased"  they are divided out, as Adam does with its averages: right where they are random. After many updates
                the same as "plain"
    "ramp"      the decay of update i (from 0) is `min(decay, (1 + i) / (10 + i))`: a short memory at first

    Raises UserError for another word.

    `module` is the averaged copy: a whole network, in evaluation mode, without gradients. Buffers are copied.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999, start: str = "ramp"):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must lie in [0, 1), this is {decay}")
        if start not in STARTS:
            raise UserError(f"The average's start is '{start}': choose one of {', '.join(STARTS)}.")
        self.decay = decay
        self.start = start
        self.updates = 0
        self.module = copy.deepcopy(unwrapped(module)).eval().requires_grad_(False)
        self._averages = list(self.module.parameters())

    def current_decay(self) -> float:
        """The decay that the next update will use."""
        if self.start == "ramp":
            return min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self.start == "unbiased":  # the share of the updates so far, of all updates with the next one
            return self.decay * (1 - self.decay**self.updates) / (1 - self.decay ** (self.updates + 1))
        return self.decay

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average a little towards the weights of `module`, which has the same layout."""
        module = unwrapped(module)
        weights = list(module.parameters())
        if self._averages and self._averages[0].device != weights[0].device:
            self.module.to(weights[0].device)  # the network was moved after the average had been made
            self._averages = list(self.module.parameters())
        # One fused call for all weights: a Python loop over them costs more than a small network's step.
        torch._foreach_lerp_(self._averages, weights, 1.0 - self.current_decay())
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights and the number of updates, as one flat dict of tensors."""
        state = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        state["updates"] = torch.tensor(self.updates)
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        weights = {name.removeprefix("module."): value for name, value in state.items() if name != "updates"}
        self.module.load_state_dict(weights)
        self.updates = int(state["updates"])
