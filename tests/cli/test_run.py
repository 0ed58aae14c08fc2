"""Training, evaluating and sampling by commands."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import lib.cud.processor
from lib.cud.command_line import load
from lib.cud.evaluate import make_judge, quality
from lib.cud.train import load_data

SHORT = ("--max-steps", 3, "--batch-size", 16)


def test_the_run_lies_where_its_name_says(papers, tmp_path):
    found = papers("train", "cud", "--preset", "toy", "--method", "minibatch_ot", "--seed", 5, *SHORT)
    assert found.code == 0
    folder = tmp_path / "runs" / "cud-toy-minibatch_ot-5"
    assert "runs/cud-toy-minibatch_ot-5" in found.out
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.safetensors", "config.json"]
    config = json.loads((folder / "config.json").read_text())["config"]
    assert config["cud"]["coupling"]["kind"] == "minibatch_ot"
    assert (config["seed"], config["training"]["step"]) == (5, 3)
    assert config["cud"]["optimiser"]["batch_size"] == 16


def test_a_resumed_run_equals_an_unbroken_one(papers, tmp_path):
    toy = ("train", "cud", "--preset", "toy", "--batch-size", 32)
    assert papers(*toy, "--max-steps", 40, "--out", "whole").code == 0
    assert papers(*toy, "--max-steps", 15, "--out", "parts").code == 0
    assert papers(*toy, "--max-steps", 40, "--out", "parts", "--resume").code == 0
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(whole[name].equal(parts[name]) for name in whole)


def test_evaluate_prints_one_json_object(papers, toy_run):
    found = papers(
        "evaluate",
        "cud",
        "--checkpoint",
        toy_run,
        "--nfe",
        1,
        2,
        "--nfe",
        "4,8",
        "--samples",
        400,
        "--head",
        1,
        "--json",
    )
    record = json.loads(found.out)
    assert found.code == 0
    assert [row["nfe"] for row in record["results"]] == [1, 2, 4, 8]
    assert (record["system"], record["preset"], record["data"], record["head"]) == ("cud", "toy", "ring", 1)
    assert (record["samples"], record["solver"], record["metric"]) == (400, "euler", "sliced Wasserstein distance")
    # The figures are those that the library gives.
    judge = make_judge(load_data("ring"), load_data("ring", "test"))
    expected = quality(load(toy_run), judge, (1, 2, 4, 8), samples=400, head=1)
    assert {row["nfe"]: row["distance"] for row in record["results"]} == pytest.approx(expected)
    assert record["floor"] == pytest.approx(judge.floor)


def test_evaluate_prints_a_table_and_counts_what_the_adaptive_solver_spends(papers, toy_run):
    arguments = ("evaluate", "cud", "--checkpoint", toy_run, "--solver", "adaptive", "--samples", 50)
    record = json.loads(papers(*arguments, "--json", "--straightness").out)
    assert len(record["results"]) == 1
    assert record["results"][0]["nfe"] > 8
    assert record["straightness"] > 0
    text = papers(*arguments).out
    assert "NFE" in text
    assert "adaptive" in text


def test_samples_of_points_and_images_become_pictures(papers, toy_run, tmp_path):
    assert papers("sample", "cud", "--checkpoint", toy_run, "--n", 50, "--nfe", 3, "--out", "points.png").code == 0
    assert papers("train", "cud", "--preset", "scaled", *SHORT, "--out", "digits").code == 0
    assert papers("sample", "cud", "--checkpoint", "digits", "--n", 16, "--nfe", 2, "--out", "digits.png").code == 0
    again = ("sample", "cud", "--checkpoint", "digits", "--n", 16, "--nfe", 2, "--out")
    assert papers(*again, "same.png").code == papers(*again, "other.png", "--seed", 1).code == 0
    assert Image.open(tmp_path / "points.png").width > 200
    picture = Image.open(tmp_path / "digits.png")
    assert picture.width == picture.height > 600  # four by four digits of 8x8, enlarged
    assert (tmp_path / "digits.png").read_bytes() == (tmp_path / "same.png").read_bytes()
    assert (tmp_path / "digits.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]  # nothing left beside


@pytest.fixture
def photos(tmp_path):
    """An image folder: two classes of six colour pictures, 12x10."""
    chance = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            pixels = chance.integers(0, 256, (10, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_an_image_folder_is_trained_on_and_evaluated(papers, photos, tmp_path, monkeypatch):
    found = papers("train", "cud", "--preset", "scaled", "--data", "photos", *SHORT, "--out", "run")
    assert found.code == 0
    assert "3x8x8 instead of 1x8x8" in found.err
    assert "cropped to 8x8" in found.err
    assert load(tmp_path / "run").sample_shape == (3, 8, 8)
    monkeypatch.chdir(tmp_path.parent)  # the run remembers the folder wherever it is read
    found = papers("evaluate", "cud", "--checkpoint", tmp_path / "run", "--nfe", 1, "--samples", 20, "--json")
    record = json.loads(found.out)
    assert record["data"] == str(photos)
    assert record["metric"] == "Fréchet distance"
    assert record["results"][0]["distance"] > 0


def test_a_set_of_another_size_changes_the_network_and_its_encoder(papers, tmp_path):
    np.savez(tmp_path / "colour.npz", images=np.zeros((20, 12, 12, 3), np.uint8))
    found = papers(
        "train", "cud", "--method", "catch_up_learned", "--data", "colour.npz", "--max-steps", 1, "--batch-size", 2
    )
    assert found.code == 0, found.err
    assert "3x12x12 instead of 1x8x8" in found.err
    config = load(tmp_path / "runs" / "cud-scaled-catch_up_learned-0").config
    assert config.network.input_shape == config.coupling.encoder.input_shape == (3, 12, 12)
    assert config.coupling.encoder.output_size == 6


def test_the_second_session_and_reflow_start_from_a_run(papers, toy_run, tmp_path):
    before = (toy_run / "checkpoint.safetensors").read_bytes()
    small = ("--max-steps", 2, "--batch-size", 16, "--from", toy_run)
    assert papers("train", "cud", "--session", 2, *small, "--out", "second").code == 0
    assert papers("train", "cud", "--method", "reflow", *small).code == 0
    assert load(tmp_path / "second").session == 2
    assert load(tmp_path / "runs" / "cud-toy-reflow-0").config.catch_up is None
    assert (toy_run / "checkpoint.safetensors").read_bytes() == before
    found = papers("train", "cud", "--session", 2, "--from", tmp_path / "second", "--out", "third")
    assert found.code == 2
    assert "second session already" in found.err
    found = papers("train", "cud", "--session", 2, "--from", toy_run, "--preset", "scaled")
    assert (found.code, "preset 'toy'" in found.err) == (2, True)


def test_the_rounds_of_progressive_distillation_are_resumed(papers, toy_run, tmp_path):
    rounds = ("train", "cud", "--method", "progressive_distillation", "--from", toy_run, "--batch-size", 16)
    rounds = (*rounds, "--set", "optimiser.steps=8", "--out", "progressive")
    found = papers(*rounds, "--max-steps", 3)
    assert found.code == 0, found.err
    assert "3 steps" in found.out
    assert "evaluate cud --checkpoint progressive/4-steps" in found.out
    assert {path.name for path in (tmp_path / "progressive").iterdir()} == {"8-steps", "4-steps"}
    found = papers(*rounds)
    assert (found.code, "resume" in found.err) == (2, True)
    assert papers(*rounds, "--resume").code == 0
    assert {path.name for path in (tmp_path / "progressive").iterdir()} == {f"{n}-steps" for n in (1, 2, 4, 8)}
    assert papers("evaluate", "cud", "--checkpoint", "progressive/4-steps", "--nfe", 4, "--samples", 50).code == 0


def test_consistency_models_are_sampled_in_their_own_way(papers, toy_run, tmp_path):
    small = ("--max-steps", 2, "--batch-size", 16)
    start = ("--from", toy_run)
    assert (
        papers("train", "cud", "--method", "consistency_distillation", *small, *start, "--out", "distilled").code == 0
    )
    assert papers("train", "cud", "--preset", "toy", "--method", "consistency_training", *small, "--out", "c").code == 0
    for folder in ("distilled", "c"):
        found = papers("evaluate", "cud", "--checkpoint", folder, "--nfe", 1, 3, "--samples", 1500, "--json")
        assert [row["nfe"] for row in json.loads(found.out)["results"]] == [1, 3]
        found = papers("evaluate", "cud", "--checkpoint", folder, "--solver", "heun", "--nfe", 3)
        assert (found.code, "consistency" in found.err) == (2, True)


def test_single_settings_are_changed_by_name(papers, tmp_path):
    changes = ("catch_up.teacher=ema", "catch_up.step_size=rule", "catch_up.chained=true", "network.phi=0.75")
    changes = (*changes, "second_session.stages=[3,5]")
    assert papers("train", "cud", "--method", "rk23", "--set", *changes, *SHORT, "--out", "set").code == 0
    config = load(tmp_path / "set").config
    assert (config.catch_up.teacher, config.catch_up.step_size, config.catch_up.scheme) == ("ema", "rule", "rk23")
    assert config.catch_up.chained is True
    assert config.network.phi == 0.75
    assert config.second_session.stages == (3, 5)


def test_a_consistency_model_is_no_start_for_what_needs_a_flow(papers, tmp_path):
    small = ("--max-steps", 1, "--batch-size", 16)
    assert papers("train", "cud", "--preset", "toy", "--method", "consistency_training", *small, "--out", "c").code == 0
    found = papers("train", "cud", "--session", 2, "--from", "c", "--out", "second")
    assert (found.code, "consistency" in found.err) == (2, True)
    assert not (tmp_path / "second").exists()


def test_another_precision_goes_through_fabric(papers, tmp_path):
    assert papers("train", "cud", "--preset", "toy", *SHORT, "--precision", "bf16-mixed", "--out", "half").code == 0
    assert load(tmp_path / "half").config.precision == "bf16-mixed"


@pytest.fixture
def threads():
    """torch's number of threads, put back after the test."""
    before = torch.get_num_threads()
    yield torch.get_num_threads
    torch.set_num_threads(before)


def test_threads_suit_the_network_or_are_those_asked_for(papers, threads, monkeypatch):
    toy = ("train", "cud", "--preset", "toy", *SHORT)
    torch.set_num_threads(2)
    found = papers(*toy, "--out", "auto")
    assert (found.code, threads()) == (0, 1)
    assert [line for line in found.err.splitlines() if line.startswith("Threads: 1, a small network")]
    assert papers(*toy, "--out", "two", "--threads", 2).code == 0
    assert threads() == 2
    monkeypatch.setattr(lib.cud.processor, "fastest_threads", lambda work, repeats: 3)
    found = papers("train", "cud", "--preset", "scaled", "--set", "network.channels=64", *SHORT, "--out", "large")
    assert (found.code, threads()) == (0, 3), found.err
    assert "Threads: 3, measured" in found.err


def test_a_batch_goes_through_the_network_in_parts(papers, threads, tmp_path):
    def parts(name, *arguments):
        found = papers("train", "cud", *SHORT, "--threads", 1, "--out", name, *arguments)
        assert found.code == 0, found.err
        config = json.loads((tmp_path / name / "config.json").read_text())["config"]
        return config["accumulate"], "Each batch in" in found.err

    assert parts("toy", "--preset", "toy") == (1, False)
    assert parts("asked", "--preset", "toy", "--accumulate", 4) == (4, False)
    assert parts("large", "--preset", "scaled", "--set", "network.channels=64", "--batch-size", 64) == (2, True)
    found = papers("train", "cud", "--preset", "toy", *SHORT, "--batch-size", 30, "--accumulate", 4, "--out", "odd")
    assert (found.code, found.err.count("a batch of 30 does not fall into 4 equal parts")) == (2, 1)
    assert not (tmp_path / "odd").exists()


@pytest.mark.parametrize("number", ["0", "-2", "many", "1.5"])
def test_impossible_threads_are_refused(papers, tmp_path, number):
    found = papers("train", "cud", "--preset", "toy", "--threads", number)
    assert (found.code, "--threads" in found.err) == (2, True)
    assert not list(tmp_path.iterdir())
