"""How a training is carried out, as opposed to what is trained."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from lib.training.loop import LoopSettings
from lib.training.order import Order
from lib.training.progress import LossCurve
from lib.training.seeding import derive_seed, generator


@dataclass(frozen=True)
class Run:
    """Seed, place, length and devices of one training.

    Attributes:
        seed: of the weights, the data order and all noise.
        out, resume, checkpoint_every: where checkpoints go, whether to go on from one, and how often to write.
        max_steps: stop early, without changing any schedule.
        fabric: a launched Lightning Fabric, for other devices and precisions; None trains on the processor.
        progress, description: the bar and its label. curve: a live figure of the losses.
        workers: processes that read files ahead.
        accumulate: parts in which a step goes through its batch, one after the other: less memory, the same samples in
            each step.
    """

    seed: int = 0
    out: Path | None = None
    resume: bool = False
    checkpoint_every: int = 0
    max_steps: int | None = None
    fabric: Any = None
    progress: bool = True
    description: str = "training"
    curve: LossCurve | None = None
    workers: int = 0
    accumulate: int = 1

    def named(self, description: str) -> Self:
        """The same run under another label."""
        return replace(self, description=description)

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return torch.device("cpu") if self.fabric is None else self.fabric.device

    @property
    def rank(self) -> int:
        """The number of this process among ``world_size``."""
        return 0 if self.fabric is None else self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return 1 if self.fabric is None else self.fabric.world_size

    def loop_settings(self, steps: int) -> LoopSettings:
        """What the training loop is told, for a recipe of so many steps."""
        return LoopSettings(
            steps=min(steps, self.max_steps or steps),
            checkpoint_every=self.checkpoint_every,
            out=self.out,
            resume=self.resume,
        )

    def generator(self, *names: object) -> torch.Generator:
        """A stream of chance of its own for each purpose and process."""
        return generator(derive_seed(self.seed, *names, self.rank), self.device)

    def order(self, count: int, batch_size: int, *names: object) -> Order:
        """Which of ``count`` samples this process sees at each step, in an order of its own for each purpose."""
        return Order(count, batch_size, derive_seed(self.seed, *names), self.rank, self.world_size)
