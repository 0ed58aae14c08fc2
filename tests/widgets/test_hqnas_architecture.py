"""The figure of the searched network: its state against the devices, its words, its bars, its controls."""

import numpy as np
import pytest

from lib.errors import UserError
from lib.hqnas.config import cifar10
from lib.hqnas.hardware import hardware_named
from lib.hqnas.hardware.tables import save_table, table_hardware
from lib.hqnas.space import Choice, SearchSpace
from lib.widgets.hqnas_architecture import ArchitectureFront, SearchedNetwork, architecture_state
from lib.widgets.kit import module
from tests.widgets.hqnas_figures import BLOCKS, LARGE, MIDDLE, SMALL, SPACE, drawn, functions_of, said, words_outside
from tests.widgets.page import (
    a_still_picture_stands,
    all_is_named,
    document,
    is_dark,
    nothing_sticks_out,
    opened,
    slide,
)

COMPUTE, MEMORY = hardware_named("compute-bound"), hardware_named("memory-bound")
NETWORKS = [
    SearchedNetwork.on(COMPUTE, SPACE, SMALL, [71.0, 75.0], 0.1),
    SearchedNetwork.on(COMPUTE, SPACE, MIDDLE, 90.5, 0.3),
    SearchedNetwork.on(COMPUTE, SPACE, (None, *MIDDLE[1:]), 88.5, 0.3),
    SearchedNetwork.on(COMPUTE, SPACE, LARGE, 97.25, 1.0),
    SearchedNetwork.on(MEMORY, SPACE, SMALL, 80.0, 0.4),
    SearchedNetwork.on(MEMORY, SPACE, LARGE, 96.0, 0.9),
]
DEEP = SearchSpace(cifar10().space, (3, 32, 32), 10)


def whole(network: SearchedNetwork) -> SearchedNetwork:
    """The same where whole blocks were measured."""
    costs = [("calling the runtime", 3.0), ("stem", 1.0)]
    costs += [(name, 2.0 + k) for k, name in enumerate(BLOCKS) if network.choices[k] is not None]
    return SearchedNetwork("a board", "microseconds", network.choices, [*costs, ("classifier", 0.5)], network.accuracy)


class TestState:
    def test_searches_with_one_budget_stand_together(self):
        state = architecture_state(SPACE, NETWORKS, start=0.25)
        compute, memory = state["devices"]
        assert (compute["name"], compute["unit"], compute["start"]) == ("compute-bound", COMPUTE.unit, 1)
        assert [one["share"] for one in compute["entries"]] == [0.1, 0.3, 1.0]
        assert [one["share"] for one in memory["entries"]] == [0.4, 0.9]
        small, middle, _ = compute["entries"]
        assert (small["accuracies"], small["own"]) == ([71.0, 75.0], 2)
        assert (middle["accuracies"], middle["own"]) == ([90.5, 88.5], 1)
        assert middle["costs"] == [NETWORKS[1].cost, NETWORKS[2].cost]
        assert middle["choices"][0] == {"kernel": 3, "expansion": 6, "bits": [8, 4, 8]}
        assert small["choices"][0] is None
        assert state["widest"] == 36

    def test_without_budgets_each_stands_for_itself(self):
        free = [SearchedNetwork.on(COMPUTE, SPACE, one, 90.0) for one in (LARGE, SMALL, MIDDLE)]
        entries = architecture_state(SPACE, free)["devices"][0]["entries"]
        costs = [one["cost"] for one in entries]
        assert costs == sorted(costs)
        assert [one["share"] for one in entries] == [None] * 3

    @pytest.mark.parametrize("device", ["compute-bound", "memory-bound", "bitfusion-small", "bitfusion-large"])
    @pytest.mark.parametrize("choices", [SMALL, MIDDLE, LARGE])
    def test_costs_are_those_of_the_table(self, device, choices):
        hardware = hardware_named(device)
        table = hardware.cost_table(SPACE)
        network = SearchedNetwork.on(hardware, SPACE, choices, 90.0, 0.5)
        [entry] = architecture_state(SPACE, [network])["devices"][0]["entries"]
        assert entry["front"] + entry["behind"] == pytest.approx(table.constant, rel=1e-5)
        assert entry["cost"] == pytest.approx(table.of(choices), rel=1e-5)
        for found, expected in zip(entry["parts"], table.shares(choices), strict=True):
            assert found == pytest.approx(expected, rel=1e-5)
        assert entry["front"] == pytest.approx(dict(network.layers)["stem"])

    def test_a_deep_space_with_fixed_blocks(self):
        table = COMPUTE.cost_table(DEEP)
        choices = DEEP.uniform(4)
        [entry] = architecture_state(DEEP, [SearchedNetwork.on(COMPUTE, DEEP, choices, 90.0)])["devices"][0]["entries"]
        layers = dict(COMPUTE.layers(DEEP, choices))
        front = sum(layers[name] for name in ("stem", "first depthwise", "first project"))
        assert entry["front"] == pytest.approx(front)
        assert entry["front"] + entry["behind"] == pytest.approx(table.constant, rel=1e-5)
        assert [len(one) for one in entry["parts"]] == [3] * 20

    def test_whole_blocks_and_tables_in_a_file(self, tmp_path):
        [entry] = architecture_state(SPACE, [whole(NETWORKS[0])])["devices"][0]["entries"]
        assert (entry["front"], entry["behind"]) == (4.0, 0.5)
        assert entry["parts"] == [[], [3.0], []]
        save_table(tmp_path / "t.json", SPACE, COMPUTE.cost_table(SPACE))
        network = SearchedNetwork.on(table_hardware(tmp_path / "t.json"), SPACE, MIDDLE, 90.0)
        [entry] = architecture_state(SPACE, [network])["devices"][0]["entries"]
        assert entry["cost"] == pytest.approx(NETWORKS[1].cost, rel=1e-5)

    def test_sizes(self):
        assert len(ArchitectureFront.from_networks(SPACE, NETWORKS).static_html()) < 60_000
        many = [SearchedNetwork.on(COMPUTE, DEEP, DEEP.uniform(4), 90.0, share) for share in np.linspace(0.1, 1, 10)]
        assert len(ArchitectureFront.from_networks(DEEP, many).static_html()) < 90_000

    def test_still(self):
        strange = SearchedNetwork("<b>", "cycles", SMALL, NETWORKS[0].layers, 50.0)
        still = ArchitectureFront.from_networks(SPACE, [strange]).preview()
        assert "<b>" not in still
        assert "stage 1 left out; stage 2, block 1 3×3, expansion 3, 2/2/2 bits" in still

    def test_bad_input(self):
        layers = NETWORKS[1].layers
        other = SearchedNetwork("compute-bound", "miles", MIDDLE, layers, 90.0)
        for networks, words in (
            ([], "at least one network"),
            ([SearchedNetwork.on(COMPUTE, DEEP, DEEP.uniform(8), 90.0)], "another space"),
            ([SearchedNetwork("d", "u", LARGE, NETWORKS[0].layers, 90.0)], "stage 1 has 0 costs"),
            ([SearchedNetwork("d", "u", SMALL, NETWORKS[1].layers, 90.0)], "stage 1 has 3 costs"),
            ([NETWORKS[1], other], "several units: .*miles"),
            ([SearchedNetwork("d", "u", MIDDLE, layers, [])], "one or more, in percent"),
            ([SearchedNetwork("d", "u", MIDDLE, layers, 101.0)], "in percent"),
            ([SearchedNetwork("d", "u", MIDDLE, layers, float("nan"))], "in percent"),
            ([SearchedNetwork("d", "u", MIDDLE, [(name, -1.0) for name, _ in layers], 9.0)], "a cost is 0 or more"),
            ([SearchedNetwork("d", "u", MIDDLE, [(name, 0.0) for name, _ in layers], 9.0)], "costs nothing"),
        ):
            with pytest.raises(UserError, match=words):
                architecture_state(SPACE, networks)

    def test_the_script_imports_nothing(self):
        assert "\nimport " not in module("hqnas_architecture")


@pytest.fixture(scope="module")
def script(browser, tmp_path_factory):
    with functions_of(browser, tmp_path_factory.mktemp("architecture"), "hqnas_architecture") as page:
        yield page


@pytest.mark.browser
class TestScript:
    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            (LARGE, LARGE, []),
            (LARGE, SMALL, ["stage 1 was left out", "stage 2, block 1 lost its 5×5 kernel",
                            "stage 2, block 1 shrank to expansion 3", "stage 2, block 2 was left out",
                            "3 convolutions lost bits"]),
            (SMALL, MIDDLE, ["stage 1 came back", "stage 2, block 1 got a 5×5 kernel", "stage 2, block 2 came back",
                             "stage 2, block 1, expand went from 2 to 4 bits",
                             "stage 2, block 1, project went from 2 to 8 bits"]),
            (MIDDLE, (Choice(5, 6, (2, 8, 4)), *MIDDLE[1:]), ["stage 1 got a 5×5 kernel", "2 convolutions lost bits",
                                                              "1 convolution gained bits"]),
            ((Choice(5, 6, (8, 8, 8)),) * 3, (Choice(3, 3, (8, 8, 8)),) * 3, 5),
        ],
    )  # fmt: skip
    def test_changes(self, script, before, after, words):
        plain = [
            [
                None if one is None else {"kernel": one.kernel, "expansion": one.expansion, "bits": one.bits}
                for one in side
            ]
            for side in (before, after)
        ]
        got = script.evaluate("([names, a, b]) => kit.changes(names.map((name) => ({ name })), a, b)", [BLOCKS, *plain])
        if words == 5:
            assert len(got) == 5
            assert got[-1] == "2 more changes of shape"
        else:
            assert got == words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("architecture")
    deep = [SearchedNetwork.on(COMPUTE, DEEP, DEEP.uniform(bits), 90.0 + bits, bits / 8) for bits in (2, 4, 8)]
    figures = {
        "plain": ArchitectureFront.from_networks(SPACE, NETWORKS),
        "one": ArchitectureFront.from_networks(SPACE, [whole(NETWORKS[0])]),
        "whole": ArchitectureFront.from_networks(SPACE, [whole(one) for one in NETWORKS[1:4]]),
        "deep": ArchitectureFront.from_networks(DEEP, deep),
    }
    for name, figure in figures.items():
        (place / f"{name}.html").write_text(document(figure.static_html()), encoding="utf-8")
    (place / "dark.html").write_text(document(figures["plain"].static_html(), "dark"), encoding="utf-8")
    return place


def budget(page, place: int) -> None:
    slide(page.get_by_label("Budget", exact=True), place)


@pytest.mark.browser
class TestFigure:
    def test_every_control_moves_picture_and_words(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            seen = [(drawn(page), said(page))]

            def changed():
                seen.append((drawn(page), said(page)))
                assert seen[-1][0] != seen[-2][0]
                assert seen[-1][1] != seen[-2][1]

            for place in (0, 2, 1):
                budget(page, place)
                changed()
            page.get_by_label("Device", exact=True).select_option(label="memory-bound")
            changed()
            assert said(page).startswith("memory-bound, budget 90 % of the full cost")
            budget(page, 0)
            changed()

    @pytest.mark.parametrize("width", [390, 1280])
    def test_the_picture_is_the_network(self, browser, folder, width):
        state = architecture_state(SPACE, NETWORKS)
        with opened(browser, folder / "plain.html", width) as page:
            for device in state["devices"]:
                page.get_by_label("Device", exact=True).select_option(label=device["name"])
                for place, entry in enumerate(device["entries"]):
                    budget(page, place)
                    kept = [one for one in entry["choices"] if one]
                    bits = page.locator(".ptr-chart .ptr-conv").evaluate_all(
                        "rs => rs.map(r => Number(r.dataset.bits))"
                    )
                    assert bits == [one for choice in kept for one in choice["bits"]]
                    assert page.locator(".ptr-chart .ptr-left-out").count() == 3 - len(kept)
                    assert page.locator(".ptr-tap").count() == sum(one["kernel"] ** 2 for one in kept)
                    shares = page.locator(".ptr-share").evaluate_all("rs => rs.map(r => Number(r.dataset.share))")
                    costs = [entry["front"], *(c for parts in entry["parts"] for c in parts), entry["behind"]]
                    assert shares == pytest.approx([c / entry["cost"] for c in costs], abs=1e-4)
                    assert sum(shares) == pytest.approx(1, abs=1e-3)

    @pytest.mark.parametrize(("width", "side"), [(390, "width"), (1280, "height")])
    def test_bars_are_as_long_as_they_have_channels(self, browser, folder, width, side):
        with opened(browser, folder / "plain.html", width) as page:
            budget(page, 1)
            lengths = page.locator(".ptr-chart .ptr-conv").evaluate_all(
                "(rs, side) => rs.map(r => Number(r.getAttribute(side)))", side
            )
            standing = page.locator(".ptr-chart svg").first.evaluate("e => e.clientWidth > e.clientHeight")
        assert standing == (width == 1280)
        channels = [24, 24, 4, 12, 12, 6, 36, 36, 6]
        assert np.array(lengths) / lengths[0] == pytest.approx(np.array(channels) / channels[0], rel=1e-3)

    def test_words(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            words = said(page)
            assert "compute-bound, budget 30 % of the full cost: the network costs " in words
            assert (
                "89.5 % of the test images are named rightly (mean of 2 seeds, 88.5 to 90.5; the drawn network: 90.5)"
                in words
            )
            assert "Against 100 %: stage 1 lost its 5×5 kernel; stage 2, block 1 shrank to expansion 3; " in words
            assert float(words.split("costs ")[1].split(" ")[0]) == pytest.approx(NETWORKS[1].cost, rel=5e-3)
            budget(page, 0)
            assert "Against 30 %: stage 1 was left out; " in said(page)
            assert (
                "73.0 % of the test images are named rightly (mean of 2 seeds, 71.0 to 75.0; the drawn network: 73.0)"
                in said(page)
            )
            budget(page, 2)
            assert "Against 10 %: stage 1 came back; " in said(page)
            assert "97.3 % of the test images are named rightly. " in said(page)
            layers = dict(NETWORKS[3].layers)
            dearest = max((name for name in layers if name.startswith("stage")), key=layers.get)
            assert f"Most is spent on {dearest}: {100 * layers[dearest] / NETWORKS[3].cost:.0f} %." in said(page)

    def test_what_changed_has_a_sign(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            budget(page, 2)
            budget(page, 0)
            assert page.locator(".ptr-chart svg").first.text_content().count("▾") == 1 + 1 + 3 + 1 + 1
            budget(page, 2)
            texts = page.locator(".ptr-chart svg").first.text_content()
            assert "▾" not in texts
            assert texts.count("▴") == 1 + 1 + 1 + 3 + 1

    def test_the_front(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            assert page.locator(".ptr-seed").count() == 4
            rings = []
            for place in (0, 1, 2):
                budget(page, place)
                rings.append(page.locator("circle.ptr-now").evaluate("e => [e.cx.baseVal.value, e.cy.baseVal.value]"))
            xs, ys = zip(*rings, strict=True)
            assert list(xs) == sorted(xs)
            assert list(ys) == sorted(ys, reverse=True)
            points = page.locator("path.ptr-front").get_attribute("d")[1:].split("L")
            assert [[float(v) for v in one.split(" ")] for one in points] == [pytest.approx(one) for one in rings]

    def test_keyboard_alone(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            page.keyboard.press("Tab")
            page.keyboard.press("ArrowDown")
            assert said(page).startswith("memory-bound")
            page.keyboard.press("Tab")
            page.keyboard.press("Home")
            slider = page.get_by_label("Budget", exact=True)
            assert slider.get_attribute("aria-valuetext") == "40 % of the full cost"
            page.keyboard.press("ArrowRight")
            assert slider.get_attribute("aria-valuetext") == "90 % of the full cost"
            assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"

    @pytest.mark.parametrize("width", [390, 1280])
    def test_one_network_and_whole_blocks(self, browser, folder, width):
        with opened(browser, folder / "one.html", width) as page:
            assert page.get_by_label("Cost", exact=True).is_disabled()
            assert page.get_by_label("Device", exact=True).count() == 0
            assert "Against" not in said(page)
            assert "NaN" not in page.locator(".ptr-root").inner_html()
        with opened(browser, folder / "whole.html", width) as page:
            slider = page.get_by_label("Cost", exact=True)
            slide(slider, 2)
            assert page.locator(".ptr-share").count() == 5
            assert "Most is spent on the first layers: 30 %." in said(page)
            assert slider.get_attribute("aria-valuetext") == "13.5 microseconds"

    @pytest.mark.parametrize("width", [390, 1280])
    def test_a_deep_network_stands_from_top_to_bottom(self, browser, folder, width):
        with opened(browser, folder / "deep.html", width) as page:
            nothing_sticks_out(page, width)
            assert page.locator(".ptr-chart .ptr-conv").count() == 60
            size = page.locator(".ptr-chart svg").first.bounding_box()
            assert size["height"] > size["width"]

    @pytest.mark.parametrize("width", [340, 390, 620, 1280])
    def test_page(self, browser, folder, width):
        with opened(browser, folder / "dark.html", width) as page:
            nothing_sticks_out(page, width)
            all_is_named(page, pictures=2, readouts=1)
            assert is_dark(page)
            assert words_outside(page) == []

    def test_still(self, browser, folder):
        a_still_picture_stands(browser, folder / "plain.html")
