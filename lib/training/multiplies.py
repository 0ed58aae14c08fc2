"""One way to count for every network of the book: parameters, and multiplications of one forward pass."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

_PRODUCTS = {torch.ops.aten.bmm, torch.ops.aten.baddbmm}
"""Activations times activations: the products of attention and of graphs."""


@dataclass(frozen=True)
class Multiplies:
    """Multiplications of one forward pass, each with its addition (multiply-accumulates, MACs).

    by_weights     of activations with weights: convolutions and linear layers, padding included, as is usual
    by_activations of activations with each other: attention, graphs. Many papers leave these out
    """

    by_weights: int
    by_activations: int

    @property
    def total(self) -> int:
        """All of them. The usual count of multiply-accumulates."""
        return self.by_weights + self.by_activations

    @property
    def operations(self) -> int:
        """The other convention, FLOPs: the multiplication and the addition apart, twice the number."""
        return 2 * self.total


def count_multiplies(forward: Callable[[], object]) -> Multiplies:
    """Count what `forward()` computes, by torch's own counter; on the "meta" device nothing is computed.

    Not counted: normalisation, activation functions, pooling, additions, Fourier transforms.
    """
    # attention as plain products: torch's counter does not know every fused kernel
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward()
    counts = counter.get_flop_counts().get("Global", {})
    products = sum(count for name, count in counts.items() if name in _PRODUCTS)
    return Multiplies((sum(counts.values()) - products) // 2, products // 2)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable numbers, the scales and shifts of normalisation included."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
