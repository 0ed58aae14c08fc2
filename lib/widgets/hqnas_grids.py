"""A moving figure of chapter 2: the nested grids of 2, 4 and 8 bits over one histogram of weights."""

import html
from collections.abc import Sequence

import numpy as np
import torch
import traitlets
from torch import Tensor

from lib.errors import UserError
from lib.hqnas.config import GateConfig
from lib.hqnas.quantizer import codes
from lib.hqnas.space import BITS
from lib.widgets.base import BookWidget, pack
from lib.widgets.kit import module, still, style

MOST_WEIGHTS = 4000
START = 2.5
"""The range at first, in standard deviations."""
FOLLOWED = 0.87
"""The weight followed at first, as a share of the sorted ones: large enough to have a code at 2 bits."""
LONG = {2: 28, 4: 17, 8: 8}
"""Pixels of a level's tick: a coarse level is a fine one, too, and stands out."""

_CSS = """
.ptr-two { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 18px; align-items: center; }
@container ptr (min-width: 620px) { .ptr-two { grid-template-columns: minmax(0, 1fr) minmax(0, 1.15fr); } }
.ptr-two > * { min-width: 0; }
.ptr .ptr-range { flex: 2 1 232px; }
.ptr-radios { border: 0; margin: 0; padding: 0; min-width: 0; display: flex; flex-direction: column; gap: 3px; }
.ptr-radios legend { padding: 0; margin: 0; font-size: 12px; color: var(--ptr-muted); float: none; width: auto; }
.ptr-radios > div { display: flex; gap: 4px 14px; min-height: 34px; align-items: center; }
.ptr input[type="radio"] { width: 17px; height: 17px; margin: 0; accent-color: var(--ptr-accent); flex: none; }
.ptr .ptr-table.ptr-grids-table :is(th, td) { padding: 4px; }
.ptr .ptr-table.ptr-grids-table tbody tr:first-child :is(th, td) { font-weight: 400; }
.ptr .ptr-table.ptr-grids-table tbody tr.ptr-now :is(th, td) { font-weight: 700; }
.ptr .ptr-table.ptr-grids-table tbody tr.ptr-now th::before { content: "▸ "; }
"""


def grids_state(weights: Tensor | Sequence[float], *, name: str = "weights", start: float = START) -> dict:
    """The state of `NestedGrids`; arguments and errors as in `NestedGrids.from_weights`."""
    values = torch.as_tensor(weights).detach().to("cpu", torch.float32).flatten()
    if not 2 <= len(values) <= MOST_WEIGHTS:
        raise UserError(f"The figure takes 2 to {MOST_WEIGHTS} weights, not {len(values)}: choose another layer.")
    if not torch.isfinite(values).all():
        raise UserError("The weights hold NaN or infinity: their training has diverged.")
    largest, deviation = float(values.abs().max()), float(torch.linalg.vector_norm(values) / len(values) ** 0.5)
    if deviation == 0:
        raise UserError("All of these weights are 0: there is nothing to quantize.")
    return {
        "weights": pack(values.sort().values),
        "deviation": deviation,
        "largest": largest,
        "name": str(name),
        "scales": list(GateConfig().bit_scales),
        "start": float(min(max(start, 1.0), largest / deviation)),
    }


class NestedGrids(BookWidget):
    """The levels of 2, 4 and 8 bits on one range, over the weights that they stand for, with one weight to follow."""

    label = "Nested quantization grids of 2, 4 and 8 bits over a histogram of weights, with a range to move."
    _esm = module("hqnas_grids")
    _css = style() + _CSS

    weights = traitlets.Bytes().tag(sync=True)
    deviation = traitlets.Float(1.0).tag(sync=True)
    largest = traitlets.Float(1.0).tag(sync=True)
    name = traitlets.Unicode("weights").tag(sync=True)
    scales = traitlets.List([1.0, 1.0]).tag(sync=True)
    start = traitlets.Float(START).tag(sync=True)

    @classmethod
    def from_weights(
        cls, weights: Tensor | Sequence[float], *, name: str = "weights", start: float = START
    ) -> "NestedGrids":
        """Build the figure from the weights of one convolution, or of one of its output channels.

        All of them share one range m here; in the library each output channel has its own.

        Args:
            weights: any shape, 2 to 4,000 values.
            name: what they are, in words: "stage 3, block 1, project".
            start: the range m at first, in standard deviations (about 0); at most the largest weight.

        Raises:
            UserError: too few or too many weights, NaN, or nothing but zeros.
        """
        return cls(**grids_state(weights, name=name, start=start))

    def preview(self) -> str:
        """The histogram with the three grids at the first range, as a still."""
        values = np.frombuffer(self.weights, "<f4")
        left, right, top, base = 20, 620, 14, 170
        limit = self.start * self.deviation

        def x(value: float) -> float:
            return left + (value / self.largest + 1) / 2 * (right - left)

        counts, edges = np.histogram(values, 61, (-self.largest, self.largest))
        bars = "".join(
            f'<rect x="{x(a):.1f}" y="{base - n / counts.max() * (base - top):.1f}" width="{x(b) - x(a):.1f}" '
            f'height="{n / counts.max() * (base - top):.1f}"/>'
            for n, a, b in zip(counts, edges, edges[1:], strict=False)
        )
        ticks = ""
        for bits in reversed(BITS):
            last = 2 ** (bits - 1) - 1
            step = 2 * limit / (2**bits - 1)
            path = "".join(f"M{x(code * step):.1f} {base}v{LONG[bits]}" for code in range(-last, last + 1))
            ticks += f'<path d="{path}" stroke-width="{ {2: 3, 4: 1.6, 8: 0.7}[bits] }"/>'
        coarse = codes(torch.from_numpy(values.copy()), BITS[0], torch.tensor(limit))[0]
        sentence = (
            f"Histogram of {len(values)} weights, {html.escape(self.name, quote=True)}, with the levels of 2, 4 and 8 "
            f"bits below it as long, middle and short ticks: every coarse level is a fine one; at 2 bits "
            f"{100 * float((coarse == 0).float().mean()):.0f} percent of the weights become 0."
        )
        return still(
            f'<svg viewBox="0 0 640 226" role="img" aria-label="{sentence}"><g fill="var(--ptr-faint)">{bars}</g>'
            f'<path d="M{left} {base}H{right}" stroke="var(--ptr-line)"/><g stroke="var(--ptr-accent)">{ticks}</g>'
            f'<text x="{(left + right) / 2}" y="218" text-anchor="middle" font-size="13" fill="var(--ptr-muted)">'
            f"range m = {self.start:.2f} standard deviations; ticks: levels of 2 bits (long), 4 and 8 (short)</text>"
            "</svg>"
        )
