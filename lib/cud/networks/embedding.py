"""How a network is told the time and the label."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST_PERIOD = 10_000.0


def sinusoidal_embedding(t: Tensor, channels: int) -> Tensor:
    """Cosines and sines of t at channels / 2 frequencies, from 1 down to 1 / 10 000 in equal ratios.

    t: (batch,); channels: even. Returns (batch, channels), float32 even under automatic mixed precision,
    because bfloat16 would not tell neighbouring times apart. Source: Vaswani et al. 2017, section 3.5.
    """
    half = channels // 2
    exponents = torch.arange(half, device=t.device, dtype=torch.float32) / max(half - 1, 1)
    angles = t.float()[:, None] * LONGEST_PERIOD**-exponents  # (batch, half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Time, and a label if there are any, to one vector a residual block; all blocks in one product.

    channels: of the sinusoidal embedding. block_sizes: how many numbers each residual block asks for.
    One wide linear layer serves all blocks: the same weights as one layer a block, in one call, which
    matters where a call costs more than its arithmetic (the small network on a processor).
    """

    def __init__(self, channels: int, block_sizes: list[int], classes: int, time_scale: float) -> None:
        super().__init__()
        self.channels, self.block_sizes, self.classes, self.time_scale = (
            channels,
            block_sizes,
            classes,
            time_scale,
        )
        width = 4 * channels
        self.linear_1 = nn.Linear(channels, width)
        self.linear_2 = nn.Linear(width, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.per_block = nn.Linear(width, sum(block_sizes))

    def reset_parameters(self) -> None:
        """Xavier-uniform weights and zero biases; each block's slice is initialised as a layer of its own."""
        for linear in (self.linear_1, self.linear_2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        for rows in self.per_block.weight.detach().split(self.block_sizes):
            nn.init.xavier_uniform_(rows)
        nn.init.zeros_(self.per_block.bias)
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=1.0 / math.sqrt(self.label.embedding_dim))

    def forward(self, t: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        """t: (batch,) or (1,) for all; labels: (batch,). Returns one (batch or 1, size) for each block."""
        embedded = sinusoidal_embedding(t * self.time_scale, self.channels)
        embedded = self.linear_2(F.silu(self.linear_1(embedded)))
        if self.label is not None:
            embedded = embedded + self.label(labels)
        return self.per_block(F.silu(embedded)).split(self.block_sizes, dim=1)
