"""``papers reproduce hqnas``: the card's claims over several seeds, and the study that the chapter draws from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lib.errors import UserError
from lib.hqnas import claims
from lib.hqnas import comparison as names
from lib.hqnas.baselines import Candidate
from lib.hqnas.baselines.evolution import train_shared
from lib.hqnas.claims import BITFUSION, COMPUTE, MEMORY
from lib.hqnas.comparison import Contest, aimed, moved_everywhere, transposed, varied
from lib.hqnas.config import scaled
from lib.hqnas.evaluate import mean_bits
from lib.hqnas.hardware import hardware_named
from lib.hqnas.lifelong import continue_search, shortened
from lib.hqnas.model import Supernet, sliced_from
from lib.hqnas.search import search
from lib.hqnas.space import SearchSpace, choices_to_list
from lib.hqnas.study import MIDDLE, SCRATCH, TRAINED, Study
from lib.papers import Measurement
from lib.training.run import Run
from lib.training.side_by_side import side_by_side
from lib.vision.data import load_images

FRONTS = {COMPUTE: (0.25, 0.15, 0.1), BITFUSION: (0.25, 0.12)}
"""Devices and budgets on which everybody competes, as shares of the full cost."""
HEADROOMS = (1.5, 3.0)
"""Beside the 2 of the two-step search's own: the knob that it has and the joint search has not."""
CANDIDATES = 4
"""Random networks a seed that are trained one by one."""
DEVICES = (COMPUTE, BITFUSION, MEMORY, "bitfusion-small-energy", "size")
EVERYWHERE = 0.25
"""The budget for which a network is searched on every device."""
CHANGES = {"target": (COMPUTE, 0.1), "device": (BITFUSION, 0.12), "data": (COMPUTE, 0.25)}
"""What changes in a lifelong search that began on the compute-bound device at 0.25, and what is asked for then."""
SHARES = (0.05, 0.1, 0.2, 0.4)
ANEW = (0.2, 0.4, 1.0)
"""Shares of a search's steps: going on, and from scratch."""
SHORT = 0.25
"""Fine-tuning behind a lifelong search, and behind the one from scratch beside it, in shares of a retraining."""


def contest(device: str, seed: int) -> Contest:
    """The embedded digits, each moved by up to a pixel, on a device."""
    config = scaled()
    data = load_images(config.data, "train")
    test = moved_everywhere(load_images(config.data, "test"), config.test_shift)
    space = SearchSpace(config.space, data.shape, len(data.class_names))
    table = hardware_named(device).cost_table(space)
    return Contest(config, space, table, data, test, Run(seed, progress=False))


def study(seed: int) -> Study:
    """Everything once, for one seed."""
    start = time.perf_counter()
    found: Study = {"seed": seed, "front": {}, "headroom": {}}
    for device, targets in FRONTS.items():
        task = contest(device, seed)
        shared = train_shared(task.space, task.config.search, task.data, task.run)
        found["front"][device] = _front(task, targets, shared)
        found["headroom"][device] = {
            str(factor): _network(task, task.two_step(targets[0], factor)) for factor in HEADROOMS
        }
    task, middle = contest(COMPUTE, seed), float(MIDDLE)
    found["variations"] = {
        label: _network(task, task.joint(middle, one)) for label, one in varied(aimed(task.config, middle)).items()
    }
    found["random"] = [_network(task, task.random(middle, number)) for number in range(CANDIDATES)]
    found["devices"] = _devices(seed)
    found["lifelong"] = _lifelong(seed)
    return found | {"minutes": round((time.perf_counter() - start) / 60, 2)}


def _front(task: Contest, targets: Sequence[float], shared: Supernet) -> dict[str, dict[str, Any]]:
    methods: dict[str, Callable[[float], Candidate | None]] = {
        names.JOINT: task.joint,
        names.TWO_STEP: task.two_step,
        names.GREEDY: task.greedy,
        names.EVOLUTION: lambda target: task.evolved(target, shared),
        names.RANDOM: task.random,
        names.UNIFORM: task.uniform,
    }
    found: dict[str, dict[str, Any]] = {label: {} for label in methods}
    for target in targets:
        for label, method in methods.items():
            try:
                candidate = method(target)
            except UserError:
                continue  # greedy: at 2 bits everywhere the shape still costs too much
            if candidate is not None:
                found[label][str(target)] = _network(task, candidate)
    return found


def _network(task: Contest, candidate: Candidate, scratch: bool = True) -> dict[str, Any]:
    found = {
        "policy": choices_to_list(candidate.choices),
        "cost": task.cost(candidate),
        "bits": mean_bits(task.space, candidate.choices),
        TRAINED: task.trained_on(candidate),
    }
    if scratch:
        found[SCRATCH] = task.from_scratch(candidate)
    return found


def _devices(seed: int) -> dict[str, Any]:
    """One search on each device, and what its network costs on the others."""
    found = {}
    for device in DEVICES:
        task = contest(device, seed)
        candidate = task.joint(EVERYWHERE)
        elsewhere = {
            other: table.of(candidate.choices) / table.full(task.space)
            for other in DEVICES
            for table in [hardware_named(other).cost_table(task.space)]
        }
        found[device] = _network(task, candidate, scratch=False) | {"elsewhere": elsewhere}
    return found


def _lifelong(seed: int) -> dict[str, Any]:
    """A search at 0.25 of the compute-bound device; then one thing changes. Going on, beside a search from scratch."""
    first = contest(COMPUTE, seed)
    lived = search(first.space, aimed(first.config, EVERYWHERE), first.table, first.data, first.run).supernet
    state = {name: value.clone() for name, value in lived.state_dict().items()}
    found: dict[str, Any] = {}
    for change, (device, target) in CHANGES.items():
        task = contest(device, seed)
        if change == "data":
            task = replace(task, data=transposed(task.data), test=transposed(task.test))
        config = aimed(task.config, target)
        steps = round(SHORT * task.config.retrain.steps)
        ways: dict[str, dict[str, Any]] = {"going on": {}, "from scratch": {}}
        for share in SHARES:
            supernet = Supernet(task.space, config.gates)
            supernet.load_state_dict(state)
            again = continue_search(supernet, config, task.table, task.data, task.run, share=share)
            ways["going on"][str(share)] = _finished(task, again, steps)
        for share in ANEW:
            fewer = replace(shortened(config, share), warm=config.warm)
            anew = search(task.space, fewer, task.table, task.data, task.run)
            ways["from scratch"][str(share)] = _finished(task, anew, steps)
        found[change] = ways
    return found


def _finished(task: Contest, found: Any, steps: int) -> dict[str, Any]:
    candidate = Candidate(found.choices, sliced_from(found.supernet, found.choices), found.steps)
    return {
        "policy": choices_to_list(candidate.choices),
        "cost": task.cost(candidate),
        "bits": mean_bits(task.space, candidate.choices),
        TRAINED: task.trained_on(candidate, steps),
    }


def reproduce(
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    note: Callable[[str], None] = lambda text: None,
    processes: int | None = None,
) -> tuple[list[Measurement], list[Study]]:
    """Every claim that this machine can test, over the seeds.

    ``note`` is told what is done. ``processes``: how many seeds run side by side; all cores if None.

    Returns:
        The measurements, and the study of each seed.

    Raises:
        UserError: no seed, or one of them twice.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"the seeds of a study are one or more different numbers, not {list(seeds)}.")
    jobs = [(seed,) for seed in seeds]
    studies = side_by_side(study, jobs, processes, lambda one: note(f"seed {one['seed']}: {one['minutes']} min"))
    studies.sort(key=lambda one: one["seed"])
    return measurements(studies), studies


def measurements(studies: Sequence[Study]) -> list[Measurement]:
    """The claims, judged over all seeds."""
    minutes = round(sum(one["minutes"] for one in studies), 1)
    return [
        finding.measured(claims.SYSTEM, preset=preset, data=data, minutes=minutes)
        for finding, preset, data in claims.findings(studies)
    ]
