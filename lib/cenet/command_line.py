"""``papers train|evaluate|export|describe|reproduce cenet``: see ``lib.commands`` for what all systems share.

PyTorch is imported inside the functions: making the flags and their help must be quick.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from lib.commands import (
    EvaluateOptions,
    Report,
    Reproduction,
    TrainOptions,
    choose_threads,
    launched_fabric,
    note,
    require_new_run,
    require_writable,
)
from lib.errors import UserError

if TYPE_CHECKING:
    from lib.cenet.config import KeywordConfig
    from lib.cenet.evaluate import Score
    from lib.cenet.spotter import Spotter
    from lib.cenet.task import Heard


@dataclass(frozen=True, kw_only=True)
class CENetTrainOptions(TrainOptions):
    """Flags of ``papers train cenet``."""

    network: Annotated[
        str | None,
        Option(
            help="cenet-6, cenet-24, cenet-40, cenet-gcn-6, cenet-gcn-24, cenet-gcn-40, tc-resnet8, tc-resnet14, "
            "tc-resnet14-1.5, res8-narrow, res15, bc-resnet-1, bc-resnet-3 (default: the preset's own)."
        ),
    ] = None
    words: Annotated[list[str], Option(help="These classes only: --words bed cat happy.")] = field(default_factory=list)
    unknown: Annotated[bool, Option("--unknown", help="With --words: the other words as one more class.")] = False
    test_speakers: Annotated[list[str], Option(help="Exactly these speakers are for the test.")] = field(
        default_factory=list
    )
    all_speakers: Annotated[bool, Option("--all-speakers", help="Train on everybody; no test is left.")] = False
    seconds: Annotated[
        float | None,
        Option(min=0.2, max=10, help="How long it listens (default: one second, or as long as the words last)."),
    ] = None
    settings: Annotated[
        list[str],
        Option(
            "--set",
            help="Settings instead of the preset's: --set network.graph.adjacency=uniform recipe.steps=900. "
            "`papers describe cenet --preset NAME` shows them all.",
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CENetEvaluateOptions(EvaluateOptions):
    """Flags of ``papers evaluate cenet``."""

    split: Annotated[
        str | None, Option(help="train, valid or test of --data; without it every recording of a folder counts.")
    ] = None
    snr: Annotated[list[float], Option(help="Accuracy also with noise at these levels (dB): --snr 20 10 0.")] = field(
        default_factory=list
    )


@dataclass(frozen=True, kw_only=True)
class CENetExportOptions:
    """Flags of ``papers export cenet``."""

    checkpoint: Annotated[Path, Option(help="Folder of a run.")]
    out: Annotated[Path, Option(help="The file, ending in .onnx.")] = Path("spotter.onnx")


def describe(preset: str | None) -> Report:
    """Configuration, parameters and multiplies of one preset, or of every network, beside what papers print."""
    import json

    from lib.cenet.config import NETWORKS, PAPER_FEATURES, preset_named, scaled
    from lib.papers import load_card

    card = load_card("cenet")
    lines = [f"{card.title} ({card.year})", card.problem, "", _ROW.format(*_HEADINGS)]
    if preset is None:
        shown = [("scaled", scaled().network, scaled().features)]
        shown += [(name, network, PAPER_FEATURES) for name, network in NETWORKS.items()]
        rows = [_described(*one) for one in shown]
    else:
        config = preset_named(preset)
        rows = [_described(config.name, config.network, config.features) | {"config": config.to_dict()}]
    for row in rows:
        paper = [row["paper_parameters"], row["paper_multiplies"]]
        counts = [row["parameters"], paper[0], row["multiplies"], paper[1], row["graph_multiplies"], row["operations"]]
        lines.append(_ROW.format(row["preset"], *("-" if count is None else f"{count:,.0f}" for count in counts)))
    lines += [
        "",
        "For one second of sound: 101 frames (scaled: 51). Multiplies: activations with weights, padding included, the",
        "convention of most papers. Of the graph: activations with each other, which the paper's figures leave out.",
        "Operations: the other convention, two for every multiply of both kinds.",
    ]
    if preset is not None:
        lines += ["", json.dumps(rows[0]["config"], indent=1)]
    return Report("\n".join(lines), {"system": "cenet", "title": card.title, "presets": rows})


_ROW = "{:<16} {:>10} {:>11} {:>13} {:>11} {:>12} {:>14}"
_HEADINGS = ("network", "parameters", "in print", "multiplies", "in print", "of the graph", "operations")


def _described(name: str, network: Any, features: Any) -> dict[str, Any]:
    from lib.cenet.model import build_network, network_multiplies
    from lib.cenet.published import PUBLISHED
    from lib.training.multiplies import count_parameters

    found = network_multiplies(network, features.frames(features.sample_rate), features.width)
    paper = PUBLISHED.get(name)
    return {
        "preset": name,
        "parameters": count_parameters(build_network(network, 12)),
        "paper_parameters": paper and paper.parameters,
        "multiplies": found.by_weights,
        "graph_multiplies": found.by_activations,
        "operations": found.operations,
        "paper_multiplies": paper and paper.multiplies,
    }


def train(options: CENetTrainOptions) -> Report | None:
    """Train a keyword spotter, with or without the graph, or a network that it is compared with."""
    from lib.cenet.config import with_settings
    from lib.cenet.task import EMBEDDED, Task, load_task, suited_seconds
    from lib.cenet.train import train as train_spotter
    from lib.training.run import Run

    data = options.data or EMBEDDED
    preset = options.preset or ("scaled" if data == EMBEDDED else "real")
    config = _configuration(options, preset)
    label = options.network or "own"
    out = options.out or Path("runs") / f"cenet-{config.name}-{label}-{options.seed}"
    require_new_run(out, options.resume)
    words, test_speakers = tuple(dict.fromkeys(options.words)), tuple(dict.fromkeys(options.test_speakers))
    task = Task(_wherever_it_is_read(data), words, options.unknown, test_speakers, options.all_speakers)
    seconds = options.seconds
    if seconds is None and not any(one.startswith("seconds=") for one in options.settings):
        seconds = suited_seconds(task)
    if seconds is not None:
        config = with_settings(config, [f"seconds={seconds}"])
    heard = load_task(task, "train", config.seconds, with_valid=config.recipe.train_on_validation)
    fabric = launched_fabric(options, options.precision or "32-true")
    run = Run(
        seed=options.seed, out=out, resume=options.resume, checkpoint_every=options.checkpoint_every,
        max_steps=options.max_steps, fabric=fabric, accumulate=options.accumulate or 1, description=label,
    )  # fmt: skip
    if run.rank == 0:
        note(f"Run in {out}: preset {config.name}, {len(heard.clips)} clips of {config.seconds:g} s.")
        _tell(heard)
    choose_threads(options.threads, run, lambda: (1, "a small network"))
    try:
        spotter = train_spotter(config, heard.clips, run, task=task)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_is_kept(out)) from None
    if run.rank:
        return None
    seen = spotter.history
    text = f"{seen.steps:,} steps in {seen.seconds:.0f} s. Next: `papers evaluate cenet --checkpoint {out}`."
    record = {
        "system": "cenet", "out": str(out), "steps": seen.steps, "seconds": seen.seconds,
        "classes": list(spotter.class_names), "clips": len(heard.clips), "skipped": heard.skipped,
    }  # fmt: skip
    return Report(text, record)


def _is_folder(data: str) -> bool:
    """Whether --data names a folder and no known corpus."""
    from lib.cenet.task import EMBEDDED
    from lib.files import at_home
    from lib.speech.corpora import CORPORA

    return data not in (EMBEDDED, *CORPORA) and at_home(data).is_dir()


def _wherever_it_is_read(data: str) -> str:
    """The same data for a command that is given in another folder."""
    from lib.files import at_home

    return str(at_home(data).absolute()) if _is_folder(data) else data


def _configuration(options: CENetTrainOptions, preset: str) -> "KeywordConfig":
    from lib.cenet.config import preset_named, with_network, with_settings

    config = preset_named(preset)
    if options.network is not None:
        config = with_network(config, options.network)
    if options.batch_size is not None:
        if options.batch_size < 2:
            raise UserError("--batch-size is 2 or more: batch normalisation needs something to compare.")
        config = replace(config, recipe=replace(config.recipe, batch_size=options.batch_size))
    if options.accumulate and config.recipe.batch_size % options.accumulate:
        raise UserError(f"a batch of {config.recipe.batch_size} does not fall into {options.accumulate} equal parts.")
    return with_settings(config, options.settings)


def _tell(heard: "Heard") -> None:
    counts = ", ".join(f"{name} {count}" for name, count in heard.clips.counts.items())
    note(f"{heard.clips.name}: {counts}.")
    for sentence in heard.notes:
        note(f"Note: {sentence}.")
    for reason, count in sorted(heard.skipped.items()):
        note(f"Skipped {count}: {reason}.")


def _what_is_kept(out: Path) -> str:
    from lib.training.checkpoint import has_checkpoint

    if has_checkpoint(out):
        return f"the checkpoint is kept in {out}, and --resume goes on from it"
    return "nothing was written"


def evaluate(options: CENetEvaluateOptions) -> Report:
    """Accuracy on the test speakers of the run's own data, or on every recording of a folder."""
    from lib.cenet.evaluate import evaluate as score_of
    from lib.cenet.evaluate import noise_sweep
    from lib.cenet.spotter import load_spotter

    spotter = load_spotter(options.checkpoint)
    heard = _recordings(options, spotter)
    score = score_of(spotter, heard.clips)
    record = {
        "system": "cenet", "checkpoint": str(options.checkpoint), "preset": spotter.config.name,
        "data": options.data or spotter.task.get("data", ""), "clips": len(heard.clips),
        "accuracy": score.accuracy, "interval": [score.low, score.high],
        "class_accuracy": {
            name: None if share != share else float(share)
            for name, share in zip(spotter.class_names, score.class_accuracies, strict=True)
        },
        "area": None if score.curves is None else score.curves.area,
        "classes": list(spotter.class_names), "confusion": score.confusion.tolist(),
        "skipped": heard.skipped, "notes": list(heard.notes), "seed": options.seed,
    }  # fmt: skip
    if options.snr:
        clean = _recordings(options, spotter, clean=True).clips
        found = noise_sweep(spotter, clean, tuple(options.snr), options.seed)
        record["noise"] = [{"snr": level, "accuracy": share} for level, share in found.items()]
    return Report(_table(record, score), record)


def _recordings(options: CENetEvaluateOptions, spotter: "Spotter", clean: bool = False) -> "Heard":
    from lib.cenet.task import Task, load_task

    own = Task.from_dict(spotter.task) if spotter.task else Task()
    if options.data is not None and options.split is None and _is_folder(options.data):
        return _whole_folder(options.data, spotter)
    data = own.data if options.data is None else _wherever_it_is_read(options.data)
    task = own if data == own.data else Task(data, own.words)
    return _same_classes(load_task(task, options.split or "test", spotter.config.seconds, clean=clean), spotter)


def _whole_folder(data: str, spotter: "Spotter") -> "Heard":
    """Every recording of a folder. Words that are no class count as ``unknown`` if the spotter has that class."""
    from lib.cenet.clips import clips_of
    from lib.cenet.task import Heard
    from lib.files import at_home
    from lib.speech.data import UNKNOWN
    from lib.speech.folders import load_all, require_classes

    names = spotter.class_names
    speech = require_classes(load_all(at_home(data), None if UNKNOWN in names else names), 1)
    notes = speech.notes
    if strange := sorted({one.label for one in speech.utterances} - set(names)):
        notes += (f"no class of the spotter, so counted as '{UNKNOWN}': {', '.join(strange)}",)
    return Heard(clips_of(speech, spotter.config.seconds, names), notes, speech.skipped)


def _same_classes(heard: "Heard", spotter: "Spotter") -> "Heard":
    """The clips with their classes numbered as the spotter learnt them."""
    names = heard.clips.class_names
    strange = [name for name in names if name not in spotter.class_names]
    if strange:
        raise UserError(
            f"{heard.clips.name} has a class '{strange[0]}' that this run never learnt; it knows "
            f"{', '.join(spotter.class_names)}: name data of these classes."
        )
    import torch

    numbers = torch.tensor([spotter.class_names.index(name) for name in names])
    clips = replace(heard.clips, labels=numbers[heard.clips.labels], class_names=spotter.class_names)
    return replace(heard, clips=clips)


def _table(record: dict[str, Any], score: "Score") -> str:
    low, high = (100 * one for one in record["interval"])
    lines = [
        f"{record['data']}: {record['clips']:,} clips, {100 * record['accuracy']:.1f} % right "
        f"(95 % interval {low:.1f} to {high:.1f}, as if clips were independent)"
    ]
    for name, share in record["class_accuracy"].items():
        lines.append(f"{name:<16} {'no clip' if share is None else f'{100 * share:5.1f} %'}")
    if record["area"] is not None:
        lines.append(f"Area under false rejects over false alarms: {record['area']:.4f} (lower is better).")
    for row in record.get("noise", ()):
        lines.append(f"Noise {row['snr']:g} dB below the speech: {100 * row['accuracy']:.1f} %.")
    lines += [f"Skipped {count}: {reason}." for reason, count in sorted(record["skipped"].items())]
    lines += [f"Note: {sentence}." for sentence in record["notes"]]
    return "\n".join(lines)


def export(options: CENetExportOptions) -> Report:
    """Write a trained spotter as an ONNX file, and check that it says what the spotter says."""
    from lib.cenet.export import export_onnx
    from lib.cenet.spotter import load_spotter

    if options.out.suffix != ".onnx":
        raise UserError(f"{options.out} must end in .onnx: no other format is written.")
    require_writable(options.out.parent, [options.out.name])
    spotter = load_spotter(options.checkpoint)
    start = time.perf_counter()
    difference = export_onnx(spotter, options.out)
    seconds = time.perf_counter() - start
    size = options.out.stat().st_size
    text = f"{options.out}: {size:,} bytes in {seconds:.0f} s; logits differ by {difference:.1e} at most."
    return Report(text, {"system": "cenet", "out": str(options.out), "bytes": size, "difference": difference})


def reproduce(seeds: Sequence[int]) -> Reproduction:
    """The card's claims over these seeds, and the figures that the chapter draws beside its own."""
    from lib.cenet.reproduce import reproduce as measure
    from lib.cenet.study import FILE
    from lib.papers import study_json

    measurements, study = measure(seeds, note)
    return Reproduction(measurements, {FILE: study_json(study)})
