"""Reverberation: a room answers to a sound with a tail that dies away, and more of it the farther one stands."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE
from lib.speech.augment.draws import uniform
from lib.speech.augment.mixing import shift

GAP_SECONDS = 0.002  # between the direct sound and the first reflection: 0.7 m more of way
CRITICAL = 0.057  # from Sabine's law, in metres, cubic metres and seconds


@dataclass(frozen=True)
class Rooms:
    """Ranges to draw rooms from: reverberation time in s, distance of the speaker in m, volume in cubic metres."""

    rt60: tuple[float, float]
    distance: tuple[float, float]
    volume: tuple[float, float]


# Sizes that everybody has been in; a choice of ours.
ROOMS = {
    "small": Rooms(rt60=(0.15, 0.5), distance=(0.3, 2.0), volume=(15, 100)),
    "medium": Rooms(rt60=(0.3, 0.9), distance=(0.5, 5.0), volume=(100, 1_000)),
    "large": Rooms(rt60=(0.6, 2.0), distance=(1.0, 10.0), volume=(1_000, 10_000)),
}


def room_responses(
    rt60: Tensor, distance: Tensor, volume: Tensor, generator: torch.Generator, sample_rate: int = SAMPLE_RATE
) -> Tensor:
    """Impulse responses of rooms: (batch, samples), as long as the longest reverberation time.

    rt60       seconds in which the sound dies away by 60 dB, (batch,)
    distance   metres from the speaker to the microphone, (batch,)
    volume     cubic metres, (batch,)

    The direct sound is 1 at sample 0. Behind a short gap there is Gaussian noise that falls by 60 dB in `rt60`. In a
    diffuse field direct and reverberant sound are equally strong at the critical distance, and by the square law

        energy of the tail / energy of the direct sound = (distance / critical)^2
        critical = 0.057 sqrt(volume / rt60)

    That is a room without single echoes from its walls; those would need its shape.
    """
    rt60, distance, volume = (one.float().to(generator.device) for one in (rt60, distance, volume))
    for name, one in (("rt60", rt60), ("distance", distance), ("volume", volume)):
        if not bool(((one > 0) & one.isfinite()).all()):
            raise UserError(f"{name} of a room must be above zero.")
    gap = max(1, round(GAP_SECONDS * sample_rate))
    samples = gap + 1 + int(sample_rate * float(rt60.max()))
    seconds = torch.arange(samples - gap, device=generator.device) / sample_rate
    noise = torch.randn(len(rt60), samples - gap, generator=generator, device=generator.device)
    tail = noise * 10 ** (-3 * seconds / rt60[:, None])
    wanted = distance / (CRITICAL * (volume / rt60).sqrt())
    found = torch.zeros(len(rt60), samples, device=generator.device)
    found[:, gap:] = tail * (wanted / tail.norm(dim=1))[:, None]
    found[:, 0] = 1
    return found


def random_rooms(
    batch: int, generator: torch.Generator, rooms: str | Rooms = "small", sample_rate: int = SAMPLE_RATE
) -> Tensor:
    """Impulse responses (batch, samples) of rooms drawn evenly from ranges, or from those that a name stands for."""
    if isinstance(rooms, str):
        if rooms not in ROOMS:
            raise UserError(f"{rooms!r} is no size of rooms: choose {', '.join(ROOMS)}.")
        rooms = ROOMS[rooms]
    drawn = (uniform(batch, *limits, generator) for limits in (rooms.rt60, rooms.distance, rooms.volume))
    return room_responses(*drawn, generator, sample_rate)


def reverberate(waveforms: Tensor, responses: Tensor) -> Tensor:
    """Waveforms (batch, samples) as heard in rooms: convolved with responses (batch or 1, taps), of the same length.

    The loudest tap of a response is taken to be the direct sound. It is scaled to 1 and put at time zero: what is
    heard first stays in place and at its level; recorded responses can be used as they are.
    """
    if not responses.shape[1] or bool((responses == 0).all(1).any()):
        raise UserError("An impulse response is empty or silent: remove it.")
    samples = waveforms.shape[1]
    responses = responses.to(waveforms)
    direct = responses.abs().argmax(1, keepdim=True)
    responses = responses / responses.gather(1, direct)
    size = _power_of_two(samples + responses.shape[1])
    whole = torch.fft.irfft(torch.fft.rfft(waveforms, size) * torch.fft.rfft(responses, size), size)
    return shift(whole, -direct[:, 0].expand(len(whole)))[:, :samples]


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
