"""What every check shares: the verdict, and the ways to take an answer without stumbling over it."""

import functools
import html
import inspect
import linecache
import math
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lib.training.seeding import isolated_seed

EMPTY = "Nothing returned yet: replace the dots with your own answer."
TIME_LIMIT = 1.5
"""Seconds of computing that one check may take. A loop that does not end is cut off, with a hint."""


@dataclass(frozen=True, repr=False)
class CheckResult:
    """The verdict on an answer.

    Attributes:
        passed: the verdict.
        title: the exercise's name.
        hint: the next useful hint; for a passed exercise, what the answer shows.
    """

    passed: bool
    title: str
    hint: str

    @property
    def verdict(self) -> str:
        """``Passed`` or ``Not yet``."""
        return "Passed" if self.passed else "Not yet"

    def __repr__(self) -> str:
        return f"{self.verdict} - {self.title}\n{self.hint}"

    def _repr_html_(self) -> str:
        hint = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(self.hint))
        # currentColor takes the page's own text colour: readable on light and on dark
        style = (
            "border:1px solid currentColor;border-left-width:.45em;border-radius:.4em;padding:.5em .9em;max-width:44em"
        )
        if not self.passed:
            style += ";border-style:dashed dashed dashed solid"
        return (
            f'<div role="status" style="{style}">'
            f"<strong>{self.verdict}</strong> · {html.escape(self.title)}<br>{hint}</div>"
        )


class NotYet(Exception):
    """Raised inside a check: the answer is not right yet, and this is the hint."""


class _OutOfTime(BaseException):
    """Not an Exception, so that an ``except Exception`` in the reader's loop does not catch it."""


def checked(title: str) -> Callable[[Callable[..., str]], Callable[..., CheckResult]]:
    """Turn a function into a check.

    The function returns the closing remark of a right answer and raises ``NotYet(hint)`` for any other. Whatever else
    it raises, an answer that cannot be read at all included, becomes a hint too.
    """

    def decorate(function: Callable[..., str]) -> Callable[..., CheckResult]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def check(*answers, **named_answers) -> CheckResult:
            try:
                bound = signature.bind(*answers, **named_answers)
            except TypeError:
                wanted = ", ".join(f"`{name}`" for name in signature.parameters)
                return CheckResult(False, title, f"This check takes {len(signature.parameters)} answers: {wanted}.")
            try:
                with _time_limit(TIME_LIMIT):
                    return CheckResult(True, title, function(*bound.args))
            except NotYet as hint:
                return CheckResult(False, title, str(hint))
            except _OutOfTime:
                return CheckResult(
                    False,
                    title,
                    f"No answer after {TIME_LIMIT} seconds of computing: is there a loop that does not end?",
                )
            except (Exception, SystemExit) as error:
                return CheckResult(False, title, f"Your answer could not be read: {_words(error)}.")

        return check

    return decorate


def call(function: Callable, *arguments: Any) -> Any:
    """What the reader's function returns. Every failure is a hint: ``NotYet``.

    Tensors among the arguments are copied, and a function that changes them in place is told so.
    """
    answered(function)
    if not callable(function):
        raise NotYet(
            f"The check wants the function itself, and got {_kind(function)}: give its name, without brackets."
        )
    given = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        with isolated_seed(0):
            value = function(*given)
    except NotYet:
        raise
    except (Exception, SystemExit) as error:
        raise NotYet(_failure(error, function)) from None
    answered(value)
    for before, after in zip(arguments, given, strict=True):
        if isinstance(before, Tensor) and not torch.equal(before, after):
            raise NotYet(
                "Your function changes its input in place, as `x -= ...` does: the caller still needs it. Make a new "
                "tensor, `x = x - ...`."
            )
    return value


def answered(*values: Any) -> None:
    """Refuse the dots of the stub, and None."""
    if any(value is ... or value is None for value in values):
        raise NotYet(EMPTY)


def as_number(value: Any, name: str) -> float:
    """A finite number, or a hint that names which answer it is not."""
    answered(value)
    if isinstance(value, str):
        raise NotYet(f"`{name}` is text: write a number, without quotes.")
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise NotYet(f"`{name}` should be one number, and it is {_kind(value)}.")
    try:
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise NotYet(f"`{name}` should be one number, and it is {_kind(value)}.") from None
    if not math.isfinite(number):
        raise NotYet(f"`{name}` is {number}: a finite number is wanted.")
    return number


def as_tensor(value: Any, shape: torch.Size, name: str = "the result") -> Tensor:
    """A finite float tensor of the wanted shape, in double precision and without gradient; or a hint."""
    answered(value)
    if not isinstance(value, Tensor):
        raise NotYet(f"{name} should be a tensor of shape {tuple(shape)}, and it is {_kind(value)}.")
    if value.shape != shape:
        raise NotYet(
            f"{name} has shape {tuple(value.shape)} where {tuple(shape)} is wanted. One number a sample, of shape "
            "(batch,), meets points of shape (batch, 2) only after `[:, None]`."
        )
    if not value.is_floating_point():
        raise NotYet(f"{name} is of type {value.dtype}: floating-point numbers are wanted.")
    value = value.detach().double()
    if not value.isfinite().all():
        raise NotYet(f"{name} has numbers that are infinite or not a number: look for a division by zero.")
    return value


def close(a: Tensor, b: Tensor) -> bool:
    """Equal up to single-precision rounding."""
    return torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def compare(value: Tensor, right: Tensor, mistakes: Iterable[tuple[Tensor, str]], otherwise: str) -> None:
    """Accept the right values; name a known mistake by its values; else say where the first wrong sample is."""
    if close(value, right):
        return
    for wrong, hint in mistakes:
        if close(value, wrong) and not close(wrong, right):
            raise NotYet(hint)
    off = (value - right.double()).abs().flatten(1).amax(1)
    first = int((off > 1e-4).nonzero()[0]) if (off > 1e-4).any() else int(off.argmax())
    raise NotYet(f"{otherwise} (Sample {first} of {len(off)} is off by {off[first]:.2g}.)")


def _kind(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _words(error: BaseException) -> str:
    """The error's name and the first line of its message, at most 160 characters."""
    try:
        message = str(error).strip().splitlines()
    except Exception:
        message = []
    text = f"{type(error).__name__}: {message[0]}" if message else type(error).__name__
    return (text if len(text) <= 160 else text[:157] + "...").rstrip(".").replace("`", "'")


def _failure(error: BaseException, function: Callable) -> str:
    """Name the exception, and the line of the reader's own code that raised it."""
    words = _words(error)
    if "ellipsis" in words:
        return EMPTY
    frames = traceback.extract_tb(error.__traceback__)
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    # frame 0 is call() itself: with no frame after it, the call did not even begin
    mine = [frame for frame in frames[1:] if frame.filename == own] or list(frames[1:2])
    if not mine:
        return f"Your function cannot be called as the task says. {words}."
    line = (mine[-1].line or linecache.getline(mine[-1].filename, mine[-1].lineno or 0)).strip().replace("`", "'")
    return (
        f"Your function stops in line {mine[-1].lineno} of its cell" + (f", `{line}`. " if line else ". ") + f"{words}."
    )


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Cut the block off after some seconds of computing, where the system and the thread have an alarm for it.

    Computing time, not the clock's: a right answer must not fail because the machine is busy.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = True

    def ring(number, frame):
        if armed:
            raise _OutOfTime

    handler = signal.signal(signal.SIGPROF, ring)
    # rings again and again: a bare except in the reader's loop may swallow the first
    others = signal.setitimer(signal.ITIMER_PROF, seconds, 0.2)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        if others[0]:  # somebody else's alarm goes on
            signal.setitimer(signal.ITIMER_PROF, *others)
