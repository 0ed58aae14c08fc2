"""Tasks whose answer hangs on two words far apart: what a small receptive field cannot see at once.

Two words of one voice stand in a clip, with a pause between them that no unit of the shallow network can bridge.
Two questions about them:

pairs       which of four pairs is it (go or stop, then left or right)? Far apart, yes, but each word can be heard by
            itself and the evidence added up: the average over all places does that without any context.
same        left and right, in any combination: are the two words the same? No word tells anything alone: the two have
            to meet in one unit before the average is taken. (Of two equal numbers of left and right, a sum of evidence
            for each word says nothing: the exclusive or.)
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lib.cenet.clips import Clips, placed
from lib.cenet.config import CENetConfig, GraphConfig, KeywordConfig, RecipeConfig, scaled
from lib.errors import UserError
from lib.speech.data import SpeechSet
from lib.training.seeding import derive_seed, generator

FIRST, SECOND = ("go", "stop"), ("left", "right")
QUESTIONS = ("pairs", "same")


@dataclass(frozen=True)
class TwoWords:
    """How two words are laid out in a clip.

    Attributes:
        seconds: of the whole clip. gap: shortest and longest pause between the words, in seconds.
        longest_word: what lasts longer is cut to its loudest part.
    """

    seconds: float = 2.4
    gap: tuple[float, float] = (0.7, 1.0)
    longest_word: float = 0.7

    def __post_init__(self) -> None:
        if self.gap[1] + 2 * self.longest_word > self.seconds:
            raise UserError(f"Two words and their pause do not fit into {self.seconds:g} s: lengthen the clip.")


def class_names(question: str) -> tuple[str, ...]:
    """The answers to a question, as class names. Raises UserError for an unknown question."""
    if question not in QUESTIONS:
        raise UserError(f"question '{question}' is not known: choose one of {', '.join(QUESTIONS)}.")
    if question == "pairs":
        return tuple(f"{first} {second}" for first in FIRST for second in SECOND)
    return ("different", "same")


def long_range_clips(
    speech: SpeechSet, question: str, count: int, seed: int = 0, layout: TwoWords = TwoWords()
) -> Clips:
    """``count`` clips of two words of one voice, the classes alike in size, for one of ``QUESTIONS``.

    Raises:
        UserError: an unknown question, no clip asked for, a set in which no voice says the words.
    """
    names = class_names(question)
    if count < 1:
        raise UserError(f"The set has 1 clip or more, not {count}.")
    firsts = FIRST if question == "pairs" else SECOND
    by_voice: dict[str, dict[str, list[int]]] = {}
    for index, one in enumerate(speech.utterances):
        by_voice.setdefault(one.speaker, {}).setdefault(one.label, []).append(index)
    voices = sorted(voice for voice, said in by_voice.items() if set((*firsts, *SECOND)) <= said.keys())
    if not voices:
        raise UserError(
            f"{speech.name} has no voice that says {', '.join(sorted({*firsts, *SECOND}))}: choose another."
        )
    source = generator(derive_seed(seed, "long range", question, speech.split))

    def pick(items: list):
        return items[int(torch.randint(len(items), (), generator=source))]

    samples = round(layout.seconds * speech.sample_rate)
    waveforms, labels = torch.zeros(count, samples), []  # one block, filled in place: twice the memory is saved
    known: dict[int, Tensor] = {}
    for number in range(count):
        label = number % len(names)
        first, second = _words(names[label], question, pick)
        said = by_voice[pick(voices)]
        chosen = [pick(said[first]), pick(said[second])]
        for index in chosen:
            if index not in known:
                word = speech.waveform(index)
                known[index] = placed(word, min(len(word), round(layout.longest_word * speech.sample_rate)))
        gap = layout.gap[0] + (layout.gap[1] - layout.gap[0]) * float(torch.rand((), generator=source))
        _lay_out(waveforms[number], [known[index] for index in chosen], round(gap * speech.sample_rate), source)
        labels.append(label)
    return Clips(f"two words ({question})", waveforms, torch.tensor(labels), names, ("",) * count)


def _words(name: str, question: str, pick) -> tuple[str, str]:
    if question != "same":
        first, second = name.split()
        return first, second
    first = pick(list(SECOND))
    other = SECOND[1 - SECOND.index(first)]
    return first, first if name == "same" else other


def _lay_out(clip: Tensor, words: list[Tensor], pause: int, source: torch.Generator) -> None:
    """Write first word, pause, second word into a silent clip, at a random place."""
    first, second = words
    room = len(clip) - len(first) - pause - len(second)
    start = int(torch.randint(room + 1, (), generator=source))
    clip[start : start + len(first)] = first
    begin = start + len(first) + pause
    clip[begin : begin + len(second)] = second


def shallow(adjacency: str | None, layout: TwoWords = TwoWords(), steps: int = 350) -> KeywordConfig:
    """CENet-3: connection blocks only, which see 32 frames at once; with a graph of that kind, or none."""
    base = scaled()
    graph = None if adjacency is None else GraphConfig(adjacency=adjacency, scaled=True)
    return replace(
        base,
        name="shallow",
        network=CENetConfig((0, 0, 0), graph=graph),
        recipe=RecipeConfig(learning_rate=1e-2, warmup=min(60, steps // 5), steps=steps, batch_size=32),
        seconds=layout.seconds,
    )


def receptive_frames(network: CENetConfig) -> int:
    """How many frames one unit before the average sees, by the usual rule: r += (kernel - 1) jump.

    A graph of near places (``banded``) counts with its reach. One that sees all places is left out: with it every unit
    sees everything.
    """
    seen, jump = 3 + 1, 2  # 3x3 convolution, then pooling by two
    for stage, repeats in enumerate(network.repetitions, start=1):
        seen += 2 * jump * (repeats + 1)
        jump *= 2
        if network.graph and network.graph.adjacency == "banded" and stage in network.graph.stages:
            seen += 2 * network.graph.reach * jump
    return seen
