"""data, doctor, demo, reproduce."""

import dataclasses
import hashlib
import os
import urllib.request

import pytest

import lib.cud.command_line
import lib.demos.serve
from lib.cli import demo
from lib.commands import Reproduction
from lib.papers import load_results, measurement
from tests.cli.conftest import files


def test_data_lists_what_is_there_and_checks_it(papers, tmp_path, monkeypatch):
    assert "not set" in papers("data", "list").out
    folder = tmp_path / "sets" / "mnist"
    folder.mkdir(parents=True)
    (folder / "images").write_bytes(b"right")
    digest = hashlib.sha256(b"right").hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  images\n")
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "sets"))
    listed = papers("data", "list").out
    assert str(folder) in listed
    assert "papers data get cifar10" in listed
    found = papers("data", "check", "mnist")
    assert (found.code, found.out.split()[0]) == (0, "ok")
    (folder / "images").write_bytes(b"wrong")
    found = papers("data", "check", "mnist")
    assert found.code == 2
    assert found.out.split()[0] == "wrong"
    assert "1 of the 1 files" in found.err


def test_the_doctor_says_what_is_here_and_what_will_not_run(papers, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("BOOK_CHROMIUM", raising=False)
    found = papers("doctor")
    assert found.code == 0
    for word in ("Python", "torch", "cores", "threads", "memory", "browser", "BOOK_DATA", "What will not run here"):
        assert word in found.out
    assert "no Chromium was found" in found.out
    assert "BOOK_DATA is not set" in found.out


def test_reproduce_keeps_what_was_measured(papers, tmp_path, monkeypatch):
    def measured(seeds):
        values = [{"label": "catch-up", "seed": seed, "value": 0.5, "unit": "SW₂"} for seed in seeds]
        found = measurement(
            system="cud", claim="few-steps-2d", source="reproduce", verdict="held", summary="It holds.",
            values=values, preset="toy", data="2-D ring",
        )  # fmt: skip
        return Reproduction([found], {"curves.json": b"%d" % len(seeds)})

    monkeypatch.setattr(lib.cud.command_line, "reproduce", measured)
    found = papers("reproduce", "cud", "--seeds", 2, "--out", "found")
    assert found.code == 0, found.err
    assert "few-steps-2d: It holds." in found.out
    (kept,) = load_results("cud", tmp_path / "found")
    assert kept.seeds == (0, 1)
    before = files(tmp_path)
    assert before.keys() == {"found/cud.json", "found/curves.json"}

    found = papers("reproduce", "cud", "--seeds", 1, "--out", "found")
    assert found.code == 2
    assert "results of 2 seeds, which those of 1 would replace" in found.err
    assert "--out" in found.err
    assert files(tmp_path) == before
    assert papers("reproduce", "cud", "--seeds", 1, "--first-seed", 7, "--out", "elsewhere").code == 0
    assert load_results("cud", tmp_path / "elsewhere")[0].seeds == (7,)
    assert papers("reproduce", "cud", "--seeds", 3, "--out", "found").code == 0
    assert (tmp_path / "found" / "curves.json").read_bytes() == b"3"
    (tmp_path / "found" / "cud.json").write_text("{")  # damaged: there is nothing to lose
    assert papers("reproduce", "cud", "--seeds", 1, "--out", "found").code == 0


@pytest.mark.parametrize("system", ["cud", None])
def test_the_demo_trains_what_it_lacks_and_answers_on_this_machine_only(papers, monkeypatch, tmp_path, system):
    train, launch, opened = lib.cud.command_line.train, lib.demos.serve.launch, []
    monkeypatch.setattr(
        lib.cud.command_line, "train", lambda options: train(dataclasses.replace(options, max_steps=2, batch_size=8))
    )
    monkeypatch.setattr(demo, "CUD_RUNS", {"Points": ("toy", "flow_matching")})
    monkeypatch.setattr(demo, "DEMOS", {"cud": demo.cud_demo})  # the others have tests of their own

    def serve(blocks, port):
        address = launch(blocks, port, block=False)
        with urllib.request.urlopen(address) as page:
            opened.append((address, page.status))
        blocks.close()

    monkeypatch.setattr(lib.demos.serve, "launch", serve)
    found = papers("demo", *([system] if system else []))
    assert found.code == 0, found.err
    assert "training it once" in found.err
    ((address, status),) = opened
    assert address.startswith("http://127.0.0.1:")
    assert status == 200
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert (tmp_path / "runs" / "cud-toy-flow_matching-0" / "config.json").is_file()
