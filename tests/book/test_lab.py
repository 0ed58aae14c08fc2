"""JupyterLab in a real browser: each chapter runs from top to bottom, and its widget moves."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from lib.book.lab import lab_command, lab_environment
from lib.book.layout import Layout
from lib.book.runner import KERNEL_SETTINGS
from tests.browser import comes_true

pytestmark = pytest.mark.browser

LAYOUT = Layout()
CHAPTERS = [pytest.param(notebook, id=notebook.stem) for notebook in LAYOUT.notebooks]
MINUTES = 12  # for one chapter on a busy machine; it is meant to take three

IDLE = ":text('| Idle')"
STATE = """() => {
  const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
  const prompts = cells.map((c) => c.querySelector('.jp-InputPrompt')?.textContent ?? '');
  return { cells: cells.length, waiting: prompts.filter((p) => p.includes('*')).length };
}"""


@pytest.fixture(scope="module")
def lab_server(tmp_path_factory):
    """JupyterLab on a free port over a copy of the chapters, with its settings in a temporary folder."""
    folder = tmp_path_factory.mktemp("lab")
    ignore = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__")
    shutil.copytree(LAYOUT.chapters, folder / "chapters", ignore=ignore)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = lab_environment(folder / "settings") | KERNEL_SETTINGS
    environment |= {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "IPYTHONDIR": str(folder / "ipython")}
    environment.pop("BOOK_BUILD")  # here the chapter is live
    command = [*lab_command(folder / "chapters", port, browser=False), "--IdentityProvider.token="]
    with open(folder / "lab.log", "w") as log:
        if os.geteuid() == 0:
            command.append("--allow-root")  # JupyterLab asks for it in a container
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, server, folder / "lab.log")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}", pytrace=False)


def test_lab_opens_without_its_news_popup_and_without_the_network(visit, lab_server):
    seen = visit()
    seen.page.goto(f"{lab_server}/lab")
    seen.page.wait_for_selector("#jp-main-dock-panel", timeout=120_000)
    seen.page.wait_for_timeout(4_000)  # the pop-up comes a little after the start
    assert "Jupyter news" not in seen.page.inner_text("body")
    assert [line for line in seen.complaints if line.startswith("outside request")] == []


@pytest.mark.parametrize("notebook", CHAPTERS)
def test_chapter_runs_and_its_widget_moves(visit, lab_server, notebook):
    seen = visit(width=1280, height=1000)
    page = seen.page
    page.goto(f"{lab_server}/lab/tree/{notebook.name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    page.set_default_timeout(60_000)
    code_cells = sum(cell.cell_type == "code" for cell in nbformat.read(notebook, as_version=4).cells)
    page.wait_for_function(f"() => ({STATE})().cells === {code_cells}", timeout=120_000)
    # a run that is asked for before the kernel is connected ends in a dialogue about kernels
    page.wait_for_selector(f"#jp-main-statusbar {IDLE}", timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    _run_to_the_end(page)
    errors = page.locator(".jp-Notebook .jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")
    expected = _cells_that_may_fail(notebook)
    assert errors.count() <= expected, errors.first.inner_text()
    assert page.locator(".jp-Notebook :text('Error displaying widget')").count() == 0

    figure = _first_live_widget(page)
    slider = figure.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    drawing = (
        "(f) => [f.innerText, ...[...f.querySelectorAll('svg, canvas')].map((d) => d.toDataURL?.() ?? d.outerHTML)]"
    )
    before = figure.evaluate(drawing)
    slider.focus()
    value = slider.input_value()
    page.keyboard.press("Home")
    page.keyboard.press("End" if slider.input_value() == value else "Home")
    assert comes_true(page, lambda: slider.input_value() != value)
    assert comes_true(page, lambda: figure.evaluate(drawing) != before)
    assert [line for line in seen.complaints if line.startswith(("outside request", "page error"))] == []


def _run_to_the_end(page) -> None:
    """Wait until cells have been sent to the kernel, none waits any more, and the kernel is idle."""
    page.wait_for_function(f"() => ({STATE})().waiting > 0")  # stored counts look like a run that is over
    end = time.monotonic() + MINUTES * 60
    quiet = 0
    while time.monotonic() < end:
        state = page.evaluate(STATE)
        idle = page.locator(f"#jp-main-statusbar {IDLE}").count() > 0
        quiet = quiet + 1 if idle and not state["waiting"] else 0
        if quiet == 4:
            return
        page.wait_for_timeout(500)
    pytest.fail(f"the chapter did not come to its end in {MINUTES} minutes: {page.evaluate(STATE)}")


def _cells_that_may_fail(notebook: Path) -> int:
    cells = nbformat.read(notebook, as_version=4).cells
    return sum("raises-exception" in cell.metadata.get("tags", []) for cell in cells)


def _first_live_widget(page):
    """The first widget with a slider that JupyterLab drew. Cells that are out of sight are drawn when scrolled to."""
    for cell in page.locator(".jp-Notebook .jp-CodeCell").all():
        cell.scroll_into_view_if_needed()
        figure = cell.locator(".bw-root:has(input[type=range])")
        if figure.count():
            return figure.first
    pytest.fail("JupyterLab drew no widget with a slider", pytrace=False)
