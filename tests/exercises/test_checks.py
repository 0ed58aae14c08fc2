"""The verdict, and that no answer whatever makes a check stumble."""

import math
import signal
from functools import partial

import numpy as np
import pytest
import torch

from lib.exercises import checks
from lib.exercises.checks import EMPTY, CheckResult, NotYet, as_number, as_tensor, call, checked


@checked("Twice")
def twice(double):
    if as_number(call(double, 3), "double(3)") != 6:
        raise NotYet("Not twice.")
    return "Twice indeed."


def test_the_verdict_is_in_words():
    assert repr(twice(lambda x: 2 * x)) == "Passed - Twice\nTwice indeed."
    assert repr(twice(lambda x: x)) == "Not yet - Twice\nNot twice."


def test_the_page_shows_words_code_and_the_page_s_own_colour():
    page = CheckResult(False, "a < b", "use `x - h` & not <x>")._repr_html_()
    assert "<strong>Not yet</strong>" in page
    assert "a &lt; b" in page
    assert "<code>x - h</code> &amp; not &lt;x&gt;" in page
    assert "currentColor" in page
    assert "#" not in page
    assert "<strong>Passed</strong>" in CheckResult(True, "", "")._repr_html_()


@pytest.mark.parametrize("nothing", [..., None, lambda x: ..., lambda x: None, lambda x: ... + x, lambda x: x @ ...])
def test_the_dots_are_told_from_a_wrong_answer(nothing):
    assert twice(nothing).hint == EMPTY


def test_an_exception_is_named_with_its_line(tmp_path):
    file = tmp_path / "cell.py"
    file.write_text("def double(x):\n    y = x * 2\n    return y[0]\n")
    space = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    hint = twice(space["double"]).hint
    assert "line 3" in hint
    assert "`return y[0]`" in hint
    assert "TypeError: 'int' object is not subscriptable" in hint


def test_the_line_is_the_reader_s_even_if_torch_stumbles():
    def double(x):
        return torch.ones(2) @ torch.ones(3)

    assert "`return torch.ones(2) @ torch.ones(3)`" in twice(double).hint


def test_a_wrong_signature_is_said():
    assert "cannot be called as the task says" in twice(lambda: 6).hint
    assert "positional argument" in twice(lambda: 6).hint


def test_a_value_in_the_place_of_the_function():
    assert "without brackets" in twice(6).hint
    assert "`double`" in twice().hint
    assert "`double`" in twice(1, 2).hint
    assert "`double`" in twice(dubble=1).hint


class Prickly:
    """Refuses everything that Python asks of an object."""

    def __getattribute__(self, name):
        raise ValueError("do not touch")

    def __repr__(self):
        raise ValueError("no words")

    __eq__ = __float__ = __len__ = __bool__ = __iter__ = __repr__
    __hash__ = None


def quits(x):
    raise SystemExit


def mute(x):
    class Mute(Exception):
        def __str__(self):
            raise ValueError("not even this")

    raise Mute


def deep(x):
    return deep(x)


@pytest.mark.parametrize(
    "answer",
    [lambda x: Prickly(), quits, mute, deep, print, partial(lambda x: x), type, "6", b"6", [6], {}, 6j, 10**400, True,
     math.nan, float("-inf"), np.arange(3), np.float64(6), torch.ones(2), torch.tensor(6, device="meta"), object()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_nothing_makes_it_stumble(answer):
    for verdict in (twice(answer), twice(lambda x: answer)):
        assert isinstance(verdict, CheckResult)
        assert verdict.hint
        assert repr(verdict)
        assert verdict._repr_html_()
        assert verdict.passed == (verdict.hint == "Twice indeed.")


def test_not_even_an_object_that_refuses_everything():
    assert "could not be read" in twice(Prickly()).hint


def endless(x):
    while True:
        pass


def stubborn(x):
    while True:
        try:
            math.factorial(200)
        except:  # noqa: E722
            x += 1
            if x > 4:
                raise


@pytest.mark.parametrize("loop", [endless, stubborn])
def test_a_loop_without_end_is_cut_off(loop, monkeypatch):
    monkeypatch.setattr(checks, "TIME_LIMIT", 0.1)
    assert "does not end" in twice(loop).hint
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_somebody_else_s_alarm_is_kept():
    before = signal.signal(signal.SIGPROF, lambda number, frame: None)
    try:
        signal.setitimer(signal.ITIMER_PROF, 100)
        assert twice(lambda x: 2 * x).passed
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 1
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def test_the_reader_s_own_interrupt_is_not_swallowed():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        twice(interrupted)


def test_the_reader_s_function_sees_the_same_chance_each_time_and_leaves_none_behind():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    assert torch.equal(call(lambda: torch.rand(3)), call(lambda: torch.rand(3)))
    assert torch.equal(torch.rand(2), expected)


def test_changing_the_input_in_place_is_a_hint_and_does_no_harm():
    given = torch.ones(2)
    with pytest.raises(NotYet, match="in place"):
        call(lambda x: x.mul_(2), given)
    assert torch.equal(given, torch.ones(2))


@pytest.mark.parametrize(
    ("value", "hint"),
    [([1.0, 2.0], "a list"), (torch.ones(3), r"shape \(3,\)"), (torch.ones(2, dtype=torch.int64), "floating"),
     (torch.tensor([1.0, math.nan]), "not a number"), (3.0, "a float"), (None, "dots")],
)  # fmt: skip
def test_tensors_are_read_strictly(value, hint):
    with pytest.raises(NotYet, match=hint):
        as_tensor(value, torch.Size([2]))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("1", "quotes"),
        (True, "a bool"),
        ([1], "a list"),
        (torch.ones(2), "shape"),
        (math.inf, "finite"),
        (1j, "complex"),
    ],
)
def test_numbers_are_read_strictly(value, hint):
    with pytest.raises(NotYet, match=hint):
        as_number(value, "n")


@pytest.mark.parametrize("value", [6, 6.0, np.float32(6), torch.tensor(6), torch.tensor([6.0], requires_grad=True)])
def test_numbers_of_every_make_are_read(value):
    assert as_number(value, "n") == 6
