"""From names on a command line to clips: the embedded words, folders, and the real recordings, split by speaker."""

import os
from dataclasses import asdict, replace

import pytest
import torch

import lib.cenet.task
from lib.cenet.stream import noisy
from lib.cenet.task import TEST_DRAWS, TEST_SNR, Task, load_task, suited_seconds
from lib.errors import UserError
from lib.speech.corpora import load_speech
from lib.speech.data import SILENCE, UNKNOWN
from lib.speech.spoken import KeywordCorpus
from tests.cenet.sounds import WORDS, tone, write, write_words

SMALL = KeywordCorpus(
    voices=6, keywords=("go", "stop", "left"), others=("bed", "cat", "wow"), unseen_words=("wow",),
    clips_per_keyword=12, clips_per_other=8,
)  # fmt: skip

real = pytest.mark.skipif(not os.environ.get("BOOK_DATA"), reason="BOOK_DATA names no folder of real recordings")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """The embedded words, few of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(lib.cenet.task, "COMMANDS", SMALL)
        yield


def test_the_embedded_task_has_keywords_unknown_words_and_silence(spoken):
    train, both, valid, test = (
        load_task(Task(), split, 1.0, with_valid=with_valid)
        for split, with_valid in (("train", False), ("train", True), ("valid", False), ("test", False))
    )
    names = ("go", "stop", "left", UNKNOWN, SILENCE)
    assert all(heard.clips.class_names == names for heard in (train, both, valid, test))
    assert train.clips.waveforms.shape[1] == 16000
    shares = train.clips.counts
    assert shares["go"] == shares["stop"] == shares["left"] == shares[SILENCE]
    assert 1 <= shares[UNKNOWN] <= shares["go"]
    assert len(both.clips) > len(train.clips)
    assert "synthetic speech" in train.notes[0]
    assert "wow" not in train.clips.words  # the test has a word that no training heard
    assert not train.clips.waveforms[train.clips.labels == 4].any()


def test_the_embedded_test_is_heard_three_times_in_noise(spoken):
    noisy_ones, clean = (load_task(Task(), "test", 1.0, clean=clean).clips for clean in (False, True))
    assert len(noisy_ones) == TEST_DRAWS * len(clean)
    assert not clean.waveforms[clean.labels == 4].any()
    assert noisy_ones.waveforms.any(1).all()
    first = noisy_ones.waveforms[: len(clean)] - clean.waveforms
    second = noisy_ones.waveforms[len(clean) : 2 * len(clean)] - clean.waveforms
    assert not torch.allclose(first, second)
    again = noisy(clean.subset(list(range(len(clean))) * TEST_DRAWS), TEST_SNR, 0)
    assert noisy_ones.waveforms.equal(again.waveforms)


def test_some_of_the_embedded_words(spoken):
    chosen = load_task(Task(words=("stop", "cat")), "train", 1.0).clips
    assert chosen.class_names == ("stop", "cat")
    assert set(chosen.words) == {"stop", "cat"}
    unknown = load_task(Task(words=("stop", "cat"), unknown=True), "train", 1.0).clips
    assert unknown.class_names == ("stop", "cat", UNKNOWN)
    assert set(unknown.words) - {"stop", "cat"} <= {"go", "left", "bed"}
    for task, words in (
        (Task(words=("go", "horse")), "'horse' is not among the embedded words: choose of go, stop, left, bed"),
        (Task(test_speakers=("s1",)), "leave the flags on speakers out"),
        (Task(all_speakers=True), "leave the flags on speakers out"),
    ):
        with pytest.raises(UserError, match=words):
            load_task(task, "train", 1.0)


def test_a_folder_is_split_by_speaker(tmp_path):
    task = Task(str(write_words(tmp_path, range(10))))
    splits = {split: load_task(task, split, 0.4) for split in ("train", "valid", "test")}
    sets = {split: load_speech(tmp_path, split) for split in splits}
    speakers = [set(one.speakers) for one in sets.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 10
    assert {split: len(heard.clips) for split, heard in splits.items()} == {"train": 48, "valid": 6, "test": 6}
    assert splits["train"].clips.class_names == ("high", "low", "middle")
    assert len(load_task(task, "train", 0.4, with_valid=True).clips) == 54
    assert any("split by speaker" in note for note in splits["test"].notes)
    mine = replace(task, test_speakers=("v03", "v04"))
    assert set(load_speech(tmp_path, "test", test_speakers=("v03", "v04")).speakers) == {"v03", "v04"}
    assert len(load_task(mine, "test", 0.4).clips) == 12
    everybody = replace(task, all_speakers=True)
    assert len(load_task(everybody, "train", 0.4).clips) == 60
    with pytest.raises(UserError, match="trained on all speakers, so that no test is left"):
        load_task(everybody, "test", 0.4)
    with pytest.raises(UserError, match="no speaker 'v99' to test with"):
        load_task(replace(task, test_speakers=("v99",)), "train", 0.4)
    some = load_task(replace(task, words=("middle", "low")), "train", 0.4).clips
    assert some.class_names == ("middle", "low")


def test_a_spotter_listens_as_long_as_the_words_last(tmp_path):
    for number in range(8):
        write(tmp_path / "short" / f"s{number}_nohash_0.wav", tone(700, 0.3))
        write(tmp_path / "long" / f"s{number}_nohash_0.wav", tone(900, 1.6))
        write(tmp_path / "endless" / f"s{number}_nohash_0.wav", tone(900, 5.0))
    lengths = {
        words: suited_seconds(Task(str(tmp_path), words))
        for words in (("short",), ("short", "long"), ("short", "endless"))
    }
    assert lengths["short",] == 1.0
    assert 1.6 <= lengths["short", "long"] <= 1.9
    assert lengths["short", "endless"] == 3.0
    assert suited_seconds(Task()) == 1.0


def test_words_that_only_test_speakers_say_are_refused(tmp_path):
    write_words(tmp_path, range(2), words=("low",))
    write_words(tmp_path, range(2, 4), words=("middle", "high"))
    (tmp_path / "_background_noise_").mkdir()  # which makes it a folder like Speech Commands
    task = Task(str(tmp_path), ("low",), test_speakers=("v00", "v01"))
    with pytest.raises(UserError, match="no recording of these words to train on"):
        suited_seconds(task)
    with pytest.raises(UserError, match="holds no recording"):
        load_task(task, "train", 1.0)


def test_recorded_noise_of_a_corpus_is_for_training_only(tmp_path):
    write_words(tmp_path, range(10))
    write(tmp_path / "_background_noise_" / "hum.wav", tone(100, 20.0))
    write(tmp_path / "_background_noise_" / "hiss.flac", tone(5000, 10.0))
    (tmp_path / "_background_noise_" / "README.md").write_text("noise")
    task = Task(str(tmp_path), tuple(WORDS))
    train = load_task(task, "train", 1.0).clips
    assert sorted(len(noise) for noise in train.noises) == [8 * 16000, 16 * 16000]  # the end is for tests
    assert load_task(task, "test", 1.0).clips.noises == ()


def test_tasks_go_to_json_and_back():
    task = Task("words", ("a", "b"), True, ("s1",), False, 3)
    assert Task.from_dict({**asdict(task), "words": ["a", "b"], "test_speakers": ["s1"]}) == task
    for values, words in (({"word": ["a"]}, "word"), ({"words": 3}, "words"), ([], "dictionary")):
        with pytest.raises(UserError, match=rf"the task of this run: .*{words}"):
            Task.from_dict(values)


@real
@pytest.mark.parametrize(
    ("data", "words", "by_speaker"),
    [
        ("speech_commands", ("bed", "cat", "happy"), True),
        ("fsdd", (), True),
        ("wake_words", (), False),
    ],
)
def test_the_real_recordings_are_split(data, words, by_speaker):
    sets = {split: load_speech(data, split, words=words or None) for split in ("train", "valid", "test")}
    files = [one.path for found in sets.values() for one in found.utterances]
    assert len(files) == len(set(files))
    if by_speaker:
        speakers = [set(found.speakers) for found in sets.values()]
        assert sum(map(len, speakers)) == len(set.union(*speakers))
    else:  # nobody says who speaks, and that is told
        assert any("the speaker of 180 recordings is unknown" in note for note in sets["test"].notes)
    task = Task(data, words)
    heard = load_task(task, "test", 1.0)
    assert len(heard.clips) == len(sets["test"])
    assert not by_speaker or min(heard.clips.counts.values()) > 0
    assert {one.label for one in sets["train"].utterances} == set(heard.clips.class_names)
    assert heard.clips.waveforms.abs().amax() <= 1.5
    assert words == () or heard.clips.class_names == words
