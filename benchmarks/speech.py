"""Speech metrics: ours beside NumPy's bare sort of the same scores, and beside scikit-learn's curve."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import roc_curve

from benchmarks.timing import Ratio, compare
from lib.speech.metrics.cost import min_dcf
from lib.speech.metrics.detection import DetectionCurve, equal_error_rate
from lib.speech.metrics.trials import Trials

METRICS = {"equal error rate": equal_error_rate, "minDCF of SRE19": min_dcf}


def _trials(count: int, share: float, kind: type, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores, those of targets two deviations higher. With `ties` there are a hundred values or so."""
    chance = np.random.default_rng(0)
    is_target = chance.random(count) < share
    scores = chance.standard_normal(count) + 2.0 * is_target
    return (np.round(scores, 1) if ties else scores).astype(kind), is_target


def sorting(seconds: float) -> Iterator[Ratio]:
    """Whole calls, from unsorted scores to the figure, beside the least that any exact one has to do."""
    count = 10_000_000
    for share, kind, ties in (
        (0.5, np.float64, False),
        (0.01, np.float64, False),
        (0.5, np.float32, False),
        (0.5, np.float64, True),
    ):
        scores, is_target = _trials(count, share, kind, ties)
        size = f"10 M {kind.__name__}, {share:.0%} targets{', many ties' if ties else ''}"
        for name, metric in METRICS.items():
            yield compare(
                name, size, "np.sort",
                lambda: metric(Trials.of(scores, is_target)), lambda: np.sort(scores),  # noqa: B023
                seconds=seconds, target=5.0,
            )  # fmt: skip


def curves(seconds: float) -> Iterator[Ratio]:
    """All operating points, and the equal error rate alone, beside scikit-learn's operating points."""
    scores, is_target = _trials(1_000_000, 0.5, np.float64, False)

    def theirs() -> object:
        return roc_curve(is_target, scores, drop_intermediate=False)

    size = "1 M float64, 50% targets"
    ours = {"all points": DetectionCurve.of, "equal error rate": equal_error_rate}
    for name, work in ours.items():
        yield compare(
            name, size, "sklearn roc_curve",
            lambda: work(Trials.of(scores, is_target)), theirs,  # noqa: B023
            seconds=seconds, target=1.0,
        )  # fmt: skip


def benchmarks(seconds: float) -> Iterator[Ratio]:
    """What the speech chapters measure with."""
    yield from sorting(seconds)
    yield from curves(seconds)
