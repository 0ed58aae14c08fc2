"""Builds the site: puts the source tree together, calls Jupyter Book on it, and moves the result into place."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from lib.book.key import library_digest, tree_digest
from lib.book.layout import Layout
from lib.book.outputs import cleaned, to_text
from lib.book.runner import executed_notebook, is_current
from lib.errors import UserError
from lib.files import write_whole

SETTINGS = ("BOOK_REPOSITORY_URL", "BOOK_BINDERHUB_URL", "BOOK_JUPYTERHUB_URL", "BOOK_COLAB_URL")
"""Environment variables that switch on buttons in the page's head; without them there are none."""


class SiteError(Exception):
    """The site could not be built; the text says why."""


def assemble(layout: Layout, stored: bool) -> Path:
    """Make `_build/source`: the pages, and the chapters with their outputs. Returns its path.

    stored: take the outputs that are committed in `chapters/` instead of those of the last run here.
    Raises SiteError when a chapter has not been run here as it stands now.
    """
    if layout.pages and not (layout.root / "_config.yml").is_file():  # both are read before anything is written
        raise UserError(f"{layout.root}/_config.yml is missing; start in the book's folder.")
    source = layout.build / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(layout.root / name, source / name)
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.ipynb")
    shutil.copytree(layout.chapters, source / "chapters", ignore=ignore)
    library = library_digest(layout)
    for notebook in layout.notebooks:
        if stored:
            document = nbformat.read(notebook, as_version=4)
        elif is_current(layout, notebook, library):
            document = executed_notebook(layout, notebook)
        else:
            raise SiteError(f"{notebook.name} has not been run as it stands now; run `make book`.")
        write_whole(source / notebook.relative_to(layout.root), to_text(cleaned(document)))
    return source


def build_site(layout: Layout, stored: bool = False, force: bool = False, say=print) -> Path:
    """Build `_build/html` and return it. Nothing is done when nothing has changed since the last build.

    Every warning is an error; the site that was there before stays until the new one is whole.
    Raises SiteError with the warnings.
    """
    source = assemble(layout, stored)
    digest = _site_digest(layout, source)
    stamp = layout.build / "site.json"
    if not force and layout.html.is_dir() and _stamped(stamp) == digest:
        say("The site is as it was: nothing changed.")
        return layout.html
    say(f"Building the site of {len(layout.pages)} pages ...")
    began = time.monotonic()
    workshop = layout.build / "sphinx"
    shutil.rmtree(workshop, ignore_errors=True)
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    done = subprocess.run(
        [*jupyter_book, "build", str(source), "--path-output", str(workshop), "-W", "-n", "--keep-going", "-q"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "BOOK_ROOT": str(layout.root)},
    )
    write_whole(layout.build / "site.log", done.stdout)
    if done.returncode:
        raise SiteError(f"{_worth_reading(done.stdout)}\nThe site was not built. All of it: {layout.build}/site.log")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(layout.html, ignore_errors=True)
    (workshop / "_build" / "html").replace(layout.html)
    write_whole(stamp, json.dumps({"digest": digest}) + "\n")
    say(f"The site was built in {time.monotonic() - began:.0f} s.")
    return layout.html


def where(layout: Layout) -> str:
    """How to open the site that was built."""
    index = layout.html / "index.html"
    if not index.is_file():
        raise UserError(f"{index} is missing; build the site with `make read` or `make book`.")
    return f"The site lies in {layout.html}\n  open it as a file:  {index.as_uri()}\n  or serve it:        make serve"


def _site_digest(layout: Layout, source: Path) -> str:
    settings = " ".join(f"{name}={os.environ.get(name, '')}" for name in SETTINGS)
    return f"{tree_digest(source, layout.root / 'results')} {library_digest(layout)} {settings}"


def _stamped(stamp: Path) -> str | None:
    try:
        return json.loads(stamp.read_text(encoding="utf-8"))["digest"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _worth_reading(log: str) -> str:
    """The warnings and errors of the log; its end where there is none."""
    lines = log.splitlines()
    picked = [line for line in lines if any(word in line for word in ("WARNING", "ERROR", "Error:", "error:"))]
    return "\n".join(picked or lines[-25:])
