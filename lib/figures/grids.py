"""Images in rows and columns."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lib.errors import UserError
from lib.figures.style import book_style, new_figure


def _pixels(images, name: str) -> np.ndarray:
    """Images in [-1, 1], shape (batch, channels, height, width), as (batch, height, width, channels) in [0, 1]."""
    values = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images, dtype=float)
    if values.ndim != 4 or values.shape[1] not in (1, 3):
        raise UserError(f"{name}: images have shape (batch, 1 or 3, height, width), not {tuple(values.shape)}.")
    return np.clip((values.transpose(0, 2, 3, 1) + 1) / 2, 0, 1)


def sheet(images, columns: int, *, gap: int = 1) -> np.ndarray:
    """One picture of all images, row by row, with `gap` white pixels between: shape (height, width, channels)."""
    pixels = _pixels(images, "sheet")
    count, height, width, channels = pixels.shape
    if count == 0:
        raise UserError("sheet: there is no image to lay out.")
    columns = min(columns, count)
    rows = -(-count // columns)
    out = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for index, image in enumerate(pixels):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        out[top : top + height, left : left + width] = image
    return out


def image_grid(images, *, columns: int = 10, title: str = "") -> Figure:
    """Images laid out row by row.

    Args:
        images: shape (batch, 1 or 3, height, width), in [-1, 1]; what lies outside is clipped.
        columns: images in a row.
    """
    picture = sheet(images, columns)
    with book_style():
        width = 5.5
        alt = f"A grid of {len(images)} images{f': {title}' if title else ''}."
        figure = new_figure(width, width * picture.shape[0] / picture.shape[1] + (0.35 if title else 0.12), alt)
        axis = figure.add_subplot()
        axis.imshow(picture.squeeze(), vmin=0, vmax=1, interpolation="nearest")
        axis.set_axis_off()
        axis.set_title(title)
    return figure


def image_rows(rows: Mapping[str, object], *, columns: int = 12, captions: Sequence[str] = ()) -> Figure:
    """One labelled row of images a method, or a number of network calls; the same column is the same noise.

    Args:
        rows: label -> images, shape (batch, 1 or 3, height, width), in [-1, 1].
        columns: images in a row (further ones are left out).
        captions: text above the columns.
    """
    if not rows:
        raise UserError("image_rows: there is no row to draw.")
    with book_style():
        first = _pixels(next(iter(rows.values())), next(iter(rows)))
        shown = min(columns, len(first))
        margin = 0.2 + 0.075 * max(len(label) for label in rows)  # inches for the labels
        cell = min(0.8, (6.6 - margin) / shown)
        alt = f"Rows of {shown} images, one row each for {'; '.join(rows)}."
        figure = new_figure(margin + cell * shown, (cell + 0.1) * len(rows) + (0.3 if captions else 0.12), alt)
        figure.get_layout_engine().set(h_pad=0.02)
        for number, (label, images) in enumerate(rows.items()):
            axis = figure.add_subplot(len(rows), 1, number + 1)
            picture = sheet(images[:columns], columns)
            axis.imshow(picture.squeeze(), vmin=0, vmax=1, interpolation="nearest", aspect="equal")
            axis.set_yticks([picture.shape[0] / 2 - 0.5], [label])
            axis.tick_params(length=0, labelsize=8)
            axis.set_xticks([])
            if captions and number == 0:
                step = picture.shape[1] / shown
                axis.set_xticks([step * (i + 0.5) - 0.5 for i in range(len(captions))], captions)
                axis.xaxis.tick_top()
            axis.grid(False)
            for side in axis.spines.values():
                side.set_visible(False)
    return figure
