"""What every corpus becomes."""

from pathlib import Path

import pytest
import soundfile
import torch

from lib.errors import UserError
from lib.speech.data import SpeechSet, Utterance


@pytest.fixture
def words(tmp_path) -> SpeechSet:
    utterances = []
    for number, (label, speaker) in enumerate([("no", "ann"), ("yes", "ann"), ("no", "bob"), ("no", "")]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, torch.full((1600 * (number + 1),), 0.25).numpy(), 16_000)
        utterances.append(Utterance(path, label, speaker))
    return SpeechSet("words", "train", tuple(utterances), ("no", "yes"), skipped={"empty": 2}, notes=("a note",))


def test_labels_speakers_and_waveforms(words):
    assert words.labels.tolist() == [0, 1, 0, 0]
    assert words.speakers == ("ann", "bob")
    assert [len(one) for one in words.waveforms()] == [1600, 3200, 4800, 6400]
    assert [len(one) for one in words.waveforms([2, 0])] == [4800, 1600]


def test_a_subset_keeps_the_rest(words):
    part = words.subset([3, 1])
    assert len(part) == 2
    assert part.labels.tolist() == [0, 1]
    assert part.class_names == words.class_names


def test_the_description_says_what_was_left_out(words):
    text = words.describe()
    assert "4 utterances, 2 speaker(s), 2 class(es)" in text
    assert "skipped 2: empty" in text
    assert text.endswith("a note")
    assert "speakers unknown" in SpeechSet("x", "test", (Utterance(Path("x.wav")),)).describe()


def test_a_set_without_classes_has_no_labels():
    with pytest.raises(UserError, match="no classes"):
        _ = SpeechSet("texts", "test", (Utterance(Path("x.wav"), text="hello"),)).labels


def test_parts_of_a_file_are_utterances(words):
    whole = words.utterances[3]
    part = SpeechSet("part", "train", (Utterance(whole.path, start=0.1, end=0.25),))
    assert len(part.waveform(0)) == 2400
