"""What only a process of its own shows: exit codes, signals, a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

CALL = [sys.executable, "-c", "from lib.cli import main; main()"]
TOY = ["train", "cud", "--preset", "toy", "--batch-size", "32", "--max-steps", "300", "--checkpoint-every", "50"]


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*CALL, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )


def interrupted(folder: Path, number: int) -> tuple[int, str]:
    """Train, send a signal as soon as there is a checkpoint, and return exit code and stderr."""
    process = start(folder, *TOY, "--out", "broken")
    try:
        end = time.monotonic() + 120
        while not (folder / "broken" / "config.json").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "no checkpoint within two minutes"
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors


def steps_done(folder: Path) -> int:
    return json.loads((folder / "config.json").read_text())["config"]["training"]["step"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(folder, *TOY, "--out", "whole")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return load_file(folder / "whole" / "checkpoint.safetensors")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(tmp_path, unbroken, number):
    code, errors = interrupted(tmp_path, number)
    assert 0 < steps_done(tmp_path / "broken") < 300
    if number == signal.SIGINT:
        assert code == 130
        assert "the checkpoint is kept in broken" in errors
        assert "Traceback" not in errors
    else:
        assert code == -signal.SIGKILL
    process = start(tmp_path, *TOY, "--out", "broken", "--resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    resumed = load_file(tmp_path / "broken" / "checkpoint.safetensors")
    assert resumed.keys() == unbroken.keys()
    assert [name for name in unbroken if not resumed[name].equal(unbroken[name])] == []


def test_a_fault_of_ours_is_exit_code_1_with_a_traceback(tmp_path):
    code = "import lib.cli as cli, lib.cli.app as app; app.load_cards = lambda: 1 / 0; cli.main()"
    found = subprocess.run([sys.executable, "-c", code, "list"], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 1
    assert "ZeroDivisionError" in found.stderr


def test_ctrl_c_ends_a_study_and_its_workers(tmp_path):
    process = subprocess.Popen(
        [*CALL, "reproduce", "cud", "--seeds", "1", "--out", "results"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while os.cpu_count() > 1 and not workers_of(process.pid):  # one core works without helpers
            assert time.monotonic() < end, "no worker within two minutes"
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "results").exists()


def workers_of(parent: int) -> list[psutil.Process]:
    """The processes below ``parent`` that multiprocessing has spawned to work."""
    return [
        child for child in psutil.Process(parent).children() if any("spawn_main" in word for word in child.cmdline())
    ]


def test_an_error_of_the_user_is_exit_code_2(tmp_path):
    found = subprocess.run([*CALL, "describe", "nosuch"], cwd=tmp_path, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_fault(tmp_path):
    found = subprocess.run(
        f"{sys.executable} -c 'from lib.cli import main; main()' list | head -1",
        shell=True, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert len(found.stdout.splitlines()) == 1
    assert found.stderr == ""
