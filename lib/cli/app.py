"""The commands, and what becomes of a fault: one sentence on stderr, and an exit code.

0   done
1   a fault of ours: Python's traceback, to be reported
2   the input was wrong
130 stopped by Ctrl-C
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from lib.cli.systems import SystemGroup, exists, show, system_named
from lib.commands import note, require_writable
from lib.errors import UserError
from lib.files import write_whole
from lib.papers import RESULTS, load_cards, load_results, save_results

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Set before any of these libraries is imported: nothing in this book reports to anybody."""

PLAIN = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
UsageFault = typer.BadParameter.__base__.__base__  # the root of the parser's own errors; typer has no name for it

ORDER = ("list", "describe", "train", "evaluate", "sample", "export", "reproduce", "demo", "data", "doctor")


class InOrder(TyperGroup):
    """Lists the commands in the order in which a reader meets them."""

    def list_commands(self, context) -> list[str]:
        return sorted(super().list_commands(context), key=ORDER.index)


app = typer.Typer(cls=InOrder, help="Papers That Run: seven research systems, taken apart and trained here.", **PLAIN)
data_app = typer.Typer(help="Real data sets, in the folder that BOOK_DATA names.", **PLAIN)


def _verb(name: str, help: str) -> None:
    app.add_typer(typer.Typer(**PLAIN), name=name, cls=SystemGroup, help=help, subcommand_metavar="SYSTEM [OPTIONS]")


System = Annotated[str, typer.Argument(metavar="SYSTEM", help="A name that `papers list` shows.")]


@app.command("list")
def list_systems() -> None:
    """The seven papers, one line each."""
    for card in load_cards():
        state = "runs here" if exists(card.id) else "not there yet"
        print(f"{card.chapter}  {card.id:<6} {state:<13}  {card.short_name} ({card.year}): {card.title}")


@app.command()
def describe(
    system: System,
    preset: Annotated[str | None, typer.Option(help="One preset only, with its whole configuration.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Configuration, parameters and multiplies of a system's presets, beside the paper's own counts."""
    show(system_named(system).describe(preset), as_json)


_verb("train", "Train a system. `papers train SYSTEM --help` lists its flags.")
_verb("evaluate", "Measure a trained system. `papers evaluate SYSTEM --help` lists its flags.")
_verb("sample", "Make samples with a trained system. `papers sample SYSTEM --help` lists its flags.")
_verb("export", "Write a trained system for other programs. `papers export SYSTEM --help` lists its flags.")


@app.command()
def reproduce(
    system: System,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them; the others follow.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
) -> None:
    """Measure the card's claims over several seeds, and keep the results for the scoreboard."""
    measure = system_named(system).reproduce
    require_writable(out, [path.name for path in out.glob("*.json")])
    _require_as_many_seeds(system, seeds, out)
    found = measure(range(first_seed, first_seed + seeds))
    # All at once and before the first line of output, so that the files in the folder are of one study.
    path = save_results(system, found.measurements, out)
    for name, content in found.files.items():
        write_whole(out / name, content)
    for one in found.measurements:
        print(f"{one.verdict:<12}  {one.claim}: {one.summary}")
    note(f"Kept in {path}.")


def _require_as_many_seeds(system: str, seeds: int, out: Path) -> None:
    """Refuse, before any work, to replace what more seeds have shown by what fewer would."""
    try:
        kept = max((len(one.seeds) for one in load_results(system, out)), default=0)
    except UserError:
        return  # it cannot be read: a new one can only be better
    if seeds < kept:
        raise UserError(
            f"{out / system}.json holds the results of {kept} seeds, which those of {seeds} would replace: ask for "
            f"--seeds {kept} or more, or keep the new ones in another folder with --out."
        )


@app.command()
def demo(
    system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]", help="One demo instead of all.")] = None,
    port: Annotated[int | None, typer.Option(help="A free one from 7860 on, unless given.")] = None,
) -> None:
    """The demos in a browser, served on this machine only. What they need is trained first, and kept in runs/."""
    from lib.cli.demo import serve

    serve(system, port)


@app.command()
def doctor() -> None:
    """Versions, cores, threads, memory, browser, data; what will not run, and why."""
    from lib.cli.doctor import examine

    print(examine())


app.add_typer(data_app, name="data")


@data_app.command("list")
def data_list() -> None:
    """The known sets, of images and of speech, and where they lie."""
    from lib.downloads import find
    from lib.speech.corpora import found_corpora
    from lib.vision.download import found_sets

    remote = _remote()
    found = found_sets() | found_corpora()
    found |= find({name: tuple(file.path for file in remote[name]) for name in remote if name not in found})
    lines = {"BOOK_DATA": os.environ.get("BOOK_DATA") or "not set: let it name the folder of your data sets"}
    lines["embedded"] = "handwritten digits of scikit-learn; synthetic speech"
    for name, folder in found.items():
        mend = f"not here: `papers data get {name}`" if name in remote else "not here, and cannot be fetched"
        lines[name] = str(folder or mend)
    for name, text in lines.items():
        print(f"{name:<{max(map(len, lines))}}  {text}")


DataName = Annotated[str, typer.Argument(metavar="NAME", help="A name that `papers data list` shows.")]


@data_app.command("get")
def data_get(name: DataName) -> None:
    """Download a set into BOOK_DATA, and check it. A broken download goes on where it stopped."""
    from lib.downloads import get

    for path in get(name, _remote()):
        print(path)


@data_app.command("check")
def data_check(name: DataName) -> None:
    """Compare the files of a set with their known checksums."""
    from lib.downloads import check

    checks = check(name, _remote())
    for found in checks:
        print(f"{found.verdict:<10} {found.path}")
    bad = sum(found.verdict in ("missing", "wrong") for found in checks)
    if bad:
        raise UserError(f"{bad} of the {len(checks)} files of '{name}' are missing or wrong: get them again.")


def _remote() -> dict:
    """Every set that can be fetched."""
    from lib.speech.download import REMOTE as SPEECH
    from lib.vision.download import REMOTE as IMAGES

    return IMAGES | SPEECH


def run(arguments: list[str]) -> int:
    """Carry out one command line and return its exit code. A fault of ours is raised."""
    os.environ.update(QUIET)
    try:
        # Not the command's own main(): it would print usage lines, and swallow what Ctrl-C has to say.
        with typer.main.get_command(app).make_context("papers", arguments or ["--help"]) as context:
            context.command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except UserError as fault:
        note(f"papers: {fault}")
        return 2
    except UsageFault as fault:
        note(f"papers: {fault.format_message()}")
        return 2
    except KeyboardInterrupt as stop:
        note(f"\npapers: stopped{f': {stop}' if str(stop) else ''}.")
        return 130
    except BrokenPipeError:  # `papers list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as fault:
        if fault.filename is None and fault.errno != errno.ENOSPC:
            raise
        place = "" if fault.filename is None else f"{fault.filename}: "
        note(f"papers: {place}{fault.strerror}: choose another place, or mend this one.")
        return 2
    except (MemoryError, RuntimeError) as fault:
        if isinstance(fault, RuntimeError) and "can't allocate memory" not in str(fault):
            raise
        note("papers: not enough memory: ask for a smaller batch, fewer samples or a smaller network.")
        return 2
    return 0
