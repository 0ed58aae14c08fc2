"""The first moving figure of chapter 1: particles carried from noise to data."""

import html
from collections.abc import Mapping

import numpy as np
import torch
import traitlets
from torch import Tensor

from lib.cud.straightness import path_straightness
from lib.errors import UserError
from lib.widgets.base import BookWidget, pack
from lib.widgets.kit import module, still, style
from lib.widgets.mlp import pack_mlp, run_packed

DIRECTIONS, SHOWN = 32, 400


def _sorted_projections(points: np.ndarray) -> np.ndarray:
    """The points (count, 2) along DIRECTIONS lines, evenly turned, each in rising order: (DIRECTIONS, count)."""
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.sort(np.stack([np.cos(angles), np.sin(angles)], axis=1) @ points.T.astype(np.float64), axis=1)


def data_quantiles(data: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """What the distance of ``count`` points from the data needs to know of the data (batch, 2).

    Along a line the i-th of n sorted points is responsible for the n-th part i of the data. Its squared distance from
    them is that from their mean, and their variance.

    Returns:
        The means, (DIRECTIONS, count), and the variance, averaged over all parts and directions.
    """
    lines = _sorted_projections(data if len(data) < count else data[: len(data) // count * count])
    if len(data) < count:  # each point serves several parts
        lines = lines.repeat(count, axis=1)
    parts = lines.reshape(DIRECTIONS, count, -1)
    return parts.mean(axis=2), float(parts.var(axis=2).mean())


def sliced_distance(points: np.ndarray, quantiles: np.ndarray, spread: float) -> float:
    """Sliced Wasserstein-2 distance of points (count, 2) from the data of ``data_quantiles``, as the script has it."""
    return float(np.sqrt(((_sorted_projections(points) - quantiles) ** 2).mean() + spread))


def trajectories_state(
    models: Mapping[str, tuple[torch.nn.Module, int]],
    data: Tensor,
    particles: int = 160,
    seed: int = 0,
    steps: int = 4,
) -> dict:
    """The state of `OdeTrajectories`; arguments as in `OdeTrajectories.from_models`."""
    if not models:
        raise UserError("The particle widget needs at least one model.")
    if not 1 <= particles <= 1000:
        raise UserError(f"The particle widget draws 1 to 1000 particles, not {particles}.")
    if not 1 <= steps <= 32:
        raise UserError(f"The particle widget takes 1 to 32 steps, not {steps}.")
    points = data.detach().cpu().numpy().astype(np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 4:
        raise UserError(f"The data are points of shape (batch, 2), four or more; got {tuple(points.shape)}.")
    if not np.isfinite(points).all():
        raise UserError("The data hold NaN or infinity: the particle widget cannot draw them.")
    # One half is compared with, the other gives fresh points for the floor.
    known, others, draws = points[::2], points[1::2], np.random.default_rng(seed)
    quantiles, spread = data_quantiles(known, particles)
    fresh = [draws.choice(others, particles, replace=particles > len(others)) for _ in range(10)]
    noise = torch.randn(particles, 2, generator=torch.Generator().manual_seed(seed))
    # S belongs to the field, not to the few particles drawn: more of them, and fine steps.
    many = torch.randn(512, 2, generator=torch.Generator().manual_seed(seed + 1))
    packed, entries, offset = [], [], 0
    for name, (model, head) in models.items():
        weights = pack_mlp(model, head)
        straightness = path_straightness(model, many, head=head)
        entries.append({"name": name, "offset": offset, "bytes": len(weights), "straightness": straightness})
        packed.append(weights)
        offset += len(weights)
    return {
        "models": entries,
        "weights": b"".join(packed),
        "data": pack(points[:SHOWN]),
        "quantiles": pack(quantiles),
        "spread": spread,
        "noise": pack(noise),
        "limit": 1.1 * max(2.6, float(np.quantile(np.abs(points), 0.999))),
        "floor": float(np.mean([sliced_distance(drawn, quantiles, spread) for drawn in fresh])),
        "steps": steps,
    }


class OdeTrajectories(BookWidget):
    """A cloud of particles on its way from noise (t = 1) to data (t = 0).

    The networks travel with the figure: its script runs them, so that any solver and number of steps answers without
    a kernel. Solvers and counts of network calls are those of `lib.cud.samplers`.
    """

    label = "Particles carried from noise to data by the chosen model, solver and number of steps."
    _esm = module("cud_trajectories")
    _css = style()

    models = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    quantiles = traitlets.Bytes().tag(sync=True)
    spread = traitlets.Float(0.0).tag(sync=True)
    noise = traitlets.Bytes().tag(sync=True)
    limit = traitlets.Float(3.0).tag(sync=True)
    floor = traitlets.Float(0.0).tag(sync=True)
    steps = traitlets.Int(4).tag(sync=True)

    @classmethod
    def from_models(
        cls,
        models: Mapping[str, tuple[torch.nn.Module, int]],
        data: Tensor,
        particles: int = 160,
        seed: int = 0,
        steps: int = 4,
    ) -> "OdeTrajectories":
        """Build the figure from trained models.

        Args:
            models: name -> (velocity model for points in the plane, head counted from 1).
            data: points of the target, shape (batch, 2), in random order. The first 400 are drawn, every other one is
                compared with: give many more than there are particles.
            particles: how many particles are drawn, and judged.
            seed: of the noise that they start from.
            steps: where the slider stands at first.

        Raises:
            UserError: no model, a model that is no plain MLP, a head or a number out of range, data of another shape.
        """
        return cls(**trajectories_state(models, data, particles, seed, steps))

    def preview(self) -> str:
        """Start and end of the first model's particles, with the paths between, as a still."""
        side = 460
        entry = self.models[0]
        packed = self.weights[entry["offset"] : entry["offset"] + entry["bytes"]]
        states = [np.frombuffer(self.noise, "<f4").reshape(-1, 2)]
        for n in range(self.steps):
            states.append(states[-1] - run_packed(packed, states[-1], 1 - n / self.steps) / self.steps)

        def place(points: np.ndarray) -> np.ndarray:
            return (points * [1, -1] / self.limit + 1) * side / 2

        def dots(points: np.ndarray) -> str:
            return "".join(f"M{x:.0f} {y:.0f}h0" for x, y in place(points))

        paths = "".join(
            "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in place(np.stack([s[i] for s in states])))
            for i in range(len(states[0]))
        )
        name = html.escape(entry["name"], quote=True)
        sentence = f"Paths of {len(states[0])} particles from noise to data: {name}, Euler, {self.steps} steps."
        data = np.frombuffer(self.data, "<f4").reshape(-1, 2)
        return still(
            f'<svg viewBox="0 0 {side} {side}" style="max-width:{side}px" role="img" aria-label="{sentence}" '
            'fill="none" stroke-linecap="round">'
            f'<path d="{dots(data)}" stroke="var(--ptr-faint)" stroke-width="3"/>'
            f'<path d="{paths}" stroke="var(--ptr-accent)" stroke-opacity=".4"/>'
            f'<path d="{dots(states[-1])}" stroke="var(--ptr-accent2)" stroke-width="5"/></svg>'
        )
