"""Clouds of points in the plane, the paths that a solver draws, and the velocity field."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from lib.errors import UserError
from lib.figures.palette import MARKS
from lib.figures.style import book_style, new_figure

_DATA = "#aab2bb"


def _array(points, name: str, last: int = 2) -> np.ndarray:
    """Torch tensors and arrays alike, checked for the (…, 2) shape."""
    values = np.asarray(points.detach().cpu() if hasattr(points, "detach") else points, dtype=float)
    if values.ndim < 2 or values.shape[-1] != last:
        raise UserError(f"{name}: points have shape (…, {last}), this one has {tuple(values.shape)}.")
    return values


def _square(axis: Axes, limit: float) -> None:
    axis.set_xlim(-limit, limit)
    axis.set_ylim(-limit, limit)
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    for side in axis.spines.values():
        side.set_visible(False)


def _limit(*clouds: np.ndarray) -> float:
    """Half the width of a square that holds all but one per thousand of the points."""
    return 1.1 * max(float(np.quantile(np.abs(c), 0.999)) for c in clouds)


def _panels(titles: list[str], columns: int, size: float, what: str) -> tuple[Figure, list[Axes]]:
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = new_figure(size * columns, (size + 0.25) * rows, f"{what}, one panel each: {'; '.join(titles)}.")
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(len(titles))]


def plot_clouds(
    clouds: Mapping[str, object], *, data=None, columns: int = 5, size: float = 2.1, dot: float = 3
) -> Figure:
    """Scatter plots in a row, one a name, all on the same scale.

    Args:
        clouds: title -> points, shape (batch, 2).
        data: points to lie pale behind each cloud, shape (batch, 2).
        columns: panels in a row.
        size: of a panel, in inches.
        dot: area of a point, in square points.
    """
    arrays = {name: _array(points, name) for name, points in clouds.items()}
    behind = _array(data, "data") if data is not None else None
    limit = _limit(*arrays.values(), *([behind] if behind is not None else []))
    with book_style():
        figure, axes = _panels(list(arrays), columns, size, "Clouds of points in the plane")
        for axis, (name, points) in zip(axes, arrays.items(), strict=True):
            if behind is not None:
                axis.scatter(*behind.T, s=2, color=_DATA, linewidths=0, rasterized=True)
            axis.scatter(*points.T, s=dot, color=MARKS[0].light, linewidths=0, alpha=0.7, rasterized=True)
            axis.set_title(name)
            _square(axis, limit)
    return figure


def plot_paths(
    paths: Mapping[str, object], *, data=None, show: int = 60, columns: int = 4, size: float = 2.6
) -> Figure:
    """The paths of particles from noise to data, one panel a name.

    Args:
        paths: title -> points of a trajectory, shape (steps + 1, batch, 2), noise first.
        data: points to lie pale behind, shape (batch, 2).
        show: number of particles whose path is drawn.
        columns: panels in a row.
        size: of a panel, in inches.
    """
    arrays = {name: _array(points, name) for name, points in paths.items()}
    for name, points in arrays.items():
        if points.ndim != 3:
            raise UserError(f"{name}: a trajectory has shape (steps + 1, batch, 2), this one has {points.shape}.")
    behind = _array(data, "data") if data is not None else None
    limit = _limit(*(p[:, :show] for p in arrays.values()), *([behind] if behind is not None else []))
    with book_style():
        figure, axes = _panels(list(arrays), columns, size, "Paths of particles from noise to data")
        for axis, (name, points) in zip(axes, arrays.items(), strict=True):
            if behind is not None:
                axis.scatter(*behind.T, s=2, color=_DATA, linewidths=0, rasterized=True)
            drawn = points[:, :show]
            axis.add_collection(
                LineCollection(list(drawn.transpose(1, 0, 2)), colors=MARKS[0].light, alpha=0.45, linewidths=0.7)
            )
            axis.scatter(*drawn[0].T, s=7, facecolors="white", edgecolors="#4a525b", linewidths=0.6, zorder=3)
            axis.scatter(*drawn[-1].T, s=7, color=MARKS[1].light, linewidths=0, zorder=4)
            axis.set_title(name)
            _square(axis, limit)
    return figure


def plot_field(fields: Mapping[str, tuple[object, object]], *, data=None, columns: int = 5) -> Figure:
    """Velocity fields as arrows, one panel a name. The arrows point the way a sample moves (t falls): along -v.

    Args:
        fields: title -> (positions, velocities), each of shape (batch, 2).
        data: points to lie pale behind, shape (batch, 2).
    """
    arrays = {name: (_array(p, name), _array(v, name)) for name, (p, v) in fields.items()}
    behind = _array(data, "data") if data is not None else None
    limit = max(_limit(p) for p, _ in arrays.values())
    with book_style():
        figure, axes = _panels(list(arrays), columns, 2.3, "Velocity fields in the plane")
        for axis, (name, (positions, velocities)) in zip(axes, arrays.items(), strict=True):
            if behind is not None:
                axis.scatter(*behind.T, s=2, color=_DATA, linewidths=0, rasterized=True)
            axis.quiver(*positions.T, *(-velocities).T, color=MARKS[0].light, width=0.006, pivot="mid")
            axis.set_title(name)
            _square(axis, limit)
    return figure
