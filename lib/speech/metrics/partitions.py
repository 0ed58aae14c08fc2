"""Conditions that count alike however many trials each has, as NIST equalises its partitions.

SRE19 telephone speech has 16: enrolment segments (1 or 3) x same phone number or not x gender x source of the speech.
"""

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from lib.errors import UserError
from lib.speech.metrics.inputs import as_truth


def equalising_weights(is_target: ArrayLike | Tensor, partition: ArrayLike | Tensor) -> np.ndarray:
    """float64 (n,): weights for `Trials.of`, from `is_target` (n,) and the `partition` (n,) of each trial.

    The partition is a name or a number. All partitions that have targets weigh the same among the targets, and
    likewise for the non-targets: P_miss at a threshold becomes the plain mean of the partitions' own P_miss, and P_fa
    that of their P_fa. A partition without trials of a kind is left out for that kind alone.
    """
    partition = partition.numpy(force=True) if isinstance(partition, Tensor) else np.asarray(partition)
    if partition.ndim != 1:
        raise UserError(f"The partitions must have the shape (n,), these have {partition.shape}.")
    truth = as_truth(is_target, len(partition))
    _, number = np.unique(partition, return_inverse=True)
    cell = 2 * number + truth
    return 1.0 / np.bincount(cell)[cell]
