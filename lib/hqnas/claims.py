"""From measured numbers to verdicts: the claims of ``seeds/hqnas.yml``, tested the same in the chapter and over seeds.

Accuracies are in percent, costs in multiples of the budget or in shares of the full cost. Over several seeds it is the
mean that must keep the claim with the card's margin.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from lib import papers
from lib.hqnas import comparison as names
from lib.hqnas import study
from lib.hqnas.study import SCRATCH, TRAINED, ByLabel, Study
from lib.papers import Finding, claim, number

SYSTEM = "hqnas"
DATA = "scikit-learn digits, moved by up to a pixel"
COMPUTE, BITFUSION, MEMORY = "compute-bound", "bitfusion-small", "memory-bound"
ON = {COMPUTE: f"{DATA}; compute-bound device", BITFUSION: f"{DATA}; BitFusion-like device"}
CHANGED = {"target": "a tighter budget", "device": "another device", "data": "other data"}
CLOSE = 0.5
"""Points below a whole search from scratch that count as "as good"."""
STEPS = 400
"""Of a search with the scaled preset."""
EPOCH = 1300 / 64
"""Steps in which the search sees each of the digits once."""


def compared(claim_id: str, found: ByLabel, first: str, second: str, shown: Sequence[str] = ()) -> Finding:
    """Whether the mean of ``first`` keeps the claim beside that of ``second``; numbers in percent."""
    return papers.compared(SYSTEM, claim_id, found, first, second, shown)


def budget_kept(found: ByLabel) -> Finding:
    """Cost over budget of the joint search beside that of the two-step one. ``found``: multiples of the budget."""
    first, second = names.JOINT, names.TWO_STEP
    return papers.compared(SYSTEM, "budget-without-guess", found, first, second, unit="times the budget")


def candidates_needed(joint: Mapping[int, float], random: Sequence[float], search_steps: int, steps: int) -> Finding:
    """Steps until a random network is as good as the one that was searched, both trained from scratch.

    Args:
        joint: seed -> percent. random: percent of every random network, each trained for ``steps``.
    """
    level = mean(joint.values())
    as_good = sum(one >= level for one in random)
    # One in so many: as often as seen; where none was seen, it takes more than all that were tried.
    needed = len(random) / as_good if as_good else len(random)
    whole, theirs = search_steps + steps, needed * steps
    bound = "" if as_good else "more than "
    summary = (
        f"A search with retraining takes {whole:,} steps. {as_good} of {len(random)} random networks were as good "
        f"({number(level, 3)} % from scratch), so that one is found after {bound}{number(needed, 2)} of them, or "
        f"{bound}{theirs:,.0f} steps: {number(100 * whole / theirs, 2)} % of that."
    )
    values = [
        {"label": names.JOINT, "seed": 0, "value": whole, "unit": "steps"},
        {"label": "training random networks", "seed": 0, "value": theirs, "unit": "steps"},
    ]
    return Finding("cheap-search", claim(SYSTEM, "cheap-search").test.holds([whole, theirs]), summary, values)


def bits_by_device(bits: ByLabel) -> Finding:
    """Mean bits of the networks searched for two devices. ``bits``: device -> seed -> mean bits of a weight."""
    return papers.compared(SYSTEM, "bits-follow-hardware", bits, COMPUTE, MEMORY, unit="bits")


def networks_by_device(found: ByLabel) -> Finding:
    """How much two searches have in common: for two devices, and for one device with two seeds."""
    return compared("networks-follow-hardware", found, study.OTHER_DEVICE, study.OTHER_SEED)


def lifelong(
    going_on: Mapping[float, float], anew: Mapping[float, float], steps: int = STEPS, epoch: float = EPOCH
) -> Finding:
    """Steps of search, and epochs, until a network is as good as after a whole search: going on, and from scratch.

    Args:
        going_on, anew: share of a whole search's steps -> percent (mean over seeds), behind the same fine-tuning.
        steps: of a whole search. epoch: steps in which it sees every image once.
    """
    level = anew[max(anew)] - CLOSE
    first, second = (_least(one, level) for one in (going_on, anew))
    test = claim(SYSTEM, "lifelong").test
    needed = [float("nan") if one is None else one * steps for one in (first, second)]
    told = [
        "none of the shares tried" if one is None else f"{one * steps:,.0f} steps ({one * steps / epoch:.1f} epochs)"
        for one in (first, second)
    ]
    summary = (
        f"To within {CLOSE} points of a whole search ({number(level + CLOSE, 3)} %): going on {told[0]}, from scratch "
        f"{told[1]}."
    )
    values = [
        {"label": label, "seed": 0, "value": value, "unit": "percent", "setting": {"steps": round(share * steps)}}
        for label, row in (("going on", going_on), ("from scratch", anew))
        for share, value in sorted(row.items())
    ]
    return Finding("lifelong", test.holds(needed), summary, values)


def _least(row: Mapping[float, float], level: float) -> float | None:
    good = [share for share, value in row.items() if value >= level]
    return min(good) if good else None


def single_path(ours: int, branches: int) -> Finding:
    """Bytes that a step keeps for its gradients: the supernet's, and those of one with parallel branches."""
    test = claim(SYSTEM, "single-path-memory").test
    million = [one / 1e6 for one in (ours, branches)]
    summary = (
        f"A step of the supernet keeps {number(million[0], 3)} million bytes for its gradients, one with parallel "
        f"branches {number(million[1], 3)} million: {number(ours / branches, 2)} of it."
    )
    values = [
        {"label": label, "seed": 0, "value": value, "unit": "million bytes"}
        for label, value in zip(("super-kernels", "parallel branches"), million, strict=True)
    ]
    return Finding("single-path-memory", test.holds(million), summary, values)


def of_front(studies: Sequence[Study], device: str) -> Iterator[Finding]:
    """The claims about one device's front, each averaged over the budgets that both sides have."""
    rivals = {
        "joint-beats-two-steps": (names.TWO_STEP, TRAINED),
        "joint-beats-two-steps-from-scratch": (names.TWO_STEP, SCRATCH),
        "front-beats-random": (names.RANDOM, TRAINED),
        "front-beats-uniform": (names.UNIFORM, TRAINED),
        "as-good-as-evolution": (names.EVOLUTION, TRAINED),
        "as-good-as-greedy": (names.GREEDY, TRAINED),
    }
    for claim_id, (rival, key) in rivals.items():
        found = study.over_front(studies, device, key, names.JOINT, rival)
        if found[rival]:
            yield compared(claim_id, found, names.JOINT, rival)
    yield budget_kept(study.over_budget(studies, device))


def findings(studies: Sequence[Study]) -> Iterator[tuple[Finding, str, str]]:
    """All claims over the seeds of a study: (finding, preset, data)."""
    for device, data in ON.items():
        for finding in of_front(studies, device):
            yield finding, "scaled", data
    yield cheap(studies), "scaled", ON[COMPUTE]
    yield bits_by_device(study.by_device(studies, "bits")), "scaled", f"{DATA}; two devices"
    devices = (COMPUTE, BITFUSION, MEMORY)
    if len(studies) > 1:
        yield networks_by_device(study.agreements(studies, devices)), "scaled", f"{DATA}; three devices"
    for change, words in CHANGED.items():
        yield lifelong(*study.lifelong(studies, change)), "scaled", f"{DATA}; then {words}"


def cheap(studies: Sequence[Study]) -> Finding:
    """Random candidates of all seeds together, at the budget of the variations."""
    joint = study.at_budget(studies, COMPUTE, study.MIDDLE, SCRATCH)[names.JOINT]
    random = [100 * one[SCRATCH] for each in studies for one in each["random"]]
    return candidates_needed(joint, random, STEPS, STEPS)
