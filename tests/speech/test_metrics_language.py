"""Cavg against its definition in plain loops, closed and open set."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import UserError
from lib.speech.metrics.detection import equal_error_rate
from lib.speech.metrics.language import (
    UNKNOWN,
    cavg,
    detection_log_ratios,
    grid_cavg,
    language_trials,
    min_cavg,
)
from lib.speech.metrics.trials import Trials


def brute_cavg(scores, labels, threshold):
    languages = scores.shape[1]
    others = [*range(languages), *([UNKNOWN] if UNKNOWN in labels else [])]
    total = 0.0
    for language in range(languages):
        total += 0.5 * np.mean(scores[labels == language, language] < threshold)
        for other in others:
            if other != language:
                total += 0.5 / (len(others) - 1) * np.mean(scores[labels == other, language] >= threshold)
    return total / languages


@st.composite
def score_tables(draw):
    languages = draw(st.integers(2, 4))
    extra = draw(st.lists(st.integers(UNKNOWN, languages - 1), max_size=10))
    labels = np.array([*range(languages), *extra])
    values = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 4.0])
    scores = draw(st.lists(values, min_size=len(labels) * languages, max_size=len(labels) * languages))
    return np.array(scores).reshape(len(labels), languages), labels


@given(score_tables())
@settings(deadline=None, max_examples=150)
def test_it_is_the_definition_at_fixed_at_best_and_at_gridded_thresholds(table):
    scores, labels = table
    for threshold in (-0.5, 0.0, 0.1):
        assert cavg(scores, labels, threshold) == pytest.approx(brute_cavg(scores, labels, threshold), abs=1e-12)
    every = [*np.unique(scores), math.inf]
    least = min(brute_cavg(scores, labels, threshold) for threshold in every)
    assert min_cavg(scores, labels) == pytest.approx(least, abs=1e-12)
    grid = np.linspace(scores.min(), scores.max(), 21)
    gridded = min(brute_cavg(scores, labels, threshold) for threshold in grid)
    assert grid_cavg(scores, labels) == pytest.approx(gridded, abs=1e-12)
    assert min_cavg(scores, labels) <= grid_cavg(scores, labels) + 1e-12


def test_languages_of_unequal_size_count_alike():
    """Language 0 has 98 of 100 utterances and is always right; language 1 is always wrong."""
    labels = np.array([0] * 98 + [1] * 2)
    scores = np.tile([1.0, -1.0], (100, 1))
    assert cavg(scores, labels) == pytest.approx(0.5 * (0.5 * 0 + 0.5 * 1) + 0.5 * (0.5 * 1 + 0.5 * 0))
    assert equal_error_rate(language_trials(scores, labels, equalised=False)) < 0.05


def test_accepting_all_or_nothing_costs_one_half():
    labels = torch.tensor([0, 1, 2, 2, UNKNOWN])
    scores = torch.zeros(5, 3)
    assert cavg(scores, labels, -1.0) == cavg(scores, labels, 1.0) == min_cavg(scores, labels) == 0.5


def test_an_outlier_spoils_the_grid_but_not_the_exact_minimum():
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    scores = chance.standard_normal((200, 4)) + 3 * (labels[:, None] == np.arange(4))
    assert grid_cavg(scores, labels) < 1.3 * min_cavg(scores, labels)
    wanted = min_cavg(scores, labels)
    scores[0, 1] = -400.0
    assert grid_cavg(scores, labels) > 1.5 * wanted
    assert min_cavg(scores, labels) == pytest.approx(wanted, rel=1e-12)


def test_pooled_trials_are_all_pairs():
    chance = np.random.default_rng(1)
    scores, labels = chance.standard_normal((30, 3)), np.tile(np.arange(3), 10)
    hits = labels[:, None] == np.arange(3)
    wanted = equal_error_rate(Trials.of_two(scores[hits], scores[~hits]))
    assert equal_error_rate(language_trials(scores, labels, equalised=False)) == wanted


def test_detection_ratios_follow_their_equation():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = torch.softmax(logits, dim=1).numpy()
    wanted = np.log(p / ((p.sum(axis=1, keepdims=True) - p) / 4))
    np.testing.assert_allclose(detection_log_ratios(torch.log_softmax(logits, dim=1)), wanted, rtol=1e-9)
    # a posterior so close to one that its complement rounds to nothing
    sure = np.log([[1.0, 1e-30, 1e-30]])
    assert detection_log_ratios(sure)[0, 0] == pytest.approx(-np.log(1e-30))


@pytest.mark.parametrize(
    ("scores", "labels", "sentence"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], [0, 0], "No utterance is in language 1"),
        ([[0.0, 1.0], [1.0, 0.0]], [0, 2], "must lie in -1 ... 1"),
        ([[0.0, 1.0], [1.0, 0.0]], [0, -2], "must lie in -1 ... 1"),
        ([[0.0, 1.0], [1.0, 0.0]], [0, 0.5], "whole numbers"),
        ([[0.0, 1.0], [1.0, 0.0]], [0, 1, 1], "must have the shape"),
        ([[0.0, math.nan], [1.0, 0.0]], [0, 1], "NaN"),
        ([0.0, 1.0], [0, 1], r"shape \(n, classes\)"),
        ([[0.0], [1.0]], [0, 0], "two languages"),
        ([[], []], [0, 1], "no scores"),
    ],
)
def test_bad_input_is_one_sentence(scores, labels, sentence):
    with pytest.raises(UserError, match=sentence):
        cavg(scores, labels)


def test_a_grid_needs_finite_scores_and_bins():
    with pytest.raises(UserError, match="finite"):
        grid_cavg([[0.0, -math.inf], [1.0, 0.0]], [0, 1])
    with pytest.raises(UserError, match="1 bin"):
        grid_cavg([[0.0, 1.0], [1.0, 0.0]], [0, 1], bins=0)
    with pytest.raises(UserError, match="two languages"):
        detection_log_ratios([[0.0], [1.0]])
    assert min_cavg([[math.inf, -math.inf], [-math.inf, math.inf]], [0, 1]) == 0.0
