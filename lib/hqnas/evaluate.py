"""How good a network is, and what it costs: accuracy with its interval, modelled cost, bits and size."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lib.errors import UserError
from lib.hqnas.model import Network
from lib.hqnas.space import Choices, SearchSpace
from lib.vision.data import ImageSet, to_float

PIXELS = 2**21
"""Of a piece, about: the maps of a network are many times larger than its images."""


@dataclass(frozen=True)
class Score:
    """What a network made of labelled images.

    Attributes:
        accuracy: share that was named rightly. low, high: its 95 percent interval (Wilson).
        class_accuracies: NaN for a class without an image. predictions: (n,). loss: mean cross-entropy.
    """

    accuracy: float
    low: float
    high: float
    class_accuracies: np.ndarray
    predictions: Tensor
    loss: float


@torch.inference_mode()
def logits_of(network: nn.Module, data: ImageSet) -> Tensor:
    """Logits (n, classes) in evaluation mode, read and computed in pieces that suit the size of an image."""
    batch = max(8, min(512, PIXELS // max(1, math.prod(data.shape))))
    was = network.training
    network.eval()
    device = next(network.parameters()).device
    found = []
    for part in torch.arange(len(data)).split(batch):
        out = network(to_float(data.read(part)).to(device))
        found.append((out[0] if isinstance(out, tuple) else out).cpu())
    network.train(was)
    return torch.cat(found)


def evaluate(network: nn.Module, data: ImageSet) -> Score:
    """Score a network, or a supernet as its gates stand, on images.

    Raises:
        UserError: no image, or more classes than the network has.
    """
    if not len(data):
        raise UserError(f"{data.name} has no image to score: name another split or folder.")
    logits = logits_of(network, data)
    if int(data.labels.max()) >= logits.shape[1]:
        raise UserError(
            f"{data.name} has {int(data.labels.max()) + 1} classes and the network {logits.shape[1]}: name data of the "
            "classes that it learnt."
        )
    from scipy.stats import binomtest

    predictions = logits.argmax(1)
    right = predictions == data.labels
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    classes = np.array(
        [right[data.labels == label].float().mean().item() for label in range(logits.shape[1])]
    )  # the mean of nothing is NaN
    loss = float(nn.functional.cross_entropy(logits, data.labels))
    return Score(float(right.float().mean()), interval.low, interval.high, classes, predictions, loss)


def accuracy(network: nn.Module, data: ImageSet) -> float:
    """The share of images that are named rightly."""
    return float((logits_of(network, data).argmax(1) == data.labels).float().mean())


def mean_bits(space: SearchSpace, choices: Choices) -> float:
    """Bits of a searched weight, averaged over the weights that the network has; NaN if it has none."""
    counts = [
        (conv.parameters, bits)
        for block, choice in zip(space.blocks, choices, strict=True)
        if choice is not None
        for conv, bits in zip(block.convs(choice.kernel, choice.expansion), choice.bits, strict=True)
    ]
    total = sum(count for count, _ in counts)
    return sum(count * bits for count, bits in counts) / total if total else float("nan")


def size_bytes(space: SearchSpace, choices: Choices) -> float:
    """Bytes of the weights of all convolutions and the classifier, with their bits; without scales and biases."""
    return sum(conv.parameters * bits for _, conv, bits in space.convs(choices)) / 8


def agreement(one: Choices, other: Choices) -> float:
    """The share of decisions that two policies have in common: six a block (kept, kernel, expansion, and three widths).

    Where one leaves a block out and the other does not, all six differ.
    """
    equal = []
    for a, b in zip(one, other, strict=True):
        if a is None or b is None:
            equal += [a is b] * 6
        else:
            equal += [True, a.kernel == b.kernel, a.expansion == b.expansion]
            equal += [x == y for x, y in zip(a.bits, b.bits, strict=True)]
    return sum(equal) / len(equal)


def summary(network: Network) -> str:
    """One line: kernel and expansion of each block, and its bits, as "5x5 e6 8/4/2"; "skip" where there is none."""
    return summary_of(network.choices)


def summary_of(choices: Choices) -> str:
    """The same of a policy."""
    return ", ".join(
        "skip" if one is None else f"{one.kernel}x{one.kernel} e{one.expansion} {'/'.join(map(str, one.bits))}"
        for one in choices
    )
