"""A trained network's layers in whole numbers: codes with scales, and grids for activations.

A weight is code * step, with one step for each output channel, and normalisation multiplies a channel by a factor and
adds a shift. So it folds into a convolution without touching a code: the scale becomes step * |factor|, the shift
becomes the bias, and a negative factor turns the signs of its channel's codes.

Behind ReLU6 activations are unsigned 8-bit numbers in training already. The image, the outputs of linear convolutions,
residual sums and the mean over the map are floats in training: they get 8 bits on ranges that are observed on images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from lib.hqnas.model import FixedBlock, FixedConv, Network
from lib.hqnas.quantizer import ACTIVATION_BITS, ACTIVATION_LIMIT, codes, ranges
from lib.hqnas.space import BITS, FIXED_BITS, PARTS
from lib.hqnas.super_kernel import EPSILON

IMAGE, MEAN = "image", "mean"
LAST_CODE = 2**ACTIVATION_BITS - 1
LEAST_SCALE = 1e-15
"""Products of two scales must stay above the least float."""
PIECE = 64
"""Images that pass through the network at once while ranges are observed."""


@dataclass(frozen=True)
class Grid:
    """Unsigned 8-bit numbers for real ones: round(x / scale) + zero_point, kept within 0 ... 255."""

    scale: float
    zero_point: int = 0

    @staticmethod
    def over(low: float, high: float) -> "Grid":
        """A grid that has 0 as one of its numbers and reaches from ``low`` to ``high``, up to half a step."""
        low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            return Grid(1.0)
        zero = round(LAST_CODE * -low / (high - low))
        below = -low / zero if zero else 0.0
        above = high / (LAST_CODE - zero) if zero < LAST_CODE else 0.0
        return Grid(max(below, above, LEAST_SCALE), zero)


RELU6 = Grid(ACTIVATION_LIMIT / LAST_CODE)


@dataclass(frozen=True)
class Folded:
    """A layer with its normalisation folded in, in float64.

    Attributes:
        weight: (out, ...), in real numbers. bias: (out,).
        codes: int8, and scale, (out,): weight = codes * scale. None in a network of floats.
    """

    weight: np.ndarray
    bias: np.ndarray
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None


def fold(weight: Tensor, bits: int, clip: str, factor: Tensor, shift: Tensor) -> Folded:
    """Multiply the outputs of a weight by ``factor`` and add ``shift``, both (out,). 0 bits: not quantized."""
    factor, shift = (one.detach().double().numpy() for one in (factor, shift))
    columns = (-1, *[1] * (weight.ndim - 1))
    if not bits:
        return Folded(weight.detach().double().numpy() * factor.reshape(columns), shift)
    found, step = codes(weight, bits, ranges(weight, clip)[BITS.index(bits)])
    signed = found.double().numpy() * np.where(factor < 0, -1, 1).reshape(columns)
    scale = step.double().flatten().numpy() * np.abs(factor)
    return Folded(signed * scale.reshape(columns), shift, signed.astype(np.int8), scale)


def folded(layer: FixedConv, quantized: bool = True) -> Folded:
    """A convolution and its normalisation, by the statistics of the training."""
    norm = layer.norm
    factor = norm.weight.detach().double() / (norm.running_var.double() + EPSILON).sqrt()
    shift = norm.bias.detach().double() - norm.running_mean.double() * factor
    return fold(layer.weight, layer.bits if quantized else 0, layer.clip, factor, shift)


def folded_classifier(network: Network) -> Folded:
    """The linear layer behind the mean, which has a bias and no normalisation."""
    last, bits = network.classifier, FIXED_BITS if network.quantized else 0
    return fold(last.weight, bits, network.clip, torch.ones_like(last.bias), last.bias)


def blocks_of(network: Network) -> Iterator[tuple[str, FixedBlock]]:
    """Its blocks in their order, also those that no search touches, with their names in the state dict."""
    if network.first:
        yield "first", network.first
    for number, block in network.blocks.items():
        yield f"blocks.{number}", block
    if network.last:
        yield "last", network.last


@torch.inference_mode()
def observed(network: Network, images: Tensor) -> dict[str, Grid]:
    """Grids for all that training leaves in floats, over the least and the largest number that images give.

    Args:
        network: in evaluation mode. images: (n, channels, height, width), one or more.
    """
    seen: dict[str, list[float]] = {}

    def note(name: str, values: Tensor) -> None:
        seen.setdefault(name, []).extend((float(values.min()), float(values.max())))

    def noted(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        note(name, output)

    places: list[tuple[str, nn.Module]] = [(MEAN, network.dropout)]  # does nothing in evaluation mode
    for name, block in blocks_of(network):
        places.append((f"{name}.{PARTS[-1]}", block.layers[PARTS[-1]]))
        if block.skippable:
            places.append((f"{name}.sum", block))
    hooks = [layer.register_forward_hook(partial(noted, name)) for name, layer in places]
    try:
        for part in images.split(PIECE):
            note(IMAGE, part)
            network(part)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: Grid.over(min(values), max(values)) for name, values in seen.items()}
