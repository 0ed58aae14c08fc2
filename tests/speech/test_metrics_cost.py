"""Detection costs and Cllr: every threshold tried, NIST's equations written out, a logistic regression."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import norm

from lib.errors import UserError
from lib.speech.metrics.calibration import cllr, min_cllr
from lib.speech.metrics.cost import SRE19_CTS, OperatingPoint, act_dcf, cheapest, decide, min_dcf
from lib.speech.metrics.partitions import equalising_weights
from lib.speech.metrics.trials import Trials
from tests.speech.metrics_reference import SCORES, brute_normalised_cost, brute_points, normal_trials

PRIORS = st.sampled_from([0.005, 0.01, 0.1, 0.5, 0.9])


@given(SCORES, SCORES, PRIORS, st.sampled_from([0.25, 1.0, 10.0]))
@settings(deadline=None, max_examples=300)
def test_the_minimum_is_that_of_every_threshold_tried(targets, nontargets, p_target, cost_miss):
    trials, point = Trials.of_two(targets, nontargets), OperatingPoint(p_target, cost_miss=cost_miss)
    wanted = brute_normalised_cost(brute_points(targets, nontargets), p_target, cost_miss)
    assert min_dcf(trials, [point]) == pytest.approx(wanted, abs=1e-12)
    assert min_dcf(trials, [point]) <= 1.0
    best = cheapest(trials, point)
    if math.isfinite(best.threshold):
        assert best == decide(trials, best.threshold)


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.3, 3.0])
@pytest.mark.parametrize("decimals", [1, 9])
def test_the_search_in_stretches_misses_nothing(count, shift, decimals):
    """Around the sizes where the search gains a level; scores that say nothing leave it many stretches."""
    chance = np.random.default_rng(count)
    targets = np.round(chance.standard_normal(count) + shift, decimals)
    nontargets = np.round(chance.standard_normal(700), decimals)
    trials = Trials.of_two(targets, nontargets)
    thresholds = np.append(np.unique(np.concatenate((targets, nontargets))), math.inf)
    for p_target in (0.01, 0.5, 0.97):
        point = OperatingPoint(p_target)
        costs = [
            p_target * (targets < threshold).mean() + (1 - p_target) * (nontargets >= threshold).mean()
            for threshold in thresholds
        ]
        assert min_dcf(trials, [point]) == pytest.approx(min(costs) / min(p_target, 1 - p_target), abs=1e-12)


def test_alternating_scores_leave_every_stretch_open():
    trials = Trials.of_two(np.arange(5000) * 2.0, np.arange(5000) * 2.0 + 1)
    assert min_dcf(trials, [OperatingPoint(0.5)]) == 1.0
    trials = Trials.of_two(np.arange(5000) * 2.0 + 1, np.arange(5000) * 2.0)
    assert min_dcf(trials, [OperatingPoint(0.5)]) == pytest.approx(1 - 1 / 5000)


def test_sre19_is_the_mean_of_beta_99_and_199_as_nist_writes_it():
    assert [point.bayes_threshold for point in SRE19_CTS] == pytest.approx([math.log(99), math.log(199)])
    scores, is_target = normal_trials(20_000, seed=0, share=0.1, shift=3.0)
    llrs = 3.0 * scores - 4.5  # of two normals at 0 and 3
    targets, nontargets = llrs[is_target], llrs[~is_target]
    actual = [(targets < math.log(beta)).mean() + beta * (nontargets >= math.log(beta)).mean() for beta in (99, 199)]
    least = [
        min((targets < t).mean() + beta * (nontargets >= t).mean() for t in targets[np.argsort(targets)][::1])
        for beta in (99, 199)
    ]
    trials = Trials.of(llrs, is_target)
    assert act_dcf(trials) == pytest.approx(np.mean(actual))
    assert min_dcf(trials) == pytest.approx(np.mean(least))
    assert min_dcf(trials) <= act_dcf(trials) < min_dcf(trials) + 0.1  # these ratios are calibrated


def test_the_actual_cost_of_true_ratios_is_the_known_integral():
    scores, is_target = normal_trials(1_000_000, seed=1)
    trials, point = Trials.of(2.0 * scores - 2.0, is_target), OperatingPoint(0.1)
    at = (math.log(9) + 2) / 2
    assert act_dcf(trials, [point]) == pytest.approx(norm.cdf(at - 2) + 9 * norm.sf(at), abs=0.01)


def test_the_bayes_threshold_is_where_both_decisions_cost_the_same():
    point = OperatingPoint(0.2, cost_miss=10.0, cost_false_alarm=3.0)
    odds = math.exp(point.bayes_threshold) * 0.2 / 0.8  # a target against none, after such a score
    assert point.cost_miss * odds == pytest.approx(point.cost_false_alarm)


def test_a_score_at_the_bayes_threshold_is_accepted():
    at = OperatingPoint(0.01).bayes_threshold
    trials = Trials.of_two([at], [at])
    assert act_dcf(trials, [OperatingPoint(0.01)]) == pytest.approx(99)
    assert act_dcf(Trials.of_two([at - 1e-9], [at - 1e-9]), [OperatingPoint(0.01)]) == pytest.approx(1)


def test_infinite_and_equal_scores_cost_what_they_should():
    perfect = Trials.of_two([math.inf], [-math.inf])
    assert (min_dcf(perfect), act_dcf(perfect), cllr(perfect), min_cllr(perfect)) == (0, 0, 0, 0)
    useless = Trials.of_two([0.0, 0.0], [0.0])
    assert (min_dcf(useless), act_dcf(useless), cllr(useless), min_cllr(useless)) == pytest.approx((1, 1, 1, 1))
    wrong = Trials.of_two([-math.inf], [math.inf])
    assert (min_dcf(wrong), act_dcf(wrong), cllr(wrong)) == pytest.approx((1, np.mean([1 + 99, 1 + 199]), math.inf))
    # half of both kinds at +inf: to accept even those is too dear, and no finite threshold can refuse them
    both = Trials.of_two([math.inf, 0.0], [math.inf, 0.0])
    assert min_dcf(both, [OperatingPoint(0.1)]) == 1.0
    assert cheapest(both, OperatingPoint(0.1)).miss == 1.0


def test_wrong_points_are_one_sentence():
    for wrong in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(UserError, match="between 0 and 1"):
            OperatingPoint(wrong)
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match="positive"):
            OperatingPoint(0.5, cost_miss=wrong)
        with pytest.raises(UserError, match="positive"):
            OperatingPoint(0.5, cost_false_alarm=wrong)
    with pytest.raises(UserError, match="one operating point"):
        min_dcf(Trials.of_two([1.0], [0.0]), [])


def test_cllr_is_its_equation_and_its_minimum_that_of_the_best_rising_map():
    scores, is_target = normal_trials(60, seed=2, shift=1.0)
    scores = scores.round(0)  # few values, so that the map can be found by a general optimiser
    trials = Trials.of(scores, is_target)
    t, n = scores[is_target], scores[~is_target]
    wanted = (np.log2(1 + np.exp(-t)).mean() + np.log2(1 + np.exp(n)).mean()) / 2
    assert cllr(trials) == pytest.approx(wanted)
    values, place = np.unique(scores, return_inverse=True)

    def mapped(steps):
        levels = np.cumsum(np.concatenate((steps[:1], np.exp(steps[1:]))))[place]  # rises, whatever the steps
        return (np.logaddexp(0, -levels[is_target]).mean() + np.logaddexp(0, levels[~is_target]).mean()) / math.log(4)

    start = np.concatenate(([-3.0], np.zeros(len(values) - 1)))
    found = minimize(
        mapped, start, method="Nelder-Mead", options={"maxiter": 20_000, "maxfev": 20_000, "adaptive": True}
    )
    assert min_cllr(trials) == pytest.approx(found.fun, abs=2e-3)
    assert min_cllr(trials) <= found.fun + 1e-9


@given(SCORES, SCORES)
@settings(deadline=None, max_examples=100)
def test_the_least_cllr_is_no_higher_than_any_and_at_most_one(targets, nontargets):
    trials = Trials.of_two(targets, nontargets)
    least = min_cllr(trials)
    assert -1e-12 <= least <= 1 + 1e-12
    assert least <= cllr(trials) + 1e-9


def test_equalised_partitions_count_alike():
    """P_miss and P_fa are the plain means over partitions; one of them has targets only."""
    chance = np.random.default_rng(3)
    partition = chance.choice(["f-1", "f-3", "m-1"], size=600, p=[0.7, 0.2, 0.1])
    is_target = (chance.random(600) < 0.3) | (partition == "m-1")
    scores = chance.standard_normal(600) + is_target + (partition == "f-3")
    trials = Trials.of(scores, is_target, equalising_weights(is_target, partition))
    for threshold in (-1.0, 0.3, 1.2):
        false_alarm, miss = trials.rates(threshold)
        misses = [(scores[is_target & (partition == one)] < threshold).mean() for one in np.unique(partition)]
        alarms = [(scores[~is_target & (partition == one)] >= threshold).mean() for one in ("f-1", "f-3")]
        assert miss == pytest.approx(np.mean(misses))
        assert false_alarm == pytest.approx(np.mean(alarms))
    weights = equalising_weights(is_target, partition)
    points = brute_points(scores[is_target], scores[~is_target], list(weights[is_target]), list(weights[~is_target]))
    assert min_dcf(trials, [OperatingPoint(0.2)]) == pytest.approx(brute_normalised_cost(points, 0.2))
    with pytest.raises(UserError, match="must have the shape"):
        equalising_weights(is_target[:-1], partition)
    with pytest.raises(UserError, match="partitions must have the shape"):
        equalising_weights(is_target, partition[None])


def test_cllr_follows_the_weights():
    scores, is_target = normal_trials(50, seed=4)
    weights = np.random.default_rng(5).integers(1, 4, 50)
    weighted = Trials.of(scores, is_target, weights)
    repeated = Trials.of(np.repeat(scores, weights), np.repeat(is_target, weights))
    assert cllr(weighted) == pytest.approx(cllr(repeated))
    assert min_cllr(weighted) == pytest.approx(min_cllr(repeated))
