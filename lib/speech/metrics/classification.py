"""Which class: accuracy, the confusion matrix, and how far to trust a share of few cases."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from torch import Tensor

from lib.errors import UserError
from lib.speech.metrics.inputs import as_classes, same_length


def confusion_matrix(labels: ArrayLike | Tensor, predictions: ArrayLike | Tensor, classes: int) -> np.ndarray:
    """int64 (classes, classes): how often what is in class i (row) was taken for class j (column).

    `labels` and `predictions` have the shape (n,) and numbers 0 ... classes - 1. Raises UserError for others.
    """
    labels, predictions = as_classes(labels, classes), as_classes(predictions, classes, "predictions")
    same_length(len(predictions), labels)
    return np.bincount(classes * labels + predictions, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: np.ndarray) -> float:
    """Share of all cases on the diagonal of a confusion matrix."""
    return float(np.trace(matrix) / matrix.sum())


def class_accuracies(matrix: np.ndarray) -> np.ndarray:
    """float64 (classes,): share of each class's cases that were recognised; NaN for a class without cases."""
    cases = matrix.sum(axis=1)
    return np.divide(np.diagonal(matrix), cases, out=np.full(len(matrix), np.nan), where=cases > 0)


def macro_f1(matrix: np.ndarray) -> float:
    """Mean over classes of F1 = 2 right / (cases + predictions) of the class; 0 where it has neither."""
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float(np.divide(2.0 * np.diagonal(matrix), both, out=np.zeros(len(matrix)), where=both > 0).mean())


def wilson_interval(successes: int, cases: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a share that was seen as `successes` of `cases`, as Wilson (1927) gives it, without continuity.

        (k + z²/2 ± z sqrt(k (n - k) / n + z²/4)) / (n + z²),        z the normal quantile of (1 + confidence) / 2

    Right for independent cases. Clips of few speakers are not: resample speakers there.
    """
    if not (0 <= successes <= cases and cases > 0):
        raise UserError(f"A share needs 0 <= successes <= cases and a case; here are {successes} of {cases}.")
    if not 0 < confidence < 1:
        raise UserError(f"The confidence must lie between 0 and 1, not at {confidence}.")
    z = float(ndtri((1 + confidence) / 2))
    centre = successes + z * z / 2
    spread = z * (successes * (cases - successes) / cases + z * z / 4) ** 0.5
    return max(0.0, (centre - spread) / (cases + z * z)), min(1.0, (centre + spread) / (cases + z * z))
