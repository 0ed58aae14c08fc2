"""Drawing a digit: the canvas on the page, and the way from a drawing to an image like those of the data set.

The handwritten digits of scikit-learn were normalised with programs of NIST into bitmaps of 32 x 32, and the black
pixels of each 4 x 4 block were counted, 0 to 16. Those programs are not ours to run. What they did can be seen in the
images: all digits are as high as the image, about 20 of its 32 columns wide, stand upright in that the left edges of
foot and head lie above each other, and have nearly the same amount of ink. ``to_digit`` does the same to a drawing.
Of digits from another source (1,000 of MNIST's test images, enlarged) a network then names about 80 percent; with the
box alone, neither upright nor with equal ink, it was 60. What is left is another country's hand.
"""

import base64
import binascii
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lib.errors import UserError

if TYPE_CHECKING:
    import gradio

SIDE, BLOCK = 8, 4
GRID = SIDE * BLOCK
WIDEST = 20
"""Columns of the bitmap that a digit takes, at most; a narrower one keeps its proportions."""
INK = 312
"""Black pixels of a bitmap: in the set 313 on average, give or take 34."""
EDGE = 0.1
"""Share of the height that counts as head, and as foot."""
DARK = 0.4
"""From this darkness on a pixel is ink."""
SMALLEST = 0.1
"""Of the canvas; what is smaller is a dot."""
LARGEST = 400
"""Pixels along a side that are worked on; a larger drawing is reduced first."""
MOST_PIXELS = 4096**2
PREFIX = "data:image/png;base64,"

FLUSH = "margin: calc(-1 * var(--spacing-lg)) calc(-1 * (var(--spacing-xl) + 2px));"
"""Takes back the padding that Gradio puts around every HTML component, also where it is switched off."""

_TEMPLATE = """
<canvas width="280" height="280" role="img" aria-label="Canvas: draw a digit here, with mouse, pen or finger"></canvas>
<button type="button">Clear</button>
"""
_CSS = f"""
{FLUSH}
canvas {{ display: block; width: 100%; max-width: 280px; aspect-ratio: 1; background: #fff; cursor: crosshair;
  border: 1px solid var(--border-color-primary); border-radius: 8px; touch-action: none; user-select: none; }}
button {{ margin-top: 8px; padding: 6px 14px; border: 1px solid var(--border-color-primary); border-radius: 6px;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); cursor: pointer; }}
button:focus-visible {{ outline: 2px solid var(--color-accent); outline-offset: 2px; }}
"""


def digit_pad(elem_id: str) -> "gradio.HTML":
    """The canvas. Its value is the data URL of a PNG, or "" when it is empty; ``input`` comes after each stroke."""
    from lib.demos.serve import load_gradio

    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    return load_gradio().HTML(
        "", html_template=_TEMPLATE, css_template=_CSS, js_on_load=script, apply_default_css=False, elem_id=elem_id
    )


def read_canvas(value: str | None) -> np.ndarray:
    """The value of the canvas as pixels, uint8 (height, width, 4).

    Raises:
        UserError: it is empty, or no PNG.
    """
    from PIL import Image

    if not value:
        raise UserError("There is nothing on the canvas yet: draw a digit.")
    try:
        if not isinstance(value, str) or not value.startswith(PREFIX):
            raise ValueError
        with Image.open(io.BytesIO(base64.b64decode(value[len(PREFIX) :], validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError
            return np.asarray(image.convert("RGBA"))
    except (ValueError, OSError, SyntaxError, binascii.Error, Image.DecompressionBombError):
        raise UserError("The drawing cannot be read: send a PNG as a data URL, at most 4,096 pixels wide.") from None


def to_digit(canvas: np.ndarray) -> Tensor:
    """A drawing as an image of the set: cropped, upright, 20 x 32 of a bitmap, its ink evened out, then counted.

    Args:
        canvas: uint8, (height, width) or with 3 or 4 channels behind; dark ink on light or transparent ground.

    Returns:
        uint8 (8, 8), ink bright: 0 ... 255 in 17 steps, as ``lib.vision.data`` has them.

    Raises:
        UserError: nothing is drawn, or it is a dot, or light on dark.
    """
    from scipy.ndimage import distance_transform_edt, map_coordinates

    ink = _ink(canvas)
    rows, columns = ink.nonzero()
    top, bottom = rows.min(), rows.max() + 1
    # Upright: the left edge of the foot under that of the head.
    height = bottom - top
    edge = max(1, round(EDGE * height))
    foot, head = columns[rows >= bottom - edge].min(), columns[rows < top + edge].min()
    slant = np.clip((foot - head) / max(1, height - edge), -1, 1)
    middle = (top + bottom - 1) / 2
    upright = columns - slant * (rows - middle)
    left, right = upright.min(), upright.max() + 1
    # The bitmap, laid over the drawing: where each of its pixels lies there.
    width = right - left
    wide = min(WIDEST, GRID * width / height)
    steps = np.arange(GRID) + 0.5
    y = steps / GRID * height + top - 0.5
    x = (steps - GRID / 2) / wide * width + (left + right - 1) / 2
    x, y = np.broadcast_arrays(x + slant * (y - middle)[:, None], y[:, None])
    # How far each lies outside the ink, or, below 0, inside it; so many with the least become black.
    margin = int(np.ceil(max(0, -x.min(), x.max() - ink.shape[1]))) + 2
    around = np.pad(ink, margin)
    distance = distance_transform_edt(~around) - distance_transform_edt(around)
    found = map_coordinates(distance, (y + margin, x + margin), order=1, mode="nearest")
    black = found <= np.partition(found, INK - 1, axis=None)[INK - 1]
    counts = black.reshape(SIDE, BLOCK, SIDE, BLOCK).sum((1, 3))
    return torch.from_numpy(counts * (255 / BLOCK**2)).round().to(torch.uint8)


def _ink(canvas: np.ndarray) -> np.ndarray:
    """Where there is ink, bool (height, width). Raises UserError when that can be no digit."""
    canvas = np.asarray(canvas)
    if canvas.dtype != np.uint8 or canvas.ndim not in (2, 3) or not canvas.size:
        raise ValueError(f"a drawing is uint8 (height, width[, 3 or 4]), not {canvas.dtype} {canvas.shape}")
    stride = -(-max(canvas.shape[:2]) // LARGEST)
    canvas = canvas[::stride, ::stride] / 255
    light = canvas if canvas.ndim == 2 else canvas[..., :3].mean(-1)
    dark = 1 - light
    if canvas.ndim == 3 and canvas.shape[2] == 4:
        dark = dark * canvas[..., 3]
    ink = dark > DARK
    if not ink.any():
        raise UserError("There is nothing on the canvas yet: draw a digit.")
    if ink.mean() > 0.5:
        raise UserError("The canvas is mostly black: draw with a dark pen on a light ground, or with a thinner one.")
    rows, columns = ink.nonzero()
    if max(np.ptp(rows) + 1, np.ptp(columns) + 1) < SMALLEST * max(ink.shape):
        raise UserError("That is too small to be read: draw the digit larger.")
    return ink
