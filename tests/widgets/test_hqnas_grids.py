"""The figure of the nested grids: its state, its script against the library's quantizer, its controls."""

import numpy as np
import pytest
import torch

from lib.errors import UserError
from lib.hqnas.quantizer import codes, planes, quantize, ranges
from lib.hqnas.space import BITS
from lib.widgets.hqnas_grids import MOST_WEIGHTS, NestedGrids, grids_state
from lib.widgets.kit import module
from tests.widgets.hqnas_figures import drawn, functions_of, said, words_outside
from tests.widgets.page import (
    a_still_picture_stands,
    all_is_named,
    document,
    is_dark,
    nothing_sticks_out,
    opened,
    slide,
)


def normal(count: int, seed: int = 0, scale: float = 0.3) -> torch.Tensor:
    return scale * torch.randn(count, generator=torch.Generator().manual_seed(seed))


class TestState:
    def test_what_travels(self):
        weights = normal(120).reshape(10, 12, 1, 1)
        state = grids_state(weights, name="project")
        travelled = np.frombuffer(state["weights"], "<f4")
        assert travelled.tolist() == weights.flatten().sort().values.tolist()
        shared, narrow = ranges(weights.reshape(1, -1), "shared"), ranges(weights.reshape(1, -1), "per_width")
        assert state["largest"] == float(shared[0])
        from lib.hqnas.quantizer import gaussian_clip

        assert state["deviation"] * gaussian_clip(2) == pytest.approx(float(narrow[0]), rel=1e-6)
        assert state["start"] == 2.5
        assert state["name"] == "project"

    @pytest.mark.parametrize(("start", "expected"), [(0.2, 1.0), (1.7, 1.7), (99.0, None)])
    def test_the_first_range_lies_on_the_slider(self, start, expected):
        state = grids_state(normal(200), start=start)
        assert state["start"] == pytest.approx(expected or state["largest"] / state["deviation"])

    @pytest.mark.parametrize("count", [2, MOST_WEIGHTS])
    def test_smallest_and_largest(self, count):
        figure = NestedGrids.from_weights(normal(count))
        assert len(np.frombuffer(figure.weights, "<f4")) == count
        assert len(figure.static_html()) < 70_000

    def test_still(self):
        weights = normal(300)
        still = NestedGrids.from_weights(weights, name="a <b>").preview()
        limit = torch.tensor(2.5 * float(weights.square().mean().sqrt()))
        zero = 100 * float((codes(weights, 2, limit)[0] == 0).float().mean())
        assert f"at 2 bits {zero:.0f} percent of the weights become 0." in still
        assert "<b>" not in still
        assert still.count("v28") == 3
        assert still.count("v17") == 15
        assert still.count("v8") == 255

    def test_bad_input(self):
        for weights, words in (
            (normal(1), "2 to 4000 weights, not 1"),
            (normal(MOST_WEIGHTS + 1), "not 4001"),
            (torch.zeros(9), "nothing to quantize"),
            (torch.tensor([1.0, float("nan")]), "diverged"),
        ):
            with pytest.raises(UserError, match=words):
                NestedGrids.from_weights(weights)

    def test_the_script_imports_nothing(self):
        assert "\nimport " not in module("hqnas_grids")


@pytest.fixture(scope="module")
def script(browser, tmp_path_factory):
    with functions_of(browser, tmp_path_factory.mktemp("grids"), "hqnas_grids") as page:
        yield page


LAWS = {
    "normal": normal(500),
    "even": torch.linspace(-1, 1, 401),
    "heavy": normal(300, 3) ** 3,
    "one-sided": normal(100, 4).abs() + 0.01,
    "pair": torch.tensor([-0.5, 1e-3]),
}


@pytest.mark.browser
class TestScript:
    @pytest.mark.parametrize("name", LAWS)
    @pytest.mark.parametrize("share", [0.05, 0.31, 0.5, 0.77, 1.0])
    def test_it_quantizes_as_the_library_does(self, script, name, share):
        weights = LAWS[name]
        limit = weights.abs().max() * share
        got = script.evaluate(
            """([weights, limit]) => [2, 4, 8].map((bits) => ({
                step: kit.stepSize(bits, limit), codes: weights.map((w) => kit.codeOf(w, bits, limit)),
                values: weights.map((w) => kit.quantized(w, bits, limit)),
                error: kit.relativeError(weights, bits, limit),
            }))""",
            [weights.tolist(), float(limit)],
        )
        for bits, one in zip(BITS, got, strict=True):
            expected, step = codes(weights, bits, limit)
            value = quantize(weights, bits, limit)
            assert one["step"] == float(step)
            assert one["codes"] == expected.tolist()
            assert one["values"] == value.tolist()
            error = ((weights - value).double().square().sum() / weights.double().square().sum()).sqrt()
            assert one["error"] == pytest.approx(float(error), rel=1e-6)

    @pytest.mark.parametrize("name", LAWS)
    def test_norms_are_what_the_gates_see(self, script, name):
        weights = LAWS[name]
        got = script.evaluate(
            "([w, m]) => kit.correctionNorms(w, m, [2.4, 10.5])", [weights.tolist(), float(weights.abs().max())]
        )
        four, eight = planes(weights[None], "shared").ratios.tolist()
        assert got == pytest.approx([2.4 * four, 10.5 * eight], rel=1e-5)

    def test_halves_are_rounded_to_even(self, script):
        # one range, m = 127.5: the step of 8 bits is 1
        weights = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5, 3.4999998])
        got = script.evaluate("(w) => w.map((one) => kit.codeOf(one, 8, 127.5))", weights.tolist())
        assert got == codes(weights, 8, torch.tensor(127.5))[0].tolist() == [0, 2, 2, 0, -2, -2, 126, -126, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("grids")
    figures = {
        "plain": NestedGrids.from_weights(normal(400), name="project"),
        "pair": NestedGrids.from_weights(torch.tensor([1.0, -1.0])),
        "tiny": NestedGrids.from_weights(normal(50, scale=1e-5)),
        "large": NestedGrids.from_weights(normal(MOST_WEIGHTS, scale=40.0), start=9.0),
    }
    for name, figure in figures.items():
        (place / f"{name}.html").write_text(document(figure.static_html()), encoding="utf-8")
    (place / "dark.html").write_text(document(figures["plain"].static_html(), "dark"), encoding="utf-8")
    return place


def ticks(page, bits: int) -> set[str]:
    """Places of the levels in the picture of the whole range."""
    path = page.locator(f".ptr-grid-{bits}").first.get_attribute("d")
    return {part.split(" ")[0] for part in path.split("M")[1:]}


@pytest.mark.browser
class TestFigure:
    def test_every_control_moves_picture_and_words(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            seen = [(drawn(page), said(page))]

            def changed():
                seen.append((drawn(page), said(page)))
                assert seen[-1][0] != seen[-2][0]
                assert seen[-1][1] != seen[-2][1]

            for bits in (4, 8, 2):
                page.get_by_role("radio", name=f"{bits} bits", exact=True).check()
                changed()
                assert f"{bits} bits leave a relative error" in said(page)
                assert page.locator("tr.ptr-now th").inner_text() == str(bits)
            slide(page.get_by_label("Range m", exact=True), 7)
            changed()
            slide(page.get_by_label("Weight to follow", exact=True), 3)
            changed()

    @pytest.mark.parametrize("place", [0, 37, 100])
    @pytest.mark.parametrize("weight", [0, 210, 399])
    def test_the_words_are_the_librarys_numbers(self, browser, folder, place, weight):
        values = normal(400).sort().values
        deviation, largest = float(values.square().mean().sqrt()), float(values.abs().max())
        sigmas = 1 + (largest / deviation - 1) * place / 100
        limit = torch.tensor(largest if place == 100 else deviation * sigmas)
        with opened(browser, folder / "plain.html") as page:
            slide(page.get_by_label("Range m", exact=True), place)
            slide(page.get_by_label("Weight to follow", exact=True), weight)
            words, rows = said(page).replace("−", "-"), page.locator("tbody tr").all_inner_texts()
        expected = [float(codes(values[weight], bits, limit)[0]) for bits in BITS]
        assert f"the codes {', '.join(f'{one:.0f}' for one in expected)} at 2, 4 and 8 bits" in words
        assert f"m = {sigmas:.2f} standard deviations" in words
        for text, bits, code in zip(rows, BITS, expected, strict=True):
            cells = text.replace("−", "-").split("\t")
            value = quantize(values, bits, limit)
            error = float(((values - value).square().sum() / values.square().sum()).sqrt())
            assert float(cells[2]) == code
            assert float(cells[3]) == pytest.approx(float(value[weight]), abs=6e-4)
            assert float(cells[4].split(" ")[0]) == pytest.approx(100 * error, rel=0.06)
        beyond = 100 * float((values.abs() > limit).float().mean())
        if beyond == 0:
            assert "no weight lies beyond the range" in words
        else:
            assert float(words.split("error of ")[1].split("; ")[1].split(" %")[0]) == pytest.approx(beyond, rel=0.06)

    def test_coarse_levels_are_contained_in_fine_ones(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            for place in (0, 60, 100):
                slide(page.get_by_label("Range m", exact=True), place)
                two, four, eight = (ticks(page, bits) for bits in BITS)
                assert (len(two), len(four), len(eight)) == (3, 15, 255)
                assert two < four < eight

    def test_keyboard_alone(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            page.keyboard.press("Tab")
            page.keyboard.press("ArrowRight")
            assert page.get_by_role("radio", name="4 bits", exact=True).is_checked()
            assert "4 bits leave" in said(page)
            page.keyboard.press("Tab")
            slider = page.get_by_label("Range m", exact=True)
            page.keyboard.press("End")
            assert "no weight lies beyond" in said(page)
            assert slider.get_attribute("aria-valuetext").endswith("standard deviations")
            assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            page.keyboard.press("Tab")
            page.keyboard.press("Home")
            assert page.get_by_label("Weight to follow", exact=True).input_value() == "0"

    @pytest.mark.parametrize("name", ["pair", "tiny", "large"])
    def test_extreme_weights(self, browser, folder, name):
        with opened(browser, folder / f"{name}.html", 390) as page:
            for place in (0, 50, 100):
                slide(page.get_by_label("Range m", exact=True), place)
                for bits in BITS:
                    page.get_by_role("radio", name=f"{bits} bits", exact=True).check()
                    assert "NaN" not in page.locator(".ptr-root").inner_html()
                    assert "Infinity" not in page.locator(".ptr-root").inner_html()
            nothing_sticks_out(page, 390)

    @pytest.mark.parametrize("width", [340, 390, 688, 730, 1280])
    def test_page(self, browser, folder, width):
        with opened(browser, folder / "dark.html", width) as page:
            nothing_sticks_out(page, width)
            all_is_named(page, pictures=2, readouts=1)
            assert is_dark(page)
            assert words_outside(page) == []
            right = "e => e.getBoundingClientRect().right"
            edge = page.locator(".ptr-stack").evaluate(right)
            assert page.locator(".ptr-grids-table").evaluate(right) <= edge + 0.5

    def test_still(self, browser, folder):
        a_still_picture_stands(browser, folder / "plain.html")
