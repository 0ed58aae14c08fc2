"""The third moving figure of chapter 1: quality against network calls."""

import html
import math
from collections.abc import Mapping, Sequence

import traitlets

from lib.errors import UserError
from lib.widgets.base import BookWidget
from lib.widgets.kit import mark_states, module, still, style


def _numbers(record: Mapping, key: str, length: int) -> list[float]:
    values = [float(v) for v in record[key]]
    where = f"{record['method']} on {record['dataset']}: {key}"
    if len(values) != length:
        raise UserError(f"{where} has {len(values)} entries, nfe has {length}.")
    if not all(math.isfinite(v) and v > 0 for v in values):
        raise UserError(f"{where} must be finite and above 0: the axis is logarithmic.")
    return values


def quality_state(
    records: Sequence[Mapping],
    floors: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    order: Sequence[str] | None = None,
    shown: Sequence[str] | None = None,
) -> dict:
    """The state of `QualityCurves`; arguments and errors as in `QualityCurves.from_records`."""
    if not records:
        raise UserError("The curves need at least one record with dataset, method, nfe and value.")
    clean, seen = [], set()
    for record in records:
        name = (record["dataset"], record["method"])
        if name in seen:
            raise UserError(f"{record['method']} on {record['dataset']} is given twice.")
        seen.add(name)
        nfe = [int(n) for n in record["nfe"]]
        if not nfe or nfe != sorted(set(nfe)) or nfe[0] < 1:
            raise UserError(f"{record['method']} on {record['dataset']}: nfe must rise from 1 or more, not {nfe}.")
        entry = {"dataset": name[0], "method": name[1], "nfe": nfe, "value": _numbers(record, "value", len(nfe))}
        if "low" in record and "high" in record:
            entry |= {key: _numbers(record, key, len(nfe)) for key in ("low", "high")}
        clean.append(entry)
    datasets = [
        {"name": name, "floor": (floors or {}).get(name), "unit": (units or {}).get(name, "distance to the data")}
        for name in dict.fromkeys(r["dataset"] for r in clean)
    ]
    methods = list(dict.fromkeys(r["method"] for r in clean))
    at_first = [name for name in methods if shown is None or name in shown]
    if not at_first:
        raise UserError(f"None of the methods to show at first was measured: {', '.join(shown or ())}.")
    return {
        "records": clean,
        "datasets": datasets,
        "marks": mark_states(methods, order),
        "shown": at_first,
        "has_spread": any("low" in r for r in clean),
    }


class QualityCurves(BookWidget):
    """Quality against network function evaluations, all methods, with a cursor that reads out a sorted table."""

    label = "Quality against network calls, one line a method, with a table at the chosen number of calls."
    _esm = module("quality_curves")
    _css = style()

    records = traitlets.List().tag(sync=True)
    datasets = traitlets.List().tag(sync=True)
    marks = traitlets.List().tag(sync=True)
    shown = traitlets.List().tag(sync=True)
    has_spread = traitlets.Bool(False).tag(sync=True)

    @classmethod
    def from_records(
        cls,
        records: Sequence[Mapping],
        floors: Mapping[str, float] | None = None,
        units: Mapping[str, str] | None = None,
        order: Sequence[str] | None = None,
        shown: Sequence[str] | None = None,
    ) -> "QualityCurves":
        """Build the figure from measurements.

        Args:
            records: dicts with `dataset`, `method`, `nfe` (rising), `value` (lower is better) and, where several seeds
                ran, `low` and `high` (smallest and largest over seeds). The same records feed
                `lib.figures.plot_quality`.
            floors: data set -> what fresh data reach against data.
            units: data set -> name of the measure.
            order: all methods of the chapter, so that each keeps its mark.
            shown: the methods that are ticked at first, about as many as one can tell apart; all if None. The others
                wait below them.

        Raises:
            UserError: no record, a method twice, lists of different lengths, a value that is not above 0, or nothing
                to show at first.
        """
        return cls(**quality_state(records, floors, units, order, shown))

    def preview(self) -> str:
        """The lines of the first data set that are shown at first, as a still, with their names."""
        width, height, left, right, top, bottom = 640, 340, 50, 440, 26, 296
        there = [r for r in self.records if r["dataset"] == self.datasets[0]["name"]]
        here = [r for r in there if r["method"] in self.shown] or there
        values = [v for r in here for v in r["value"]]
        calls = sorted({n for r in here for n in r["nfe"]})
        low, high = math.log(min(values)), math.log(max(values) * 1.0001)
        span = math.log(calls[-1] / calls[0]) or 1.0
        looks = {m["name"]: m for m in self.marks}

        def x(n: int) -> float:
            return left + math.log(n / calls[0]) / span * (right - left)

        def y(v: float) -> float:
            return bottom - (math.log(v) - low) / (high - low) * (bottom - top)

        parts = []
        ends = sorted(((y(r["value"][-1]), r["method"]) for r in here), reverse=True)
        place, next_place = {}, float(bottom)
        for end, name in ends:  # from the bottom up, so that no name leaves the frame or covers another
            place[name] = min(end, next_place)
            next_place = place[name] - 16
        for r in here:
            look = looks[r["method"]]
            line = "M" + "L".join(f"{x(n):.0f} {y(v):.0f}" for n, v in zip(r["nfe"], r["value"], strict=True))
            dash = f' stroke-dasharray="{look["dash"]}"' if look["dash"] else ""
            parts.append(
                f'<path d="{line}" stroke="{look["colour"]}" stroke-width="2"{dash} fill="none"/>'
                f'<text x="{right + 14}" y="{place[r["method"]] + 4:.0f}" font-size="12" fill="{look["colour"]}">'
                f"{html.escape(r['method'])}</text>"
            )
        ticks = "".join(
            f'<text x="{x(n):.0f}" y="{bottom + 18}" text-anchor="middle" font-size="12" '
            f'fill="var(--ptr-muted)">{n}</text>'
            for n in calls
        )
        unit, name = (html.escape(self.datasets[0][k], quote=True) for k in ("unit", "name"))
        sentence = f"{unit} against network calls on {name}, one line a method; lower is better."
        return still(
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{sentence}">'
            f'<path d="M{left} {top}V{bottom}H{right}" stroke="var(--ptr-line)" fill="none"/>{"".join(parts)}{ticks}'
            f'<text x="2" y="14" font-size="12" fill="var(--ptr-muted)">{unit}: lower is better ({name})</text>'
            f'<text x="{(left + right) / 2:.0f}" y="{height - 8}" text-anchor="middle" font-size="12" '
            'fill="var(--ptr-muted)">network function evaluations (NFE)</text></svg>'
        )
