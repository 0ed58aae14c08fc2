"""Equal error rate, curves and hulls against every threshold tried by hand, scikit-learn and SciPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.special import ndtri
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from lib.errors import UserError
from lib.speech.metrics.detection import DetectionCurve, equal_error_rate
from lib.speech.metrics.trials import Trials
from tests.speech.metrics_reference import SCORES, brute_equal_error_rate, brute_points, normal_trials


@given(SCORES, SCORES)
@settings(deadline=None, max_examples=300)
def test_curve_and_equal_error_rate_equal_those_of_every_threshold_tried(targets, nontargets):
    points = brute_points(targets, nontargets)
    trials = Trials.of_two(targets, nontargets)
    curve = DetectionCurve.of(trials)
    assert curve.thresholds.tolist() == [point[0] for point in points]
    np.testing.assert_allclose(curve.false_alarm, [float(point[1]) for point in points], rtol=1e-15)
    np.testing.assert_allclose(curve.miss, [float(point[2]) for point in points], rtol=1e-15)
    assert equal_error_rate(trials) == pytest.approx(brute_equal_error_rate(points), abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.booleans(), st.integers(1, 5)), max_size=25))
@settings(deadline=None, max_examples=150)
def test_a_weight_counts_like_so_many_equal_trials(rows):
    rows = [(0.0, True, 1), (0.5, False, 2), *rows]
    scores, truth, weights = zip(*rows, strict=True)
    weighted = Trials.of(scores, truth, weights)
    repeated = Trials.of(np.repeat(scores, weights), np.repeat(truth, weights))
    for found, wanted in zip(
        weighted.rates([-1, 0, 0.2, 0.5, 2, 3]), repeated.rates([-1, 0, 0.2, 0.5, 2, 3]), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert equal_error_rate(weighted) == pytest.approx(equal_error_rate(repeated), abs=1e-12)


@pytest.mark.parametrize("decimals", [None, 1])
def test_the_curve_is_scikit_learns(decimals):
    scores, is_target = normal_trials(3000, seed=0, share=0.2)
    scores = scores if decimals is None else scores.round(decimals)
    curve = DetectionCurve.of(Trials.of(scores, is_target))
    false_alarm, hit, thresholds = roc_curve(is_target, scores, drop_intermediate=False)
    np.testing.assert_array_equal(curve.thresholds[::-1], thresholds)
    np.testing.assert_allclose(curve.false_alarm[::-1], false_alarm)
    np.testing.assert_allclose(1 - curve.miss[::-1], hit)
    assert 1 - curve.area == pytest.approx(roc_auc_score(is_target, scores))


def test_the_equal_error_rate_lies_on_scikit_learns_curve():
    scores, is_target = normal_trials(5000, seed=1, share=0.1)
    false_alarm, hit, _ = roc_curve(is_target, scores, drop_intermediate=False)
    grid = np.interp(np.linspace(0, 1, 200_001), np.linspace(0, 1, len(hit)), (1 - hit) - false_alarm)
    where = np.interp(0.0, -grid, np.linspace(0, 1, 200_001))
    on_curve = np.interp(where, np.linspace(0, 1, len(hit)), false_alarm)
    assert equal_error_rate(Trials.of(scores, is_target)) == pytest.approx(on_curve, abs=1e-5)


def test_normal_scores_have_the_known_equal_error_rate():
    """Targets two deviations higher: both errors are the normal tail beyond one deviation."""
    scores, is_target = normal_trials(400_000, seed=2)
    assert equal_error_rate(Trials.of(scores, is_target)) == pytest.approx(norm.sf(1.0), abs=0.002)


@pytest.mark.parametrize(
    ("targets", "nontargets", "wanted"),
    [
        ([1.0, 1.0], [1.0], 0.5),
        ([math.inf], [math.inf, math.inf], 0.5),
        ([2.0, 3.0], [0.0, 1.0], 0.0),
        ([0.0, 1.0], [2.0, 3.0], 1.0),
        ([math.inf, 1.0], [-math.inf, 0.0], 0.0),
        ([-math.inf], [math.inf], 1.0),
        ([0.0, 1.0], [0.0, 1.0], 0.5),
        # from (P_fa, P_miss) = (1/2, 1/3) to (1/2, 2/3): the line meets the diagonal at one half
        ([0.0, 2.0, 4.0], [1.0, 3.0], 0.5),
        # from (1, 0) to (0, 1/2) when the lower half of the targets ties with all others
        ([0.0, 1.0], [0.0, 0.0], 1 / 3),
    ],
)
def test_small_cases_by_hand(targets, nontargets, wanted):
    assert equal_error_rate(Trials.of_two(targets, nontargets)) == pytest.approx(wanted, abs=1e-15)


@given(SCORES, SCORES)
@settings(deadline=None, max_examples=100)
def test_the_hull_is_convex_touches_the_curve_and_is_never_above_it(targets, nontargets):
    trials = Trials.of_two(targets, nontargets)
    curve = DetectionCurve.of(trials)
    hull = curve.convex_hull()
    assert (hull.false_alarm[0], hull.miss[0], hull.false_alarm[-1], hull.miss[-1]) == (1, 0, 0, 1)
    on_hull = np.interp(curve.false_alarm, hull.false_alarm[::-1], hull.miss[::-1])
    assert (on_hull <= curve.miss + 1e-12).all()
    steps = np.stack((np.diff(hull.false_alarm), np.diff(hull.miss)))
    assert (steps[0, :-1] * steps[1, 1:] - steps[1, :-1] * steps[0, 1:] <= 1e-12).all()  # it never turns the other way
    assert {*hull.thresholds} <= {*curve.thresholds}
    assert equal_error_rate(trials, hull=True) <= equal_error_rate(trials) + 1e-12


def test_the_hull_has_the_vertices_of_qhull():
    scores, is_target = normal_trials(300, seed=3)
    curve = DetectionCurve.of(Trials.of(scores, is_target))
    above = [[1.0, 1.0]]  # makes a polygon of it
    polygon = ConvexHull(np.concatenate((np.stack((curve.false_alarm, curve.miss), axis=1), above)))
    wanted = sorted(set(polygon.vertices) - {len(curve)})
    hull = curve.convex_hull()
    corners = [i for i in range(len(hull)) if i in (0, len(hull) - 1) or not _straight(hull, i)]
    np.testing.assert_allclose(hull.miss[corners], curve.miss[wanted])
    # its equal error rate: where the polygon meets the diagonal
    diagonal = [
        s
        for s in np.linspace(0, 1, 100_001)
        if (polygon.equations[:, :2].sum(1) * s + polygon.equations[:, 2] <= 0).all()
    ]
    assert equal_error_rate(Trials.of(scores, is_target), hull=True) == pytest.approx(diagonal[0], abs=2e-5)


def _straight(curve, i):
    (x0, x1, x2), (y0, y1, y2) = curve.false_alarm[i - 1 : i + 2], curve.miss[i - 1 : i + 2]
    return abs((x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1)) < 1e-12


@pytest.mark.parametrize("points", [2, 3, 50, 400])
def test_a_thinned_curve_is_short_and_close_to_the_whole(points):
    scores, is_target = normal_trials(20_000, seed=4, share=0.05)
    curve = DetectionCurve.of(Trials.of(scores, is_target))
    thin = curve.thinned(points)
    assert 2 <= len(thin) <= points
    assert (thin.false_alarm[0], thin.miss[0], thin.false_alarm[-1], thin.miss[-1]) == (1, 0, 0, 1)
    whole, kept = (ndtri(np.clip((one.false_alarm, one.miss), 1e-9, 1 - 1e-9)) for one in (curve, thin))
    distance = np.abs(whole[:, :, None] - kept[:, None, :]).sum(axis=0).min(axis=1)
    way = np.abs(np.diff(whole)).sum()
    assert distance.max() <= way / (points // 2)


def test_a_thinned_curve_keeps_both_ends_of_a_long_step():
    """Most targets share one score: the curve leaps, and the corners of the leap must not move."""
    scores, is_target = normal_trials(20_000, seed=5)
    scores[np.flatnonzero(is_target)[: is_target.sum() // 2]] = 2.5
    curve = DetectionCurve.of(Trials.of(scores, is_target))
    leap = int(np.argmax(np.diff(curve.miss)))
    thin = curve.thinned(100)
    for end in (leap, leap + 1):
        assert curve.thresholds[end] in thin.thresholds
    assert curve.thinned(len(curve)) is curve


def test_the_order_of_trials_and_any_rising_map_change_nothing():
    scores, is_target = normal_trials(1000, seed=6)
    wanted = equal_error_rate(Trials.of(scores, is_target))
    order = np.random.default_rng(0).permutation(1000)
    assert equal_error_rate(Trials.of(scores[order], is_target[order])) == wanted
    assert equal_error_rate(Trials.of(np.exp(scores), is_target)) == wanted
    before = scores.copy()
    Trials.of(scores, is_target)
    Trials.of_two(scores, scores)
    np.testing.assert_array_equal(scores, before)  # sorted copies, not the caller's array


def test_lists_tensors_and_numbers_for_labels_are_welcome():
    scores, is_target = normal_trials(200, seed=7)
    scores = scores.astype(np.float32)
    wanted = equal_error_rate(Trials.of(scores, is_target))
    assert equal_error_rate(Trials.of(torch.tensor(scores, requires_grad=True), torch.tensor(is_target))) == wanted
    assert equal_error_rate(Trials.of(scores.tolist(), is_target.astype(int).tolist())) == wanted
    assert equal_error_rate(Trials.of_two(scores[is_target], scores[~is_target].astype(np.float64))) == wanted
    coarse = torch.tensor(scores).bfloat16()
    assert equal_error_rate(Trials.of(coarse, is_target)) == equal_error_rate(Trials.of(coarse.float(), is_target))
    assert Trials.of(scores, is_target).targets.scores.dtype == np.float32


def test_float32_scores_meet_a_threshold_in_between_exactly():
    """float32(0.1) is above 0.1: rounding the threshold to the scores' precision would still be right by luck only."""
    score = np.float32(0.1)
    trials = Trials.of_two(np.array([score]), np.array([score]))
    assert trials.rates(0.1) == (1.0, 0.0)
    assert trials.rates(float(score) + 1e-12) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("scores", "is_target", "weights", "sentence"),
    [
        ([], [], None, "no scores"),
        ([1.0, 2.0], [True], None, r"must have the shape \(2,\)"),
        ([1.0, 2.0], [True, True], None, "no non-target trial"),
        ([1.0, 2.0], [0, 0], None, "no target trial"),
        ([1.0, math.nan], [1, 0], None, "NaN"),
        ([math.nan, 1.0], [1, 0], [1, 1], "NaN"),
        ([1.0, 2.0], [1, 2], None, "true or false"),
        ([1.0, 2.0], [1, math.nan], None, "true or false"),
        ([[1.0, 2.0]], [1, 0], None, r"shape \(n,\)"),
        ([[1.0, 2.0], [1.0]], [1, 0], None, "differ in length"),
        (["1", "2"], [1, 0], None, "real numbers"),
        ([1j, 2.0], [1, 0], None, "real numbers"),
        ([1.0, 2.0], [1, 0], [1.0], "weights must have the shape"),
        ([1.0, 2.0], [1, 0], [1.0, 0.0], "positive"),
        ([1.0, 2.0], [1, 0], [math.nan, 1.0], "positive"),
    ],
)
def test_bad_input_is_one_sentence(scores, is_target, weights, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        Trials.of(scores, is_target, weights)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_curve_of_one_point_is_refused():
    curve = DetectionCurve.of(Trials.of_two([1.0], [0.0]))
    with pytest.raises(UserError, match="2 points or more"):
        curve.thinned(1)
    with pytest.raises(UserError, match="no non-target scores"):
        Trials.of_two([1.0], [])
