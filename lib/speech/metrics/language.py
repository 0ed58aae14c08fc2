"""Cavg, the mean cost of the NIST and Oriental language recognition evaluations; the same for dialects.

Each utterance is asked about each of N languages: is it this one? With P_target = 0.5 and both costs 1,

    Cavg = 1/N sum over l of [ P_target P_miss(l) + (1 - P_target) mean over m != l of P_fa(l, m) ]

P_miss(l) is the share of the utterances of l whose score for l is below the threshold, P_fa(l, m) the share of the
utterances of m whose score for l is at or above it; one threshold serves all languages. In an open set the utterances
of no known language together are one more m. A system that accepts all, or nothing, has 0.5.

So Cavg is a detection cost of the N n trials in which every pair (l, m) counts alike, and we compute it as that.
Raises UserError when a language has no utterance: it would count as without error.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from torch import Tensor

from lib.errors import UserError
from lib.speech.metrics.cost import OperatingPoint, cheapest, decide
from lib.speech.metrics.inputs import as_classes, as_table, same_length
from lib.speech.metrics.partitions import equalising_weights
from lib.speech.metrics.trials import Trials

UNKNOWN = -1
"""Label of an utterance in none of the languages."""
CHALLENGE = OperatingPoint(p_target=0.5)


def cavg(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor, threshold: float = 0.0) -> float:
    """Cavg at a threshold fixed beforehand, for `scores` (n, N) and `labels` (n,), 0 ... N - 1 or UNKNOWN.

    0 is the Bayes threshold when scores are detection log-likelihood ratios.
    """
    decision = decide(language_trials(scores, labels, equalised=True), threshold)
    return CHALLENGE.cost(decision.false_alarm, decision.miss)


def min_cavg(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> float:
    """Least Cavg at any one threshold for all languages, exact. Arguments as for `cavg`."""
    decision = cheapest(language_trials(scores, labels, equalised=True), CHALLENGE)
    return CHALLENGE.cost(decision.false_alarm, decision.miss)


def grid_cavg(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor, bins: int = 20) -> float:
    """Least Cavg over `bins` + 1 equally spaced thresholds from the lowest to the highest score: published figures.

    The challenges' scripts compute this. It depends on the scale of the scores, and one outlier spoils it; `min_cavg`
    is never above it. Raises UserError when a score is infinite. Arguments as for `cavg`.
    """
    trials = language_trials(scores, labels, equalised=True)
    ends = [(ranked.scores[0], ranked.scores[-1]) for ranked in (trials.targets, trials.nontargets)]
    lowest, highest = (float(end) for end in (min(low for low, _ in ends), max(high for _, high in ends)))
    if not np.isfinite([lowest, highest]).all():
        raise UserError("A grid of thresholds needs finite scores: clip them, or use the exact minimum.")
    if bins < 1:
        raise UserError(f"A grid of thresholds needs 1 bin or more, not {bins}.")
    return float(CHALLENGE.cost(*trials.rates(np.linspace(lowest, highest, bins + 1))).min())


def language_trials(scores: ArrayLike | Tensor, labels: ArrayLike | Tensor, *, equalised: bool) -> Trials:
    """Every utterance asked about every language, n N trials. Arguments as for `cavg`.

    Plain, they give the pooled equal error rate; `equalised`, every pair of languages weighs the same.
    """
    scores = as_table(scores)
    languages = scores.shape[1]
    labels = as_classes(labels, languages, least=UNKNOWN)
    same_length(len(scores), labels)
    if languages < 2:
        raise UserError("Cavg needs scores for two languages or more.")
    missing = np.setdiff1d(np.arange(languages), labels)
    if missing.size:
        raise UserError(f"No utterance is in language {missing[0]}: Cavg needs one or more in each.")
    is_target = labels[:, None] == np.arange(languages)
    if not equalised:
        return Trials.of(scores.ravel(), is_target.ravel())
    pair = (labels[:, None] + 1) * languages + np.arange(languages)
    return Trials.of(scores.ravel(), is_target.ravel(), equalising_weights(is_target.ravel(), pair.ravel()))


def detection_log_ratios(log_posteriors: ArrayLike | Tensor) -> np.ndarray:
    """Detection log-likelihood ratios (n, N) from a classifier's log-posteriors (n, N) under equal priors.

        l_k = log p_k - log( mean over j != k of p_j )

    It puts all languages on the scale of one threshold.
    """
    logs = as_table(log_posteriors)
    languages = logs.shape[1]
    if languages < 2:
        raise UserError("A ratio needs two languages or more.")
    others = [logsumexp(np.delete(logs, k, axis=1), axis=1) for k in range(languages)]
    return logs - np.stack(others, axis=1) + np.log(languages - 1)
