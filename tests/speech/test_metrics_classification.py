"""Accuracy, confusion and intervals against scikit-learn and SciPy; keyword curves against their definition."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from lib.errors import UserError
from lib.speech.metrics.classification import (
    accuracy,
    class_accuracies,
    confusion_matrix,
    macro_f1,
    wilson_interval,
)
from lib.speech.metrics.keyword import keyword_curves


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
@settings(deadline=None, max_examples=100)
def test_the_matrix_and_its_shares_are_scikit_learns(pairs):
    labels, predictions = map(np.array, zip(*pairs, strict=True))
    matrix = confusion_matrix(labels, predictions, 5)
    np.testing.assert_array_equal(matrix, sklearn_confusion(labels, predictions, labels=range(5)))
    assert accuracy(matrix) == pytest.approx((labels == predictions).mean())
    recalls = recall_score(labels, predictions, labels=range(5), average=None, zero_division=np.nan)
    np.testing.assert_allclose(class_accuracies(matrix), recalls)
    wanted = f1_score(labels, predictions, labels=range(5), average="macro", zero_division=0)
    assert macro_f1(matrix) == pytest.approx(wanted)


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(deadline=None, max_examples=100)
def test_the_interval_is_scipys(successes, cases, confidence):
    successes = min(successes, cases)
    wanted = binomtest(successes, cases).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, cases, confidence) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "predictions", "sentence"),
    [
        ([], [], "shape"),
        ([0, 1], [0], "must have the shape"),
        ([0, 3], [0, 1], "labels must lie in 0 ... 2"),
        ([0, 1], [0, -1], "predictions must lie in 0 ... 2"),
        ([0.5, 1], [0, 1], "whole numbers"),
        ([0, 1], [0, math.nan], "whole numbers"),
        ([0, 1], ["a", "b"], "real numbers"),
    ],
)
def test_bad_labels_are_one_sentence(labels, predictions, sentence):
    with pytest.raises(UserError, match=sentence):
        confusion_matrix(labels, predictions, 3)


def test_impossible_shares_are_refused():
    for successes, cases in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(UserError, match="successes"):
            wilson_interval(successes, cases)
    with pytest.raises(UserError, match="confidence"):
        wilson_interval(1, 2, 95)


def clips(count=300, classes=4, seed=0, decimals=3):
    chance = np.random.default_rng(seed)
    labels = np.concatenate((np.arange(classes), chance.integers(0, classes, count - classes)))
    logits = chance.standard_normal((count, classes)) + 1.5 * (labels[:, None] == np.arange(classes))
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).round(decimals), labels


def brute_points(scores, labels, keyword):
    """(false alarms, false rejects) at every threshold p, in plain words of the protocol."""
    points = []
    for p in [*sorted(set(scores[:, keyword])), math.inf]:
        reject = np.mean(
            [score < p for score, label in zip(scores[:, keyword], labels, strict=True) if label == keyword]
        )
        alarm = np.mean(
            [score >= p for score, label in zip(scores[:, keyword], labels, strict=True) if label != keyword]
        )
        points.append((alarm, reject))
    return points[::-1]  # false alarms ascending


def brute_height(points, alarm):
    """The lowest false-reject rate at a false-alarm rate, on the lines between neighbouring points."""
    heights = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= alarm <= x1:
            heights.append(min(y0, y1) if x0 == x1 else y0 + (alarm - x0) / (x1 - x0) * (y1 - y0))
    return min(heights)


@pytest.mark.parametrize("decimals", [1, 6])
def test_keyword_curves_follow_the_protocol(decimals):
    scores, labels = clips(count=80, decimals=decimals)
    keywords = [0, 2, 3]  # class 1 is no keyword, but its clips raise false alarms
    grid = np.concatenate((np.linspace(0, 1, 31), [alarm for alarm, _ in brute_points(scores, labels, 2)]))
    curves = keyword_curves(torch.tensor(scores), torch.tensor(labels), keywords, grid)
    wanted = np.array([[brute_height(brute_points(scores, labels, k), alarm) for alarm in grid] for k in keywords])
    np.testing.assert_allclose(curves.false_reject, wanted, atol=1e-12)
    np.testing.assert_allclose(curves.mean_false_reject, wanted.mean(axis=0), atol=1e-12)
    areas = [1 - roc_auc_score(labels == k, scores[:, k]) for k in keywords]
    np.testing.assert_allclose(curves.areas, areas, atol=1e-12)
    assert curves.area == pytest.approx(np.mean(areas))


def test_the_mean_area_is_that_under_the_averaged_curve():
    scores, labels = clips()
    curves = keyword_curves(scores, labels, range(4), np.linspace(0, 1, 100_001))
    assert np.trapezoid(curves.mean_false_reject, curves.false_alarm) == pytest.approx(curves.area, abs=1e-4)


def test_perfect_and_useless_keywords():
    labels = np.array([0, 1, 2, 2])
    assert keyword_curves(np.eye(3)[labels], labels, [0, 1]).area == 0.0
    useless = keyword_curves(np.full((4, 3), 1 / 3), labels, [0, 1])
    assert useless.area == 0.5
    np.testing.assert_allclose(useless.mean_false_reject, 1 - useless.false_alarm)


def test_bad_keywords_are_one_sentence():
    scores, labels = clips()
    with pytest.raises(UserError, match=r"keywords must lie in 0 \.\.\. 3"):
        keyword_curves(scores, labels, [4])
    with pytest.raises(UserError, match="keywords must have the shape"):
        keyword_curves(scores, labels, [])
    with pytest.raises(UserError, match="keyword 1 needs clips of it"):
        keyword_curves(scores[labels != 1], labels[labels != 1], [1])
    with pytest.raises(UserError, match="NaN"):
        keyword_curves(np.full((4, 2), np.nan), [0, 1, 0, 1], [0])
    with pytest.raises(UserError, match="must have the shape"):
        keyword_curves(scores, labels[:-1], [0])
