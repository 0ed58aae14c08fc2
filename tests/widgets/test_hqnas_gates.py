"""The figure of the gates: its state against the log, its words, its list of decisions, its controls."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.errors import UserError
from lib.hqnas.config import SearchConfig, scaled
from lib.hqnas.cost import table_of
from lib.hqnas.evaluate import summary_of
from lib.hqnas.gates import ROW
from lib.hqnas.search import Found, gates_of_rows, search
from lib.hqnas.space import SearchSpace
from lib.training.run import Run
from lib.vision.data import load_images
from lib.widgets.hqnas_gates import MOST_ROWS, GateCurves, gate_words, gates_state
from lib.widgets.hqnas_grids import NestedGrids
from lib.widgets.kit import module
from tests.widgets.hqnas_figures import BLOCKS, SPACE, drawn, functions_of, said, walk_of_gates, words_outside
from tests.widgets.page import (
    a_still_picture_stands,
    all_is_named,
    document,
    is_dark,
    nothing_sticks_out,
    opened,
    slide,
)

SKIPPABLE = [block.skippable for block in SPACE.blocks]
SHOWN = {"target": 9.0, "unit": "kilocycles", "warm": 12, "frozen": 48, "skippable": SKIPPABLE}


def flips_of(log) -> list:
    """What the library says of the same log."""
    return list(Found(SPACE, None, (), 0.0, None, None, log).flips())


def quiet(steps: int = 5) -> SimpleNamespace:
    """A log in which nothing is decided."""
    shape = (steps, len(BLOCKS), len(ROW))
    return SimpleNamespace(
        step=np.arange(steps),
        norms=np.ones(shape),
        thresholds=np.zeros(shape),
        gates=np.ones(shape),
        cost=np.ones(steps),
    )


def restless() -> SimpleNamespace:
    """A log in which gates change at nearly every step, whatever the norms say."""
    log = quiet(400)
    log.gates = (np.random.default_rng(0).random(log.gates.shape) > 0.5).astype(float)
    return log


class TestState:
    @pytest.mark.parametrize("steps", [2, 60, 400, 1700])
    def test_no_decision_is_lost(self, steps):
        log = walk_of_gates(steps)
        state, expected = gates_state(log, BLOCKS), flips_of(log)
        places = np.frombuffer(state["flips"], "<i4").reshape(-1, 4)
        numbers = np.frombuffer(state["flip_numbers"], "<f4").reshape(-1, 4)
        assert len(places) == len(expected)
        for (step, block, gate, opened_), (norm, threshold, *before), flip in zip(
            places.tolist(), numbers.tolist(), expected, strict=True
        ):
            assert (step, BLOCKS[block], ROW[gate], bool(opened_)) == (flip.step, flip.block, flip.gate, flip.opened)
            assert (norm, threshold) == (flip.norm, flip.threshold)
            row = int((log.step == step).nonzero()) - 1
            assert before == [float(log.norms[row, block, gate]), float(log.thresholds[row, block, gate])]

    @pytest.mark.parametrize("steps", [1, 2, 200, 201, 399, 400, 5000])
    def test_rows_are_few_and_true(self, steps):
        log = walk_of_gates(steps)
        figure = GateCurves.from_log(log, BLOCKS)
        kept = np.frombuffer(figure.steps, "<i4")
        assert len(kept) == min(steps, len(log.step)) if len(log.step) <= MOST_ROWS else 100 <= len(kept) <= MOST_ROWS
        assert (np.diff(kept) > 0).all()
        assert kept[0] == 0
        assert kept[-1] == int(log.step.max())
        rows = torch.isin(log.step, torch.tensor(kept.copy()))
        for block, gate in ((0, 0), (1, 4), (2, 8)):
            _, norm, threshold, is_open = figure.curves(block, gate)
            assert norm == pytest.approx(log.norms[rows, block, gate].numpy())
            assert threshold == pytest.approx(log.thresholds[rows, block, gate].numpy())
            assert is_open.tolist() == log.gates[rows, block, gate].tolist()
        assert np.frombuffer(figure.cost, "<f4").tolist() == log.cost[rows].tolist()

    def test_rows_with_a_decision_are_kept_first(self):
        log = quiet(400)
        log.gates[101:, 0, 2] = 0
        assert 101 in np.frombuffer(gates_state(log, BLOCKS)["steps"], "<i4")

    def test_rows_that_were_not_written_do_not_count(self):
        state = gates_state(walk_of_gates(60, written=20), BLOCKS)
        assert np.frombuffer(state["steps"], "<i4").tolist() == list(range(20))

    def test_it_starts_with_a_decision_on_shape_that_stands(self):
        log = quiet(50)
        log.gates[10:, 0, 5] = 0  # once, early, but bits
        log.gates[30:, 1, 2] = 0  # once, a kernel
        log.gates[5:7, 2, 1] = 0  # twice
        assert gates_state(log, BLOCKS)["start"] == [1, 2, 30]
        assert gates_state(quiet(), BLOCKS)["start"] == [0, 2, -1]

    def test_every_gate_has_its_words(self):
        words = gate_words()
        assert [one["what"] for one in words[:3]] == ["block", "expansion", "kernel"]
        for name, one in zip(ROW[3:], words[3:], strict=True):
            part, bits, _ = name.split()
            assert (one["what"], one["open"]) == (part, bits)
            assert one["name"] == f"{part}: {bits} bits or {int(bits) // 2}"

    def test_from_a_search(self):
        config = scaled()
        space = SearchSpace(config.space, (1, 8, 8), 10)
        table = table_of(space, "toy", "cycles", lambda conv, bits: conv.macs * bits / 8)
        recipe = replace(config.search.recipe, steps=10, batch_size=8)
        setting = SearchConfig(recipe, objective=replace(config.search.objective, target=0.5))
        found = search(space, setting, table, load_images("embedded"), Run(0, progress=False))
        figure = GateCurves.from_found(found, setting)
        assert (figure.warm, figure.frozen) == (2, 8)
        assert figure.unit == "cycles"
        assert figure.target == found.target
        assert [one["skippable"] for one in figure.blocks] == [block.skippable for block in space.blocks]
        assert len(np.frombuffer(figure.steps, "<i4")) == 10
        assert len(figure.static_html()) < 70_000

    def test_size(self):
        assert len(GateCurves.from_log(walk_of_gates(4000), BLOCKS, **SHOWN).static_html()) < 160_000

    def test_still(self):
        still = GateCurves.from_log(walk_of_gates(), ("<i>", *BLOCKS[1:])).preview()
        assert "<i>" not in still
        assert "nan" not in still.lower()
        for log in (quiet(1), quiet(3)):
            assert "nan" not in GateCurves.from_log(log, BLOCKS).preview()

    def test_bad_input(self):
        log = walk_of_gates()
        broken = walk_of_gates()
        broken.norms[3, 0, 0] = torch.nan
        for make, words in (
            (lambda: gates_state(log, BLOCKS[:2]), "does not fit 2 blocks"),
            (lambda: gates_state(walk_of_gates(written=0), BLOCKS), "search first"),
            (lambda: gates_state(broken, BLOCKS), "diverged"),
            (lambda: gates_state(log, BLOCKS, target=float("nan")), "target is no number"),
            (lambda: gates_state(log, BLOCKS, skippable=[True]), "3 blocks need as many"),
        ):
            with pytest.raises(UserError, match=words):
                make()

    def test_the_script_imports_nothing(self):
        assert "\nimport " not in module("hqnas_gates")


@pytest.fixture(scope="module")
def script(browser, tmp_path_factory):
    with functions_of(browser, tmp_path_factory.mktemp("gates"), "hqnas_gates") as page:
        yield page


@pytest.mark.browser
class TestScript:
    def test_blocks_are_those_of_the_gates(self, script):
        rows = (torch.rand(80, len(ROW), generator=torch.Generator().manual_seed(1)) > 0.4).float()
        rows[:, 0] = (torch.arange(80) > 5).float()
        got = script.evaluate("(rows) => rows.map(kit.blockWords)", rows.tolist())
        for words, one in zip(got, gates_of_rows(rows).choices(), strict=True):
            expected = "left out" if one is None else summary_of((one,)).replace("x", "×").replace(" e", ", expansion ")
            if one is not None:
                *shape, bits = expected.split(" ")
                expected = f"{' '.join(shape)}, {bits} bits"
            assert words == expected

    def test_numbers_get_the_digits_that_tell_them_apart(self, script):
        assert script.evaluate("() => kit.apart(0.71, 0.72)") == ["0.71", "0.72"]
        assert script.evaluate("() => kit.apart(0.7123, 0.7119)") == ["0.7123", "0.7119"]
        assert script.evaluate("() => kit.apart(0.5, 0.5)") == ["0.500000", "0.500000"]

    @pytest.mark.parametrize(
        ("numbers", "words"),
        [
            ((0.71, 0.72, 0.71, 0.60, 0), "the threshold rose to 0.72, above the norm 0.71, and the gate closed"),
            ((0.71, 0.72, 0.90, 0.72, 0), "the norm 0.71 fell below the threshold 0.72, and the gate closed"),
            (
                (0.71, 0.60, 0.71, 0.72, 1),
                "the threshold fell to 0.60, and the norm, 0.71, reaches it, so the gate opened",
            ),
            ((0.75, 0.72, 0.60, 0.72, 1), "the norm 0.75 reached the threshold 0.72, and the gate opened"),
            ((0.75, 0.72, 0.75, 0.72, 0), "the gate was closed from outside (norm 0.75, threshold 0.72)"),
        ],
    )
    def test_reasons(self, script, numbers, words):
        norm, threshold, norm_before, threshold_before, opened_ = numbers
        flip = {
            "step": 5, "opened": bool(opened_), "norm": norm, "threshold": threshold, "normBefore": norm_before,
            "thresholdBefore": threshold_before,
        }  # fmt: skip
        assert script.evaluate("(flip) => kit.reason(flip, 9)", flip) == words
        if "outside" in words:
            assert "frozen, and this one was closed" in script.evaluate("(flip) => kit.reason(flip, 5)", flip)

    def test_bits_around_a_decision(self, script):
        log = walk_of_gates(300, seed=3)
        state = gates_state(log, BLOCKS)
        flips = [
            {"block": block, "gate": gate, "opened": bool(one)}
            for _, block, gate, one in np.frombuffer(state["flips"], "<i4").reshape(-1, 4).tolist()
        ]
        got = script.evaluate(
            "([flips, first]) => kit.bitsAround(flips, (b, g) => first[b][g] === 1)", [flips, log.gates[0].tolist()]
        )
        gates = log.gates[0].clone()
        for flip, around in zip(flips, got, strict=True):
            place = (flip["block"], flip["gate"])
            if flip["gate"] < 3:
                assert around is None
                gates[place] = float(flip["opened"])
                continue
            part = (flip["gate"] - 3) // 2
            bits = []
            for value in (gates[place].item(), float(flip["opened"])):
                gates[place] = value
                row = gates[flip["block"]].clone()
                row[0] = 1
                bits.append(gates_of_rows(row[None]).choices()[0].bits[part])
            assert around == bits


@pytest.fixture(scope="module")
def log():
    return walk_of_gates(60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, log):
    place = tmp_path_factory.mktemp("gates")
    figures = {
        "plain": GateCurves.from_log(log, BLOCKS, **SHOWN),
        "quiet": GateCurves.from_log(quiet(), BLOCKS),
        "one": GateCurves.from_log(quiet(1), BLOCKS),
        "long": GateCurves.from_log(restless(), BLOCKS, target=9.0, warm=80, frozen=320),
    }
    for name, figure in figures.items():
        (place / f"{name}.html").write_text(document(figure.static_html()), encoding="utf-8")
    # the style sheet of a figure that comes later has the last word where two rules weigh the same
    weights = NestedGrids.from_weights(torch.linspace(-1, 1, 50))
    beside = figures["plain"].static_html() + weights.static_html()
    (place / "beside.html").write_text(document(beside), encoding="utf-8")
    (place / "dark.html").write_text(document(figures["plain"].static_html(), "dark"), encoding="utf-8")
    return place


def pick(page, label: str, value) -> None:
    page.get_by_label(label, exact=True).select_option(str(value))


@pytest.mark.browser
class TestFigure:
    def test_every_control_moves_picture_and_words(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            seen = [(drawn(page), said(page))]

            def changed():
                seen.append((drawn(page), said(page)))
                assert seen[-1][0] != seen[-2][0]
                assert seen[-1][1] != seen[-2][1]

            start = page.get_by_label("Block", exact=True).input_value()
            pick(page, "Block", (int(start) + 1) % 3)
            changed()
            for gate in (8, 3, 1):
                pick(page, "Gate", gate)
                changed()
            for step in (0, 30, 59):
                slide(page.get_by_label("Step", exact=True), step)
                changed()
            pick(page, "Decisions of", "gate")
            assert page.locator("li button small").count() == 0

    def test_a_block_that_must_stay_has_no_gate_for_it(self, browser, folder):
        with opened(browser, folder / "plain.html") as page:
            for block, can_go in enumerate(SKIPPABLE):
                pick(page, "Block", block)
                assert page.get_by_label("Gate", exact=True).locator("option").count() == 8 + can_go

    @pytest.mark.parametrize(("block", "gate"), [(0, 1), (1, 4), (2, 7), (2, 0)])
    def test_shaded_where_the_gate_is_closed(self, browser, folder, log, block, gate):
        with opened(browser, folder / "plain.html") as page:
            pick(page, "Block", block)
            pick(page, "Gate", gate)
            boxes = page.locator("rect.ptr-closed").evaluate_all(
                "rs => rs.map(r => [r.getAttribute('x'), r.getAttribute('width')].map(Number))"
            )
            path = page.locator("path.ptr-cost").get_attribute("d")
        places = [float(part.split(" ")[0]) for part in path[1:].split("L")]
        shaded = [any(x - 0.2 <= place < x + width - 0.2 for x, width in boxes) for place in places[:-1]]
        assert shaded == [not one for one in log.gates[:-1, block, gate].tolist()]

    def test_the_words_follow_the_log(self, browser, folder, log):
        block, gate = 1, 2
        with opened(browser, folder / "plain.html") as page:
            pick(page, "Block", block)
            pick(page, "Gate", gate)
            for step in (0, 13, 31, 47, 59):
                slide(page.get_by_label("Step", exact=True), step)
                words = said(page)
                own = [f for f in flips_of(log) if (f.block, f.gate) == (BLOCKS[block], "kernel") and f.step <= step]
                is_open = bool(log.gates[step, block, gate])
                assert words.startswith("stage 2, block 1, kernel 5×5 or 3×3. ")
                if own:
                    assert f"At step {own[-1].step} the " in words
                    assert ("3×3 became 5×5" if own[-1].opened else "5×5 became 3×3") in words
                else:
                    assert f"Up to step {step} the gate has stayed {'open' if is_open else 'closed'}" in words
                one = gates_of_rows(log.gates[step]).choices()[block]
                expected = "left out" if one is None else f"{one.kernel}×{one.kernel}, expansion {one.expansion}, "
                assert f"The block is now {expected}" in words
                assert float(words.split("costs ")[1].split(" kilo")[0]) == pytest.approx(
                    float(log.cost[step]), rel=5e-3
                )
                assert words.endswith("(target 9.00).")

    def test_the_list_counts_decisions_and_jumps(self, browser, folder, log):
        expected = flips_of(log)
        with opened(browser, folder / "plain.html") as page:
            lines = page.locator(".ptr-decisions li button")
            assert lines.count() == len(expected)
            for step in (0, 30, 59):
                slide(page.get_by_label("Step", exact=True), step)
                done = sum(flip.step <= step for flip in expected)
                assert page.locator(".ptr-decisions h4").inner_text() == (
                    f"By step {step}: {done} of {len(expected)} decisions"
                )
                signs = [text[0] for text in lines.all_inner_texts()]
                assert signs == ["●"] * done + ["○"] * (len(expected) - done)
            for place in (0, len(expected) // 2, len(expected) - 1):
                lines.nth(place).click()
                flip = expected[place]
                assert page.get_by_label("Block", exact=True).input_value() == str(BLOCKS.index(flip.block))
                assert page.get_by_label("Gate", exact=True).input_value() == str(ROW.index(flip.gate))
                assert page.get_by_label("Step", exact=True).get_attribute("aria-valuetext") == str(flip.step)
                assert f"At step {flip.step} the " in said(page)
                assert page.locator(".ptr-decisions h4").inner_text().startswith(f"By step {flip.step}: ")
                row = log.gates[int((log.step == flip.step).nonzero()), BLOCKS.index(flip.block)]
                shape = f"{'5×5' if row[2] else '3×3'}, expansion {6 if row[1] else 3}, " if row[0] else "left out; "
                assert f"The block is now {shape}" in said(page)
                assert page.locator("[aria-current=true]").count() == 1
                assert lines.nth(place).get_attribute("aria-current") == "true"

    def test_keyboard_alone(self, browser, folder, log):
        expected = flips_of(log)
        with opened(browser, folder / "plain.html") as page:
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Block"
            slider = page.get_by_label("Step", exact=True)
            slider.focus()
            page.keyboard.press("End")
            assert slider.get_attribute("aria-valuetext") == "59"
            page.keyboard.press("Tab")
            page.keyboard.press("Tab")  # past the filter, into the list: one stop for all lines
            assert page.evaluate("document.activeElement.closest('ol') !== null")
            for key, place in (
                ("Home", 0),
                ("ArrowDown", 1),
                ("ArrowDown", 2),
                ("ArrowUp", 1),
                ("End", len(expected) - 1),
            ):
                page.keyboard.press(key)
                assert page.evaluate("Number(document.activeElement.dataset.flip)") == place
                assert slider.get_attribute("aria-valuetext") == str(expected[place].step)
            assert page.locator(".ptr-decisions button[tabindex='0']").count() == 1

    def test_the_list_scrolls_and_the_page_stays(self, browser, folder):
        with opened(browser, folder / "plain.html", 390) as page:
            slide(page.get_by_label("Step", exact=True), 0)
            assert page.locator(".ptr-decisions ol").evaluate("e => e.scrollTop") == 0
            before = page.evaluate("scrollY")
            slide(page.get_by_label("Step", exact=True), 59)
            assert page.locator(".ptr-decisions ol").evaluate("e => e.scrollTop") > 0
            assert page.evaluate("scrollY") == before

    def test_long_lists_show_what_is_near(self, browser, folder):
        with opened(browser, folder / "long.html") as page:
            total = int(page.locator(".ptr-decisions h4").inner_text().split(" of ")[1].split(" ")[0])
            assert total > 1000
            for step in (0, 90, 199):
                slide(page.get_by_label("Step", exact=True), step)
                assert page.locator(".ptr-decisions li button").count() == 80
                shown = page.locator(".ptr-decisions ol").inner_text()
                assert ("earlier" in shown) == (step > 0)
                assert ("later" in shown) == (step < 199)
            last = page.locator(".ptr-decisions li button").last
            assert last.get_attribute("data-flip") == str(total - 1)

    @pytest.mark.parametrize("name", ["quiet", "one"])
    def test_a_log_without_decisions(self, browser, folder, name):
        with opened(browser, folder / f"{name}.html", 390) as page:
            assert "has stayed open" in said(page)
            assert "No gate changed." in page.locator(".ptr-decisions").inner_text()
            for gate in (0, 8):
                pick(page, "Gate", gate)
                assert "NaN" not in page.locator(".ptr-root").inner_html()
            nothing_sticks_out(page, 390)

    @pytest.mark.parametrize("width", [340, 390, 1280])
    def test_page(self, browser, folder, width):
        with opened(browser, folder / "dark.html", width) as page:
            nothing_sticks_out(page, width)
            all_is_named(page, pictures=1, readouts=1)
            assert is_dark(page)
            assert words_outside(page) == []

    def test_beside_another_figure_names_of_gates_have_room(self, browser, folder):
        with opened(browser, folder / "beside.html", 390) as page:
            assert page.get_by_label("Gate", exact=True).bounding_box()["width"] > 200
            assert page.get_by_label("Block", exact=True).bounding_box()["width"] > 200

    def test_still(self, browser, folder):
        a_still_picture_stands(browser, folder / "plain.html")
