"""Runs the chapters: two at a time, one torch thread each, and only those whose key has changed."""

import asyncio
import json
import os
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from lib.book.key import library_digest, notebook_key
from lib.book.layout import Layout
from lib.book.outputs import cleaned, to_text, with_outputs
from lib.files import write_whole

CELL_SECONDS = 900  # a cell that takes longer hangs; whole chapters are meant to take three minutes
_TRACEBACK_LINES = 14
_ENOUGH = 5.0  # seconds of known cells before the pace of this machine can be told
_TELL_EVERY = 5.0  # seconds between two lines of progress
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

KERNEL_SETTINGS = {
    "OMP_NUM_THREADS": "1",  # two threads on two busy cores are slower than one
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "BOOK_BUILD": "1",
    "TQDM_DISABLE": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not one of the user's
}


@dataclass
class Job:
    """One chapter on its way: what is known of its last run, and how far it has come."""

    notebook: Path
    key: str
    known: dict[str, float]  # seconds a code cell took in the last run, by its position
    count: int = 0  # code cells
    number: int = 0  # which of them runs, from 1
    cell: int = 0  # its position among all cells
    began: float = 0.0
    cell_began: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    failure: str = ""

    @property
    def name(self) -> str:
        return self.notebook.stem

    def progress(self, now: float) -> str:
        """One phrase: which cell of how many, seconds so far, time left."""
        return f"{self.name}: cell {self.number} of {self.count}, {now - self.began:.0f} s, {self._left(now)}"

    def _left(self, now: float) -> str:
        if len(self.known) != self.count or not self.count:
            return "first run, time left unknown"
        # the known seconds may be another machine's: the cells behind us tell the pace of this one
        before = sum(self.known.get(at, 0.0) for at in self.seconds)
        pace = sum(self.seconds.values()) / before if before >= _ENOUGH else 1.0
        ahead = sum(seconds for at, seconds in self.known.items() if at not in self.seconds)
        return f"about {max(pace * ahead - (now - self.cell_began), 1):.0f} s left"


def executed_path(layout: Layout, notebook: Path) -> Path:
    return layout.executed / notebook.name


def _record_path(layout: Layout, notebook: Path) -> Path:
    return layout.executed / f"{notebook.stem}.json"


def _record(layout: Layout, notebook: Path) -> dict:
    """What the last complete run left: key and seconds. An unreadable record is the same as none."""
    try:
        record = json.loads(_record_path(layout, notebook).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) and executed_path(layout, notebook).is_file() else {}


def _stored_times(layout: Layout) -> dict[str, dict[str, float]]:
    """Seconds of each cell of each chapter where the book was last stored: a first guess on a fresh clone."""
    try:
        times = json.loads((layout.chapters / "times.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return times if isinstance(times, dict) else {}


def is_current(layout: Layout, notebook: Path, library: str | None = None) -> bool:
    """True when the chapter has been run here with its present code, `lib/` and `seeds/`."""
    key = notebook_key(notebook, library or library_digest(layout))
    return _record(layout, notebook).get("key") == key


def executed_notebook(layout: Layout, notebook: Path) -> nbformat.NotebookNode:
    """The chapter's present text with the outputs of its last run on this machine."""
    return with_outputs(
        nbformat.read(notebook, as_version=4), nbformat.read(executed_path(layout, notebook), as_version=4)
    )


def run_chapters(layout: Layout, jobs: int = 2, force: bool = False, say=None) -> bool:
    """Run all chapters of the table of contents whose key has changed. True when all went well.

    jobs: how many at a time. force: run unchanged ones, too. say: takes lines of progress (default: print).
    A chapter that fails leaves its last good outputs and their key untouched.
    """
    say = say or _print
    library = library_digest(layout)
    todo = []
    for notebook in layout.notebooks:
        key = notebook_key(notebook, library)
        record = _record(layout, notebook)
        if not force and record.get("key") == key:
            say(f"{notebook.stem}: nothing changed, its outputs are kept")
        else:
            known = record.get("cells") or _stored_times(layout).get(notebook.stem, {})
            todo.append(Job(notebook, key, known))
    if not layout.notebooks:
        say("The table of contents lists no chapter to run.")
    if todo:
        say(f"Running {len(todo)} chapter(s), {min(jobs, len(todo))} at a time.")
        try:
            asyncio.run(_run_all(layout, todo, jobs, say))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    for job in todo:
        if job.failure:
            say(job.failure)
    return not any(job.failure for job in todo)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _run_all(layout: Layout, todo: list[Job], jobs: int, say) -> None:
    slots = asyncio.Semaphore(jobs)
    running: list[Job] = []
    loop, everything = asyncio.get_running_loop(), asyncio.current_task()

    def stop_on_interrupt() -> None:
        # each notebook client takes Ctrl-C for itself; here it must stop all chapters and their kernels
        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGINT, everything.cancel)

    async def in_turn(job: Job) -> None:
        async with slots:
            running.append(job)
            await _run_one(layout, job, say, stop_on_interrupt)
            running.remove(job)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_TELL_EVERY)
            now = time.monotonic()
            for job in running:
                say(f"  {job.progress(now)}")

    teller = asyncio.create_task(tell())
    try:
        await asyncio.gather(*(in_turn(job) for job in todo))
    finally:
        teller.cancel()


async def _run_one(layout: Layout, job: Job, say, stop_on_interrupt) -> None:
    document = nbformat.read(job.notebook, as_version=4)
    numbered = {at for at, cell in enumerate(document.cells) if cell.cell_type == "code" and cell.source.strip()}
    job.count = len(numbered)
    job.began = job.cell_began = time.monotonic()

    def starts(cell, cell_index):
        stop_on_interrupt()
        job.cell, job.cell_began = cell_index, time.monotonic()
        job.number += cell_index in numbered

    def ends(cell, cell_index, execute_reply):
        job.seconds[str(cell_index)] = round(time.monotonic() - job.cell_began, 2)

    client = NotebookClient(
        document,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(job.notebook.parent)}},
        # ipykernel warns of its loopback ports at each start, which says nothing about the chapter
        extra_arguments=["--IPKernelApp.log_level=40"],
        record_timing=False,
        store_widget_state=False,
        on_cell_start=starts,
        on_cell_executed=ends,
    )
    say(f"{job.name}: starts, {job.count} cells with code")
    try:
        await client.async_execute(env={**os.environ, **KERNEL_SETTINGS})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        job.failure = _what_failed(job, document, error)
        say(f"{job.name}: FAILED in cell {job.number} of {job.count}")
        return
    seconds = time.monotonic() - job.began
    write_whole(executed_path(layout, job.notebook), to_text(cleaned(document)))
    record = {"key": job.key, "seconds": round(seconds, 1), "cells": job.seconds}
    write_whole(_record_path(layout, job.notebook), json.dumps(record, indent=1) + "\n")
    say(f"{job.name}: done in {seconds:.0f} s")


def _what_failed(job: Job, document, error: Exception) -> str:
    """Chapter, cell, its source, and the last lines of the traceback."""
    source = document.cells[job.cell].source
    if isinstance(error, CellTimeoutError):
        reason = f"The cell took longer than {CELL_SECONDS} s."
    elif isinstance(error, DeadKernelError):
        reason = "The kernel died; most often the machine had no memory left."
    else:
        reason = "\n".join(_COLOURS.sub("", error.traceback).splitlines()[-_TRACEBACK_LINES:])
    rule = "-" * 72
    return (
        f"\n{rule}\n{job.notebook.name} failed in code cell {job.number} of {job.count}:\n{rule}\n"
        f"{source}\n{rule}\n{reason}\n{rule}\nNothing was stored for this chapter."
    )


def store_chapters(layout: Layout, say=None) -> None:
    """Write the outputs of the last runs into `chapters/`, for committing.

    All or nothing: raises ValueError, naming the chapter, when one has not been run as it stands now.
    """
    say = say or _print
    library = library_digest(layout)
    stale = [notebook.stem for notebook in layout.notebooks if not is_current(layout, notebook, library)]
    if stale:
        raise ValueError(f"not run as they stand now: {', '.join(stale)}; run `make book` first")
    for notebook in layout.notebooks:
        write_whole(notebook, to_text(cleaned(executed_notebook(layout, notebook))))
        say(f"{notebook.name}: outputs stored")
    times = {notebook.stem: _record(layout, notebook)["cells"] for notebook in layout.notebooks}
    write_whole(layout.chapters / "times.json", json.dumps(times, indent=1, sort_keys=True) + "\n")
