"""A page with widgets in a real browser that can reach nothing, for the tests of this folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def document(body: str, theme: str = "light") -> str:
    """A bare page around the HTML of some widgets, with the book's switch for light and dark."""
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>widgets</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"></head>'
        f'<body style="margin:12px"><main>{body}</main></body></html>'
    )


@contextmanager
def opened(browser, path: Path, width: int = 1280, scheme: str = "light") -> Iterator:
    """The page at `path`; on leaving, fail on console errors, page errors and requests to anywhere else."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, faults = context.new_page(), []

    def route(request):
        if request.request.url.startswith(("file:", "blob:", "data:")):
            return request.continue_()
        faults.append(f"request: {request.request.url}")
        return request.abort()

    page.route("**/*", route)
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: faults.append(f"page: {e}"))
    page.goto(path.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.bw')].every((w) => w.dataset.ready)")
    try:
        yield page
        assert not faults
        assert page.locator(".bw:not([data-ready='1'])").count() == 0
    finally:
        context.close()


def settled(page) -> None:
    """Wait until the particle widget has computed what its controls ask for."""
    page.wait_for_function("!document.querySelector('[data-busy]')")


def slide(locator, value: float) -> None:
    """Move a slider as a hand does: the value, then the event."""
    locator.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })); }", value)


def nothing_sticks_out(page, width: int) -> None:
    """No figure is wider than the page, and nothing sticks out of its figure: it would be cut off, not scrolled to."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        """[...document.querySelectorAll('.ptr *:not(svg *)')].filter((e) => e.offsetParent &&
            e.getBoundingClientRect().right > e.closest('.ptr').getBoundingClientRect().right + 0.5).length"""
    )
    assert beyond == 0


def all_is_named(page, pictures: int, readouts: int) -> None:
    """Every control has a name, every picture a sentence; so many pictures, and so many places that tell changes."""
    nameless = page.evaluate(
        """[...document.querySelectorAll('input, select, button, [tabindex]')].filter((e) =>
            !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"""
    )
    assert nameless == 0
    labels = page.evaluate("[...document.querySelectorAll('[role=img]')].map(e => e.getAttribute('aria-label'))")
    assert len(labels) == pictures
    assert all(text.count(" ") >= 4 and text.endswith(".") for text in labels)
    assert page.locator("[aria-live=polite]").count() == readouts


def is_dark(page) -> bool:
    """Whether the first figure's ground is dark."""
    ground = page.locator(".ptr-root").first.evaluate(
        "e => getComputedStyle(e).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    )
    return max(ground) < 60


def a_still_picture_stands(browser, path: Path) -> None:
    """Without JavaScript there is a picture with a sentence."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    still = page.locator(".ptr-still svg[role=img]")
    box = still.bounding_box()
    assert box["width"] > 300
    assert box["height"] > 80
    assert still.get_attribute("aria-label").endswith(".")
    context.close()
