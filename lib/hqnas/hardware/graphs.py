"""Layers as ONNX graphs with random weights, in float32 and in int8: what a processor is timed with.

Batch normalisation is folded into the convolution in front of it, as in a network in use. Weights are random, since
time does not depend on them.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.hqnas.space import Block, Choices, Conv, SearchSpace

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUT = "input", "output"
OPSET, IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime that the book allows."""
CALIBRATION = 2
"""Random inputs that the ranges of activations are taken from."""


@dataclass(frozen=True)
class Piece:
    """Layers that are timed together: a block, or one convolution.

    Attributes:
        convs: in their order. residual: whether the input is added at the end.
        linear: whether the last convolution has no ReLU6; the others have one.
    """

    convs: tuple[Conv, ...]
    residual: bool = False
    linear: bool = True


def block_piece(block: Block, kernel: int, expansion: int) -> Piece:
    """One choice of a block."""
    return Piece(block.convs(kernel, expansion), block.skippable)


def fixed_pieces(space: SearchSpace) -> dict[str, Piece]:
    """The layers that every network of a space has, by name."""
    pieces = {"stem": Piece((space.stem,), linear=False)}
    if space.first:
        pieces["first block"] = block_piece(space.first, 3, 1)
    if space.last:
        pieces["last block"] = block_piece(space.last, 3, 6)
    if space.head:
        pieces["head"] = Piece((space.head,), linear=False)
    return pieces | {"classifier": Piece((space.classifier,))}


def network_pieces(space: SearchSpace, choices: Choices) -> dict[str, Piece]:
    """One network, by the names of its layers, from the image to the classes."""
    fixed = fixed_pieces(space)
    front = {name: piece for name, piece in fixed.items() if name in ("stem", "first block")}
    blocks = {
        block.name: block_piece(block, choice.kernel, choice.expansion)
        for block, choice in zip(space.blocks, choices, strict=True)
        if choice is not None
    }
    return front | blocks | {name: piece for name, piece in fixed.items() if name not in front}


def as_onnx(pieces: Sequence[Piece], seed: int = 0) -> bytes:
    """The layers one after the other, for one image, in float32: input (1, channels, height, width).

    Before a layer whose input is a single position the mean over the map is taken. No pieces: a graph with next to
    nothing to do, to time the call.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    chance = np.random.default_rng(seed)
    nodes, constants = [], {"low": np.float32(0), "high": np.float32(6)}
    now, size = INPUT, (1, 1)
    for piece in pieces:
        if nodes and size != (1, 1) and (piece.convs[0].height, piece.convs[0].width) == (1, 1):
            now = _node(nodes, "GlobalAveragePool", [now])
        start = now
        for place, conv in enumerate(piece.convs, 1):
            weights = f"weights {len(nodes)}"
            constants[weights], constants[f"bias {len(nodes)}"] = _weights(conv, chance)
            now = _node(
                nodes,
                "Conv",
                [now, weights, f"bias {len(nodes)}"],
                group=conv.groups,
                kernel_shape=[conv.kernel] * 2,
                pads=[conv.kernel // 2] * 4,
                strides=[conv.stride] * 2,
            )
            if place < len(piece.convs) or not piece.linear:
                now = _node(nodes, "Clip", [now, "low", "high"])
        if piece.residual:
            now = _node(nodes, "Add", [start, now])
        size = piece.convs[-1].out_size
    if not nodes:
        now = _node(nodes, "Relu", [now])
    nodes[-1].output[0] = OUTPUT
    entry = pieces[0].convs[0] if pieces else Conv(1, 1, 1, 1, 1, 1, 1)
    channels = pieces[-1].convs[-1].out_channels if pieces else 1
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, entry.in_channels, entry.height, entry.width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, channels, *size])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    return model.SerializeToString()


def as_int8(model: bytes, samples: Sequence[Mapping[str, np.ndarray]] | None = None) -> bytes:
    """The same network in 8 bits: weights signed, one scale a channel; activations unsigned. Its input stays float32.

    Args:
        samples: inputs by name, of which the ranges of activations are taken; random ones if None, which do for timing.
    """
    import onnx

    samples = [random_inputs(model, seed) for seed in range(CALIBRATION)] if samples is None else samples
    with _quiet(), tempfile.TemporaryDirectory(prefix="hqnas-") as folder:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        # A file, not the model itself: of that, quantize_static moves the weights into a folder of its own.
        before, after = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        before.write_bytes(model)
        quantize_static(
            before,
            after,
            _Samples(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(after).SerializeToString()


def random_inputs(model: bytes, seed: int = 0) -> dict[str, np.ndarray]:
    """Float32 inputs for a model, standard normal; sizes that it leaves open, as the batch, are 1."""
    import onnx

    graph = onnx.load_from_string(model).graph
    constants = {value.name for value in graph.initializer}
    chance = np.random.default_rng(seed)
    shapes = {
        one.name: [max(size.dim_value, 1) for size in one.type.tensor_type.shape.dim]
        for one in graph.input
        if one.name not in constants
    }
    return {name: chance.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


class _Samples:
    """What quantize_static reads its samples from."""

    def __init__(self, samples: Sequence[Mapping[str, np.ndarray]]):
        self._left = iter(samples)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._left, None)


def _node(nodes: list["onnx.NodeProto"], kind: str, inputs: list[str], **attributes) -> str:
    from onnx import helper

    name = f"{kind} {len(nodes)}"
    nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
    return name


def _weights(conv: Conv, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights of He's size, so that activations neither vanish nor explode, and biases."""
    shape = (conv.out_channels, conv.in_channels // conv.groups, conv.kernel, conv.kernel)
    weights = chance.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / conv.taps))
    return weights, chance.standard_normal(conv.out_channels, dtype=np.float32) * np.float32(0.1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's chatter; the root logger, which some versions set up on import, is as before."""
    root, before = logging.getLogger(), logging.root.manager.disable
    handlers, level = root.handlers[:], root.level
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        root.handlers[:] = handlers
        root.setLevel(level)
