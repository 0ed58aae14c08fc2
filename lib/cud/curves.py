"""Quality against network calls, over seeds, as a small file that the chapter draws from."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lib.cud import comparison as names
from lib.errors import UserError
from lib.papers import RESULTS

FILE = "cud-curves.json"


class Curves(BaseModel):
    """All methods on one data set.

    Attributes:
        metric: what the distances are.
        floors: seed -> what fresh data score.
        scores: method -> network calls -> the distance of each seed, in the order of ``floors``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    metric: str
    floors: dict[int, float]
    scores: dict[str, dict[int, tuple[float, ...]]]

    @classmethod
    def over_seeds(
        cls, data: str, metric: str, scores: dict[int, dict[str, dict[int, float]]], floors: dict[int, float]
    ) -> "Curves":
        """From seed -> method -> calls -> distance."""
        known = next(iter(scores.values()))
        return cls(
            data=data,
            metric=metric,
            floors={seed: _short(value) for seed, value in floors.items()},
            scores={
                label: {n: tuple(_short(run[label][n]) for run in scores.values()) for n in calls}
                for label, calls in known.items()
            },
        )


def as_json(curves: Iterable[Curves]) -> bytes:
    """The content of the file that ``load_curves`` reads."""
    return _LIST.dump_json(list(curves), indent=1) + b"\n"


def load_curves(folder: Path | str = RESULTS) -> list[Curves]:
    """Read the curves. Raises UserError when the file is missing or not as written."""
    path = Path(folder) / FILE
    try:
        return _LIST.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `papers reproduce cud`, or restore it from the repository.") from None
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({error.errors()[0]['msg']}): run `papers reproduce cud` again.") from None


SHOWN = (
    names.FLOW_EQUAL,
    names.RK12,
    names.RK12_WIDE,
    f"{names.RK34}, head 3",
    names.OT,
    names.OT_CATCH_UP,
    names.REFLOW,
    names.PROGRESSIVE,
    names.CONSISTENCY,
    names.SECOND_ON_CATCH_UP,
)
"""The methods that a figure shows at first: as many as the eye can tell apart."""


def drawn(curves: Iterable[Curves]) -> dict[str, Any]:
    """The arguments of the book's moving quality figure: mean, lowest and highest seed of every method, floors, units.

    Methods with a switch thrown are left out: ``switch_rows`` has them.
    """
    curves = list(curves)
    order = list(dict.fromkeys([*SHOWN, *(method for one in curves for method in methods_of(one))]))
    records = [
        {
            "dataset": one.data,
            "method": method,
            "nfe": sorted(one.scores[method]),
            **{
                name: [measure(one.scores[method][n]) for n in sorted(one.scores[method])]
                for name, measure in (("value", mean), ("low", min), ("high", max))
            },
        }
        for one in curves
        for method in order
        if method in one.scores
    ]
    return {
        "records": records,
        "floors": {one.data: mean(one.floors.values()) for one in curves},
        "units": {one.data: one.metric for one in curves},
        "order": order,
        "shown": SHOWN,
    }


SWITCHES = {
    names.RK12: (names.EMA_TEACHER, names.RAMP, names.DISCRETE),
    f"{names.RK34}, head 3": (f"{names.RK34_EXACT}, head 3", f"{names.RK34_CHAINED}, head 3"),
    names.RK12_WIDE: (names.WIDE_LEARNED, names.WIDE_SHAKEDROP, names.WIDE_WAVELET),
}
"""Method -> the same with one switch thrown (``comparison.switched``)."""


def methods_of(curves: Curves) -> list[str]:
    """All methods, without those that have a switch thrown."""
    apart = (names.RK34_EXACT, names.RK34_CHAINED, *(label for labels in SWITCHES.values() for label in labels))
    return [method for method in curves.scores if not method.startswith(apart)]


def rows(curves: Curves) -> list[dict[str, Any]]:
    """Every method as a row of a table: the mean over the seeds at each number of network calls, None if not asked.

    Methods with a switch thrown are left out: ``switch_rows`` has them.
    """
    calls = sorted({n for by_calls in curves.scores.values() for n in by_calls})
    return [
        {"method": method}
        | {f"{n}": mean(curves.scores[method][n]) if n in curves.scores[method] else None for n in calls}
        for method in methods_of(curves)
    ]


def switch_ratios(curves: Curves, label: str) -> dict[int, tuple[float, float]]:
    """Calls -> lowest and highest over the seeds of the ratio of a switched run to its method; below 1 it gains.

    Both saw the same noise and data, so that the ratio of a seed says more than the two means.
    """
    base = next(base for base, apart in SWITCHES.items() if label in apart)
    found = {}
    for n, seeds in curves.scores[label].items():
        ratios = [value / plain for value, plain in zip(seeds, curves.scores[base][n], strict=True)]
        found[n] = min(ratios), max(ratios)
    return found


def switch_rows(curves: Curves) -> list[dict[str, str]]:
    """The rows of a table: ``switch_ratios`` of each method with a switch thrown, those that were run on these data."""
    return [
        {"method": label} | {f"{n}": _range(*ends) for n, ends in switch_ratios(curves, label).items()}
        for labels in SWITCHES.values()
        for label in labels
        if label in curves.scores
    ]


def _range(low: float, high: float) -> str:
    ends = dict.fromkeys((f"{low:.2f}", f"{high:.2f}"))
    return "–".join(ends)


_LIST = TypeAdapter(list[Curves])


def _short(value: float) -> float:
    return float(f"{value:.5g}")
