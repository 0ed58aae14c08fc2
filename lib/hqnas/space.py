"""What can be chosen: the search space as a list of layers, and a policy, which is one choice for each of them.

Single-Path NAS's choices (our reading, the paper's own could not be read): every searched block is a MobileNetV2 block
with a depthwise kernel of 3x3 or 5x5 and an expansion of 3 or 6, or it is left out where its input can pass through.
Each of its three convolutions has weights of 2, 4 or 8 bits. First and last layers stay at 8 bits, as is usual.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from lib.errors import UserError
from lib.files import write_whole
from lib.hqnas.config import SpaceConfig

KERNELS = (3, 5)
EXPANSIONS = (3, 6)
BITS = (2, 4, 8)
FIXED_BITS = 8
"""Of the layers that are not searched, and of all activations."""
PARTS = ("expand", "depthwise", "project")
"""The three convolutions of a block, in their order."""
FORMAT = "hqnas-policy"


@dataclass(frozen=True)
class Conv:
    """One convolution as a device sees it. A linear layer is a 1x1 convolution of a 1x1 map.

    Attributes:
        height, width: of its input. Padding keeps the size, up to the stride.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    groups: int
    height: int
    width: int

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        return math.ceil(self.height / self.stride), math.ceil(self.width / self.stride)

    @property
    def parameters(self) -> int:
        """Weights, without biases and normalisation, which are folded away."""
        return self.out_channels * self.taps

    @property
    def taps(self) -> int:
        """Inputs of one output."""
        return self.in_channels // self.groups * self.kernel**2

    @property
    def positions(self) -> int:
        """Places of the output map."""
        return math.prod(self.out_size)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return self.positions * self.parameters

    @property
    def inputs(self) -> int:
        """Numbers that are read, without the weights."""
        return self.in_channels * self.height * self.width

    @property
    def outputs(self) -> int:
        """Numbers that are written."""
        return self.out_channels * self.positions


@dataclass(frozen=True)
class Block:
    """A MobileNetV2 block: 1x1 up, depthwise, 1x1 down; ``height`` and ``width`` of its input."""

    in_channels: int
    out_channels: int
    stride: int
    height: int
    width: int
    name: str = ""

    @property
    def skippable(self) -> bool:
        """Whether the input can pass through in its place."""
        return self.stride == 1 and self.in_channels == self.out_channels

    def convs(self, kernel: int, expansion: int) -> tuple[Conv, ...]:
        """Its convolutions; with an expansion of 1 there is nothing to expand, and they are two."""
        middle = expansion * self.in_channels
        depthwise = Conv(middle, middle, kernel, self.stride, middle, self.height, self.width)
        project = Conv(middle, self.out_channels, 1, 1, 1, *depthwise.out_size)
        if expansion == 1:
            return depthwise, project
        return Conv(self.in_channels, middle, 1, 1, 1, self.height, self.width), depthwise, project


@dataclass(frozen=True)
class Choice:
    """What was chosen for one block: kernel size, expansion, and the bits of its three convolutions."""

    kernel: int
    expansion: int
    bits: tuple[int, int, int]


Choices = tuple[Choice | None, ...]
"""One for each searched block; None leaves the block out."""


class SearchSpace:
    """The layers of a space for images of one size.

    Attributes:
        blocks: those that are searched. image_shape: (channels, height, width). classes: outputs.
    """

    def __init__(self, config: SpaceConfig, image_shape: tuple[int, int, int], classes: int):
        self.config, self.image_shape, self.classes = config, tuple(image_shape), classes
        channels, *size = self.image_shape
        self.stem = Conv(channels, config.stem, 3, config.stem_stride, 1, *size)
        self.first, self.last, self.head = None, None, None
        now, size = config.stem, self.stem.out_size
        if config.first:
            self.first = Block(now, config.first, 1, *size, name="first block")
            now = config.first
        blocks = []
        for number, stage in enumerate(config.stages, 1):
            for layer in range(stage.layers):
                stride = stage.stride if layer == 0 else 1
                name = f"stage {number}" + (f", block {layer + 1}" if stage.layers > 1 else "")
                blocks.append(Block(now, stage.channels, stride, *size, name=name))
                now, size = stage.channels, tuple(math.ceil(side / stride) for side in size)
        self.blocks = tuple(blocks)
        if config.last:
            self.last = Block(now, config.last, 1, *size, name="last block")
            now = config.last
        if config.head:
            self.head = Conv(now, config.head, 1, 1, 1, *size)
            now = config.head
        self.features = now
        self.classifier = Conv(now, classes, 1, 1, 1, 1, 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    @cached_property
    def fixed(self) -> dict[str, Conv]:
        """The convolutions that every network of the space has, by name, always at 8 bits."""
        convs = {"stem": self.stem}
        if self.first:
            convs |= dict(zip(("first depthwise", "first project"), self.first.convs(3, 1), strict=True))
        if self.last:
            names = (f"last {part}" for part in PARTS)
            convs |= dict(zip(names, self.last.convs(3, 6), strict=True))
        if self.head:
            convs["head"] = self.head
        return convs | {"classifier": self.classifier}

    def convs(self, choices: Choices) -> Iterator[tuple[str, Conv, int]]:
        """Every convolution of one network: (name, shape, weight bits), in the order of the layers."""
        behind = {name: conv for name, conv in self.fixed.items() if name.split()[0] in ("last", "head", "classifier")}
        for name, conv in self.fixed.items():
            if name not in behind:
                yield name, conv, FIXED_BITS
        for block, choice in zip(self.blocks, choices, strict=True):
            if choice is not None:
                shapes = block.convs(choice.kernel, choice.expansion)
                for part, conv, bits in zip(PARTS, shapes, choice.bits, strict=True):
                    yield f"{block.name}, {part}", conv, bits
        for name, conv in behind.items():
            yield name, conv, FIXED_BITS

    def uniform(self, bits: int, kernel: int = 5, expansion: int = 6) -> Choices:
        """Every block the same, none left out; as it stands the largest network. Raises UserError for what is none."""
        return self.checked((Choice(kernel, expansion, (bits,) * 3),) * len(self.blocks))

    def smallest(self) -> Choices:
        """Every block left out that can be, the others as small as they come."""
        least = Choice(KERNELS[0], EXPANSIONS[0], (BITS[0],) * 3)
        return tuple(None if block.skippable else least for block in self.blocks)

    @property
    def architectures(self) -> int:
        """How many networks there are, bits aside."""
        options = len(KERNELS) * len(EXPANSIONS)
        return math.prod(options + block.skippable for block in self.blocks)

    @property
    def policies(self) -> int:
        """How many networks there are, with the bits of each convolution."""
        options = len(KERNELS) * len(EXPANSIONS) * len(BITS) ** len(PARTS)
        return math.prod(options + block.skippable for block in self.blocks)

    def all_choices(self, block: Block) -> Iterator[Choice | None]:
        """Every choice of one block."""
        if block.skippable:
            yield None
        for kernel, expansion, *bits in product(KERNELS, EXPANSIONS, *[BITS] * len(PARTS)):
            yield Choice(kernel, expansion, tuple(bits))

    def checked(self, choices: Choices, source: str = "The policy") -> Choices:
        """The choices, if they are of this space. Raises UserError with the block at fault if not."""
        if len(choices) != len(self.blocks):
            raise UserError(
                f"{source} has {len(choices)} blocks and the space {len(self.blocks)}: it is of another space."
            )
        for block, choice in zip(self.blocks, choices, strict=True):
            if choice is None:
                if not block.skippable:
                    raise UserError(
                        f"{source} leaves out {block.name}, which changes the shape of its input: it is of another "
                        "space."
                    )
                continue
            for what, value, known in (
                ("kernel", choice.kernel, KERNELS),
                ("expansion", choice.expansion, EXPANSIONS),
                *(("bits", bits, BITS) for bits in choice.bits),
            ):
                if value not in known or isinstance(value, bool):
                    raise UserError(
                        f"{source} has {what} {value!r} in {block.name}: choose one of {', '.join(map(str, known))}."
                    )
            if len(choice.bits) != len(PARTS):
                raise UserError(f"{source} has {len(choice.bits)} bit-widths in {block.name}, not {len(PARTS)}.")
        return choices

    def to_dict(self) -> dict:
        """Plain JSON types: what makes two spaces the same."""
        return {"space": self.config.to_dict(), "image_shape": list(self.image_shape), "classes": self.classes}


def choices_to_list(choices: Choices) -> list[dict | None]:
    """As JSON has them."""
    return [
        None if one is None else {"kernel": one.kernel, "expansion": one.expansion, "bits": list(one.bits)}
        for one in choices
    ]


def choices_from_list(found: object, space: SearchSpace, source: str = "The policy") -> Choices:
    """What ``choices_to_list`` wrote. Raises UserError when it is not a policy of this space."""
    if not isinstance(found, list):
        raise UserError(f"{source} has no list of blocks: name a policy that `papers train hqnas` wrote.")
    choices = []
    for number, one in enumerate(found, 1):
        if one is None:
            choices.append(None)
            continue
        try:
            choices.append(Choice(one["kernel"], one["expansion"], tuple(one["bits"])))
        except (TypeError, KeyError):
            raise UserError(f"{source}: block {number} is no choice of kernel, expansion and bits.") from None
    return space.checked(tuple(choices), source)


def save_policy(path: Path | str, space: SearchSpace, choices: Choices) -> None:
    """Write a policy as JSON, with the space that it belongs to."""
    record = {"format": FORMAT, **space.to_dict(), "blocks": choices_to_list(space.checked(choices))}
    write_whole(Path(path), json.dumps(record, indent=1) + "\n")


def load_policy(path: Path | str, space: SearchSpace) -> Choices:
    """Read a policy of this space.

    Raises:
        UserError: no such file, not JSON, not a policy, or one of another space.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise UserError(f"{path} cannot be read ({fault.strerror}): name a policy file.") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is truncated or not JSON: name a policy that `papers train hqnas` wrote.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f"{path} is no policy: name one that `papers train hqnas` wrote.")
    wanted = space.to_dict()
    for key, value in wanted.items():
        if record.get(key) != value:
            raise UserError(
                f"{path} is a policy of another space: its {key.replace('_', ' ')} differs from this run's; search "
                "again, or use the preset and data that it came from."
            )
    return choices_from_list(record.get("blocks"), space, str(path))
