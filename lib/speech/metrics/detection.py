"""All operating points of a detector: its curve, the equal error rate, a thinner curve for plots."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import ndtri

from lib.errors import UserError
from lib.speech.metrics.trials import Trials

RAREST = 1e-9
"""On the axes of a DET plot the rates 0 and 1 lie at infinity; for thinning they lie here."""


@dataclass(frozen=True, eq=False)
class DetectionCurve:
    """Operating points in ascending order of their thresholds, from "accept all" to "accept nothing".

    thresholds     float64 (k,): each distinct score, and inf for "accept nothing", even where a score is inf
    false_alarm    float64 (k,): P_fa, falls from 1 to 0
    miss           float64 (k,): P_miss, rises from 0 to 1
    """

    thresholds: np.ndarray
    false_alarm: np.ndarray
    miss: np.ndarray

    @classmethod
    def of(cls, trials: Trials) -> "DetectionCurve":
        """The point of every distinct score: tied scores are accepted and rejected together."""
        thresholds = np.unique(np.concatenate((trials.targets.scores, trials.nontargets.scores)))
        false_alarm, miss = trials.rates(thresholds)
        return cls(np.append(thresholds, np.inf), np.append(false_alarm, 0.0), np.append(miss, 1.0))

    def __len__(self) -> int:
        return len(self.thresholds)

    def at(self, indices: np.ndarray) -> "DetectionCurve":
        """Some of its points."""
        return DetectionCurve(self.thresholds[indices], self.false_alarm[indices], self.miss[indices])

    @property
    def area(self) -> float:
        """Area under P_miss over P_fa, 0 ... 1, lower is better; straight lines join neighbouring points.

        It is the chance that a random non-target scores above a random target, a tie counting half; 1 - area is what
        is elsewhere called the area under the ROC curve.
        """
        return float(np.trapezoid(self.miss[::-1], self.false_alarm[::-1]))

    def convex_hull(self) -> "DetectionCurve":
        """The points on its lower convex hull (ROCCH): no mixture of its thresholds does better than these.

        Between two neighbours of the hull the share of targets among the trials is constant, and from one stretch to
        the next it rises: the hull is an isotonic regression of the labels on the scores.
        """
        targets, nontargets = np.diff(self.miss), -np.diff(self.false_alarm)
        total = targets + nontargets
        return self.at(isotonic_regression(targets / total, weights=total).blocks)

    def thinned(self, points: int = 1000) -> "DetectionCurve":
        """At most so many of its points, that look the same on the normal-deviate axes of a DET plot.

        probit(P_miss) - probit(P_fa) only rises along the curve, and it is the length of the way along it, axis by
        axis. We cut that way into equal stretches and keep the first and the last point in each. So both ends of every
        step longer than a stretch stay, and what goes lies within a stretch of what stays.
        """
        if points < 2:
            raise UserError(f"A curve needs 2 points or more, not {points}.")
        if len(self) <= points:
            return self
        way = _probit(self.miss) - _probit(self.false_alarm)
        stretches = points // 2
        stretch = np.minimum((way - way[0]) / (way[-1] - way[0]) * stretches, stretches - 1).astype(np.int64)
        changes = np.diff(stretch) != 0
        return self.at(np.flatnonzero(np.append(True, changes) | np.append(changes, True)))


def _probit(rates: np.ndarray) -> np.ndarray:
    return ndtri(np.clip(rates, RAREST, 1 - RAREST))


def equal_error_rate(trials: Trials, *, hull: bool = False) -> float:
    """The error rate where misses and false alarms are equally frequent, 0 ... 1.

    As the threshold rises through the distinct scores to "accept nothing", P_miss rises and P_fa falls. Let b be the
    last point with P_miss < P_fa and a the next one. The rate is where the straight line from b to a meets
    P_miss = P_fa:

        EER = P_miss(b) + s (P_miss(a) - P_miss(b)),
        s = (P_fa(b) - P_miss(b)) / (P_fa(b) - P_miss(b) + P_miss(a) - P_fa(a))

    If all scores are equal it is 0.5. With `hull` the line is that of the convex hull of all points instead
    (ROCCH-EER), which is never above the first, and steadier on few trials or many ties.
    """
    if hull:
        curve = DetectionCurve.of(trials).convex_hull()
        after = int(np.argmax(curve.miss >= curve.false_alarm))
        return _crossing(*((curve.false_alarm[i], curve.miss[i]) for i in (after - 1, after)))

    def crossed(threshold: np.floating) -> bool:
        false_alarm, miss = trials.rates(threshold)
        return bool(miss >= false_alarm)

    # No need to walk: both rates are monotone, so the crossing is found by bisection, among the scores of either kind.
    below, above = [], []
    for scores in (trials.targets.scores, trials.nontargets.scores):
        first = bisect_left(scores, True, key=crossed)
        below.extend(scores[max(first - 1, 0) : first])
        above.extend(scores[first : first + 1])
    return _crossing(trials.rates(max(below)), trials.rates(min(above)) if above else (0.0, 1.0))


def _crossing(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Where the line between two points (P_fa, P_miss) meets the diagonal."""
    (false_alarm, miss), (next_false_alarm, next_miss) = before, after
    gap, next_gap = false_alarm - miss, next_miss - next_false_alarm
    return float(miss + gap / (gap + next_gap) * (next_miss - miss))
