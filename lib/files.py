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
