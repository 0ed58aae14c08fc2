"""The architecture search by commands: search, retrain, evaluate, export, go on, and every kind of bad input."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import files
from tests.cli.test_bad_input import refused

DATA = os.environ.get("BOOK_DATA")  # before `papers` takes it away
real = pytest.mark.skipif(not DATA, reason="BOOK_DATA names no folder of real images")

SPACE = 'space.stages=[{"channels":4,"stride":1,"layers":1},{"channels":6,"stride":2,"layers":2}]'
STEPS = ("search.recipe.steps=30", "retrain.steps=20", "search.threshold_rate=0.2")
QUICK = ("--threads", 1, "--batch-size", 32, "--set", "space.stem=4", SPACE, *STEPS)
"""A small space that is searched in a second."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run on the embedded digits."""
    from lib.cli.app import run

    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BOOK_DATA", raising=False)
        assert run([str(one) for one in ("train", "hqnas", "--budget", 0.3, "--out", folder, *QUICK)]) == 0
    return folder


def test_a_search_says_what_it_found_and_where(papers, tmp_path):
    found = papers("train", "hqnas", "--hardware", "size", "--budget", 0.4, *QUICK, "--seed", 2)
    assert found.code == 0, found.err
    assert "Run in runs/hqnas-scaled-size-0.4-2" in found.err
    assert "bytes on size (asked for" in found.out
    assert "30 steps of search, 20 of training" in found.out
    folder = tmp_path / "runs" / "hqnas-scaled-size-0.4-2"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors", "config.json", "policy.json", "search",
    ]  # fmt: skip


def test_everything_about_a_network_in_one_json_object(papers, trained):
    found = papers("evaluate", "hqnas", "--checkpoint", trained, "--hardware", "size", "bitfusion-small", "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert record["images"] == 9 * 497
    assert 0.1 < record["accuracy"] <= 1
    assert record["interval"][0] < record["accuracy"] < record["interval"][1]
    assert set(record["modelled"]) == {"compute-bound", "size", "bitfusion-small"}
    assert record["modelled"]["compute-bound"]["cost"] <= record["target"] * 1.000001
    assert record["modelled"]["size"]["cost"] == pytest.approx(record["bytes"], rel=1e-5)
    assert 2 <= record["bits"] <= 8
    assert 0 < record["measured"]["int8_us"] < 1e5
    assert 0 < record["measured"]["float32_us"] < 1e5
    assert len(record["policy"]) == 3
    spoken = papers("evaluate", "hqnas", "--checkpoint", trained)
    assert "modelled on compute-bound" in spoken.out
    assert "measured on this processor" in spoken.out


def test_a_saved_policy_makes_the_same_network_again(papers, trained, tmp_path):
    arguments = ("--policy", trained / "policy.json", "--out", tmp_path / "again", *QUICK)
    found = papers("train", "hqnas", *arguments)
    assert found.code == 0, found.err
    first, second = (json.loads((folder / "policy.json").read_text()) for folder in (trained, tmp_path / "again"))
    assert first == second
    assert not (tmp_path / "again" / "search").exists()


def test_a_run_goes_on_from_another_one_s_supernet(papers, trained, tmp_path):
    found = papers("train", "hqnas", "--start", trained, "--budget", 0.2, "--out", tmp_path / "on", *QUICK)
    assert found.code == 0, found.err
    assert "6 steps of search" in found.out


def test_stopped_early_and_resumed_it_is_the_same(papers, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = ("train", "hqnas", "--budget", 0.3, "--checkpoint-every", 5, *QUICK)
    assert papers(*arguments, "--out", one).code == 0
    assert papers(*arguments, "--out", two).code == 0
    assert (one / "policy.json").read_text() == (two / "policy.json").read_text()
    assert papers(*arguments, "--out", two, "--resume").code == 0  # nothing is left to do
    again = papers(*arguments, "--out", two)
    refused(again, "already holds a run")


def test_max_steps_holds_for_the_search_and_for_the_retraining(papers, tmp_path):
    found = papers("train", "hqnas", "--max-steps", 3, "--out", tmp_path / "short", *QUICK)
    assert found.code == 0, found.err
    assert "3 steps of search, 3 of training" in found.out


def test_a_network_is_exported_and_checked(papers, trained, tmp_path):
    out = tmp_path / "network.onnx"
    found = papers("export", "hqnas", "--checkpoint", trained, "--out", out)
    assert found.code == 0, found.err
    assert "they agree on" in found.out
    from lib.hqnas.export import load_onnx

    file = load_onnx(out)
    assert file(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 10)
    refused(papers("export", "hqnas", "--checkpoint", trained, "--out", tmp_path / "network.txt"), "must end in .onnx")


def test_describe_shows_every_preset_and_device(papers):
    found = papers("describe", "hqnas", "--json")
    presets = {row["preset"]: row for row in json.loads(found.out)["presets"]}
    assert set(presets) == {"scaled", "real", "cifar10", "imagenet"}
    assert presets["imagenet"]["blocks"] == 20
    assert set(presets["scaled"]["devices"]) >= {"bitfusion-small", "memory-bound", "size"}
    assert '"threshold_rate"' in papers("describe", "hqnas", "--preset", "scaled").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--budget", 0.001), "A budget of 0.001 of the full cost is impossible on compute-bound"),
        (("--budget", 1.5), "above 0 and up to 1, not 1.5"),
        (("--hardware", "toaster"), "toaster"),
        (("--hardware", "none.json"), "none.json"),
        (("--preset", "huge"), "choose one of scaled, real, cifar10, imagenet, or paper"),
        (("--policy", "none.json"), "none.json cannot be read"),
        (("--start", "nowhere"), "No checkpoint folder nowhere"),
        (("--data", "imagenet"), "name your folder of it"),
        (("--data", "nothing"), "No data called 'nothing'"),
        (("--batch-size", 1), "--batch-size is 2 or more"),
        (("--accumulate", 2), "leave --accumulate out"),
        (("--set", "search.objective.form=magic"), "search.objective.form"),
        (("--set", "search.goal=1"), "is no setting of preset 'scaled'"),
    ],
)
def test_bad_input_gets_one_sentence_and_writes_nothing(papers, tmp_path, arguments, says):
    before = files(tmp_path)
    refused(papers("train", "hqnas", *arguments), says)
    assert files(tmp_path) == before


def test_tables_with_holes_and_negative_costs_are_refused(papers, tmp_path):
    from lib.hqnas.config import scaled
    from lib.hqnas.hardware import hardware_named
    from lib.hqnas.hardware.tables import save_table
    from lib.hqnas.space import SearchSpace

    space = SearchSpace(scaled().space, (1, 8, 8), 10)
    path = tmp_path / "chip.json"
    save_table(path, space, hardware_named("size").cost_table(space))
    whole = json.loads(path.read_text())
    rows = next(key for key, value in whole.items() if isinstance(value, list) and value and "cost" in value[0])

    def written(change) -> str:
        record = json.loads(json.dumps(whole))
        change(record[rows])
        path.write_text(json.dumps(record))
        return path

    refused(papers("train", "hqnas", "--hardware", written(lambda r: r.pop(7))), "chip.json")
    refused(papers("train", "hqnas", "--hardware", written(lambda r: r[3].update(cost=-1.0))), "chip.json")
    refused(papers("train", "hqnas", "--hardware", written(lambda r: r[3].update(cost=None))), "chip.json")
    good = papers("train", "hqnas", "--hardware", written(lambda r: None), "--max-steps", 1, "--threads", 1)
    assert good.code == 0, good.err


def test_a_policy_of_another_space_is_refused(papers, trained, tmp_path):
    refused(papers("train", "hqnas", "--policy", trained / "policy.json"), "a policy of another space")


def test_data_of_another_shape_are_refused(papers, trained, tmp_path, monkeypatch):
    np.savez(tmp_path / "wide.npz", images=np.zeros((100, 1, 9, 9), np.uint8), labels=np.arange(100) % 10)
    refused(papers("evaluate", "hqnas", "--checkpoint", trained, "--data", tmp_path / "wide.npz"), "(1, 8, 8)")


@real
def test_the_paper_like_preset_runs_on_the_real_cifar_images(papers, tmp_path, monkeypatch):
    """Two steps of the search and two of the retraining of the whole CIFAR-10 preset, and its evaluation."""
    monkeypatch.setenv("BOOK_DATA", DATA)
    out = tmp_path / "cifar"
    arguments = ("--preset", "cifar10", "--data", "cifar10", "--hardware", "bitfusion-small", "--max-steps", 2)
    found = papers("train", "hqnas", *arguments, "--batch-size", 8, "--out", out)
    assert found.code == 0, found.err
    assert "2 steps of search, 2 of training" in found.out
    record = json.loads(papers("evaluate", "hqnas", "--checkpoint", out, "--json").out)
    assert record["images"] == 1000
    assert len(record["policy"]) == 20
    assert record["measured"]["int8_us"] > 0
