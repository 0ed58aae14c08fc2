"""What a system offers the command line: the options of its commands, and what the functions behind them return.

Each system has a module ``lib.<system>.command_line`` with the functions of ``System``. ``train``, ``evaluate`` and
``sample`` take one argument, whose annotation is a frozen dataclass: the command line makes its flags from the fields.
A system adds a flag by adding a field to the dataclasses below.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from typer import Option

from lib.errors import UserError

if TYPE_CHECKING:
    from lib.papers import Measurement
    from lib.training.run import Run


@dataclass(frozen=True)
class Report:
    """What a command found: ``text`` for people, ``record`` (plain JSON types) for programs."""

    text: str
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduction:
    """What ``reproduce`` found: the measurements, and further files (name -> content) for the folder of results."""

    measurements: "list[Measurement]"
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Flags of ``papers train`` that every system has."""

    preset: Annotated[str | None, Option(help="Size of the run (default: scaled).")] = None
    data: Annotated[str | None, Option(help="'embedded', a known set, or a folder (default: the preset's own).")] = None
    seed: Annotated[int, Option(min=0, help="Of the weights, the order of the data and all noise.")] = 0
    accumulate: Annotated[
        int | None,
        Option(
            min=1,
            help="Parts in which a step goes through its batch: more parts, less memory (default: 1; on the processor "
            "parts of 32 images where a network is of the paper's size).",
        ),
    ] = None
    max_steps: Annotated[int | None, Option(min=1, help="Stop early; no schedule changes.")] = None
    batch_size: Annotated[int | None, Option(min=1, help="Samples a step, instead of the preset's.")] = None
    out: Annotated[Path | None, Option(help="Folder of the run (default: runs/SYSTEM-PRESET-METHOD-SEED).")] = None
    resume: Annotated[bool, Option("--resume", help="Go on from the checkpoint in the folder of the run.")] = False
    checkpoint_every: Annotated[int, Option(min=0, help="Steps between checkpoints; 0: one, at the end.")] = 1000
    accelerator: Annotated[str, Option(help="auto (a CUDA device, else the processor), cpu, cuda, gpu or mps.")] = (
        "auto"
    )
    devices: Annotated[str, Option(help="How many devices on this machine, or 'auto'.")] = "1"
    num_nodes: Annotated[int, Option(min=1, help="How many machines.")] = 1
    strategy: Annotated[str, Option(help="auto or ddp.")] = "auto"
    precision: Annotated[str | None, Option(help="32-true or bf16-mixed (default: the preset's).")] = None
    workers: Annotated[int, Option(min=0, help="Processes that read image files ahead.")] = 0
    threads: Annotated[
        str, Option(help="Threads for one tensor operation: a number, or 'auto' for the number that suits the network.")
    ] = "auto"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Flags of ``papers evaluate`` that every system has."""

    checkpoint: Annotated[Path, Option(help="Folder of a run.")]
    data: Annotated[str | None, Option(help="What to compare with (default: what the run was trained on).")] = None
    seed: Annotated[int, Option(min=0, help="Of all noise.")] = 0
    as_json: Annotated[bool, Option("--json", help="One JSON object on stdout.")] = False


class System(Protocol):
    """The module ``lib.<system>.command_line``. ``sample`` is there where a system generates something."""

    train: Callable[[Any], Report | None]
    """None in a process that only helps another."""
    evaluate: Callable[[Any], Report]
    sample: Callable[[Any], Report]

    def describe(self, preset: str | None) -> Report:
        """Configuration, parameters and multiplies of one preset, or of all."""

    def reproduce(self, seeds: Sequence[int]) -> Reproduction:
        """The card's claims over these seeds; it writes nothing itself."""


def note(text: str) -> None:
    """Tell the reader something on stderr, where it disturbs no JSON."""
    print(text, file=sys.stderr, flush=True)


def require_new_run(out: Path, resume: bool) -> None:
    """Refuse, before anything is computed, a folder of a run that could not be written in the end.

    Raises:
        UserError: it holds a checkpoint that is not to be resumed, is a file, or cannot be written.
    """
    from lib.training.checkpoint import CONFIG_FILE, TENSORS_FILE, has_checkpoint

    if has_checkpoint(out) and not resume:
        raise UserError(f"{out} already holds a run: add --resume, or choose another folder with --out.")
    require_writable(out, (TENSORS_FILE, CONFIG_FILE))


def require_writable(folder: Path, files: Iterable[str] = ()) -> None:
    """Raise UserError unless ``folder`` is there or can be made, and these ``files`` can be written into it."""
    for path in (folder / name for name in files):
        if path.is_dir():
            raise UserError(f"{path} is a folder, where a file is to be written: choose another place with --out.")
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        if nearest.is_symlink():
            raise UserError(f"{nearest} is a link to what is not there: choose another folder with --out.")
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file: choose another folder with --out.")
    try:
        tempfile.TemporaryFile(dir=nearest).close()  # the permissions alone do not tell
    except OSError:
        raise UserError(f"{nearest} cannot be written: choose another folder with --out.") from None


def launched_fabric(options: TrainOptions, precision: str) -> Any:
    """The Lightning Fabric that the flags on devices ask for; None for one thread of the plain processor.

    Raises:
        UserError: a flag that is no number, more devices than there are, or hardware that is missing.
    """
    import torch

    from lib.training.devices import device_named, make_fabric

    _whole_number_or_auto(options.threads, "--threads")
    devices = _whole_number_or_auto(options.devices, "--devices")
    accelerator = device_named().type if options.accelerator == "auto" else options.accelerator
    cores = torch.multiprocessing.cpu_count()
    if accelerator == "cpu" and isinstance(devices, int) and devices > cores:
        raise UserError(f"{devices} devices are too many: this processor has {cores} cores.")
    plain = (devices, options.num_nodes, options.strategy, precision) == (1, 1, "auto", "32-true")
    if accelerator == "cpu" and plain:
        return None
    return make_fabric(accelerator, devices, options.num_nodes, options.strategy, precision)


def _whole_number_or_auto(text: str, flag: str, most: int = 4096) -> int | str:
    if text == "auto":
        return text
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise UserError(f"{flag} is a whole number from 1 to {most}, or 'auto', not '{text}'.")
    return int(text)


def choose_threads(asked: str, run: "Run", suited: Callable[[], tuple[int, str]]) -> None:
    """Set torch's threads, and say so. A training on another device than the processor keeps torch's own number.

    Args:
        asked: the flag: a number, or "auto" for what ``suited`` finds: the threads, and why so many.
    """
    import torch

    from lib.training.devices import keep_freed_memory, set_threads

    if asked != "auto":
        threads, why = int(asked), "as asked for"
    elif run.device.type != "cpu":
        return
    elif run.world_size > 1:  # they would disturb each other's measurement
        threads, why = max(1, torch.multiprocessing.cpu_count() // run.world_size), "this process's share of the cores"
    else:
        threads, why = suited()
    set_threads(threads)
    keep_freed_memory()
    if run.rank == 0:
        note(f"Threads: {threads}, {why} (--threads N sets another number).")
