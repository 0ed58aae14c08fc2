"""A moving figure of chapter 2: the norm and the threshold of a gate over the search; where they cross, it decides."""

import html
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from lib.errors import UserError
from lib.hqnas.config import SearchConfig
from lib.hqnas.gates import ROW
from lib.hqnas.search import Found
from lib.hqnas.space import BITS, PARTS
from lib.widgets.base import BookWidget, pack
from lib.widgets.kit import module, still, style

MOST_ROWS = 200
"""More than a picture can show; each row costs 72 bytes a block."""
SHAPE = 3
"""The first gates of a row decide on the shape of a block, the others on bits."""

_CSS = """
.ptr-gates { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 18px; }
@container ptr (min-width: 630px) { .ptr-gates { grid-template-columns: minmax(0, 1fr) 236px; } }
.ptr-gates > * { min-width: 0; }
.ptr-decisions { display: flex; flex-direction: column; gap: 6px; }
.ptr-decisions .ptr-pick { flex: none; max-width: none; }
.ptr-decisions ol { list-style: none; margin: 0; padding: 0; overflow-y: auto; max-height: 230px; position: relative;
  border: 1px solid var(--ptr-grid); border-radius: 8px; scrollbar-width: thin; }
@container ptr (min-width: 630px) { .ptr-decisions ol { max-height: 336px; } }
.ptr-decisions li { margin: 0; padding: 0; }
.ptr .ptr-decisions li button {
  display: grid; grid-template-columns: 1em 2.9em minmax(0, 1fr); gap: 0 6px; align-items: baseline;
  width: 100%; min-height: 30px; padding: 4px 8px; text-align: left; background: none;
  border: 0; border-bottom: 1px solid var(--ptr-grid); border-radius: 0;
  font-size: 12px; line-height: 1.3; font-variant-numeric: tabular-nums;
}
.ptr .ptr-decisions li:last-child button { border-bottom: 0; }
.ptr .ptr-decisions li button:hover { background: var(--ptr-panel); }
.ptr .ptr-decisions li button:focus-visible { outline-offset: -3px; }
.ptr-decisions button > :nth-child(2) { text-align: right; font-weight: 600; }
.ptr .ptr-decisions button.ptr-later { color: var(--ptr-muted); }
.ptr-decisions button.ptr-later > :nth-child(2) { font-weight: 400; }
.ptr .ptr-decisions button[aria-current="true"] {
  background: var(--ptr-panel); box-shadow: inset 4px 0 0 var(--ptr-accent2);
}
.ptr-decisions small { display: block; font-size: 11.5px; color: var(--ptr-muted); }
.ptr-decisions .ptr-empty { padding: 8px 10px; font-size: 12px; color: var(--ptr-muted); }
.ptr .ptr-gate-pick { flex: 1 1 205px; }
"""


class Log(Protocol):
    """What a search noted, as ``lib.hqnas.search.GateLog`` does: arrays or tensors, rows in the order of the steps.

    Attributes:
        step: (rows,), -1 where nothing was written. norms, thresholds, gates: (rows, blocks, 9), in the order of
            ``lib.hqnas.gates.ROW``. cost: (rows,).
    """

    step: ArrayLike
    norms: ArrayLike
    thresholds: ArrayLike
    gates: ArrayLike
    cost: ArrayLike


def gate_words() -> list[dict]:
    """The gates of ``ROW`` in plain words: a name, what it decides on, and what that is when it is open and closed."""
    words = [
        {"name": "leave the block out", "what": "block", "open": "kept", "closed": "left out", "unit": ""},
        {"name": "expansion 6 or 3", "what": "expansion", "open": "6", "closed": "3", "unit": ""},
        {"name": "kernel 5×5 or 3×3", "what": "kernel", "open": "5×5", "closed": "3×3", "unit": ""},
    ]
    for part in PARTS:
        for more, fewer in zip(BITS[1:], BITS, strict=False):
            name = f"{part}: {more} bits or {fewer}"
            words.append({"name": name, "what": part, "open": str(more), "closed": str(fewer), "unit": " bits"})
    if len(words) != len(ROW):
        raise ValueError("the gates have changed: give each of lib.hqnas.gates.ROW its words")
    return words


def _array(values: ArrayLike) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _flips(step: np.ndarray, norms: np.ndarray, thresholds: np.ndarray, gates: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every change of a gate: int (n, 4) step, block, gate, opened; float (n, 4) norm, threshold, and both before."""
    row, block, gate = np.nonzero(gates[1:] != gates[:-1])
    now, before = (row + 1, block, gate), (row, block, gate)
    places = np.stack([step[row + 1], block, gate, gates[now]], 1)
    return places, np.stack([norms[now], thresholds[now], norms[before], thresholds[before]], 1)


def _kept(changed: np.ndarray) -> np.ndarray:
    """The rows that are drawn, of one more than ``changed`` has: of neighbours the first in which a gate changes."""
    busy = np.append(False, changed)
    stride = -(-len(busy) // MOST_ROWS)
    kept = np.array([first + busy[first : first + stride].argmax() for first in range(0, len(busy), stride)])
    kept[0], kept[-1] = 0, len(busy) - 1  # the last row says what was found
    return np.unique(kept)


def _start(places: np.ndarray) -> list[int]:
    """The decision that is shown at first, as (block, gate, step): one on shapes, taken once and for all, early."""
    counts: dict[tuple, int] = {}
    for _, block, gate, _ in places.tolist():
        counts[block, gate] = counts.get((block, gate), 0) + 1
    if not counts:
        return [0, ROW.index("kernel"), -1]
    step, block, gate, _ = min(places.tolist(), key=lambda one: (counts[one[1], one[2]], one[2] >= SHAPE, one[0]))
    return [block, gate, step]


def gates_state(
    log: Log,
    blocks: Sequence[str],
    *,
    target: float | None = None,
    unit: str = "",
    warm: int | None = None,
    frozen: int | None = None,
    skippable: Sequence[bool] | None = None,
) -> dict:
    """The state of `GateCurves`; arguments and errors as in `GateCurves.from_log`."""
    step = _array(log.step).astype(np.int64)
    written = step >= 0
    arrays = {name: _array(getattr(log, name)) for name in ("norms", "thresholds", "gates", "cost")}
    shape = (len(step), len(blocks), len(ROW))
    if (
        any(arrays[name].shape != shape for name in ("norms", "thresholds", "gates"))
        or arrays["cost"].shape != shape[:1]
    ):
        found = ", ".join(f"{name} {tuple(one.shape)}" for name, one in arrays.items())
        raise UserError(
            f"This log does not fit {len(blocks)} blocks with {len(ROW)} gates and {len(step)} rows: it has {found}."
        )
    if skippable is not None and len(skippable) != len(blocks):
        raise UserError(f"{len(blocks)} blocks need as many words on whether they may go, not {len(skippable)}.")
    if not written.any():
        raise UserError("This log has no step yet: search first.")
    step = step[written]
    norms, thresholds, cost = (arrays[name][written].astype(np.float32) for name in ("norms", "thresholds", "cost"))
    gates = (arrays["gates"][written] > 0.5).astype(np.uint8)
    if not all(np.isfinite(one).all() for one in (norms, thresholds, cost)):
        raise UserError("The log holds NaN or infinity: the search has diverged.")
    if target is not None and not math.isfinite(target):
        raise UserError("The target is no number: leave it out where there is none.")
    places, numbers = _flips(step, norms, thresholds, gates)
    kept = _kept((gates[1:] != gates[:-1]).any((1, 2)))
    return {
        "blocks": [
            {"name": str(name), "skippable": bool(skippable is None or skippable[number])}
            for number, name in enumerate(blocks)
        ],
        "words": gate_words(),
        "steps": pack(step[kept], "int32"),
        "norms": pack(norms[kept]),
        "thresholds": pack(thresholds[kept]),
        "gates": pack(gates[kept], "uint8"),
        "cost": pack(cost[kept]),
        "flips": pack(places, "int32"),
        "flip_numbers": pack(numbers),
        "target": None if target is None else float(target),
        "unit": str(unit),
        "warm": None if warm is None else int(warm),
        "frozen": None if frozen is None else int(frozen),
        "start": [int(one) for one in _start(places)],
    }


class GateCurves(BookWidget):
    """Norm and threshold of any gate over the search, the cost beneath, and a list of all decisions to jump to."""

    label = "Norm and threshold of a gate over the steps of a search, with its cost and a list of all decisions."
    _esm = module("hqnas_gates")
    _css = style() + _CSS

    blocks = traitlets.List().tag(sync=True)
    words = traitlets.List().tag(sync=True)
    steps = traitlets.Bytes().tag(sync=True)
    norms = traitlets.Bytes().tag(sync=True)
    thresholds = traitlets.Bytes().tag(sync=True)
    gates = traitlets.Bytes().tag(sync=True)
    cost = traitlets.Bytes().tag(sync=True)
    flips = traitlets.Bytes().tag(sync=True)
    flip_numbers = traitlets.Bytes().tag(sync=True)
    target = traitlets.Float(None, allow_none=True).tag(sync=True)
    unit = traitlets.Unicode("").tag(sync=True)
    warm = traitlets.Int(None, allow_none=True).tag(sync=True)
    frozen = traitlets.Int(None, allow_none=True).tag(sync=True)
    start = traitlets.List([0, 0, -1]).tag(sync=True)

    @classmethod
    def from_log(
        cls,
        log: Log,
        blocks: Sequence[str],
        *,
        target: float | None = None,
        unit: str = "",
        warm: int | None = None,
        frozen: int | None = None,
        skippable: Sequence[bool] | None = None,
    ) -> "GateCurves":
        """Build the figure from what a search noted. Up to 200 rows are drawn; no decision in the log is left out.

        Args:
            log: norms, thresholds, gates and cost at some steps; a ``GateLog``, or anything with such arrays.
            blocks: the names of the searched blocks.
            target: the cost that was asked for. unit: of both costs.
            warm, frozen: the first step in which thresholds move, and the first in which gates are fixed.
            skippable: for each block whether it can be left out; None: all can.

        Raises:
            UserError: arrays that do not fit each other or the blocks, an empty log, NaN.
        """
        return cls(**gates_state(log, blocks, target=target, unit=unit, warm=warm, frozen=frozen, skippable=skippable))

    @classmethod
    def from_found(cls, found: Found, config: SearchConfig) -> "GateCurves":
        """The same from a search and the configuration that it ran with."""
        steps = config.recipe.steps
        return cls.from_log(
            found.log,
            [block.name for block in found.space.blocks],
            target=found.target,
            unit=found.table.unit,
            warm=round(config.warm * steps),
            frozen=steps - round(config.frozen * steps),
            skippable=[block.skippable for block in found.space.blocks],
        )

    def curves(self, block: int, gate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Steps, norm, threshold and whether it is open of one gate, as the script decodes them: (rows,) each."""
        steps = np.frombuffer(self.steps, "<i4")
        shape = (len(steps), len(self.blocks), len(ROW))
        three = (
            np.frombuffer(self.norms, "<f4"),
            np.frombuffer(self.thresholds, "<f4"),
            np.frombuffer(self.gates, "u1"),
        )
        return steps, *(one.reshape(shape)[:, block, gate] for one in three)

    def preview(self) -> str:
        """Norm and threshold of the first gate, as a still."""
        block, gate, at = self.start
        steps, norm, threshold, is_open = self.curves(block, gate)
        left, right, top, base = 50, 600, 50, 210
        low, high = min(norm.min(), threshold.min()), max(norm.max(), threshold.max())
        span, length = float(high - low) or 1.0, float(steps[-1] - steps[0]) or 1.0

        def x(step: float) -> float:
            return left + float(step - steps[0]) / length * (right - left)

        def path(values: np.ndarray) -> str:
            heights = base - (values - low) / span * (base - top)
            return "M" + "L".join(f"{x(s):.1f} {y:.1f}" for s, y in zip(steps, heights, strict=True))

        ends = [*steps[1:], steps[-1]]
        shade = "".join(
            f"M{x(a):.1f} {top}V{base}H{x(b):.1f}V{top}Z"
            for a, b, one in zip(steps, ends, is_open, strict=True)
            if not one
        )
        name = html.escape(f"{self.blocks[block]['name']}, {self.words[gate]['name']}", quote=True)
        told = "" if at < 0 else f"; at step {at} the gate changes"
        ticks = "".join(
            f'<text x="{x(s):.0f}" y="{base + 18}" text-anchor="middle">{s}</text>' for s in (steps[0], steps[-1])
        )
        return still(
            f'<svg viewBox="0 0 640 250" role="img" aria-label="Norm and threshold of the gate of {name}, over the '
            f'steps of the search{told}; shaded where the gate is closed."><g font-size="13" fill="var(--ptr-muted)">'
            f"{ticks}"
            f'<text x="{(left + right) / 2}" y="{base + 34}" text-anchor="middle">step of the search</text>'
            f'<text x="{left}" y="16" fill="var(--ptr-ink)" font-weight="600">{name}</text>'
            f'<text x="{left}" y="36">norm (solid), threshold (dashed), shaded where closed</text></g>'
            f'<path d="{shade}" fill="var(--ptr-grid)"/>'
            f'<path d="M{left} {top}V{base}H{right}" fill="none" stroke="var(--ptr-line)"/>'
            f'<path d="{path(norm)}" fill="none" stroke="var(--ptr-accent)" stroke-width="2.2"/>'
            f'<path d="{path(threshold)}" fill="none" stroke="var(--ptr-accent2)" stroke-width="2.2" '
            'stroke-dasharray="7 4"/></svg>'
        )
