"""The built site in a real browser with the network blocked: every page, two widths, every control."""

import re
from pathlib import Path

import pytest

from lib.book.layout import Layout
from tests.browser import comes_true

pytestmark = pytest.mark.browser

LAPTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SIZES = [pytest.param(LAPTOP, id="laptop"), pytest.param(PHONE, id="phone")]

LAYOUT = Layout()
PAGES = [page.relative_to(LAYOUT.root).with_suffix(".html").as_posix() for page in LAYOUT.pages]
ALL_PAGES = [*PAGES, "search.html", "genindex.html"]
CHAPTERS = [page.relative_to(LAYOUT.root).with_suffix(".html").as_posix() for page in LAYOUT.notebooks]

RAW_TEX = re.compile(r"\$\$|\\(frac|begin|end|left|right|mathbf|mathrm|theta|sigma|partial|lVert|sum|int|text)\b")
SENTENCE = re.compile(r"^[A-Z].*[.!?]$", re.DOTALL)

# Text that a reader sees outside code and outside typeset formulas.
PROSE = """() => {
  const skip = 'pre, code, script, style, noscript, mjx-container, .bw script, textarea';
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(skip)) found.push(walker.currentNode.data);
  return found.join('\\n');
}"""

PICTURES = """() => [...document.images].filter((i) => i.checkVisibility()).map((i) => (
  { src: i.getAttribute('src'), alt: i.alt, width: i.naturalWidth }))"""

# What the reader sees of a widget: markup, texts, the pixels of its canvases, and what the controls say.
LOOK = """(box) => {
  const root = box.querySelector('.bw-root');
  const canvases = [...root.querySelectorAll('canvas')].map((c) => c.toDataURL());
  const values = [...root.querySelectorAll('input, select')].map((c) => c.type === 'checkbox' ? c.checked : c.value);
  return JSON.stringify([root.innerHTML, canvases, values]);
}"""


def settled(page):
    """Wait until the page, its fonts, its formulas and its widgets are there."""
    page.wait_for_load_state("load")
    page.evaluate("() => document.fonts.ready.then(() => true)")
    if page.evaluate("() => Boolean(document.querySelector('script[src*=\"tex-chtml\"]'))"):
        page.wait_for_function("() => window.MathJax?.startup?.promise")
        page.evaluate("() => MathJax.startup.promise.then(() => true)")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.bw')].every((box) => box.dataset.ready)", timeout=30_000
    )


def faults(page, width: int) -> list[str]:
    """What is wrong with the page as it stands."""
    wrong = []
    for picture in page.evaluate(PICTURES):
        if picture["width"] == 0:
            wrong.append(f"missing picture: {picture['src']}")
        alt = picture["alt"]
        if not SENTENCE.match(alt) or len(alt.split()) < 4:
            wrong.append(f"alt text is no sentence: {alt!r} ({picture['src'][:80]})")
    if left := RAW_TEX.search(page.evaluate(PROSE)):
        wrong.append(f"raw TeX: {left[0]!r}")
    if errors := page.locator("mjx-merror, [data-mml-node='merror']").count():
        wrong.append(f"{errors} formula(s) that MathJax could not read")
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    if wide > width:
        wrong.append(f"the page is {wide} px wide on a screen of {width} px")
    failed = page.locator(".bw:not([data-ready='1'])").count()
    if failed:
        wrong.append(f"{failed} widget(s) did not start")
    return wrong


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", ALL_PAGES)
def test_page_is_whole(visit, address, page, size):
    seen = visit(**size)
    seen.page.goto(f"{address}/{page}")
    settled(seen.page)
    seen.page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
    assert faults(seen.page, size["width"]) + seen.complaints == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole_in_the_dark(visit, address, page):
    seen = visit(scheme="dark")
    seen.page.goto(f"{address}/{page}")
    settled(seen.page)
    assert seen.page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert faults(seen.page, LAPTOP["width"]) + seen.complaints == []


@pytest.mark.parametrize("over", ["http", "file"])
def test_the_front_door_leads_to_the_landing_page(visit, site, address, over):
    seen = visit()
    seen.page.goto(f"{address}/" if over == "http" else (site / "index.html").as_uri())
    seen.page.wait_for_url(f"**/{PAGES[0]}")
    settled(seen.page)
    assert seen.page.locator("h1").first.inner_text().startswith("Papers That Run")
    assert seen.complaints == []


@pytest.mark.parametrize("page", PAGES)
def test_page_opens_as_a_file(visit, site, page):
    seen = visit()
    seen.page.goto((site / page).as_uri())
    settled(seen.page)
    assert faults(seen.page, LAPTOP["width"]) + seen.complaints == []


def controls_of(box):
    return box.locator("input, select, button").all()


def move(page, control) -> list:
    """The settings of one native control, each as a function that makes it."""
    kind = control.evaluate("(c) => c.tagName === 'INPUT' ? c.type : c.tagName.toLowerCase()")
    if not control.is_visible() or control.is_disabled():
        return []
    if kind == "range":
        return [lambda key=key: (control.focus(), page.keyboard.press(key)) for key in ("Home", "End", "ArrowLeft")]
    if kind == "select":
        # back to the first choice at the end: other choices may leave some of the later controls out
        first = control.evaluate("(c) => c.selectedIndex")
        options = [*range(control.locator("option:not([disabled])").count()), first]
        return [lambda index=index: control.select_option(index=index) for index in options]
    if kind in ("checkbox", "button"):
        return [control.click, control.click]
    if kind == "radio":
        return [control.check]
    if kind == "number":
        low, high = control.evaluate("(c) => [c.min, c.max]")
        return [lambda value=value: (control.fill(value), control.press("Enter")) for value in (low, high) if value]
    raise AssertionError(f"a control that this test does not know how to move: {kind}")


FRAMES = (60, 500, 2500)
"""Milliseconds for a figure to draw itself: a frame or two, and what a busy machine may need for them."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", CHAPTERS)
def test_every_control_of_every_widget_answers(visit, address, page, size):
    seen = visit(**size)
    seen.page.goto(f"{address}/{page}")
    settled(seen.page)
    boxes = seen.page.locator(".bw[data-ready='1']").all()
    assert boxes, "the chapter has no widget"
    dead = []
    for number, box in enumerate(boxes, 1):
        box.scroll_into_view_if_needed()
        for summary in box.locator("details:not([open]) > summary").all():
            if summary.is_visible():
                summary.click()
        controls = controls_of(box)
        assert controls, f"widget {number} has no control"
        for control in controls:
            name = control.evaluate("(c) => c.labels?.[0]?.innerText || c.getAttribute('aria-label') || c.innerText")
            assert (name or "").strip(), f"a control of widget {number} has no label"
            settings = move(seen.page, control)
            looks = {box.evaluate(LOOK)}
            for pause in FRAMES:
                for setting in settings:
                    setting()
                    seen.page.wait_for_timeout(pause)
                    looks.add(box.evaluate(LOOK))
                if len(settings) < 2 or len(looks) > 1:
                    break
            else:
                dead.append(f"widget {number}: nothing answers to {name.strip()!r}")
        assert "NaN" not in box.locator(".bw-root").inner_html(), f"widget {number} draws NaN"
    assert dead + faults(seen.page, size["width"]) + seen.complaints == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_slider_dragged_with_the_mouse_changes_the_drawing(visit, address, page):
    seen = visit()
    seen.page.goto(f"{address}/{page}")
    settled(seen.page)
    slider = seen.page.locator(".bw[data-ready='1'] input[type=range]").first
    slider.scroll_into_view_if_needed()
    drawing = "(s) => [...s.closest('.bw').querySelectorAll('svg, canvas')].map((d) => d.toDataURL?.() ?? d.outerHTML)"
    before = slider.evaluate(drawing)
    assert before, "the widget draws nothing"
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    seen.page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    seen.page.mouse.down()
    seen.page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=6)
    seen.page.mouse.up()
    assert comes_true(seen.page, lambda: slider.evaluate(drawing) != before)
    assert seen.complaints == []


def test_search_works_offline(visit, address):
    seen = visit()
    seen.page.goto(f"{address}/search.html?q=scoreboard")
    seen.page.wait_for_selector("#search-results li", timeout=20_000)
    titles = seen.page.locator("#search-results li a").all_inner_texts()
    assert "Scoreboard" in titles
    assert seen.complaints == []


def test_the_search_field_leads_to_results(visit, address):
    seen = visit()
    seen.page.goto(f"{address}/{PAGES[0]}")
    seen.page.locator(".search-button-field, .search-button").first.click()
    seen.page.keyboard.type("doctor memory")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_url("**/search.html*")
    seen.page.wait_for_selector("#search-results li", timeout=20_000)
    assert seen.complaints == []


def test_light_and_dark_can_be_switched(visit, address):
    seen = visit()
    seen.page.goto(f"{address}/{PAGES[0]}")
    settled(seen.page)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    seen_grounds = {seen.page.evaluate(ground)}
    for _ in range(3):  # auto, light, dark
        seen.page.locator("button.theme-switch-button").first.click()
        seen.page.wait_for_timeout(50)
        seen_grounds.add(seen.page.evaluate(ground))
    assert len(seen_grounds) == 2
    assert seen.complaints == []


def test_the_landing_page_names_all_chapters_and_links_the_written_ones(visit, address):
    from lib.papers import load_cards

    seen = visit()
    seen.page.goto(f"{address}/{PAGES[0]}")
    cards = seen.page.locator(".chapter-cards .sd-card").all()
    assert len(cards) == len(load_cards()) == 7
    written = {Path(page).stem for page in CHAPTERS}
    for box, card in zip(cards, load_cards(), strict=True):
        text = box.inner_text()
        assert card.short_name in text
        if f"{card.chapter}-{card.id}" in written:
            assert box.locator("a.sd-stretched-link").get_attribute("href") == f"{card.chapter}-{card.id}.html"
        else:
            assert "Not written yet" in text


def test_nothing_of_thebe_require_or_a_content_network_is_named_in_a_script(site):
    hosts = re.compile(r"(unpkg\.com|jsdelivr\.net|cdnjs\.cloudflare\.com|googleapis\.com)")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*\"", text):
            assert 'rel="canonical"' in tag, f"{page.name}: {tag}"
        assert not hosts.search(text), f"{page.name} names {hosts.search(text)[0]}"


def test_no_button_leads_to_a_repository_that_nobody_configured(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "btn-source-repository-button" not in text
        assert "mybinder.org" not in text
        assert "colab.research" not in text


def test_the_faults_are_seen_where_they_are(visit):
    seen = visit()
    seen.page.set_content(
        "<p>left over: $$x$$</p><p>$\\frac{1}{2}$</p><code>\\frac in code is fine</code>"
        "<img src='missing.png' alt='figure 1' style='width:9px;height:9px'>"
        "<div style='width:3000px'>wide</div><div class='bw' data-ready='failed'></div>"
    )
    found = "\n".join(faults(seen.page, LAPTOP["width"]))
    for word in ("missing picture", "no sentence", "raw TeX", "px wide", "did not start"):
        assert word in found
    seen.page.set_content("<p>All is well.</p><code>\\frac{1}{2} and $$</code>")
    assert faults(seen.page, LAPTOP["width"]) == []


def test_a_request_to_another_host_is_stopped_and_told(visit, address):
    seen = visit()
    seen.page.goto(f"{address}/{PAGES[0]}")
    seen.page.evaluate("() => fetch('https://example.org/x').catch(() => null)")
    assert "outside request: https://example.org/x" in seen.complaints
