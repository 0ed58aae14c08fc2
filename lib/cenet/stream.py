"""What a network hears in training: clips shifted, played faster or slower, louder or softer, in noise.

Step after step a pure function of (seed, step): a resumed run hears what an unbroken one does, and networks that are
compared hear the very same.
"""

from dataclasses import replace

import torch
from torch import Tensor

from lib.cenet.clips import Clips
from lib.cenet.config import AugmentConfig, KeywordConfig
from lib.speech.augment.draws import uniform, whole_up_to
from lib.speech.augment.mixing import gain, random_shift, signal_power
from lib.speech.augment.noise import coloured_noise
from lib.speech.augment.tape import played
from lib.speech.augment.telephone import random_handset
from lib.speech.features import FeatureExtractor
from lib.training.order import Order
from lib.training.seeding import derive_seed, generator

BANK_ROWS, BANK_LENGTH = 64, 4
"""Rows of coloured noise to cut from, each so many clips long."""
STEEPEST = 1.5
"""Noise between white (0) and a little darker than pink (1)."""


class NoiseBank:
    """Background noise to cut from: coloured noise, and as many rows of a corpus's own recordings if it has some."""

    def __init__(self, clips: Clips, seed: int):
        samples = clips.waveforms.shape[1]
        source = generator(derive_seed(seed, "noise bank"))
        exponents = uniform(BANK_ROWS, 0, STEEPEST, source)
        self.rows = coloured_noise(BANK_ROWS, BANK_LENGTH * samples, source, exponents)
        if clips.noises:
            recorded = torch.cat([_cut(noise, self.rows.shape[1]) for noise in clips.noises])
            level = recorded.square().mean(1, keepdim=True).sqrt().clamp_min(1e-9)
            self.rows = torch.cat([self.rows[: len(recorded)], recorded / level])
        self.samples = samples

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        """(count, samples), each with a power near 1."""
        rows = torch.randint(len(self.rows), (count,), generator=source).tolist()
        last = torch.full((count,), self.rows.shape[1] - self.samples)
        starts = whole_up_to(last, source).tolist()
        return torch.stack(
            [self.rows[row, start : start + self.samples] for row, start in zip(rows, starts, strict=True)]
        )


def _cut(waveform: Tensor, samples: int) -> Tensor:
    """A recording as rows (n, samples); one that is too short for a row is repeated, else its odd end is lost."""
    if len(waveform) < samples:
        waveform = waveform.repeat(-(-samples // len(waveform)))
    return waveform[: len(waveform) // samples * samples].reshape(-1, samples)


def speech_power(clips: Clips) -> float:
    """The middle of the clips' powers while somebody speaks; silent clips do not count."""
    power = signal_power(clips.waveforms)
    spoken = power[power > 1e-9]
    return float(spoken.median()) if len(spoken) else 1e-3


def noise_scale(waveforms: Tensor, snr_db: Tensor, reference: float) -> Tensor:
    """Factors (n,) for noise of power 1, to lie so many decibels below the speech, or ``reference`` without any."""
    power = signal_power(waveforms)
    power = torch.where(power > 1e-9, power, torch.full_like(power, reference))
    return (power / 10 ** (snr_db / 10)).sqrt()


def noisy(clips: Clips, snr: tuple[float, float] | float, seed: int = 0) -> Clips:
    """The same clips in noise, each at its own level between the two (decibels), drawn once by seed: for tests."""
    low, high = snr if isinstance(snr, tuple) else (snr, snr)
    source = generator(derive_seed(seed, "noisy", clips.name))
    noise = NoiseBank(clips, derive_seed(seed, "noisy")).draw(len(clips), source)
    levels = uniform(len(clips), low, high, source)
    scale = noise_scale(clips.waveforms, levels, speech_power(clips))
    return replace(clips, waveforms=clips.waveforms + scale[:, None] * noise)


class Stream:
    """Training batches: features (batch, frames, width) and labels (batch,).

    Args:
        clips: to train on. config: features, augmentation and batch size. seed: of order and augmentation.
        rank, world_size, device: of several processes that share each batch.
    """

    def __init__(
        self,
        clips: Clips,
        config: KeywordConfig,
        seed: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ):
        self.clips, self.augment, self.seed = clips, config.augment, seed
        self.features, self.batch_size = config.features, config.recipe.batch_size
        self.device = torch.device(device)
        self.extract = FeatureExtractor(config.features).to(self.device)
        self.order = Order(len(clips), self.batch_size, derive_seed(seed, "order"), rank, world_size)
        self._bank = NoiseBank(clips, seed)
        self._reference = speech_power(clips)
        self._kept = torch.empty(0)

    def waveforms(self, step: int) -> tuple[Tensor, Tensor]:
        """What is heard at a step, as sound: (batch, samples), and its classes (batch,)."""
        chosen = self.order.batch(step)
        source = generator(derive_seed(self.seed, "augment", step, self.order.rank))
        sound = augmented(
            self.clips.waveforms[chosen], self.augment, self._bank, self._reference, self.features.sample_rate, source
        )
        return sound, self.clips.labels[chosen]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Features and classes of a step, on the device."""
        if step < len(self._kept):
            features, labels = self._kept[step], self.clips.labels[self.order.batch(step)]
        else:
            sound, labels = self.waveforms(step)
            features = self._heard(sound)
        return features.float(), labels.to(self.device)

    def keep(self, steps: int) -> "Stream":
        """Compute the first batches once, for several networks that are to hear the same (some 250 kB a step)."""
        if steps > len(self._kept):
            first = self._heard(self.waveforms(0)[0])
            # One block: small tensors that stay between large ones that go would keep the freed memory in pieces (seen
            # to take gigabytes).
            kept = first.new_empty(steps, *first.shape)
            if len(self._kept):
                kept[: len(self._kept)] = self._kept
            for step in range(len(self._kept), steps):
                kept[step] = self._heard(self.waveforms(step)[0])
            self._kept = kept
        return self

    def _heard(self, sound: Tensor) -> Tensor:
        """Features in half precision, kept or not, so that both are the same."""
        return self.extract(sound.to(self.device)).half()


def augmented(
    waveforms: Tensor,
    config: AugmentConfig,
    bank: NoiseBank,
    reference: float,
    sample_rate: int,
    source: torch.Generator,
) -> Tensor:
    """Waveforms (batch, samples) as they are heard once: other speed, place, loudness and background for each."""
    count = len(waveforms)
    if config.speed:
        waveforms = played(waveforms, uniform(count, 1 - config.speed, 1 + config.speed, source))
    if config.shift_seconds:
        waveforms = random_shift(waveforms, round(config.shift_seconds * sample_rate), source)
    if config.handset_decibels:
        waveforms = random_handset(waveforms, source, config.handset_decibels, sample_rate=sample_rate)
    if config.noise_probability:
        scale = noise_scale(waveforms, uniform(count, *config.snr, source), reference)
        # silence is never digital silence: a network would learn the zeros
        chosen = (torch.rand(count, generator=source) < config.noise_probability) | ~waveforms.any(1)
        waveforms = bank.draw(count, source).mul_((scale * chosen)[:, None]).add_(waveforms)
    if config.gain_decibels:
        waveforms = gain(waveforms, uniform(count, -config.gain_decibels, config.gain_decibels, source))
    return waveforms
