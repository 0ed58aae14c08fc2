"""What errors cost: the detection costs of the NIST speaker recognition evaluations.

    C(t) = C_miss P_target P_miss(t) + C_fa (1 - P_target) P_fa(t)

is the expected cost of a decision when a share P_target of what comes is targets. It is divided by the cost of the
better of "accept all" and "accept nothing", min(C_miss P_target, C_fa (1 - P_target)): 1 is a useless system. With
P_target below 0.5 and both costs 1 this is P_miss + beta P_fa with beta = (1 - P_target) / P_target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import UserError
from lib.speech.metrics.trials import Trials


@dataclass(frozen=True)
class OperatingPoint:
    """How frequent targets are in use, and what either error costs."""

    p_target: float
    cost_miss: float = 1.0
    cost_false_alarm: float = 1.0

    def __post_init__(self):
        if not 0 < self.p_target < 1:
            raise UserError(f"The share of targets must lie between 0 and 1, not at {self.p_target}.")
        if not (0 < self.cost_miss < math.inf and 0 < self.cost_false_alarm < math.inf):
            raise UserError("The costs of a miss and of a false alarm must be positive numbers.")

    @property
    def bayes_threshold(self) -> float:
        """Where to accept if scores are log-likelihood ratios (natural logarithm): ln(beta) when both costs are 1."""
        return math.log((1 - self.p_target) / self.p_target * self.cost_false_alarm / self.cost_miss)

    def cost(self, false_alarm: np.ndarray | float, miss: np.ndarray | float) -> np.ndarray | float:
        """C for rates of any one shape, not divided by anything."""
        return self.cost_miss * self.p_target * miss + self.cost_false_alarm * (1 - self.p_target) * false_alarm

    @property
    def useless(self) -> float:
        """C of the better of "accept all" and "accept nothing"."""
        return min(self.cost(1.0, 0.0), self.cost(0.0, 1.0))


SRE19_CTS = (OperatingPoint(0.01), OperatingPoint(0.005))
"""NIST SRE19, telephone speech: beta is 99 and 199, the primary cost is the mean of both."""


FINER = 32
"""The search for the least cost cuts a stretch of thresholds into so many."""


@dataclass(frozen=True)
class Decision:
    """A threshold and how often it errs; at threshold inf nothing is accepted, not even scores of inf."""

    threshold: float
    false_alarm: float
    miss: float


NOTHING = Decision(math.inf, 0.0, 1.0)


def cheapest(trials: Trials, point: OperatingPoint) -> Decision:
    """The decision with the least cost of all; of equal ones any.

    A threshold between two targets rejects the same targets as the upper one and accepts no fewer others, so only
    targets come into question, and "accept nothing". Between two of them no cost is below that of the misses at the
    lower with the false alarms at the upper: so we look at few targets first, and look closer only at the stretches
    between them that may hold something better.
    """
    targets, best, least = trials.targets.scores, NOTHING, point.cost(NOTHING.false_alarm, NOTHING.miss)
    step, starts = FINER ** math.ceil(math.log(len(targets), FINER)), np.array([0])  # one stretch holds all
    while len(starts):
        false_alarm, miss = trials.rates(targets[starts])
        costs = point.cost(false_alarm, miss)
        i = int(np.argmin(costs))
        if costs[i] < least:
            best, least = Decision(*(float(of[i]) for of in (targets[starts], false_alarm, miss))), costs[i]
        if step == 1:
            break
        ends = np.minimum(starts + step, len(targets) - 1)
        starts = starts[point.cost(trials.nontargets.at_or_above(targets[ends]), miss) < least]
        step //= FINER
        starts = (starts[:, None] + step * np.arange(FINER)).ravel()
        starts = starts[starts < len(targets)]
    return best


def min_dcf(trials: Trials, points: Sequence[OperatingPoint] = SRE19_CTS) -> float:
    """Normalised cost at the threshold that is best on these very trials, for each point; the mean over `points`.

    It says how well the scores order the trials. It is never above 1.
    """
    return _mean_cost([(point, cheapest(trials, point)) for point in points])


def act_dcf(trials: Trials, points: Sequence[OperatingPoint] = SRE19_CTS) -> float:
    """Normalised cost at the Bayes threshold of each point, for scores that are log-likelihood ratios; the mean.

    It says how good decisions are that are made without knowing the answers. What it lies above `min_dcf` is the
    calibration loss.
    """
    return _mean_cost([(point, decide(trials, point.bayes_threshold)) for point in points])


def decide(trials: Trials, threshold: float) -> Decision:
    """How often a given threshold errs."""
    false_alarm, miss = trials.rates(threshold)
    return Decision(threshold, float(false_alarm), float(miss))


def _mean_cost(decisions: list[tuple[OperatingPoint, Decision]]) -> float:
    if not decisions:
        raise UserError("A detection cost needs one operating point or more.")
    costs = [point.cost(decision.false_alarm, decision.miss) / point.useless for point, decision in decisions]
    return sum(costs) / len(costs)
