"""Known corpora: their layouts, their own splits, and their real files where BOOK_DATA has them."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.datasets import SPEECHCOMMANDS

from lib.errors import UserError
from lib.speech import corpora, fsdd
from lib.speech.corpora import load_speech
from lib.speech.data import SPLITS
from lib.speech.speech_commands import KEYWORDS, official_side


def write(path, seconds=0.1, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(np.arange(round(seconds * rate))), rate)
    return path


def sets(data, **how):
    return {split: load_speech(data, split, **how) for split in SPLITS}


def files(found):
    return sorted(str(one.path) for one in found.utterances)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    return tmp_path


# Speech Commands

OTHERS = ("bed", "bird", "cat")
SPEAKERS = {side: [] for side in SPLITS}
for number in range(200):
    SPEAKERS[official_side(f"{number:08x}_nohash_0.wav")].append(f"{number:08x}")


@pytest.fixture
def official(root):
    """The official layout: 13 words, 20 training, 4 validation and 4 test speakers, lists and noise."""
    folder = root / "SpeechCommands" / "speech_commands_v0.02"
    listed = {"valid": [], "test": []}
    sound = write(root / "sound.wav").read_bytes()
    for word in (*KEYWORDS, *OTHERS):
        for side, count in (("train", 20), ("valid", 4), ("test", 4)):
            for speaker in SPEAKERS[side][:count]:
                name = f"{word}/{speaker}_nohash_0.wav"
                (folder / word).mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(sound)
                if side != "train":
                    listed[side].append(name)
    (folder / "validation_list.txt").write_text("\n".join(listed["valid"]) + "\n")
    (folder / "testing_list.txt").write_text("\n".join(listed["test"]) + "\n")
    write(folder / "_background_noise_" / "running_tap.wav", 20.0)
    write(folder / "_background_noise_" / "pink_noise.wav", 30.0)
    write(folder / "_background_noise_" / "click.wav", 1.0)
    (folder / "_background_noise_" / "README.md").write_text("x")
    return folder


@pytest.mark.parametrize(("split", "subset"), [("train", "training"), ("valid", "validation"), ("test", "testing")])
def test_all_words_are_the_recordings_that_torchaudio_lists(official, root, split, subset):
    theirs = SPEECHCOMMANDS(root, "speech_commands_v0.02", subset=subset)
    metadata = [theirs.get_metadata(index) for index in range(len(theirs))]
    ours = load_speech("speech_commands", split, words="all")
    assert files(ours) == sorted(str(root / "SpeechCommands" / path) for path, *_ in metadata)
    assert Counter(one.label for one in ours.utterances) == Counter(label for _, _, label, *_ in metadata)
    assert set(ours.speakers) == {speaker for _, _, _, speaker, _ in metadata}
    assert ours.class_names == tuple(sorted((*KEYWORDS, *OTHERS)))
    assert "by its lists" in ours.describe()


def test_without_lists_the_speakers_hash_gives_the_same_split(official):
    listed = sets("speech_commands", words="all")
    (official / "testing_list.txt").unlink()
    hashed = sets("speech_commands", words="all")
    assert {split: files(found) for split, found in hashed.items()} == {s: files(f) for s, f in listed.items()}
    assert "by its hash of speakers" in hashed["train"].describe()


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("right/bb05582b_nohash_3.wav", "test"),  # the first lines of the published lists
        ("right/a69b9b3e_nohash_0.wav", "valid"),
        ("right/32ad5b65_nohash_3.wav", "valid"),
        ("cat/00f0204f_nohash_2.wav", "train"),
    ],
)
def test_the_hash_is_the_published_one(name, side):
    assert official_side(name) == side


def test_the_hash_divides_eighty_ten_ten():
    sides = Counter(official_side(f"{number:08x}_nohash_0.wav") for number in range(20_000))
    assert [round(sides[side] / 20_000, 2) for side in SPLITS] == [0.80, 0.10, 0.10]


def test_the_task_of_twelve_classes(official):
    found = sets("speech_commands_v0.02")
    for split, each in (("train", 20), ("valid", 4), ("test", 4)):
        one = found[split]
        assert one.class_names == (*KEYWORDS, "unknown", "silence")
        assert Counter(one.labels.tolist()) == dict.fromkeys(range(12), each)
        assert {u.text for u in one.utterances if u.label == "unknown"} <= set(OTHERS)
        assert all(u.label == u.text for u in one.utterances if u.label in KEYWORDS)
    spoken = [{u.speaker for u in one.utterances} - {""} for one in found.values()]
    assert not spoken[0] & spoken[1] | spoken[0] & spoken[2] | spoken[1] & spoken[2]
    assert "a part: 364 of the 105,829 recordings of version 0.02" in found["train"].describe()


def test_silence_is_cut_from_noise_and_no_second_is_on_two_sides(official):
    cuts = {
        split: [u for u in found.utterances if u.label == "silence"] for split, found in sets("speech_commands").items()
    }
    for split, (low, high) in (("train", (0, 0.8)), ("valid", (0.8, 0.9)), ("test", (0.9, 1.0))):
        assert cuts[split]
        for one in cuts[split]:
            seconds = {"running_tap.wav": 20, "pink_noise.wav": 30}[one.path.name]
            assert low * seconds <= one.start < one.end <= high * seconds + 1e-9
            assert one.end - one.start == pytest.approx(1.0)
    found = load_speech("speech_commands", "test")
    last = len(found) - 1
    assert (found.utterances[last].label, len(found.waveform(last))) == ("silence", 16_000)


def test_chance_is_by_seed_and_by_nothing_else(official):
    torch.manual_seed(1)
    first = load_speech("speech_commands", "train", seed=3)
    torch.manual_seed(2)
    again, other = load_speech("speech_commands", "train", seed=3), load_speech("speech_commands", "train", seed=4)
    assert first.utterances == again.utterances
    assert first.utterances != other.utterances


def test_words_can_be_chosen(official):
    found = load_speech("speech_commands", "train", words=("cat", "yes"))
    assert (found.class_names, Counter(found.labels.tolist())) == (("cat", "yes"), {0: 20, 1: 20})
    found = load_speech("speech_commands", "train", words=["cat", "yes"], unknown=True)
    assert (found.class_names, Counter(found.labels.tolist())) == (("cat", "yes", "unknown"), {0: 20, 1: 20, 2: 20})
    assert len({one.text for one in found.utterances if one.label == "unknown"}) > 3
    for words, how, message in (
        (("cat", "dog"), {}, "no word 'dog': choose of bed, bird, cat"),
        ("cat", {}, "a tuple of words, 'all', or nothing, not 'cat'"),
        ((), {}, "No word was chosen"),
        ("all", {"unknown": True}, "none is left for 'unknown'"),
    ):
        with pytest.raises(UserError, match=message):
            load_speech("speech_commands", "train", words=words, **how)


def test_test_speakers_replace_the_official_split(official):
    chosen = tuple(SPEAKERS["train"][:2])
    assert load_speech("speech_commands", "test", words="all", test_speakers=chosen).speakers == tuple(sorted(chosen))
    assert not set(chosen) & set(load_speech("speech_commands", "train", words="all", test_speakers=chosen).speakers)


def test_without_noise_there_is_no_class_of_silence(official):
    for path in (official / "_background_noise_").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no noise of ten seconds"):
        load_speech("speech_commands", "train")
    (official / "_background_noise_").rmdir()
    found = load_speech("speech_commands", "train")
    assert found.class_names == (*KEYWORDS, "unknown")
    assert "no class 'silence'" in found.describe()


def test_a_folder_is_recognised(official):
    assert files(load_speech(official, "valid")) == files(load_speech("speech_commands", "valid"))


def test_no_files_of_speech_commands_are_one_sentence(root):
    (root / "speech_commands").mkdir()
    with pytest.raises(UserError, match="unpack Speech Commands there"):
        load_speech("speech_commands", "train")


# Free Spoken Digits


@pytest.fixture
def digits(root):
    """The published layout: 3 digits, 4 speakers, 8 recordings of each."""
    for speaker in ("george", "jackson", "lucas", "theo"):
        for digit in "012":
            for number in range(8):
                write(root / "fsdd" / "recordings" / f"{digit}_{speaker}_{number}.wav", rate=8_000)
    return root / "fsdd"


def test_three_speakers_train_and_one_tests(digits):
    found = sets("fsdd")
    assert [len(found[split]) for split in SPLITS] == [72, 0, 24]
    assert not set(found["train"].speakers) & set(found["test"].speakers)
    assert found["test"].class_names == ("0", "1", "2")
    assert len(found["test"].waveform(0)) == 1_600  # 0.1 s, resampled to 16 kHz
    assert "a part: 96 of the 3,000" in found["test"].describe()
    assert load_speech("fsdd", "test", test_speakers=("lucas",)).speakers == ("lucas",)
    assert load_speech("fsdd", "train", words=("2", "0")).class_names == ("2", "0")
    with pytest.raises(UserError, match="no digit '7'"):
        load_speech("fsdd", "train", words=("7",))


def test_the_published_split_is_by_number(digits):
    test, train = (fsdd.load(digits, split, official=True) for split in ("test", "train"))
    assert {one.path.stem.split("_")[2] for one in test.utterances} == set("01234")
    assert {one.path.stem.split("_")[2] for one in train.utterances} == set("567")
    assert len(train) + len(test) == 96
    assert len(fsdd.load(digits, "valid", official=True)) == 0
    assert "the test knows all voices" in test.describe()
    with pytest.raises(UserError, match="has its own test"):
        fsdd.load(digits, "test", official=True, test_speakers=("theo",))


def test_a_folder_a_speaker_is_the_same_set(digits, root):
    for path in sorted((digits / "recordings").iterdir()):
        digit, speaker, _ = path.stem.split("_")
        place = root / "other" / speaker / digit
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    write(root / "other" / "theo" / "0" / "noise.wav")
    for split in SPLITS:
        ours, flat = load_speech(root / "other", split), load_speech("fsdd", split)
        assert [one.path.name for one in sorted(ours.utterances, key=lambda one: one.path.name)] == [
            one.path.name for one in sorted(flat.utterances, key=lambda one: one.path.name)
        ]
        assert ours.skipped == {"of another name": 1}


# By name


def test_names_and_folders_that_are_not_there_are_one_sentence(root, monkeypatch):
    with pytest.raises(UserError, match=r"No speech data called 'nothing'.*speech_commands.*fsdd.*wake_words"):
        load_speech("nothing")
    with pytest.raises(UserError, match=r"No Free Spoken Digits under .*looked in fsdd.*papers data get fsdd"):
        load_speech("fsdd")
    with pytest.raises(UserError, match="Unknown split 'dev'"):
        load_speech("fsdd", "dev")
    monkeypatch.delenv("BOOK_DATA")
    with pytest.raises(UserError, match="BOOK_DATA is not set"):
        load_speech("fsdd")


def test_a_plain_folder_and_a_table_of_ones_own(root):
    for number in range(10):
        write(root / "wake_words" / ("alexa", "jarvis")[number % 2] / f"{number}.wav")
    assert load_speech("wake_words", "train").class_names == ("alexa", "jarvis")
    assert files(load_speech(root / "wake_words", "test")) == files(load_speech("wake_words", "test"))
    assert load_speech("wake_words", words="all").class_names == ("alexa", "jarvis")
    with pytest.raises(UserError, match="made of Speech Commands only"):
        load_speech("wake_words", words=("alexa",), unknown=True)
    with pytest.raises(UserError, match="a tuple of classes"):
        load_speech("wake_words", words="alexa")
    write(root / "mine" / "recordings" / "0_theo_0.wav")
    (root / "mine" / "metadata.csv").write_text("file_name,label\nrecordings/0_theo_0.wav,zero\n")
    assert load_speech(root / "mine").class_names == ("zero",)


# The real files

real = pytest.mark.skipif("BOOK_DATA" not in os.environ, reason="BOOK_DATA does not name real recordings")


def real_folder(name):
    if corpora.find_corpus(name) is None:
        pytest.skip(f"BOOK_DATA has no {name}")
    return corpora.find_corpus(name)


def manifest(folder: Path):
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"{folder} has no manifest.csv to compare with")
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return {str(folder / row["path"]): row for row in csv.DictReader(file)}


@real
@pytest.mark.parametrize(("name", "how"), [("speech_commands", {"words": "all"}), ("fsdd", {})])
def test_real_recordings_are_those_of_their_manifest(name, how):
    rows = manifest(real_folder(name))
    found = sets(name, **how)
    utterances = [one for part in found.values() for one in part.utterances]
    assert len(utterances) == len(rows)
    assert {str(one.path): (one.label, one.speaker) for one in utterances} == {
        path: (row["label"], row["speaker"]) for path, row in rows.items()
    }
    spoken = [set(part.speakers) for part in found.values()]
    assert sum(map(len, spoken)) == len(set().union(*spoken))


@real
def test_real_commands_are_all_of_the_official_training_part():
    rows = manifest(real_folder("speech_commands"))
    assert {official_side(path) for path in rows} == {"train"}
    found = sets("speech_commands", words=("bed", "cat", "happy"), unknown=True)
    shares = [len(part) / len(rows) for part in found.values()]
    assert np.abs(np.array(shares) - [0.8, 0.1, 0.1]).max() < 0.01
    assert all(set(part.labels.tolist()) == {0, 1, 2, 3} for part in found.values())
    assert "the split is ours" in found["train"].describe()


@real
def test_the_published_split_of_real_digits():
    folder = real_folder("fsdd")
    rows = manifest(folder)
    test = fsdd.load(folder, "test", official=True)
    assert files(test) == sorted(path for path, row in rows.items() if row["official_split"] == "test")


@real
def test_real_wake_words():
    rows = manifest(real_folder("wake_words"))
    found = sets("wake_words")
    assert sum(len(part) for part in found.values()) == len(rows) == 180
    assert found["train"].skipped == {}
    one = found["train"].utterances[0]
    samples = found["train"].waveform(0)
    row = rows[str(one.path)]
    assert len(samples) == int(row["samples"])
    assert samples.abs().max() == pytest.approx(float(row["peak"]), abs=1e-4)
    assert 20 * samples.square().mean().sqrt().log10() == pytest.approx(float(row["rms_dbfs"]), abs=0.01)
