"""The second moving figure of chapter 1: images from noise to digit."""

import html
from collections.abc import Mapping

import numpy as np
import torch
import traitlets

from lib.cud.samplers import Trajectory, trajectory
from lib.errors import UserError
from lib.widgets.base import BookWidget
from lib.widgets.kit import module, still, style
from lib.widgets.png import png_address

Walks = Mapping[str, Mapping[int, tuple[np.ndarray, np.ndarray]]]
"""method -> network calls -> (states, clean estimates), each (steps + 1, samples, channels, height, width)."""


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as uint8, clipped (noise reaches beyond the range of pixels)."""
    if not np.isfinite(images).all():
        raise UserError("An image holds NaN or infinity: did training diverge?")
    return np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def with_estimates(walk: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """A trajectory's states and its clean estimates x̂_0 = x - t v; at t = 0 the estimate is the state itself.

    Returns two arrays of shape (steps + 1, batch, …).
    """
    estimates = torch.cat([walk.clean_estimates, walk.points[-1:]])
    return walk.points.cpu().numpy(), estimates.cpu().numpy()


def digits_state(walks: Walks) -> dict:
    """The state of `DigitTrajectories`; argument and errors as in `DigitTrajectories.from_arrays`."""
    if not walks:
        raise UserError("The digit widget needs at least one method.")
    methods = list(walks)
    budgets = sorted(walks[methods[0]])
    if not budgets:
        raise UserError(f"{methods[0]}: no trajectory was given.")
    first = np.asarray(walks[methods[0]][budgets[0]][0])
    if first.ndim != 5 or first.shape[2] not in (1, 3):
        raise UserError(f"States have shape (steps + 1, samples, 1 or 3, height, width), not {tuple(first.shape)}.")
    blocks, parts, offset = [], [], 0
    for name in methods:
        if sorted(walks[name]) != budgets:
            raise UserError(f"{name} has trajectories for {sorted(walks[name])} calls, {methods[0]} for {budgets}.")
        blocks.append([])
        for budget in budgets:
            states, estimates = (np.asarray(a) for a in walks[name][budget])
            if states.shape != estimates.shape or states.shape[1:] != first.shape[1:] or len(states) < 2:
                raise UserError(f"{name} at {budget} calls: states {states.shape} do not fit {first.shape[1:]}.")
            both = [np.ascontiguousarray(to_bytes(a).swapaxes(0, 1)) for a in (states, estimates)]
            blocks[-1].append({"offset": offset, "steps": len(states) - 1})
            parts += [a.tobytes() for a in both]
            offset += sum(a.size for a in both)
    return {
        "methods": methods,
        "budgets": budgets,
        "blocks": blocks,
        "shape": list(first.shape[2:]),
        "samples": int(first.shape[1]),
        "start": min(2, len(budgets) - 1),
        "pixels": b"".join(parts),
    }


class DigitTrajectories(BookWidget):
    """Images on their way from noise to sample, two methods side by side, at a chosen number of network calls."""

    label = "Images on their way from noise to digit, for a chosen method and number of network calls."
    _esm = module("cud_digits")
    _css = style()

    methods = traitlets.List().tag(sync=True)
    budgets = traitlets.List().tag(sync=True)
    blocks = traitlets.List().tag(sync=True)
    shape = traitlets.List().tag(sync=True)
    samples = traitlets.Int(0).tag(sync=True)
    start = traitlets.Int(0).tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True)

    @classmethod
    def from_arrays(cls, walks: Walks) -> "DigitTrajectories":
        """Build the figure from computed walks.

        Args:
            walks: method -> network calls -> (states, clean estimates), each of shape (steps + 1, samples, channels,
                height, width) in [-1, 1], noise first. All methods have the same numbers of calls and samples.

        Raises:
            UserError: nothing given, shapes that do not fit, NaN.
        """
        return cls(**digits_state(walks))

    @classmethod
    def from_models(
        cls,
        models: Mapping[str, tuple[torch.nn.Module, int]],
        noise: torch.Tensor,
        nfe: tuple[int, ...] = (1, 2, 4, 8, 16),
    ) -> "DigitTrajectories":
        """Walk with Euler, one call a step, from the same noise for all models.

        Args:
            models: name -> (velocity model, head counted from 1).
            noise: shape (samples, channels, height, width); eight fill the row.
            nfe: numbers of network calls on offer.
        """
        walks = {
            name: {n: with_estimates(trajectory(model, noise, n, "euler", head=head)) for n in nfe}
            for name, (model, head) in models.items()
        }
        return cls.from_arrays(walks)

    def states(self, method: int, budget: int) -> np.ndarray:
        """The stored states of one walk, uint8, shape (samples, steps + 1, channels, height, width)."""
        block = self.blocks[method][budget]
        shape = (self.samples, block["steps"] + 1, *self.shape)
        return np.frombuffer(self.pixels, np.uint8, int(np.prod(shape)), block["offset"]).reshape(shape)

    def preview(self) -> str:
        """The samples of each method at the first budget shown, one row a method."""
        gap, label_height = 1, 22
        height, width = self.shape[1], self.shape[2]
        scale = 560 / (self.samples * (width + gap))
        rows, y = [], 0.0
        for number, name in enumerate(self.methods):
            images = self.states(number, self.start)[:, -1].transpose(0, 2, 3, 1)
            sheet = np.full((height, self.samples * (width + gap) - gap, images.shape[-1]), 255, np.uint8)
            for i, image in enumerate(images):
                sheet[:, i * (width + gap) : i * (width + gap) + width] = image
            address = png_address(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
            rows.append(
                f'<text x="0" y="{y + 15:.0f}" font-size="13" fill="var(--ptr-ink)">{html.escape(name)}</text>'
                f'<image class="ptr-pixels" href="{address}" x="0" y="{y + label_height:.0f}" '
                f'width="{sheet.shape[1] * scale:.0f}" height="{height * scale:.0f}"/>'
            )
            y += label_height + height * scale + 10
        calls = self.budgets[self.start]
        sentence = f"Samples of {len(self.methods)} methods with {calls} network calls, one row a method."
        return still(f'<svg viewBox="0 0 560 {y:.0f}" role="img" aria-label="{sentence}">{"".join(rows)}</svg>')
