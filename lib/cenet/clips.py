"""Sounds of one length with their classes: what a keyword network learns from and is judged by.

A word is laid into the middle of a second of silence; a recording that is longer gives its loudest second. Classes are
the words, and where the task has them `unknown` (any other word) and `silence` (no word at all).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.errors import UserError
from lib.speech.data import SILENCE, UNKNOWN, SpeechSet
from lib.training.seeding import derive_seed, generator


@dataclass(frozen=True)
class Clips:
    """Sounds of one length.

    Attributes:
        waveforms: float32 (n, samples). labels: int64 (n,), places in ``class_names``.
        words: what is really said in each, such as the word behind ``unknown``; empty for silence.
        noises: recordings of background noise to be mixed in, if the corpus has some: float32 (samples,) each.
    """

    name: str
    waveforms: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    words: tuple[str, ...]
    noises: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor | Sequence[int]) -> "Clips":
        """Some of the clips, in this order; a mask, bool (n,), takes those where it is true."""
        indices = torch.as_tensor(indices)
        indices = indices.nonzero().flatten() if indices.dtype == torch.bool else indices.long()
        return replace(
            self,
            waveforms=self.waveforms[indices],
            labels=self.labels[indices],
            words=tuple(self.words[int(index)] for index in indices),
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many clips each class has."""
        found = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, found, strict=True))


def placed(waveform: Tensor, samples: int) -> Tensor:
    """A waveform (any,) as exactly ``samples`` of them: in the middle of silence, or the stretch with most energy."""
    length = len(waveform)
    if length <= samples:
        before = (samples - length) // 2
        return pad(waveform, (before, samples - length - before))
    energy = waveform.double().square().cumsum(0)
    within = energy[samples - 1 :] - pad(energy[:-samples], (1, 0))
    # Where several stretches hold all the energy, the middle one: the word is not to stand at an edge.
    most = torch.nonzero(within >= within.max() * 0.999).flatten()
    start = int(most[len(most) // 2])
    return waveform[start : start + samples]


def clips_of(speech: SpeechSet, seconds: float, class_names: Sequence[str] | None = None) -> Clips:
    """All utterances of a set as clips, in memory.

    Args:
        class_names: the classes and their numbers; the set's own if None. A word that is none of them becomes
            ``unknown`` if that is one.

    Raises:
        UserError: a word that is no class, or an empty set.
    """
    if not len(speech):
        raise UserError(f"{speech.name} ({speech.split}) holds no recording: there is nothing to hear.")
    names = tuple(class_names or speech.class_names)
    numbers = {name: number for number, name in enumerate(names)}
    strange = sorted({one.label for one in speech.utterances} - numbers.keys())
    if strange and UNKNOWN not in numbers:
        raise UserError(
            f"{speech.name} has a class '{strange[0]}' that this network never learnt; it knows {', '.join(names)}: "
            "rename or remove that folder."
        )
    samples = round(seconds * speech.sample_rate)
    return Clips(
        name=speech.name,
        waveforms=torch.stack([placed(speech.waveform(index), samples) for index in range(len(speech))]),
        labels=torch.tensor([numbers.get(one.label, numbers.get(UNKNOWN, -1)) for one in speech.utterances]),
        class_names=names,
        words=tuple("" if one.label == SILENCE else one.text or one.label for one in speech.utterances),
    )


def with_silence(clips: Clips, count: int) -> Clips:
    """The same with ``count`` clips of silence, as the last class unless it is there already."""
    names = clips.class_names if SILENCE in clips.class_names else (*clips.class_names, SILENCE)
    silent = clips.waveforms.new_zeros(count, clips.waveforms.shape[1])
    return replace(
        clips,
        waveforms=torch.cat([clips.waveforms, silent]),
        labels=torch.cat([clips.labels, torch.full((count,), names.index(SILENCE))]),
        class_names=names,
        words=(*clips.words, *[""] * count),
    )


def command_task(
    speech: SpeechSet, keywords: Iterable[str], seconds: float, *, seed: int = 0, silence: bool = True
) -> Clips:
    """The task of the paper: so many keywords, ``unknown`` and ``silence``, each class about as large as a keyword's.

    Of the words that are no keywords as many clips are drawn as a keyword has on average, by ``seed``.
    """
    keywords = tuple(keywords)
    labels = [one.label for one in speech.utterances]
    known = [index for index, label in enumerate(labels) if label in keywords]
    others = [index for index, label in enumerate(labels) if label not in keywords]
    share = max(1, round(len(known) / len(keywords)))
    source = generator(derive_seed(seed, "unknown", speech.split))
    drawn = torch.randperm(len(others), generator=source)[:share].sort().values
    chosen = known + [others[int(index)] for index in drawn]
    names = (*keywords, UNKNOWN) if others else keywords
    clips = clips_of(speech.subset(chosen), seconds, names)
    return with_silence(clips, share) if silence else clips
