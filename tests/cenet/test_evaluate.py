"""Scores equal what one counts by hand, and fall with the noise."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from lib.cenet.clips import Clips
from lib.cenet.evaluate import evaluate, noise_sweep
from lib.cenet.spotter import Spotter
from lib.cenet.stream import noisy
from lib.cenet.train import train
from lib.errors import UserError
from lib.speech.data import SILENCE, UNKNOWN
from lib.training.run import Run
from tests.cenet.sounds import tiny, words_of

NAMES = ("a", "b", "c", SILENCE)


@dataclass
class Oracle(Spotter):
    """A spotter whose answer stands in the sound: sample k is the logit of class k."""

    def __init__(self, class_names: tuple[str, ...] = NAMES):
        self.class_names = class_names

    def posteriors(self, waveforms):
        return waveforms[:, : len(self.class_names)].softmax(1)


def clips_with(labels: list[int], answers: list[int], names: tuple[str, ...] = NAMES) -> Clips:
    waveforms = torch.zeros(len(labels), 100)
    waveforms[torch.arange(len(labels)), torch.tensor(answers)] = 3.0
    return Clips("by hand", waveforms, torch.tensor(labels), names, ("",) * len(labels))


def test_a_score_counted_by_hand():
    score = evaluate(Oracle(), clips_with([0, 0, 0, 1, 3, 3], [0, 0, 1, 1, 3, 0]))
    assert score.accuracy == pytest.approx(4 / 6)
    assert score.class_accuracies[[0, 1, 3]].tolist() == pytest.approx([2 / 3, 1, 1 / 2])
    assert np.isnan(score.class_accuracies[2])  # no clip
    assert score.confusion.tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert score.predictions.tolist() == [0, 0, 1, 1, 3, 0]
    assert score.posteriors.shape == (6, 4)
    assert score.low < score.accuracy < score.high


def test_a_score_agrees_with_scikit_learn_and_scipy():
    chance = np.random.default_rng(0)
    labels, answers = chance.integers(0, 4, 200), chance.integers(0, 4, 200)
    answers = np.where(chance.random(200) < 0.7, labels, answers)
    score = evaluate(Oracle(), clips_with(labels.tolist(), answers.tolist()))
    assert score.accuracy == pytest.approx(accuracy_score(labels, answers))
    assert score.confusion.tolist() == confusion_matrix(labels, answers).tolist()
    assert score.class_accuracies == pytest.approx(recall_score(labels, answers, average=None))
    interval = binomtest(int((labels == answers).sum()), 200).proportion_ci(method="wilson")
    assert (score.low, score.high) == pytest.approx((interval.low, interval.high))


def test_curves_are_of_the_keywords_that_have_clips():
    right = evaluate(Oracle(), clips_with([0, 0, 1, 1, 3], [0, 0, 1, 1, 3]))
    assert right.curves.area == pytest.approx(0)
    wrong = evaluate(Oracle(), clips_with([0, 0, 1, 1], [1, 1, 0, 0]))
    assert wrong.curves.area > 0.5
    assert evaluate(Oracle(), clips_with([0, 0], [0, 1])).curves is None  # one class only
    names = ("a", UNKNOWN, SILENCE)
    no_keyword = clips_with([1, 2, 1], [1, 2, 0], names)
    assert evaluate(Oracle(names), no_keyword).curves is None
    # what becomes of the noise and of other words counts as a false alarm, and has no curve of its own
    names = ("a", UNKNOWN)
    alarms = evaluate(Oracle(names), clips_with([0, 0, 1, 1], [0, 0, 0, 0], names))
    assert alarms.curves.area > 0


def test_clips_with_other_classes_are_refused():
    for names in (("b", "a", "c", SILENCE), ("a", "b", "c"), (*NAMES, "d")):
        with pytest.raises(UserError, match=r"by hand has the classes .* and the spotter learnt a, b, c, silence"):
            evaluate(Oracle(), clips_with([0], [0], names))
    with pytest.raises(UserError):
        evaluate(Oracle(), clips_with([0], [0]).subset([]))


def test_accuracy_falls_with_the_noise():
    spotter = train(tiny(), words_of(range(12)), Run(progress=False))
    clean = words_of(range(20, 40))
    found = noise_sweep(spotter, clean, (20.0, 0.0, -20.0), seed=2)
    assert list(found) == [20.0, 0.0, -20.0]
    assert found[20.0] > 0.75  # seeds 0 to 3: 0.93 to 0.97, then 0.82 to 0.88, then 0.30 to 0.33
    assert found[20.0] >= found[0.0]
    assert found[-20.0] < 0.5
    assert found[0.0] == evaluate(spotter, noisy(clean, 0.0, 2)).accuracy
    assert found == noise_sweep(spotter, clean, (20.0, 0.0, -20.0), seed=2)
    renamed = replace(clean, class_names=("high", "middle", "low"))
    with pytest.raises(UserError, match="the spotter learnt low, middle, high"):
        noise_sweep(spotter, renamed, (5.0,))
