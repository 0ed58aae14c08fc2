"""Quality against network calls, over seeds, as a small file that the chapter draws from."""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lib.errors import UserError
from lib.papers import RESULTS

FILE = "cud-curves.json"


class Curves(BaseModel):
    """All methods on one data set.

    Attributes:
        metric: what the distances are.
        floors: seed -> what fresh data score.
        scores: method -> network calls -> the distance of each seed, in the order of ``floors``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    metric: str
    floors: dict[int, float]
    scores: dict[str, dict[int, tuple[float, ...]]]

    @classmethod
    def over_seeds(
        cls, data: str, metric: str, scores: dict[int, dict[str, dict[int, float]]], floors: dict[int, float]
    ) -> "Curves":
        """From seed -> method -> calls -> distance."""
        known = next(iter(scores.values()))
        return cls(
            data=data,
            metric=metric,
            floors={seed: _short(value) for seed, value in floors.items()},
            scores={
                label: {n: tuple(_short(run[label][n]) for run in scores.values()) for n in calls}
                for label, calls in known.items()
            },
        )


def save_curves(curves: Iterable[Curves], folder: Path | str = RESULTS) -> Path:
    """Write the curves beside the old file and rename."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path, beside = folder / FILE, folder / f".{FILE}.new"
    beside.write_bytes(_LIST.dump_json(list(curves), indent=1) + b"\n")
    os.replace(beside, path)
    return path


def load_curves(folder: Path | str = RESULTS) -> list[Curves]:
    """Read the curves. Raises UserError when the file is missing or not as written."""
    path = Path(folder) / FILE
    try:
        return _LIST.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `papers reproduce cud`, or restore it from the repository.") from None
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({error.errors()[0]['msg']}): run `papers reproduce cud` again.") from None


_LIST = TypeAdapter(list[Curves])


def _short(value: float) -> float:
    return float(f"{value:.5g}")
