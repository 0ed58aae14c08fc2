"""A small space, a log of gates and networks for the tests of chapter 2's figures, and a script's own functions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lib.hqnas.config import SpaceConfig, StageConfig
from lib.hqnas.gates import ROW
from lib.hqnas.search import GateLog
from lib.hqnas.space import Choice, SearchSpace
from lib.widgets.kit import module
from tests.widgets.page import document

BLOCKS = ("stage 1", "stage 2, block 1", "stage 2, block 2")
SPACE = SearchSpace(SpaceConfig(stem=4, stages=(StageConfig(4, 1, 1), StageConfig(6, 2, 2))), (1, 8, 8), 10)
LARGE = SPACE.uniform(8)
MIDDLE = (Choice(3, 6, (8, 4, 8)), Choice(5, 3, (4, 2, 8)), Choice(5, 6, (8, 8, 8)))
SMALL = (None, Choice(3, 3, (2, 2, 2)), None)


def walk_of_gates(steps: int = 60, seed: int = 0, written: int | None = None) -> GateLog:
    """A log in which thresholds rise and norms wander, and gates follow them but for the last fifth of the steps."""
    source, log = torch.Generator().manual_seed(seed), GateLog(steps, len(BLOCKS))
    shape = (len(log.step), len(BLOCKS), len(ROW))
    log.step[:] = torch.arange(0, steps, log.every)
    log.norms[:] = 0.6 + (0.02 * torch.randn(shape, generator=source)).cumsum(0)
    log.thresholds[:] = torch.linspace(0, 1, shape[0])[:, None, None] * torch.rand(shape[1:], generator=source)
    log.gates[:] = (log.norms >= log.thresholds).float()
    log.gates[-(shape[0] // 5) :] = log.gates[-(shape[0] // 5) - 1]
    log.cost[:] = 1 + log.gates.mean((1, 2)) * 20
    if written is not None:
        log.step[written:] = -1
    return log


@contextmanager
def functions_of(browser, folder: Path, name: str) -> Iterator:
    """A page in which ``kit`` holds what the script of a figure exports."""
    place = folder / "script.html"
    place.write_text(document(""), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(place.as_uri())
    page.evaluate(
        """async (code) => {
            window.kit = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
        }""",
        module(name),
    )
    yield page
    context.close()


def said(page) -> str:
    return page.locator("[aria-live]").inner_text()


def drawn(page) -> str:
    """All pictures of a page as markup."""
    return page.evaluate("[...document.querySelectorAll('.ptr-root svg')].map((s) => s.outerHTML).join()")


def words_outside(page) -> list[str]:
    """Texts that leave their picture to the left or the right, where they would be cut off."""
    return page.evaluate(
        """[...document.querySelectorAll('.ptr-chart svg')].flatMap((svg) => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].map((t) => [t.getBoundingClientRect(), t.textContent])
                .filter(([b]) => b.left < frame.left - 1 || b.right > frame.right + 1).map(([, t]) => t);
        })"""
    )
