"""Slow and plain: detection figures by trying every threshold, in exact fractions; and trials to try them on."""

import itertools
import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

FEW = st.sampled_from([-math.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, math.inf])  # many ties, and infinities
MANY = st.floats(allow_nan=False, width=32)
SCORES = st.one_of(st.lists(FEW, min_size=1, max_size=30), st.lists(MANY, min_size=1, max_size=30))


def brute_points(targets, nontargets, target_weights=None, nontarget_weights=None):
    """(threshold, P_fa, P_miss) of every distinct score, ascending, and of "accept nothing"; rates as fractions."""
    targets = list(zip(targets, target_weights or [1] * len(targets), strict=True))
    nontargets = list(zip(nontargets, nontarget_weights or [1] * len(nontargets), strict=True))
    points = []
    for threshold in sorted({score for score, _ in targets + nontargets}):
        missed = sum(Fraction(weight) for score, weight in targets if score < threshold)
        alarms = sum(Fraction(weight) for score, weight in nontargets if score >= threshold)
        points.append((
            threshold,
            alarms / sum(Fraction(weight) for _, weight in nontargets),
            missed / sum(Fraction(weight) for _, weight in targets),
        ))  # fmt: skip
    return [*points, (math.inf, Fraction(0), Fraction(1))]


def brute_equal_error_rate(points):
    for (_, false_alarm, miss), (_, next_false_alarm, next_miss) in itertools.pairwise(points):
        if next_miss >= next_false_alarm:
            # the point of the segment where both are equal: miss + s (next_miss - miss) = fa + s (next_fa - fa)
            s = (false_alarm - miss) / ((next_miss - miss) - (next_false_alarm - false_alarm))
            return float(miss + s * (next_miss - miss))
    raise AssertionError("no crossing")


def brute_normalised_cost(points, p_target, cost_miss=1, cost_false_alarm=1):
    p_target = Fraction(p_target)
    miss_weight, alarm_weight = Fraction(cost_miss) * p_target, Fraction(cost_false_alarm) * (1 - p_target)
    least = min(miss_weight * miss + alarm_weight * false_alarm for _, false_alarm, miss in points)
    return float(least / min(miss_weight, alarm_weight))


def normal_trials(count, seed, share=0.5, shift=2.0):
    """Scores and labels: normal, those of targets higher."""
    chance = np.random.default_rng(seed)
    is_target = chance.random(count) < share
    is_target[:2] = True, False
    return chance.standard_normal(count) + shift * is_target, is_target
