"""Where the book's files lie, and which pages its table of contents lists."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from lib.errors import UserError

_REPOSITORY = Path(__file__).resolve().parents[2]
_SUFFIXES = (".ipynb", ".md")


@dataclass(frozen=True)
class Layout:
    """The folders of one book. `root` holds `_config.yml` and `_toc.yml`."""

    root: Path = _REPOSITORY

    @property
    def chapters(self) -> Path:
        return self.root / "chapters"

    @property
    def build(self) -> Path:
        """Everything that can be made again; git ignores it."""
        return self.root / "_build"

    @property
    def executed(self) -> Path:
        """Chapters as they were run on this machine, each with its key."""
        return self.build / "executed"

    @property
    def html(self) -> Path:
        return self.build / "html"

    @cached_property
    def pages(self) -> tuple[Path, ...]:
        """The source files of all pages in the order of the table of contents.

        Raises UserError when `_toc.yml` is missing, cannot be read, or lists a page that does not exist.
        """
        toc = self.root / "_toc.yml"
        try:
            table = yaml.safe_load(toc.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{toc} is missing; start in the book's folder.") from None
        except yaml.YAMLError as error:
            raise UserError(f"{toc} is not readable YAML: {str(error).splitlines()[0]}.") from None
        if not isinstance(table, dict) or "root" not in table:
            raise UserError(f"{toc} names no root page; add a line 'root: chapters/index'.")
        return tuple(self._source(name, toc) for name in _names(table))

    @property
    def notebooks(self) -> tuple[Path, ...]:
        """The chapters that can be run: the notebooks among the pages."""
        return tuple(page for page in self.pages if page.suffix == ".ipynb")

    def _source(self, name: str, toc: Path) -> Path:
        for path in [self.root / name, *(self.root / f"{name}{suffix}" for suffix in _SUFFIXES)]:
            if path.is_file():
                return path
        raise UserError(f"{toc} lists {name}, but there is no such page; write it or take the line out.")


def _names(entry: dict) -> list[str]:
    """File names of a table-of-contents entry and all below it, in reading order."""
    names = [entry[key] for key in ("root", "file") if key in entry]
    for key in ("parts", "chapters", "sections"):
        for below in entry.get(key) or []:
            names += _names(below)
    return names
