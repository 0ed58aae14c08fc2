"""Noise of any colour, steady or in bursts."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE
from lib.speech.augment.draws import whole_up_to

COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
PLACES = ("start", "middle", "end", "anywhere")
FLAT_BELOW_HZ = 20.0  # nobody hears what is below, and of brown noise it would be nearly all


def colour(name: str) -> float:
    """The exponent of a colour's name: its power falls as 1 / frequency ** exponent."""
    if name not in COLOURS:
        raise UserError(f"{name!r} is no colour of noise: choose {', '.join(COLOURS)}.")
    return COLOURS[name]


def coloured_noise(
    batch: int,
    samples: int,
    generator: torch.Generator,
    exponent: float | str | Tensor = 0.0,
    sample_rate: int = SAMPLE_RATE,
) -> Tensor:
    """Gaussian noise whose power falls as 1 / f ** exponent: float32 (batch, samples), each with power 1.

    exponent   0 white, 1 pink (3 dB less for each octave up), 2 brown, anything between or beyond, or one of the
               names; a tensor (batch,) for each its own. Below 20 Hz the power is even; there is no constant part
    """
    if samples < 2:
        raise UserError(f"Noise has 2 samples or more, not {samples}.")
    value = colour(exponent) if isinstance(exponent, str) else exponent
    value = torch.as_tensor(value, dtype=torch.float32, device=generator.device).reshape(-1, 1)
    # Transforms are quick for lengths without large factors; and as the spectrum's noise is periodic, its end would
    # fit its beginning. So we make more, and cut.
    size = _smooth(samples + samples // 8 + 1)
    hertz = torch.arange(size // 2 + 1, device=generator.device) * (sample_rate / size)
    weight = hertz.clamp_min(FLAT_BELOW_HZ) ** (-value / 2)
    weight[:, 0] = 0
    white = torch.randn(batch, size, generator=generator, device=generator.device)
    found = torch.fft.irfft(torch.fft.rfft(white) * weight, size)[:, :samples]
    found = found - found.mean(1, keepdim=True)
    return found / found.square().mean(1, keepdim=True).clamp_min(1e-30).sqrt()


def noise_bursts(
    lengths: Tensor,
    samples: int,
    generator: torch.Generator,
    place: str | Sequence[str] = "anywhere",
    fraction: float = 1 / 3,
    exponent: float | str | Tensor = 0.0,
    ramp: int = 160,
) -> Tensor:
    """One burst of noise in each row, zeros around it: float32 (batch, samples), a piece of noise of power 1.

    lengths    samples of each utterance, int (batch,): the burst lies inside and covers `fraction` of it
    place      "start", "middle", "end" or "anywhere"; a list has one for each row
    exponent   see `coloured_noise`
    ramp       samples over which it swells and fades (raised cosine), inside of its span
    """
    places = [place] * len(lengths) if isinstance(place, str) else list(place)
    for name in places:
        if name not in PLACES:
            raise UserError(f"{name!r} is no place for a burst: choose {', '.join(PLACES)}.")
    if len(places) != len(lengths) or not 0 < fraction <= 1:
        raise UserError(f"{len(places)} place(s) and fraction {fraction:g} do not fit {len(lengths)} burst(s).")
    lengths = lengths.to(generator.device)
    last = lengths - (lengths * fraction).round().long()  # the latest sample to start at
    anywhere = whole_up_to(last, generator)  # always drawn, so that one row's place does not change another's
    shares = {"start": 0 * last, "middle": last // 2, "end": last, "anywhere": anywhere}
    first = torch.stack([shares[name][row] for row, name in enumerate(places)]) if places else last
    noise = coloured_noise(len(lengths), samples, generator, exponent)
    return noise * burst_envelope(samples, first, first + lengths - last, ramp)


def burst_envelope(samples: int, first: Tensor, stop: Tensor, ramp: int = 160) -> Tensor:
    """1 from sample `first` to before `stop`, 0 outside, raised-cosine ramps between: (batch, samples)."""
    places = torch.arange(samples, device=first.device) + 0.5
    inside = torch.minimum(places - first[:, None], stop[:, None] - places)
    return 0.5 - 0.5 * torch.cos(math.pi * (inside / max(ramp, 0.5)).clamp(0, 1))


def _smooth(least: int) -> int:
    """The smallest number from `least` on that has no prime factor above 5."""
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
