"""A small training run with all that can go wrong in it: dropout, noise, Adam, an average. Also a script:

python small_run.py OUT STEPS KILL_AT     kills itself inside step KILL_AT (-1: never)
"""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from lib.training.ema import ExponentialMovingAverage
from lib.training.loop import History, LoopSettings, train_loop
from lib.training.schedule import learning_rate, set_learning_rate
from lib.training.seeding import generator, isolated_seed
from lib.training.state import TrainingState
from lib.vision.batches import Batches


class SmallRun:
    """A network that learns to undo noise; `kill_at` stops the process in the middle of a step."""

    def __init__(self, kill_at: int = -1, signal_number: int = signal.SIGKILL, config=None, fabric=None, random=True):
        torch.set_num_threads(1)
        torch.manual_seed(5)  # dropout draws from the global generator
        with isolated_seed(0):
            self.network = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Dropout(0.3 * random), nn.Linear(16, 2))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-2)
        if fabric is not None:
            self.network, self.optimizer = fabric.setup(self.network, self.optimizer)
        self.average = ExponentialMovingAverage(self.network)
        self.noise = generator(1)
        points = torch.randn(50, 2, generator=generator(2))
        rank, world = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
        self.batches = Batches(points, 16, seed=3, rank=rank, world_size=world)
        self.random = random
        self.kill_at, self.signal_number, self.fabric = kill_at, signal_number, fabric
        self.state = TrainingState(
            kind="small",
            config=config or {"width": 16, "betas": (0.9, 0.999)},
            modules={"net": self.network},
            optimizers={"main": self.optimizer},
            averages={"net": self.average},
            generators={"noise": self.noise},
            fabric=fabric,
        )

    def step(self, index: int) -> dict[str, torch.Tensor]:
        set_learning_rate(self.optimizer, learning_rate(index, base=1e-2, warmup=5, total=60))
        points, _ = self.batches.batch(index)
        noisy = points + self.random * torch.randn(points.shape, generator=self.noise)
        loss = (self.network(noisy) - points).square().mean()
        self.optimizer.zero_grad()
        loss.backward() if self.fabric is None else self.fabric.backward(loss)
        if index == self.kill_at:
            os.kill(os.getpid(), self.signal_number)
        self.optimizer.step()
        self.average.update(self.network)
        return {"loss": loss, "twice": 2 * loss}

    def train(self, out: Path | None, steps: int, resume: bool = False, checkpoint_every: int = 7) -> History:
        settings = LoopSettings(steps, checkpoint_every, out, resume, log_every=4)
        return train_loop(self.step, state=self.state, settings=settings, progress=False)


if __name__ == "__main__":
    SmallRun(int(sys.argv[3])).train(Path(sys.argv[1]), int(sys.argv[2]))
