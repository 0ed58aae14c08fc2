"""Bad input: one sentence on stderr, exit code 2, nothing written."""

import gzip
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.cli.conftest import files


def refused(outcome, *words: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("papers: ")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train nosuch", ("nosuch", "cud")),
        ("train faqs", ("not there yet",)),
        ("describe nosuch", ("nosuch", "cud")),
        ("reproduce nosuch", ("nosuch",)),
        ("demo nosuch", ("nosuch",)),
        ("demo --port 70000", ("70000",)),
        ("nonsense", ("nonsense",)),
        ("train", ("SYSTEM",)),
        ("train --preset toy cud", ("train SYSTEM",)),
        ("describe cud --preset huge", ("huge", "toy", "imagenet64")),
        ("train cud --preset huge", ("huge", "toy", "imagenet64")),
        ("train cud --method magic", ("magic", "rk12", "reflow", "consistency_training")),
        ("train cud --seed -1", ("--seed",)),
        ("train cud --max-steps 0", ("--max-steps",)),
        ("train cud --batch-size 0", ("--batch-size",)),
        ("train cud --devices 0", ("--devices",)),
        ("train cud --devices many", ("--devices", "many")),
        ("train cud --devices 4096 --accelerator cpu", ("4096", "cores")),
        ("train cud --accelerator abacus", ("abacus", "cuda")),
        ("train cud --precision 3", ("'3'", "bf16-mixed")),
        ("train cud --strategy hope --devices 2", ("hope", "ddp")),
        ("train cud --precision bf16-true", ("bf16-true", "bf16-mixed")),
        ("train cud --set catch_up.teacher", ("catch_up.teacher", "=")),
        ("train cud --set catch_up.tutor=ema", ("catch_up.tutor", "teacher")),
        ("train cud --set catch_up.teacher=nobody", ("catch_up.teacher", "online")),
        ("train cud --set network.phi=2", ("phi", "2")),
        ("train cud --method flow_matching --set catch_up.grid=4", ("catch_up.grid", "nothing lies below")),
        ("train cud --data nowhere", ("nowhere", "embedded")),
        ("train cud --data mnist", ("BOOK_DATA",)),
        ("train cud --preset toy --data embedded.npz", ("ring", "scaled")),
        ("train cud --preset scaled --data ring", ("ring", "toy")),
        ("train cud --preset imagenet64", ("--data FOLDER",)),
        ("train cud --preset imagenet64 --method consistency_training", ("consistency_training", "no classes")),
        ("train cud --session 2", ("--from",)),
        ("train cud --method reflow", ("--from",)),
        ("train cud --from nowhere", ("--from",)),
        ("train cud --session 2 --from nowhere", ("nowhere",)),
        ("train cud --unknown-flag 3", ("--unknown-flag",)),
        ("train cud --devices ²", ("--devices", "²")),
        ("train cud --threads 3000000000", ("--threads", "4096")),
        ("train cud --set catch_up.grid=1e26", ("catch_up.grid",)),
        ("train cud --preset toy --set coupling.kind=learned", ("needs an encoder",)),
        ("train cud --preset toy --set coupling.beta=Infinity", ("coupling.beta",)),
        ("train cud --data ~nosuchuser/x", ("~nosuchuser/x", "home")),
        (f"train cud --out {300 * 'x'}", ("name too long",)),
        ("evaluate cud", ("--checkpoint",)),
        ("evaluate cud --checkpoint nowhere", ("nowhere",)),
        ("sample cud --checkpoint nowhere", ("nowhere",)),
        ("data get nowhere", ("nowhere", "mnist")),
        ("data check mnist", ("BOOK_DATA",)),
        ("reproduce cud --seeds 0", ("--seeds",)),
    ],
)
def test_a_bad_command_line_is_one_sentence(papers, tmp_path, arguments, words):
    (tmp_path / "embedded.npz").write_bytes(b"")
    before = files(tmp_path)
    refused(papers(*arguments.split()), *words)
    assert files(tmp_path) == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--nfe 0", ("nfe", "0")),
        ("--nfe -1", ("nfe",)),
        ("--nfe two", ("--nfe",)),
        ("--nfe", ("--nfe",)),
        ("--solver magic", ("magic", "euler", "adaptive")),
        ("--solver heun --nfe 2", ("heun", "odd")),
        ("--solver rk4 --nfe 3", ("rk4",)),
        ("--head 0", ("--head", "1 to 2")),
        ("--head 3", ("--head", "1 to 2")),
        ("--accelerator abacus", ("abacus", "cuda")),
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "sample"])
def test_bad_sampling_is_one_sentence(papers, toy_run, tmp_path, verb, arguments, words):
    refused(papers(verb, "cud", "--checkpoint", toy_run, *arguments.split()), *words)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("evaluate cud --data embedded", ("(1, 8, 8)", "toy")),
        ("evaluate cud --inception", ("points",)),
        ("sample cud --out picture.jpg", (".png",)),
        ("sample cud --out nowhere/picture.png", ("nowhere",)),
    ],
)
def test_what_does_not_fit_the_run_is_one_sentence(papers, toy_run, tmp_path, arguments, words):
    refused(papers(*arguments.split(), "--checkpoint", toy_run), *words)
    assert files(tmp_path) == {}


def test_a_folder_that_holds_a_run_is_not_overwritten(papers, toy_run):
    before = files(toy_run)
    refused(papers("train", "cud", "--preset", "toy", "--out", toy_run), "--resume")
    assert files(toy_run) == before


def test_a_run_is_not_resumed_with_other_settings(papers, toy_run):
    before = files(toy_run)
    found = papers("train", "cud", "--preset", "toy", "--method", "rk12", "--out", toy_run, "--resume")
    assert found.code == 2
    assert "resume it with the same settings" in found.err
    assert files(toy_run) == before


def test_a_file_is_no_place_for_a_run(papers, tmp_path):
    (tmp_path / "note").write_text("mine")
    refused(papers("train", "cud", "--out", "note"), "note is a file")
    refused(papers("train", "cud", "--out", "note/deeper"), "note is a file")
    refused(papers("reproduce", "cud", "--out", "note"), "note is a file")
    assert files(tmp_path) == {"note": b"mine"}


def test_a_truncated_checkpoint_is_one_sentence(papers, toy_run, tmp_path):
    shutil.copytree(toy_run, tmp_path / "cut")
    path = tmp_path / "cut" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    for verb in ("evaluate", "sample"):
        refused(papers(verb, "cud", "--checkpoint", "cut"), "checkpoint.safetensors", "truncated")
    assert not (tmp_path / "samples.png").exists()


@pytest.mark.parametrize("verb", ["evaluate", "sample"])
def test_weights_that_are_no_numbers_are_one_sentence(papers, toy_run, tmp_path, verb):
    shutil.copytree(toy_run, tmp_path / "nan")
    path = tmp_path / "nan" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    next(value for name, value in tensors.items() if name.startswith("average."))[:] = float("nan")
    save_file(tensors, path, metadata)
    refused(papers(verb, "cud", "--checkpoint", "nan", "--nfe", 1), "nan", "NaN or infinity")


@pytest.mark.parametrize("session", ["two", None, 3])
def test_a_session_that_is_none_is_one_sentence(papers, toy_run, tmp_path, session):
    shutil.copytree(toy_run, tmp_path / "odd")
    record = json.loads((tmp_path / "odd" / "config.json").read_text())
    record["config"]["session"] = session
    (tmp_path / "odd" / "config.json").write_text(json.dumps(record))
    refused(papers("evaluate", "cud", "--checkpoint", "odd"), "config.json in odd", "session")


def test_a_second_session_of_another_network_is_refused(papers, toy_run, tmp_path):
    second = ("train", "cud", "--session", 2, "--from", toy_run, "--set")
    refused(papers(*second, "catch_up.scheme=rk34"), "heads", "catch_up.scheme")
    refused(papers(*second, "second_session=null"), "no second session")
    assert files(tmp_path) == {}


def test_places_that_cannot_be_written_are_refused_at_once(papers, toy_run, tmp_path):
    (tmp_path / "loose").symlink_to("nowhere")
    (tmp_path / "taken" / "config.json").mkdir(parents=True)
    (tmp_path / "results" / "cud-curves.json").mkdir(parents=True)
    (tmp_path / "p.png").mkdir()
    refused(papers("train", "cud", "--preset", "toy", "--out", "loose"), "loose", "link")
    refused(papers("train", "cud", "--preset", "toy", "--out", "taken"), "config.json is a folder")
    refused(papers("reproduce", "cud", "--out", "results"), "cud-curves.json is a folder")
    refused(papers("sample", "cud", "--checkpoint", toy_run, "--out", "p.png"), "p.png is a folder")
    refused(papers("train", "cud", "--preset", "toy", "--out", "/proc/nowhere"), "/proc cannot be written")
    assert files(tmp_path) == {}


GIANT = (
    b"\x93NUMPY\x01\x00\x76\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(118)
)


def _array(path):
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)


def _member(content):
    def make(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", content)

    return make


def _labelled(labels):
    return lambda path: np.savez(path, images=np.zeros((9, 8, 8), np.uint8), labels=labels)


@pytest.mark.parametrize(
    "make",
    [
        _array,
        _member(b""),
        _member(b"not an array"),
        _member(b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', 'fort"),
        _member(GIANT),
        _labelled(np.full(9, 2**40)),
        _labelled(np.full(9, 2**63 + 1, np.uint64)),
        _labelled(np.array(list("abcdefghi"))),
        lambda path: np.savez(path, images=np.zeros((5, 0, 0), np.float32)),
    ],
)  # fmt: skip
def test_a_damaged_archive_is_one_sentence(papers, tmp_path, make):
    make(tmp_path / "bad.npz")
    refused(papers("train", "cud", "--preset", "scaled", "--data", "bad.npz"), "bad.npz")
    assert not (tmp_path / "runs").exists()


def test_too_much_at_once_is_one_sentence(papers, toy_run):
    refused(papers("sample", "cud", "--checkpoint", toy_run, "--n", 10**15), "not enough memory")


def test_a_foreign_checkpoint_is_one_sentence(papers, tmp_path):
    (tmp_path / "foreign").mkdir()
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign" / "checkpoint.safetensors")
    (tmp_path / "foreign" / "config.json").write_text(json.dumps({"kind": "other"}))
    refused(papers("evaluate", "cud", "--checkpoint", "foreign"), "not a checkpoint of this book")


def test_a_truncated_data_file_is_one_sentence(papers, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    header = np.array([2051, 4, 28, 28], ">u4").tobytes()
    whole = gzip.compress(header + bytes(4 * 28 * 28), mtime=0)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(whole[:-9])
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(np.array([2049, 4], ">u4").tobytes() + bytes(4)))
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "data"))
    refused(papers("train", "cud", "--preset", "mnist", "--data", "mnist"), "train-images-idx3-ubyte.gz", "truncated")
    assert not (tmp_path / "runs").exists()


def test_nan_in_the_data_is_one_sentence(papers, tmp_path):
    images = np.zeros((20, 8, 8), np.float32)
    images[7, 3, 3] = np.nan
    np.savez(tmp_path / "broken.npz", images=images)
    refused(papers("train", "cud", "--preset", "scaled", "--data", "broken.npz"), "broken.npz", "NaN", "number 7")
    assert not (tmp_path / "runs").exists()


def test_images_that_no_network_takes_are_one_sentence(papers, tmp_path):
    np.savez(tmp_path / "odd.npz", images=np.zeros((20, 9, 9), np.uint8))
    np.savez(tmp_path / "wide.npz", images=np.zeros((20, 8, 16), np.uint8))
    refused(papers("train", "cud", "--data", "odd.npz"), "9x9", "folder")
    refused(papers("train", "cud", "--data", "wide.npz"), "8x16", "squares")


def test_an_image_folder_without_images_is_one_sentence(papers, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(papers("train", "cud", "--data", "empty"), "empty", "no images")
