"""What the reader sees while a network trains: one bar, and in a notebook one curve that grows."""

import base64
import io
import os
import time
from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Any

import numpy as np
from tqdm.auto import tqdm

WORTH_A_LOG = 5
"""How many times the lowest loss the highest must be for a logarithmic axis."""


def is_quiet() -> bool:
    """True when bars must not be drawn: TQDM_DISABLE is set, or the book is being built (BOOK_BUILD=1).

    The bar of notebooks (`tqdm.auto`) does not look at TQDM_DISABLE by itself, and leaves a frozen bar in a page.
    """
    return _is_set("TQDM_DISABLE") or _is_set("BOOK_BUILD")


def progress_bar(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    description: str = "",
    initial: int = 0,
    quiet: bool = False,
) -> Any:
    """A tqdm bar over `iterable` or up to `total`, for terminal and notebook; it vanishes when it is done."""
    return tqdm(iterable, total=total, initial=initial, desc=description, leave=False, disable=quiet or is_quiet())


class LossCurve:
    """One figure that grows while the network trains. Outside notebooks it does nothing.

    curve = LossCurve("flow matching"); train_loop(..., curve=curve)

    title      drawn above the curve
    names      which values to draw; all when None
    smooth     width of the running mean in steps (single losses are noisy); 1 draws them as they are
    seconds    shortest time between two drawings: drawing must not slow the training
    """

    def __init__(
        self,
        title: str = "Training",
        names: tuple[str, ...] | None = None,
        smooth: int = 25,
        seconds: float = 1.0,
    ):
        self.title, self.names, self.smooth, self.seconds = title, names, smooth, seconds
        self._handle = None
        self._drawn = -float("inf")

    def update(self, values: Mapping[str, np.ndarray], final: bool = False) -> None:
        """Redraw in place from the whole history so far. While the book is built only the last one is drawn."""
        if not _in_notebook():
            return
        now = time.monotonic()
        if not final and (_is_set("BOOK_BUILD") or now - self._drawn < self.seconds):
            return
        self._drawn = now
        from IPython.display import HTML, display

        picture = HTML(self.html(values))
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)

    def html(self, values: Mapping[str, np.ndarray]) -> str:
        """The figure as an `<img>` whose alternative text is a sentence that says what the curve shows."""
        # A figure of its own, not pyplot's: nothing is left behind for the next cell to draw.
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter

        figure = Figure(figsize=(6.0, 2.6), layout="constrained")
        axes = figure.add_subplot()
        sentences = []
        for name, style in zip(self.names or tuple(values), cycle(("-", "--", ":", "-.")), strict=False):
            series = np.asarray(values[name], dtype=float)
            width = max(1, min(self.smooth, len(series)))
            smooth = np.convolve(series, np.ones(width) / width, mode="valid")
            steps = np.arange(width, len(series) + 1)
            axes.plot(steps, smooth, label=name, linestyle=style, linewidth=1.5)
            sentences.append(f"{name} goes from {smooth[0]:.3g} to {smooth[-1]:.3g} in {len(series)} steps")
        drawn = np.concatenate([line.get_ydata() for line in axes.lines])
        if 0 < WORTH_A_LOG * drawn.min() < drawn.max():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")  # 0.2, not a power of ten
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="step", ylabel="loss", title=self.title)
        axes.grid(alpha=0.3)
        if len(axes.lines) > 1:
            axes.legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        data = base64.b64encode(buffer.getvalue()).decode()
        text = f"Training curve of {self.title}: {', '.join(sentences)}."
        return f'<img alt="{text}" style="max-width:100%" src="data:image/png;base64,{data}">'


def _is_set(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell"
