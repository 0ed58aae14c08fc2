"""A study of a system, kept beside its verdicts: every number of every seed, as a chapter draws them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.errors import UserError
from lib.papers.records import RESULTS

Study = dict[str, Any]
"""One seed, in plain JSON types: ``seed``, and what the system measures."""


def study_json(studies: Sequence[Study]) -> bytes:
    """The content of a file of studies."""
    return (json.dumps(list(studies), indent=1, ensure_ascii=False) + "\n").encode()


def load_studies(system: str, file: str, folder: Path | str = RESULTS) -> list[Study]:
    """The studies of all seeds. Raises UserError when there are none, or they cannot be read."""
    path, mend = Path(folder) / file, f"run `papers reproduce {system}`"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no {path}: {mend} first.") from None
    except ValueError:
        raise UserError(f"{path} is truncated or not JSON: {mend} again.") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) and "seed" in one for one in found):
        raise UserError(f"{path} holds no studies of this chapter: {mend} again.")
    return found
