"""The figures of searched networks draw the numbers that they are given, say them in a sentence, and refuse others."""

import io
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex
from PIL import Image
from scipy.stats import sem

from lib.errors import UserError
from lib.figures.networks import (
    _merged,
    plot_bits,
    plot_front,
    plot_latency_shares,
    plot_network,
    standard_error,
)
from lib.figures.palette import MARKS
from lib.figures.style import StillFigure, png_bytes


def choice(kernel: int, expansion: int, *bits: int) -> SimpleNamespace:
    return SimpleNamespace(kernel=kernel, expansion=expansion, bits=bits)


def space(blocks: int) -> SimpleNamespace:
    """What the figures know of a space: blocks with names and channels, each pair twice as wide as the last."""
    return SimpleNamespace(
        blocks=[
            SimpleNamespace(
                name=f"stage {k // 2 + 1}, block {k % 2 + 1}",
                in_channels=4 * 2 ** (k // 2),
                out_channels=8 * 2 ** (k // 2),
            )
            for k in range(blocks)
        ]
    )


ONE, TWO = [choice(5, 6, 8, 4, 2), None, choice(3, 3, 2, 2, 8)], [choice(3, 3, 4, 4, 4)] * 3
POINTS = [
    {"method": "joint", "cost": [10.0, 11.0, 12.5], "accuracy": [90.0, 92.0, 97.0]},
    {"method": "joint", "cost": 5.0, "accuracy": [80.0, 84.0]},
    {"method": "two steps", "cost": 9.0, "accuracy": 88.0},
]
LAYERS = {
    "first": [("stem", 1.0), ("stage 1, expand", 3.0), ("classifier", 0.5)],
    "second": [("stem", 1.0), ("classifier", 1.0)],
}


def every_figure():
    yield plot_front(POINTS, xlabel="cost (kilocycles)")
    yield plot_front(POINTS, xlabel="cost", log=True, lines=False, order=["two steps", "joint"])
    yield plot_front(POINTS[2:], xlabel="cost")
    yield plot_network(space(3), ONE, title="the <first>")
    yield plot_network(space(1), [None])
    yield plot_network(space(20), [TWO[0]] * 20)
    yield plot_bits(space(3), {"one": ONE, "two": TWO})
    yield plot_bits(space(20), {"only": [TWO[0]] * 20})
    yield plot_latency_shares(LAYERS, unit="kilocycles")
    yield plot_latency_shares({"only": [("stem", 2.0)]})


def test_each_is_a_small_picture_with_a_sentence_and_leaves_no_trace():
    before = dict(mpl.rcParams)
    for figure in every_figure():
        assert isinstance(figure, StillFigure)
        assert figure.alt[0].isupper()
        assert figure.alt.endswith(".")
        assert len(figure.alt) < 400
        png = png_bytes(figure)
        assert len(png) < 60_000
        assert len(Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20)) > 2
    assert dict(mpl.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_no_word_is_cut_off():
    for figure in every_figure():
        figure.draw_without_rendering()
        renderer, frame = figure.canvas.get_renderer(), figure.bbox
        for axis in figure.axes:
            for text in axis.texts:
                box = text.get_window_extent(renderer)
                assert box.x0 >= frame.x0 - 1
                assert box.x1 <= frame.x1 + 1
                assert box.y0 >= frame.y0 - 1
                assert box.y1 <= frame.y1 + 1


class TestFront:
    def test_means_and_standard_errors(self):
        [axis] = plot_front(POINTS, xlabel="cost").axes
        joint, single = axis.containers
        line, _, bars = joint
        assert line.get_xdata().tolist() == [5.0, pytest.approx(33.5 / 3)]
        assert line.get_ydata().tolist() == [82.0, 93.0]
        across, up = (np.array([np.ptp(segment, 0).max()
                                for segment in one.get_segments()]) for one in bars)  # fmt: skip
        assert across == pytest.approx([0, 2 * sem([10.0, 11.0, 12.5])])
        assert up == pytest.approx([2 * sem([80.0, 84.0]), 2 * sem([90.0, 92.0, 97.0])])
        assert single[0].get_xdata().tolist() == [9.0]
        assert not single.has_yerr

    def test_every_seed_has_a_small_mark(self):
        [axis] = plot_front(POINTS, xlabel="cost").axes
        small = [line for line in axis.get_lines() if line.get_markersize() < 5 and line.get_marker() in "os"]
        found = sorted((x, y) for line in small for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True))
        assert found == [(5.0, 80.0), (5.0, 84.0), (10.0, 90.0), (11.0, 92.0), (12.5, 97.0)]

    def test_axes_lines_and_marks(self):
        [axis] = plot_front(POINTS, xlabel="cycles", log=True, order=["two steps", "joint"]).axes
        assert axis.get_xscale() == "log"
        assert axis.get_xlabel() == "cycles"
        assert axis.containers[0][0].get_marker() == MARKS[1].marker
        assert [text.get_text() for text in axis.get_legend().get_texts()] == ["joint", "two steps"]
        [loose] = plot_front(POINTS, xlabel="cycles", lines=False).axes
        assert {one[0].get_linestyle() for one in loose.containers} == {"None"}
        assert plot_front(POINTS[2:], xlabel="cycles").axes[0].get_legend() is None

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
    def test_standard_error_is_scipys(self, values):
        expected = sem(values) if len(values) > 1 else 0.0
        assert standard_error(np.array(values)) == pytest.approx(expected, abs=1e-9)


class TestNetwork:
    def test_bars_bits_and_kernels(self):
        [axis] = plot_network(space(3), ONE).axes
        frames = [p for p in axis.patches if p.get_facecolor()[3] == 0]
        heights = np.array([p.get_height() for p in frames])
        assert heights / heights[0] == pytest.approx(np.array([24, 24, 8, 24, 24, 16]) / 24)
        painted = [p for p in axis.patches if p.get_facecolor()[3] > 0]
        areas = [sum(q.get_width() for q in painted if f.get_x() - 1e-9 <= q.get_x() < f.get_x() + f.get_width())
                 for f in frames]  # fmt: skip
        assert np.array(areas) / frames[0].get_width() == pytest.approx(np.array([8, 4, 2, 2, 2, 8]) / 8)
        taps = [
            sum(to_hex(colour) == MARKS[0].light for colour in one.get_facecolor())
            for one in axis.collections
            if isinstance(one, PatchCollection)
        ]
        assert taps == [25, 9]
        words = [text.get_text() for text in axis.texts]
        assert words.count("left out") == 1
        below = [text.get_text() for text in axis.texts if text.get_va() == "top" and text.get_weight() == "bold"]
        assert [one for one in below if one.isdigit()] == ["8", "4", "2", "2", "2", "8"]

    def test_sentence(self):
        alt = plot_network(space(3), ONE, title="ours").alt
        assert alt.startswith(
            "Ours, block by block: stage 1, block 1 5x5, expansion 6, 8/4/2 bits; stage 1, block 2 left out;"
        )
        deep = plot_network(space(20), [*ONE, *TWO, *[None] * 14]).alt
        assert "5 of 20 blocks, 1 of them with a 5x5 kernel and 1 with expansion 6, 4.1 bits on average" in deep

    def test_deep_networks_stand_in_rows(self):
        assert len(plot_network(space(20), [TWO[0]] * 20).axes) == 4


class TestBits:
    def test_heights_are_bits(self):
        [axis] = plot_bits(space(3), {"one": ONE, "two": TWO}).axes
        assert [bar.get_height() for bar in axis.containers[0]] == [8, 4, 2, 2, 2, 8]
        assert [bar.get_height() for bar in axis.containers[1]] == [4] * 9
        crosses = [line for line in axis.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
        assert [len(line.get_xdata()) for line in crosses] == [3]
        starts = [bar.get_x() for container in axis.containers for bar in container]
        assert len(set(np.round(starts, 6))) == 15  # side by side, none behind another
        assert len({bar.get_hatch() for container in axis.containers for bar in container}) == 2

    def test_what_a_cross_means_is_said(self):
        names = lambda figure: [text.get_text() for text in figure.legends[0].get_texts()]  # noqa: E731
        assert names(plot_bits(space(3), {"one": ONE, "two": TWO})) == ["one", "two", "left out"]
        assert names(plot_bits(space(3), {"two": TWO})) == ["two"]

    def test_sentence(self):
        assert plot_bits(space(3), {"one": ONE}).alt.endswith("mean over the convolutions: one 4.3.")


class TestShares:
    def test_shares_of_each_network_make_a_hundred(self):
        figure = plot_latency_shares(LAYERS, unit="kilocycles")
        [axis] = figure.axes
        assert [bar.get_width() for bar in axis.containers[0]] == pytest.approx([100 / 4.5, 300 / 4.5, 50 / 4.5])
        assert [bar.get_width() for bar in axis.containers[1]] == pytest.approx([50, 50])
        assert [text.get_text() for text in axis.get_yticklabels()] == ["stem", "stage 1, expand", "classifier"]
        [legend] = figure.legends
        words = [text.get_text() for text in legend.get_texts()]
        assert words == ["first: 4.5 kilocycles", "second: 2 kilocycles", "no such layer"]
        figure.draw_without_rendering()
        assert legend.get_window_extent().y0 >= axis.get_window_extent().y1  # covers no bar

    def test_sentence(self):
        assert "first spends most on stage 1, expand, 67 percent" in plot_latency_shares(LAYERS).alt

    @settings(deadline=None)
    @given(st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=4))
    def test_layers_keep_the_order_of_every_network(self, sets):
        lists = [[str(one) for one in sorted(members)] for members in sets]
        merged = _merged(lists)
        assert sorted(merged) == sorted({name for one in lists for name in one})
        for one in lists:
            places = [merged.index(name) for name in one]
            assert places == sorted(places)

    def test_layers_whose_orders_disagree_come_as_they_are(self):
        assert _merged([["a", "b"], ["c", "b", "a"]]) == ["a", "b", "c"]


def test_bad_input():
    for call, words in (
        (lambda: plot_front([], xlabel="x"), "no point"),
        (lambda: plot_front([{"method": "a", "cost": [1, 2], "accuracy": [1, 2, 3]}], xlabel="x"), "belong together"),
        (lambda: plot_front([{"method": "a", "cost": 1, "accuracy": float("nan")}], xlabel="x"), "without NaN"),
        (lambda: plot_front([{"method": "a", "cost": 1, "accuracy": []}], xlabel="x"), "one number or a list"),
        (lambda: plot_front([{"method": "a", "cost": 0, "accuracy": 1}], xlabel="x", log=True), "logarithmic"),
        (lambda: plot_network(space(3), TWO[:2]), "another space"),
        (lambda: plot_bits(space(3), {}), "no network"),
        (lambda: plot_bits(space(3), {"a": TWO[:1]}), "a has 1 blocks"),
        (lambda: plot_latency_shares({}), "no network"),
        (lambda: plot_latency_shares({"a": [("stem", 0.0)]}), "nothing to share"),
        (lambda: plot_latency_shares({"a": []}), "nothing to share"),
    ):
        with pytest.raises(UserError, match=words):
            call()
