"""The look of every still figure, and how one becomes a small PNG."""

import base64
import html
import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

STYLE = {
    "figure.facecolor": "white",  # opaque: stays readable on a dark page
    "savefig.facecolor": "white",
    "figure.dpi": 110,
    "savefig.dpi": 110,  # a notebook holds many figures: 110 dots per inch keep one below about 60 kB
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
SMALLEST_SCALE = 0.57
"""Of a figure on the screen: below it, lettering of 9 points cannot be read."""


@contextmanager
def book_style() -> Iterator[None]:
    """Draw inside this block in the book's style; Matplotlib's own settings are back afterwards."""
    with mpl.rc_context(STYLE):
        yield


class StillFigure(Figure):
    """A Matplotlib figure that lives outside pyplot and carries a sentence for those who cannot see it.

    As the last expression of a cell it shows itself as one PNG with that sentence as its alternative text.
    """

    alt: str = ""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        address = "data:image/png;base64," + base64.b64encode(png_bytes(self)).decode("ascii")
        width = round(self.get_figwidth() * STYLE["figure.dpi"])
        alt = html.escape(self.alt, quote=True)
        # On a phone a wide figure scrolls in its frame before its lettering becomes too small to read.
        fit = f"max-width:100%;min-width:{round(SMALLEST_SCALE * width)}px;height:auto"
        image = f'<img src="{address}" alt="{alt}" width="{width}" style="{fit}">'
        display({"text/html": image, "text/plain": self.alt}, raw=True)


def new_figure(width: float, height: float, alt: str) -> StillFigure:
    """A figure of the given size in inches; `alt` is one sentence that says what it shows. Nothing stays open."""
    figure = StillFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    figure.alt = alt[0].upper() + alt[1:]
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as a small PNG: 200 colours are enough for lines and grey digits, and a third of the bytes."""
    with book_style():
        full = io.BytesIO()
        figure.savefig(full, format="png")
    small = io.BytesIO()
    Image.open(full).convert("RGB").quantize(200, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()
