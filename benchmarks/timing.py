"""Two pieces of work, timed in turns in one process: their ratio survives a busy machine, their times do not."""

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import torch

TURN = 0.002
"""Seconds of work in a turn, at least: long against the clock's grain, short against the machine's moods."""
FEWEST = 25
"""Turns of each, at least."""


@dataclass(frozen=True)
class Ratio:
    """How long ours takes for each second of the peer's: below 1 is faster.

    Attributes:
        case, size, peer: what was timed, at which size, against what.
        ratio: median over the pairs of turns. low, high: their quartiles.
        error: standard error of the median, as that of a normal distribution with these quartiles.
        target: the largest ratio that we ask of ourselves.
    """

    case: str
    size: str
    peer: str
    ratio: float
    low: float
    high: float
    error: float
    target: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the median meets the target; how far to trust that, the error beside it says."""
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
    seconds: float,
    target: float | None = None,
) -> Ratio:
    """Time one turn of each, right after the other and in changing order, for ``seconds`` in all.

    Turns are short, so that what disturbs one pair of them disturbs few. Time is that of this process on the processor:
    what other programs do counts for less.
    """
    calls = max(1, math.ceil(TURN / min(_seconds(work, 1) for work in (ours, theirs, ours, theirs))))
    ratios: list[float] = []
    gc.collect()
    gc.disable()  # a collection in one of the two would be counted as its cost
    try:
        start = time.perf_counter()
        while len(ratios) < FEWEST or time.perf_counter() - start < seconds:
            pair = (ours, theirs) if len(ratios) % 2 == 0 else (theirs, ours)
            spent = {work: _seconds(work, calls) for work in pair}
            ratios.append(spent[ours] / spent[theirs])
    finally:
        gc.enable()
    low, _, high = quantiles(ratios, n=4)
    # Of a normal distribution the quartiles lie 1.35 deviations apart, and a median has 1.25 times the error of a mean.
    error = 1.25 * (high - low) / 1.35 / math.sqrt(len(ratios))
    return Ratio(case, size, peer, median(ratios), low, high, error, target)


def _seconds(work: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - start
