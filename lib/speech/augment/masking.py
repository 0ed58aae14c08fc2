"""SpecAugment: bands and stretches of time hidden from the network, and time warped a little (Park et al., 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.errors import UserError
from lib.speech.augment.draws import uniform, whole_up_to


@dataclass(frozen=True)
class SpecAugment:
    """How much is hidden.

    frequency_masks, frequency_width   how many masks, and the widest in bands; widths are 0 ... this, even odds
    time_masks, time_width             the same for frames
    time_fraction                      no time mask is longer than this share of the utterance
    fill                               what stands under a mask: 0 is the mean of normalised features
    warp                               most frames by which a moment is moved in time; 0: no warping
    """

    frequency_masks: int = 2
    frequency_width: int = 26
    time_masks: int = 2
    time_width: int = 99
    time_fraction: float = 0.2
    fill: float = 0.0
    warp: int = 0

    def __post_init__(self) -> None:
        for name in ("frequency_masks", "frequency_width", "time_masks", "time_width", "warp"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} of SpecAugment is 0 or more, not {getattr(self, name)}.")
        if not 0 <= self.time_fraction <= 1:
            raise UserError(f"time_fraction of SpecAugment lies in 0 ... 1, not {self.time_fraction}.")


def spec_augment(
    features: Tensor, config: SpecAugment, generator: torch.Generator, lengths: Tensor | None = None
) -> Tensor:
    """Features (batch, frames, bands) with masks of its own in each example; the input stays as it is.

    lengths   frames of each example, int (batch,): time masks and warping keep to them, and what lies behind
              is not touched. None: all frames
    """
    batch, frames, bands = features.shape
    lengths = torch.full((batch,), frames) if lengths is None else lengths
    lengths = lengths.to(features.device)
    if config.warp:
        features = time_warp(features, config.warp, generator, lengths)
    longest = (lengths * config.time_fraction).long().clamp_max(config.time_width)
    in_time = _masks(longest, lengths, frames, config.time_masks, generator)
    widest = torch.full((batch,), min(config.frequency_width, bands), device=features.device)
    in_frequency = _masks(widest, torch.full_like(widest, bands), bands, config.frequency_masks, generator)
    valid = torch.arange(frames, device=features.device) < lengths[:, None]
    hidden = (in_time[:, :, None] | in_frequency[:, None, :]) & valid[:, :, None]
    return features.masked_fill(hidden, config.fill)


def _masks(widest: Tensor, ends: Tensor, size: int, count: int, generator: torch.Generator) -> Tensor:
    """The union of `count` stretches in each row: bool (batch, size).

    A width is drawn from 0 ... widest, then a start from 0 ... end - width: every mask lies inside as a whole.
    """
    widths = whole_up_to(widest[:, None].expand(-1, count), generator)
    starts = whole_up_to(ends[:, None] - widths, generator)
    places = torch.arange(size, device=widest.device)
    return ((places >= starts[..., None]) & (places < (starts + widths)[..., None])).any(1)


def time_warp(features: Tensor, most: int, generator: torch.Generator, lengths: Tensor) -> Tensor:
    """A random moment of each example moved by up to `most` frames, time before and behind stretched to fit.

    Between frames we interpolate. Examples of 2 * most frames or fewer, and what lies behind `lengths`, stay.
    """
    batch, frames, _ = features.shape
    lengths = lengths.to(features.device)
    inner = (lengths - 1 - 2 * most).clamp_min(0)
    moment = most + whole_up_to(inner, generator)
    target = moment + (2 * uniform(batch, 0, 1, generator).to(features.device) - 1) * most
    places = torch.arange(frames, device=features.device)
    m, t, last = (one[:, None].float() for one in (moment, target, lengths - 1))
    before = places * (m / t.clamp_min(1e-6))
    behind = m + (places - t) * ((last - m) / (last - t).clamp_min(1e-6))
    source = torch.where(places < t, before, behind)
    warped = (lengths > 2 * most)[:, None] & (places < lengths[:, None])
    source = torch.where(warped, source, places.float()).clamp(0, max(0, frames - 1))
    low = source.floor().long()
    high = (low + 1).clamp_max(frames - 1)
    share = (source - low)[..., None].to(features.dtype)
    rows = torch.arange(batch, device=features.device)[:, None]
    return features[rows, low] * (1 - share) + features[rows, high] * share
