"""Faster and slower speech, as a tape that runs at another speed: tempo and pitch change together."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.functional import resample

from lib.errors import UserError
from lib.speech.augment.draws import whole_up_to

SPEEDS = (0.9, 1.0, 1.1)  # the three of Ko et al., 2015
FINEST = 100  # speeds are whole hundredths, or ratios of numbers up to here


def speed_ratio(speed: float) -> Fraction:
    """0.9 -> 9/10. Raises UserError for a speed outside of 0.1 ... 10 and for one that is no ratio of small numbers."""
    ratio = Fraction(speed).limit_denominator(FINEST) if 0.1 <= speed <= 10 else None
    if ratio is None or abs(float(ratio) - speed) > 1e-6:
        raise UserError(f"A speed is a number such as 0.9 or 1.25, between 0.1 and 10 in hundredths, not {speed}.")
    return ratio


def speed_length(samples: int, speed: float) -> int:
    """Samples that remain of so many: ceil(samples / speed)."""
    ratio = speed_ratio(speed)
    return -(-samples * ratio.denominator // ratio.numerator)


def change_speed(waveforms: Tensor, speed: float) -> Tensor:
    """Waveforms (..., samples) played `speed` times as fast: (..., ceil(samples / speed)).

    1.1 makes them shorter and all frequencies 1.1 times as high.
    """
    ratio = speed_ratio(speed)
    if ratio == 1 or not waveforms.numel():
        return waveforms[..., : speed_length(waveforms.shape[-1], speed)]
    # We pretend that they were recorded at 9 samples a second and want 10: there are more, so they last longer.
    return resample(waveforms, ratio.numerator, ratio.denominator)


def random_speed(
    waveforms: Tensor, generator: torch.Generator, lengths: Tensor | None = None, speeds: Sequence[float] = SPEEDS
) -> tuple[Tensor, Tensor]:
    """Each waveform (batch, samples) at one of the speeds, and the lengths that come out: (batch, longest), (batch,).

    lengths   samples of each, int (batch,); None: all. Behind the new lengths there are zeros
    """
    if not len(speeds):
        raise UserError("There is no speed to choose from: name one or more.")
    batch, samples = waveforms.shape
    lengths = torch.full((batch,), samples) if lengths is None else lengths.cpu()
    choice = whole_up_to(torch.full((batch,), len(speeds) - 1), generator).tolist()
    new_lengths = torch.tensor(
        [speed_length(length, speeds[which]) for length, which in zip(lengths.tolist(), choice, strict=True)],
        dtype=torch.int64,
    )
    longest = int(new_lengths.max()) if batch else 0
    found = waveforms.new_zeros(batch, longest)
    for which, speed in enumerate(speeds):
        rows = torch.tensor([row for row, chosen in enumerate(choice) if chosen == which], dtype=torch.int64)
        if len(rows):
            changed = change_speed(waveforms[rows.to(waveforms.device)], speed)[:, :longest]
            found[rows.to(waveforms.device)] = pad(changed, (0, longest - changed.shape[1]))
    valid = torch.arange(longest) < new_lengths[:, None]
    return found * valid.to(waveforms.device), new_lengths.to(waveforms.device)
