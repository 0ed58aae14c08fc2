"""The command line, called in this process, in an empty folder; and a run to evaluate."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.cli.app import run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def papers(tmp_path, monkeypatch, capsys) -> Callable[..., Outcome]:
    """`papers("train", "cud", ...)` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BOOK_DATA", raising=False)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory) -> Path:
    """The folder of a short run on points, with two heads."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    assert run(f"train cud --preset toy --method rk23 --max-steps 30 --batch-size 64 --out {folder}".split()) == 0
    return folder
