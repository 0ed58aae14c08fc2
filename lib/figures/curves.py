"""Curves: losses over training, quality against network calls, one measure against another."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from lib.errors import UserError
from lib.figures.palette import Mark, marks
from lib.figures.style import book_style, new_figure

_plain = FuncFormatter(lambda value, _: f"{value:g}")


def line_style(mark: Mark) -> dict:
    """Dash lengths of the palette are pixels; Matplotlib counts in line widths."""
    return {"color": mark.light, "linestyle": (0, tuple(d / 1.6 for d in mark.dash)) if mark.dash else "-"}


def _log_height(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(_plain)
    axis.yaxis.set_minor_formatter(NullFormatter())


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _power_ticks(axis: Axes, values: Sequence[float]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(set(values)))
    axis.xaxis.set_major_formatter(_plain)
    axis.xaxis.set_minor_locator(NullLocator())


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over the last `window` entries (fewer at the start); same length as the input."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(0, last - window)
    return (total[last] - total[first]) / (last - first)


def plot_losses(
    losses: Mapping[str, Sequence[float]], *, window: int = 50, log: bool = True, ylabel: str = "loss"
) -> Figure:
    """Losses over training, one line a method: the raw values pale, their moving average strong.

    Args:
        losses: method -> one value per iteration, shape (iterations,).
        window: iterations in the moving average.
        log: logarithmic loss axis.
    """
    with book_style():
        figure = new_figure(6.4, 3.0, f"The {ylabel} over the iterations of training, for {listed(list(losses))}.")
        axis = figure.add_subplot()
        for name, mark in marks(list(losses)).items():
            values = np.asarray(losses[name], dtype=float)
            steps = np.arange(1, len(values) + 1)
            thin = slice(None, None, max(1, len(values) // 250))  # more points only make the picture heavy
            axis.plot(steps[thin], values[thin], color=mark.light, alpha=0.2, linewidth=0.6)
            axis.plot(steps, moving_average(values, window), label=name, **line_style(mark))
        if log:
            _log_height(axis)
        axis.set_xlabel("iteration")
        axis.set_ylabel(f"{ylabel} (mean of {window})" if window > 1 else ylabel)
        axis.legend()
    return figure


def plot_quality(
    records: Sequence[Mapping],
    *,
    floors: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    order: Sequence[str] | None = None,
) -> Figure:
    """Quality against network function evaluations (NFE), one panel a data set, both axes logarithmic.

    Args:
        records: dicts with `dataset`, `method`, `nfe` (list), `value` (list) and optionally `low`, `high` (lists:
            smallest and largest value over seeds, drawn as a band). Lower is better.
        floors: data set -> value that fresh data reach against data; a dashed line.
        units: data set -> label of its vertical axis.
        order: all methods of the chapter, so that each keeps its colour.

    Raises:
        UserError: no record, or a record whose lists differ in length.
    """
    if not records:
        raise UserError("No records to draw: pass at least one dict with dataset, method, nfe and value.")
    for record in records:
        if len(record["nfe"]) != len(record["value"]):
            raise UserError(f"{record['method']} on {record['dataset']}: nfe and value differ in length.")
    datasets = list(dict.fromkeys(r["dataset"] for r in records))
    look = marks(list(dict.fromkeys(r["method"] for r in records)), order)
    with book_style():
        alt = f"Quality against network calls on {listed(datasets)}, for {listed(list(look))}; lower is better."
        width = max(4.6, 3.4 * len(datasets))
        figure = new_figure(width, 3.5, alt)
        for number, dataset in enumerate(datasets):
            axis = figure.add_subplot(1, len(datasets), number + 1)
            here = [r for r in records if r["dataset"] == dataset]
            for record in here:
                mark = look[record["method"]]
                style = line_style(mark)
                axis.plot(record["nfe"], record["value"], marker=mark.marker, label=record["method"], **style)
                if "low" in record and "high" in record:
                    axis.fill_between(
                        record["nfe"], record["low"], record["high"], color=mark.light, alpha=0.15, linewidth=0
                    )
            if floors and dataset in floors:
                axis.axhline(floors[dataset], color="#23292f", linewidth=1, linestyle=(0, (1, 2)))
                axis.annotate("data floor", (0.02, floors[dataset]), xycoords=("axes fraction", "data"), ha="left",
                              va="bottom", fontsize=7.5, color="#4a525b")  # fmt: skip
            _power_ticks(axis, [n for r in here for n in r["nfe"]])
            _log_height(axis)
            axis.set_title(dataset)
            axis.set_xlabel("network function evaluations (NFE)")
            axis.set_ylabel((units or {}).get(dataset, "distance to the data"))
        handles = {h.get_label(): h for a in figure.axes for h in a.get_lines() if not h.get_label().startswith("_")}
        figure.legend(
            handles=list(handles.values()), loc="outside lower center", ncols=min(int(width / 2.1), len(handles))
        )
    return figure


def plot_order(x: Sequence[float], y: Sequence[float], names: Sequence[str], *, xlabel: str, ylabel: str) -> Figure:
    """One point a method, named: for example measured straightness against the lag that the analysis predicts."""
    if not len(x) == len(y) == len(names):
        raise UserError("x, y and names must have the same length.")
    with book_style():
        figure = new_figure(5.2, 3.2, f"{ylabel} against {xlabel}, one point each for {listed(list(names))}.")
        axis = figure.add_subplot()
        for (name, mark), horizontal, vertical in zip(marks(list(names)).items(), x, y, strict=True):
            axis.plot([horizontal], [vertical], marker=mark.marker, color=mark.light, markersize=8, linestyle="")
            axis.annotate(name, (horizontal, vertical), xytext=(8, 0), textcoords="offset points", va="center",
                          fontsize=8)  # fmt: skip
        axis.margins(x=0.25, y=0.15)
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
    return figure
