"""The figures in a real browser without a network: every control moves the picture, and the read-out says so."""

import copy

import numpy as np
import pytest
import torch

from lib.cud.samplers import sample, trajectory
from lib.widgets.cud_digits import DigitTrajectories
from lib.widgets.cud_trajectories import OdeTrajectories, data_quantiles, sliced_distance
from lib.widgets.kit import module
from lib.widgets.mlp import run_packed
from lib.widgets.quality_curves import QualityCurves
from tests.widgets.page import (
    a_still_picture_stands,
    all_is_named,
    document,
    is_dark,
    nothing_sticks_out,
    opened,
    settled,
    slide,
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory, models, data, walks, records):
    """One page a figure, and one with all of them in the dark."""
    place = tmp_path_factory.mktemp("pages")
    figures = {
        "particles": OdeTrajectories.from_models(models, data, particles=60),
        "digits": DigitTrajectories.from_arrays(walks),
        "curves": QualityCurves.from_records(records, {"ring": 0.07}, {"ring": "sliced Wasserstein"}),
        "some": QualityCurves.from_records(records, shown=["gamma"]),
    }
    for name, figure in figures.items():
        (place / f"{name}.html").write_text(document(figure.static_html()), encoding="utf-8")
    together = "".join(figure.static_html() for name, figure in figures.items() if name != "some")
    (place / "all-dark.html").write_text(document(together, "dark"), encoding="utf-8")
    return place


def path_of(page, name: str) -> str:
    return page.locator(f"path.{name}").get_attribute("d")


def pictures(page) -> str:
    """All pixels of the visible canvases."""
    return page.evaluate(
        "[...document.querySelectorAll('canvas')].filter(c => c.offsetParent).map(c => c.toDataURL()).join()"
    )


def said(page) -> str:
    return page.locator("[aria-live]").inner_text()


class TestParticles:
    def test_every_control_moves_the_picture(self, browser, folder):
        with opened(browser, folder / "particles.html") as page:
            settled(page)
            seen = [(path_of(page, "ptr-particles"), said(page))]

            def changed():
                settled(page)
                seen.append((path_of(page, "ptr-particles"), said(page)))
                assert seen[-1][0] != seen[-2][0]
                assert seen[-1][1] != seen[-2][1]

            page.get_by_label("Method", exact=True).select_option(label="second model")
            changed()
            assert "second model" in said(page)
            for solver, calls in (("heun", 7), ("rk4", 16), ("dpm_solver_2", 4)):
                page.get_by_label("Solver", exact=True).select_option(solver)
                changed()
                assert f"{calls} network calls" in said(page)
            slide(page.get_by_label("Steps N", exact=True), 1)
            changed()
            assert "1 step, 1 network call." in said(page)
            page.get_by_role("button", name="New noise").click()
            changed()
            slide(page.get_by_label("Time t", exact=True), 0.5)
            changed()
            assert "At t = 0.50" in said(page)

    def test_field_and_paths_come_and_go(self, browser, folder):
        with opened(browser, folder / "particles.html") as page:
            settled(page)
            assert path_of(page, "ptr-field-arrows") == ""
            page.get_by_label("Velocity field at t", exact=True).check()
            first = path_of(page, "ptr-field-arrows")
            assert first.count("M") == 2 * 15 * 15
            slide(page.get_by_label("Time t", exact=True), 0.2)
            assert path_of(page, "ptr-field-arrows") != first
            assert path_of(page, "ptr-paths").count("M") == 60
            page.get_by_label("Paths", exact=True).uncheck()
            assert path_of(page, "ptr-paths") == ""

    def test_play_runs_from_noise_to_data_and_can_be_paused(self, browser, folder):
        with opened(browser, folder / "particles.html") as page:
            settled(page)
            page.get_by_role("button", name="Play").click()
            page.wait_for_function("document.querySelector('.ptr-clock').textContent.match(/0\\.[3-6]/)")
            page.get_by_role("button", name="Pause").click()
            stopped = path_of(page, "ptr-particles")
            page.wait_for_timeout(120)
            assert path_of(page, "ptr-particles") == stopped
            assert page.locator("[aria-live]").get_attribute("aria-live") == "polite"
            page.get_by_role("button", name="Play").click()
            page.wait_for_function("document.querySelector('.ptr-clock').textContent === 't = 0.00'")

    def test_keyboard_alone(self, browser, folder):
        with opened(browser, folder / "particles.html") as page:
            settled(page)
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.tagName") == "SELECT"
            page.keyboard.press("ArrowDown")
            settled(page)
            assert "second model" in said(page)
            slider = page.get_by_label("Steps N", exact=True)
            slider.focus()
            page.keyboard.press("ArrowRight")
            settled(page)
            assert "5 steps" in said(page)
            assert slider.get_attribute("aria-valuetext") == "5"
            assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            page.get_by_label("Paths", exact=True).focus()
            page.keyboard.press("Space")
            assert path_of(page, "ptr-paths") == ""

    def test_read_out_is_measured_on_the_true_samples(self, browser, folder, models, data):
        model, head = models["first model"]
        with opened(browser, folder / "particles.html") as page:
            settled(page)
            facts = page.locator(".ptr-value").all_inner_texts()
        noise = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
        end = sample(model, noise, 4, "euler", head=head).samples
        exact = sample(model, noise, 16, "rk4", head=head).samples
        distance = sliced_distance(end.numpy(), *data_quantiles(data.numpy()[::2], 60))
        error = (end - exact).norm(dim=1).mean().item()
        assert facts[0].startswith("4")
        assert float(facts[1]) == pytest.approx(distance, rel=0.02)
        assert float(facts[2]) == pytest.approx(error, rel=0.05)


@pytest.fixture(scope="module")
def rounded(models):
    """A model whose weights are 16-bit numbers already, so that packing loses nothing; and its head."""
    model, head = copy.deepcopy(models["second model"])
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())
    return model, head


@pytest.fixture(scope="module")
def script(browser, tmp_path_factory, rounded, data):
    """The particle script's own functions, run in the browser on the rounded model's weights."""
    figure = OdeTrajectories.from_models({"m": rounded}, data, particles=30)
    place = tmp_path_factory.mktemp("script") / "script.html"
    place.write_text(document(""), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(place.as_uri())
    page.evaluate(
        """async ([code, weights]) => {
            window.kit = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
            window.net = kit.decodeMlp(new DataView(Uint8Array.from(weights).buffer));
        }""",
        [module("cud_trajectories"), list(figure.weights)],
    )
    yield page, bytes(figure.weights)
    context.close()


class TestScript:
    @pytest.mark.parametrize("count", [1, 4, 30])
    def test_forward_pass_is_the_twin_in_numpy(self, script, count):
        page, weights = script
        x = np.random.default_rng(count).standard_normal((count, 2)).astype(np.float32)
        got = page.evaluate("([x, t]) => [...kit.velocity(net, Float32Array.from(x), t)]", [x.ravel().tolist(), 0.37])
        assert np.reshape(got, (-1, 2)) == pytest.approx(run_packed(weights, x, 0.37), abs=2e-5)

    @pytest.mark.parametrize("solver", ["euler", "heun", "rk4", "dpm_solver_2"])
    @pytest.mark.parametrize("steps", [1, 4, 32])
    def test_solvers_walk_as_the_library_does(self, script, rounded, solver, steps):
        page, _ = script
        model, head = rounded
        noise = torch.randn(30, 2, generator=torch.Generator().manual_seed(3))
        expected = trajectory(model, noise, steps, solver, head=head)
        got = page.evaluate(
            """([x, n, solver]) => {
                const walk = kit.solve(net, Float32Array.from(x), n, solver);
                return [walk.calls, walk.states.map((state) => [...state])];
            }""",
            [noise.ravel().tolist(), steps, solver],
        )
        assert got[0] == expected.nfe
        points = np.reshape(got[1], (steps + 1, 30, 2))
        assert points == pytest.approx(expected.points.numpy(), abs=2e-5)

    def test_measures_are_those_of_numpy(self, script):
        page, _ = script
        random = np.random.default_rng(4)
        a, b = random.standard_normal((20, 2)), random.standard_normal((50, 2))
        quantiles, spread = data_quantiles(b, 20)
        distance = page.evaluate(
            "([a, b, spread]) => kit.slicedDistance(a, b, spread)",
            [a.ravel().tolist(), quantiles.ravel().tolist(), spread],
        )
        gap = page.evaluate("([a, b]) => kit.meanGap(a, b)", [a.ravel().tolist(), b[:20].ravel().tolist()])
        assert distance == pytest.approx(sliced_distance(a, quantiles, spread))
        assert gap == pytest.approx(np.linalg.norm(a - b[:20], axis=-1).mean())


class TestDigits:
    def test_every_control_moves_the_picture(self, browser, folder):
        with opened(browser, folder / "digits.html") as page:
            seen = [(pictures(page), said(page))]

            def changed():
                seen.append((pictures(page), said(page)))
                assert seen[-1][0] != seen[-2][0]
                assert seen[-1][1] != seen[-2][1]

            slide(page.get_by_label("Step", exact=True), 4)
            changed()
            assert "step 4 of 8, t = 0.50" in said(page)
            page.get_by_label("Method", exact=True).select_option(label="second method")
            changed()
            page.get_by_label("Beside it", exact=True).select_option(label="nothing")
            changed()
            slide(page.get_by_label("Network calls (NFE)", exact=True), 0)
            changed()
            before = pictures(page)
            assert page.locator("canvas:visible").count() == 8
            page.get_by_label("Clean estimate x − t·v", exact=True).check()
            assert pictures(page) != before
            assert page.locator("canvas:visible").count() == 16
            page.get_by_role("button", name="Play").click()
            page.wait_for_function("document.querySelector('[aria-live]').textContent.includes('step 1 of 1')")

    def test_pixels_are_the_arrays(self, browser, folder, walks):
        with opened(browser, folder / "digits.html") as page:
            slide(page.get_by_label("Step", exact=True), 3)
            shown = page.evaluate(
                "[...document.querySelectorAll('canvas.ptr-state')[2].getContext('2d').getImageData(0, 0, 8, 8).data]"
            )
            look = page.locator("canvas.ptr-state").first.evaluate("e => getComputedStyle(e).imageRendering")
        states, _ = walks["first method"][8]
        expected = np.round((np.clip(states[3, 2, 0], -1, 1) + 1) * 127.5)
        assert np.array_equal(np.reshape(shown, (8, 8, 4))[..., 0], expected)
        assert look == "pixelated"

    def test_keyboard_alone(self, browser, folder):
        with opened(browser, folder / "digits.html") as page:
            step = page.get_by_label("Step", exact=True)
            step.focus()
            page.keyboard.press("Home")
            assert "step 0 of 8, t = 1.00" in said(page)
            page.keyboard.press("ArrowRight")
            assert "step 1 of 8" in said(page)
            page.get_by_role("button", name="Play").focus()
            page.keyboard.press("Enter")
            page.wait_for_function("document.querySelector('[aria-live]').textContent.includes('step 8 of 8')")


class TestCurves:
    def test_every_control_moves_the_picture(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            drawing = lambda: page.locator(".ptr-chart svg").evaluate("e => e.innerHTML")  # noqa: E731
            assert page.locator("path.ptr-floor").count() == 1
            before, words = drawing(), said(page)
            assert "4 network calls: best is gamma with 0.150, last of 3 is alpha with 0.500" in words
            slide(page.get_by_label("Read at NFE", exact=True), 2)
            assert drawing() != before
            assert "16 network calls: best is alpha with 0.100, last of 2 is beta with 0.200" in said(page)
            assert page.locator("tbody tr").count() == 2  # gamma was not measured there
            before = drawing()
            page.get_by_label("Data set", exact=True).select_option(label="digits")
            assert drawing() != before
            assert page.locator("path.ptr-floor").count() == 0
            assert "500" in said(page)
            page.get_by_label("Spread over seeds", exact=True).uncheck()
            assert page.locator("path.ptr-spread").count() == 0
            for name in ("alpha", "beta", "gamma"):
                lines = page.locator("g.ptr-line").count()
                page.get_by_label(name, exact=True).uncheck()
                assert page.locator("g.ptr-line").count() == lines - 1
            assert "no method is ticked" in said(page)

    def test_methods_that_wait_are_ticked_by_hand_or_together(self, browser, folder):
        with opened(browser, folder / "some.html") as page:
            lines = page.locator("g.ptr-line")
            assert lines.count() == 1
            page.get_by_text("2 more methods", exact=True).press("Enter")
            page.get_by_label("alpha", exact=True).check()
            assert lines.count() == 2
            page.get_by_role("button", name="Tick all of these").press("Enter")
            assert lines.count() == 3
            page.get_by_label("Data set", exact=True).select_option(label="digits")
            assert page.get_by_label("beta", exact=True).is_checked()
            page.get_by_role("button", name="Untick all of these").click()
            assert lines.count() == 1
            assert not page.get_by_label("alpha", exact=True).is_checked()
            assert "best is gamma" in said(page)

    def test_nothing_waits_where_all_are_shown(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            assert not page.locator("details.ptr-more").is_visible()

    def test_table_is_sorted(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            rows = page.locator("tbody tr").all_inner_texts()
        assert [row.split()[0] for row in rows] == ["gamma", "beta", "alpha"]

    def test_keyboard_cursor(self, browser, folder):
        with opened(browser, folder / "curves.html") as page:
            place = page.locator("path.ptr-cursor").get_attribute("d")
            page.get_by_label("Read at NFE", exact=True).focus()
            page.keyboard.press("ArrowLeft")
            assert page.locator("path.ptr-cursor").get_attribute("d") != place
            assert "1 network call:" in said(page)


class TestEveryFigure:
    @pytest.mark.parametrize("width", [340, 390, 1280])
    def test_nothing_is_wider_than_the_page(self, browser, folder, width):
        with opened(browser, folder / "all-dark.html", width) as page:
            settled(page)
            nothing_sticks_out(page, width)

    def test_every_control_has_a_name_and_every_picture_a_sentence(self, browser, folder):
        with opened(browser, folder / "all-dark.html") as page:
            settled(page)
            all_is_named(page, pictures=4, readouts=3)  # particles, two rows of digits, curves

    @pytest.mark.parametrize(("page_name", "scheme"), [("all-dark", "light"), ("particles", "dark")])
    def test_the_books_switch_decides_over_the_system(self, browser, folder, page_name, scheme):
        with opened(browser, folder / f"{page_name}.html", scheme=scheme) as page:
            assert is_dark(page) == (page_name == "all-dark")

    @pytest.mark.parametrize("name", ["particles", "digits", "curves"])
    def test_a_still_picture_stands_there_without_javascript(self, browser, folder, name):
        a_still_picture_stands(browser, folder / f"{name}.html")
