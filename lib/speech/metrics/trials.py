"""Detection trials, sorted once: whatever is asked of them afterwards costs next to nothing.

A trial is a question with a score: is it this speaker, this language, this keyword? In a *target* trial the answer is
yes. A system accepts at a score at or above its threshold t, and errs in two ways:

    P_miss(t) = share of the target trials with a score < t          P_fa(t) = share of the others with a score >= t

Equal scores move together. Infinite scores are allowed: +inf is accepted at every threshold, -inf only at t = -inf.
Scores that are not float32 are compared as float64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lib.errors import UserError
from lib.speech.metrics.inputs import as_array, as_scores, as_truth, refuse_nan, same_length


@dataclass(frozen=True, eq=False)
class RankedScores:
    """The scores of one kind of trial, ascending.

    scores    float (n,)
    shares    float64 (n + 1,): share of all weight that the i lowest scores carry; None where all weigh the same
    """

    scores: np.ndarray
    shares: np.ndarray | None = None

    def below(self, thresholds: ArrayLike) -> np.ndarray:
        """Share of the weight on scores < threshold, in the shape of `thresholds`."""
        count = np.searchsorted(self.scores, thresholds, side="left")
        return count / len(self.scores) if self.shares is None else self.shares[count]

    def at_or_above(self, thresholds: ArrayLike) -> np.ndarray:
        """Share of the weight on scores >= threshold, in the shape of `thresholds`."""
        count = np.searchsorted(self.scores, thresholds, side="left")
        return (len(self.scores) - count) / len(self.scores) if self.shares is None else 1.0 - self.shares[count]

    def mean(self, values: np.ndarray) -> float:
        """Weighted mean of `values`, one for each of `scores`."""
        return float(values.mean() if self.shares is None else values @ np.diff(self.shares))


@dataclass(frozen=True, eq=False)
class Trials:
    """Target and non-target scores. Make one by `of`, or by `of_two` where they are already apart."""

    targets: RankedScores
    nontargets: RankedScores

    @classmethod
    def of(
        cls,
        scores: ArrayLike | Tensor,
        is_target: ArrayLike | Tensor,
        weights: ArrayLike | Tensor | None = None,
    ) -> "Trials":
        """Trials from `scores` (n,), `is_target` (n,) and, if they do not count alike, positive `weights` (n,).

        Weights matter only relative to those of the same kind. Raises UserError for NaN, for no trial of a kind, and
        for arrays that do not match. O(n log n); with weights several times slower.
        """
        scores = as_scores(scores)
        truth = as_truth(is_target, len(scores))
        # np.compress is several times faster than scores[truth] when targets come in no order
        kinds = truth, ~truth
        pieces = [np.compress(kind, scores) for kind in kinds]
        if weights is None:
            return cls(*_ranked(*pieces))
        weights = as_array(weights, "weights").astype(np.float64, copy=False)
        same_length(len(scores), weights, "weights")
        return cls(*_ranked(*pieces, *(np.compress(kind, weights) for kind in kinds)))

    @classmethod
    def of_two(cls, targets: ArrayLike | Tensor, nontargets: ArrayLike | Tensor) -> "Trials":
        """Trials from the scores of either kind, shapes (n,) and (m,). Raises UserError as `of` does."""
        pieces = as_scores(targets, "target scores"), as_scores(nontargets, "non-target scores")
        kind = np.result_type(*pieces)
        return cls(*_ranked(*(piece.astype(kind) for piece in pieces)))

    def rates(self, thresholds: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """P_fa and P_miss at each threshold, each in the shape of `thresholds`."""
        return self.nontargets.at_or_above(thresholds), self.targets.below(thresholds)


def _ranked(
    targets: np.ndarray,
    nontargets: np.ndarray,
    target_weights: np.ndarray | None = None,
    nontarget_weights: np.ndarray | None = None,
) -> tuple[RankedScores, RankedScores]:
    """Sort both, in place where no weight has to follow."""
    for name, piece in (("target", targets), ("non-target", nontargets)):
        if not len(piece):
            raise UserError(f"There is no {name} trial: misses and false alarms need trials of both kinds.")
    return _rank(targets, target_weights), _rank(nontargets, nontarget_weights)


def _rank(scores: np.ndarray, weights: np.ndarray | None) -> RankedScores:
    if weights is None:
        scores.sort()
        shares = None
    else:
        if not (np.isfinite(weights).all() and weights.min() > 0):
            raise UserError("The weights of the trials must be positive numbers.")
        order = np.argsort(scores)
        scores = scores[order]
        shares = np.concatenate(([0.0], np.cumsum(weights[order])))
        shares /= shares[-1]
    refuse_nan(bool(np.isnan(scores[-1])), "scores")  # sorting puts NaN last
    return RankedScores(scores, shares)
