"""Right, wrong and nasty answers to the exercises of a chapter: what the tests of every chapter do with them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lib.exercises.checks import CheckResult
from tests.exercises.cells import solution_source

NASTY = (
    ..., None, -1, 1e300, math.nan, True, "text", b"bytes", [], {}, set(), [[1]], object(), 1j, int, len,
    np.zeros(7), torch.zeros(0), torch.zeros(6, 2), torch.zeros(6, 2).long(), torch.zeros(6, 2, device="meta"),
    torch.full((6, 2), math.inf), (x for x in "ab"), {"a": 1}, {1}, lambda: 1, lambda *given: given[0],
    lambda *given: given, lambda *given: torch.zeros(6, 2), lambda *given: "text", lambda *given: [None],
    lambda *given: torch.zeros(()), lambda *given: (lambda *inner: inner), lambda *given: 1 / 0,
    lambda *given: math.nan, lambda *given: torch.zeros(4, 6, 8, device="meta"),
)  # fmt: skip
"""Answers that no exercise takes for right."""


def solutions(system: str) -> dict[str, Any]:
    """The names that the chapter's solutions define; what would train, the open project's report, is not run."""
    space: dict[str, Any] = {}
    exec(solution_source(system).replace("report = run_project()", ""), space)
    return space


def refuse(result: CheckResult, words: str) -> None:
    """The answer must fail with a hint that holds these words."""
    assert isinstance(result, CheckResult)
    assert not result.passed
    assert words in result.hint, result.hint


def nothing_makes_it_stumble(
    check: Callable[..., CheckResult], answers: Sequence[Any], more: Sequence[Any] = ()
) -> None:
    """Right answers pass, with the same words each time; with a nasty one in any place comes a hint, no exception."""
    assert check(*answers).passed
    assert check(*answers) == check(*answers)
    for place in range(len(answers)):
        for nasty in (*NASTY, *more):
            result = check(*answers[:place], nasty, *answers[place + 1 :])
            refuse(result, "")
            assert result.hint
            assert result._repr_html_()
    refuse(check(), "This check takes")
