"""``papers train|evaluate|sample|describe|reproduce cud``: see ``lib.commands`` for the part that all systems share.

PyTorch is imported inside the functions: making the flags and their help must be quick.
"""

import io
from collections.abc import Callable, Sequence
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
from lib.files import write_whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lib.cud.baselines import ConsistencyFlow
    from lib.cud.config import CUDConfig
    from lib.cud.fit import Run
    from lib.cud.train import Data, TrainedFlow
    from lib.vision.data import ImageSet

    Trained = TrainedFlow | ConsistencyFlow

OWN_METHOD = "catch_up"
FROM_DATA = "consistency_training"
FROM_FLOW = ("reflow", "progressive_distillation", "consistency_distillation")
PAPER_PARAMETERS = {"mnist": 2_155_201, "cifar10": 55_732_739, "imagenet64": 295_899_267}
"""Of the velocity network: stated in the official repositories, or counted by us in their configurations."""


@dataclass(frozen=True, kw_only=True)
class CUDTrainOptions(TrainOptions):
    """Flags of ``papers train cud``."""

    method: Annotated[
        str,
        Option(
            help="catch_up (the preset's own), flow_matching, minibatch_ot, rk12, rk23, rk34, rk34_exact, catch_up_ot, "
            "learned_coupling, catch_up_learned, consistency_training; with --from also reflow, "
            "progressive_distillation, consistency_distillation."
        ),
    ] = OWN_METHOD
    session: Annotated[int, Option(min=1, max=2, help="2: distil the run of --from to one step.")] = 1
    settings: Annotated[
        list[str],
        Option(
            "--set",
            help="Settings instead of the preset's: --set catch_up.teacher=ema catch_up.step_size=rule. "
            "`papers describe cud --preset NAME` shows them all.",
        ),
    ] = field(default_factory=list)
    source: Annotated[Path | None, Option("--from", help="Folder of a trained run to start from.")] = None


@dataclass(frozen=True, kw_only=True)
class CUDEvaluateOptions(EvaluateOptions):
    """Flags of ``papers evaluate cud``."""

    nfe: Annotated[list[int], Option(help="Network calls for a sample: --nfe 1 2 4.")] = field(
        default_factory=lambda: [1, 2, 4, 8, 16]
    )
    solver: Annotated[str, Option(help="euler, heun, rk4, dpm_solver_2, dpm_solver_3, deis_2 or adaptive.")] = "euler"
    head: Annotated[int | None, Option(help="Output head to follow, from 1 (default: the last).")] = None
    samples: Annotated[int | None, Option(min=2, help="Default: 8000 points, or 1000 images.")] = None
    straightness: Annotated[bool, Option("--straightness", help="Measure also how straight the paths are.")] = False
    accelerator: Annotated[str, Option(help="auto (a CUDA device, else the processor), cpu, cuda, gpu or mps.")] = (
        "auto"
    )
    inception: Annotated[bool, Option("--inception", help="FID with the Inception network, too (see the README).")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class CUDSampleOptions:
    """Flags of ``papers sample cud``."""

    checkpoint: Annotated[Path, Option(help="Folder of a run.")]
    out: Annotated[Path, Option(help="The picture, a .png file.")] = Path("samples.png")
    n: Annotated[int, Option(min=1, help="How many samples.")] = 64
    nfe: Annotated[int, Option(help="Network calls for a sample.")] = 4
    solver: Annotated[str, Option(help="As for evaluate.")] = "euler"
    head: Annotated[int | None, Option(help="Output head to follow, from 1 (default: the last).")] = None
    seed: Annotated[int, Option(min=0, help="Of the noise.")] = 0
    accelerator: Annotated[str, Option(help="As for evaluate.")] = "auto"


def describe(preset: str | None) -> Report:
    """Configuration, parameters and multiplies of one preset, or of all, beside the paper's parameter counts."""
    import json

    from lib.cud.config import PRESETS, preset_named
    from lib.papers import load_card

    names = list(PRESETS) if preset is None else [preset_named(preset).name]
    rows = [_described(PRESETS[name]()) for name in names]
    card = load_card("cud")
    lines = [f"{card.title} ({card.year})", card.problem, "", _ROW.format(*_HEADINGS)]
    for row in rows:
        counts = [row[key] for key in ("parameters", "paper_parameters", "encoder_parameters", "multiplies")]
        optimiser = row["config"]["optimiser"]
        cells = ["-" if count is None else f"{count:,}" for count in counts]
        lines.append(_ROW.format(row["preset"], *cells, f"{optimiser['steps']:,} x {optimiser['batch_size']:,}"))
    lines += ["", "Multiplies: of one network call for one sample. Their paper counts were not published."]
    if preset is not None:
        lines += ["", json.dumps(rows[0]["config"], indent=1)]
    return Report("\n".join(lines), {"system": "cud", "title": card.title, "presets": rows})


_ROW = "{:<11} {:>13} {:>13} {:>13} {:>17} {:>16}"
_HEADINGS = ("preset", "parameters", "the paper's", "encoder's", "multiplies", "steps x batch")


def _described(config: "CUDConfig") -> dict[str, Any]:
    import torch

    from lib.cud.model import build_encoder, build_model, count_multiplies
    from lib.training.multiplies import count_parameters

    with torch.device("meta"):  # shapes only: nothing is allocated or drawn
        model = build_model(config.network, config.heads)
        encoder = None if config.coupling.encoder is None else build_encoder(config.coupling.encoder)
    return {
        "preset": config.name,
        "parameters": count_parameters(model),
        "paper_parameters": PAPER_PARAMETERS.get(config.name),
        "encoder_parameters": None if encoder is None else count_parameters(encoder),
        "multiplies": count_multiplies(model, (1, *config.network.input_shape)),
        "paper_multiplies": None,
        "config": config.to_dict(),
    }


def train(options: CUDTrainOptions) -> Report | None:
    """Train Catch-Up Distillation, one of its ablations, or a method that it is compared with."""
    from lib.cud.suit_data import load_suited
    from lib.cud.train import TrainedFlow, require_teacher

    _check_combination(options)
    flow = None if options.source is None else load(options.source)
    if flow is not None and not isinstance(flow, TrainedFlow):
        raise UserError(f"{options.source} holds a consistency model, which walks no path: name the run of a flow.")
    if flow is not None:
        require_teacher(flow)
    config = _configuration(options, flow)
    if getattr(config.network, "classes", 0) and options.method in (FROM_DATA, *FROM_FLOW):
        raise UserError(f"method '{options.method}' knows no classes: preset '{config.name}' has another network.")
    label = "session2" if options.session == 2 else options.method
    out = options.out or default_out(config.name, label, options.seed)
    for folder in run_folders(out):
        require_new_run(folder, options.resume)
    data, notes = None, []
    if not _learns_from_pairs(options):
        config, data, notes = load_suited(config, options.data)
        if flow is not None and config.network != flow.config.network:
            raise UserError(
                f"{config.data} does not fit the network of --from, which stays as it was trained: "
                f"name data like {flow.config.data}."
            )
    run = _run(options, config, out)
    if run.rank == 0:
        for text in (f"Run in {out}.", *notes):
            note(text)
    try:
        result, steps, seconds = _carry_out(options, config, flow, data, run)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_what_is_kept(out)) from None
    if run.rank:
        return None
    text = f"{steps:,} steps in {seconds:.0f} s. Next: `papers evaluate cud --checkpoint {result}`."
    return Report(text, {"system": "cud", "out": str(result), "steps": steps, "seconds": seconds})


def default_out(preset: str, label: str, seed: int) -> Path:
    """The folder of a run that names none; ``label`` is its method, or session2."""
    return Path("runs") / f"cud-{preset}-{label}-{seed}"


def run_folders(out: Path) -> list[Path]:
    """The folder of a run, and those of its rounds where it is one of progressive distillation."""
    return [out, *sorted(out.glob("*-steps"))]


def _learns_from_pairs(options: CUDTrainOptions) -> bool:
    """Whether a trained run is the only source of the training data."""
    return options.session == 2 or options.method == "reflow"


def _check_combination(options: CUDTrainOptions) -> None:
    needs_flow = options.session == 2 or options.method in FROM_FLOW
    what = "the second session" if options.session == 2 else f"method '{options.method}'"
    if needs_flow and options.source is None:
        raise UserError(f"{what} starts from a trained run: name its folder with --from.")
    if options.source is not None and not needs_flow:
        raise UserError(f"--from goes with --session 2 or one of the methods {', '.join(FROM_FLOW)}.")
    if options.session == 2 and options.method != OWN_METHOD:
        raise UserError("the second session continues the run of --from: leave --method out.")
    if options.data is not None and _learns_from_pairs(options):
        raise UserError(f"{what} learns from what the run of --from draws: leave --data out.")


def _configuration(options: CUDTrainOptions, flow: "TrainedFlow | None") -> "CUDConfig":
    from lib.cud.config import preset_named, with_method, with_settings

    if flow is not None:
        config = flow.config
        if options.preset is not None and preset_named(options.preset).name != config.name:
            raise UserError(f"the run of --from has preset '{config.name}': leave --preset {options.preset} out.")
    else:
        config = preset_named(options.preset or "scaled")
        if options.method not in (OWN_METHOD, FROM_DATA):
            try:
                config = with_method(config, options.method)
            except UserError as fault:
                others = ", ".join((OWN_METHOD, FROM_DATA, *FROM_FLOW))
                raise UserError(f"{str(fault).rstrip('.')}, {others}.") from None
    if options.precision is not None:
        config = replace(config, precision=options.precision)
    if options.batch_size is not None:
        config = replace(config, optimiser=replace(config.optimiser, batch_size=options.batch_size))
        if config.second_session is not None:
            session = replace(config.second_session, batch_size=options.batch_size)
            config = replace(config, second_session=session)
    config = with_settings(config, options.settings)
    if flow is not None and config.network != flow.config.network:
        raise UserError("the network is that of the run of --from: change other settings than network's with --set.")
    if options.session == 2:
        if config.second_session is None:
            raise UserError(f"preset '{config.name}' has no second session: name a run of another preset with --from.")
        if config.heads != flow.config.heads:
            raise UserError("the heads are those of the run of --from: leave catch_up.scheme as it was trained.")
    return config


def _run(options: CUDTrainOptions, config: "CUDConfig", out: Path) -> "Run":
    from lib.cud.fit import Run
    from lib.cud.processor import suited_parts, suited_threads

    fabric = launched_fabric(options, config.precision)
    batch = config.second_session.batch_size if options.session == 2 else config.optimiser.batch_size
    run = Run(
        seed=options.seed, out=out, resume=options.resume, checkpoint_every=options.checkpoint_every,
        max_steps=options.max_steps, fabric=fabric, workers=options.workers, accumulate=options.accumulate or 1,
    )  # fmt: skip
    if options.accumulate is None and run.device.type == "cpu":
        run = replace(run, accumulate=suited_parts(config, batch // run.world_size))
        if run.rank == 0 and run.accumulate > 1:
            note(f"Each batch in {run.accumulate} parts, for less memory (--accumulate N sets another number).")
    choose_threads(options.threads, run, lambda: suited_threads(config))
    return run


def _carry_out(
    options: CUDTrainOptions, config: "CUDConfig", flow: "TrainedFlow | None", data: "Data | None", run: "Run"
) -> tuple[Path, int, float]:
    """Train, and return the folder to evaluate, the steps made and the seconds that they took."""
    from lib.cud import baselines
    from lib.cud.second_session import second_session
    from lib.cud.train import PROGRESSIVE
    from lib.cud.train import train as train_flow

    if flow is not None:
        flow = replace(flow, config=config, model=flow.model.to(run.device))
    named = run.named("second session" if options.session == 2 else options.method.replace("_", " "))
    steps = config.optimiser.steps
    if options.session == 2:
        history = second_session(flow, named).history
    elif options.method == "reflow":
        history = baselines.reflow(flow, named, pairs=_reflow_pairs(config), steps=steps).history
    elif options.method == PROGRESSIVE:
        return _progressive(flow, data, named, steps)
    elif options.method == FROM_DATA:
        history = baselines.consistency_training(config, data, named).history
    elif options.method == "consistency_distillation":
        history = baselines.consistency_distillation(flow, data, named).history
    else:
        history = train_flow(config, data, run).history
    return run.out, history.steps, history.seconds


def _progressive(flow: "TrainedFlow", data: "Data", run: "Run", steps: int) -> tuple[Path, int, float]:
    """All rounds; the folder of the last one is what is evaluated next."""
    from lib.cud.baselines import progressive_distillation, round_folder

    students = progressive_distillation(flow, run, data=data, steps=steps)
    first, last = (round_folder(run.out, number) for number in (max(students), min(students)))
    if run.rank == 0:
        note(f"One network for each number of steps: {first} to {last}.")
    histories = [student.history for student in students.values()]
    return last, sum(one.steps for one in histories), sum(one.seconds for one in histories)


def _reflow_pairs(config: "CUDConfig") -> int:
    """As many noises as the second session draws; those of the paper's CIFAR-10 run where there is none."""
    return 50_000 if config.second_session is None else config.second_session.pairs


def _what_is_kept(out: Path) -> str:
    from lib.training.checkpoint import has_checkpoint

    if any(has_checkpoint(folder) for folder in run_folders(out)):
        return f"the checkpoint is kept in {out}, and --resume goes on from it"
    return "nothing was written"


def load(folder: Path) -> "Trained":
    """A run of any method. Raises UserError when the folder holds none."""
    from lib.cud.baselines import ConsistencyFlow
    from lib.cud.train import load_trained

    flow = load_trained(folder)
    return ConsistencyFlow(flow.config, flow.model, flow.history) if flow.method.startswith("consistency") else flow


@dataclass(frozen=True)
class _Drawn:
    samples: "Tensor"
    nfe: int
    seconds: float


def _draw(flow: "Trained", count: int, nfe: int, solver: str, head: int | None, seed: int) -> _Drawn:
    import time

    from lib.cud.train import TrainedFlow

    start = time.perf_counter()
    if isinstance(flow, TrainedFlow):
        result = flow.sample(count, nfe, solver=solver, seed=seed, head=head)
    else:
        result = flow.sample(count, nfe, seed=seed)
    return _Drawn(result.samples, result.nfe, time.perf_counter() - start)


def _device(accelerator: str) -> "torch.device":
    from lib.training.devices import device_named, keep_freed_memory

    device = device_named(accelerator)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def _check_sampling(flow: "Trained", calls: list[int], solver: str, head: int | None) -> None:
    """Refuse bad settings before anything is loaded or computed."""
    from lib.cud.samplers import steps_for
    from lib.cud.train import TrainedFlow

    if not isinstance(flow, TrainedFlow) and (solver != "euler" or head not in (None, 1)):
        raise UserError("a consistency model jumps, it integrates nothing: leave --solver and --head out.")
    heads = len(flow.model.heads)
    if head is not None and not 1 <= head <= heads:
        raise UserError(f"--head {head} is not there: this model has heads 1 to {heads}.")
    for nfe in calls:
        steps_for("euler" if solver == "adaptive" else solver, nfe)


def evaluate(options: CUDEvaluateOptions) -> Report:
    """The distance between samples and data at each number of network calls."""
    from lib.cud.evaluate import flow_straightness, make_judge
    from lib.cud.networks.config import MLPConfig
    from lib.cud.train import PROGRESSIVE, TrainedFlow, check_shape, load_data
    from lib.training.progress import progress_bar
    from lib.training.seeding import derive_seed

    device = _device(options.accelerator)
    flow = load(options.checkpoint)
    flow.model.to(device)
    _check_sampling(flow, options.nfe, options.solver, options.head)
    points = isinstance(flow.config.network, MLPConfig)
    if options.inception and points:
        raise UserError("--inception is for images; this run was trained on points.")
    if options.straightness and not isinstance(flow, TrainedFlow):
        raise UserError("--straightness is for flows: a consistency model walks no path.")
    data, size = options.data or flow.config.data, None if points else flow.config.network.resolution
    training = load_data(data, "train", size=size)
    check_shape(flow.config, training)
    fid = _fid_to(training, device) if options.inception else None
    note("Preparing the comparison ...")
    judge = make_judge(training, load_data(data, "test", size=size))
    count = options.samples or (judge.samples if points else 1000)
    if getattr(flow, "session", 1) == 2 and max(options.nfe) > 1:
        note("note: the second session trains at t = 1 alone: with more than one call this network goes astray.")
    if getattr(flow, "method", "") == PROGRESSIVE:
        note("note: each network of progressive distillation is made for the number of steps in its folder's name.")
    rows = []
    calls = options.nfe[:1] if options.solver == "adaptive" else options.nfe
    for nfe in progress_bar(calls, description="sampling"):
        drawn = _draw(flow, count, nfe, options.solver, options.head, derive_seed(options.seed, "judged"))
        row = {"nfe": drawn.nfe, "distance": judge(drawn.samples)}
        row["milliseconds_per_sample"] = 1000 * drawn.seconds / count
        if fid is not None:
            row["fid"] = fid(drawn.samples)
        rows.append(row)
    record = {
        "system": "cud", "checkpoint": str(options.checkpoint), "preset": flow.config.name, "data": data,
        "session": getattr(flow, "session", 1), "solver": options.solver,
        "head": options.head or len(flow.model.heads), "samples": count, "seed": options.seed,
        "metric": judge.metric, "floor": judge.floor, "results": rows,
    }  # fmt: skip
    if options.straightness:
        record["straightness"] = flow_straightness(flow, samples=min(count, 1000), head=options.head)
    return Report(_table(record), record)


def _table(record: dict[str, Any]) -> str:
    lines = [f"{record['metric']} to {record['data']}, {record['samples']:,} samples, solver {record['solver']}"]
    lines.append(f"{'NFE':>5} {'distance':>10} {'ms a sample':>12}" + " " * 4 + "FID" * ("fid" in record["results"][0]))
    for row in record["results"]:
        fid = f"{row['fid']:7.2f}" if "fid" in row else ""
        lines.append(f"{row['nfe']:>5} {row['distance']:>10.4g} {row['milliseconds_per_sample']:>12.3g}{fid}")
    lines.append(f"Other real data score {record['floor']:.4g}.")
    if "straightness" in record:
        lines.append(f"Straightness {record['straightness']:.4g} (0: straight paths).")
    return "\n".join(line.rstrip() for line in lines)


def _fid_to(training: "ImageSet", device: "torch.device") -> Callable[["Tensor"], float]:
    """The FID to the whole training set, with the Inception network on ``device``."""
    import torch

    from lib.vision.data import to_float
    from lib.vision.frechet import frechet_distance
    from lib.vision.inception import inception_features, inception_statistics

    extract = inception_features(device=device)
    real = (to_float(training.read(piece)) for piece in torch.arange(len(training)).split(250))
    reference = inception_statistics(real, extract)

    def fid(samples: "Tensor") -> float:
        return frechet_distance(reference, inception_statistics(samples.clamp(-1, 1).split(250), extract))

    return fid


def sample(options: CUDSampleOptions) -> Report:
    """Draw samples and write them as one picture: a grid of images, or a scatter plot of points."""
    if options.out.suffix.lower() != ".png":
        raise UserError(f"{options.out} must end in .png: no other kind of picture is written.")
    if not options.out.parent.is_dir():
        raise UserError(f"There is no folder {options.out.parent}: create it, or choose another file with --out.")
    require_writable(options.out.parent, [options.out.name])
    device = _device(options.accelerator)
    flow = load(options.checkpoint)
    flow.model.to(device)
    _check_sampling(flow, [options.nfe], options.solver, options.head)
    drawn = _draw(flow, options.n, options.nfe, options.solver, options.head, options.seed)
    write_whole(options.out, _picture(drawn.samples))
    text = f"{options.out}: {options.n} samples at {drawn.nfe} network calls in {drawn.seconds:.2f} s."
    record = {"system": "cud", "out": str(options.out), "samples": options.n, "nfe": drawn.nfe}
    return Report(text, record)


def _picture(samples: "Tensor") -> bytes:
    """A PNG. An image's pixels become squares of whole pixels, so that they stay crisp."""
    from lib.figures import plot_clouds, png_bytes
    from lib.figures.grids import sheet

    if samples.dim() == 2:
        return png_bytes(plot_clouds({"samples": samples}, columns=1))
    import numpy as np
    from PIL import Image

    pixels = sheet(samples, columns=max(1, round(len(samples) ** 0.5)))
    scale = max(1, round(640 / pixels.shape[1]))
    large = np.round(255 * pixels.repeat(scale, 0).repeat(scale, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(large.squeeze()).save(buffer, format="png")
    return buffer.getvalue()


def reproduce(seeds: Sequence[int]) -> Reproduction:
    """The card's claims over these seeds, and the curves of quality against network calls."""
    from lib.cud.curves import FILE, as_json
    from lib.cud.reproduce import reproduce as measure

    measurements, curves = measure(seeds, note)
    return Reproduction(measurements, {FILE: as_json(curves)})
