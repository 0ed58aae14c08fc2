"""Figures of sound and of those who listen: spectrograms and maps, footprints, false rejects, players."""

import base64
import html
import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import soundfile
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from lib.errors import UserError
from lib.figures.curves import line_style, listed
from lib.figures.palette import marks
from lib.figures.style import book_style, new_figure

PLAYED_RATE = 8_000
"""Hz of the sounds in a page: enough for a word, and half the bytes."""


def plot_maps(
    maps: Mapping[str, np.ndarray],
    *,
    columns: int = 3,
    seconds: float = 1.0,
    xlabel: str = "time (s)",
    ylabel: str = "band, low to high",
    one_scale: bool = False,
    square: bool = False,
) -> Figure:
    """Maps over time and pitch side by side: spectrograms, features, what a network sees.

    Args:
        maps: title -> (frames, bands); time is drawn to the right, low bands at the bottom.
        seconds: how long a map lasts. one_scale: the same colours for the same values in all of them.
        square: draw rows and columns as they are, as a matrix (first row on top), without a time axis.
    """
    if not maps:
        raise UserError("plot_maps: there is no map to draw.")
    values = {title: np.asarray(one, dtype=float) for title, one in maps.items()}
    low, high = min(one.min() for one in values.values()), max(one.max() for one in values.values())
    columns = min(columns, len(values))
    rows = -(-len(values) // columns)
    with book_style():
        alt = f"Maps over time and pitch, bright where the value is large: {listed(list(values))}."
        figure = new_figure(max(3.2, 2.5 * columns), (2.6 if square else 2.1) * rows, alt)
        for number, (title, one) in enumerate(values.items(), start=1):
            axis = figure.add_subplot(rows, columns, number)
            scale = {"vmin": low, "vmax": high} if one_scale else {}
            if square:
                axis.imshow(one, cmap="viridis", interpolation="nearest", **scale)
            else:
                axis.imshow(
                    one.T, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
                    extent=(0, seconds, 0, one.shape[1]), **scale,
                )  # fmt: skip
            axis.grid(visible=False)
            axis.set_title(title)
            axis.set_xlabel(xlabel)
            if (number - 1) % columns == 0:
                axis.set_ylabel(ylabel)
    return figure


def plot_footprint(points: Sequence[Mapping], *, x: str, xlabel: str) -> Figure:
    """Accuracy against size, one point a network: published ones hollow, ours filled.

    Args:
        points: dicts with ``network``, ``accuracy`` (percent), ``published`` (bool), the size under the name ``x``, and
            for ours optionally ``low`` and ``high``, the spread over seeds.
    """
    names = list(dict.fromkeys(point["network"] for point in points))
    with book_style():
        alt = f"Accuracy against {xlabel}: hollow marks as published, filled marks measured here, for {listed(names)}."
        figure = new_figure(6.4, 7.0, alt)
        published, ours = figure.subplots(2, 1)
        for axis, chosen, title in (
            (published, True, "as published: Speech Commands"),
            (ours, False, "here: spoken by espeak-ng, in noise"),
        ):
            here = [point for point in points if point["published"] == chosen]
            for point in here:
                face = "none" if chosen else "#0072b2"
                axis.plot(point[x], point["accuracy"], marker="o", markerfacecolor=face, color="#0072b2", linestyle="")
                if "low" in point:
                    axis.plot([point[x]] * 2, [point["low"], point["high"]], color="#0072b2", linewidth=1)
            axis.set_xscale("log")
            axis.margins(x=0.2, y=0.12)
            axis.set_title(title)
            axis.set_xlabel(xlabel)
            axis.set_ylabel("accuracy (percent)")
        figure.draw_without_rendering()  # the layout must stand before names are fitted into it
        for axis, chosen in ((published, True), (ours, False)):
            here = [point for point in points if point["published"] == chosen]
            heights = [(one.get("low", one["accuracy"]), one.get("high", one["accuracy"])) for one in here]
            _name(axis, [(one["network"], one[x], one["accuracy"]) for one in here], heights)
    return figure


def _name(axis, points: Sequence[tuple[str, float, float]], heights: Sequence[tuple[float, float]]) -> None:
    """Names beside points (name, x, y), each as near as it can be without touching a mark or another name.

    heights   from where to where each point's mark reaches
    """
    renderer, to_pixels = axis.figure.canvas.get_renderer(), axis.transData.transform
    taken = [
        Bbox([to_pixels((x, low)) - 6, to_pixels((x, high)) + 6])
        for (_, x, _), (low, high) in zip(points, heights, strict=True)
    ]
    for name, x, y in sorted(points, key=lambda one: one[2]):
        for away, (right, up) in itertools.product((8, 16, 26, 38, 50), _DIRECTIONS):
            text = axis.annotate(
                name, (x, y), xytext=(away * right, away * up), textcoords="offset points", fontsize=7.5,
                ha=("right", "center", "left")[round(right) + 1], va=("top", "center", "bottom")[round(up) + 1],
                arrowprops={"arrowstyle": "-", "color": "#8a929c", "linewidth": 0.6} if away > 8 else None,
            )  # fmt: skip
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)
            inside = axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max)
            if inside and not box.count_overlaps(taken):
                break
            text.remove()
        else:
            raise UserError(f"There is no room for the name of {name}: draw fewer networks.")
        taken.append(box)


_DIRECTIONS = ((1, 0), (-1, 0), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7), (0, 1), (0, -1))
"""Right first, then left, above and below: (right, up)."""


def plot_spread(
    found: Mapping[str, Sequence[float]], *, xlabel: str = "accuracy (percent)", chance: float | None = None
) -> Figure:
    """One row a method, one mark a seed, and a bar at the mean; ``chance`` is a dotted line."""
    with book_style():
        means = {name: float(np.mean(values)) for name, values in found.items()}
        listed = ", ".join(f"{name} {value:.1f}" for name, value in means.items())
        figure = new_figure(6.4, 0.6 + 0.32 * len(found), f"{xlabel} of each seed, with means: {listed}.")
        axis = figure.add_subplot()
        for row, (name, values) in enumerate(found.items()):
            axis.plot(values, [row] * len(values), "o", color="#0072b2", markerfacecolor="none", markersize=5)
            axis.plot([means[name]] * 2, [row - 0.3, row + 0.3], color="#d55e00", linewidth=2)
        if chance is not None:
            axis.axvline(chance, color="#23292f", linestyle=":", linewidth=1)
        axis.set_yticks(range(len(found)), list(found))
        axis.invert_yaxis()
        axis.set_xlabel(f"{xlabel}: a ring a seed, a bar at the mean")
    return figure


def plot_against(
    lines: Mapping[str, Mapping[float, Sequence[float]]], *, xlabel: str, ylabel: str = "accuracy (percent)"
) -> Figure:
    """Lines of means with a band from the lowest to the highest seed: {label: {x: values of the seeds}}."""
    with book_style():
        figure = new_figure(5.8, 3.2, f"{ylabel} against {xlabel}, for {listed(list(lines))}.")
        axis = figure.add_subplot()
        for name, mark in marks(list(lines)).items():
            places = sorted(lines[name])
            values = [np.asarray(lines[name][place], dtype=float) for place in places]
            style = line_style(mark)
            axis.plot(places, [one.mean() for one in values], marker=mark.marker, label=name, **style)
            axis.fill_between(
                places, [one.min() for one in values], [one.max() for one in values], color=mark.light, alpha=0.15,
                linewidth=0,
            )  # fmt: skip
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        axis.legend()
    return figure


def plot_rejects(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], areas: Mapping[str, float]) -> Figure:
    """False rejects over false alarms, both logarithmic: {label: (false-alarm rates, false-reject rates)}."""
    with book_style():
        figure = new_figure(5.2, 3.4, f"False-reject rate against false-alarm rate, for {listed(list(curves))}.")
        axis = figure.add_subplot()
        for name, mark in marks(list(curves)).items():
            alarms, rejects = curves[name]
            axis.plot(alarms, rejects, label=f"{name} (area {areas[name]:.4f})", **line_style(mark))
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(1e-3, 1)
        axis.set_ylim(1e-3, 1)
        axis.set_xlabel("false alarms (share of other clips)")
        axis.set_ylabel("false rejects (share of keyword clips)")
        axis.legend()
    return figure


def plot_confusion(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """How often the class of a row was taken for the class of a column, as shares of the row, with the numbers."""
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    with book_style():
        worst = shares - np.eye(len(names))
        true, taken = np.unravel_index(worst.argmax(), worst.shape)
        alt = (
            f"A table of what was said against what was heard; most often {names[true]} was taken for {names[taken]}, "
            f"in {100 * shares[true, taken]:.0f} percent of its clips."
        )
        figure = new_figure(5.4, 4.6, alt)
        axis = figure.add_subplot()
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row in range(len(names)):
            for column in range(len(names)):
                if matrix[row, column]:
                    colour = "white" if shares[row, column] > 0.5 else "#23292f"
                    text = f"{100 * shares[row, column]:.0f}"
                    axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.grid(visible=False)
        axis.set_xlabel("heard")
        axis.set_ylabel("said (percent of its clips)")
    return figure


def wav_bytes(samples: np.ndarray, sample_rate: int, rate: int = PLAYED_RATE) -> bytes:
    """Samples in -1 ... 1 as a 16-bit WAV of ``rate`` Hz; ``sample_rate`` must be a multiple of it."""
    if sample_rate % rate:
        raise UserError(f"{sample_rate} Hz cannot be played at {rate} Hz: give a rate that divides it.")
    step = sample_rate // rate
    samples = np.asarray(samples, dtype=np.float64)
    if step > 1:  # a mean of neighbours is filter enough for listening
        samples = samples[: len(samples) // step * step].reshape(-1, step).mean(1)
    loudest = max(1e-9, float(np.abs(samples).max(initial=0)))
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples * min(1.0, 0.95 / loudest), -1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def players(sounds: Mapping[str, np.ndarray], sample_rate: int = 16_000) -> HTML:
    """Buttons to hear sounds, each with its name: {name: samples (n,)}. They work without a kernel and a network."""
    parts = []
    for name, samples in sounds.items():
        address = "data:audio/wav;base64," + base64.b64encode(wav_bytes(samples, sample_rate)).decode("ascii")
        label = html.escape(name, quote=True)
        parts.append(
            '<figure style="display:inline-block;margin:0.3em 0.8em 0.3em 0;max-width:100%">'
            f'<figcaption style="color:inherit">{label}</figcaption>'
            f'<audio controls preload="none" aria-label="{label}" src="{address}" '
            'style="width:15em;max-width:100%"></audio></figure>'
        )
    return HTML("".join(parts))
