"""A moving figure of chapter 2: the network that a search found, block by block, and how it moves with the budget."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import traitlets

from lib.errors import UserError
from lib.hqnas.hardware.device import Hardware
from lib.hqnas.space import EXPANSIONS, PARTS, Choices, SearchSpace, choices_to_list
from lib.widgets.base import BookWidget
from lib.widgets.kit import module, still, style

BEHIND = ("last", "head", "classifier")
"""First words of the layers behind the searched blocks; other layers that belong to no block stand in front of them."""
STRENGTHS = ((0, 2, 1.0), (2, 4, 0.62), (4, 8, 0.34))
"""Bits from, to, and how strongly they are painted: the coarse bits are in the fine ones."""

_CSS = """
.ptr-beside { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 20px; align-items: center; }
@container ptr (min-width: 600px) { .ptr-beside { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }
.ptr-beside > * { min-width: 0; }
.ptr .ptr-device { flex: 1 1 200px; }
.ptr-keys { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center;
  font-size: 12px; color: var(--ptr-muted); }
.ptr-keys > span { display: inline-flex; align-items: center; gap: 6px; }
"""


@dataclass(frozen=True)
class SearchedNetwork:
    """What one search found, and what it is worth.

    Attributes:
        device: its name. unit: of all costs, as "kilocycles".
        choices: the policy.
        layers: (name, cost) of each layer, the fixed ones included, as ``Hardware.layers`` gives them.
        accuracy: percent; one number, or one for each training of this network.
        share: the budget as a share of the cost of the largest network; None if there was none.
    """

    device: str
    unit: str
    choices: Choices
    layers: Sequence[tuple[str, float]]
    accuracy: float | Sequence[float]
    share: float | None = None

    @classmethod
    def on(
        cls,
        hardware: Hardware,
        space: SearchSpace,
        choices: Choices,
        accuracy: float | Sequence[float],
        share: float | None = None,
    ) -> "SearchedNetwork":
        """With the costs that a device gives its layers."""
        return cls(hardware.name, hardware.unit, choices, hardware.layers(space, choices), accuracy, share)

    @property
    def cost(self) -> float:
        """Of the whole network, in ``unit``."""
        return float(sum(cost for _, cost in self.layers))

    @property
    def accuracies(self) -> list[float]:
        """One or more, in percent."""
        values = self.accuracy if isinstance(self.accuracy, Sequence) else [self.accuracy]
        return [float(one) for one in values]


def _places(space: SearchSpace, network: SearchedNetwork) -> tuple[float, list[list[float]], float]:
    """The cost of the layers in front, of each block's convolutions (one number: the whole block), and behind."""
    front, behind, parts = 0.0, 0.0, [[] for _ in space.blocks]
    for name, cost in network.layers:
        if not (math.isfinite(cost) and cost >= 0):
            raise UserError(f"{name} costs {cost} on {network.device}: a cost is 0 or more.")
        owner = [k for k, block in enumerate(space.blocks) if name == block.name or name.startswith(f"{block.name}, ")]
        # "stage 1" is no owner of "stage 1, block 2, expand" where there is a block of that longer name
        if owner:
            parts[max(owner, key=lambda k: len(space.blocks[k].name))].append(float(cost))
        elif name.split()[0] in BEHIND:
            behind += float(cost)
        else:
            front += float(cost)
    for block, choice, costs in zip(space.blocks, network.choices, parts, strict=True):
        if len(costs) not in ((0,) if choice is None else (1, len(PARTS))):
            raise UserError(
                f"The layers of a network for {network.device} do not fit its choices: {block.name} has {len(costs)} "
                "costs. Take them from the device's `layers` for the same choices."
            )
    return front, parts, behind


def _entry(space: SearchSpace, group: Sequence[SearchedNetwork]) -> dict:
    """All searches with one budget; the first is drawn."""
    drawn = group[0]
    space.checked(drawn.choices)
    front, parts, behind = _places(space, drawn)
    accuracies = [accuracy for one in group for accuracy in one.accuracies]
    if not accuracies or not all(math.isfinite(one) and 0 <= one <= 100 for one in accuracies):
        raise UserError(f"A network for {drawn.device} has accuracies {accuracies}: give one or more, in percent.")
    if drawn.cost <= 0:
        raise UserError(f"A network for {drawn.device} costs nothing: give the costs of its layers.")
    return {
        "share": None if drawn.share is None else float(drawn.share),
        "cost": drawn.cost,
        "costs": [one.cost for one in group for _ in one.accuracies],
        "accuracies": accuracies,
        "own": len(drawn.accuracies),
        "choices": choices_to_list(drawn.choices),
        "front": front,
        "parts": parts,
        "behind": behind,
    }


def architecture_state(space: SearchSpace, networks: Sequence[SearchedNetwork], *, start: float | None = None) -> dict:
    """The state of `ArchitectureFront`; arguments and errors as in `ArchitectureFront.from_networks`."""
    if not networks:
        raise UserError("The figure needs at least one network: search one.")
    devices = []
    for name in dict.fromkeys(one.device for one in networks):
        here = [one for one in networks if one.device == name]
        if len({one.unit for one in here}) > 1:
            raise UserError(f"The costs on {name} have several units: {', '.join(sorted({one.unit for one in here}))}.")
        groups: dict[object, list[SearchedNetwork]] = {}
        for place, one in enumerate(here):  # without a budget each network stands for itself
            groups.setdefault(("alone", place) if one.share is None else one.share, []).append(one)
        entries = [_entry(space, group) for group in groups.values()]
        entries.sort(key=lambda one: (one["share"] is None, one["share"] or 0.0, one["cost"]))
        first = len(entries) // 2
        if start is not None:
            first = min(range(len(entries)), key=lambda k: abs((entries[k]["share"] or 0.0) - start))
        devices.append({"name": str(name), "unit": here[0].unit, "entries": entries, "start": first})
    return {
        "blocks": [
            {
                "name": block.name,
                "inputs": block.in_channels,
                "outputs": block.out_channels,
                "stride": block.stride,
            }
            for block in space.blocks
        ],
        "devices": devices,
        "widest": max(EXPANSIONS[-1] * block.in_channels for block in space.blocks),
    }


class ArchitectureFront(BookWidget):
    """The network that was found for a budget, its layers' shares of the cost, and its place on the front."""

    label = "The searched network block by block for a budget to choose, with its layers' costs and its accuracy."
    _esm = module("hqnas_architecture")
    _css = style() + _CSS

    blocks = traitlets.List().tag(sync=True)
    devices = traitlets.List().tag(sync=True)
    widest = traitlets.Int(1).tag(sync=True)

    @classmethod
    def from_networks(
        cls, space: SearchSpace, networks: Sequence[SearchedNetwork], *, start: float | None = None
    ) -> "ArchitectureFront":
        """Build the figure from what searches found.

        Args:
            space: of all of them.
            networks: those of one device with one ``share`` are seeds of one budget: the first of them is drawn block
                by block, all stand on the front.
            start: the budget at first, as a share; the middle one if None.

        Raises:
            UserError: no network, one of another space, layers that do not fit the choices, costs in two units on one
                device, accuracies that are no percentages.
        """
        return cls(**architecture_state(space, networks, start=start))

    def preview(self) -> str:
        """The network of the first budget on the first device, as a still."""
        device = self.devices[0]
        entry = device["entries"][device["start"]]
        slot, gap, base, tall = 26, 22, 150, 100
        x, parts, told = 12, [], []
        for block, choice in zip(self.blocks, entry["choices"], strict=True):
            name = html.escape(block["name"], quote=True)
            first, _, second = name.partition(", ")
            parts.append(
                f'<text x="{x}" y="14" font-weight="600" fill="var(--ptr-ink)">{first}</text>'
                f'<text x="{x}" y="30" fill="var(--ptr-ink)">{second}</text>'
            )
            if choice is None:
                parts.append(
                    f'<path d="M{x} {base}h{3 * slot}" stroke="var(--ptr-ink)" stroke-dasharray="5 4"/>'
                    f'<text x="{x}" y="{base - 10}">left out</text>'
                )
                told.append(f"{name} left out")
            else:
                middle = choice["expansion"] * block["inputs"]
                for k, (channels, bits) in enumerate(
                    zip((middle, middle, block["outputs"]), choice["bits"], strict=True)
                ):
                    left, height = x + k * slot, tall * channels / self.widest
                    parts += [
                        f'<rect x="{left + 2.5 * low:.1f}" y="{base - height:.1f}" width="{2.5 * (high - low):.1f}" '
                        f'height="{height:.1f}" fill="var(--ptr-accent)" fill-opacity="{strength}"/>'
                        for low, high, strength in STRENGTHS
                        if bits >= high
                    ]
                    parts.append(
                        f'<rect x="{left}" y="{base - height:.1f}" width="20" height="{height:.1f}" fill="none" '
                        f'stroke="var(--ptr-line)"/><text x="{left + 10}" y="{base + 18}" text-anchor="middle" '
                        f'font-weight="600" fill="var(--ptr-ink)">{bits}</text>'
                    )
                kernel, expansion, bits = choice["kernel"], choice["expansion"], "/".join(map(str, choice["bits"]))
                parts.append(f'<text x="{x}" y="{base + 36}">{kernel}×{kernel}, ×{expansion}</text>')
                told.append(f"{name} {kernel}×{kernel}, expansion {expansion}, {bits} bits")
            x += 3 * slot + gap
        sentence = (
            f"The network found for {html.escape(device['name'], quote=True)}, block by block: {'; '.join(told)}; bars "
            "are as high as a convolution has channels."
        )
        return still(
            f'<svg viewBox="0 0 {max(x, 320)} {base + 44}" role="img" aria-label="{sentence}"><g font-size="12" '
            f'fill="var(--ptr-muted)">{"".join(parts)}</g></svg>'
        )
