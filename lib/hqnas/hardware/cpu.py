"""The reader's own processor, measured under ONNX Runtime: the time of each choice of each block, in float32 and int8.

Each block is a small graph of its own. So one that is measured also pays for the call (which is measured too, and
subtracted), and for what goes in and comes out: in int8 it begins with float32 numbers and ends with them. A sum over
blocks is therefore an estimate of a network's time; ``measure_network`` times the whole. In our runs the sum was a
fifth too large for the 8x8 digits, where what goes in and out weighs most, and up to a third too small for large images
on a busy machine, where a block alone finds its weights and maps in the processor's cache and a network does not.

ONNX Runtime has no convolutions of 2 or 4 bits. **On this processor fewer than 8 bits save nothing**: the table of
costs has the int8 time for all three, and never the float32 time, which stands beside it for comparison.
"""

import hashlib
import json
import math
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from lib.errors import UserError
from lib.files import cache_root, write_whole
from lib.hqnas.cost import CostTable
from lib.hqnas.hardware.graphs import Piece, as_int8, as_onnx, block_piece, fixed_pieces, network_pieces
from lib.hqnas.hardware.timing import ROUNDS, Latency, latencies_of
from lib.hqnas.space import BITS, EXPANSIONS, KERNELS, PARTS, Block, Choices, SearchSpace

NAME, UNIT = "cpu", "microseconds"
FORMAT = "hqnas-cpu-1"
"""Of the cached files; another number makes old ones worthless, as when the graphs change."""
CALL = "calling the runtime"
Note = Callable[[str], None]


@dataclass(frozen=True)
class CPURow:
    """One graph: a choice of a block, or a fixed layer.

    Attributes:
        what: the shape of the block ("8 to 12 channels, 8x8, stride 2"), or the name of the layer.
        kernel, expansion: of the choice; None for a fixed layer.
        fp32_us, int8_us: least time of a call in microseconds, with what the call itself takes.
    """

    what: str
    kernel: int | None
    expansion: int | None
    fp32_us: float
    int8_us: float


@dataclass(frozen=True)
class CPUTable:
    """What one processor takes for each graph; equal ones are measured once.

    Attributes:
        processor, runtime: its model, and ONNX Runtime's version. rounds: turns of each graph.
        call_us: microseconds of a call with next to nothing to compute.
        rows: in the order of the blocks, expansions and kernels, then the fixed layers.
    """

    processor: str
    runtime: str
    rounds: int
    call_us: float
    rows: tuple[CPURow, ...]

    @cached_property
    def _by_choice(self) -> dict[tuple, CPURow]:
        return {(row.what, row.kernel, row.expansion): row for row in self.rows}

    def row(self, block: Block, kernel: int, expansion: int) -> CPURow:
        """Of one choice of a block that was measured."""
        return self._by_choice[_shape(block), kernel, expansion]

    def fixed(self, space: SearchSpace) -> dict[str, CPURow]:
        """Of the fixed layers, by name."""
        return {name: self._by_choice[name, None, None] for name in fixed_pieces(space)}

    def cost_table(self, space: SearchSpace) -> CostTable:
        """Microseconds in int8, the same for 2, 4 and 8 bits. A block's cost stands with its first convolution."""
        table = torch.zeros(len(space.blocks), len(PARTS), len(EXPANSIONS), len(KERNELS), len(BITS))
        for number, block in enumerate(space.blocks):
            for e, expansion in enumerate(EXPANSIONS):
                for k, kernel in enumerate(KERNELS):
                    table[number, 0, e, k] = self._own(self.row(block, kernel, expansion))
        constant = self.call_us + sum(map(self._own, self.fixed(space).values()))
        return CostTable(table, constant, UNIT, NAME)

    def layers(self, space: SearchSpace, choices: Choices) -> list[tuple[str, float]]:
        """(name, int8 microseconds) of the call, and of each layer or block of one network in its order."""
        fixed = {name: self._own(row) for name, row in self.fixed(space).items()}
        blocks = {
            block.name: self._own(self.row(block, choice.kernel, choice.expansion))
            for block, choice in zip(space.blocks, choices, strict=True)
            if choice is not None
        }
        found = {name: (fixed | blocks)[name] for name in network_pieces(space, choices)}
        return [(CALL, self.call_us), *found.items()]

    def _own(self, row: CPURow) -> float:
        """Without the call, of which a network makes one and not one for each layer."""
        return max(row.int8_us - self.call_us, 0.0)


@dataclass(frozen=True)
class CPU:
    """The processor that this runs on. The first table of a space is measured, in some seconds; then it is cached.

    Attributes:
        rounds: turns of each graph. note: told, in a sentence, when it measures.
    """

    rounds: int = ROUNDS
    note: Note | None = None
    name: str = NAME
    unit: str = UNIT
    words: str = "This computer's processor, measured under ONNX Runtime in int8; fewer than 8 bits save nothing on it."

    def cost_table(self, space: SearchSpace) -> CostTable:
        """The cost of every choice of a space."""
        return measure(space, rounds=self.rounds, note=self.note).cost_table(space)

    def layers(self, space: SearchSpace, choices: Choices) -> list[tuple[str, float]]:
        """(name, cost) of the call and each layer or block of one network."""
        return measure(space, rounds=self.rounds, note=self.note).layers(space, choices)


def measure(space: SearchSpace, *, rounds: int = ROUNDS, note: Note | None = None) -> CPUTable:
    """The table of a space on this processor.

    It is read from the cache, if it was measured there before with this ONNX Runtime and in as many rounds, and written
    to it otherwise. A damaged file of the cache is measured again.

    Raises:
        UserError: the cache cannot be written. Times that are not kept would differ from one call to the next.
    """
    graphs = _choices(space.blocks) | {(name, None, None): piece for name, piece in fixed_pieces(space).items()}
    path = cache_root() / "hqnas-latency" / f"{_key(space)}.json"
    table = _cached(path, list(graphs))
    if table is None or table.rounds < rounds:
        table = _measured(graphs, rounds, note)
        try:
            write_whole(path, json.dumps(_to_dict(table), indent=1) + "\n")
        except OSError as fault:
            raise UserError(
                f"The times of this processor cannot be kept in {path.parent} ({fault.strerror or fault}): let "
                "BOOK_CACHE name a folder that can be written."
            ) from None
    return table


def measure_blocks(blocks: Iterable[Block], *, rounds: int = ROUNDS, note: Note | None = None) -> CPUTable:
    """Every choice of some blocks, without a space and without the cache."""
    return _measured(_choices(blocks), rounds, note)


def measure_network(space: SearchSpace, choices: Choices, *, rounds: int = ROUNDS) -> tuple[Latency, Latency]:
    """A whole network with random weights: in float32 and in int8."""
    model = as_onnx(list(network_pieces(space, choices).values()))
    found = latencies_of({"fp32": model, "int8": as_int8(model)}, rounds=rounds)
    return found["fp32"], found["int8"]


def processor() -> str:
    """The model of this computer's processor, as the system names it."""
    with suppress(OSError, subprocess.SubprocessError):
        if platform.system() == "Linux":
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.lower().startswith("model name"):
                    return line.partition(":")[2].strip()
        if platform.system() == "Darwin":
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return platform.processor() or platform.machine()


def _runtime() -> str:
    import onnxruntime

    return onnxruntime.__version__


def _shape(block: Block) -> str:
    inside = f"{block.in_channels}"
    if block.out_channels != block.in_channels:
        inside += f" to {block.out_channels}"
    return f"{inside} channels, {block.height}x{block.width}" + f", stride {block.stride}" * (block.stride > 1)


def _choices(blocks: Iterable[Block]) -> dict[tuple, Piece]:
    """Every choice of each shape, once."""
    return {
        (_shape(block), kernel, expansion): block_piece(block, kernel, expansion)
        for block in blocks
        for expansion in EXPANSIONS
        for kernel in KERNELS
    }


def _measured(graphs: Mapping[tuple, Piece], rounds: int, note: Note | None) -> CPUTable:
    if note:
        note(f"Measuring {len(graphs)} layers on this processor, {processor()}; this happens once.")
    models = {CALL: as_onnx([])}
    for name, piece in graphs.items():
        models[name, "fp32"] = as_onnx([piece])
        models[name, "int8"] = as_int8(models[name, "fp32"])
    found = {name: latency.minimum_us for name, latency in latencies_of(models, rounds=rounds).items()}
    rows = tuple(CPURow(*name, found[name, "fp32"], found[name, "int8"]) for name in graphs)
    return CPUTable(processor(), _runtime(), rounds, found[CALL], rows)


def _key(space: SearchSpace) -> str:
    """What a measurement depends on, as the name of a file."""
    parts = [FORMAT, processor(), platform.machine(), _runtime(), space.to_dict()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _to_dict(table: CPUTable) -> dict:
    head = {"format": FORMAT, "processor": table.processor, "runtime": table.runtime, "rounds": table.rounds}
    rows = [[row.what, row.kernel, row.expansion, row.fp32_us, row.int8_us] for row in table.rows]
    return head | {"call_us": table.call_us, "rows": rows}


def _cached(path: Path, names: list[tuple]) -> CPUTable | None:
    """What was measured before, or None if it was not, or the file is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(
            CPURow(*name, _time(row[3]), _time(row[4])) for name, row in zip(names, found["rows"], strict=True)
        )
        if [tuple(row[:3]) for row in found["rows"]] != names or found["format"] != FORMAT:
            return None
        head = str(found["processor"]), str(found["runtime"]), int(found["rounds"])
        return CPUTable(*head, _time(found["call_us"]), rows)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _time(value: object) -> float:
    """A time of the cache. Raises ValueError if it is none."""
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(value)
    return float(value)
