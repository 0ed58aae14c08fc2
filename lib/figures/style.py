"""The look of every still figure, and how one becomes a small PNG."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

STYLE = {
    "figure.facecolor": "white",  # opaque: stays readable on a dark page
    "savefig.facecolor": "white",
    "figure.dpi": 110,
    "savefig.dpi": 110,  # a notebook holds many figures: 110 dots per inch keep one below about 60 kB
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": "#8a929c",
    "axes.labelcolor": "#23292f",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": "#4a525b",
    "ytick.color": "#4a525b",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": "#23292f",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "image.cmap": "gray",
}


@contextmanager
def book_style() -> Iterator[None]:
    """Draw inside this block in the book's style; Matplotlib's own settings are back afterwards."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of the given size in inches, outside pyplot: nothing stays open and nothing is shown by itself.

    A notebook draws it when it is the last expression of a cell.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG, without the metadata that differs between versions of Matplotlib."""
    with book_style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
