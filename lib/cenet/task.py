"""From names on a command line to clips: what is to be spotted, in which recordings."""

import math
from dataclasses import dataclass, replace

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from lib.cenet.clips import Clips, clips_of, command_task
from lib.cenet.stream import noisy
from lib.errors import UserError
from lib.speech import speech_commands
from lib.speech.audio import read_audio
from lib.speech.corpora import load_speech
from lib.speech.data import SpeechSet
from lib.speech.folders import is_audio
from lib.speech.spoken import KeywordCorpus, load
from lib.speech.vad import speech_span

EMBEDDED = "embedded"
COMMANDS = KeywordCorpus(clips_per_keyword=240, clips_per_other=24)
"""The book's own corpus: ten commands, and as many clips of twenty other words together."""
TEST_SNR = (5.0, 20.0)
"""Decibels of the noise in which the embedded test clips are heard; each clip three times, in other noise."""
TEST_DRAWS = 3
LONGEST = 3.0
PROBED = 300


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Task:
    """What is to be spotted.

    Attributes:
        data: "embedded", a known corpus, or a folder. words: these classes only; none: all that the data have.
        unknown: the other words of Speech Commands as one more class, when ``words`` are given.
        test_speakers: exactly these are the test. all_speakers: no test, everything is trained on.
        seed: of the choice of speakers and of unknown words.
    """

    data: str = EMBEDDED
    words: tuple[str, ...] = ()
    unknown: bool = False
    test_speakers: tuple[str, ...] = ()
    all_speakers: bool = False
    seed: int = 0

    @staticmethod
    def from_dict(values: dict) -> "Task":
        """What a checkpoint says of its task. Raises UserError when that is no task."""
        try:
            return TypeAdapter(Task).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"the task of this run: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


@dataclass(frozen=True)
class Heard:
    """Clips, and sentences on how they were read, split and what was left out."""

    clips: Clips
    notes: tuple[str, ...]
    skipped: dict[str, int]


def load_task(task: Task, split: str, seconds: float, *, with_valid: bool = False, clean: bool = False) -> Heard:
    """The clips of one split.

    Args:
        with_valid: the training split with the speakers of the validation, which nothing here is chosen by.
        clean: the embedded test clips once each and without their noise, to add another.

    Raises:
        UserError: no such data, words or speakers; nothing to test on, because all speakers were trained on.
    """
    if task.data == EMBEDDED:
        return _embedded(task, split, seconds, with_valid, clean)
    if split == "test" and task.all_speakers:
        raise UserError("This run was trained on all speakers, so that no test is left: name other recordings.")
    sets = _speech(task, split, with_valid)
    speech = _together(sets)
    clips = clips_of(speech, seconds)
    return Heard(replace(clips, noises=_noises(speech)), speech.notes, speech.skipped)


def suited_seconds(task: Task) -> float:
    """How long a spotter must listen: one second, or as long as 19 of 20 words of the training set last."""
    if task.data == EMBEDDED:
        return 1.0
    speech = _together(_speech(task, "train", False))
    if not len(speech):
        raise UserError(f"{speech.name} has no recording of these words to train on: choose other words or speakers.")
    step = max(1, len(speech) // PROBED)
    lengths = []
    for waveform in speech.waveforms(range(0, len(speech), step)):
        first, stop = speech_span(waveform, speech.sample_rate)
        lengths.append((stop - first) / speech.sample_rate)
    longest = torch.tensor(lengths).quantile(0.95).item()
    return min(LONGEST, max(1.0, math.ceil(10 * longest) / 10))


def _embedded(task: Task, split: str, seconds: float, with_valid: bool, clean: bool) -> Heard:
    if task.test_speakers or task.all_speakers:
        raise UserError("The embedded voices have their split: leave the flags on speakers out.")
    words = task.words or COMMANDS.keywords
    strange = [word for word in words if word not in COMMANDS.class_names]
    if strange:
        raise UserError(f"'{strange[0]}' is not among the embedded words: choose of {', '.join(COMMANDS.class_names)}.")
    splits = ("train", "valid") if split == "train" and with_valid else (split,)
    speech = _together([load(COMMANDS, name) for name in splits])
    if task.words and not task.unknown:
        chosen = [index for index, one in enumerate(speech.utterances) if one.label in words]
        clips = clips_of(speech.subset(chosen), seconds, words)
    else:
        clips = command_task(speech, words, seconds, seed=task.seed, silence=not task.words)
    if split != "train" and not clean:
        clips = noisy(clips.subset(torch.arange(len(clips)).repeat(TEST_DRAWS)), TEST_SNR, task.seed)
    return Heard(clips, speech.notes, speech.skipped)


def _speech(task: Task, split: str, with_valid: bool) -> list[SpeechSet]:
    splits = (split,)
    if split == "train" and task.all_speakers:
        splits = ("train", "valid", "test")
    elif split == "train" and with_valid:
        splits = ("train", "valid")
    return [
        load_speech(
            task.data,
            name,
            words=task.words or None,
            unknown=task.unknown,
            test_speakers=task.test_speakers or None,
            seed=task.seed,
        )
        for name in splits
    ]


def _together(sets: list[SpeechSet]) -> SpeechSet:
    utterances = tuple(one for found in sets for one in found.utterances)
    return replace(sets[0], utterances=utterances)


def _noises(speech: SpeechSet) -> tuple[torch.Tensor, ...]:
    """The recordings of background noise that Speech Commands has: the part of each that is for training."""
    folder = speech.utterances[0].path.parent.parent / speech_commands.NOISE_FOLDER
    if speech.split != "train" or not folder.is_dir():
        return ()
    noises = [read_audio(path, speech.sample_rate) for path in sorted(folder.iterdir()) if is_audio(path)]
    return tuple(noise[: int(speech_commands.NOISE_PARTS["train"][1] * len(noise))] for noise in noises)
