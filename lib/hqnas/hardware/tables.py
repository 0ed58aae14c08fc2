"""A device that somebody measured: its table of costs as a JSON file, for one space.

    {"format": "hqnas-cost-table", "device": "my phone", "unit": "microseconds",
     "space": {...}, "constant": 12.5,
     "rows": [{"block": "stage 1", "convolution": "expand", "expansion": 3, "kernel": 3, "bits": 2, "cost": 1.25}, ...]}

``constant`` is the cost of the layers that every network has. There is one row for every block, convolution, expansion,
kernel and bit-width, in any order. Who measured whole blocks writes their cost in the rows of "expand" and 0 in the
others. To begin, save the table of another device and replace its numbers.
"""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from lib.errors import UserError
from lib.files import write_whole
from lib.hqnas.cost import CostTable
from lib.hqnas.space import BITS, EXPANSIONS, KERNELS, PARTS, Choices, SearchSpace

FORMAT = "hqnas-cost-table"
COLUMNS = ("block", "convolution", "expansion", "kernel", "bits")
LARGEST = 1e30
"""More than any device costs, and still a float32."""


def save_table(path: Path | str, space: SearchSpace, table: CostTable) -> None:
    """Write a table with the space that it is of. Raises UserError when the file cannot be written."""
    if len(table.table) != len(space.blocks):
        raise ValueError(f"the table has {len(table.table)} blocks, its space {len(space.blocks)}")
    rows = [
        dict(zip((*COLUMNS, "cost"), (*place, cost), strict=True))
        for place, cost in zip(_places(space), table.table.flatten().tolist(), strict=True)
    ]
    head = {"format": FORMAT, "device": table.device, "unit": table.unit, "space": space.to_dict()}
    lines = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in rows)
    start = json.dumps(head | {"constant": table.constant}, allow_nan=False)[:-1]
    try:
        write_whole(Path(path), f'{start},\n "rows": [\n{lines}\n]}}\n')
    except OSError as fault:
        raise UserError(f"{path} cannot be written ({fault.strerror}): choose another place.") from None


def load_table(path: Path | str, space: SearchSpace) -> CostTable:
    """Read a table of this space.

    Raises:
        UserError: no such file, truncated, no table, of another space, or with a hole or a cost that is none.
    """
    record = _record(path)
    wanted = space.to_dict()
    if record.get("space") != wanted:
        raise UserError(
            f"{path} was measured for another space, {_difference(record.get('space'), wanted)}: measure for this one."
        )
    constant = _number(record.get("constant"), f"{path}: the constant")
    costs = _rows(path, record.get("rows"), space)
    values = []
    for place in _places(space):
        if place not in costs:
            raise UserError(f"{path} has no row for {_words(place)}: measure it and add it.")
        values.append(costs[place])
    shape = (len(space.blocks), len(PARTS), len(EXPANSIONS), len(KERNELS), len(BITS))
    return CostTable(torch.tensor(values).reshape(shape), constant, record["unit"], record["device"])


@dataclass(frozen=True)
class TableHardware:
    """A measured device. It knows the cost of one space, and refuses others.

    Attributes:
        path: of its file.
    """

    path: Path
    name: str
    unit: str

    @property
    def words(self) -> str:
        """One sentence on what it is."""
        return f"A device that was measured: the table in {self.path}."

    def cost_table(self, space: SearchSpace) -> CostTable:
        """What was measured. Raises UserError as ``load_table`` does."""
        return load_table(self.path, space)

    def layers(self, space: SearchSpace, choices: Choices) -> list[tuple[str, float]]:
        """(name, cost): all fixed layers as one, then each convolution; of a block measured whole, the block."""
        table = self.cost_table(space)
        found = [("fixed layers", table.constant)]
        for block, costs, parts in zip(space.blocks, table.table, table.shares(choices), strict=True):
            if not parts:
                continue
            if costs[1:].any():
                found += [(f"{block.name}, {part}", cost) for part, cost in zip(PARTS, parts, strict=True)]
            else:
                found.append((block.name, parts[0]))
        return found


def table_hardware(path: Path | str) -> TableHardware:
    """The device of a file. Raises UserError if it is none; its rows are read when a space asks for them."""
    record = _record(path)
    return TableHardware(Path(path), record["device"], record["unit"])


def _places(space: SearchSpace) -> list[tuple]:
    """What each row is for, in the order of the table's numbers."""
    return list(product([block.name for block in space.blocks], PARTS, EXPANSIONS, KERNELS, BITS))


def _words(place: tuple) -> str:
    block, part, expansion, kernel, bits = place
    return f"{block}, {part}, expansion {expansion}, kernel {kernel}, {bits} bits"


def _record(path: Path | str) -> dict:
    """The file as JSON, its head checked."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as fault:
        raise UserError(f"{path} cannot be read ({fault.strerror}): name a file with a table of costs.") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is truncated or not JSON: copy it again, or measure anew.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f'{path} is no table of costs: it needs "format": "{FORMAT}".')
    for key in ("device", "unit"):
        if not isinstance(record.get(key), str) or not record[key]:
            raise UserError(f"{path} does not name its {key}: add it, as text.")
    return record


def _difference(theirs: object, ours: object, place: str = "") -> str:
    """The first thing in which two records differ, as words."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in {**ours, **theirs}:
            if theirs.get(key) != ours.get(key):
                return _difference(theirs.get(key), ours.get(key), f"{place}.{key}" if place else key)
    return f"with {place or 'space'} {json.dumps(theirs)} where this run has {json.dumps(ours)}"


def _rows(path: Path | str, rows: object, space: SearchSpace) -> dict[tuple, float]:
    """Costs by place."""
    if not isinstance(rows, list):
        raise UserError(f"{path} has no list of rows: add one row for each choice.")
    known = dict(zip(COLUMNS, ([block.name for block in space.blocks], PARTS, EXPANSIONS, KERNELS, BITS), strict=True))
    costs = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}: row {number} is no object with {', '.join(COLUMNS)} and cost.")
        for key in (*COLUMNS, "cost"):
            if key not in row:
                raise UserError(f"{path}: row {number} has no {key}: add it.")
        for key, values in known.items():
            if row[key] not in values or isinstance(row[key], bool):
                choices = ", ".join(map(str, values))
                raise UserError(f"{path}: row {number} has {key} {row[key]!r}, which is none of {choices}.")
        place = tuple(row[key] for key in COLUMNS)
        if place in costs:
            raise UserError(f"{path}: row {number} is the second for {_words(place)}: keep one.")
        costs[place] = _number(row["cost"], f"{path}: the cost of {_words(place)}")
    return costs


def _number(value: object, what: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < LARGEST:  # not so for NaN
            return float(value)
        fault = "negative" if value < 0 else "not a number" if value != value else "too large"
    else:
        fault = "missing" if value is None else "not a number"
    raise UserError(f"{what} is {fault}: measure it again.")
