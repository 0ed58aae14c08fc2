"""Bars that keep quiet when told to, and one curve that is redrawn in place."""

import base64
import re

import numpy as np
import pytest

from lib.training import progress
from lib.training.progress import LossCurve, progress_bar

VALUES = {"loss": np.linspace(1.0, 0.1, 60), "catch-up": np.linspace(2.0, 0.5, 60)}


@pytest.mark.parametrize("name", ["TQDM_DISABLE", "BOOK_BUILD"])
def test_bars_are_silent_when_the_environment_says_so(monkeypatch, capsys, name):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.delenv("BOOK_BUILD", raising=False)
    assert list(progress_bar(range(3), description="shown")) == [0, 1, 2]
    assert "shown" in capsys.readouterr().err
    monkeypatch.setenv(name, "1")
    assert list(progress_bar(range(3), description="hidden")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_outside_a_notebook_the_curve_does_nothing(capsys):
    curve = LossCurve()
    curve.update(VALUES, final=True)
    assert curve._handle is None
    assert capsys.readouterr().out == ""


class FakeHandle:
    def __init__(self):
        self.updates = 0

    def update(self, picture):
        self.updates += 1


@pytest.fixture
def notebook(monkeypatch):
    """A notebook that counts how often a figure is shown for the first time, and its handles."""
    handles = []

    def display(picture, display_id):
        assert display_id
        handles.append(FakeHandle())
        return handles[-1]

    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.delenv("BOOK_BUILD", raising=False)
    return handles


def test_in_a_notebook_there_is_one_figure_however_often_it_is_drawn(notebook):
    curve = LossCurve(seconds=0.0)
    for _ in range(3):
        curve.update(VALUES)
    curve.update(VALUES, final=True)
    assert len(notebook) == 1
    assert notebook[0].updates == 3


def test_drawing_is_not_more_frequent_than_asked(notebook):
    curve = LossCurve(seconds=1000.0)
    for _ in range(5):
        curve.update(VALUES)
    assert notebook[0].updates == 0
    curve.update(VALUES, final=True)
    assert notebook[0].updates == 1


def test_while_the_book_is_built_only_the_last_curve_is_drawn(notebook, monkeypatch):
    monkeypatch.setenv("BOOK_BUILD", "1")
    curve = LossCurve(seconds=0.0)
    curve.update(VALUES)
    assert notebook == []
    curve.update(VALUES, final=True)
    assert len(notebook) == 1


def test_the_picture_says_in_a_sentence_what_it_shows():
    html = LossCurve("flow matching", smooth=1).html(VALUES)
    alt = re.search(r'alt="([^"]+)"', html).group(1)
    assert alt == (
        "Training curve of flow matching: loss goes from 1 to 0.1 in 60 steps, catch-up goes from 2 to 0.5 in 60 steps."
    )
    data = re.search(r"base64,([^\"]+)", html).group(1)
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_a_curve_of_few_or_negative_values_is_drawn_too():
    assert "in 1 steps" in LossCurve().html({"loss": np.array([-0.5])})
