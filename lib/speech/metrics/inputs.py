"""What the metrics accept: lists, arrays or tensors on any device. What they refuse, they refuse in one sentence."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lib.errors import UserError


def as_array(values: ArrayLike | Tensor, what: str) -> np.ndarray:
    """A NumPy array of numbers. Raises UserError for what is not numbers, `what` names it."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # NumPy knows no bfloat16
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged list
        raise UserError(f"The {what} are no array: their rows differ in length.") from None
    if array.dtype.kind not in "biuf":
        raise UserError(f"The {what} must be real numbers, these are of type {array.dtype}.")
    return array


def as_scores(values: ArrayLike | Tensor, what: str = "scores", dimensions: int = 1) -> np.ndarray:
    """Scores as float32, where they come so, else as float64; whether one is NaN the caller checks.

    Raises UserError when there are none, or not in so many dimensions.
    """
    array = as_array(values, what)
    if array.ndim != dimensions:
        wanted = ("(n,)", "(n, classes)")[dimensions - 1]
        raise UserError(f"The {what} must have the shape {wanted}, these have {array.shape}.")
    if not array.size:
        raise UserError(f"There are no {what}: a metric needs one or more.")
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)


def as_table(values: ArrayLike | Tensor) -> np.ndarray:
    """Scores of shape (n, classes), without NaN."""
    scores = as_scores(values, dimensions=2)
    refuse_nan(bool(np.isnan(scores).any()), "scores")
    return scores


def as_truth(values: ArrayLike | Tensor, count: int) -> np.ndarray:
    """bool (count,): which trials are targets. 0 and 1 will do. Raises UserError for anything else."""
    array = as_array(values, "target labels")
    same_length(count, array, "target labels")
    truth = array.astype(bool, copy=False)
    if array.dtype != bool and not (array == truth).all():
        raise UserError("The target labels must be true or false, or 1 and 0; these hold other numbers.")
    return truth


def as_classes(values: ArrayLike | Tensor, classes: int, what: str = "labels", least: int = 0) -> np.ndarray:
    """int64 (n,): numbers of classes, `least` ... `classes` - 1. Raises UserError for anything else, or for none."""
    array = as_array(values, what)
    if array.ndim != 1 or not array.size:
        raise UserError(f"The {what} must have the shape (n,) with n of 1 or more, these have {array.shape}.")
    if array.dtype.kind == "f" and not (array == np.floor(array)).all():
        raise UserError(f"The {what} must be whole numbers, these are not.")
    if array.min() < least or array.max() >= classes:
        raise UserError(
            f"The {what} must lie in {least} ... {classes - 1}, these go from {array.min():g} to {array.max():g}."
        )
    return array.astype(np.int64, copy=False)


def same_length(count: int, array: np.ndarray, what: str = "labels") -> None:
    """Raises UserError unless `array` has the shape (count,)."""
    if array.shape != (count,):
        raise UserError(f"For {count} case(s) the {what} must have the shape ({count},), these have {array.shape}.")


def refuse_nan(found: bool, what: str) -> None:
    """Raises UserError when one was `found`: NaN has no place in an order."""
    if found:
        raise UserError(f"The {what} hold NaN, so they have no order: the model's training most likely diverged.")
