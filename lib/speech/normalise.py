"""Features without what the channel and the microphone add: means and spreads taken out.

A constant filter adds a constant to each log-mel band and each cepstral coefficient. So subtracting a mean takes
the line out, with everything else that never changes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lib.errors import UserError

LEAST_STD = 1e-3  # a band that varies less is taken to be constant, and not blown up


class BandStatistics(nn.Module):
    """Mean and standard deviation of each band over a training set; as a layer: features (..., bands) -> normalised.

    Two buffers, `mean` and `std` (bands,), which a network's checkpoint carries along. A fresh one changes nothing.
    """

    def __init__(self, bands: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))

    @classmethod
    def of(cls, features: Tensor | Iterable[Tensor], lengths: Tensor | None = None) -> "BandStatistics":
        """Statistics of features (batch, frames, bands), or of many tensors (..., bands) one after the other.

        lengths   valid frames of each example of the one tensor, int (batch,); None: all
        Raises UserError when there is no frame, or NaN or infinity.
        """
        if isinstance(features, Tensor):
            features = [features] if lengths is None else [features[valid_frames(features, lengths)]]
        count, total, squares, shift = 0, torch.zeros(()), torch.zeros(()), None
        for one in features:
            rows = one.detach().reshape(-1, one.shape[-1]).double()
            if not len(rows):
                continue
            # Sums of squares lose digits where the mean is far from zero: count from the first frames' mean.
            shift = rows.mean(0) if shift is None else shift
            rows = rows - shift
            count += len(rows)
            total = total + rows.sum(0)
            squares = squares + rows.square().sum(0)
        if not count:
            raise UserError("There are no frames to take statistics of: the training set is empty or too short.")
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        if not (mean.isfinite().all() and std.isfinite().all()):
            raise UserError("The features hold NaN or infinity: find and remove the broken recording.")
        found = cls(len(mean))
        found.mean.copy_(mean + shift)
        found.std.copy_(torch.where(std < LEAST_STD, torch.ones_like(std), std))
        return found

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


def valid_frames(features: Tensor, lengths: Tensor | None) -> Tensor:
    """Which frames of features (batch, frames, bands) belong to the utterance: bool (batch, frames)."""
    batch, frames = features.shape[:2]
    if lengths is None:
        return torch.ones(batch, frames, dtype=torch.bool, device=features.device)
    return torch.arange(frames, device=features.device) < lengths.to(features.device)[:, None]


def normalise_utterances(features: Tensor, lengths: Tensor | None = None, *, variance: bool = False) -> Tensor:
    """Each utterance's mean taken out of each band, and with `variance` its spread too: (batch, frames, bands).

    lengths   valid frames of each, int (batch,): only they count, and what lies behind becomes zero
    """
    valid = valid_frames(features, lengths)[..., None]
    count = valid.sum(1, keepdim=True).clamp_min(1)
    centred = (features - (features * valid).sum(1, keepdim=True) / count) * valid
    if variance:
        std = (centred.square().sum(1, keepdim=True) / count).sqrt()
        centred = centred / torch.where(std < LEAST_STD, torch.ones_like(std), std)
    return centred


def normalise_sliding(
    features: Tensor, lengths: Tensor | None = None, *, window: int = 300, variance: bool = False
) -> Tensor:
    """The mean of the `window` frames around each frame taken out, as Kaldi's apply-cmvn-sliding with center=true.

    At the ends of an utterance the window does not shrink, it moves inwards; an utterance that is shorter has one mean.
    With `variance` divided by the window's standard deviation too (a lone frame becomes zero).

    features   (batch, frames, bands);   window   300 frames of 10 ms are 3 s
    lengths    valid frames of each, int (batch,): only they count, and what lies behind becomes zero
    """
    if window < 1:
        raise UserError(f"The sliding window has 1 frame or more, not {window}.")
    batch, frames, _ = features.shape
    valid = valid_frames(features, lengths)
    ends = valid.sum(1, keepdim=True)  # (batch, 1)
    # Frame t sees start ... start + window - 1.
    start = torch.arange(frames, device=features.device) - window // 2
    start = torch.minimum(start.clamp_min(0), (ends - window).clamp_min(0))  # (batch, frames)
    stop = torch.minimum(start + window, ends)
    count = (stop - start).clamp_min(1)[..., None]
    rows = torch.arange(batch, device=features.device)[:, None]

    def window_sums(values: Tensor) -> Tensor:
        sums = torch.nn.functional.pad(values.cumsum(1), (0, 0, 1, 0))
        return sums[rows, stop] - sums[rows, start]

    # Differences of long sums: float64 keeps what float32 would lose.
    kept = features.double() * valid[..., None]
    mean = window_sums(kept) / count
    found = features - mean
    if variance:
        spread = (window_sums(kept.square()) / count - mean.square()).clamp_min(1e-10)
        found = torch.where(count == 1, torch.zeros_like(found), found / spread.sqrt())
    return (found * valid[..., None]).to(features.dtype)
