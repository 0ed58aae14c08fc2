"""The training loop of all systems: it counts, records, saves and resumes; what a step does is the system's."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.errors import UserError
from lib.training.checkpoint import has_checkpoint
from lib.training.progress import LossCurve, progress_bar
from lib.training.state import TrainingState


@dataclass(frozen=True)
class LoopSettings:
    """How long to train, and what to keep.

    steps              optimiser steps in all, those before a resumed start included
    checkpoint_every   steps between two checkpoints; 0 writes one at the end only
    out                folder of the checkpoint; None keeps nothing
    resume             go on from the checkpoint in `out` (from the start when there is none yet)
    log_every          losses are looked at once in so many steps: looking makes a GPU wait
    """

    steps: int
    checkpoint_every: int = 0
    out: Path | None = None
    resume: bool = False
    log_every: int = 50

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"The number of training steps must be 1 or more, not {self.steps}.")
        if self.checkpoint_every < 0 or self.log_every < 1:
            raise UserError("checkpoint_every must be 0 or more, and log_every 1 or more.")
        if self.resume and self.out is None:
            raise UserError("To resume a run, name the folder of its checkpoint.")


@dataclass
class History:
    """Every value that every step returned, and what the run cost (summed over all its parts).

    `history["loss"]` is a float array with one value a step; `history.seconds` is wall time, `cpu_seconds` the time of
    all this process's threads.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.values:
            raise KeyError(f"no '{name}' in this history, only {', '.join(self.values)}")
        return self.values[name]

    @property
    def steps(self) -> int:
        """Number of steps recorded."""
        return len(next(iter(self.values.values()), ()))

    def append(self, block: dict[str, np.ndarray]) -> None:
        """Add a block of consecutive steps. Each step must return the same names."""
        if self.values and self.values.keys() != block.keys():
            raise ValueError(f"a step returned {sorted(block)}, earlier ones {sorted(self.values)}")
        for name, values in block.items():
            self.values[name] = np.concatenate([self.values[name], values]) if name in self.values else values


def train_loop(
    step: Callable[[int], Mapping[str, Tensor]],
    *,
    state: TrainingState,
    settings: LoopSettings,
    progress: bool = True,
    curve: LossCurve | None = None,
    description: str = "training",
) -> History:
    """Call `step(0)`, `step(1)`, ... and keep what they return.

    `step(index)` does one optimiser step and returns named losses, as tensors with one number each. It must draw
    its data from `index` and its noise from the generators in `state`. Then a run that was killed and resumed gives,
    bit for bit on a CPU, the weights and the history of a run that was not.

    Ctrl-C lets the running step end, writes a checkpoint (when `settings.out` is set) and raises KeyboardInterrupt.
    Raises UserError when a loss is not a finite number (nothing is written then), when a checkpoint cannot be read or
    written, or when `out` already holds one and `resume` is not set.
    """
    history, start = _begin(state, settings)
    if start >= settings.steps:
        return history
    clock = _Clock(history)
    pending: list[dict[str, Tensor]] = []
    new = start == 0
    with (
        progress_bar(
            total=settings.steps, initial=start, description=description, quiet=not progress or state.rank > 0
        ) as bar,
        _deferred_interrupt(settings.out is not None and state.world_size == 1) as interrupted,
    ):
        for index in range(start, settings.steps):
            pending.append({name: value.detach() for name, value in step(index).items()})
            done = index + 1
            stopped = bool(interrupted)  # asked once a step: Ctrl-C may come at any line
            last = stopped or done == settings.steps
            save = settings.out is not None and (
                last or (settings.checkpoint_every and done % settings.checkpoint_every == 0)
            )
            if not (last or save or done % settings.log_every == 0):
                continue
            _collect(pending, history, state, first_step=done - len(pending))
            bar.update(len(pending))
            bar.set_postfix_str(_latest(history), refresh=False)
            pending.clear()
            clock.read(history)
            if save:
                state.save(settings.out, _record(done, history), _history_tensors(history), new=new)
                new = False
            if curve is not None and state.rank == 0:
                curve.update(history.values, final=last)
            if stopped:
                break
    if interrupted:
        raise KeyboardInterrupt
    return history


def _begin(state: TrainingState, settings: LoopSettings) -> tuple[History, int]:
    """An empty history and step 0, or those of the checkpoint that is resumed."""
    if settings.out is None or not has_checkpoint(settings.out):
        if settings.resume and state.rank == 0:
            print(f"No checkpoint in {settings.out} yet: starting at step 0.", file=sys.stderr)
        return History(), 0
    if not settings.resume:
        raise UserError(
            f"{settings.out} already holds a checkpoint: resume it, or choose another folder (or remove this one)."
        )
    record, tensors = state.restore(settings.out)
    try:
        values = {name.removeprefix("history."): value.numpy() for name, value in tensors.items()}
        history = History(values, float(record["seconds"]), float(record["cpu_seconds"]))
        done = int(record["step"])
        whole = all(len(series) == done for series in values.values()) and math.isfinite(history.seconds)
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(f"The training record in {settings.out} is damaged: train again.")
    return history, done


def _collect(pending: list[dict[str, Tensor]], history: History, state: TrainingState, first_step: int) -> None:
    """Move a block of losses to the host in one go, average them over the devices, and look for NaN."""
    block = {}
    for name in pending[0]:
        series = torch.stack([values[name] for values in pending])
        if state.world_size > 1:
            series = state.fabric.all_reduce(series, reduce_op="mean")
        block[name] = series.cpu().numpy()
    for name, series in block.items():
        bad = np.flatnonzero(~np.isfinite(series))
        if len(bad):
            raise UserError(
                f"'{name}' became {series[bad[0]]} at step {first_step + int(bad[0])}: training diverged, most "
                "likely because of too high a learning rate or extreme values in the data. Nothing more was written."
            )
    history.append(block)


def _record(done: int, history: History) -> dict[str, Any]:
    return {"step": done, "seconds": history.seconds, "cpu_seconds": history.cpu_seconds}


def _history_tensors(history: History) -> dict[str, Tensor]:
    return {f"history.{name}": torch.from_numpy(series) for name, series in history.values.items()}


def _latest(history: History) -> str:
    return ", ".join(f"{name} {series[-1]:.4g}" for name, series in history.values.items())


class _Clock:
    """Adds the time since it was made to the time of the earlier parts of the run."""

    def __init__(self, history: History):
        self._wall = time.perf_counter() - history.seconds
        self._cpu = time.process_time() - history.cpu_seconds

    def read(self, history: History) -> None:
        history.seconds = time.perf_counter() - self._wall
        history.cpu_seconds = time.process_time() - self._cpu


@contextmanager
def _deferred_interrupt(active: bool) -> Iterator[list[int]]:
    """Ctrl-C fills the list instead of breaking into a step: half a step cannot be resumed.

    A second Ctrl-C breaks in at once. Signals reach the main thread only; elsewhere nothing is deferred.
    """
    caught: list[int] = []
    if not active or threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def remember(number, frame):
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
