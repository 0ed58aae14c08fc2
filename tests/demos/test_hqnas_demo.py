"""The demo of chapter 2: from a drawing to a digit, the searches behind the button, and the served page."""

import base64
import dataclasses
import io
import os
import re
import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import lib.hqnas.command_line
from lib.cli import demo as cli_demo
from lib.demos import digit_pad, hqnas, hub, serve
from lib.errors import UserError
from lib.hqnas.comparison import aimed, moved_everywhere
from lib.hqnas.config import scaled
from lib.hqnas.evaluate import accuracy, logits_of, summary_of
from lib.hqnas.hardware import hardware_named
from lib.hqnas.lifelong import continue_search
from lib.hqnas.model import Network, Supernet
from lib.hqnas.retrain import retrain
from lib.hqnas.search import search
from lib.hqnas.space import SearchSpace
from lib.training.run import Run
from lib.vision.data import ImageSet, load_images
from tests.browser import comes_true, launched
from tests.hqnas.tiny import digits, products, tiny_config, tiny_space

QUIET = Run(progress=False)
SIDE = 280
STROKES = {
    "1": (((0.35, 0.35), (0.52, 0.15), (0.52, 0.85)),),
    "2": (((0.3, 0.3), (0.4, 0.18), (0.6, 0.18), (0.7, 0.3), (0.62, 0.48), (0.28, 0.82), (0.75, 0.82)),),
    "4": (((0.45, 0.15), (0.25, 0.55), (0.78, 0.55)), ((0.62, 0.35), (0.58, 0.88))),
    "7": (((0.28, 0.18), (0.72, 0.18), (0.45, 0.85)), ((0.35, 0.5), (0.7, 0.5))),
}
"""Corners of the strokes of some digits, in shares of the canvas."""


def drawn(name: str, width: int = 20, side: int = SIDE, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Black on white, uint8 (side, side)."""
    image = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(image)
    for stroke in STROKES[name]:
        points = [(round(SIDE * x) + shift[0], round(SIDE * y) + shift[1]) for x, y in stroke]
        pen.line(points, fill=0, width=width, joint="curve")
    return np.asarray(image)


def sent(pixels: np.ndarray, form: str = "PNG") -> str:
    """As the canvas on the page sends it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=form)
    return digit_pad.PREFIX + base64.b64encode(file.getvalue()).decode("ascii")


class TestToDigit:
    def test_redrawn_digits_are_named_as_the_originals(self):
        """Test images, enlarged smoothly to 20 times their size, as with a pen on the canvas."""
        test = load_images("embedded", "test")
        space = SearchSpace(scaled().space, test.shape, 10)
        recipe = dataclasses.replace(scaled().retrain, steps=300, shift=0)
        network, _ = retrain(space, space.uniform(8, 5, 3), recipe, load_images("embedded", "train"), QUIET)
        redrawn = torch.stack([digit_pad.to_digit(255 - _enlarged(image)) for image in test.images[:, 0].numpy()])
        other = dataclasses.replace(test, images=redrawn[:, None])
        originals, others = logits_of(network, test).argmax(1), logits_of(network, other).argmax(1)
        assert (originals == test.labels).float().mean() > 0.93
        assert (others == originals).float().mean() > 0.88  # 0.938 when this was written
        ink = test.images.float().mean() / 255
        assert float(redrawn.float().mean() / 255) == pytest.approx(float(ink), rel=0.03)

    @pytest.mark.parametrize("name", STROKES)
    def test_is_an_image_of_the_set(self, name):
        digit = digit_pad.to_digit(drawn(name))
        assert digit.dtype == torch.uint8
        assert digit.shape == (8, 8)
        assert set(digit.flatten().tolist()) <= set(load_images("embedded", "train").images.flatten().tolist())
        assert (digit[0] > 0).any()  # as high as the image
        assert (digit[-1] > 0).any()
        assert digit[:, 0].max() < 128  # and not as wide
        assert digit[:, -1].max() < 128

    @pytest.mark.parametrize("name", STROKES)
    def test_place_ground_and_pen_do_not_matter(self, name):
        canvas = drawn(name)
        digit = digit_pad.to_digit(canvas)
        assert torch.equal(digit_pad.to_digit(drawn(name, shift=(17, -30))), digit)
        assert torch.equal(digit_pad.to_digit(np.stack([canvas] * 3, -1)), digit)
        clear = np.zeros((*canvas.shape, 4), np.uint8)
        clear[..., 3] = 255 - canvas  # ink on glass
        assert torch.equal(digit_pad.to_digit(clear), digit)
        for other in (drawn(name, width=9), canvas.repeat(4, 0).repeat(4, 1), drawn(name, side=900)):
            assert (digit_pad.to_digit(other).float() - digit.float()).abs().mean() < 20

    def test_the_slanting_are_set_upright(self):
        straight = drawn("7")
        slanted = np.full((SIDE, 2 * SIDE), 255, np.uint8)
        for y in range(SIDE):
            left = SIDE // 2 + round(0.5 * (SIDE / 2 - y))
            slanted[y, left : left + SIDE] = straight[y]
        one, other = (digit_pad.to_digit(canvas).float() for canvas in (straight, slanted))
        assert (one - other).abs().mean() < 20

    def test_what_is_no_digit(self):
        dot = np.full((SIDE, SIDE), 255, np.uint8)
        dot[100:110, 100:110] = 0
        cases = [
            (np.full((SIDE, SIDE), 255, np.uint8), "nothing on the canvas"),
            (np.zeros((SIDE, SIDE, 4), np.uint8), "nothing on the canvas"),
            (dot, "too small"),
            (255 - drawn("7"), "mostly black"),
        ]
        for canvas, words in cases:
            with pytest.raises(UserError, match=words):
                digit_pad.to_digit(canvas)
        for canvas in (np.zeros((8, 8)), np.zeros(8, np.uint8), np.zeros((0, 8), np.uint8)):
            with pytest.raises(ValueError, match="a drawing is uint8"):
                digit_pad.to_digit(canvas)

    @pytest.mark.parametrize("lines", [[((20, 140), (260, 140))], [((140, 5), (141, 275))], [((5, 5), (275, 275))]])
    def test_single_lines_and_the_edge_of_the_canvas(self, lines):
        image = Image.new("L", (SIDE, SIDE), 255)
        for line in lines:
            ImageDraw.Draw(image).line(line, fill=0, width=1)
        assert digit_pad.to_digit(np.asarray(image)).float().mean() > 60
        framed = np.full((SIDE, SIDE), 255, np.uint8)
        framed[:10], framed[-10:], framed[:, :10], framed[:, -10:] = 0, 0, 0, 0
        zero = digit_pad.to_digit(framed)
        assert zero[3:5, 3:5].max() == 0


def _enlarged(image: np.ndarray) -> np.ndarray:
    around = np.pad(image, 1)
    return np.asarray(Image.fromarray(around).resize((20 * around.shape[1], 20 * around.shape[0]), Image.BICUBIC))


class TestReadCanvas:
    def test_reads_what_the_page_sends(self):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4)).astype(np.uint8)
        assert np.array_equal(digit_pad.read_canvas(sent(pixels)), pixels)
        assert digit_pad.read_canvas(sent(drawn("1"))).shape == (SIDE, SIDE, 4)

    @pytest.mark.parametrize("value", ["", None])
    def test_empty(self, value):
        with pytest.raises(UserError, match="There is nothing on the canvas yet: draw a digit"):
            digit_pad.read_canvas(value)

    def test_what_is_no_drawing(self):
        whole = sent(drawn("1"))
        large = sent(np.full((1, digit_pad.MOST_PIXELS + 1), 255, np.uint8))
        cases = ["http://elsewhere/x.png", digit_pad.PREFIX, digit_pad.PREFIX + "?!", whole[:-200], large]
        for value in (*cases, sent(drawn("1"), "JPEG")):
            with pytest.raises(UserError, match="cannot be read"):
                digit_pad.read_canvas(value)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return search(tiny_space(), tiny_config(60).search, products(tiny_space()), digits(), QUIET).supernet


def made(supernet: Supernet) -> hqnas.Searches:
    return hqnas.Searches(supernet, digits(), digits("test", 100), tiny_config(60), steps=20)


@pytest.fixture(scope="module")
def searches(supernet) -> hqnas.Searches:
    return made(supernet)


class TestSearches:
    def test_an_answer_is_the_lifelong_search_and_a_short_training(self, supernet, searches):
        before = {name: value.clone() for name, value in supernet.state_dict().items()}
        said = []
        answer = searches.answer("compute-bound", 0.4, lambda done, words: said.append((done, words)))
        assert said == sorted(said)
        assert len(said) == 3
        for one in (supernet, searches.supernet):  # neither the reader's nor the shared one was touched
            assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())

        space, config, table = (
            tiny_space(),
            tiny_config(60),
            hardware_named("compute-bound").cost_table(tiny_space()),
        )
        copied = Supernet(space, config.search.gates)
        copied.load_state_dict(before)
        found = continue_search(copied, aimed(config, 0.4), table, digits(), QUIET)
        network, _ = retrain(
            space, found.choices, dataclasses.replace(config.retrain, steps=20), digits(), QUIET, start=found.supernet
        )
        assert answer.choices == found.choices
        assert answer.steps == (12, 20)
        test = digits("test", 100)
        judged = moved_everywhere(test, config.test_shift)
        assert answer.accuracy == accuracy(network, judged)
        assert (answer.images, answer.places) == (100, len(judged) // 100)
        assert answer.low < answer.accuracy < answer.high
        assert answer.high - answer.low > 0.08  # as if each image counted once
        assert answer.cost == table.of(found.choices) <= answer.target * 1.00001
        assert answer.target == pytest.approx(0.4 * answer.full)
        assert sum(cost for _, cost in answer.layers) == pytest.approx(answer.cost, rel=1e-5)

    def test_each_question_is_worked_on_once(self, supernet):
        own, found, said = made(supernet), [], []
        ask = lambda: found.append(own.answer("size", 0.5, lambda done, words: said.append(words)))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(said) == 3
        assert found[0] is found[1] is found[2] is own.answer("size", 0.5000000001)
        other = made(supernet).answer("size", 0.5)  # and again the same with another
        assert other.choices == found[0].choices
        assert other.accuracy == found[0].accuracy

    def test_another_device_is_another_network(self, searches):
        size, memory = (searches.answer(name, 0.5) for name in ("size", "memory-bound"))
        assert size.unit == "bytes"
        assert size.choices != memory.choices

    def test_bad_input(self, searches, supernet):
        cases = [
            (("compute-bound", 0.01), "impossible on compute-bound: the cheapest network"),
            (("compute-bound", 0.0), "above 0 and up to 1"),
            (("compute-bound", float("nan")), "above 0 and up to 1"),
            (("toaster", 0.5), "'toaster' is not on offer: choose one of"),
        ]
        for question, words in cases:
            with pytest.raises(UserError, match=words):
                searches.answer(*question)
            assert words in hqnas.budget_words(searches, *question)
        other = ImageSet("others", "test", torch.tensor([0, 1]), ("a", "b"), (3, 8, 8), torch.zeros(2, 3, 8, 8).byte())
        with pytest.raises(UserError, match="another shape"):
            hqnas.Searches(supernet, digits(), other)
        with pytest.raises(UserError, match="for grey digits of 8 x 8"):
            hqnas.build(supernet, digits(), other)
        with pytest.raises(UserError, match="impossible"):
            hqnas.build(supernet, digits(), digits("test", 100), tiny_config(), budget=0.01)


class TestWords:
    def test_facts_and_line(self, searches):
        answer = searches.answer("compute-bound", 0.4)
        facts = hqnas.facts_html(answer)
        assert f"<b>{answer.cost:,.4g}</b> kilocycles" in facts
        assert f"asked for {answer.target:,.4g}" in facts
        assert f"<b>{100 * answer.accuracy:.1f}</b> %" in facts
        assert "100 test images" in facts
        for unit in ("bits", "bytes", "µs"):
            assert f"</b> {unit}<" in facts
        assert f"`{summary_of(answer.choices)}`" in hqnas.words_of(answer)
        smallest = dataclasses.replace(answer, network=untrained(tiny_space().smallest()))
        assert "<b>2.0</b> bits<" in hqnas.facts_html(smallest)

    def test_budget(self, searches):
        answer = searches.answer("compute-bound", 0.4)
        words = hqnas.budget_words(searches, "compute-bound", 0.4)
        assert f"**{answer.target:,.4g} kilocycles** of the {answer.full:,.4g}" in words
        assert "bit-serial" in words

    def test_pictures_tell_what_they_show(self, searches):
        answer = searches.answer("compute-bound", 0.4)
        for page, words in ((hqnas.network_html(answer), "block by block"), (hqnas.shares_html(answer), "share")):
            assert words in re.search('alt="([^"]+)"', page)[1]
        digit = digits("test", 100).images[0, 0]
        page = hqnas.digit_html(digit, 'An "odd" <name>')
        assert 'alt="An &quot;odd&quot; &lt;name&gt;"' in page
        png = re.search('base64,([^"]+)', page)[1]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
        scale = len(pixels) // 8
        assert np.array_equal(pixels[::scale, ::scale], digit.numpy())

    def test_posteriors(self, searches):
        answer, test = searches.answer("compute-bound", 0.4), digits("test", 100)
        found = torch.stack([hqnas.posteriors(answer.network, image) for image in test.images[:20, 0]])
        assert torch.allclose(found.sum(1), torch.ones(20))
        assert torch.equal(found.argmax(1), logits_of(answer.network, test)[:20].argmax(1))

    def test_examples_are_one_of_each_class(self):
        test = digits("test", 100)
        assert test.labels[hqnas.examples_of(test)].tolist() == list(range(10))


def untrained(choices) -> Network:
    """A network of these choices."""
    return Network(tiny_space(), choices).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def served(supernet, tmp_path_factory):
    """The hub with this demo, in this process: its address."""
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    blocks = hub.build_hub(
        {
            "2. HQNAS": lambda: hqnas.build(
                supernet, digits(), digits("test", 100), tiny_config(60), budget=0.4, steps=20
            )
        }
    )
    yield serve.launch(blocks, block=False)
    blocks.close()
    del os.environ["GRADIO_TEMP_DIR"]


class TestServed:
    def test_called_through_its_client(self, served, searches):
        from gradio_client import Client

        client, other = (Client(served, verbose=False) for _ in range(2))
        network, words, facts, shares, meaning = client.predict("size", 0.5, api_name="/hqnas_search")
        expected = searches.answer("size", 0.5)
        assert f"`{summary_of(expected.choices)}`" in words
        assert f"<b>{100 * expected.accuracy:.1f}</b> %" in facts
        assert network == hqnas.network_html(expected)
        assert shares == hqnas.shares_html(expected)
        assert "bytes" in meaning

        digit = digit_pad.to_digit(drawn("2"))
        scores = hqnas.posteriors(expected.network, digit)
        seen, label, verdict = client.predict(sent(drawn("2")), api_name="/hqnas_recognise")
        assert seen.startswith("<img src=")
        assert label["label"] == str(int(scores.argmax()))
        assert label["confidences"][0]["confidence"] == pytest.approx(float(scores.max()), abs=1e-4)
        assert verdict == f"Your digit: **{label['label']}**, says the network for size at 0.5."
        # another visitor has the network that the page opened with
        assert "compute-bound at 0.4" in other.predict(sent(drawn("2")), api_name="/hqnas_recognise")[2]

        test = digits("test", 100)
        index = hqnas.examples_of(test)[7]
        seen, label, verdict, pad = client.predict(index, api_name="/hqnas_example")
        assert verdict.startswith("A test image of a 7: **")
        assert float(label["confidences"][0]["confidence"]) == pytest.approx(
            float(hqnas.posteriors(expected.network, test.images[index, 0]).max()), abs=1e-4
        )
        assert pad == ""

    def test_bad_input_is_one_sentence(self, served):
        from gradio_client import Client

        client = Client(served, verbose=False)
        found = client.predict("memory-bound", 0.06, api_name="/hqnas_search")
        assert "⚠ A budget of 0.06 of the full cost is impossible on memory-bound" in found[4]
        assert "⚠ A budget of 0.06" in client.predict("memory-bound", 0.06, api_name="/hqnas_budget")
        for value, words in (
            ("", "nothing on the canvas yet"),
            ("x", "cannot be read"),
            (7, "cannot"),
            (None, "nothing on the"),
        ):
            seen, _, verdict = client.predict(value, api_name="/hqnas_recognise")
            assert words in verdict
            assert not seen
        assert "no such test image" in client.predict(10**9, api_name="/hqnas_example")[2]
        with pytest.raises(Exception, match="toaster"):
            client.predict("toaster", 0.5, api_name="/hqnas_search")
        with pytest.raises(Exception, match="0"):
            client.predict("size", 0.0, api_name="/hqnas_search")

    @pytest.mark.browser
    @pytest.mark.parametrize(("width", "touch"), [(1280, False), (390, True)])
    def test_searched_drawn_and_clicked_in_the_browser(self, served, width, touch):
        with launched() as browser:
            context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=touch)
            page, outside, faults = context.new_page(), [], []
            page.on("pageerror", lambda fault: faults.append(str(fault)))

            def route(request):
                if request.request.url.startswith((served, "data:", "blob:")):
                    return request.continue_()
                outside.append(request.request.url)
                return request.abort()

            page.route("**/*", route)
            page.goto(served)
            page.get_by_text("for compute-bound at 0.4").wait_for()  # the page opens with an answer
            number = page.get_by_label("number input for Budget")
            number.fill("0.6")
            number.press("Tab")
            page.get_by_role("button", name="Search").click()
            page.get_by_text("for compute-bound at 0.6").wait_for()
            assert page.locator("#hqnas-network img").get_attribute("alt")
            assert page.locator("#hqnas-facts dt").count() == 5

            verdict = page.locator("#hqnas-verdict")
            draw(page, STROKES["2"], touch)
            page.get_by_text("Your digit: ").wait_for()
            expected = page.locator("#hqnas-seen img").get_attribute("alt")
            assert expected == "Your digit, as the network sees it: 8 by 8 pixels."
            page.get_by_role("button", name="Clear").click()
            assert comes_true(page, lambda: "nothing on the canvas yet" in verdict.inner_text())
            assert blank(page)
            draw(page, STROKES["4"], touch)
            assert comes_true(page, lambda: "Your digit: " in verdict.inner_text())
            assert not blank(page)
            # while the machine is at work on the strokes: what was done last is what is answered last
            draw(page, STROKES["2"], touch)
            page.get_by_role("button", name="Test image of a 7").click()
            assert comes_true(page, lambda: "A test image of a 7: " in verdict.inner_text())
            assert comes_true(page, lambda: blank(page))

            # what cannot be had is said where the budget stands, and the network before stays
            page.get_by_label("Hardware").click()
            page.get_by_role("option", name="memory-bound").click()
            number.fill("0.06")
            number.press("Tab")
            assert comes_true(page, lambda: "impossible" in page.locator("#hqnas-budget").inner_text())
            page.get_by_role("button", name="Search").click()
            page.get_by_text("Warning").first.wait_for()
            assert "compute-bound at 0.6" in page.locator("#hqnas-words").inner_text()
            number.fill("0.8")
            number.press("Tab")
            page.get_by_role("button", name="Search").click()
            # the digit that was tried is named anew
            assert comes_true(page, lambda: "network for memory-bound at 0.8" in verdict.inner_text(), seconds=60)
            assert "A test image of a 7: " in verdict.inner_text()
            assert page.evaluate("document.documentElement.scrollWidth") == width
            page.screenshot(path=os.environ["BOOK_SCREENSHOT"]) if "BOOK_SCREENSHOT" in os.environ else None
        assert outside == []
        assert faults == []


def draw(page, strokes, touch: bool) -> None:
    """On the canvas, with the mouse or with a finger."""
    canvas = page.locator("#hqnas-pad canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        if not touch:
            page.mouse.move(*points[0])
            page.mouse.down()
            for point in points[1:]:
                page.mouse.move(*point, steps=5)
            page.mouse.up()
            continue
        session = page.context.new_cdp_session(page)
        for kind, (x, y) in (("touchStart", points[0]), *(("touchMove", point) for point in points)):
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def blank(page) -> bool:
    """Whether the canvas is white all over."""
    return page.evaluate(
        """() => {
            const canvas = document.querySelector("#hqnas-pad canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.every((value) => value === 255);
        }"""
    )


def test_papers_demo_trains_what_it_lacks(monkeypatch, tmp_path, capsys):
    """With a search of two steps instead of the command's own."""
    monkeypatch.chdir(tmp_path)
    command, asked = lib.hqnas.command_line, []
    train = command.train

    def quick(options):
        asked.append(options.resume)
        return train(dataclasses.replace(options, max_steps=2, batch_size=8))

    monkeypatch.setattr(command, "train", quick)
    for _ in range(2):
        cli_demo.DEMOS["hqnas"]()
    assert asked == [True, True]
    assert capsys.readouterr().err.count("training it once") == 1
    assert (tmp_path / cli_demo.HQNAS_RUN / "config.json").is_file()
    options = command.HQNASTrainOptions()
    assert command._run_name(command._configuration(options), options) == cli_demo.HQNAS_RUN.removeprefix("runs/")
