"""From measured numbers to verdicts: the claims of ``seeds/cud.yml``, tested the same in the chapter and over seeds.

Every function takes the numbers of one or more seeds and gives a ``Finding``. The margins are the card's. Over several
seeds it is the mean that must keep the claim.
"""

from collections.abc import Callable, Iterable
from statistics import mean
from typing import Any

from lib.cud import comparison as names
from lib.cud.step_sizes import expected_lag
from lib.papers import ClaimRecord, Finding, claim, number

SYSTEM = "cud"
FEW_STEPS = (2, 4, 8)
DIGITS = "handwritten digits, 8x8"

Scores = dict[str, dict[int, float]]
"""Method -> network calls -> distance from the data (lower is better), for one seed."""
BySeed = dict[int, Scores]


def digits_name(data: str) -> str:
    """What the records call an image set: the embedded digits by their own name, others as they were asked for."""
    return DIGITS if data in ("embedded", "digits") else data


def in_chapter(finding: Finding, *, preset: str, data: str) -> ClaimRecord:
    """The finding as the chapter's record: the last expression of a cell."""
    return finding.in_chapter(SYSTEM, preset=preset, data=data)


def few_steps(claim_id: str, scores: BySeed, unit: str, catch_up: str) -> Finding:
    """Catch-up against plain flow matching at 2, 4 and 8 calls, at equal iterations and at equal compute."""
    test = claim(SYSTEM, claim_id).test
    ratios = {
        (n, plain): _mean(scores, catch_up, n) / _mean(scores, plain, n)
        for n in FEW_STEPS
        for plain in (names.FLOW, names.FLOW_EQUAL)
    }
    held = all(test.holds([ratio, 1.0]) for ratio in ratios.values())
    worst_at, worst = max(ratios.items(), key=lambda item: item[1])
    summary = (
        f"{_capital(catch_up)} has {_share(min(ratios.values()))} to {_share(worst)} of flow matching's distance; the "
        f"worst case is {worst_at[0]} calls against {worst_at[1]}."
    )
    labels = (names.FLOW, names.FLOW_EQUAL, catch_up)
    return Finding(claim_id, held, summary, _values(scores, labels, FEW_STEPS, unit))


STRAIGHTENING = {
    names.FLOW: 0.0,
    f"{names.RK34}, head 1": expected_lag("uniform", 16, 1),
    f"{names.RK34}, head 2": expected_lag("uniform", 16, 2),
    f"{names.RK34}, head 3": expected_lag("uniform", 16, 3),
    names.RK12_WIDE: expected_lag("fixed", 4, 1),
}
"""Method -> lag of its velocity, in the order in which paths should straighten (our analysis: ``expected_lag``)."""


def straightening_order(straightness: dict[int, dict[str, float]]) -> Finding:
    """S falls as the lag grows. ``straightness``: seed -> method -> S."""
    means = {label: mean(run[label] for run in straightness.values()) for label in STRAIGHTENING}
    held = claim(SYSTEM, "straightening-order").test.holds(list(means.values()))
    listed = ", ".join(f"{number(value, 3)} (lag {number(STRAIGHTENING[label], 3)})" for label, value in means.items())
    values = [
        {"label": label, "seed": seed, "setting": {}, "value": run[label], "unit": "S"}
        for seed, run in straightness.items()
        for label in STRAIGHTENING
    ]
    return Finding("straightening-order", held, f"In the order of the lag, S is {listed}.", values)


def _two_sided(claim_id: str, calls: int, first: str, second: str) -> Callable[[BySeed, str], Finding]:
    def compare(scores: BySeed, unit: str) -> Finding:
        a, b = _mean(scores, first, calls), _mean(scores, second, calls)
        summary = f"{_capital(first)} has {number(a, 3)}, {second} {number(b, 3)}, with {_calls(calls)}."
        held = claim(SYSTEM, claim_id).test.holds([a, b])
        return Finding(claim_id, held, summary, _values(scores, (first, second), (calls,), unit))

    return compare


second_session = _two_sided("second-session", 1, names.SECOND_ON_CATCH_UP, names.SECOND_ON_FLOW)
one_step_needs_second_session = _two_sided("one-step-needs-second-session", 1, names.RK12, names.SECOND_ON_CATCH_UP)


def second_session_floor(scores: BySeed, floors: dict[int, float], unit: str) -> Finding:
    """One step after the second session, against what fresh data score. ``floors``: seed -> distance."""
    label = names.SECOND_ON_CATCH_UP
    reached, floor = _mean(scores, label, 1), mean(floors.values())
    held = claim(SYSTEM, "second-session-floor").test.holds([reached, floor])
    values = _values(scores, (label,), (1,), unit)
    values += [
        {"label": "fresh data", "seed": seed, "setting": {}, "value": value, "unit": unit}
        for seed, value in floors.items()
    ]
    summary = f"One step after the second session has {number(reached, 3)}, fresh data {number(floor, 3)}."
    return Finding("second-session-floor", held, summary, values)


def rk_order(scores: BySeed, unit: str) -> Finding:
    """RK34 read through its last head against RK12, with two calls; the other heads are shown beside them."""
    last = f"{names.RK34}, head 3"
    a, b = _mean(scores, last, 2), _mean(scores, names.RK12, 2)
    held = claim(SYSTEM, "rk-order").test.holds([a, b])
    known = next(iter(scores.values()))
    heads = tuple(f"{scheme}, head" for scheme in (names.RK23, names.RK34))
    shown = [label for label in known if label == names.RK12 or label.startswith(heads)]
    first = _mean(scores, f"{names.RK34}, head 1", 2)
    summary = f"With 2 calls RK34's head 3 has {number(a, 3)}, its head 1 {number(first, 3)}, and RK12 {number(b, 3)}."
    return Finding("rk-order", held, summary, _values(scores, shown, FEW_STEPS, unit))


def peers_at_equal_compute(scores: BySeed, unit: str) -> Finding:
    """In one step: the worst of the peers against the first session of catch-up."""
    peers = (names.REFLOW, names.CONSISTENCY, names.CONSISTENCY_DISTILLED, names.PROGRESSIVE)
    means = {label: _mean(scores, label, 1) for label in peers}
    worst = max(means, key=means.get)
    session = _mean(scores, names.RK12, 1)
    held = claim(SYSTEM, "peers-at-equal-compute").test.holds([means[worst], session])
    summary = (
        f"In one step the worst peer, {worst}, has {number(means[worst], 3)}; catch-up RK12 has {number(session, 3)}."
    )
    return Finding("peers-at-equal-compute", held, summary, _values(scores, (names.RK12, *peers), (1, 2, 4, 8), unit))


def _mean(scores: BySeed, label: str, calls: int) -> float:
    return mean(run[label][calls] for run in scores.values())


def _values(scores: BySeed, labels: Iterable[str], calls: Iterable[int], unit: str) -> list[dict[str, Any]]:
    return [
        {"label": label, "seed": seed, "setting": {"network calls": n}, "value": run[label][n], "unit": unit}
        for seed, run in scores.items()
        for label in labels
        for n in calls
        if n in run[label]
    ]


def _share(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"


def _capital(label: str) -> str:
    return label[0].upper() + label[1:]


def _calls(count: int) -> str:
    return "1 network call" if count == 1 else f"{count} network calls"
