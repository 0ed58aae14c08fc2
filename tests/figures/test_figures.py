"""The still figures draw what they are given, leave no trace behind, and refuse what they cannot draw."""

import io
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from lib import figures
from lib.errors import UserError
from lib.figures.curves import moving_average
from lib.figures.grids import sheet
from lib.figures.palette import MARKS, mark_number


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def records():
    return [
        {"dataset": d, "method": m, "nfe": [1, 4, 16], "value": [f, f / 2, f / 4], "low": [f / 2, f / 4, f / 8],
         "high": [2 * f, f, f / 2]}
        for d in ("ring", "digits") for m, f in (("alpha", 1.0), ("beta", 3.0))
    ]  # fmt: skip


def every_figure(random, records):
    points, images = random.standard_normal((40, 2)), random.standard_normal((10, 1, 8, 8))
    yield figures.plot_losses({"a": random.random(100), "b": random.random(300)})
    yield figures.plot_losses({"only": [1.0]}, log=False)
    yield figures.plot_quality(records, floors={"ring": 0.1})
    yield figures.plot_order([0, 1], [2, 1], ["a", "b"], xlabel="lag", ylabel="straightness")
    yield figures.plot_clouds({"one": points}, data=points)
    yield figures.plot_clouds({str(i): points for i in range(7)}, columns=3)
    yield figures.plot_paths({"a": random.standard_normal((5, 40, 2))}, data=points)
    yield figures.plot_field({"t = 1": (points, points)}, data=points)
    yield figures.image_grid(images, columns=4, title="Digits")
    yield figures.image_grid(random.standard_normal((1, 3, 4, 4)))
    yield figures.image_rows({"a": images, "b": torch.tensor(images)}, columns=5, captions=list("12345"))


def test_each_is_a_small_picture_with_a_sentence_and_leaves_no_trace(random, records):
    before, state = dict(mpl.rcParams), np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is what we watch)
    for figure in every_figure(random, records):
        assert isinstance(figure, Figure)
        assert figure.alt[0].isupper()
        assert figure.alt.endswith(".")
        png = figures.png_bytes(figure)
        assert len(png) < 60_000
        colours = Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20)
        assert len(colours) > 2  # something is drawn
        assert max(colours)[1] == (255, 255, 255) or figure.axes[0].images  # opaque white ground
    assert dict(mpl.rcParams) == before
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_a_notebook_shows_one_picture_with_its_sentence(random, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    figure = figures.plot_clouds({"<first>": random.standard_normal((5, 2))})
    figure._ipython_display_()
    [(data, raw)] = shown
    assert raw
    wide, narrow = (int(re.search(name + r'[=:]"?(\d+)', data["text/html"])[1]) for name in ("width", "min-width"))
    assert 0.5 * wide < narrow < 0.65 * wide  # a phone scrolls it before its lettering is too small
    assert 'alt="Clouds of points in the plane, one panel each: &lt;first&gt;."' in data["text/html"]
    assert data["text/html"].count("data:image/png;base64,") == 1


def test_quality_lines_hold_the_values(records):
    figure = figures.plot_quality(records, floors={"ring": 0.1})
    ring = figure.axes[0]
    lines = {line.get_label(): line for line in ring.get_lines()}
    assert lines["beta"].get_ydata().tolist() == [3.0, 1.5, 0.75]
    assert lines["beta"].get_xdata().tolist() == [1, 4, 16]
    assert any(line.get_ydata()[0] == 0.1 for line in ring.get_lines())
    assert ring.get_xscale() == ring.get_yscale() == "log"
    assert len(ring.collections) == 2  # one band of seeds a method
    assert len({line.get_marker() for line in lines.values() if line.get_label() in ("alpha", "beta")}) == 2


def test_velocity_arrows_point_where_samples_move(random):
    positions, velocities = random.standard_normal((6, 2)), random.standard_normal((6, 2))
    [axis] = figures.plot_field({"t": (positions, velocities)}).axes
    quiver = axis.collections[0]
    assert np.column_stack([quiver.U, quiver.V]) == pytest.approx(-velocities)


def test_moving_average_is_the_plain_one():
    values = np.arange(10.0) ** 2
    expected = [values[max(0, i - 3) : i + 1].mean() for i in range(10)]
    assert moving_average(values, 4) == pytest.approx(expected)


def test_sheet_places_each_image():
    images = np.stack([np.full((1, 2, 3), v) for v in (-1.0, 0.0, 5.0)])
    picture = sheet(images, columns=2)
    assert picture.shape == (5, 7, 1)
    assert picture[0, 0] == 0
    assert picture[1, 4] == 0.5
    assert picture[3, 0] == 1  # clipped
    assert picture[2, 0] == 1  # the gap


def test_marks_differ_in_shape_and_colour_and_keep_their_contrast():
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for mark in MARKS:
        assert 1.05 / (luminance(mark.light) + 0.05) >= 3.5
        assert (luminance(mark.dark) + 0.05) / (luminance("#14181f") + 0.05) >= 3.5
    for field in ("light", "dark", "marker", "shape", "dash"):
        assert len({getattr(mark, field) for mark in MARKS}) == len(MARKS)


def test_the_first_numbers_have_the_marks_themselves_and_later_ones_new_pairs():
    assert [mark_number(i) for i in range(len(MARKS))] == list(MARKS)
    later = [mark_number(i) for i in range(100)]
    assert len({(mark.light, mark.marker) for mark in later}) == 100
    assert all(mark.light == MARKS[i % 10].light for i, mark in enumerate(later))


def test_a_method_keeps_its_mark_when_others_are_left_out():
    order = ["a", "b", "c"]
    assert figures.marks(["c"], order)["c"] == figures.marks(order)["c"]
    assert figures.marks(["new"], order)["new"] == MARKS[3]


def test_table():
    rows = [{"method": "a", "error": 0.07312, "calls": 4}, {"method": "b", "error": None, "calls": 16}]
    assert figures.markdown_table(rows, best={"error": "low", "calls": "high"}) == (
        "| method | error | calls |\n|---|---:|---:|\n| a | **0.0731** | 4 |\n| b | – | **16** |"
    )


def test_bad_input(records, random):
    cases = [
        (lambda: figures.plot_quality([]), "No records"),
        (lambda: figures.plot_quality([records[0] | {"value": [1.0]}]), "differ in length"),
        (lambda: figures.plot_clouds({"a": random.random((3, 3))}), "shape"),
        (lambda: figures.plot_paths({"a": random.random((3, 2))}), r"\(steps \+ 1, batch, 2\)"),
        (lambda: figures.plot_order([1], [1, 2], ["a"], xlabel="x", ylabel="y"), "same length"),
        (lambda: figures.image_grid(random.random((3, 8, 8))), "images have shape"),
        (lambda: figures.image_grid(random.random((0, 1, 8, 8))), "no image"),
        (lambda: figures.image_rows({}), "no row"),
        (lambda: figures.marks([str(i) for i in range(11)]), "only 10 marks"),
        (lambda: figures.markdown_table([]), "no row"),
        (lambda: figures.markdown_table([{"a": 1}, {"b": 1}]), "same columns"),
        (lambda: figures.markdown_table([{"a": 1}], best={"a": "least"}), '"low" or "high"'),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words):
            call()
