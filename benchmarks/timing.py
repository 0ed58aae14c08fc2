"""Two pieces of work, timed in turns in one process: their ratio survives a busy machine, their times do not."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import torch


@dataclass(frozen=True)
class Ratio:
    """How long ours takes for each second of the peer's: below 1 is faster.

    Attributes:
        case, size, peer: what was timed, at which size, against what.
        ratio: median over the rounds. low, high: its quartiles.
        target: the largest ratio that we ask of ourselves.
    """

    case: str
    size: str
    peer: str
    ratio: float
    low: float
    high: float
    target: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the median meets the target."""
        if self.target is None:
            return ""
        return "met" if self.ratio <= self.target else "MISSED"


def compare(
    case: str,
    size: str,
    peer: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    rounds: int,
    repeats: int,
    target: float | None = None,
) -> Ratio:
    """Time ``repeats`` calls of each in ``rounds`` rounds, one right after the other, the order turned every round.

    Time is that of this process on the processor: what other programs do counts for less.
    """
    for work in (ours, theirs):
        for _ in range(max(2, repeats // 4)):
            work()
    ratios = []
    gc.disable()  # a collection in one of the two would be counted as its cost
    try:
        for number in range(rounds):
            pair = (ours, theirs) if number % 2 == 0 else (theirs, ours)
            seconds = {work: _seconds(work, repeats) for work in pair}
            ratios.append(seconds[ours] / seconds[theirs])
    finally:
        gc.enable()
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return Ratio(case, size, peer, median(ratios), low, high, target)


def _seconds(work: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - start
