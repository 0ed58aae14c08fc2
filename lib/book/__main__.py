"""`python -m lib.book …`: run the chapters, build the site, serve it."""

import argparse
import sys
from pathlib import Path

from lib.book.lab import lab
from lib.book.layout import Layout
from lib.book.runner import run_chapters, store_chapters
from lib.book.serve import serve
from lib.book.site import SiteError, build_site, where
from lib.errors import UserError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.book", description="The book's own machinery.")
    parser.add_argument("--root", type=Path, default=None, help="the book's folder (default: this repository)")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    for name, text in (
        ("book", "run the chapters that changed, build the site, say where it lies"),
        ("run", "run the chapters that changed"),
    ):
        running = command(name, text)
        running.add_argument("--jobs", type=int, default=2, help="chapters at a time (default: 2)")
        running.add_argument("--force", action="store_true", help="run unchanged chapters, too")
    building = command("build", "build the site from the last run's outputs")
    building.add_argument("--stored", action="store_true", help="from the outputs in chapters/ instead")
    building.add_argument("--force", action="store_true", help="even if nothing changed")
    for name, text in (
        ("read", "build the site from the outputs in chapters/ and serve it"),
        ("serve", "serve the site that was built, on 127.0.0.1"),
    ):
        command(name, text).add_argument("--port", type=int, default=8000, help="preferred port (default: 8000)")
    command("store", "write the last run's outputs into chapters/, for committing")
    command("chapters", "print the files of all chapters")
    command("lab", "open JupyterLab on chapters/")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 a chapter or the site failed, 2 wrong input."""
    asked = _parser().parse_args(arguments)
    layout = Layout(asked.root.resolve()) if asked.root else Layout()
    try:
        return _do(asked, layout)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except (SiteError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Nothing was stored for chapters that were running.", file=sys.stderr)
        return 130


def _do(asked: argparse.Namespace, layout: Layout) -> int:
    if asked.command in ("book", "run"):
        if asked.jobs < 1:
            raise UserError("--jobs must be 1 or more.")
        if not run_chapters(layout, asked.jobs, asked.force):
            return 1
        if asked.command == "book":
            build_site(layout)
            print(where(layout))
    elif asked.command == "build":
        build_site(layout, stored=asked.stored, force=asked.force)
        print(where(layout))
    elif asked.command == "read":
        build_site(layout, stored=True)
        print(where(layout))
        serve(layout.html, asked.port)
    elif asked.command == "serve":
        serve(layout.html, asked.port)
    elif asked.command == "store":
        store_chapters(layout)
    elif asked.command == "chapters":
        for notebook in layout.notebooks:
            print(notebook.relative_to(layout.root))
    elif asked.command == "lab":
        return lab(layout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
