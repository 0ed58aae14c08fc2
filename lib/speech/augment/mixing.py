"""Levels of waveforms: mixing speech with noise at a given ratio, gain, shifts in time, babble."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.errors import UserError
from lib.speech.augment.draws import uniform, whole_up_to

BLOCK = 320  # samples that the level is taken of: 20 ms at 16 kHz
ACTIVE_DB = 25.0  # blocks so far below the loudest one are pauses, as about in ITU-T P.56
PARTS = ("active", "whole")


def signal_power(waveforms: Tensor, over: str = "active", block: int = BLOCK) -> Tensor:
    """Mean square of waveforms (batch, samples), for each: (batch,).

    over   "whole"    of all samples
           "active"   of the blocks of `block` samples that are less than 25 dB below the loudest one. So neither the
                      pauses around a word nor zeros at the end of a row make speech seem quieter, and a burst
                      of noise is as loud as it is while it lasts
    """
    if over not in PARTS:
        raise UserError(f"{over!r} is no part to measure the power of: choose {' or '.join(PARTS)}.")
    if over == "whole" or not waveforms.shape[1]:
        return waveforms.square().sum(1) / max(1, waveforms.shape[1])
    samples = waveforms.shape[1]
    missing = -samples % block
    sums = pad(waveforms, (0, missing)).square().unflatten(1, (-1, block)).sum(2)
    counts = sums.new_full((sums.shape[1],), block)
    counts[-1] -= missing
    means = sums / counts
    active = means >= means.amax(1, keepdim=True) * 10 ** (-ACTIVE_DB / 10)
    return (sums * active).sum(1) / (counts * active).sum(1)


def mix(speech: Tensor, noise: Tensor, snr_db: float | Tensor, over: str = "active") -> Tensor:
    """speech + noise, both (batch, samples), the noise scaled to a signal-to-noise ratio; the speech stays as it is.

        snr_db = 10 log10(power of the speech / power of the noise)

    snr_db   one ratio for all, or (batch,)
    over     what the two powers are measured of, see `signal_power`

    Where the speech is silent there is no ratio, and nothing is added. The sum may exceed 1: see `limit_peak`.
    """
    if speech.shape[1] != noise.shape[1]:
        raise ValueError(f"speech of {speech.shape[1]} samples and noise of {noise.shape[1]} cannot be mixed")
    noise = noise.to(speech)
    ratio = torch.as_tensor(snr_db, dtype=speech.dtype, device=speech.device)
    wanted = signal_power(speech, over) / 10 ** (ratio / 10)
    present = signal_power(noise, over)
    scale = (wanted / present.clamp_min(torch.finfo(speech.dtype).tiny)).sqrt()
    scale = torch.where(present > 0, scale, torch.zeros_like(scale))
    return speech + scale[:, None] * noise


def gain(waveforms: Tensor, decibels: float | Tensor) -> Tensor:
    """Waveforms (batch, samples) louder by so many dB: one number, or (batch,)."""
    decibels = torch.as_tensor(decibels, dtype=waveforms.dtype, device=waveforms.device)
    return waveforms * (10 ** (decibels / 20)).reshape(-1, 1)


def random_gain(waveforms: Tensor, low_db: float, high_db: float, generator: torch.Generator) -> Tensor:
    """Each waveform louder by its own number of dB, evenly between the two."""
    return gain(waveforms, uniform(len(waveforms), low_db, high_db, generator))


def limit_peak(waveforms: Tensor, peak: float = 0.99) -> Tensor:
    """Waveforms (batch, samples) that exceed `peak` made so quiet that they do not; the others as they are."""
    return waveforms * (peak / waveforms.abs().amax(1, keepdim=True).clamp_min(peak))


def shift(waveforms: Tensor, later: Tensor) -> Tensor:
    """Waveforms (batch, samples), each `later` samples later, int (batch,), earlier if negative.

    What leaves at one end is lost, and zeros come in at the other.
    """
    batch, samples = waveforms.shape
    if not waveforms.numel():
        return waveforms.clone()
    reach = min(samples, int(later.abs().max()))
    starts = reach - later.to(waveforms.device).clamp(-reach, reach)
    # every window of the padded row, of which one a row is copied: a quarter of the time of a gather
    windows = pad(waveforms, (reach, reach)).unfold(1, samples, 1)
    return windows[torch.arange(batch, device=waveforms.device), starts]


def random_shift(waveforms: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each waveform shifted by its own whole number of samples in -most ... most."""
    if most < 0:
        raise UserError(f"A shift is up to 0 samples or more, not {most}.")
    limits = torch.full((len(waveforms),), 2 * most)
    return shift(waveforms, whole_up_to(limits, generator) - most)


def fitted(waveform: Tensor, samples: int, start: int = 0) -> Tensor:
    """A waveform (n,) brought to a length: from sample `start` on, and again from its beginning when it is used up."""
    if not len(waveform):
        raise UserError("A waveform without a sample cannot fill anything: remove empty recordings.")
    places = (start + torch.arange(samples, device=waveform.device)) % len(waveform)
    return waveform[places]


def babble(
    voices: Sequence[Tensor], batch: int, samples: int, generator: torch.Generator, talkers: tuple[int, int] = (3, 7)
) -> Tensor:
    """Several people talking at once: (batch, samples), each with power 1.

    voices    waveforms (n,) of any lengths to draw from: one utterance a talker, no one twice in an example
    talkers   the fewest and the most in an example

    Every talker is as loud as the others, begins anywhere in the utterance and repeats it for as long as is needed.
    """
    fewest, most = talkers
    if not 1 <= fewest <= most <= len(voices):
        raise UserError(f"Babble of {fewest} to {most} talkers cannot be made of {len(voices)} utterances.")
    found = voices[0].new_zeros(batch, samples)
    spread = torch.full((batch,), most - fewest)
    for row, extra in zip(found, whole_up_to(spread, generator).tolist(), strict=True):
        order = torch.randperm(len(voices), generator=generator, device=generator.device)
        for index in order[: fewest + extra].tolist():
            one = voices[index]
            start = int(whole_up_to(torch.tensor([max(0, len(one) - 1)]), generator))
            power = signal_power(one[None])
            row += fitted(one, samples, start) / power.clamp_min(torch.finfo(one.dtype).tiny).sqrt()
    return found / signal_power(found, "whole").clamp_min(torch.finfo(found.dtype).tiny).sqrt()[:, None]
