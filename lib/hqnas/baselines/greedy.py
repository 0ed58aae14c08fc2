"""Bits taken away where it hurts least: the idea of today's automatic mixed-precision tools."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.errors import UserError
from lib.hqnas.cost import CostTable
from lib.hqnas.model import Network
from lib.hqnas.space import BITS, PARTS, Choices


def narrower(choices: Choices, block: int, part: int) -> Choices | None:
    """The same policy with one convolution one bit-width narrower, or None if it is the narrowest already."""
    choice = choices[block]
    if choice is None or choice.bits[part] == BITS[0]:
        return None
    bits = list(choice.bits)
    bits[part] = BITS[BITS.index(bits[part]) - 1]
    return (*choices[:block], replace(choice, bits=tuple(bits)), *choices[block + 1 :])


@torch.no_grad()
def greedy_bits(network: Network, table: CostTable, target: float, images: Tensor, labels: Tensor) -> Choices:
    """Narrow one convolution at a time until the cost keeps ``target``: the one that loses least for what it saves.

    Args:
        network: trained, at 8 bits. images, labels: to measure the loss on; nothing is trained.

    Raises:
        UserError: the target is below the cost at 2 bits everywhere.
    """
    network.eval()
    choices = network.choices
    now = _loss(network, choices, images, labels)
    while table.of(choices) > target * (1 + 1e-6):
        found = []
        for block in range(len(choices)):
            for part in range(len(PARTS)):
                if (tried := narrower(choices, block, part)) is None:
                    continue
                saved = table.of(choices) - table.of(tried)
                if saved > 0:
                    loss = _loss(network, tried, images, labels)
                    found.append(((loss - now) / saved, loss, tried))
        if not found:
            raise UserError(
                f"At 2 bits everywhere this network costs {table.of(choices):,.4g} {table.unit}, over the target of "
                f"{target:,.4g}: take a smaller network, or ask for more."
            )
        _, now, choices = min(found, key=lambda one: one[0])
    return choices


def _loss(network: Network, choices: Choices, images: Tensor, labels: Tensor) -> float:
    layers = dict(network.convs())
    before = {name: layer.bits for name, layer in layers.items()}
    try:
        for block, choice in enumerate(choices):
            for part, name in enumerate(PARTS if choice is not None else ()):
                layers[f"{block}.{name}"].bits = choice.bits[part]
        return float(F.cross_entropy(network(images), labels))
    finally:
        for name, bits in before.items():
            layers[name].bits = bits
