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


def data_floor(data: np.ndarray) -> float:
    """Mean distance from one half of the data to the nearest point of the other half: what perfect samples reach.

    data: (batch, 2), in random order. Returns a length in the data's units.
    """
    fresh, kept = data[::2], data[1::2]
    return float(np.sqrt(((fresh[:, None] - kept[None]) ** 2).sum(-1)).min(axis=1).mean())


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
        "data": pack(points),
        "noise": pack(noise),
        "limit": 1.1 * max(2.6, float(np.quantile(np.abs(points), 0.999))),
        "floor": data_floor(points),
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
            data: points of the target, shape (batch, 2); a few hundred look best.
            particles: how many particles are drawn.
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
        data = np.frombuffer(self.data, "<f4").reshape(-1, 2)[:400]
        return still(
            f'<svg viewBox="0 0 {side} {side}" style="max-width:{side}px" role="img" aria-label="{sentence}" '
            'fill="none" stroke-linecap="round">'
            f'<path d="{dots(data)}" stroke="var(--ptr-faint)" stroke-width="3"/>'
            f'<path d="{paths}" stroke="var(--ptr-accent)" stroke-opacity=".4"/>'
            f'<path d="{dots(states[-1])}" stroke="var(--ptr-accent2)" stroke-width="5"/></svg>'
        )
