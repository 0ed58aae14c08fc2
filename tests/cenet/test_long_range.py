"""Clips of two words far apart, and what the shallow network sees at once."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from lib.cenet.config import NETWORKS, CENetConfig, GraphConfig
from lib.cenet.graph import GraphModule
from lib.cenet.long_range import (
    FIRST,
    QUESTIONS,
    SECOND,
    TwoWords,
    class_names,
    long_range_clips,
    receptive_frames,
    shallow,
)
from lib.cenet.model import build_network
from lib.errors import UserError
from tests.cenet.sounds import RATE, in_memory

PITCH = {"go": 1.0, "stop": 2.0, "left": 3.0, "right": 4.0}
LAYOUT = TwoWords(seconds=0.6, gap=(0.1, 0.2), longest_word=0.15)


def voices(count: int = 4, split: str = "train", seconds: float = 0.1):
    """Every voice says every word; a word is one number that tells word and voice."""
    return in_memory(
        [
            (word, f"v{voice}", torch.full((round(seconds * RATE) + 10 * voice,), pitch + voice / 10))
            for voice in range(count)
            for word, pitch in PITCH.items()
        ],
        split,
    )


def read(clip: torch.Tensor) -> list[tuple[str, int, int, int]]:
    """(word, voice, first sample, number of samples) of the words in a clip."""
    words = {pitch: word for word, pitch in PITCH.items()}
    found = []
    edges = [0, *(torch.diff(clip).nonzero().flatten() + 1).tolist(), len(clip)]
    for first, stop in pairwise(edges):
        value = round(float(clip[first]), 3)
        if value:
            found.append((words[float(int(value))], round(10 * (value % 1)), first, stop - first))
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_two_words_of_one_voice_answer_the_question(question):
    clips = long_range_clips(voices(), question, 80, layout=LAYOUT)
    assert clips.class_names == class_names(question)
    assert set(clips.counts.values()) == {80 // len(clips.class_names)}
    assert clips.waveforms.shape == (80, 9600)
    starts, gaps, heard = [], [], set()
    for clip, label in zip(clips.waveforms, clips.labels.tolist(), strict=True):
        (first, voice, start, length), (second, other, begin, rest) = read(clip)
        assert voice == other
        assert length == rest == 1600 + 10 * voice
        name = clips.class_names[label]
        if question == "pairs":
            assert name == f"{first} {second}"
            assert (first in FIRST, second in SECOND) == (True, True)
        else:
            assert {first, second} <= set(SECOND)
            assert name == ("same" if first == second else "different")
        starts.append(start)
        gaps.append((begin - start - length) / RATE)
        heard.add((first, second, voice))
    assert LAYOUT.gap[0] - 1e-3 <= min(gaps) < 0.115
    assert 0.185 < max(gaps) <= LAYOUT.gap[1] + 1e-3
    assert max(starts) - min(starts) > 0.5 * (9600 - 2 * 1630 - 0.2 * RATE)
    assert len({(first, second) for first, second, _ in heard}) == 4  # every pair, also of the same word
    assert len({voice for *_, voice in heard}) == 4


def test_no_word_alone_tells_whether_the_two_are_the_same():
    clips = long_range_clips(voices(), "same", 400, layout=LAYOUT)
    firsts = [read(clip)[0][0] for clip in clips.waveforms]
    for label in (0, 1):
        left = [word == "left" for word, one in zip(firsts, clips.labels.tolist(), strict=True) if one == label]
        assert sum(left) / len(left) == pytest.approx(0.5, abs=0.12)


def test_clips_hang_on_seed_question_and_split():
    one = long_range_clips(voices(), "same", 8, 1, LAYOUT)
    assert one.waveforms.equal(long_range_clips(voices(), "same", 8, 1, LAYOUT).waveforms)
    assert not one.waveforms.equal(long_range_clips(voices(), "same", 8, 2, LAYOUT).waveforms)
    assert not one.waveforms.equal(long_range_clips(voices(split="test"), "same", 8, 1, LAYOUT).waveforms)


def test_a_long_word_is_cut_and_voices_that_lack_a_word_are_left_out():
    clips = long_range_clips(voices(seconds=0.3), "pairs", 8, layout=LAYOUT)
    assert all(length == round(0.15 * RATE) for clip in clips.waveforms for *_, length in read(clip))
    speech = voices(2)
    without = speech.subset(
        number for number, one in enumerate(speech.utterances) if (one.speaker, one.label) != ("v1", "go")
    )
    pairs = long_range_clips(without, "pairs", 40, layout=LAYOUT)
    assert {read(clip)[0][1] for clip in pairs.waveforms} == {0}
    same = long_range_clips(without, "same", 40, layout=LAYOUT)  # which asks for left and right alone
    assert {read(clip)[0][1] for clip in same.waveforms} == {0, 1}


def test_what_cannot_be_made_is_refused():
    with pytest.raises(UserError, match="question 'which' is not known: choose one of pairs, same"):
        long_range_clips(voices(), "which", 4)
    mute = voices(1).subset([0, 1])
    with pytest.raises(UserError, match="no voice that says go, left, right, stop"):
        long_range_clips(mute, "pairs", 4, layout=LAYOUT)
    with pytest.raises(UserError, match="do not fit into 1 s"):
        TwoWords(seconds=1.0)
    with pytest.raises(UserError, match="1 clip or more, not 0"):
        long_range_clips(voices(), "same", 0, layout=LAYOUT)


BANDED = GraphConfig((1, 3), "banded", reach=2)


@pytest.mark.parametrize(
    "network",
    [
        shallow(None).network,
        shallow("banded").network,
        NETWORKS["cenet-6"],
        CENetConfig((2, 0, 1)),
        CENetConfig((1, 0, 0), graph=BANDED),
    ],
)
def test_how_far_one_unit_sees(network):
    """Held against the gradient: which input frames move one unit of the last map."""
    model = build_network(network, 3).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)
        if isinstance(layer, GraphModule):
            nn.init.constant_(layer.weight.weight, 0.1)
            nn.init.constant_(layer.gamma, 0.5)
    features = torch.ones(1, 400, 16, requires_grad=True)
    x = model.initial(features.unsqueeze(1))
    for number, stage in enumerate(model.stages, start=1):
        x = stage(x)
        if str(number) in model.graphs:
            x = model.graphs[str(number)](x)
    x[0, :, x.shape[2] // 2].sum().backward()
    reached = features.grad[0].abs().sum(1).nonzero().flatten()
    assert int(reached[-1] - reached[0]) + 1 == receptive_frames(network)


def test_the_shallow_network_cannot_bridge_the_pause():
    config = shallow("learned")
    hop = config.features.hop_seconds
    assert receptive_frames(config.network) * hop < 0.7 <= TwoWords().gap[0]
    assert receptive_frames(shallow("banded").network) * hop > TwoWords().gap[1]  # from place to place it could
    assert config.network.graph.scaled
    assert config.seconds == TwoWords().seconds
    assert shallow(None).network == replace(config.network, graph=None)
    assert shallow("uniform").network.graph.adjacency == "uniform"
    assert shallow(None, steps=100).recipe.warmup == 20
