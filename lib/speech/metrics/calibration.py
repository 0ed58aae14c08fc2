"""Cllr: how good log-likelihood ratios are as such, at all operating points at once (Brümmer and du Preez 2006)."""

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import xlog1py, xlogy

from lib.speech.metrics.detection import DetectionCurve
from lib.speech.metrics.trials import Trials


def cllr(trials: Trials) -> float:
    """Mean cost in bits of scores l that are natural log-likelihood ratios; 1 is what l = 0 throughout costs.

        Cllr = 1 / (2 ln 2) (mean over targets of ln(1 + e^-l) + mean over the others of ln(1 + e^l))

    A score that is infinite on the wrong side makes it infinite.
    """
    targets, nontargets = trials.targets, trials.nontargets
    bits = targets.mean(_softplus(-targets.scores)) + nontargets.mean(_softplus(nontargets.scores))
    return bits / (2 * np.log(2))


def min_cllr(trials: Trials) -> float:
    """Least Cllr that any rising map of the scores can reach, 0 ... 1.

    Isotonic regression (pool adjacent violators) finds that map. What `cllr` is above it is the calibration loss.
    """
    curve = DetectionCurve.of(trials)
    targets, nontargets = np.diff(curve.miss), -np.diff(curve.false_alarm)
    total = targets + nontargets
    posterior = np.clip(isotonic_regression(targets / total, weights=total).x, 0.0, 1.0)
    return float(-(xlogy(targets, posterior) + xlog1py(nontargets, -posterior)).sum() / (2 * np.log(2)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x, dtype=np.float64)
