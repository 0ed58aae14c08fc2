"""Figures of sound: they draw what they are given, say it in words, and refuse what they cannot draw."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
from matplotlib.text import Text

from lib.errors import UserError
from lib.figures.sound import (
    players,
    plot_against,
    plot_confusion,
    plot_footprint,
    plot_maps,
    plot_rejects,
    plot_spread,
    wav_bytes,
)
from lib.figures.style import png_bytes


def test_maps_share_a_scale_on_request_and_lie_with_low_bands_below():
    maps = {"a": np.arange(12.0).reshape(4, 3), "b": np.zeros((4, 3))}
    figure = plot_maps(maps, one_scale=True)
    images = [axis.get_images()[0] for axis in figure.axes]
    assert {image.get_clim() for image in images} == {(0.0, 11.0)}
    assert images[0].get_array().shape == (3, 4)  # bands up, time to the right
    assert images[0].origin == "lower"
    assert "a and b" in figure.alt
    assert png_bytes(figure).startswith(b"\x89PNG")
    own = plot_maps(maps)
    assert len({axis.get_images()[0].get_clim() for axis in own.axes}) == 2


def test_a_matrix_keeps_its_rows():
    figure = plot_maps({"A": np.eye(3)}, square=True)
    assert np.array_equal(figure.axes[0].get_images()[0].get_array(), np.eye(3))


def test_no_map_is_refused():
    with pytest.raises(UserError):
        plot_maps({})


def test_published_points_are_hollow_and_ours_filled():
    points = [
        {"network": "x", "weights": 1000, "accuracy": 90.0, "published": True},
        {"network": "x", "weights": 1000, "accuracy": 80.0, "published": False, "low": 79.0, "high": 81.0},
    ]
    published, ours = plot_footprint(points, x="weights", xlabel="weights").axes
    assert published.get_lines()[0].get_markerfacecolor() == "none"
    assert ours.get_lines()[0].get_markerfacecolor() != "none"
    assert list(ours.get_lines()[1].get_ydata()) == [79.0, 81.0]


def test_names_of_points_touch_neither_each_other_nor_a_mark():
    crowd = [
        {"network": f"network {n}", "published": True, "accuracy": 96 + n / 10, "weights": 9e3 * (1 + n / 4)}
        for n in range(9)
    ]
    crowd.append({"network": "apart", "published": True, "accuracy": 90.0, "weights": 2e5})
    figure = plot_footprint(crowd, x="weights", xlabel="weights")
    png_bytes(figure)
    axis = figure.axes[0]
    boxes = [Text.get_window_extent(text) for text in axis.texts]
    assert sorted(text.get_text() for text in axis.texts) == sorted(one["network"] for one in crowd)
    assert all(not box.count_overlaps(boxes[:number]) for number, box in enumerate(boxes))
    centres = axis.transData.transform([(one["weights"], one["accuracy"]) for one in crowd])
    assert not any(box.contains(*centre) for box in boxes for centre in centres)
    with pytest.raises(UserError, match="no room for the name of"):
        plot_footprint(10 * crowd, x="weights", xlabel="weights")


def test_the_spread_has_a_row_a_method_and_says_the_means():
    figure = plot_spread({"one": [1.0, 3.0], "two": [5.0]}, chance=2)
    assert "one 2.0" in figure.alt
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two"]


def test_lines_pass_through_the_means():
    figure = plot_against({"a": {0.0: [1.0, 3.0], 10.0: [4.0]}}, xlabel="noise")
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [2.0, 4.0]


def test_rejects_and_confusion_are_drawn():
    grid = np.linspace(0, 1, 11)
    assert "a" in plot_rejects({"a": (grid, 1 - grid)}, {"a": 0.5}).alt
    figure = plot_confusion(np.array([[3, 1], [0, 4]]), ["no", "yes"])
    assert "no was taken for yes, in 25 percent" in figure.alt


def test_sounds_are_wav_files_that_can_be_played_without_a_network():
    tone = np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000)
    shown = players({"a <tone>": tone}).data
    assert "a &lt;tone&gt;" in shown
    content = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1])
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == 8000
    assert len(samples) == 8000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440
    assert np.abs(samples).max() <= 0.951


def test_loud_sounds_are_made_quieter_and_odd_rates_refused():
    samples, _ = soundfile.read(io.BytesIO(wav_bytes(np.full(1600, 3.0), 16_000)))
    assert samples.max() == pytest.approx(0.95, abs=1e-3)
    with pytest.raises(UserError, match="cannot be played"):
        wav_bytes(np.zeros(100), 44_100)
