"""The figures of chapter 7 in a real browser without a network: controls, keyboard, numbers, sound, widths."""

import io

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import mu_law_decoding

from lib.cenet.config import preset_named
from lib.speech.metrics.keyword import keyword_curves
from lib.widgets.cenet_adjacency import AdjacencyMaps
from lib.widgets.cenet_threshold import ThresholdCurves, played_bytes
from lib.widgets.kit import module
from tests.browser import comes_true
from tests.widgets.cenet_figures import clips_of_tones, scores_of, spotter_of, with_adjacency
from tests.widgets.page import (
    a_still_picture_stands,
    all_is_named,
    document,
    is_dark,
    nothing_sticks_out,
    opened,
    slide,
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def clips():
    return clips_of_tones(60)


@pytest.fixture(scope="module")
def figures(clips):
    sounds = clips.waveforms[:2]
    return {
        "maps": AdjacencyMaps.from_spotter(spotter_of(), sounds, ["first", "second"]),
        "identity": AdjacencyMaps.from_spotter(spotter_of(with_adjacency("identity"), gamma=0.0), sounds, ["a", "b"]),
        "uniform": AdjacencyMaps.from_spotter(spotter_of(with_adjacency("uniform")), sounds, ["a", "b"]),
        "banded": AdjacencyMaps.from_spotter(spotter_of(with_adjacency("banded")), sounds, ["a", "b"]),
        "paper": AdjacencyMaps.from_spotter(spotter_of(preset_named("cenet-gcn-6")), sounds, ["a", "b"]),
        "curves": ThresholdCurves.from_posteriors(scores_of(clips), clips),
        "one": ThresholdCurves.from_posteriors(scores_of(clips), clips, ["no"], examples=3),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory, figures):
    """A page a figure, and one with both in the dark."""
    place = tmp_path_factory.mktemp("cenet")
    for name, figure in figures.items():
        (place / f"{name}.html").write_text(document(figure.static_html()), encoding="utf-8")
    both = "".join(figures[name].static_html() for name in ("maps", "curves"))
    (place / "both-dark.html").write_text(document(both, "dark"), encoding="utf-8")
    return place


def said(page) -> str:
    return page.locator("[aria-live]").inner_text()


def overlay(page, panel: int) -> list[float]:
    """How strongly each cell of a panel is coloured."""
    return page.locator(".ptr-map").nth(panel).locator(".ptr-cell").evaluate_all(
        "cells => cells.map(c => Number(c.getAttribute('fill-opacity')))"
    )  # fmt: skip


def chosen(page) -> list[int]:
    """The chosen node of each panel, found by its outline."""
    return page.evaluate(
        """[...document.querySelectorAll('.ptr-map')].map((map) => {
            const ring = map.querySelector('.ptr-chosen'), key = (r) => r.getAttribute('x') + ' ' + r.getAttribute('y');
            return [...map.querySelectorAll('.ptr-cell')].findIndex((cell) => key(cell) === key(ring));
        })"""
    )


def press_at(page, panel: int, time: float, band: float) -> None:
    """Click a panel at shares of its time and bands."""
    box = page.locator(".ptr-map").nth(panel).locator("svg > rect").first.bounding_box()
    page.mouse.click(box["x"] + time * box["width"], box["y"] + (1 - band) * box["height"])


class TestAdjacency:
    def test_every_control_moves_the_picture(self, browser, folder):
        with opened(browser, folder / "maps.html") as page:
            seen = [([overlay(page, k) for k in range(3)], said(page))]

            def changed():
                seen.append(([overlay(page, k) for k in range(3)], said(page)))
                assert seen[-1][0] != seen[-2][0]
                assert seen[-1][1] != seen[-2][1]

            slide(page.get_by_label("Time", exact=True), 2)
            changed()
            assert "place at 170 ms" in said(page)
            slide(page.get_by_label("Band", exact=True), 8)
            changed()
            page.get_by_label("Show", exact=True).select_option("column")
            changed()
            assert "receives" in said(page)
            page.get_by_label("Show", exact=True).select_option("received")
            changed()
            assert "most goes to" in said(page)
            page.get_by_label("Show", exact=True).select_option("entropy")
            changed()
            assert "has entropy" in said(page)
            image = page.locator("mask image").first
            before = image.get_attribute("href")
            page.get_by_label("Sound", exact=True).select_option(label="second")
            changed()
            assert "“second”" in said(page)
            assert image.get_attribute("href") != before

    @pytest.mark.parametrize("mode", ["row", "column", "received", "entropy"])
    def test_the_overlay_is_the_matrix(self, browser, folder, figures, mode):
        figure = figures["maps"]
        with opened(browser, folder / "maps.html") as page:
            page.get_by_label("Show", exact=True).select_option(mode)
            press_at(page, 0, 0.3, 0.7)
            nodes, drawn = chosen(page), [overlay(page, k) for k in range(3)]
            lists = [page.locator(".ptr-map").nth(k).locator("li").all_inner_texts() for k in range(3)]
            marked = page.locator(".ptr-strong").count()
        assert marked == sum(map(len, lists))
        entropies = np.frombuffer(figure.entropies, "<f4")
        for k, entry in enumerate(figure.stages):
            matrix, count = figure.adjacency(0, k), entry["height"] * entry["width"]
            skipped = sum(e["height"] * e["width"] for e in figure.stages[:k])
            lines = {
                "row": matrix[nodes[k]],
                "column": matrix[:, nodes[k]],
                "received": matrix.mean(0),
                "entropy": entropies[skipped:][:count],
            }
            values = lines[mode]
            top = 1 if mode == "entropy" else values.max()
            assert drawn[k] == pytest.approx(0.82 * values / top, abs=1e-3)
            order = np.argsort(values if mode == "entropy" else -values, kind="stable")
            for text, node in zip(lists[k], order, strict=False):
                i, j = divmod(int(node), entry["width"])
                assert text.startswith(f"{entry['milliseconds'][i]} ms, {entry['bands'][j]} Hz")
                said_value = float(text.split(": ")[1].removesuffix(" %"))
                assert said_value == pytest.approx(
                    values[node] * (1 if mode == "entropy" else 100), rel=0.06, abs=0.006
                )

    @pytest.mark.parametrize("panel", [0, 1, 2])
    @pytest.mark.parametrize(("time", "band"), [(0.01, 0.01), (0.37, 0.62), (0.99, 0.99)])
    def test_a_click_chooses_at_every_stage(self, browser, folder, figures, panel, time, band):
        with opened(browser, folder / "maps.html") as page:
            press_at(page, panel, time, band)
            nodes = chosen(page)
            for k in range(3):  # the outline lies around that place of each picture
                map_of = page.locator(".ptr-map").nth(k)
                ground, ring = map_of.locator("svg > rect").first, map_of.locator(".ptr-chosen")
                sides = "r => Object.fromEntries(['x', 'y', 'width', 'height'].map((n) => [n, r.getBBox()[n]]))"
                whole, box = (rect.evaluate(sides) for rect in (ground, ring.first))
                assert box["x"] <= time * whole["width"] <= box["x"] + box["width"]
                assert box["y"] <= (1 - band) * whole["height"] <= box["y"] + box["height"]
        for entry, node in zip(figures["maps"].stages, nodes, strict=True):
            i, j = divmod(node, entry["width"])
            assert entry["time_edges"][i] <= time <= entry["time_edges"][i + 1]
            assert entry["band_edges"][j] <= band <= entry["band_edges"][j + 1]

    def test_keyboard_alone(self, browser, folder):
        with opened(browser, folder / "maps.html") as page:
            ground = page.get_by_role("application").nth(1)
            assert "Stage 2: 7 by 5 places. Arrow keys" in ground.get_attribute("aria-label")
            ground.focus()
            assert ground.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            row, column = divmod(chosen(page)[1], 5)
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowUp")
            assert divmod(chosen(page)[1], 5) == (row + 1, column + 1)
            # both sliders follow
            fine = divmod(chosen(page)[0], 10)
            assert page.get_by_label("Time", exact=True).input_value() == str(fine[0])
            assert page.get_by_label("Band", exact=True).input_value() == str(fine[1])
            for _ in range(9):
                page.keyboard.press("ArrowLeft")
                page.keyboard.press("ArrowDown")
            assert chosen(page) == [0, 0, 0]
            page.get_by_label("Time", exact=True).focus()
            page.keyboard.press("End")
            assert [node // width for node, width in zip(chosen(page), (10, 5, 3), strict=True)] == [12, 6, 3]
            assert page.get_by_label("Time", exact=True).get_attribute("aria-valuetext") == "970 ms"

    def test_dragging_moves_the_place(self, browser, folder):
        with opened(browser, folder / "maps.html") as page:
            box = page.locator(".ptr-map svg").first.bounding_box()
            page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
            page.mouse.down()
            page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
            there = chosen(page)
            page.mouse.up()
            assert chosen(page) == there
            assert there[0] // 10 >= 9

    def test_words_for_the_controls(self, browser, folder):
        with opened(browser, folder / "identity.html") as page:
            assert said(page).count("looks mostly at itself") == 3
            assert "γ = 0: what the graph finds is not used." in page.locator(".ptr-map").first.inner_text()
            assert "(itself): 100 %" in page.locator(".ptr-map li").first.inner_text()
        with opened(browser, folder / "uniform.html") as page:
            assert said(page).count("looks everywhere, nearly alike") == 3
            assert "what is found is subtracted" in page.locator(".ptr-map").first.inner_text()
        with opened(browser, folder / "banded.html") as page:
            assert "mostly near itself" in said(page) or "mostly at itself" in said(page)

    def test_papers_size(self, browser, folder):
        with opened(browser, folder / "paper.html", 390) as page:
            assert page.locator(".ptr-map").first.locator(".ptr-cell").count() == 250
            assert page.get_by_label("Coefficient", exact=True).is_visible()
            press_at(page, 0, 0.999, 0.999)
            assert chosen(page) == [249, 64, 20]
            assert "coefficient" in said(page)
            assert "Hz" not in page.locator(".ptr-root").inner_text()


@pytest.fixture(scope="module")
def script(browser, tmp_path_factory):
    """The threshold script's own functions."""
    place = tmp_path_factory.mktemp("script") / "script.html"
    place.write_text(document(""), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(place.as_uri())
    page.evaluate(
        """async (code) => {
            window.kit = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
        }""",
        module("cenet_threshold"),
    )
    yield page
    context.close()


class TestScript:
    @pytest.mark.parametrize("sharpness", [0.0, 2.5, 8.0])
    def test_curves_are_those_of_the_library(self, script, sharpness):
        clips = clips_of_tones(200)
        scores = scores_of(clips, 4, sharpness)
        figure = ThresholdCurves.from_posteriors(scores, clips, examples=1)
        got = script.evaluate(
            """([entries, targets, others, counts]) => {
                const cut = (list, key) => { let at = 0; return entries.map((e) => list.slice(at, (at += e[key]))); };
                const [t, o, c] = [cut(targets, "targets"), cut(others, "others"), cut(counts, "others")];
                const keywords = entries.map((e, k) => kit.keywordOf(e.name, t[k], o[k], c[k]));
                return { areas: keywords.map((k) => k.area), average: kit.averaged(keywords),
                    misses: keywords.map((k) => k.points.map(([alarm]) => kit.missAt(k.points, alarm))),
                    alarms: keywords.map((k) => k.points.map(([alarm]) => alarm)) };
            }""",
            [
                figure.keywords,
                *(np.frombuffer(getattr(figure, name), "<f4").tolist() for name in ("targets", "others")),
                np.frombuffer(figure.counts, "<i4").tolist(),
            ],
        )
        expected = keyword_curves(scores, clips.labels, [0, 1, 2])
        assert got["areas"] == pytest.approx(expected.areas, abs=1e-12)
        average = np.array(got["average"])[::-1]
        assert average[:, 0] == pytest.approx(expected.false_alarm)
        assert average[:, 1] == pytest.approx(expected.mean_false_reject, abs=1e-9)
        assert np.trapezoid(average[:, 1], average[:, 0]) == pytest.approx(expected.area, abs=2e-3)
        for place in range(3):
            grid = np.unique(got["alarms"][place])
            curve = keyword_curves(scores, clips.labels, [place], grid).false_reject[0]
            known = dict(zip(got["alarms"][place], got["misses"][place], strict=True))
            assert [known[alarm] for alarm in grid] == pytest.approx(curve, abs=1e-12)

    def test_sound_file(self, script, clips):
        packed = played_bytes(clips.waveforms[0], 16000)
        wav = script.evaluate("(bytes) => [...new Uint8Array(kit.wavOf(Uint8Array.from(bytes)))]", list(packed))
        samples, rate = soundfile.read(io.BytesIO(bytes(wav)))
        expected = mu_law_decoding(torch.frombuffer(bytearray(packed), dtype=torch.uint8), 256)
        assert rate == 8000
        assert samples == pytest.approx(expected.numpy(), abs=2 / 32768)


def verdicts(page) -> list[tuple[str, float, str, str]]:
    """Section, score, kind and words of every listed clip."""
    return page.evaluate(
        """[...document.querySelectorAll('.ptr-clips section')].flatMap((section) =>
            [...section.querySelectorAll('li')].map((li) => [section.querySelector('h4').textContent.split(':')[0],
                Number(li.querySelector('.ptr-score').nextSibling.textContent), li.dataset.verdict,
                li.querySelector('.ptr-said').textContent]))"""
    )


class TestThreshold:
    def test_every_control_moves_the_picture(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            drawing = lambda: page.locator(".ptr-chart svg").evaluate("e => e.innerHTML")  # noqa: E731
            before, words = drawing(), said(page)
            slide(page.get_by_label("Threshold", exact=True), 700)
            assert drawing() != before
            assert said(page) != words
            assert "at the threshold 0.700" in said(page)
            before, words = drawing(), said(page)
            page.get_by_label("Keyword", exact=True).select_option(label="up")
            assert drawing() != before
            assert said(page).startswith("“up”")
            before = page.locator("path.ptr-curve").get_attribute("d")
            page.get_by_label("Logarithmic axes", exact=True).uncheck()
            assert page.locator("path.ptr-curve").get_attribute("d") != before
            assert page.locator("path.ptr-average").count() == 1
            page.get_by_label("Average of the 3 keywords", exact=True).uncheck()
            assert page.locator("path.ptr-average").count() == 0

    def test_read_out_is_counted_on_the_clips(self, browser, folder, clips):
        scores = scores_of(clips).double()
        curves = keyword_curves(scores_of(clips), clips.labels, [0, 1, 2])
        with opened(browser, folder / "curves.html") as page:
            for place, name in enumerate(("yes", "no", "up")):
                page.get_by_label("Keyword", exact=True).select_option(label=name)
                for step in (0, 37, 500, 823, 1000):
                    slide(page.get_by_label("Threshold", exact=True), step)
                    own = clips.labels == place
                    missed = int((scores[own, place] < step / 1000).sum())
                    alarms = int((scores[~own, place] >= step / 1000).sum())
                    words = said(page)
                    assert f"{missed} of its 12 clips are missed" in words
                    assert f"{alarms} of 48 other clips raise a false alarm" in words
                    assert float(words.split("rate of ")[1].split(" %")[0]) == pytest.approx(
                        100 * missed / 12, rel=5e-3
                    )
                    assert float(words.split("alarm, ")[1].split(" in")[0]) == pytest.approx(
                        100 * alarms / 48, rel=5e-3
                    )
                assert float(words.split("its curve: ")[1].split(";")[0]) == pytest.approx(
                    curves.areas[place], rel=5e-3
                )
                assert float(words.split("keywords: ")[1].rstrip(".")) == pytest.approx(curves.area, rel=5e-3)

    def test_clips_change_sides(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            sides = []
            for step in (0, 200, 500, 1000):
                slide(page.get_by_label("Threshold", exact=True), step)
                rows = verdicts(page)
                assert 8 <= len(rows) <= 12
                for side, score, kind, words in rows:
                    assert side == ("Accepted" if score >= step / 1000 else "Rejected")
                    own = words.startswith("“yes”")
                    assert kind == {(True, True): "hit", (True, False): "miss", (False, True): "alarm"}.get(
                        (own, side == "Accepted"), "pass"
                    )
                    told = {"hit": "true detection", "alarm": "false alarm", "miss": "false reject"}
                    assert words.endswith(told.get(kind, "rightly rejected"))
                sides.append([side for side, *_ in rows].count("Accepted"))
                title = page.locator(".ptr-clips h4").first.inner_text()
                assert f"{sum(kind == 'hit' for *_, kind, _ in rows)} true detection" in title
            assert sides == sorted(sides, reverse=True)
            assert sides[0] > sides[1] > 0
            assert sides[-1] == 0

    def test_clips_play_one_at_a_time(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            page.evaluate(
                """() => {
                    window.started = [];
                    const play = HTMLMediaElement.prototype.play;
                    HTMLMediaElement.prototype.play = function () {
                        window.started.push(this);
                        return play.call(this);
                    };
                }"""
            )
            buttons = page.locator(".ptr-clip button")
            buttons.nth(0).click()
            assert comes_true(
                page, lambda: page.evaluate("window.started[0].currentTime > 0 || window.started[0].ended")
            )
            assert page.evaluate("window.started[0].duration") == pytest.approx(0.59, abs=0.25)
            buttons.nth(1).click()
            assert page.locator(".ptr-clip button[aria-pressed=true]").count() == 1
            name = buttons.nth(1).get_attribute("aria-label")
            assert name.startswith("Stop ")
            assert "score" in name
            # it ends by itself
            assert comes_true(page, lambda: page.locator(".ptr-clip button[aria-pressed=true]").count() == 0)

    def test_keyboard_alone(self, browser, folder, figures):
        start = round(1000 * figures["curves"].start)
        with opened(browser, folder / "curves.html") as page:
            page.keyboard.press("Tab")
            page.keyboard.press("ArrowDown")
            assert said(page).startswith("“no”")
            page.keyboard.press("Tab")
            page.keyboard.press("ArrowRight")
            assert f"at the threshold {(start + 1) / 1000:.3f}" in said(page)
            page.keyboard.press("Home")
            assert "0 of its 12 clips are missed" in said(page)
            slider = page.get_by_label("Threshold", exact=True)
            assert slider.get_attribute("aria-valuetext") == "0.000"
            assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            page.get_by_label("Logarithmic axes", exact=True).focus()
            page.keyboard.press("Space")
            assert not page.get_by_label("Logarithmic axes", exact=True).is_checked()
            button = page.locator(".ptr-clip button").first
            button.focus()
            page.keyboard.press("Enter")
            assert button.get_attribute("aria-pressed") == "true"

    def test_one_keyword_has_no_average(self, browser, folder):
        with opened(browser, folder / "one.html", 390) as page:
            assert page.locator("path.ptr-average").count() == 0
            assert page.get_by_role("checkbox").count() == 1
            assert len(verdicts(page)) == 3
            assert "averaged" not in said(page)


class TestBoth:
    @pytest.mark.parametrize("width", [340, 390, 1280])
    def test_nothing_is_wider_than_the_page(self, browser, folder, width):
        with opened(browser, folder / "both-dark.html", width) as page:
            nothing_sticks_out(page, width)

    def test_every_control_has_a_name_and_every_picture_a_sentence(self, browser, folder):
        with opened(browser, folder / "both-dark.html") as page:
            all_is_named(page, pictures=4, readouts=2)

    @pytest.mark.parametrize(("name", "scheme"), [("both-dark", "light"), ("maps", "dark"), ("curves", "dark")])
    def test_the_books_switch_decides_over_the_system(self, browser, folder, name, scheme):
        with opened(browser, folder / f"{name}.html", scheme=scheme) as page:
            assert is_dark(page) == (name == "both-dark")

    @pytest.mark.parametrize("name", ["maps", "curves"])
    def test_a_still_picture_stands_there_without_javascript(self, browser, folder, name):
        a_still_picture_stands(browser, folder / f"{name}.html")
