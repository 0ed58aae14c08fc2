"""Real data sets: the folder they lie in."""

import os
from pathlib import Path

from lib.errors import UserError
from lib.files import at_home


def data_root() -> Path:
    """The folder that BOOK_DATA names. Raises UserError when it is not set or not there."""
    name = os.environ.get("BOOK_DATA", "")
    if not name:
        raise UserError(
            "BOOK_DATA is not set: let it name the folder of your data sets (or use the embedded "
            "data, which need no files)."
        )
    root = at_home(name)
    if not root.is_dir():
        raise UserError(f"BOOK_DATA names {root}, which is no folder: correct it, or create the folder.")
    return root
