"""The keyword spotter by commands: folders of recordings, every kind of bad one, and the real ones."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import lib.cenet.train
from lib.cenet.evaluate import evaluate
from lib.cenet.spotter import load_spotter
from lib.cenet.task import Task, load_task
from lib.speech.corpora import load_speech
from tests.cenet.sounds import RATE, spoken, tone, write, write_words
from tests.cli.conftest import files
from tests.cli.test_bad_input import refused

DATA = os.environ.get("BOOK_DATA")  # before `papers` takes it away
real = pytest.mark.skipif(not DATA, reason="BOOK_DATA names no folder of real recordings")

NETWORK = ("network.repetitions=[0,0,0]", "network.channels=[8,8,12,16]", "network.ratios=[2,2,2]")
RECIPE = ("recipe.learning_rate=0.01", "recipe.warmup=10", "recipe.steps=60")
NOISE = ("augment.shift_seconds=0.05", "augment.snr=[10,20]", "augment.noise_probability=0.5")
QUICK = ("--preset", "scaled", "--seconds", 0.4, "--batch-size", 16, "--threads", 1, "--set", *NETWORK, *RECIPE, *NOISE)
"""A tiny network that is trained in a second."""


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """Ten voices say three words, twice each."""
    return write_words(tmp_path_factory.mktemp("recordings") / "words", range(10))


@pytest.fixture(scope="module")
def trained(words, tmp_path_factory) -> Path:
    """The folder of a run on those words."""
    from lib.cli.app import run

    folder = tmp_path_factory.mktemp("runs") / "words"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BOOK_DATA", raising=False)
        assert run([str(one) for one in ("train", "cenet", "--data", words, "--out", folder, *QUICK)]) == 0
    return folder


def test_a_folder_is_trained_on_and_its_test_speakers_are_recognised(papers, words, trained, tmp_path):
    found = papers("train", "cenet", "--data", words, *QUICK, "--max-steps", 3, "--seed", 4)
    assert found.code == 0, found.err
    assert "Run in runs/cenet-scaled-own-4" in found.err
    assert "high 16, low 16, middle 16" in found.err
    assert "split by speaker: train 8, valid 1, test 1" in found.err
    assert "papers evaluate cenet --checkpoint runs/cenet-scaled-own-4" in found.out
    assert sorted(path.name for path in (tmp_path / "runs" / "cenet-scaled-own-4").iterdir()) == [
        "checkpoint.safetensors",
        "config.json",
    ]
    found = papers("evaluate", "cenet", "--checkpoint", trained, "--json")
    record = json.loads(found.out)
    assert found.code == 0
    assert (record["system"], record["data"], record["clips"]) == ("cenet", str(words), 6)
    assert record["classes"] == ["high", "low", "middle"]
    assert record["accuracy"] > 0.6  # chance is a third; seeds 0 to 4: 1.0
    # the figures are those that the library gives
    score = evaluate(load_spotter(trained), load_task(Task(str(words)), "test", 0.4).clips)
    assert record["accuracy"] == score.accuracy
    assert record["interval"] == [score.low, score.high]
    assert record["confusion"] == score.confusion.tolist()
    text = papers("evaluate", "cenet", "--checkpoint", trained).out
    assert f"{100 * score.accuracy:.1f} % right" in text


def test_another_folder_is_scored_whole(papers, trained, tmp_path):
    write_words(tmp_path / "others", range(20, 26), words=("middle", "low"))
    found = papers("evaluate", "cenet", "--checkpoint", trained, "--data", "others", "--json")
    record = json.loads(found.out)
    assert (found.code, record["clips"], record["skipped"]) == (0, 24, {})
    assert record["accuracy"] > 0.6
    assert record["class_accuracy"]["high"] is None
    assert [sum(row) for row in record["confusion"]] == [0, 12, 12]
    assert "no clip" in papers("evaluate", "cenet", "--checkpoint", trained, "--data", "others").out
    # with --split it is split by speaker instead
    found = papers("evaluate", "cenet", "--checkpoint", trained, "--data", "others", "--split", "test", "--json")
    assert json.loads(found.out)["clips"] == 4
    refused(papers("evaluate", "cenet", "--checkpoint", trained, "--data", "others", "--split", "all"), "split 'all'")


def every_kind(folder: Path) -> Path:
    """Recordings of "low" and "middle" of every kind that people have, good and bad."""
    sound = spoken("low", 30, seconds=0.3)
    loud = torch.clip(10 * sound, -1, 1)
    low = folder / "low"
    write(low / "plain.wav", sound)
    write(low / "stereo.wav", torch.stack([sound, 0.5 * sound], 1))
    for rate in (8_000, 44_100):
        times = np.arange(round(0.3 * rate)) / rate
        write(low / f"{rate}.wav", 0.3 * np.sin(2 * np.pi * 400 * times), rate)
    write(low / "deep.wav", sound, subtype="PCM_24")
    write(low / "float.wav", sound, subtype="FLOAT")
    write(low / "compressed.flac", sound)
    write(low / "clipped.wav", loud)
    write(low / "silent.wav", torch.zeros(8000))
    write(low / "no_samples.wav", torch.zeros(0))
    write(low / "click.wav", sound[:160])
    write(low / "nan.wav", torch.full((8000,), torch.nan), subtype="FLOAT")
    whole = (low / "plain.wav").read_bytes()
    (low / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (low / "header_only.wav").write_bytes(whole[:30])
    (low / "empty.wav").write_bytes(b"")
    (low / "text.wav").write_text("this is no sound\n" * 50)
    (low / "picture.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4)
    (low / "notes.txt").write_text("said on a Monday")
    write(folder / "middle" / "one.wav", spoken("middle", 30, seconds=0.3))
    write(folder / "beside.wav", sound)
    (folder / "high").mkdir(exist_ok=True)
    return folder


READ = ("plain", "stereo", "8000", "44100", "deep", "float", "compressed", "clipped")


def test_every_kind_of_recording_is_read_or_counted(papers, trained, tmp_path):
    every_kind(tmp_path / "kinds")
    found = papers("evaluate", "cenet", "--checkpoint", trained, "--data", "kinds", "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert [sum(row) for row in record["confusion"]] == [0, len(READ), 1]
    assert record["skipped"] == {
        "silent": 1,
        "empty": 2,
        "too short": 1,
        "unreadable": 5,
        "not an audio file": 1,
        "outside the class folders": 1,
        "class without a recording that can be used": 1,
    }
    assert any("clipped recordings, which were kept: 1" in note for note in record["notes"])
    assert any("no class of high" in note for note in record["notes"])
    text = papers("evaluate", "cenet", "--checkpoint", trained, "--data", "kinds").out
    assert "Skipped 5: unreadable." in text
    assert "Skipped 1: silent." in text
    # nothing that was read is counted wrong: alone they give the same clips
    for name in READ:
        (path,) = (tmp_path / "kinds" / "low").glob(f"{name}.*")
        write(tmp_path / name / "middle" / "one.wav", spoken("middle", 30))
        (tmp_path / name / "low").mkdir()
        shutil.copy(path, tmp_path / name / "low")
    for name in READ:
        found = papers("evaluate", "cenet", "--checkpoint", trained, "--data", name, "--json")
        assert json.loads(found.out)["clips"] == 2, name


def test_training_counts_what_it_skips(papers, words, tmp_path):
    shutil.copytree(words, tmp_path / "mixed")
    every_kind(tmp_path / "mixed")
    found = papers("train", "cenet", "--data", "mixed", *QUICK, "--max-steps", 1, "--out", "run")
    assert found.code == 0, found.err
    for line in ("Skipped 5: unreadable.", "Skipped 2: empty.", "Skipped 1: silent.", "clipped recordings"):
        assert line in found.err
    assert load_spotter(tmp_path / "run").class_names == ("high", "low", "middle")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("silent", "silent"),
        ("no_samples", "empty"),
        ("empty", "empty"),
        ("truncated", "unreadable"),
        ("text", "unread"),
    ],
)
def test_a_folder_of_nothing_but_bad_files_is_one_sentence(papers, trained, tmp_path, bad, reason):
    every_kind(tmp_path / "kinds")
    for word in ("low", "middle"):
        (tmp_path / "bad" / word).mkdir(parents=True)
        shutil.copy(tmp_path / "kinds" / "low" / f"{bad}.wav", tmp_path / "bad" / word)
    words = ("None of the recordings in", "2 " + reason)
    refused(papers("evaluate", "cenet", "--checkpoint", trained, "--data", "bad"), *words)
    refused(papers("train", "cenet", "--data", "bad"), *words)
    assert not (tmp_path / "runs").exists()


def test_folders_that_cannot_be_learnt_from_are_one_sentence(papers, tmp_path):
    write_words(tmp_path / "one", range(6), words=("low",))
    found = papers("train", "cenet", "--data", "one", *QUICK)
    assert found.code == 2
    assert "one has only the class 'low': at least two are needed" in found.err.splitlines()[-1]
    (tmp_path / "empty").mkdir()
    refused(papers("train", "cenet", "--data", "empty"), "empty", "holds no recordings")
    refused(papers("train", "cenet", "--data", "nowhere"), "nowhere", "speech_commands")
    (tmp_path / "file.wav").write_bytes(b"RIFF")
    refused(papers("train", "cenet", "--data", "file.wav"), "file.wav")
    for voice in range(6):
        write(tmp_path / "flat" / f"v{voice}_nohash_0.wav", tone(500, 0.3))
    refused(papers("train", "cenet", "--data", "flat", *QUICK), "flat", "class")
    # a class that only the test speaker says
    write_words(tmp_path / "lone", range(8), words=("low", "middle"))
    write(tmp_path / "lone" / "high" / "v00_nohash_0.wav", spoken("high", 0))
    found = papers("train", "cenet", "--data", "lone", *QUICK, "--test-speakers", "v00")
    assert found.code == 2
    assert "no clip of the class 'high' to train on" in found.err.splitlines()[-1]
    # a class without a clip is left out, and that is told
    (tmp_path / "lone" / "high" / "v00_nohash_0.wav").write_bytes(b"")
    found = papers("train", "cenet", "--data", "lone", *QUICK, "--max-steps", 1, "--out", "two")
    assert found.code == 0, found.err
    assert "no class of high: there is no recording that can be used" in found.err
    assert load_spotter(tmp_path / "two").class_names == ("low", "middle")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--words low horse", ("no class 'horse'", "high, low, middle")),
        ("--words low", ("only the class 'low'",)),
        ("--test-speakers v99", ("no speaker 'v99'", "v00")),
        ("--unknown", ("'unknown'",)),
        ("--preset huge", ("huge", "scaled")),
        ("--network rnn", ("rnn", "cenet-gcn-40", "bc-resnet-1")),
        ("--seconds 0.01", ("--seconds",)),
        ("--seconds 60", ("--seconds",)),
        ("--batch-size 1", ("--batch-size", "2 or more")),
        ("--batch-size 15 --accumulate 4", ("15", "4 equal parts")),
        ("--set recipe.steps", ("recipe.steps", "=")),
        ("--set recipe.step=3", ("recipe.step", "choose one of")),
        ("--set features.hop_seconds=0.2", ("features.hop_seconds", "frames")),
        ("--seconds 0.2 --set features.hop_seconds=0.05", ("5 frames", "8")),
        ("--network tc-resnet8 --set features.bands=80", ("network.bands",)),
        ("--network bc-resnet-1 --set features.bands=30 network.bands=30", ("multiple of 40",)),
        ("--set augment.snr=[20,5]", ("snr", "not from 20 to 5")),
        ("--max-steps 0", ("--max-steps",)),
        ("--devices 4096 --accelerator cpu", ("4096", "cores")),
        ("--threads many", ("--threads",)),
    ],
)
def test_bad_flags_are_one_sentence(papers, words, tmp_path, arguments, expected):
    found = papers("train", "cenet", "--data", words, *arguments.split())
    assert (found.code, found.out) == (2, ""), found.err
    last = found.err.strip().splitlines()[-1]  # what the folder holds is told first
    assert last.startswith("papers: ")
    assert found.err.count("papers: ") == 1
    assert all(word in last for word in expected), found.err
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train cenet --words go horse", ("'horse'", "embedded")),
        ("train cenet --all-speakers", ("embedded voices have their split",)),
        ("train cenet --data speech_commands", ("BOOK_DATA",)),
        ("evaluate cenet", ("--checkpoint",)),
        ("evaluate cenet --checkpoint nowhere", ("nowhere", "No checkpoint folder")),
        ("export cenet --checkpoint nowhere --out spotter.tflite", ("spotter.tflite", ".onnx")),
        ("export cenet --checkpoint nowhere", ("nowhere",)),
        ("sample cenet --checkpoint nowhere", ("nothing to sample",)),
        ("describe cenet --preset huge", ("huge", "scaled")),
    ],
)
def test_bad_commands_are_one_sentence(papers, tmp_path, arguments, expected):
    refused(papers(*arguments.split()), *expected)
    assert files(tmp_path) == {}


def test_what_does_not_fit_the_run_is_one_sentence(papers, trained, tmp_path):
    write_words(tmp_path / "strange", range(4), words=("low", "high"))
    (tmp_path / "strange" / "high").rename(tmp_path / "strange" / "horse")
    (tmp_path / "empty").mkdir()
    for data, expected in (
        ("strange", ("class 'horse'", "trained on")),
        ("empty", ("holds no recordings",)),
        ("nowhere", ("nowhere",)),
    ):
        refused(papers("evaluate", "cenet", "--checkpoint", trained, "--data", data), *expected)
    refused(papers("evaluate", "cenet", "--checkpoint", trained, "--snr", "loud"), "--snr", "number")
    refused(papers("export", "cenet", "--checkpoint", trained, "--out", "nowhere/x/../spotter.pt"), ".onnx")
    (tmp_path / "spotter.onnx").mkdir()
    refused(papers("export", "cenet", "--checkpoint", trained), "spotter.onnx is a folder")


def test_the_checkpoint_of_another_system_is_one_sentence(papers, toy_run, trained, words):
    refused(papers("evaluate", "cenet", "--checkpoint", toy_run), "checkpoint of 'cud', not of 'cenet'")
    refused(papers("evaluate", "cud", "--checkpoint", trained), "checkpoint of 'cenet', not of 'cud'")
    before = files(toy_run)
    assert papers("train", "cenet", "--data", words, *QUICK, "--out", toy_run, "--resume").code == 2
    assert files(toy_run) == before


def test_a_run_is_kept_resumed_and_never_overwritten(papers, words, tmp_path):
    train = ("train", "cenet", "--data", words, *QUICK)
    assert papers(*train, "--max-steps", 6, "--out", "whole").code == 0
    assert papers(*train, "--max-steps", 2, "--out", "parts").code == 0
    before = files(tmp_path / "parts")
    refused(papers(*train, "--out", "parts"), "parts already holds a run", "--resume")
    found = papers(*train, "recipe.learning_rate=0.5", "--out", "parts", "--resume")
    assert found.code == 2
    assert "resume it with the same settings" in found.err
    assert files(tmp_path / "parts") == before
    found = papers(*train, "--max-steps", 6, "--out", "parts", "--resume")
    assert found.code == 0
    assert "6 steps" in found.out
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert one.keys() == two.keys()
    assert all(one[name].equal(two[name]) for name in one)


def test_ctrl_c_keeps_the_run(papers, words, tmp_path, monkeypatch):
    stream_of = lib.cenet.train._stream
    train = ("train", "cenet", "--data", words, *QUICK, "--max-steps", 12, "--out", "run")

    def interrupted(*arguments):
        stream = stream_of(*arguments)
        batch = stream.batch

        def stop(step):
            if step == 10:
                signal.raise_signal(signal.SIGINT)
            return batch(step)

        stream.batch = stop
        return stream

    monkeypatch.setattr(lib.cenet.train, "_stream", interrupted)
    found = papers(*train)
    assert (found.code, found.out) == (130, "")
    assert "the checkpoint is kept in run, and --resume goes on from it" in found.err
    assert load_spotter(tmp_path / "run").class_names == ("high", "low", "middle")
    monkeypatch.setattr(lib.cenet.train, "_stream", stream_of)
    assert papers(*train, "--resume").code == 0

    def at_once(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(lib.cenet.train, "_stream", at_once)
    found = papers(*train[:-1], "other")
    assert (found.code, "stopped: nothing was written" in found.err) == (130, True)
    assert not (tmp_path / "other").exists()


def test_all_speakers_leave_no_test(papers, words, tmp_path):
    found = papers("train", "cenet", "--data", words, *QUICK, "--max-steps", 1, "--all-speakers", "--out", "all")
    assert found.code == 0, found.err
    assert "high 20, low 20, middle 20" in found.err
    refused(papers("evaluate", "cenet", "--checkpoint", "all"), "trained on all speakers")
    assert papers("evaluate", "cenet", "--checkpoint", "all", "--data", words, "--json").code == 0


def test_the_test_speakers_are_those_asked_for_wherever_one_stands(papers, words, tmp_path, monkeypatch):
    shutil.copytree(words, tmp_path / "words")
    train = ("train", "cenet", "--data", "words", *QUICK, "--max-steps", 1, "--out", "run")
    assert papers(*train, "--test-speakers", "v03", "v04", "v03", "--words", "low", "high", "low").code == 0
    task = load_spotter(tmp_path / "run").task
    assert (task["test_speakers"], task["words"]) == (["v03", "v04"], ["low", "high"])
    assert task["data"] == str(tmp_path / "words")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = papers("evaluate", "cenet", "--checkpoint", "../run", "--json")
    record = json.loads(found.out)
    assert (found.code, record["clips"], record["classes"]) == (0, 8, ["low", "high"])


def test_other_words_count_as_unknown_where_the_run_knows_that(papers, words, tmp_path):
    shutil.copytree(words, tmp_path / "commands")
    write(tmp_path / "commands" / "_background_noise_" / "hum.wav", 0.1 * torch.randn(20 * RATE))
    train = ("train", "cenet", "--data", "commands", *QUICK, "--max-steps", 1, "--out", "run")
    assert papers(*train, "--words", "low", "high", "--unknown").code == 0
    found = papers("evaluate", "cenet", "--checkpoint", "run", "--data", words, "--json")
    record = json.loads(found.out)
    assert record["classes"] == ["low", "high", "unknown"]
    assert [sum(row) for row in record["confusion"]] == [20, 20, 20]
    assert any("counted as 'unknown': middle" in note for note in record["notes"])
    write(tmp_path / "flat" / "one.wav", tone(400, 0.3))
    refused(papers("evaluate", "cenet", "--checkpoint", "run", "--data", "flat"), "flat", "class")


def test_accuracy_in_noise(papers, trained):
    found = papers("evaluate", "cenet", "--checkpoint", trained, "--snr", 30, "-20", "--json")
    record = json.loads(found.out)
    assert [row["snr"] for row in record["noise"]] == [30, -20]
    assert record["noise"][0]["accuracy"] > record["noise"][1]["accuracy"]
    assert "Noise -20 dB below the speech" in papers("evaluate", "cenet", "--checkpoint", trained, "--snr", "-20").out


def test_folders_split_already_and_tables_are_trained_on(papers, tmp_path):
    write_words(tmp_path / "split" / "train", range(4))
    write_words(tmp_path / "split" / "test", range(4, 6))
    assert papers("train", "cenet", "--data", "split", *QUICK, "--max-steps", 1, "--out", "a").code == 0
    assert json.loads(papers("evaluate", "cenet", "--checkpoint", "a", "--json").out)["clips"] == 12
    write_words(tmp_path / "table", range(6))
    lines = [
        f"{path.relative_to(tmp_path / 'table')},{path.parent.name},{path.stem[:3]}"
        for path in sorted((tmp_path / "table").rglob("*.wav"))
    ]
    (tmp_path / "table" / "metadata.csv").write_text("\n".join(["file_name,label,speaker", *lines]))
    assert papers("train", "cenet", "--data", "table", *QUICK, "--max-steps", 1, "--out", "b").code == 0
    assert json.loads(papers("evaluate", "cenet", "--checkpoint", "b", "--json").out)["clips"] == 6


def test_a_damaged_run_is_one_sentence(papers, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "cut")
    path = tmp_path / "cut" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    refused(papers("evaluate", "cenet", "--checkpoint", "cut"), "checkpoint.safetensors", "truncated")
    refused(papers("export", "cenet", "--checkpoint", "cut"), "checkpoint.safetensors", "truncated")
    shutil.copytree(trained, tmp_path / "odd")
    record = json.loads((tmp_path / "odd" / "config.json").read_text())
    record["config"]["task"]["words"] = 3
    (tmp_path / "odd" / "config.json").write_text(json.dumps(record))
    refused(papers("evaluate", "cenet", "--checkpoint", "odd"), "the task of this run", "words")


@real
@pytest.mark.parametrize(
    ("data", "flags", "classes"),
    [
        ("speech_commands", ("--words", "bed", "cat", "happy"), 3),
        ("speech_commands", ("--words", "bed", "cat", "happy", "--unknown"), 4),
        ("fsdd", (), 10),
        ("wake_words", (), 6),
    ],
)
def test_the_real_recordings_train(papers, monkeypatch, tmp_path, data, flags, classes):
    monkeypatch.setenv("BOOK_DATA", DATA)
    found = papers("train", "cenet", "--data", data, *flags, "--max-steps", 5, "--batch-size", 16, "--out", "run")
    assert found.code == 0, found.err
    assert "preset real" in found.err
    spotter = load_spotter(tmp_path / "run")
    assert len(spotter.class_names) == classes
    assert spotter.history.steps == 0  # a checkpoint has none
    record = json.loads(papers("evaluate", "cenet", "--checkpoint", "run", "--json").out)
    split = load_speech(data, "test", words=spotter.task["words"] or None, unknown=spotter.task["unknown"])
    assert record["clips"] == len(split)
    if data != "wake_words":
        learnt = {
            speaker
            for part in ("train", "valid")
            for speaker in load_speech(data, part, words=spotter.task["words"] or None).speakers
        }
        assert not learnt & set(split.speakers)


@real
def test_the_wake_words_train_as_a_folder(papers, tmp_path):
    shutil.copytree(Path(DATA) / "wake_words", tmp_path / "wake", ignore=shutil.ignore_patterns("*.csv", "SHA*"))
    found = papers(
        "train", "cenet", "--data", "wake", "--words", "alexa", "jarvis", "--max-steps", 2, "--batch-size", 16
    )
    assert found.code == 0, found.err
    assert "alexa 2" in found.err  # some twenty each
    found = papers("evaluate", "cenet", "--checkpoint", "runs/cenet-real-own-0", "--json")
    assert json.loads(found.out)["classes"] == ["alexa", "jarvis"]


def test_the_files_of_these_tests_are_what_they_say(tmp_path):
    low = every_kind(tmp_path) / "low"
    info = {name: soundfile.info(next(low.glob(f"{name}.*"))) for name in READ}
    assert info["stereo"].channels == 2
    assert (info["8000"].samplerate, info["44100"].samplerate) == (8000, 44100)
    assert (info["deep"].subtype, info["float"].subtype, info["compressed"].format) == ("PCM_24", "FLOAT", "FLAC")
    assert np.mean(np.abs(soundfile.read(low / "clipped.wav")[0]) > 0.999) > 0.05
