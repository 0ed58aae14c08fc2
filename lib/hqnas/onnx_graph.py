"""A trained network as an ONNX graph, in 32-bit floats or in integers whose weights are exactly the trained codes.

What the integer network loses, it loses where training has floats: the image, the outputs of linear convolutions, sums
and the mean over the map are rounded to 8 bits, and a bias to a whole number of products of input and weight.
"""

from typing import TYPE_CHECKING

import numpy as np

from lib.hqnas.folding import IMAGE, LEAST_SCALE, MEAN, RELU6, Folded, Grid, blocks_of, folded, folded_classifier
from lib.hqnas.hardware.graphs import IR_VERSION, OPSET
from lib.hqnas.model import FixedConv, Network
from lib.hqnas.quantizer import ACTIVATION_LIMIT

if TYPE_CHECKING:
    import onnx

LOGITS = "logits"
LARGEST_BIAS = 2**30
"""Of a bias in integers. The other half of 32 bits is left to the sum of products."""


class FloatGraph:
    """A graph under construction. Methods add a layer and return the name of its output; numbers are 32-bit floats."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(
        self, kind: str, inputs: list[str], name: str, attributes: dict[str, int | list[int]] | None = None
    ) -> str:
        """Add a node; its name is that of its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **(attributes or {})))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant."""
        self.constants[name] = value
        return name

    def convolution(self, x: str, name: str, layer: FixedConv, quantized: bool) -> str:
        """A convolution with its normalisation, and ReLU6 if it has one."""
        shape = layer.conv
        sizes = {
            "group": shape.groups,
            "kernel_shape": [shape.kernel] * 2,
            "pads": [shape.kernel // 2] * 4,
            "strides": [shape.stride] * 2,
        }
        inputs = [x, *self.parameters(x, name, folded(layer, quantized))]
        if layer.linear:
            return self.settled(self.node("Conv", inputs, f"{name}.conv", sizes), name)
        return self.relu6(self.node("Conv", inputs, f"{name}.conv", sizes), name)

    def sum(self, x: str, y: str, name: str) -> str:
        """A residual sum."""
        return self.settled(self.node("Add", [x, y], f"{name}.add"), name)

    def mean(self, x: str) -> str:
        """The mean over the map, (batch, channels)."""
        means = self.settled(self.node("GlobalAveragePool", [x], "pool"), MEAN)
        return self.settled(self.node("Flatten", [means], "flat"), MEAN)

    def classifier(self, x: str, layer: Folded) -> str:
        """Logits, always floats."""
        inputs = [x, *self.parameters(x, "classifier", layer)]
        return self.node("Gemm", inputs, LOGITS, {"transB": 1})

    def image(self) -> str:
        """The input of the first layer."""
        return self.settled(IMAGE, IMAGE)

    def parameters(self, x: str, name: str, layer: Folded) -> list[str]:
        """Weight and bias, as inputs of a node, of the layer ``name`` whose input is ``x``."""
        return [
            self.constant(f"{name}.weight", layer.weight.astype(np.float32)),
            self.constant(f"{name}.bias", layer.bias.astype(np.float32)),
        ]

    def relu6(self, y: str, name: str) -> str:
        """Clipped to 0 ... 6."""
        bounds = [
            self.constant(bound, np.float32(value)) for bound, value in (("low", 0.0), ("high", ACTIVATION_LIMIT))
        ]
        return self.node("Clip", [y, *bounds], f"{name}.relu6")

    def settled(self, y: str, name: str) -> str:
        """A number that training leaves in floats: it stays one."""
        return y


class IntegerGraph(FloatGraph):
    """The same layers in 8-bit integers: between each two nodes a tensor is written in integers and read as floats.

    ONNX Runtime turns such pairs, and the nodes between them, into kernels that compute with the integers.
    """

    def __init__(self, grids: dict[str, Grid]):
        super().__init__()
        self.grids = grids
        self.scales: dict[str, float] = {}  # of each tensor that was written in integers

    def parameters(self, x: str, name: str, layer: Folded) -> list[str]:
        """Codes, and a bias in units of input scale * weight scale, in which products are summed.

        A channel whose factor is nearly 0 gets as large a scale as its bias needs to fit into an integer.
        """
        needed = np.abs(layer.bias) / (self.scales[x] * LARGEST_BIAS)
        scale = np.maximum(np.maximum(layer.scale, needed), LEAST_SCALE).astype(np.float32)
        unit = (self.scales[x] * scale.astype(np.float64)).astype(np.float32)
        bias = np.round(layer.bias / unit).astype(np.int32)
        return [self._read(f"{name}.weight", layer.codes, scale), self._read(f"{name}.bias", bias, unit)]

    def relu6(self, y: str, name: str) -> str:
        """On the grid of the training, whose ends are 0 and 6: no node needs to clip."""
        return self._written(y, f"{name}.relu6", RELU6)

    def settled(self, y: str, name: str) -> str:
        """On the grid that was observed."""
        return self._written(y, f"{y}.settled", self.grids[name])

    def _read(self, name: str, value: np.ndarray, scale: np.ndarray) -> str:
        """A constant in integers with a scale for each of its first axis."""
        inputs = [
            self.constant(name, value),
            self.constant(f"{name}.scale", scale),
            self.constant(f"{name}.zero", np.zeros(len(scale), value.dtype)),
        ]
        return self.node("DequantizeLinear", inputs, f"{name}.real", {"axis": 0})

    def _written(self, y: str, name: str, grid: Grid) -> str:
        """A tensor in integers, read back."""
        grid_of = [
            self.constant(f"{name}.scale", np.float32(grid.scale)),
            self.constant(f"{name}.zero", np.uint8(grid.zero_point)),
        ]
        written = self.node("QuantizeLinear", [y, *grid_of], f"{name}.codes")
        read = self.node("DequantizeLinear", [written, *grid_of], name)
        self.scales[read] = float(np.float32(grid.scale))
        return read


def model_of(network: Network, graph: FloatGraph) -> "onnx.ModelProto":
    """Add every layer of a network to an empty graph: images (batch, ...) -> logits (batch, classes), any batch."""
    from onnx import TensorProto, helper, numpy_helper

    quantized = network.quantized
    x = graph.convolution(graph.image(), "stem", network.stem, quantized)
    for name, block in blocks_of(network):
        start = x
        for part, layer in block.layers.items():
            x = graph.convolution(x, f"{name}.{part}", layer, quantized)
        if block.skippable:
            x = graph.sum(start, x, f"{name}.sum")
    if network.head:
        x = graph.convolution(x, "head", network.head, quantized)
    graph.classifier(graph.mean(x), folded_classifier(network))
    space = network.space
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "network",
            [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, ["batch", *space.image_shape])],
            [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", space.classes])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
