"""What a reader may answer beside code: numbers, letters, True or False, a control for each objection."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from lib.exercises.checks import NotYet, answered, as_number


def numbers(value: Any, count: int, name: str) -> list[float]:
    """So many finite numbers from a list, tuple, tensor or array."""
    answered(value)
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple) or len(value) != count:
        raise NotYet(f"`{name}` should be a list of {count} numbers.")
    return [as_number(one, f"{name}[{place}]") for place, one in enumerate(value)]


def letters(value: Any, name: str, known: str) -> set[str]:
    """A set of small letters, from a set, a list or a text."""
    answered(value)
    if isinstance(value, str):
        value = value.replace(",", " ").replace(" ", "")
    elif not isinstance(value, set | frozenset | list | tuple):
        raise NotYet(f'`{name}` should be a set of letters, such as {{"a", "d"}}.')
    chosen = {letter.strip().lower() if isinstance(letter, str) else "?" for letter in value}
    if not chosen or not chosen <= set(known):
        raise NotYet(f'`{name}` should name some of the letters {known[0]} to {known[-1]}, such as {{"a", "d"}}.')
    return chosen


def near(values: Iterable[float], others: Iterable[float], tolerance: float = 0.006) -> bool:
    """Equal up to rounding to two digits behind the point."""
    return all(abs(a - b) <= tolerance for a, b in zip(values, others, strict=True))


def truth(value: Any, name: str, words: str = "one answer") -> bool:
    """True or False, also as a tensor or array of one element. ``words``: what is asked for."""
    answered(value)
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    if not isinstance(value, bool):
        raise NotYet(f"`{name}` should return True or False, not {type(value).__name__}: {words}.")
    return value


def numbered_controls(controls: Any, objections: str) -> dict[str, float]:
    """A dictionary from each of these letters to the number of a control."""
    form = "`controls` should be a dictionary: letter of the objection -> number of the control."
    answered(controls)
    if not isinstance(controls, Mapping):
        raise NotYet(form)
    given = {}
    for letter, control in controls.items():
        answered(control)
        if not isinstance(letter, str) or isinstance(control, Mapping | list | set | tuple):
            raise NotYet(form)
        given[letter.strip().lower()] = as_number(control, f"controls[{letter!r}]")
    if set(given) != set(objections):
        raise NotYet("`controls` should have one entry for each objection that holds, and no other.")
    return given
