"""Figures of networks that were searched: the front, one network block by block, its bits, what its layers cost.

What is drawn comes from a searching system, of which this module knows no more than this: a space has ``blocks``, each
with ``name``, ``in_channels`` and ``out_channels``; choices hold for each block None (left out) or an object with
``kernel``, ``expansion`` and ``bits`` of its three convolutions.
"""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lib.errors import UserError
from lib.figures.curves import line_style, listed
from lib.figures.palette import MARKS, marks
from lib.figures.style import book_style, new_figure

PARTS = ("expand", "depthwise", "project")
LETTERS = ("E", "D", "P")
STRENGTHS = ((0, 2, 1.0), (2, 4, 0.62), (4, 8, 0.34))
"""Bits from, to, and how strongly they are painted, as in the moving figure."""
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oo", "**", "||||", "----")
ROW = 6
"""Blocks side by side."""
_INK, _MUTED, _LINE = "#23292f", "#4a525b", "#8a929c"


def _numbers(value: float | Sequence[float], what: str) -> np.ndarray:
    values = np.atleast_1d(np.asarray(value, dtype=float))
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UserError(f"{what} must be one number or a list of them, without NaN; this one is {value!r}.")
    return values


def standard_error(values: np.ndarray) -> float:
    """Of a mean; 0 where there is one value only."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def plot_front(
    points: Sequence[Mapping],
    *,
    xlabel: str,
    ylabel: str = "accuracy (percent)",
    log: bool = False,
    lines: bool = True,
    order: Sequence[str] | None = None,
) -> Figure:
    """Accuracy over cost: a large mark for the mean over seeds, with its standard error, and a small one for each seed.

    Args:
        points: dicts with ``method``, ``cost`` and ``accuracy``; both numbers, or lists with one entry a seed (a single
            cost holds for all of them). A method may have several points, one for each budget.
        log: logarithmic cost. lines: join the points of a method, in the order of their cost.
        order: all methods of the chapter, so that each keeps its mark.

    Raises:
        UserError: no point, NaN, lists of different lengths, or a cost that is not above 0 on a logarithmic axis.
    """
    if not points:
        raise UserError("plot_front: there is no point to draw.")
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for point in points:
        cost, accuracy = (_numbers(point[key], f"{point['method']}: {key}") for key in ("cost", "accuracy"))
        if len(cost) == 1:
            cost = cost.repeat(len(accuracy))
        if len(cost) != len(accuracy):
            raise UserError(
                f"{point['method']}: {len(cost)} costs and {len(accuracy)} accuracies do not belong together."
            )
        if log and cost.min() <= 0:
            raise UserError(f"{point['method']}: a cost of {cost.min():g} has no place on a logarithmic axis.")
        found.setdefault(point["method"], []).append((cost, accuracy))
    seeds = any(len(cost) > 1 for pairs in found.values() for cost, _ in pairs)
    with book_style():
        small = "; small marks are single seeds, bars the standard error of the mean" if seeds else ""
        figure = new_figure(6.4, 3.8, f"{ylabel} against {xlabel}, for {listed(list(found))}{small}.")
        axis = figure.add_subplot()
        for name, mark in marks(list(found), order).items():
            pairs = sorted(found[name], key=lambda pair: pair[0].mean())
            for cost, accuracy in pairs:
                if len(cost) > 1:
                    axis.plot(
                        cost, accuracy, linestyle="", marker=mark.marker, markersize=3.6, markerfacecolor="none",
                        markeredgecolor=mark.light, markeredgewidth=0.8, alpha=0.75,
                    )  # fmt: skip
            x, y = (np.array([pair[k].mean() for pair in pairs]) for k in (0, 1))
            across, up = ([standard_error(pair[k]) for pair in pairs] for k in (0, 1))
            style = line_style(mark) if lines and len(pairs) > 1 else {"color": mark.light, "linestyle": ""}
            axis.errorbar(
                x, y, xerr=across if any(across) else None, yerr=up if any(up) else None, label=name,
                marker=mark.marker, markersize=7, markeredgecolor="white", markeredgewidth=0.7, elinewidth=1.6,
                capsize=3, **style,
            )  # fmt: skip
        if log:
            axis.set_xscale("log")
            values = np.concatenate([cost for pairs in found.values() for cost, _ in pairs])
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 200 * values.min() else (1,)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        if len(found) > 1:
            axis.legend()
    return figure


def _words(choice: Any) -> str:
    if choice is None:
        return "left out"
    return f"{choice.kernel}x{choice.kernel}, expansion {choice.expansion}, {'/'.join(map(str, choice.bits))} bits"


def _told(space: Any, choices: Sequence) -> str:
    """The blocks in words; of a deep network only how many are which."""
    if len(choices) <= 8:
        return "; ".join(f"{block.name} {_words(one)}" for block, one in zip(space.blocks, choices, strict=True))
    kept = [one for one in choices if one is not None]
    bits = np.mean([one for choice in kept for one in choice.bits]) if kept else 0
    return (
        f"{len(kept)} of {len(choices)} blocks, {sum(one.kernel == 5 for one in kept)} of them with a 5x5 kernel and "
        f"{sum(one.expansion == 6 for one in kept)} with expansion 6, {bits:.1f} bits on average"
    )


def _cross(figure_axis: Axes, handles: list, names: list, words: str) -> None:
    """An entry in a legend that says what a cross means."""
    [cross] = figure_axis.plot([], [], "x", color=_MUTED, markersize=4.5, markeredgewidth=1.2)
    handles.append(cross)
    names.append(words)


def _fits(space: Any, choices: Sequence, name: str) -> None:
    if len(choices) != len(space.blocks):
        raise UserError(f"{name} has {len(choices)} blocks and the space {len(space.blocks)}: it is of another space.")


def _bare(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)


def plot_network(space: Any, choices: Sequence, *, title: str = "") -> Figure:
    """One network block by block: kernels as little squares, channels as heights, bits painted across each bar.

    Args:
        space, choices: as said above.

    Raises:
        UserError: choices of another space.
    """
    _fits(space, choices, title or "The network")
    widest = max(6 * block.in_channels for block in space.blocks)
    rows = -(-len(space.blocks) // ROW)
    columns = min(ROW, len(space.blocks))
    with book_style():
        told = f"{title or 'A network'}, block by block: {_told(space, choices)}"
        alt = f"{told}; bars are as high as a convolution has channels."
        figure = new_figure(
            max(3.4, 1.12 * columns + 0.2), (2.15 if rows == 1 else 1.95) * rows + 0.3 * bool(title), alt
        )
        for row in range(rows):
            axis = figure.add_subplot(rows, 1, row + 1)
            _bare(axis)
            axis.set_xlim(-0.1, 4 * columns - 0.9)
            axis.set_ylim(-0.62, 2.02)
            for place, number in enumerate(range(row * ROW, min((row + 1) * ROW, len(space.blocks)))):
                _draw_block(axis, 4 * place, space.blocks[number], choices[number], widest)
            if row == 0 and title:
                axis.set_title(title)
    return figure


def _draw_block(axis: Axes, left: float, block: Any, choice: Any, widest: int) -> None:
    blue = MARKS[0].light
    first, _, second = block.name.partition(", ")
    axis.text(left, 1.92, first, fontweight="bold", fontsize=8.5, va="top")
    axis.text(left, 1.73, second, fontsize=8.5, va="top")
    if choice is None:
        axis.plot([left, left + 3], [0, 0], color=_INK, linestyle=(0, (4, 3)), linewidth=1.4)
        axis.text(left + 1.5, 0.08, "left out", ha="center", fontsize=8.5, fontweight="bold")
        return
    axis.plot([left, left + 3], [0, 0], color=_LINE, linewidth=0.8)
    cells, filled = [], []
    for i in range(5):
        for j in range(5):
            inside = choice.kernel == 5 or (0 < i < 4 and 0 < j < 4)
            cells.append(Rectangle((left + 0.03 + 0.2 * i, 1.13 + 0.075 * j), 0.15, 0.055))
            filled.append(blue if inside else "white")
    axis.add_collection(PatchCollection(cells, facecolor=filled, edgecolor="#8a929c", linewidth=0.3))
    axis.text(left + 1.2, 1.4, f"{choice.kernel}×{choice.kernel}", fontsize=8, va="center", fontweight="bold")
    axis.text(left + 1.2, 1.2, f"×{choice.expansion}", fontsize=8, va="center", fontweight="bold")
    middle = choice.expansion * block.in_channels
    for k, (channels, bits) in enumerate(zip((middle, middle, block.out_channels), choice.bits, strict=True)):
        x, height, wide = left + k + 0.12, 0.9 * channels / widest, 0.76
        for low, high, strength in STRENGTHS:
            if bits >= high:
                part = (x + wide * low / 8, 0), wide * (high - low) / 8, height
                axis.add_patch(Rectangle(*part, facecolor=blue, alpha=strength, linewidth=0))
        axis.add_patch(Rectangle((x, 0), wide, height, facecolor="none", edgecolor=blue, linewidth=0.9))
        axis.text(x + wide / 2, height + 0.03, str(channels), ha="center", va="bottom", fontsize=7, color=_MUTED)
        axis.text(x + wide / 2, -0.08, str(bits), ha="center", va="top", fontsize=9.5, fontweight="bold")
        axis.text(x + wide / 2, -0.36, LETTERS[k], ha="center", va="top", fontsize=7, color=_MUTED)


def plot_bits(space: Any, networks: Mapping[str, Sequence]) -> Figure:
    """Bits of the weights of every searched convolution, the networks side by side; a cross where a block is left out.

    Args:
        networks: name -> choices, as said above; up to four are easy to read.

    Raises:
        UserError: no network, or choices of another space.
    """
    if not networks:
        raise UserError("plot_bits: there is no network to draw.")
    for name, choices in networks.items():
        _fits(space, choices, name)
    rows, columns = -(-len(space.blocks) // ROW), min(ROW, len(space.blocks))
    wide = 0.84 / len(networks)
    means = {
        name: np.mean([bits for one in choices if one is not None for bits in one.bits] or [0])
        for name, choices in networks.items()
    }
    with book_style():
        alt = (
            f"Bits of the weights of each convolution, expand, depthwise and project of {len(space.blocks)} blocks; "
            f"mean over the convolutions: {', '.join(f'{name} {value:.1f}' for name, value in means.items())}."
        )
        figure = new_figure(max(3.6, 1.12 * columns + 0.7), 1.75 * rows + 0.55, alt)
        for row in range(rows):
            axis = figure.add_subplot(rows, 1, row + 1)
            numbers = range(row * ROW, min((row + 1) * ROW, len(space.blocks)))
            for turn, ((name, choices), mark) in enumerate(
                zip(networks.items(), marks(list(networks)).values(), strict=True)
            ):
                shift = (turn - (len(networks) - 1) / 2) * wide
                places, bits, missing = [], [], []
                for place, number in enumerate(numbers):
                    spots = [4 * place + k + shift for k in range(len(PARTS))]
                    if choices[number] is None:
                        missing += spots
                    else:
                        places += spots
                        bits += choices[number].bits
                axis.bar(
                    places, bits, wide * 0.9, color="white" if HATCHES[turn] else mark.light, edgecolor=mark.light,
                    hatch=HATCHES[turn], linewidth=0.8, label=name,
                )  # fmt: skip
                axis.plot(missing, [0.35] * len(missing), "x", color=mark.light, markersize=4.5, markeredgewidth=1.2)
            axis.set_xlim(-0.8, 4 * columns - 1.2)
            axis.set_ylim(0, 8.6)
            axis.set_yticks([2, 4, 8])
            axis.set_ylabel("bits")
            axis.grid(visible=False, axis="x")
            ticks = [4 * place + k for place in range(len(numbers)) for k in range(len(PARTS))]
            names = [space.blocks[number].name.replace(", ", "\n") for number in numbers]
            labels = [f"{LETTERS[k]}\n{name}" if k == 1 else LETTERS[k] for name in names for k in range(len(PARTS))]
            axis.set_xticks(ticks, labels, fontsize=7.5)
            axis.tick_params(axis="x", length=0)
        handles, names = figure.axes[0].get_legend_handles_labels()
        if any(one is None for choices in networks.values() for one in choices):
            _cross(figure.axes[0], handles, names, "left out")
        figure.legend(handles, names, loc="outside upper center", ncols=min(5, len(names)), handlelength=2.2)
    return figure


def _merged(lists: Sequence[Sequence[str]]) -> list[str]:
    """All names, each once, in an order that keeps that of every list; where they disagree, as they come."""
    graph: TopologicalSorter = TopologicalSorter()
    for names in lists:
        for before, name in zip([None, *names], names, strict=False):
            graph.add(name, *([] if before is None else [before]))
    try:
        return list(graph.static_order())
    except CycleError:
        return list(dict.fromkeys(name for names in lists for name in names))


def plot_latency_shares(layers: Mapping[str, Sequence[tuple[str, float]]], *, unit: str = "") -> Figure:
    """What each layer takes of the cost of its network, in percent, the networks side by side; a cross: no such layer.

    Args:
        layers: name of the network -> (name, cost) of each layer, as a device's ``layers`` gives them.
        unit: of the costs, for the legend.

    Raises:
        UserError: no network, or one that costs nothing.
    """
    if not layers:
        raise UserError("plot_latency_shares: there is no network to draw.")
    totals = {name: sum(cost for _, cost in pairs) for name, pairs in layers.items()}
    for name, total in totals.items():
        if not (np.isfinite(total) and total > 0):
            raise UserError(f"{name} has layers that cost {total:g} together: there is nothing to share.")
    rows = _merged([[name for name, _ in pairs] for pairs in layers.values()])
    tall = 0.84 / len(layers)
    most = {name: max(pairs, key=lambda pair: pair[1]) for name, pairs in layers.items()}
    with book_style():
        told = "; ".join(
            f"{name} spends most on {top}, {100 * cost / totals[name]:.0f} percent"
            for name, (top, cost) in most.items()
        )
        figure = new_figure(
            6.4, 0.95 + len(rows) * max(0.17, 0.115 * len(layers)), f"Each layer's share of the cost: {told}."
        )
        axis = figure.add_subplot()
        for turn, ((name, pairs), mark) in enumerate(zip(layers.items(), marks(list(layers)).values(), strict=True)):
            shift, costs = (turn - (len(layers) - 1) / 2) * tall, dict(pairs)
            here = [k for k, row in enumerate(rows) if row in costs]
            gone = [k + shift for k, row in enumerate(rows) if row not in costs]
            axis.barh(
                [k + shift for k in here], [100 * costs[rows[k]] / totals[name] for k in here], tall * 0.9,
                color="white" if HATCHES[turn] else mark.light, edgecolor=mark.light, hatch=HATCHES[turn],
                linewidth=0.8, label=f"{name}: {totals[name]:.3g}{f' {unit}' if unit else ''}",
            )  # fmt: skip
            axis.plot([0.25] * len(gone), gone, "x", color=mark.light, markersize=4, markeredgewidth=1.1)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("share of the cost (percent)")
        handles, names = axis.get_legend_handles_labels()
        if any(len(pairs) < len(rows) for pairs in layers.values()):
            _cross(axis, handles, names, "no such layer")
        # Not on the axes: with bars of any length there is no corner that stays free.
        figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(names)), handlelength=2.2)
    return figure
