"""The telephone: 8,000 samples a second, 300 to 3,400 Hz, eight bits a sample by mu-law, a line of its own."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchaudio.functional import mu_law_decoding, mu_law_encoding, resample

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE
from lib.speech.augment.draws import uniform

TELEPHONE_RATE = 8_000
EDGE_HZ = 100.0  # width of the band-pass filter's flanks


def telephone(
    waveforms: Tensor,
    sample_rate: int = SAMPLE_RATE,
    output_rate: int | None = None,
    *,
    low_hz: float = 300.0,
    high_hz: float = 3400.0,
    levels: int | None = 256,
) -> Tensor:
    """Waveforms (batch, samples) as a telephone line carries them: resampled to 8 kHz, band-pass, mu-law.

    sample_rate   of the waveforms, in Hz
    output_rate   of what comes back; None: as it went in. At 8,000 nothing is resampled back; else the length
                  stays the same in seconds, and in samples if the rate does
    levels        of the mu-law quantiser; None: without
    """
    samples = waveforms.shape[1]
    line = resample(waveforms, sample_rate, TELEPHONE_RATE)
    line = band_pass(line, low_hz, high_hz, TELEPHONE_RATE)
    if levels is not None:
        line = mu_law(line, levels)
    output_rate = sample_rate if output_rate is None else output_rate
    back = resample(line, TELEPHONE_RATE, output_rate)
    return back[:, : math.ceil(samples * output_rate / sample_rate)]


def band_pass(waveforms: Tensor, low_hz: float, high_hz: float, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """What of waveforms (batch, samples) lies between two frequencies; nothing is delayed.

    Half the amplitude is left at the two edges; the flanks are raised cosines 100 Hz wide.
    """
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise UserError(f"A band lies between 0 and {sample_rate / 2:g} Hz, not from {low_hz:g} to {high_hz:g}.")

    def weights(hertz: Tensor) -> Tensor:
        inside = torch.minimum(hertz - low_hz, high_hz - hertz) / EDGE_HZ + 0.5
        return 0.5 - 0.5 * torch.cos(math.pi * inside.clamp(0, 1))

    return _weighted(waveforms, weights, sample_rate)


def equalise(waveforms: Tensor, decibels: Tensor, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Waveforms (batch, samples) through a handset of its own each: a gain in dB that depends on frequency.

    decibels   (batch or 1, points): at points evenly from 0 Hz to half the sample rate, straight lines between
    """
    if decibels.ndim != 2 or decibels.shape[1] < 2:
        raise UserError("The curve of a handset has 2 points or more.")
    decibels = decibels.to(waveforms)

    def weights(hertz: Tensor) -> Tensor:
        curve = interpolate(decibels[:, None], size=len(hertz), mode="linear", align_corners=True)[:, 0]
        return 10 ** (curve / 20)

    return _weighted(waveforms, weights, sample_rate)


def random_handset(
    waveforms: Tensor,
    generator: torch.Generator,
    spread_db: float = 6.0,
    points: int = 9,
    sample_rate: int = SAMPLE_RATE,
) -> Tensor:
    """Each waveform (batch, samples) through its own handset: at each point a gain drawn from -spread ... spread dB."""
    drawn = uniform(len(waveforms) * points, -spread_db, spread_db, generator).reshape(-1, points)
    return equalise(waveforms, drawn, sample_rate)


def tilt(waveforms: Tensor, by: float | Tensor) -> Tensor:
    """y[t] = x[t] + by * x[t - 1]: darker for by > 0, brighter for by < 0; one number, or (batch,)."""
    by = torch.as_tensor(by, dtype=waveforms.dtype, device=waveforms.device).reshape(-1, 1)
    before = torch.nn.functional.pad(waveforms, (1, 0))[:, :-1]
    return waveforms + by * before


def random_tilt(waveforms: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Each waveform with its own tilt, evenly in -most ... most; below 1 nothing is lost for good."""
    return tilt(waveforms, uniform(len(waveforms), -most, most, generator))


def mu_law(waveforms: Tensor, levels: int = 256) -> Tensor:
    """Waveforms rounded to `levels` values that lie closer where it is quiet (mu = levels - 1), as a line codes them.

    What is beyond -1 ... 1 is cut off, as there.
    """
    if levels < 2:
        raise UserError(f"mu-law has 2 levels or more, not {levels}.")
    return mu_law_decoding(mu_law_encoding(waveforms.clamp(-1, 1), levels), levels).to(waveforms.dtype)


def _weighted(waveforms: Tensor, weights: Callable[[Tensor], Tensor], sample_rate: int) -> Tensor:
    """Filtered by a real gain over frequency; padded, so that the end does not ring into the beginning."""
    samples = waveforms.shape[1]
    size = 1 << (samples + sample_rate // 10).bit_length()
    hertz = torch.linspace(0, sample_rate / 2, size // 2 + 1, device=waveforms.device)
    return torch.fft.irfft(torch.fft.rfft(waveforms, size) * weights(hertz), size)[:, :samples]
