"""Sounds become clips of one length, and words become classes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.cenet.clips import Clips, clips_of, command_task, placed, with_silence
from lib.errors import UserError
from lib.speech.data import SILENCE, UNKNOWN
from tests.cenet.sounds import RATE, in_memory, tone


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=200, deadline=None)
def test_a_sound_gets_its_length_and_the_loudest_stretch(length, samples, seed):
    sound = torch.randn(length, generator=torch.Generator().manual_seed(seed))
    found = placed(sound, samples)
    assert found.shape == (samples,)
    if length <= samples:
        before = (samples - length) // 2
        assert found[before : before + length].equal(sound)
        assert found.abs().sum() == pytest.approx(sound.abs().sum().item())
        return
    windows = sound.double().unfold(0, samples, 1)
    energy = windows.square().sum(1)
    assert found.double().square().sum() >= energy.max() * 0.999
    assert any(found.double().equal(window) for window in windows)


def test_a_short_word_stands_in_the_middle_and_an_exact_one_stays():
    assert placed(torch.tensor([1.0, 2.0, 3.0]), 6).tolist() == [0, 1, 2, 3, 0, 0]
    sound = torch.arange(5.0)
    assert placed(sound, 5).equal(sound)


def test_of_stretches_that_are_equally_loud_the_middle_one_is_taken():
    sound = torch.zeros(3000)
    sound[400:500] = 0.5  # nothing else: a thousand samples may begin anywhere from 0 to 400
    found = placed(sound, 1000)
    first = int(found.nonzero()[0])
    assert found.abs().sum() == 50
    assert abs(first - 200) <= 1  # of the places 0 ... 400
    late = placed(sound.flip(0), 1000)
    assert abs(int(late.nonzero()[0]) - 700) <= 1


def test_a_long_silent_recording_is_no_trouble():
    assert not placed(torch.zeros(5000), 1000).any()
    assert placed(torch.full((1001,), 1e-30), 1000).shape == (1000,)


def some(labels: str, split: str = "train"):
    """A set with one tone for each letter; its length tells which."""
    return in_memory([(one, f"s{n}", tone(500, 0.05 + 0.001 * n)) for n, one in enumerate(labels)], split)


def test_classes_are_numbered_in_the_order_asked_for():
    speech = some("abcab")
    clips = clips_of(speech, 0.1)
    assert clips.waveforms.shape == (5, 1600)
    assert clips.waveforms.dtype == torch.float32
    assert (clips.class_names, clips.labels.tolist(), clips.words) == (("a", "b", "c"), [0, 1, 2, 0, 1], tuple("abcab"))
    clips = clips_of(speech, 0.1, ("c", "b", "a", "d"))
    assert clips.labels.tolist() == [2, 1, 0, 2, 1]
    assert clips.counts == {"c": 1, "b": 2, "a": 2, "d": 0}
    assert clips.waveforms[3].equal(placed(speech.waveform(3), 1600))


def test_strange_words_are_unknown_or_refused():
    clips = clips_of(some("abxy"), 0.1, ("a", UNKNOWN, "b"))
    assert clips.labels.tolist() == [0, 2, 1, 1]
    assert clips.words == tuple("abxy")  # what is really said
    with pytest.raises(UserError, match=r"class 'x' that this network never learnt; it knows a, b"):
        clips_of(some("abxy"), 0.1, ("a", "b"))
    with pytest.raises(UserError, match=r"in memory \(test\) holds no recording"):
        clips_of(some("ab", "test").subset([]), 0.1)


def test_some_of_the_clips():
    clips = clips_of(some("abcab"), 0.1)
    for chosen in ([3, 0, 0], torch.tensor([3, 0, 0]), np.array([3, 0, 0])):
        found = clips.subset(chosen)
        assert found.waveforms.equal(clips.waveforms[[3, 0, 0]])
        assert (found.labels.tolist(), found.words, len(found)) == ([0, 0, 0], ("a", "a", "a"), 3)
    assert len(clips.subset([])) == 0
    masked = clips.subset(clips.labels == 1)
    assert (len(masked), masked.words) == (2, ("b", "b"))


def test_silence_is_a_class_of_zeros():
    clips = clips_of(some("ab"), 0.1)
    found = with_silence(clips, 3)
    assert found.class_names == ("a", "b", SILENCE)
    assert found.labels.tolist() == [0, 1, 2, 2, 2]
    assert found.words == ("a", "b", "", "", "")
    assert not found.waveforms[2:].any()
    assert found.waveforms[:2].equal(clips.waveforms)
    again = with_silence(found, 1)
    assert (again.class_names, again.counts[SILENCE]) == (found.class_names, 4)
    elsewhere = Clips("x", torch.ones(1, 4), torch.tensor([1]), (SILENCE, "a"), ("a",))
    assert with_silence(elsewhere, 1).labels.tolist() == [1, 0]


def test_recorded_silence_has_no_word():
    clips = clips_of(in_memory([("a", "s", tone(500, 0.1)), (SILENCE, "", torch.zeros(10))]), 0.1)
    assert clips.words == ("a", "")


def test_the_papers_task_has_classes_of_about_one_size():
    speech = some("aaaabbbb" + 9 * "x" + 9 * "y")
    clips = command_task(speech, ("b", "a"), 0.1, seed=3)
    assert clips.counts == {"b": 4, "a": 4, UNKNOWN: 4, SILENCE: 4}
    unknown = [word for word, label in zip(clips.words, clips.labels.tolist(), strict=True) if label == 2]
    assert set(unknown) <= {"x", "y"}
    assert clips.waveforms.equal(command_task(speech, ("b", "a"), 0.1, seed=3).waveforms)
    draws = {tuple(command_task(speech, ("b", "a"), 0.1, seed=seed).waveforms.sum(1).tolist()) for seed in range(4)}
    assert len(draws) > 1
    assert len({tuple(one) for one in clips.waveforms[8:12].tolist()}) == 4  # none twice


def test_the_papers_task_where_other_words_are_few_or_none():
    assert command_task(some("aaaabbbbx"), ("a", "b"), 0.1).counts == {"a": 4, "b": 4, UNKNOWN: 1, SILENCE: 4}
    assert command_task(some("aaabbb"), ("a", "b"), 0.1).counts == {"a": 3, "b": 3, SILENCE: 3}
    assert command_task(some("aaabbbx"), iter(("a", "b")), 0.1, silence=False).counts == {"a": 3, "b": 3, UNKNOWN: 1}


def test_the_draw_of_unknown_words_differs_between_splits():
    letters = "aabb" + 40 * "x"
    train, test = (command_task(some(letters, split), ("a", "b"), 0.1).waveforms[4:6] for split in ("train", "test"))
    assert not train.equal(test)
    assert train.shape == (2, round(0.1 * RATE))
