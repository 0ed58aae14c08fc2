"""Files that are whole at every moment, and paths as people write them."""

import os
import tempfile
from pathlib import Path

from lib.errors import UserError


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write ``content`` beside ``path`` and rename it, so that nobody ever sees half a file; text becomes UTF-8.

    Missing folders are made. When anything goes wrong the old file stays, and nothing lies beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(beside, 0o644)  # mkstemp makes it private
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return path


def at_home(name: str | Path) -> Path:
    """A path with ~ and ~somebody resolved."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name} begins with the home of somebody who is not known here: write the path out.") from None


def cache_root() -> Path:
    """The folder for what can be made again: BOOK_CACHE if that is set, else papers-that-run in the user's cache.

    The user's cache is XDG_CACHE_HOME, or ~/.cache. Nothing is made here; who writes makes a folder of its own inside.
    """
    chosen = os.environ.get("BOOK_CACHE", "")
    if chosen:
        return at_home(chosen).absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative one is to be ignored, says the standard
    return (shared if shared.is_absolute() else at_home("~/.cache")) / "papers-that-run"
