"""Several trainings at a time, each in a process of its own with one torch thread.

Measured faster than several threads on one training, where networks are as small as in this book.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

import torch

from lib.training.devices import keep_freed_memory

Result = TypeVar("Result")


def side_by_side(
    work: Callable[..., Result],
    jobs: Sequence[tuple],
    processes: int | None = None,
    done: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """The results of ``work(*job)`` for each job, in the order in which they end.

    Args:
        processes: how many at a time; all cores if None; 1 stays in this process.
        done: told each result as it comes.

    Ctrl-C stops all of them.
    """
    processes = processes or os.cpu_count() or 1
    found: list[Result] = []

    def keep(result: Result) -> None:
        done(result)
        found.append(result)

    if processes == 1:
        for job in jobs:
            keep(work(*job))
        return found
    # Spawned, not forked: a fork of a process that has used torch's threads may hang.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_settle)
    try:
        with _held_interrupt():  # the workers inherit it: Ctrl-C is their parent's affair
            running = [pool.submit(work, *job) for job in jobs]
        for one in as_completed(running):
            keep(one.result())
        return found
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown()


def _settle() -> None:
    """What a process does before its first job."""
    torch.set_num_threads(1)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Killed or gone with its terminal, a parent cannot stop its processes, and they would go on for an hour."""
    multiprocessing.parent_process().join()
    os._exit(1)


@contextmanager
def _held_interrupt() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and is not lost; processes that are started here never hear of it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
