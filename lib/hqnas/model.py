"""The two networks, built from one description: the supernet that is searched, and the network that is found.

Both are made of the same layers with the same names. What was found is a slice of the supernet: ``sliced_from`` copies
it out, and the two compute the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.hqnas.config import GateConfig
from lib.hqnas.gates import Gates, Thresholds, hard_gate
from lib.hqnas.quantizer import Planes, assemble, fixed_bits, planes, relu6, shares_of
from lib.hqnas.space import FIXED_BITS, KERNELS, PARTS, Block, Choice, Choices, Conv, SearchSpace
from lib.hqnas.super_kernel import Channels, SuperBlock, kernel_norms, kernel_sums, scaled_norm, tap_masks
from lib.training.seeding import isolated_seed


class FixedConv(nn.Module):
    """A convolution, its normalisation and ReLU6, at a fixed number of bits. ``linear``: without ReLU6."""

    def __init__(self, conv: Conv, clip: str, bits: int = FIXED_BITS, *, linear: bool = False):
        super().__init__()
        self.conv, self.bits, self.clip, self.linear = conv, bits, clip, linear
        shape = (conv.out_channels, conv.in_channels // conv.groups, conv.kernel, conv.kernel)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight)
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor, bits: int | None = None) -> Tensor:
        """(batch, in, height, width) -> (batch, out, ...). ``bits``: instead of its own; 0: not quantized."""
        bits = self.bits if bits is None else bits
        weight = fixed_bits(self.weight, bits, self.clip)
        conv = self.conv
        y = F.conv2d(x, weight, stride=conv.stride, padding=conv.kernel // 2, groups=conv.groups)
        y = scaled_norm(y, self.norm)
        return y if self.linear else relu6(y, quantized=bits > 0)


class FixedBlock(nn.Module):
    """A block of one choice: a block of the network that was found, or one that no search touches.

    ``bits`` are those of expand, depthwise and project; with an expansion of 1 the first is not there.
    """

    def __init__(self, block: Block, kernel: int, expansion: int, bits: tuple[int, ...], clip: str):
        super().__init__()
        self.skippable = block.skippable
        convs = block.convs(kernel, expansion)
        names = PARTS[-len(convs) :]
        self.layers = nn.ModuleDict(
            {
                name: FixedConv(conv, clip, one, linear=name == PARTS[-1])
                for name, conv, one in zip(names, convs, bits[-len(convs) :], strict=True)
            }
        )

    def forward(self, x: Tensor, bits: int | None = None) -> Tensor:
        """(batch, in, height, width) -> (batch, out, ...)."""
        y = x
        for layer in self.layers.values():
            y = layer(y, bits)
        return x + y if self.skippable else y


class _Frame(nn.Module):
    """What every network of a space has around its searched blocks."""

    def __init__(self, space: SearchSpace, clip: str):
        super().__init__()
        self.space, self.clip = space, clip
        self.stem = FixedConv(space.stem, clip)
        self.first = FixedBlock(space.first, 3, 1, (FIXED_BITS,) * 3, clip) if space.first else None
        self.last = FixedBlock(space.last, 3, 6, (FIXED_BITS,) * 3, clip) if space.last else None
        self.head = FixedConv(space.head, clip) if space.head else None
        self.dropout = nn.Dropout(space.config.dropout)
        self.classifier = nn.Linear(space.features, space.classes)

    def _before(self, x: Tensor, bits: int | None) -> Tensor:
        # Channels last: depthwise convolutions take half the time on a processor.
        x = self.stem(x, bits).contiguous(memory_format=torch.channels_last)
        return self.first(x, bits) if self.first else x

    def _behind(self, x: Tensor, bits: int | None) -> Tensor:
        if self.last:
            x = self.last(x, bits)
        if self.head:
            x = self.head(x, bits)
        weight = fixed_bits(self.classifier.weight, FIXED_BITS if bits is None else bits, self.clip)
        return F.linear(self.dropout(x.mean((2, 3))), weight, self.classifier.bias)


class Decision(NamedTuple):
    """Every gate of one forward pass, and what decided.

    Attributes:
        gates: hard, with gradients. norms, thresholds: (blocks, 9), in the order of ``lib.hqnas.gates.ROW``.
    """

    gates: Gates
    norms: Tensor
    thresholds: Tensor


class Supernet(_Frame):
    """All networks of a space in one, single path: ``lib.hqnas.super_kernel`` and ``lib.hqnas.quantizer``.

    Attributes:
        blocks: the super-kernels. thresholds: what their norms are compared with. config: how.
    """

    def __init__(self, space: SearchSpace, config: GateConfig | None = None, seed: int = 0):
        config = config or GateConfig()
        with isolated_seed(seed):
            super().__init__(space, config.clip)
            self.blocks = nn.ModuleList(SuperBlock(block) for block in space.blocks)
        self.config = config
        self.thresholds = Thresholds(space)
        self.channels = Channels([block.middle for block in self.blocks])
        self.register_buffer("at_start", self._kernel_sums(self._depthwise().detach())[:, 0, 0])
        start = [float(config.start_bits != 2), float(config.start_bits in (0, 8))]
        self.register_buffer("start", torch.tensor(start), persistent=False)
        self.register_buffer("scales", torch.tensor(config.bit_scales), persistent=False)

    def weights(self) -> list[nn.Parameter]:
        """Everything that is trained but the thresholds."""
        thresholds = {id(one) for one in self.thresholds.parameters()}
        return [one for one in self.parameters() if id(one) not in thresholds]

    def forward(self, x: Tensor, gates: Gates | None = None, shape: Gates | None = None) -> tuple[Tensor, Decision]:
        """Images (batch, channels, height, width) -> logits (batch, classes), and what was decided.

        Args:
            gates: use these, instead of those that norms and thresholds decide.
            shape: take skip, expansion and kernel from these, and decide the bits only.
        """
        decision, kernels, masks, taken = self._decide(gates, shape)
        used = decision.gates
        quantized = taken is not None
        shares = shares_of(used.bits).flatten(0, 1).unbind() if quantized else ()  # of each convolution
        y = self._before(x, None if quantized else 0)
        for number, (block, kernel, mask, keep) in enumerate(
            zip(self.blocks, kernels, masks, used.skip.unbind(), strict=True)
        ):
            weights = (block.expand, kernel, block.project)
            if quantized:
                own = shares[len(PARTS) * number : len(PARTS) * (number + 1)]
                weights = tuple(map(assemble, weights, own, taken[number]))
            y = block(y, weights, mask, keep, quantized)
        return self._behind(y, None if quantized else 0), decision

    @torch.no_grad()
    def decision(self, shape: Gates | None = None) -> Decision:
        """What the gates decide now, and from what."""
        return self._decide(None, shape)[0]

    def _decide(
        self, given: Gates | None, fixed: Gates | None
    ) -> tuple[Decision, tuple[Tensor, ...], tuple[Tensor, ...], list | None]:
        """Gates, the kernels in use, the masks of channels, and the weights taken apart (None without quantization)."""
        depthwise = self._depthwise()
        norms = kernel_norms(self._kernel_sums(depthwise), self.at_start)  # (blocks, 3)
        levels, bit_levels = self.thresholds.shape_and_bits()
        row = hard_gate(norms - levels, self.config.temperature).masked_fill(self.thresholds.always, 1.0)
        skip, expansion, kernel, _ = given or fixed or (*row.unbind(1), None)
        of_channels, counts = self.channels.spread, self.channels.counts
        kernels = (depthwise * tap_masks(of_channels(kernel))).split(counts)
        masks = self.channels.masks(of_channels(expansion)).view(1, -1, 1, 1).split(counts, 1)
        taken = self._planes(kernels, kernel, masks) if self.config.start_bits else None
        ratios = self._bit_norms(taken)
        bits = given.bits if given is not None else self._bit_gates(ratios, bit_levels)
        rows = torch.cat([norms.detach(), ratios.flatten(1)], 1)
        decision = Decision(Gates(skip, expansion, kernel, bits), rows, self.thresholds.levels.detach().clone())
        return decision, kernels, masks, taken

    def _depthwise(self) -> Tensor:
        """The largest kernels of all blocks in a row: (channels, 1, 5, 5)."""
        return torch.cat([block.depthwise for block in self.blocks])

    def _kernel_sums(self, depthwise: Tensor) -> Tensor:
        return kernel_sums(depthwise, self.channels.halves)

    def _planes(
        self, kernels: Sequence[Tensor], gates: Tensor, masks: Sequence[Tensor]
    ) -> list[tuple[Planes, Planes, Planes]]:
        """The weights of every block taken apart. Channels and taps that are not in use count for nothing.

        ``gates``: g_k, (blocks,).
        """
        clip, found = self.config.clip, []
        taps = tap_masks(gates.detach()).split(1)
        for block, kernel, tap, mask in zip(self.blocks, kernels, taps, masks, strict=True):
            rows = mask.view(-1, 1, 1, 1)
            found.append(
                (
                    planes(block.expand, clip, rows),
                    planes(kernel, clip, rows, tap),
                    planes(block.project, clip, columns=mask),
                )
            )
        return found

    def _bit_norms(self, taken: list[tuple[Planes, Planes, Planes]] | None) -> Tensor:
        """What t_4 and t_8 are compared with: (blocks, convolutions, 2)."""
        shape = (len(self.blocks), len(PARTS), len(self.scales))
        if taken is None:
            return self.scales.new_ones(shape)
        return (torch.stack([one.ratios for row in taken for one in row]) * self.scales).view(shape)

    def _bit_gates(self, norms: Tensor, levels: Tensor) -> Tensor:
        """g_4 and g_8, (blocks, convolutions, 2): searched, or fixed."""
        if self.config.bits:
            return hard_gate(norms - levels, self.config.temperature)
        return self.start.expand_as(norms)


class Network(_Frame):
    """One network of a space: what a search found, or what it is compared with.

    Attributes:
        choices: its policy. blocks: one a choice, without those that are left out. quantized: False: 32-bit floats.
    """

    def __init__(
        self, space: SearchSpace, choices: Choices, clip: str = "per_width", seed: int = 0, *, quantized: bool = True
    ):
        with isolated_seed(seed):
            super().__init__(space, clip)
            self.choices, self.quantized = space.checked(choices), quantized
            self.blocks = nn.ModuleDict(
                {
                    str(number): FixedBlock(block, choice.kernel, choice.expansion, choice.bits, clip)
                    for number, (block, choice) in enumerate(zip(space.blocks, choices, strict=True))
                    if choice is not None
                }
            )

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channels, height, width) -> logits (batch, classes)."""
        bits = None if self.quantized else 0
        y = self._before(x, bits)
        for block in self.blocks.values():
            y = block(y, bits)
        return self._behind(y, bits)

    def convs(self) -> list[tuple[str, FixedConv]]:
        """Every searched convolution: ("3.project", layer)."""
        return [
            (f"{number}.{name}", layer) for number, block in self.blocks.items() for name, layer in block.layers.items()
        ]


@torch.no_grad()
def sliced_from(supernet: Supernet, choices: Choices) -> Network:
    """The network of these choices with the supernet's weights and statistics: it computes what the supernet does."""
    network = Network(supernet.space, choices, supernet.clip, quantized=supernet.config.start_bits > 0)
    own = supernet.state_dict()
    network.load_state_dict(
        {name: own[name] for name in network.state_dict() if not name.startswith("blocks.")}, strict=False
    )
    for number, block in network.blocks.items():
        choice: Choice = choices[int(number)]
        source: SuperBlock = supernet.blocks[int(number)]
        kept = choice.expansion * source.block.in_channels
        edge = (KERNELS[1] - choice.kernel) // 2
        taps = slice(edge, KERNELS[1] - edge)
        cut = {
            "expand": source.expand[:kept],
            "depthwise": source.depthwise[:kept, :, taps, taps],
            "project": source.project[:, :kept],
        }
        for part in PARTS:
            layer, norm = block.layers[part], getattr(source, f"{part}_norm")
            layer.weight.copy_(cut[part])
            for name in ("weight", "bias", "running_mean", "running_var"):
                value = getattr(norm, name)
                getattr(layer.norm, name).copy_(value if part == "project" else value[:kept])
            layer.norm.num_batches_tracked.copy_(norm.num_batches_tracked)
    return network.train(supernet.training)
