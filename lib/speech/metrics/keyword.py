"""Keyword spotting's curves: how often a keyword is missed when so many other clips raise a false alarm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lib.errors import UserError
from lib.speech.metrics.detection import DetectionCurve
from lib.speech.metrics.inputs import as_classes, as_table, same_length
from lib.speech.metrics.trials import Trials

GRID = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True, eq=False)
class KeywordCurves:
    """Curves of several keywords on one grid of false-alarm rates.

    false_alarm     float64 (g,): the grid
    false_reject    float64 (keywords, g): lowest false-reject rate of each keyword there
    areas           float64 (keywords,): exact area under each keyword's whole curve, lower is better
    """

    false_alarm: np.ndarray
    false_reject: np.ndarray
    areas: np.ndarray

    @property
    def mean_false_reject(self) -> np.ndarray:
        """float64 (g,): the curves averaged vertically."""
        return self.false_reject.mean(axis=0)

    @property
    def area(self) -> float:
        """Area under the averaged curve, 0 ... 1, lower is better: the mean of the areas."""
        return float(self.areas.mean())


def keyword_curves(
    scores: ArrayLike | Tensor, labels: ArrayLike | Tensor, keywords: Sequence[int], grid: np.ndarray = GRID
) -> KeywordCurves:
    """Curves of `keywords`, numbers of classes, from `scores` (n, classes) and `labels` (n,).

    For a keyword k and a threshold p, a *false reject* is a clip of k with a score for k below p, a *false alarm* any
    other clip, be it of a keyword or not, with a score for k of p or more. The threshold takes every value; straight
    lines join neighbouring points. Scores may be probabilities, or anything that rises with them clip by clip.
    """
    scores = as_table(scores)
    labels = as_classes(labels, scores.shape[1])
    same_length(len(scores), labels)
    keywords = as_classes(keywords, scores.shape[1], "keywords")
    curves = [_curve(scores[:, keyword], labels == keyword, keyword) for keyword in keywords]
    # Where several points share a false-alarm rate, np.interp takes the last, here that of the fewest rejects.
    rejects = [np.interp(grid, curve.false_alarm[::-1], curve.miss[::-1]) for curve in curves]
    return KeywordCurves(np.asarray(grid), np.stack(rejects), np.array([curve.area for curve in curves]))


def _curve(scores: np.ndarray, is_keyword: np.ndarray, keyword: int) -> DetectionCurve:
    if not is_keyword.any() or is_keyword.all():
        raise UserError(f"The curve of keyword {keyword} needs clips of it and clips of others.")
    return DetectionCurve.of(Trials.of(scores, is_keyword))
