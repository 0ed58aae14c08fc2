"""Fixtures of the book's tests: a throw-away book, the built site, and a browser that cannot leave this machine."""

import fcntl
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest

from lib.book.layout import Layout
from lib.book.serve import server_for
from lib.book.site import build_site
from tests.browser import launched

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@pytest.fixture
def small_book(tmp_path):
    """A function that writes a book of two short notebooks with the given cells into a folder; returns its Layout."""

    def make(first=("x = 6 * 7\nprint(x)",), second=("print('two')",)) -> Layout:
        root = tmp_path / "book"
        for folder in ("chapters", "lib", "seeds"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "lib" / "part.py").write_text("VALUE = 1\n")
        (root / "lib" / "figure.js").write_text("export default {};\n")
        (root / "seeds" / "card.yml").write_text("id: card\n")
        (root / "_config.yml").write_text("title: Small\n")
        (root / "_toc.yml").write_text(
            "format: jb-book\nroot: chapters/index\nchapters:\n- file: chapters/1-first\n- file: chapters/2-second\n"
        )
        (root / "chapters" / "index.md").write_text("# Small\n")
        for name, cells in (("1-first", first), ("2-second", second)):
            write_notebook(root / "chapters" / f"{name}.ipynb", name, cells)
        return Layout(root)

    return make


def write_notebook(path: Path, title: str, code) -> None:
    cells = [nbformat.v4.new_markdown_cell(f"# {title}", id="title")]
    cells += [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site of this repository, built once from the stored outputs; test processes share it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # the run's folder, above those of its processes
    with open(shared / "site.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = shared / "built-site"
        if not (place / "index.html").is_file():
            layout = Layout()
            book = _copy_of(layout, shared / "site-source")
            shutil.copytree(build_site(book, stored=True), place)
    return place


def _copy_of(layout: Layout, root: Path) -> Layout:
    """The book's sources in another folder, so that a test does not disturb the reader's own `_build`."""
    shutil.rmtree(root, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("chapters", "seeds", "lib", "results"):
        if (layout.root / name).is_dir():
            shutil.copytree(layout.root / name, root / name, ignore=ignore)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(layout.root / name, root / name)
    return Layout(root)


@pytest.fixture(scope="session")
def address(site):
    """The site over http on 127.0.0.1."""
    server = server_for(site, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with launched() as running:
        yield running


class Visit:
    """A page in a fresh browser context without a network, and everything it complained about."""

    def __init__(self, browser, width: int = 1280, height: int = 900, scheme: str = "light"):
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.context.route("**/*", self._loopback_only)
        self.page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{_whose(error)}: {error}"))
        self.page.on("response", self._answered)

    def _loopback_only(self, route):
        url = urlsplit(route.request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.hostname not in LOOPBACK:
            self.complaints.append(f"outside request: {route.request.url}")
            route.abort()
        else:
            route.continue_()

    def _heard(self, message):
        if message.type == "error":
            self.complaints.append(f"console error: {message.text}")

    def _answered(self, response):
        if response.status >= 400:
            self.complaints.append(f"answer {response.status}: {response.url}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


@pytest.fixture
def visit(browser):
    """A function that opens a new Visit; all are closed after the test."""
    opened = []

    def make(**how) -> Visit:
        opened.append(Visit(browser, **how))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def _whose(error) -> str:
    """Whose fault an error in a page is, by the scripts that it passed through: figures run from blob addresses."""
    passed = error.stack or ""
    return "JupyterLab's own error" if "/static/lab/" in passed and "blob:" not in passed else "page error"
