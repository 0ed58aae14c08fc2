"""The browser that the tests drive: found once, started quietly."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lib.cli.doctor import BROWSERS

QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def chromium() -> str:
    """The program of the browser that is installed; the test fails with one sentence when there is none."""
    for name in filter(None, (os.environ.get("BOOK_CHROMIUM"), *BROWSERS)):
        if found := shutil.which(name):
            return found
    pytest.fail(
        "The browser tests need Chromium: install it (Debian: apt-get install chromium) or set BOOK_CHROMIUM to its "
        "program.",
        pytrace=False,
    )


def comes_true(page, fact: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether a fact about the page comes true in time: a busy machine draws late."""
    for _ in range(round(10 * seconds)):
        if fact():
            return True
        page.wait_for_timeout(100)
    return fact()


@contextmanager
def launched() -> Iterator:
    """A running browser, closed on leaving."""
    program = chromium()  # first: starting Playwright takes a second
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=QUIET)
        try:
            yield running
        finally:
            running.close()
