"""``papers reproduce cenet``: the card's claims over several seeds, and the study that the chapter draws from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lib.cenet import claims, comparison
from lib.cenet import study as study_file
from lib.cenet.comparison import LONG_RANGE, PAIRS, SAME
from lib.cenet.config import real, with_network
from lib.cenet.evaluate import evaluate, noise_sweep
from lib.cenet.stream import Stream
from lib.cenet.study import Study
from lib.cenet.task import Task, load_task
from lib.cenet.train import train
from lib.downloads import data_root
from lib.errors import UserError
from lib.papers import Measurement
from lib.training.run import Run
from lib.training.side_by_side import side_by_side

LEVELS = (20.0, 10.0, 5.0, 0.0)
REAL_STEPS = 600
REAL_NETWORKS = {comparison.GRAPH: "cenet-gcn-6", comparison.PLAIN: "cenet-6", comparison.BC: "bc-resnet-1"}
WORDS = ("bed", "cat", "happy")
SWEPT = (comparison.PLAIN, comparison.GRAPH, comparison.UNIFORM)
"""Whose accuracy is also taken at every level of noise."""
LONGER, PATIENT_SEEDS = 4, 3
PATIENT = (comparison.TC, comparison.BC, comparison.PLAIN, comparison.GRAPH, comparison.UNIFORM)
"""Who is also trained longer, how many times the steps, and on how many of the seeds: it takes as long as the rest."""
MORE_SEEDS = 3
"""For each seed of the study, so many more on which only the graph is held against its controls: the differences are
small, and with the noise of five seeds they turned round when features changed in their seventh digit."""


def study(seed: int, longer: bool = False, only_graph: bool = False) -> Study:
    """Everything once, for one seed.

    Args:
        longer: five of the networks also for ``LONGER`` times the steps.
        only_graph: nothing but the graph and its controls on the embedded commands.
    """
    start = time.perf_counter()
    found: Study = {"seed": seed}
    if only_graph:
        found["graph"] = _embedded(seed, study_file.GRAPH_QUESTION)
    else:
        found |= {"embedded": _embedded(seed), "long_range": _long_range(seed), **_recorded(seed)}
    if longer:
        found["longer"] = longer_trained(seed)
    return found | {"minutes": round((time.perf_counter() - start) / 60, 2)}


def _embedded(seed: int, labels: Sequence[str] = ()) -> dict[str, Any]:
    """The embedded commands, by all networks or these; noise at every level only where all are trained."""
    chosen = comparison.networks()
    base = chosen[comparison.GRAPH]
    stream = Stream(comparison.commands("train"), base, seed).keep(base.recipe.steps)
    test, clean = comparison.commands_in_noise(seed=seed), comparison.commands("test")
    found = {}
    for label in labels or chosen:
        spotter = train(chosen[label], stream, Run(seed, progress=False))
        score = evaluate(spotter, test)
        gammas = [float(values[-1]) for name, values in spotter.history.values.items() if name.startswith("gamma")]
        found[label] = {
            "accuracy": score.accuracy,
            "area": score.curves.area,
            "cpu_seconds": round(spotter.history.cpu_seconds, 1),
            "gammas": gammas,
        }
        if label in SWEPT and not labels:
            sweep = noise_sweep(spotter, clean, LEVELS, seed)
            found[label]["noise"] = [{"snr": level, "accuracy": share} for level, share in sweep.items()]
    return found


def longer_trained(seed: int) -> dict[str, dict[str, float]]:
    """The embedded commands again, with several times the steps: is it patience that a network lacks?"""
    chosen = {label: config for label, config in comparison.networks().items() if label in PATIENT}
    recipe = chosen[comparison.GRAPH].recipe
    recipe = replace(recipe, steps=LONGER * recipe.steps)
    stream = Stream(comparison.commands("train"), chosen[comparison.GRAPH], seed).keep(recipe.steps)
    test = comparison.commands_in_noise(seed=seed)
    found = {}
    for label, config in chosen.items():
        spotter = train(replace(config, recipe=recipe), stream, Run(seed, progress=False))
        accuracy = evaluate(spotter, test).accuracy
        found[label] = {"accuracy": accuracy, "cpu_seconds": round(spotter.history.cpu_seconds, 1)}
    return found


def _long_range(seed: int) -> dict[str, dict[str, float]]:
    run = Run(seed, progress=False)
    found: dict[str, dict[str, float]] = {}
    start = None
    for question in (PAIRS, SAME):
        stream = comparison.long_range_stream(question, seed)
        test = comparison.long_range_test(question, seed)
        found[question] = {}
        for adjacency, label in LONG_RANGE.items():
            if question == PAIRS and adjacency not in (None, "learned"):
                continue  # a sum of evidence answers it: nothing is left for the controls to show
            spotter = comparison.long_range_trained(adjacency, stream, run, start)
            found[question][label] = evaluate(spotter, test).accuracy
            if question == PAIRS and adjacency is None:
                backbone = spotter
        start = backbone
    return found


def _recorded(seed: int) -> dict[str, Any]:
    """Real recordings, where BOOK_DATA has them: digits with one speaker left out, three words of Speech Commands."""
    found: dict[str, Any] = {}
    try:
        root = data_root()
    except UserError:
        return found
    if (root / "fsdd").is_dir():
        voices = sorted(path.name for path in (root / "fsdd").iterdir() if path.is_dir())
        left_out = voices[seed % len(voices)]
        found["digits"] = {"left_out": left_out} | _on_recordings(Task("fsdd", test_speakers=(left_out,)), seed)
    if (root / "speech_commands").is_dir():
        found["words"] = _on_recordings(Task("speech_commands", WORDS, seed=seed), seed)
    return found


def _on_recordings(task: Task, seed: int) -> dict[str, float]:
    whole = real()
    base = replace(whole, recipe=replace(whole.recipe, steps=REAL_STEPS, warmup=REAL_STEPS // 6))
    clips = load_task(task, "train", 1.0, with_valid=True).clips
    test = load_task(task, "test", 1.0).clips
    stream = Stream(clips, base, seed).keep(REAL_STEPS)
    chosen = {label: with_network(base, name) for label, name in REAL_NETWORKS.items()}
    chosen[comparison.BC_IN_TIME] = comparison.shortened(chosen[comparison.BC])
    run = Run(seed, progress=False)
    return {label: evaluate(train(config, stream, run), test).accuracy for label, config in chosen.items()}


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
    comparison.commands("test")  # the corpus is made once, before several processes want it
    jobs = [(seed, place < PATIENT_SEEDS) for place, seed in enumerate(seeds)]
    jobs += [(max(seeds) + more, False, True) for more in range(1, MORE_SEEDS * len(seeds) + 1)]
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
