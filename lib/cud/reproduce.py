"""``papers reproduce cud``: the claims over several seeds, and the curves of quality against network calls."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lib.cud import claims, comparison
from lib.cud import comparison as names
from lib.cud.claims import DIGITS, BySeed, Scores
from lib.cud.config import CUDConfig, scaled, toy
from lib.cud.curves import Curves
from lib.cud.evaluate import Judge, flow_straightness, make_judge, quality
from lib.cud.fit import Run
from lib.cud.second_session import second_session
from lib.cud.train import TrainedFlow, load_data, train
from lib.errors import UserError
from lib.papers import Measurement
from lib.training.side_by_side import side_by_side

CALLS = (1, 2, 4, 8, 16, 32)
IN_THE_PLANE = ("ring", "checkerboard")
PLANE_UNIT, DIGITS_UNIT = "SW₂", "FD"


@dataclass(frozen=True)
class Study:
    """One seed of the whole comparison on one data set.

    Attributes:
        scores: method -> network calls -> distance. straightness: method -> S. floor: what fresh data score.
        minutes: wall time.
    """

    data: str
    seed: int
    scores: Scores
    straightness: dict[str, float]
    floor: float
    minutes: float


def study(config: CUDConfig, data: str, seed: int, labels: Iterable[str]) -> Study:
    """Train, distil and judge everything once.

    Args:
        labels: which first sessions of ``comparison.first_sessions`` to run; the runs with one switch thrown, the
            second sessions and the peers follow.
    """
    start = time.perf_counter()
    # Points are drawn anew for each seed, the judge's too; images are what they are.
    training, test = load_data(data, seed=seed), load_data(data, "test", seed=seed)
    judge = make_judge(training, test)
    run = Run(seed=seed, progress=False)
    scores: Scores = {}
    straightness: dict[str, float] = {}
    flows: dict[str, TrainedFlow] = {}
    chosen = {label: run for label, run in comparison.first_sessions(config).items() if label in labels}
    for label, settings in (chosen | comparison.switched(config)).items():
        flow = flows[label] = train(settings, training, run)
        for head in range(1, settings.heads + 1):
            # One head: the method's own name. Several: each is a curve of its own.
            name = label if settings.heads == 1 else f"{label}, head {head}"
            scores[name] = quality(flow, judge, CALLS, seed=seed, head=head)
            straightness[name] = flow_straightness(flow, seed=seed, head=head)
    for label, first in ((names.SECOND_ON_FLOW, names.FLOW_EQUAL), (names.SECOND_ON_CATCH_UP, second_start(config))):
        flow = second_session(flows[first], run, config.second_session)
        scores[label] = quality(flow, judge, (1,), seed=seed)
    scores |= peer_scores(comparison.train_peers(config, training, run), judge, seed)
    return Study(data, seed, scores, straightness, judge.floor, (time.perf_counter() - start) / 60)


def second_start(config: CUDConfig) -> str:
    """Which catch-up run the second session starts from: the one that the configuration itself describes."""
    return names.RK12_WIDE if config.catch_up == comparison.WIDE_STEPS else names.RK12


def peer_scores(peers: comparison.Peers, judge: Judge, seed: int) -> Scores:
    """Scores of the peers. Consistency models are not asked for more than 8 calls, where they only degrade."""
    jumping = {names.CONSISTENCY: peers.consistency, names.CONSISTENCY_DISTILLED: peers.distilled}
    return {
        names.REFLOW: quality(peers.reflow, judge, CALLS, seed=seed),
        names.PROGRESSIVE: {
            n: quality(flow, judge, (n,), seed=seed)[n] for n, flow in sorted(peers.progressive.items())
        },
        **{
            label: {n: judge(model.sample(judge.samples, n, seed=seed).samples) for n in (1, 2, 4, 8)}
            for label, model in jumping.items()
        },
    }


def reproduce(
    seeds: Sequence[int] = (0, 1, 2),
    note: Callable[[str], None] = lambda text: None,
    processes: int | None = None,
) -> tuple[list[Measurement], list[Curves]]:
    """Every claim that this machine can test, over the seeds, on the plane and on the digits.

    ``note`` is told what is done. ``processes``: how many studies run side by side, one torch thread each (measured
    faster than several threads on one); all cores if None.

    Returns:
        The measurements, and the curves of quality against network calls.

    Raises:
        UserError: no seed, or one of them twice.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"the seeds of a study are one or more different numbers, not {list(seeds)}.")
    everything = tuple(comparison.first_sessions(toy()))
    few = (names.FLOW, names.FLOW_EQUAL, names.RK12, names.RK12_WIDE)
    jobs = [(scaled(), "embedded", seed, few) for seed in seeds]  # the longest first
    jobs += [(toy(), data, seed, everything) for data in IN_THE_PLANE for seed in seeds]
    studies = side_by_side(
        study, jobs, processes, lambda done: note(f"{done.data}, seed {done.seed}: {done.minutes:.1f} min")
    )

    found: list[Measurement] = []
    curves: list[Curves] = []
    for data in IN_THE_PLANE:
        scores, straight, floors, minutes = _gathered(studies, data)
        curves.append(Curves.over_seeds(f"2-D {data}", "sliced Wasserstein distance", scores, floors))
        findings = [
            claims.few_steps("few-steps-2d", scores, PLANE_UNIT, names.RK12),
            claims.straightening_order(straight),
            claims.second_session(scores, PLANE_UNIT),
            claims.second_session_floor(scores, floors, PLANE_UNIT),
            claims.one_step_needs_second_session(scores, PLANE_UNIT),
            claims.rk_order(scores, PLANE_UNIT),
            claims.peers_at_equal_compute(scores, PLANE_UNIT),
        ]
        found += [one.measured(claims.SYSTEM, preset="toy", data=f"2-D {data}", minutes=minutes) for one in findings]
    scores, _, floors, minutes = _gathered(studies, "embedded")
    curves.append(Curves.over_seeds(DIGITS, "Fréchet distance", scores, floors))
    findings = [
        claims.few_steps("few-steps-digits", scores, DIGITS_UNIT, names.RK12_WIDE),
        claims.second_session(scores, DIGITS_UNIT),
        claims.second_session_floor(scores, floors, DIGITS_UNIT),
    ]
    found += [one.measured(claims.SYSTEM, preset="scaled", data=DIGITS, minutes=minutes) for one in findings]
    return found, curves


def _gathered(studies: list[Study], data: str) -> tuple[BySeed, dict[int, dict[str, float]], dict[int, float], float]:
    chosen = sorted((one for one in studies if one.data == data), key=lambda one: one.seed)
    return (
        {one.seed: one.scores for one in chosen},
        {one.seed: one.straightness for one in chosen},
        {one.seed: one.floor for one in chosen},
        round(sum(one.minutes for one in chosen), 1),
    )
