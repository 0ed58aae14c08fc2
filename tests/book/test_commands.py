"""The commands of README: what make would do, and how the build tool answers bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from lib.book.__main__ import main
from lib.book.layout import Layout
from lib.book.outputs import cleaned, to_text
from lib.book.serve import HOST, server_for

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "book": "lib.book book",
    "read": "lib.book read",
    "serve": "lib.book serve",
    "store": "lib.book store",
    "lab": "lib.book lab",
    "demo": "papers demo",
    "doctor": "papers doctor",
    "test": "lib/book/test.sh",
    "benchmarks": "benchmarks",
}


def dry_run(target: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-n", target], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("target", "command"), TARGETS.items())
def test_make_knows_the_target(target, command):
    assert command in dry_run(target)


def test_make_clean_leaves_the_environment_alone():
    assert ".venv" not in dry_run("clean").replace("environment", "")
    assert "rm -rf .venv" in dry_run("distclean")


def test_readme_opens_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    first = text.split("```")[1]
    assert [line.split("#")[0].split() for line in first.splitlines()[1:]] == [["make", "book"], ["make", "test"]]


def test_every_requirement_is_pinned():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    def read(name):
        lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
        return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}

    wanted, pinned = read("requirements.txt"), read("constraints.txt")
    assert set(wanted) <= set(pinned)
    for name, requirement in wanted.items():
        (pin,) = pinned[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{name} is pinned outside its range"


def test_an_unfit_python_is_refused_in_one_sentence(tmp_path):
    done = subprocess.run(
        [ROOT / "lib/book/install.sh", tmp_path / "venv"],
        env={"PATH": os.environ["PATH"], "PYTHON": "/bin/false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("This book needs Python 3.11, 3.12 or 3.13")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()


class TestBadInput:
    @pytest.mark.parametrize("command", ["run", "build", "serve", "chapters"])
    def test_a_folder_without_a_book(self, tmp_path, capsys, command):
        assert main(["--root", str(tmp_path), command]) == 2
        told = capsys.readouterr().err
        assert "missing" in told or "no site" in told
        assert told.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    def test_no_chapter_at_a_time(self, small_book, capsys):
        assert main(["--root", str(small_book().root), "run", "--jobs", "0"]) == 2
        assert capsys.readouterr().err == "--jobs must be 1 or more.\n"

    def test_a_chapter_that_was_not_run_is_not_built(self, small_book, capsys):
        layout = small_book()
        assert main(["--root", str(layout.root), "build"]) == 1
        assert "1-first.ipynb has not been run" in capsys.readouterr().err
        assert not layout.html.exists()

    def test_a_warning_fails_the_build_and_keeps_the_old_site(self, small_book, capsys):
        layout = small_book()
        layout.html.mkdir(parents=True)
        (layout.html / "index.html").write_text("the old site")
        (layout.chapters / "index.md").write_text("# Small\n\n[broken](nowhere.md)\n")
        assert main(["--root", str(layout.root), "build", "--stored"]) == 1
        assert "nowhere.md" in capsys.readouterr().err
        assert (layout.html / "index.html").read_text() == "the old site"


class TestServer:
    def test_listens_on_this_machine_only_and_moves_when_the_port_is_taken(self, tmp_path):
        (tmp_path / "index.html").write_text("hello")
        with server_for(tmp_path, 0) as first, server_for(tmp_path, first.server_address[1]) as second:
            assert first.server_address[0] == second.server_address[0] == HOST == "127.0.0.1"
            assert first.server_address[1] != second.server_address[1]


def test_launch_and_repository_buttons_come_only_from_the_environment(monkeypatch):
    from types import SimpleNamespace

    from lib.book.sphinx_extension import _buttons

    def options(**environment):
        for name in ("REPOSITORY", "BINDERHUB", "JUPYTERHUB", "COLAB"):
            monkeypatch.delenv(f"BOOK_{name}_URL", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        config = SimpleNamespace(html_theme_options={"launch_buttons": {"notebook_interface": "jupyterlab"}})
        _buttons(None, config)
        return config.html_theme_options

    bare = options()
    assert not bare["use_repository_button"]
    assert not any(value for name, value in bare["launch_buttons"].items() if name.endswith("_url"))
    known = options(BOOK_REPOSITORY_URL="https://example.org/book", BOOK_BINDERHUB_URL="https://hub.example.org")
    assert known["repository_url"] == "https://example.org/book"
    assert known["use_repository_button"]
    assert known["launch_buttons"]["binderhub_url"] == "https://hub.example.org"
    assert known["launch_buttons"]["colab_url"] == ""


def test_the_table_of_contents_of_this_book_is_whole():
    pages = Layout(ROOT).pages
    assert pages[0].name == "index.md"
    assert len(set(pages)) == len(pages)


def test_ctrl_c_stops_all_chapters_and_their_kernels(small_book):
    wait = "import os, pathlib, time\npathlib.Path(f'{os.getpid()}.kernel').touch()\ntime.sleep(300)"
    layout = small_book(first=(wait,), second=(wait,))
    command = [sys.executable, "-m", "lib.book", "--root", str(layout.root), "run"]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while len(kernels := [int(flag.stem) for flag in layout.chapters.glob("*.kernel")]) < 2:
        assert running.poll() is None
        assert time.monotonic() < end, "the two kernels did not start"
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.splitlines()[-1].startswith("Stopped. Nothing was stored")
    assert not any(psutil.pid_exists(kernel) for kernel in kernels)
    assert not layout.executed.exists()


@pytest.mark.parametrize("notebook", Layout(ROOT).notebooks, ids=lambda path: path.stem)
def test_stored_chapter_is_whole_and_clean(notebook):
    document = nbformat.read(notebook, as_version=4)
    code = [cell for cell in document.cells if cell.cell_type == "code" and cell.source.strip()]
    assert code
    assert all(cell.execution_count for cell in code), "cells without outputs; run `make book` and `make store`"
    sound = [cell for cell in code if "raises-exception" not in cell.metadata.get("tags", [])]
    assert not any(output.output_type == "error" for cell in sound for output in cell.outputs)
    assert to_text(cleaned(document)) == notebook.read_text(encoding="utf-8"), "write it with `make store`"
