"""Several jobs at a time: every result comes, faults are raised, and one process stays in this one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.training.side_by_side import side_by_side


def squared(number: int, power: int = 2) -> tuple[int, int]:
    return number**power, os.getpid()


def refused(number: int) -> int:
    raise ValueError(f"job {number}")


def test_one_process_stays_here_and_keeps_the_order():
    told = []
    found = side_by_side(squared, [(3,), (4, 3)], 1, told.append)
    assert found == told == [(9, os.getpid()), (64, os.getpid())]


def test_several_processes_give_every_result_once():
    told = []
    found = side_by_side(squared, [(number,) for number in range(4)], 2, told.append)
    assert sorted(value for value, _ in found) == [0, 1, 4, 9]
    assert found == told
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_in_a_job_is_raised_here(processes):
    with pytest.raises(ValueError, match="job 7"):
        side_by_side(refused, [(7,)], processes)


INTERRUPTED = """
import os, signal
from lib.training.side_by_side import _held_interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with _held_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        print("started", end=" ")
except KeyboardInterrupt:
    print("interrupted", end=" ")
"""


def test_ctrl_c_while_processes_start_is_not_lost():
    # In a process of its own: pytest's helpers do not listen to interrupts.
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "interrupted"


def written_and_slept(folder: str) -> None:
    (Path(folder) / f"{os.getpid()}").touch()
    time.sleep(120)


STUDY = """
import sys
from lib.training.side_by_side import side_by_side
from tests.training.test_side_by_side import written_and_slept
if __name__ == "__main__":
    side_by_side(written_and_slept, [(sys.argv[1],)] * 2, 2)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="asks a process by signal 0 whether it lives")
def test_a_parent_that_is_killed_takes_its_processes_with_it(tmp_path):
    script, folder = tmp_path / "study.py", tmp_path / "began"
    script.write_text(STUDY)
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, script, folder], env={**os.environ, "PYTHONPATH": os.getcwd()})
    workers = wait_for(lambda: [int(one.name) for one in folder.iterdir()], lambda found: len(found) == 2)
    parent.kill()
    parent.wait()
    assert not wait_for(lambda: [one for one in workers if lives(one)], lambda alive: not alive)


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")  # where nobody collects an orphan it stays as a zombie
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(ask, enough, seconds: float = 60):
    """What is found, as soon as it is enough; what there is after so long."""
    until = time.monotonic() + seconds
    while not enough(found := ask()) and time.monotonic() < until:
        time.sleep(0.1)
    return found
