"""Folders of recordings in every layout, what is left out of them, and splits that share no speaker."""

import time
from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import UserError
from lib.speech import folders
from lib.speech.data import SPLITS, Utterance
from lib.speech.folders import class_order, load, load_all, require_classes
from lib.speech.splits import split_by_class, split_by_group, split_utterances


def write(path, seconds=0.1, peak=0.5, rate=8_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, peak * np.sin(np.arange(round(seconds * rate))), rate)
    return path


@pytest.fixture
def words(tmp_path):
    """Two classes, six speakers, two recordings of each; by the names of Speech Commands."""
    for word in ("no", "yes"):
        for speaker in "abcdef":
            for number in range(2):
                write(tmp_path / word / f"{speaker}_nohash_{number}.wav")
    return tmp_path


def names(found):
    return [str(one.path.name) for one in found.utterances]


def test_a_folder_a_class_is_split_by_speaker(words):
    sets = {split: load(words, split) for split in SPLITS}
    assert {split: len(found) for split, found in sets.items()} == {"train": 16, "valid": 4, "test": 4}
    assert sorted(speaker for found in sets.values() for speaker in found.speakers) == list("abcdef")
    assert sets["train"].class_names == ("no", "yes")
    assert sets["train"].labels.tolist() == [0] * 8 + [1] * 8
    assert sets["train"].skipped == {}
    assert "split by speaker: train 4, valid 1, test 1" in sets["train"].describe()
    assert [len(one) for one in sets["test"].waveforms()] == [1_600] * 4
    assert names(load(words, "train", seed=0)) == names(sets["train"])
    assert len({tuple(load(words, "test", seed=seed).speakers) for seed in range(20)}) > 2


def test_test_speakers_can_be_chosen(words):
    assert load(words, "test", test_speakers=("b", "e")).speakers == ("b", "e")
    assert load(words, "valid", test_speakers=("b", "e")).speakers != ()
    assert not {"b", "e"} & set(load(words, "train", test_speakers=("b", "e")).speakers)
    with pytest.raises(UserError, match="no speaker 'x' to test with: choose of a, b, c, d, e, f"):
        load(words, "test", test_speakers=("x",))
    with pytest.raises(UserError, match="leave some for training"):
        load(words, "train", test_speakers=tuple("abcdef"))


def test_classes_can_be_chosen_and_ordered(words):
    write(words / "maybe" / "a_nohash_0.wav")
    found = load(words, "train", ("yes", "no"))
    assert found.class_names == ("yes", "no")
    assert found.labels.tolist() == [1] * 8 + [0] * 8
    assert found.skipped == {"of a class that was not chosen": 1}
    with pytest.raises(UserError, match="no class 'perhaps': choose of maybe, no, yes"):
        load(words, "train", ("yes", "perhaps"))


def test_numbers_are_in_the_order_of_numbers():
    assert class_order(["10", "b", "9", "a", "9"]) == ("9", "10", "a", "b")


def test_speakers_are_read_from_names_that_say_so(tmp_path):
    for label, name in (("7", "7_jackson_32"), ("7", "7_yweweler_1"), ("yes", "1_take_2"), ("yes", "00f_nohash_3")):
        write(tmp_path / label / "deep" / f"{name}.flac")
    speakers = {one.path.stem: one.speaker for one in load_all(tmp_path).utterances}
    assert speakers == {"7_jackson_32": "jackson", "7_yweweler_1": "yweweler", "1_take_2": "", "00f_nohash_3": "00f"}


def test_unknown_speakers_are_split_one_by_one_and_it_is_said(tmp_path):
    for number in range(20):
        write(tmp_path / "ab"[number % 2] / f"{number}.wav")
    sets = {split: load(tmp_path, split) for split in SPLITS}
    assert {split: len(found) for split, found in sets.items()} == {"train": 16, "valid": 2, "test": 2}
    assert len({path for found in sets.values() for path in names(found)}) == 20
    assert "the speaker of 20 recordings is unknown" in sets["test"].describe()


def test_a_table_in_a_folder(tmp_path):
    rows = []
    for number in range(12):
        write(tmp_path / "clips" / f"{number}.wav")
        rows.append(f'clips/{number}.wav,{"ja" if number % 2 else "nein"}," s{number % 6} ","Text, {number}"\n')
    write(tmp_path / "stray.wav")
    head = "\ufefffile_name,label,speaker,text\n"
    (tmp_path / "metadata.csv").write_text(head + "".join(rows) + rows[0] + "gone.wav,ja,s1,\n", encoding="utf-8")
    found = load_all(tmp_path)
    assert found.class_names == ("ja", "nein")
    assert found.utterances[3] == Utterance(tmp_path / "clips" / "3.wav", "ja", "s3", "Text, 3")
    assert found.skipped == {"listed twice": 1, "listed but missing": 1, "not listed in metadata.csv": 1}
    assert len(load(tmp_path, "test").speakers) == 1


def test_a_manifest_with_texts_and_without_classes(tmp_path):
    for number in range(4):
        write(tmp_path / f"{number}.wav")
    rows = "".join(f"{number}.wav,文字,s{number}\n" for number in range(4))
    (tmp_path / "manifest.csv").write_text("path,text,speaker\n" + rows, encoding="utf-8")
    found = load(tmp_path, "train")
    assert (found.class_names, len(found), {one.text for one in found.utterances}) == ((), 3, {"文字"})
    with pytest.raises(UserError, match="needs 2 or more classes and has none"):
        require_classes(found)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "needs a first line"),
        ("name,label\na.wav,1\n", "a column 'file_name'"),
        ("file_name,label\na.wav,\n", "row 2"),
        ("file_name,label\na.wav,1\nb.wav\n", "row 3"),
        ("file_name,label\nnowhere.wav,1\n", "holds no recordings"),
        ("file_name\nM\xfcller.wav\n", "cannot be read as a UTF-8 table"),
        ('file_name,label\n"' + "a" * 200_000 + '",1\n', "cannot be read as a UTF-8 table"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path, table, message):
    write(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        load(tmp_path, "train")


def test_folders_for_the_splits(tmp_path):
    write(tmp_path / "train" / "no" / "1.wav")
    write(tmp_path / "train" / "yes" / "2.wav")
    write(tmp_path / "test" / "deeper" / "3.wav")
    (tmp_path / "test" / "metadata.csv").write_text("file_name,label\ndeeper/3.wav,yes\n")
    test = load(tmp_path, "test")
    assert (test.class_names, test.labels.tolist(), names(test)) == (("no", "yes"), [1], ["3.wav"])
    valid = load(tmp_path, "valid")
    assert (len(valid), valid.notes) == (0, ("there is no folder 'valid'",))
    write(tmp_path / "dev" / "no" / "4.wav")
    assert names(load(tmp_path, "valid")) == ["4.wav"]
    assert names(load(tmp_path, "train", ("yes",))) == ["2.wav"]
    assert load(tmp_path, "valid", ("yes",)).skipped == {"of a class that was not chosen": 1}
    assert sorted(names(load_all(tmp_path))) == ["1.wav", "2.wav", "3.wav", "4.wav"]
    with pytest.raises(UserError, match="split into folders already"):
        load(tmp_path, "test", test_speakers=("a",))
    write(tmp_path / "dev" / "maybe" / "5.wav")
    with pytest.raises(UserError, match="a class 'maybe' that is not among the training classes"):
        load(tmp_path, "valid")


def test_train_without_test_and_tests_without_classes_are_one_sentence(tmp_path):
    write(tmp_path / "train" / "no" / "1.wav")
    with pytest.raises(UserError, match="none called 'test'"):
        load(tmp_path, "test")
    write(tmp_path / "test" / "2.wav")
    with pytest.raises(UserError, match="has no classes"):
        load(tmp_path, "test")


def test_what_cannot_be_used_is_skipped_with_a_count(words):
    (words / "no" / "a_nohash_0.wav").write_bytes(b"")
    (words / "no" / "a_nohash_1.wav").write_bytes(b"no sound")
    write(words / "no" / "b_nohash_0.wav", peak=0.0)
    write(words / "no" / "b_nohash_1.wav", seconds=0.04)
    whole = (words / "no" / "c_nohash_0.wav").read_bytes()
    (words / "no" / "c_nohash_0.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(words / "no" / "c_nohash_1.wav", np.sign(np.sin(np.arange(900))), 8_000)  # clipped, and kept
    (words / "no" / "notes.txt").write_text("x")
    (words / "no" / ".hidden.wav").write_text("x")
    (words / "README.md").write_text("x")
    write(words / "stray.wav")
    write(words / "silent" / "a_nohash_0.wav", peak=0.0)
    (words / "nothing").mkdir()
    write(words / "_background_noise_" / "noise.wav")
    found = load_all(words)
    assert found.skipped == {
        "empty": 1,
        "unreadable": 2,
        "silent": 2,
        "too short": 1,
        "not an audio file": 1,
        "outside the class folders": 1,
        "class without a recording that can be used": 2,
    }
    assert (found.class_names, len(found)) == (("no", "yes"), 24 - 5)
    text = found.describe()
    assert "clipped recordings, which were kept: 1" in text
    assert "no class of nothing, silent" in text
    assert f"the first that was skipped: {words / 'no' / 'a_nohash_0.wav'}" in text
    assert Counter(load(words, "train").skipped) == found.skipped


def test_a_recording_that_was_mended_is_seen_again(words):
    path = words / "no" / "a_nohash_0.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert len(load_all(words)) == 23
    path.write_bytes(whole)
    assert len(load_all(words)) == 24


def test_nothing_but_bad_recordings_is_one_sentence(tmp_path):
    write(tmp_path / "a" / "1.wav", peak=0.0)
    write(tmp_path / "a" / "2.wav").write_bytes(b"x")
    with pytest.raises(UserError, match=r"None of the recordings .* can be used \(1 silent, 1 unreadable\)"):
        load(tmp_path, "train")


@pytest.mark.parametrize("content", [(), ("cat/a.txt",)])
def test_no_recordings_are_one_sentence(tmp_path, content):
    for name in content:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match="holds no recordings"):
        load(tmp_path, "train")
    with pytest.raises(UserError, match="is no folder"):
        load(tmp_path / "gone", "train")


def test_one_class_is_refused_only_where_two_are_needed(tmp_path):
    for number in range(4):
        write(tmp_path / "only" / f"{number}.wav")
    found = load(tmp_path, "train")
    assert require_classes(found, 1) is found
    with pytest.raises(UserError, match="needs 2 or more classes and has only one, 'only'"):
        require_classes(found)


def test_a_single_recording_can_be_scored_but_not_tested_on(tmp_path):
    write(tmp_path / "1.wav")
    assert len(load_all(tmp_path)) == len(load(tmp_path, "train")) == 1
    with pytest.raises(UserError, match="too few recordings for a test split"):
        load(tmp_path, "test")
    with pytest.raises(UserError, match="Unknown split 'testing'"):
        load(tmp_path, "testing")


def test_a_foreign_folder_is_numbered_by_the_classes_that_are_known(words):
    found = load_all(words, ("yes", "no", "stop"))
    assert (found.class_names, found.split) == (("yes", "no", "stop"), "all")
    assert found.labels.tolist() == [1] * 12 + [0] * 12
    with pytest.raises(UserError, match="a class 'yes' that is not among the classes that the system was trained on"):
        load_all(words, ("no", "stop"))


def test_links_to_folders_are_followed_once(words):
    (words / "yes" / "again").symlink_to(words / "yes")
    (words / "maybe").symlink_to(words / "no")
    assert Counter(one.label for one in load_all(words).utterances) == {"no": 12, "yes": 12, "maybe": 12}


def test_large_folders_are_judged_by_their_headers(words, monkeypatch):
    monkeypatch.setattr(folders, "DECODED", 10)
    write(words / "no" / "quiet.wav", peak=0.0)
    write(words / "no" / "short.wav", seconds=0.01)
    found = load_all(words)
    assert found.skipped == {"too short": 1}
    assert len(found) == 25
    assert "only the headers were checked" in found.describe()


def test_two_thousand_clips_load_in_five_seconds(tmp_path):
    first = write(tmp_path / "yes" / "s0_nohash_0.flac", seconds=1.0, rate=16_000).read_bytes()
    for number in range(1, 2_000):
        path = tmp_path / ("yes", "no")[number % 2] / f"s{number // 20}_nohash_{number}.flac"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(first)
    begun = time.process_time()
    assert sum(len(load(tmp_path, split)) for split in SPLITS) == 2_000
    assert time.process_time() - begun < 5


groups_and_labels = st.lists(
    st.tuples(st.integers(0, 12).map("s{}".format), st.sampled_from(["yes", "no", "go"])), min_size=1, max_size=120
)


@settings(max_examples=300, deadline=None)
@given(groups_and_labels, st.integers(0, 5))
def test_a_split_keeps_groups_whole_and_classes_in_training(pairs, seed):
    groups, labels = [group for group, _ in pairs], [label for _, label in pairs]
    sides = split_by_group(groups, labels, seed=seed)
    assert sides == split_by_group(groups, labels, seed=seed)
    assert sorted(index for side in sides.values() for index in side) == list(range(len(pairs)))
    assert all(side == sorted(side) for side in sides.values())
    have = {side: {groups[index] for index in found} for side, found in sides.items()}
    assert sum(len(found) for found in have.values()) == len(set(groups))
    assert have["train"]
    assert bool(have["test"]) == (len(set(groups)) >= 2)
    assert bool(have["valid"]) == (len(set(groups)) >= 5)
    lost = set(labels) - {labels[index] for index in sides["train"]}
    for label in lost:  # only where the test's or validation's one group could not be spared
        keepers = {group for group, other in pairs if other == label}
        assert all(len(have[side]) == 1 for side in ("valid", "test") if keepers & have[side])


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_met_as_nearly_as_whole_speakers_allow(seed):
    sizes = np.random.default_rng(seed).integers(1, 30, 200)
    groups = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    sides = split_by_group(groups, ["a"] * len(groups), seed=seed)
    for side, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
        assert abs(len(sides[side]) / len(groups) - share) < 0.005
        spoken = {groups[index] for index in sides[side]}
        assert abs(np.mean([sizes[int(name[1:])] for name in spoken]) - sizes.mean()) < 4  # not only the large ones


def test_one_large_speaker_does_not_upset_the_shares():
    groups = ["large"] * 80 + [f"s{number}" for number in range(20)]
    sides = split_by_group(groups, ["x"] * 100)
    assert {side: len(found) for side, found in sides.items()} == {"train": 80, "valid": 10, "test": 10}


def test_a_class_that_one_speaker_has_is_trained_on():
    groups = [f"s{number}" for number in range(20) for _ in range(10)]
    for number in range(20):
        labels = ["rare" if group == f"s{number}" else "common" for group in groups]
        sides = split_by_group(groups, labels)
        assert "rare" in {labels[index] for index in sides["train"]}
        assert len({groups[index] for index in sides["test"]}) >= 1


def test_four_equal_speakers_make_three_and_one():
    sides = split_by_group([*"abcd"] * 50, ["x"] * 200)
    assert {side: len(found) for side, found in sides.items()} == {"train": 150, "valid": 0, "test": 50}
    assert split_by_group([*"ab"], ["x"] * 2, {"train": 0.5, "valid": 0.0, "test": 0.5})["valid"] == []


@pytest.mark.parametrize(
    "shares", [{"train": 1.0}, {"train": 0.0, "valid": 0.5, "test": 0.5}, {"train": 1.2, "valid": -0.2, "test": 0.1}]
)
def test_shares_that_cannot_be_met_are_one_sentence(shares):
    with pytest.raises(UserError, match="Shares are needed"):
        split_by_group(["a", "b"], ["x", "x"], shares)


def test_one_speaker_alone_is_split_by_recording(tmp_path):
    utterances = [Utterance(tmp_path / f"{number}.wav", speaker="S0150") for number in range(50)]
    train, notes = split_utterances("mini", utterances, "train")
    test, _ = split_utterances("mini", utterances, "test")
    assert (len(train), len(test)) == (40, 5)
    assert not set(train) & set(test)
    assert "one speaker only" in notes[0]


def test_recordings_without_speakers_are_shared_out_class_by_class():
    labels = ["a"] * 30 + ["b"] * 30 + ["c"] * 2 + ["d"]
    sides = split_by_class(labels, seed=1)
    assert sorted(index for side in sides.values() for index in side) == list(range(63))
    counts = {side: Counter(labels[index] for index in sides[side]) for side in sides}
    assert counts["test"] == {"a": 3, "b": 3, "c": 1}
    assert counts["valid"] == {"a": 3, "b": 3}
    assert counts["train"] == {"a": 24, "b": 24, "c": 1, "d": 1}
    assert split_by_class(labels, seed=1) == sides != split_by_class(labels, seed=2)
