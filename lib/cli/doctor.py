"""``papers doctor``: what is here, measured or read on the spot, and what will not run without the rest."""

import importlib.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from lib.errors import UserError

PACKAGES = ("torch", "torchvision", "torchaudio", "lightning-fabric", "numpy", "jupyter-book", "jupyterlab", "gradio")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # those that the tests look for, after BOOK_CHROMIUM
GIBIBYTE = 1024**3
MEMORY_FOR_THE_BOOK = 4  # GiB: two chapters at a time, 2 GiB each


def examine() -> str:
    """The whole report, in plain text."""
    import psutil
    import torch

    cores = torch.multiprocessing.cpu_count()
    memory = psutil.virtual_memory()
    lines = {"Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}"}
    lines |= {package: _version(package) or "not installed" for package in PACKAGES}
    lines |= {
        "cores": str(cores),
        "threads": _threads(torch.get_num_threads()),
        "memory": f"{memory.total / GIBIBYTE:.1f} GiB, {memory.available / GIBIBYTE:.1f} GiB of it free",
        "disk": f"{shutil.disk_usage('.').free / GIBIBYTE:.1f} GiB free here",
        "accelerator": _accelerator(),
        "browser": _browser() or "none found",
        "synthesiser": _synthesiser() or "does not start",
        "BOOK_DATA": os.environ.get("BOOK_DATA") or "not set",
        "data sets": ", ".join(["embedded", *_known_sets()]),
    }
    report = [f"{name:<18}{text}" for name, text in lines.items()]
    problems = _problems(memory.available / GIBIBYTE)
    report += ["", "What will not run here:" if problems else "Everything in the book will run here."]
    return "\n".join(report + [f"- {problem}" for problem in problems])


def _problems(free_memory: float) -> list[str]:
    """One sentence each: what does not run, why, and the mend."""
    found = [
        f"What needs {package}: it is not installed; run `make install`."
        for package in PACKAGES
        if not _version(package)
    ]
    if _browser() is None:
        found.append("The browser tests of `make test`: no Chromium was found; install chromium, or set BOOK_CHROMIUM.")
    if _synthesiser() is None:
        found.append("Chapter 7 on its own voices: espeak-ng does not start; run `make install`.")
    if free_memory < MEMORY_FOR_THE_BOOK:
        found.append(f"`make book` may run out of memory: {MEMORY_FOR_THE_BOOK} GiB should be free.")
    if not os.environ.get("BOOK_DATA"):
        found.append("Real data sets by name: BOOK_DATA is not set; let it name a folder, then `papers data get NAME`.")
    else:
        missing = [name for name, folder in _found().items() if folder is None]
        if missing:
            found.append(f"--data {', '.join(missing)}: not in BOOK_DATA; `papers data list` says how they get there.")
    if importlib.util.find_spec("torch_fidelity") is None:
        found.append("FID (--inception): torch-fidelity is not installed; run `pip install -e .[inception]`.")
    if "none" in _accelerator():
        found.append("The paper-size presets in reasonable time: there is no accelerator; the processor takes weeks.")
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _threads(now: int) -> str:
    """Measured with the small U-Net of chapter 1: on small networks one thread can beat several."""
    import torch

    from lib.cud.model import build_model
    from lib.cud.networks.presets import digits_unet
    from lib.training.devices import fastest_threads

    network = build_model(digits_unet())
    images = torch.zeros(64, 1, 8, 8)
    best = fastest_threads(lambda: network(images, 0.5).sum().backward())
    return f"{now} in use; {best} measured as the faster choice for small networks (set OMP_NUM_THREADS={best})"


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return "Apple's GPU (--accelerator mps)" if torch.backends.mps.is_available() else "none, the processor only"


def _synthesiser() -> str | None:
    from lib.speech.espeak import library_version

    try:
        return f"espeak-ng {library_version()}"
    except UserError:
        return None


def _browser() -> str | None:
    asked = os.environ.get("BOOK_CHROMIUM")
    return next(filter(None, map(shutil.which, filter(None, (asked, *BROWSERS)))), None)


def _found() -> dict:
    from lib.speech.corpora import found_corpora
    from lib.vision.download import found_sets

    return found_sets() | found_corpora()


def _known_sets() -> list[str]:
    return [name for name, folder in _found().items() if folder is not None]
