"""``papers train|evaluate|export|describe|reproduce hqnas``: see ``lib.commands`` for what all systems share.

PyTorch is imported inside the functions: making the flags and their help must be quick.
"""

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
    from lib.hqnas.config import HQNASConfig
    from lib.hqnas.train import Deployable
    from lib.vision.data import ImageSet

BUDGETS = (0.1, 0.25, 0.5)
"""Shares of the full cost that `papers describe` shows."""


@dataclass(frozen=True, kw_only=True)
class HQNASTrainOptions(TrainOptions):
    """Flags of ``papers train hqnas``."""

    hardware: Annotated[
        str | None,
        Option(
            help="bitfusion-small, bitfusion-large, the same with -energy, compute-bound, memory-bound, size, cpu "
            "(this processor, measured), or a file with a table of costs (default: the preset's)."
        ),
    ] = None
    budget: Annotated[
        float | None, Option(help="What the network may cost, as a share of the largest one at 8 bits: 0.25.")
    ] = None
    policy: Annotated[Path | None, Option(help="Train the network of this policy file, without a search.")] = None
    start: Annotated[
        Path | None, Option(help="Folder of a run whose search network to go on from: a fifth of a search's steps.")
    ] = None
    settings: Annotated[
        list[str],
        Option(
            "--set",
            help="Settings instead of the preset's: --set search.objective.form=additive retrain.steps=900. "
            "`papers describe hqnas --preset NAME` shows them all.",
        ),
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class HQNASEvaluateOptions(EvaluateOptions):
    """Flags of ``papers evaluate hqnas``."""

    hardware: Annotated[
        list[str], Option(help="Devices to model the cost on: --hardware size cpu (default: the run's own).")
    ] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class HQNASExportOptions:
    """Flags of ``papers export hqnas``."""

    checkpoint: Annotated[Path, Option(help="Folder of a run.")]
    out: Annotated[Path, Option(help="The file, ending in .onnx.")] = Path("network.onnx")
    float32: Annotated[bool, Option("--float32", help="Floats instead of integers of 8 bits.")] = False
    data: Annotated[str | None, Option(help="Images to check it on (default: the test images of the run's data).")] = (
        None
    )


def describe(preset: str | None) -> Report:
    """Space, parameters, multiplies and costs on every modelled device, of one preset or of all."""
    import json

    from lib.hqnas.config import PRESETS, preset_named
    from lib.papers import load_card

    card = load_card("hqnas")
    names = [preset] if preset else list(PRESETS)
    rows = [_described(preset_named(name)) for name in names]
    lines = [f"{card.title} ({card.year})", card.problem]
    for row in rows:
        lines += [
            "",
            f"{row['preset']}: {row['blocks']} searched blocks, {row['architectures']:.2g} networks, "
            f"{row['policies']:.2g} with their bits; images {row['image_shape']}",
            f"{'network':<18} {'parameters':>11} {'multiplies':>14} {'bytes at 8 bits':>16}",
            *(
                f"{name:<18} {one['parameters']:>11,} {one['multiplies']:>14,} {one['bytes']:>16,.0f}"
                for name, one in row["networks"].items()
            ),
            f"{'device':<24} {'largest, 8 bits':>16} {'4 bits':>9} {'2 bits':>9} {'cheapest':>9}  unit",
            *(
                f"{name:<24} {one['full']:>16,.4g} {one['four']:>9.3f} {one['two']:>9.3f} {one['cheapest']:>9.3f}"
                f"  {one['unit']}"
                for name, one in row["devices"].items()
            ),
        ]
    lines += [
        "",
        "The columns of bits and the cheapest network are shares of the largest one at 8 bits, as budgets are.",
        "The paper's own sizes and counts could not be read.",
    ]
    if preset is not None:
        lines += ["", json.dumps(rows[0]["config"], indent=1)]
    return Report("\n".join(lines), {"system": "hqnas", "title": card.title, "presets": rows})


def _described(config: "HQNASConfig") -> dict[str, Any]:
    from lib.hqnas.hardware import HARDWARE
    from lib.hqnas.space import SearchSpace

    digits = ((1, 8, 8), 10)
    known = {"imagenet": ((3, 224, 224), 1000), "cifar10": ((3, 32, 32), 10), "mnist": ((1, 28, 28), 10)}
    shape, classes = known.get(config.data, digits)
    space = SearchSpace(config.space, shape, classes)
    networks = {}
    for name, choices in (("largest", space.uniform(8)), ("smallest", space.smallest())):
        convs = [conv for _, conv, _ in space.convs(choices)]
        networks[name] = {
            "parameters": sum(conv.parameters for conv in convs),
            "multiplies": sum(conv.macs for conv in convs),
            "bytes": sum(conv.parameters for conv in convs),
        }
    devices = {}
    for name, device in HARDWARE.items():
        if name == "cpu":
            continue  # it would have to be measured first
        table = device.cost_table(space)
        full = table.full(space)
        devices[name] = {
            "full": full, "unit": table.unit, "four": table.of(space.uniform(4)) / full,
            "two": table.of(space.uniform(2)) / full, "cheapest": table.of(table.cheapest(space)) / full,
        }  # fmt: skip
    return {
        "preset": config.name, "blocks": len(space.blocks), "architectures": float(space.architectures),
        "policies": float(space.policies), "image_shape": "x".join(map(str, shape)), "networks": networks,
        "devices": devices, "config": config.to_dict(),
    }  # fmt: skip


def train(options: HQNASTrainOptions) -> Report | None:
    """Search a network for a device, and train what was found."""
    from lib.hqnas.evaluate import mean_bits, size_bytes, summary
    from lib.hqnas.hardware import hardware_named
    from lib.hqnas.space import SearchSpace, load_policy
    from lib.hqnas.train import SEARCH_FOLDER, load_supernet
    from lib.hqnas.train import train as train_network
    from lib.training.checkpoint import has_checkpoint
    from lib.training.run import Run

    config = _configuration(options)
    out = options.out or Path("runs") / _run_name(config, options)
    require_new_run(out, options.resume)
    if has_checkpoint(out / SEARCH_FOLDER) and not options.resume:
        raise UserError(f"{out} already holds a search: add --resume, or choose another folder with --out.")
    data = _images(options.data or config.data, "train")
    space = SearchSpace(config.space, data.shape, len(data.class_names))
    table = hardware_named(config.hardware).cost_table(space)
    table.target(space, config.search.objective.target)  # before minutes are spent
    policy = load_policy(options.policy, space) if options.policy else None
    start = load_supernet(options.start) if options.start else None
    fabric = launched_fabric(options, options.precision or "32-true")
    run = Run(
        seed=options.seed, out=out, resume=options.resume, checkpoint_every=options.checkpoint_every,
        max_steps=options.max_steps, fabric=fabric, workers=options.workers,
    )  # fmt: skip
    if run.rank == 0:
        note(f"Run in {out}: preset {config.name}, {data.describe()}.")
    choose_threads(options.threads, run, lambda: _suited_threads(config))
    try:
        made = train_network(config, data, run, table=table, start=start, policy=policy)
    except KeyboardInterrupt:
        kept = has_checkpoint(out) or has_checkpoint(out / SEARCH_FOLDER)
        what = f"what was done is kept in {out}, and --resume goes on from it" if kept else "nothing was written"
        raise KeyboardInterrupt(what) from None
    if run.rank:
        return None
    searched = made.found.history if made.found else None
    seconds = made.history.seconds + (searched.seconds if searched else 0.0)
    record = {
        "system": "hqnas", "out": str(out), "search_steps": searched.steps if searched else 0,
        "steps": made.history.steps, "seconds": seconds, "hardware": made.device, "cost": made.cost,
        "target": made.target, "unit": made.unit, "bits": mean_bits(space, made.choices),
        "bytes": size_bytes(space, made.choices), "network": summary(made.network),
    }  # fmt: skip
    text = (
        f"{summary(made.network)}: {made.cost:,.4g} {made.unit} on {made.device} (asked for {made.target:,.4g}). "
        f"{record['search_steps']:,} steps of search, {made.history.steps:,} of training, {seconds:.0f} s. "
        f"Next: `papers evaluate hqnas --checkpoint {out}`."
    )
    return Report(text, record)


def _run_name(config: "HQNASConfig", options: HQNASTrainOptions) -> str:
    device = Path(config.hardware).stem
    return f"hqnas-{config.name}-{device}-{config.search.objective.target:g}-{options.seed}"


def _configuration(options: HQNASTrainOptions) -> "HQNASConfig":
    from lib.hqnas.config import HQNASConfig, preset_named, with_settings
    from lib.vision.data import EMBEDDED_NAMES

    config = preset_named(options.preset or ("scaled" if options.data in (None, *EMBEDDED_NAMES) else "real"))
    if options.accumulate not in (None, 1):
        raise UserError("hqnas takes each batch in one part: leave --accumulate out, or lower --batch-size.")
    if options.policy and options.start:
        raise UserError("--policy needs no search and --start goes on with one: leave out one of the two.")
    if options.hardware is not None:
        config = replace(config, hardware=options.hardware)
    if options.budget is not None:
        if not 0 < options.budget <= 1:
            raise UserError(f"--budget is a share of the full cost, above 0 and up to 1, not {options.budget:g}.")
        objective = replace(config.search.objective, target=options.budget)
        config = replace(config, search=replace(config.search, objective=objective))
    if options.batch_size is not None:
        if options.batch_size < 2:
            raise UserError("--batch-size is 2 or more: batch normalisation needs something to compare.")
        search = replace(config.search, recipe=replace(config.search.recipe, batch_size=options.batch_size))
        config = replace(config, search=search, retrain=replace(config.retrain, batch_size=options.batch_size))
    return HQNASConfig.from_dict(with_settings(config, options.settings).to_dict())


def _suited_threads(config: "HQNASConfig") -> tuple[int, str]:
    import torch

    if config.space.stem < 32:
        return 1, "a small network"
    return torch.multiprocessing.cpu_count(), "a large network"


def _images(data: str, split: str) -> "ImageSet":
    from lib.vision.data import load_images

    if data == "imagenet":
        raise UserError("ImageNet cannot be fetched: name your folder of it, --data FOLDER, with a folder a class.")
    return load_images(data, split)


def evaluate(options: HQNASEvaluateOptions) -> Report:
    """Accuracy, modelled and measured latency, bits and size of a trained network."""
    from lib.hqnas.comparison import moved_everywhere
    from lib.hqnas.evaluate import evaluate as score_of
    from lib.hqnas.evaluate import mean_bits, size_bytes, summary
    from lib.hqnas.export import measured_latency
    from lib.hqnas.hardware import hardware_named
    from lib.hqnas.space import choices_to_list
    from lib.hqnas.train import load_trained

    made = load_trained(options.checkpoint)
    data = _test_images(made, options.data)
    judged = moved_everywhere(data, made.config.test_shift) if made.config.test_shift else data
    score = score_of(made.network, judged)
    space, choices = made.space, made.choices
    measured = measured_latency(made.network) if made.network.quantized else None
    modelled = {made.device: {"cost": made.cost, "unit": made.unit}}
    for name in options.hardware:
        table = hardware_named(name).cost_table(space)
        modelled[table.device] = {"cost": table.of(choices), "unit": table.unit}
    record = {
        "system": "hqnas", "checkpoint": str(options.checkpoint), "preset": made.config.name, "data": judged.name,
        "images": len(judged), "accuracy": score.accuracy, "interval": [score.low, score.high], "loss": score.loss,
        "class_accuracy": {
            name: None if share != share else float(share)
            for name, share in zip(made.class_names, score.class_accuracies, strict=True)
        },
        "network": summary(made.network), "policy": choices_to_list(choices), "bits": mean_bits(space, choices),
        "bytes": size_bytes(space, choices), "modelled": modelled, "target": made.target,
        "measured": measured and {"float32_us": measured[0].minimum_us, "int8_us": measured[1].minimum_us},
        "parameters": sum(conv.parameters for _, conv, _ in space.convs(choices)),
        "multiplies": sum(conv.macs for _, conv, _ in space.convs(choices)),
        "skipped": data.skipped, "notes": list(data.notes), "seed": options.seed,
    }  # fmt: skip
    return Report(_table(record), record)


def _test_images(made: "Deployable", data: str | None) -> "ImageSet":
    found = _images(data or made.config.data, "test")
    if tuple(found.shape) != made.space.image_shape:
        raise UserError(
            f"{found.name} has images of shape {tuple(found.shape)} and the network takes {made.space.image_shape}: "
            "name data like those that it learnt."
        )
    return found


def _table(record: dict[str, Any]) -> str:
    low, high = (100 * one for one in record["interval"])
    lines = [
        f"{record['data']}: {record['images']:,} images, {100 * record['accuracy']:.1f} % right "
        f"(95 % interval {low:.1f} to {high:.1f}, as if images were independent)",
        record["network"],
        f"{record['bits']:.2f} bits a searched weight, {record['bytes']:,.0f} bytes of weights, "
        f"{record['multiplies']:,} multiplies",
    ]
    for device, one in record["modelled"].items():
        lines.append(f"modelled on {device}: {one['cost']:,.4g} {one['unit']}")
    if measured := record["measured"]:
        lines.append(
            f"measured on this processor, one image, one thread: {measured['int8_us']:,.0f} microseconds with "
            f"integers, {measured['float32_us']:,.0f} with floats"
        )
    lines += [f"Skipped {count}: {reason}." for reason, count in sorted(record["skipped"].items())]
    lines += [f"Note: {sentence}." for sentence in record["notes"]]
    return "\n".join(lines)


def export(options: HQNASExportOptions) -> Report:
    """Write a network as an ONNX file, with integer weights, and check that it is as accurate."""
    from dataclasses import asdict

    from lib.hqnas.export import export_onnx
    from lib.hqnas.train import load_trained

    if options.out.suffix != ".onnx":
        raise UserError(f"{options.out} must end in .onnx: no other format is written.")
    require_writable(options.out.parent, [options.out.name])
    made = load_trained(options.checkpoint)
    calibration = _images(made.config.data, "train") if options.data is None else None
    report = export_onnx(
        made, options.out, _test_images(made, options.data), int8=not options.float32, calibration=calibration
    )
    text = (
        f"{options.out}: {report.file_bytes:,} bytes ({report.weight_bytes:,} of them weights at their bits). "
        f"PyTorch names {report.torch_accuracy:.1%} rightly, the file {report.onnx_accuracy:.1%}; they agree on "
        f"{report.agreement:.1%} of {report.images:,} images."
    )
    return Report(text, {"system": "hqnas", **{key: _plain(value) for key, value in asdict(report).items()}})


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def reproduce(seeds: Sequence[int]) -> Reproduction:
    """The card's claims over these seeds, and the figures that the chapter draws beside its own."""
    from lib.hqnas.reproduce import reproduce as measure
    from lib.hqnas.study import FILE
    from lib.papers import study_json

    measurements, study = measure(seeds, note)
    return Reproduction(measurements, {FILE: study_json(study)})
