"""The methods that the chapter sets side by side, each with its share of one computing budget.

The unit of work is a forward pass of the network over one batch; a backward pass counts two (``passes_per_step``).
Every first session and every peer gets the same number of passes, teachers and stored pairs included.
"""

from dataclasses import dataclass, replace

from lib.cud.baselines import (
    ConsistencyFlow,
    consistency_distillation,
    consistency_training,
    progressive_distillation,
    reflow,
)
from lib.cud.config import CatchUpConfig, CouplingConfig, CUDConfig, with_method
from lib.cud.evaluate import equal_compute_steps, passes_per_step
from lib.cud.fit import Run
from lib.cud.networks import with_shakedrop
from lib.cud.networks.config import UNetConfig
from lib.cud.train import Data, TrainedFlow, train

FLOW = "flow matching"
FLOW_EQUAL = "flow matching, equal compute"
RK12 = "catch-up RK12"
RK12_WIDE = "catch-up RK12, fixed step 1/4"
RK23 = "catch-up RK23"
RK34 = "catch-up RK34"
OT = "minibatch OT"
OT_CATCH_UP = "minibatch OT and catch-up"
LEARNED = "learned coupling"
LEARNED_CATCH_UP = "learned coupling and catch-up"
REFLOW = "reflow"
PROGRESSIVE = "progressive distillation"
CONSISTENCY = "consistency training"
CONSISTENCY_DISTILLED = "consistency distillation"
SECOND_ON_FLOW = "second session on flow matching"
SECOND_ON_CATCH_UP = "second session on catch-up"
EMA_TEACHER = "catch-up RK12, averaged teacher"
RAMP = "catch-up RK12, weights as a ramp"
DISCRETE = "catch-up RK12, discrete time"
RK34_EXACT = "catch-up RK34 of third order"
RK34_CHAINED = "catch-up RK34, chained points"
WIDE_LEARNED = "fixed step 1/4, learned coupling"
WIDE_SHAKEDROP = "fixed step 1/4, Prior ShakeDrop"
WIDE_WAVELET = "fixed step 1/4, wavelet term"

WIDE_STEPS = CatchUpConfig(step_size="fixed", grid=4)


def with_steps(config: CUDConfig, steps: int) -> CUDConfig:
    """The same run for another number of iterations."""
    return replace(config, optimiser=replace(config.optimiser, steps=steps))


def _published(config: CUDConfig) -> CUDConfig:
    """RK12 with the published steps, on independent pairs."""
    return replace(config, catch_up=CatchUpConfig(), coupling=CouplingConfig())


def first_sessions(config: CUDConfig) -> dict[str, CUDConfig]:
    """The first sessions to compare, from one base configuration: label -> configuration.

    All run for the base's number of iterations, but for ``FLOW_EQUAL``, which gets RK12's network work; and on
    independent pairs, but for those that name another coupling.
    """
    narrow = _published(config)
    runs = {
        FLOW: with_method(narrow, "flow_matching"),
        RK12: narrow,
        RK12_WIDE: replace(narrow, catch_up=WIDE_STEPS),
        RK23: with_method(narrow, "rk23"),
        RK34: with_method(narrow, "rk34"),
        OT: with_method(narrow, "minibatch_ot"),
        OT_CATCH_UP: with_method(narrow, "catch_up_ot"),
        LEARNED: with_method(narrow, "learned_coupling"),
        LEARNED_CATCH_UP: with_method(narrow, "catch_up_learned"),
    }
    longer = with_steps(runs[FLOW], equal_compute_steps(narrow, runs[FLOW], config.optimiser.steps))
    return {FLOW: runs.pop(FLOW), FLOW_EQUAL: longer, **runs}


def switched(config: CUDConfig) -> dict[str, CUDConfig]:
    """A catch-up run with one switch thrown, each switch apart: label -> configuration.

    For points the switches of the catch-up term itself; for images the other parts of the published recipes, beside
    the fixed step of 1/4 (``RK12_WIDE``). All run for the base's number of iterations.
    """
    if isinstance(config.network, UNetConfig):
        wide = replace(config, catch_up=WIDE_STEPS)
        return {
            WIDE_LEARNED: with_method(wide, "catch_up_learned"),
            WIDE_SHAKEDROP: replace(wide, network=with_shakedrop(wide.network, 0.75)),
            WIDE_WAVELET: replace(wide, wavelet_weight=1.0),
        }
    terms = {
        EMA_TEACHER: CatchUpConfig(teacher="ema"),
        RAMP: CatchUpConfig(weights="ramp"),
        DISCRETE: CatchUpConfig(discrete_time=True),
        RK34_EXACT: CatchUpConfig(scheme="rk34_exact"),
        RK34_CHAINED: CatchUpConfig(scheme="rk34", chained=True),
    }
    return {label: replace(config, catch_up=term) for label, term in terms.items()}


@dataclass(frozen=True)
class Peers:
    """The methods that aim at few steps by other means."""

    reflow: TrainedFlow
    progressive: dict[int, TrainedFlow]
    consistency: ConsistencyFlow
    distilled: ConsistencyFlow


def train_peers(config: CUDConfig, data: Data, run: Run) -> Peers:
    """Reflow, progressive distillation and both kinds of consistency, each at the work of one RK12 session.

    Those that start from a flow share their teacher: flow matching with half of the budget. Each training has a folder
    of its own below ``run.out``.
    """

    def part(label: str) -> Run:
        return replace(run.named(label), out=None if run.out is None else run.out / label.replace(" ", "-"))

    narrow = _published(config)
    budget = config.optimiser.steps * passes_per_step(narrow)
    plain = with_method(narrow, "flow_matching")
    half = budget / 2
    teacher = train(with_steps(plain, max(1, round(half / 3))), data, part("teacher of the peers"))
    batch = config.optimiser.batch_size
    # Half of the budget is left: reflow pays 16 passes for each batch of pairs, and 3 a step.
    pairs = max(1, round(0.2 * half / 16)) * batch
    # A Heun step of the teacher costs 2, the target 1, the student 3.
    student = replace(teacher, config=with_steps(teacher.config, max(1, round(half / 6))))
    return Peers(
        reflow=reflow(teacher, part(REFLOW), pairs=pairs, steps=max(1, round(0.8 * half / 3)), teacher_steps=16),
        progressive=progressive_distillation(teacher, part(PROGRESSIVE), data=data, steps=round(half / 5)),
        # One pass more than flow matching: the target.
        consistency=consistency_training(with_steps(plain, round(budget / 4)), data, part(CONSISTENCY)),
        distilled=consistency_distillation(student, data, part(CONSISTENCY_DISTILLED)),
    )
