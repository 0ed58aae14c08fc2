"""What the tests of the keyword spotter hear: tones for words, in memory and in folders; and tiny networks."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from lib.cenet.clips import Clips
from lib.cenet.config import (
    SCALED_FEATURES,
    AugmentConfig,
    CENetConfig,
    GraphConfig,
    KeywordConfig,
    RecipeConfig,
)
from lib.speech.data import SpeechSet, Utterance

RATE = 16_000
WORDS = {"low": 400.0, "middle": 900.0, "high": 2000.0}
"""Words of the tests, and the pitch in Hz at which they are "said"."""
SECONDS = 0.4
PLAIN = AugmentConfig(shift_seconds=0, noise_probability=0)
"""No augmentation at all."""


def tone(hertz: float, seconds: float, *, level: float = 0.3) -> Tensor:
    """A sine: float32 (samples,)."""
    return (level * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)).float()


def spoken(word: str, voice: int, take: int = 0, seconds: float = 0.25) -> Tensor:
    """A word as a voice says it: its pitch is the voice's own, each take is a little longer, and there is hiss."""
    chance = torch.Generator().manual_seed(1000 * voice + 10 * take + list(WORDS).index(word))
    pitch = WORDS[word] * (0.85 + 0.3 * ((7 * voice) % 10) / 9)
    sound = tone(pitch, seconds + 0.01 * take)
    return sound * torch.hann_window(len(sound)).sqrt() + 0.01 * torch.randn(len(sound), generator=chance)


def words_of(
    voices: range, takes: int = 1, *, words: tuple[str, ...] = tuple(WORDS), hiss: float = 0.1, seconds: float = SECONDS
) -> Clips:
    """Every word by every voice, at a place of its own in noise that is as loud as the word, more or less."""
    chance = torch.Generator().manual_seed(voices.start)
    waveforms, labels, said = [], [], []
    for number, word in enumerate(words):
        for voice in voices:
            for take in range(takes):
                sound = hiss * torch.randn(round(seconds * RATE), generator=chance)
                one = spoken(word, voice, take)
                start = int(torch.randint(len(sound) - len(one) + 1, (), generator=chance))
                sound[start : start + len(one)] += one
                waveforms.append(sound)
                labels.append(number)
                said.append(word)
    return Clips("tones", torch.stack(waveforms), torch.tensor(labels), words, tuple(said))


def tiny(**changes) -> KeywordConfig:
    """CENet-GCN-3 of eight channels, some milliseconds a step; by name any field of the whole or of its recipe."""
    recipe = RecipeConfig(learning_rate=1e-2, warmup=10, steps=60, batch_size=16)
    mine = {name: changes.pop(name) for name in list(changes) if hasattr(recipe, name)}
    whole = KeywordConfig(
        name="tiny",
        network=CENetConfig((0, 0, 0), (8, 8, 12, 16), (2, 2, 2), GraphConfig(scaled=True)),
        features=SCALED_FEATURES,
        recipe=replace(recipe, **mine),
        augment=AugmentConfig(shift_seconds=0.02, snr=(0.0, 20.0)),
        seconds=SECONDS,
    )
    return replace(whole, **changes)


@dataclass
class InMemory(SpeechSet):
    """A speech set whose sounds are not read from files."""

    sounds: dict[Path, Tensor] = field(default_factory=dict)

    def waveform(self, index: int) -> Tensor:
        return self.sounds[self.utterances[index].path]


def in_memory(sounds: list[tuple[str, str, Tensor]], split: str = "train") -> InMemory:
    """A set of (class, speaker, sound)."""
    utterances = tuple(
        Utterance(Path(f"{number}.wav"), label, speaker) for number, (label, speaker, _) in enumerate(sounds)
    )
    names = tuple(dict.fromkeys(label for label, _, _ in sounds))
    kept = {one.path: sound for one, (_, _, sound) in zip(utterances, sounds, strict=True)}
    return InMemory("in memory", split, utterances, names, sounds=kept)


def write(path: Path, sound: Tensor | np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    """A sound (samples,) or (samples, channels) as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(sound), rate, subtype=subtype)
    return path


def write_words(folder: Path, voices: range, takes: int = 2, words: tuple[str, ...] = tuple(WORDS)) -> Path:
    """A folder `<word>/<voice>_nohash_<take>.wav`."""
    for word in words:
        for voice in voices:
            for take in range(takes):
                write(folder / word / f"v{voice:02}_nohash_{take}.wav", spoken(word, voice, take))
    return folder
