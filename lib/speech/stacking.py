"""Neighbouring frames side by side, and fewer of them: a low frame rate makes a transformer's sequences short."""

import torch
from torch import Tensor

from lib.errors import UserError

EDGES = ("drop", "repeat")


def stack_frames(features: Tensor, left: int = 0, right: int = 2, step: int = 3, edges: str = "drop") -> Tensor:
    """Frames t - left ... t + right side by side, for t = 0, step, 2 step ...: (batch, frames, bands) ->
    (batch, stacked frames, (left + 1 + right) * bands), the earliest frame first.

    edges   "drop"    only where all of them exist; with the defaults groups of three, the rest of the division dropped
            "repeat"  the first and the last frame stand for what lies outside; ceil(frames / step) remain
    """
    if left < 0 or right < 0 or step < 1:
        raise UserError(f"Stacking wants left and right of 0 or more and a step of 1 or more: {left}, {right}, {step}.")
    if edges not in EDGES:
        raise UserError(f"{edges!r} is no way to treat the edges: choose {' or '.join(EDGES)}.")
    batch, frames, bands = features.shape
    count = stacked_length(frames, left, right, step, edges)
    first = left if edges == "drop" else 0
    middle = first + step * torch.arange(count, device=features.device)
    places = middle[:, None] + torch.arange(-left, right + 1, device=features.device)
    return features[:, places.clamp(0, max(0, frames - 1))].reshape(batch, count, (left + 1 + right) * bands)


def stacked_length(frames: int, left: int = 0, right: int = 2, step: int = 3, edges: str = "drop") -> int:
    """How many frames `stack_frames` makes of so many."""
    if edges == "drop":
        return max(0, -(-(frames - left - right) // step))
    return -(-frames // step)
