"""How well a spotter does: accuracy with its interval, every class, the paper's curves of false alarms and rejects."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lib.cenet.clips import Clips
from lib.cenet.spotter import Spotter
from lib.cenet.stream import noisy
from lib.errors import UserError
from lib.speech.data import SILENCE, UNKNOWN
from lib.speech.metrics.classification import accuracy, class_accuracies, confusion_matrix, wilson_interval
from lib.speech.metrics.keyword import KeywordCurves, keyword_curves


@dataclass(frozen=True)
class Score:
    """What a spotter made of labelled clips.

    Attributes:
        accuracy: share that was named rightly. low, high: its 95 percent interval (Wilson), as if clips were
            independent, which clips of one speaker are not.
        class_accuracies: NaN for a class without a clip. confusion: counts, the true classes in rows.
        curves: false rejects over false alarms of the keywords that have clips; None with fewer than two classes.
        posteriors: (n, classes). predictions: (n,).
    """

    accuracy: float
    low: float
    high: float
    class_accuracies: np.ndarray
    confusion: np.ndarray
    curves: KeywordCurves | None
    posteriors: Tensor
    predictions: Tensor


def evaluate(spotter: Spotter, clips: Clips) -> Score:
    """Score a spotter on clips. Raises UserError when there is none, or the classes are not those that it learnt."""
    if clips.class_names != spotter.class_names:
        raise UserError(
            f"{clips.name} has the classes {', '.join(clips.class_names)}, and the spotter learnt "
            f"{', '.join(spotter.class_names)}: number the clips by those (class_names of lib.cenet.clips.clips_of)."
        )
    posteriors = spotter.posteriors(clips.waveforms)
    predictions = posteriors.argmax(1)
    matrix = confusion_matrix(clips.labels, predictions, len(spotter.class_names))
    right = int(np.trace(matrix))
    low, high = wilson_interval(right, len(clips))
    filled = np.flatnonzero(matrix.sum(1))
    keywords = [number for number in filled if spotter.class_names[number] not in (SILENCE, UNKNOWN)]
    curves = keyword_curves(posteriors, clips.labels, keywords) if keywords and len(filled) > 1 else None
    return Score(
        accuracy(matrix), low, high, class_accuracies(matrix), matrix, curves, posteriors, predictions
    )  # fmt: skip


def noise_sweep(spotter: Spotter, clean: Clips, levels: tuple[float, ...], seed: int = 0) -> dict[float, float]:
    """Accuracy with noise at each of these levels (decibels below the speech): {level: share}."""
    return {level: evaluate(spotter, noisy(clean, level, seed)).accuracy for level in levels}
