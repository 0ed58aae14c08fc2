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
