"""Where the training runs: device, precision and number of devices by flags alone, and how many threads."""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from lib.errors import UserError

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
STRATEGIES = ("auto", "ddp")
PRECISIONS = ("32-true", "bf16-mixed")


def make_fabric(
    accelerator: str = "auto",
    devices: int | str = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    precision: str = "32-true",
) -> Any:
    """A launched Lightning Fabric. Raises UserError for an unknown name or hardware that is not there.

    Half precision with loss scaling ("16-mixed") is left out: its scale would have to be saved to resume exactly, and
    every device that has it has bf16 too. "bf16-true" and "64-true" are left out because the moving average and the
    embedding of time are kept in float32. Sharded strategies are left out because a checkpoint holds whole weights.
    """
    _one_of("accelerator", accelerator, ACCELERATORS)
    _one_of("strategy", strategy, STRATEGIES)
    _one_of("precision", precision, PRECISIONS)
    from lightning_fabric import Fabric  # here: the import takes a second that most commands do not need

    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            precision=precision,
        )
        fabric.launch()  # with several devices: starts this command once more for each of the others
    except (RuntimeError, ValueError, TypeError) as fault:  # Fabric's own MisconfigurationException is one of these
        reason = str(fault).strip().splitlines()[0].rstrip(".")
        raise UserError(f"Cannot train on accelerator '{accelerator}' with {devices} device(s): {reason}.") from None
    return fabric


def device_named(accelerator: str = "auto") -> torch.device:
    """The device for work without Fabric; "auto" is a CUDA device where there is one, else the processor.

    Raises UserError for an unknown name or hardware that is not there.
    """
    _one_of("accelerator", accelerator, ACCELERATORS)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    name = "cuda" if accelerator == "gpu" else accelerator
    missing = (name == "cuda" and not torch.cuda.is_available()) or (
        name == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise UserError(f"There is no accelerator '{accelerator}' on this machine: choose cpu, or leave it out.")
    return torch.device(name)


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The network itself when `module` is what `fabric.setup` gave back (it holds locks and cannot be copied)."""
    wrappers = sys.modules.get("lightning_fabric.wrappers")  # not loaded: then nothing can be wrapped
    return module.module if wrappers is not None and isinstance(module, wrappers._FabricModule) else module


def set_threads(count: int) -> None:
    """Let torch use `count` threads for one operation (1 or more)."""
    if count < 1:
        raise UserError(f"The number of threads must be 1 or more, not {count}.")
    torch.set_num_threads(count)


def fastest_threads(work: Callable[[], object], repeats: int = 5, gain: float = 1.1) -> int:
    """Measure `work()` with one thread and with all cores; return the faster number (it is not set).

    All cores must win by the factor `gain`: on small networks threads spend their time waiting for each
    other, and the other cores are better left to a second process. The best of `repeats` counts, so that a busy
    moment of the machine does not decide.
    """
    before = torch.get_num_threads()
    counts = sorted({1, torch.multiprocessing.cpu_count()})
    best = {}
    try:
        for count in counts:
            torch.set_num_threads(count)
            work()  # the first call pays for the threads' start
            best[count] = min(_seconds(work) for _ in range(repeats))
    finally:
        torch.set_num_threads(before)
    return counts[-1] if best[counts[-1]] * gain < best[1] else 1


def keep_freed_memory(sparingly: bool = False) -> bool:
    """Ask the C library to keep the memory of freed tensors for the next ones; False where it takes no such request.

    By default glibc returns every large block to the system, which clears it page by page when it is asked for again.
    With the paper's MNIST network on two cores that was measured as more than half of a training step. The price:
    the process stays as large as it once was. For a program that works and ends.

    Args:
        sparingly: for a notebook, which lives on: blocks above 32 MiB (the highest threshold that glibc takes) still go
            back at once, and so does what is free beyond 256 MiB at the end of the heap.
    """
    import ctypes

    top_pad, trim_threshold, map_threshold, most_maps = -2, -1, -3, -4  # M_TOP_PAD and so on, of malloc.h
    megabyte = 1024**2
    if sparingly:
        settings = {map_threshold: 32 * megabyte, trim_threshold: 256 * megabyte, top_pad: 64 * megabyte}
    else:
        settings = {most_maps: 0, trim_threshold: 2**31 - 1, top_pad: 256 * megabyte}
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    return all([mallopt(name, value) for name, value in settings.items()])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"Unknown {what} '{value}': choose one of {', '.join(known)}.")
