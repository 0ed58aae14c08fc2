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

from lib.cli.app import run
from lib.errors import UserError
from lib.speech import corpora, fsdd
from lib.speech.corpora import load_speech
from lib.speech.data import SPLITS
from lib.speech.download import REMOTE
from lib.speech.speech_commands import KEYWORDS, official_side
from lib.speech.voxceleb import Trial, load_trials


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


# AISHELL-1


@pytest.fixture
def aishell_folder(root):
    """The published layout: three parts, two speakers each, spaces in the texts, one recording without a text."""
    folder = root / "data_aishell"
    lines = []
    for part, first in (("train", 2), ("dev", 724), ("test", 764)):
        for speaker in (first, first + 1):
            for number in (121, 122):
                name = f"BAC009S{speaker:04}W{number:04}"
                write(folder / "wav" / part / f"S{speaker:04}" / f"{name}.wav")
                lines.append(f"{name} 而 对 楼市 {number}\n")
    write(folder / "wav" / "train" / "S0002" / "BAC009S0002W0999.wav")
    (folder / "transcript").mkdir()
    (folder / "transcript" / "aishell_transcript_v0.8.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def test_the_published_split_of_aishell(aishell_folder):
    found = sets("aishell1")
    assert {split: one.speakers for split, one in found.items()} == {
        "train": ("S0002", "S0003"),
        "valid": ("S0724", "S0725"),
        "test": ("S0764", "S0765"),
    }
    assert [len(one) for one in found.values()] == [4, 4, 4]
    assert found["train"].utterances[0].text == "而对楼市121"
    assert found["train"].skipped == {"without a transcript": 1}
    assert "a part: 12 of the 141,600 sentences" in found["train"].describe()
    assert files(load_speech(aishell_folder, "test")) == files(found["test"])
    assert load_speech("aishell1", "test", test_speakers=("S0002",)).speakers == ("S0002",)
    assert "S0765" in load_speech("aishell1", "train", test_speakers=("S0002",)).speakers
    with pytest.raises(UserError, match="has no words to choose"):
        load_speech("aishell1", words=("yes",))


def test_what_is_wrong_with_aishell_is_one_sentence(aishell_folder):
    texts = aishell_folder / "transcript" / "aishell_transcript_v0.8.txt"
    whole = texts.read_text(encoding="utf-8")
    for content, message in (
        (whole + whole, "line 13: 'BAC009S0002W0121' comes a second time"),
        (whole + "BAC009S0001W0001\n", "BAC009S0001W0001 has no text"),
        ("A b\n", "holds no recordings that aishell_transcript_v0.8.txt has a text for"),
    ):
        texts.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            load_speech("aishell1")
    texts.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
        load_speech("aishell1")
    texts.unlink()
    with pytest.raises(UserError, match="has neither"):
        load_speech("aishell1")


def test_packed_speakers_are_one_sentence(root):
    (root / "data_aishell" / "wav").mkdir(parents=True)
    (root / "data_aishell" / "wav" / "S0002.tar.gz").write_bytes(b"x")
    (root / "data_aishell" / "transcripts.txt").write_text("a b\n")
    with pytest.raises(UserError, match="one archive a speaker: unpack them there"):
        load_speech("aishell1")


@real
def test_real_mandarin():
    folder = real_folder("aishell1_mini")
    rows = manifest(folder)
    found = sets("aishell1_mini")
    assert [len(one) for one in found.values()] == [200, 25, 25]
    assert {str(u.path): (u.text, u.speaker) for one in found.values() for u in one.utterances} == {
        path: (row["text"], row["speaker"]) for path, row in rows.items()
    }
    assert "one speaker only" in found["test"].describe()
    assert files(load_speech(folder, "test")) == files(found["test"])


# LibriSpeech


@pytest.fixture
def libri(root):
    for part, speakers in (
        ("train-clean-100", (19, 26)),
        ("dev-clean", (84,)),
        ("test-clean", (61,)),
        ("test-other", (367,)),
    ):
        for speaker in speakers:
            place = root / "LibriSpeech" / part / str(speaker) / "198"
            for number in range(2):
                write(place / f"{speaker}-198-{number:04}.flac")
            (place / f"{speaker}-198.trans.txt").write_text(f"{speaker}-198-0000 NORTHANGER ABBEY\n")
    return root / "LibriSpeech"


def test_the_parts_of_librispeech(libri):
    found = sets("librispeech")
    assert [one.speakers for one in found.values()] == [("19", "26"), ("84",), ("367", "61")]
    assert [one.text for one in found["valid"].utterances] == ["NORTHANGER ABBEY", ""]
    text = found["test"].describe()
    assert "the parts test-clean, test-other; 2 recordings have no transcript" in text
    assert "a part: 4 of the 5,559 recordings" in text
    assert files(load_speech(libri, "test")) == files(found["test"])
    assert load_speech("librispeech", "test", test_speakers=("26",)).speakers == ("26",)


def test_parts_that_are_not_there(libri):
    for path in (libri / "test-other").rglob("*.flac"):
        path.unlink()
    with pytest.raises(UserError, match="test-other holds no recordings"):
        load_speech("librispeech", "test")
    (libri / "dev-clean").rename(libri / "other")
    valid = load_speech("librispeech", "valid")
    assert (len(valid), valid.notes) == (0, ("there is no part dev-*",))
    (libri / "train-clean-100").rename(libri / "another")
    with pytest.raises(UserError, match=r"no part train-\*: run `papers data get librispeech`"):
        load_speech("librispeech", "train")


@real
def test_real_readers():
    rows = manifest(real_folder("librispeech_mini"))
    found = sets("librispeech_mini")
    assert [(len(one), len(one.speakers)) for one in found.values()] == [(30, 30), (0, 0), (60, 6)]
    assert {str(u.path): u.speaker for one in found.values() for u in one.utterances} == {
        path: row["speaker"] for path, row in rows.items()
    }


# Folders of speakers


@pytest.fixture
def voices(root):
    for speaker in range(8):
        for session in "ab":
            for number in range(2):
                write(root / "voxceleb1" / "wav" / f"id{speaker}" / session / f"0000{number}.wav")
    return root / "voxceleb1"


def test_speakers_are_classes_and_in_one_split_only(voices):
    found = sets("voxceleb1")
    assert [len(one.speakers) for one in found.values()] == [6, 1, 1]
    assert sorted(name for one in found.values() for name in one.class_names) == [f"id{number}" for number in range(8)]
    assert found["train"].labels.tolist() == [number // 4 for number in range(24)]


def test_the_speakers_of_the_trials_are_the_test(voices):
    (voices / "veri_test.txt").write_text("1 id3/a/00000.wav id3/b/00001.wav\n\n0 id3/a/00000.wav id5/a/00000.wav\n")
    assert load_trials(voices / "veri_test.txt") == [
        Trial("id3/a/00000.wav", "id3/b/00001.wav", True),
        Trial("id3/a/00000.wav", "id5/a/00000.wav", False),
    ]
    for data in ("voxceleb1", voices):
        assert load_speech(data, "test").speakers == ("id3", "id5")
    assert not {"id3", "id5"} & set(load_speech("voxceleb1", "train").speakers)
    assert load_speech("voxceleb1", "test", test_speakers=("id0",)).speakers == ("id0",)
    (voices / "veri_test.txt").write_text("1 id33/a/0.wav id33/b/1.wav\n")
    with pytest.raises(UserError, match="None of the speakers of the 1 trials"):
        load_speech("voxceleb1", "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no trials"),
        ("1 a b\n2 a b\n", "line 2"),
        ("1 a\n", "line 1"),
        ("1 a b c\n", "line 1"),
        ("target a b\n", "line 1"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_bad_list_of_trials_is_one_sentence(tmp_path, content, message):
    (tmp_path / "trials.txt").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        load_trials(tmp_path / "trials.txt")
    with pytest.raises(UserError, match="correct the name"):
        load_trials(tmp_path / "gone.txt")


# Data folders of Kaldi


def kaldi_folder(folder, speakers="abcdef"):
    """One recording of 2 s each, of which two parts are utterances."""
    lines = {name: [] for name in ("wav.scp", "segments", "utt2spk", "text", "utt2lang")}
    for number, speaker in enumerate(speakers):
        write(folder / "audio" / f"{speaker}.wav", 2.0)
        place = f"audio/{speaker}.wav" if number else str(folder / "audio" / f"{speaker}.wav")
        lines["wav.scp"].append(f"rec-{speaker} {place}")
        for part, times in enumerate(("0.5 1.25", "1.5 -1")):
            name = f"{speaker}-{part}"
            lines["segments"].append(f"{name}\trec-{speaker} {times}")
            lines["utt2spk"].append(f"{name} {speaker}")
            lines["text"].append(f"{name} what {speaker} says")
            lines["utt2lang"].append(f"{name} {('zh', 'ug')[number % 2]}")
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder


def test_a_data_folder_of_kaldi(tmp_path):
    folder = kaldi_folder(tmp_path / "data")
    found = sets(folder)
    assert [len(one.speakers) for one in found.values()] == [4, 1, 1]
    assert found["train"].class_names == ("ug", "zh")
    one = next(u for part in found.values() for u in part.utterances if u.speaker == "a" and u.start == 0.5)
    assert (one.path, one.label, one.text, one.end) == (folder / "audio" / "a.wav", "zh", "what a says", 1.25)
    lengths = {len(part.waveform(index)) for part in found.values() for index in range(len(part))}
    assert lengths == {12_000, 8_000}


def test_recordings_without_segments_and_lists_that_are_missing(tmp_path):
    folder = kaldi_folder(tmp_path / "data")
    for name in ("segments", "utt2spk", "text", "utt2lang"):
        (folder / name).unlink()
    (folder / "audio" / "a.wav").unlink()
    found = sets(folder)
    assert sum(len(one) for one in found.values()) == 5
    assert found["train"].class_names == ()
    assert found["train"].skipped == {"of a file that is missing": 1}
    assert "the speaker of 5 recordings is unknown" in found["train"].describe()


def test_folders_of_kaldi_for_the_splits(tmp_path):
    for part, speakers in (("train", "abc"), ("test", "de")):
        kaldi_folder(tmp_path / part, speakers)
    assert [one.speakers for one in sets(tmp_path).values()] == [("a", "b", "c"), (), ("d", "e")]
    assert load_speech(tmp_path, "test").class_names == ("ug", "zh")
    kaldi_folder(tmp_path / "dev", "f")
    assert load_speech(tmp_path, "valid").speakers == ("f",)
    with pytest.raises(UserError, match="split into folders already"):
        load_speech(tmp_path, "test", test_speakers=("a",))
    (tmp_path / "dev" / "utt2lang").write_text("f-0 kk\nf-1 kk\n")
    with pytest.raises(UserError, match="a class 'kk' that is not among the training classes"):
        load_speech(tmp_path, "valid")
    (tmp_path / "test" / "wav.scp").unlink()
    with pytest.raises(UserError, match="nor a folder 'test'"):
        load_speech(tmp_path, "test")


@pytest.mark.parametrize("line", ["touch {} |", "| touch {}", "cat x.flac | flac -dc - |", "touch {}|"])
def test_a_command_is_refused_and_never_run(tmp_path, line):
    folder = kaldi_folder(tmp_path / "data")
    (folder / "wav.scp").write_text(f"rec-a {line.format(tmp_path / 'ran')}\n")
    with pytest.raises(UserError, match="rec-a is a command, and data must not run commands"):
        load_speech(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wav.scp", "rec-a\n", "rec-a has no file"),
        ("wav.scp", "rec-a raw.ark:17\n", "an archive of Kaldi"),
        ("wav.scp", "rec-a a.wav\nrec-a b.wav\n", "line 2: 'rec-a' comes a second time"),
        ("wav.scp", "rec-a gone.wav\n", r"2 of a file that is missing, 10 of a recording that is not in wav\.scp"),
        ("wav.scp", "", "no utterance that can be used"),
        ("segments", "x rec-a 1.0\n", "x needs a recording, a start and an end"),
        ("segments", "x rec-a 1.0 one\n", "x needs a recording, a start and an end"),
        ("segments", "x rec-a 1.0 0.5\n", "correct the times"),
        ("segments", "x rec-a nan 1\n", "correct the times"),
        ("segments", "x rec-a 0 nan\n", "correct the times"),
    ],
)
def test_lines_of_kaldi_that_cannot_be_used_are_one_sentence(tmp_path, name, content, message):
    folder = kaldi_folder(tmp_path / "data")
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_speech(folder)


# Where they can be had


def test_the_known_sums_are_torchaudios():
    from torchaudio.datasets import librispeech as theirs_libri
    from torchaudio.datasets import speechcommands as theirs_commands

    theirs = {url.rsplit("/", 1)[1]: s for one in (theirs_libri, theirs_commands) for url, s in one._CHECKSUMS.items()}
    ours = {file.urls[0].rsplit("/", 1)[1]: file.checksum for files in REMOTE.values() for file in files}
    assert ours.items() >= theirs.items()
    assert {len(checksum) for checksum in ours.values()} == {32, 64}


def test_what_is_fetched_is_found_by_its_name():
    for name, remote in REMOTE.items():
        folders = corpora.CORPORA[name].folders if name in corpora.CORPORA else corpora.CORPORA["librispeech"].folders
        for file in remote:
            assert file.path in folders or file.path.split("/")[0] in folders, name


def test_the_command_line_lists_speech_beside_images(digits, capsys):
    assert run(["data", "list"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["fsdd"] == str(digits)
    assert lines["mnist"] == "not here: `papers data get mnist`"
    assert lines["librispeech_dev-clean"] == "not here: `papers data get librispeech_dev-clean`"
    assert lines["wake_words"] == "not here, and cannot be fetched"
    assert run(["data", "check", "fsdd"]) == 0
    assert capsys.readouterr().out.split() == ["unchecked", str(digits)]
    (digits / "SHA256SUMS").write_text("0" * 64 + "  recordings/0_theo_0.wav\n")
    assert run(["data", "check", "fsdd"]) == 2
    assert "1 of the 1 files of 'fsdd' are missing or wrong" in capsys.readouterr().err
