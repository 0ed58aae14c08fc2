"""Several jobs at a time: every result comes, faults are raised, and one process stays in this one."""

import os

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
