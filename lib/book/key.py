"""The key that decides whether a chapter must run again.

A chapter's outputs depend on its code, on `lib/`, on the cards in `seeds/` and on the stored runs in `results/`; and on
the Python and the torch that ran it. The key is a hash over exactly these. Prose is not in it: a corrected sentence
needs no training.
"""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import nbformat

from lib.book.layout import Layout

_NOT_SOURCE = {"__pycache__", ".ipynb_checkpoints"}


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not _NOT_SOURCE.intersection(path.parts) and path.suffix != ".pyc"
    )


def tree_digest(*folders: Path) -> str:
    """One hash over the names and contents of all files below the folders; a missing folder counts as empty."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in _files(folder):
            for part in (path.relative_to(folder.parent).as_posix().encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "big") + part)  # the length keeps "ab"+"c" from "a"+"bc"
    return digest.hexdigest()


def library_digest(layout: Layout) -> str:
    """What all chapters share: `lib/`, `seeds/`, `results/`, and the versions that compute."""
    versions = f"python {platform.python_version()} torch {version('torch')}"
    shared = tree_digest(*(layout.root / name for name in ("lib", "seeds", "results")))
    return hashlib.sha256(f"{versions} {shared}".encode()).hexdigest()


def notebook_key(notebook: Path, library: str) -> str:
    """The key of one chapter. `library` is `library_digest(...)`, computed once for all chapters."""
    document = nbformat.read(notebook, as_version=4)
    digest = hashlib.sha256(library.encode())
    for cell in document.cells:
        if cell.cell_type == "code":
            tags = ",".join(sorted(cell.metadata.get("tags", [])))  # a tag can allow an error, or skip a cell
            for part in (tags.encode(), cell.source.encode()):
                digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
