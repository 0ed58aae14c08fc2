"""What every speech corpus becomes: utterances with a speaker, a class and a text, read as 16 kHz samples."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE, read_audio

SPLITS = ("train", "valid", "test")
UNKNOWN, SILENCE = "unknown", "silence"
"""Labels of a word that is none of the classes, and of sound without a word."""


@dataclass(frozen=True)
class Utterance:
    """One recording, or a part of one, and what is known of it; what is unknown is an empty string.

    path         the audio file
    label        its class: a word, a dialect
    speaker      who speaks; splits keep a speaker on one side
    text         what is said
    start, end   seconds in the file; end None: to its end
    """

    path: Path
    label: str = ""
    speaker: str = ""
    text: str = ""
    start: float = 0.0
    end: float | None = None


@dataclass
class SpeechSet:
    """One split of a corpus. Nothing is read before it is asked for.

    name, split    where the recordings come from, and "train", "valid" or "test"
    class_names    the classes in the order of their numbers
    sample_rate    of the waveforms that `waveform` gives, in Hz; files of other rates are resampled
    part           a sentence when the files hold only a part of the known set, else None
    skipped        reason -> number of files that were left out
    notes          sentences on how the set was read and split
    """

    name: str
    split: str
    utterances: tuple[Utterance, ...]
    class_names: tuple[str, ...] = ()
    sample_rate: int = SAMPLE_RATE
    part: str | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def labels(self) -> Tensor:
        """int64 (n,): indices into `class_names`. Raises UserError for a set without classes."""
        if not self.class_names:
            raise UserError(f"{self.name} has no classes: it says who speaks or what is said, not which class it is.")
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return torch.tensor([numbers[one.label] for one in self.utterances], dtype=torch.int64)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Everybody who is known to speak, sorted."""
        return tuple(sorted({one.speaker for one in self.utterances} - {""}))

    def waveform(self, index: int) -> Tensor:
        """Samples of one utterance: float32 (samples,), in -1 ... 1. Raises UserError naming the file."""
        one = self.utterances[index]
        return read_audio(one.path, self.sample_rate, start=one.start, end=one.end)

    def waveforms(self, indices: Iterable[int] | None = None) -> list[Tensor]:
        """Several of them, all if None; their lengths differ."""
        return [self.waveform(int(index)) for index in (range(len(self)) if indices is None else indices)]

    def subset(self, indices: Iterable[int]) -> "SpeechSet":
        """The same set with these utterances only."""
        return replace(self, utterances=tuple(self.utterances[int(index)] for index in indices))

    def describe(self) -> str:
        """One line: what was loaded, what is only a part, what was skipped."""
        known = f"{len(self.speakers)} speaker(s)" if self.speakers else "speakers unknown"
        text = f"{self.name} ({self.split}): {len(self)} utterances, {known}"
        if self.class_names:
            text += f", {len(self.class_names)} class(es)"
        extras = [self.part] if self.part else []
        extras += [f"skipped {count}: {reason}" for reason, count in sorted(self.skipped.items())]
        return "; ".join([text, *extras, *self.notes])
