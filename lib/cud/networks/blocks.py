"""The parts of the U-Net: normalisation, residual block, self-attention."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEARLY_ZERO = 1e-5
"""Factor on the first weights of a branch's last layer: the branch starts almost silent."""


def group_norm(channels: int, epsilon: float) -> nn.GroupNorm:
    """GroupNorm with groups of four channels or more, 32 groups at most (as DDPM++ does)."""
    groups = min(32, max(1, channels // 4))
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=epsilon)


def xavier(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, gain: float = 1.0) -> None:
    """Xavier-uniform weight times `gain`, zero bias."""
    nn.init.xavier_uniform_(layer.weight, gain=gain)
    nn.init.zeros_(layer.bias)


class SelfAttention(nn.Module):
    """Self-attention over the positions of a map, added to it.

    channels; head_channels: of one head (None = one head of all channels); residual_scale on the sum.
    """

    def __init__(self, channels: int, head_channels: int | None, residual_scale: float, epsilon: float) -> None:
        super().__init__()
        self.heads = 1 if head_channels is None else channels // head_channels
        self.residual_scale = residual_scale
        self.norm = group_norm(channels, epsilon)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.projection = nn.Conv2d(channels, channels, 1)

    def reset_parameters(self) -> None:
        xavier(self.query_key_value, gain=math.sqrt(0.2))
        xavier(self.projection, gain=NEARLY_ZERO)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, channels, height, width), and so is the result."""
        batch, channels, height, width = x.shape
        joint = self.query_key_value(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1)
        query, key, value = joint.transpose(-1, -2).unbind(1)  # each (batch, heads, positions, head channels)
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(-1, -2).reshape(batch, channels, height, width)
        return (x + self.projection(attended)) * self.residual_scale


class ResidualBlock(nn.Module):
    """norm, SiLU, (resample,) 3x3 conv, + time, norm, SiLU, dropout, 3x3 conv, + shortcut; then attention.

    resample: "up" doubles the side (nearest neighbour), "down" halves it (mean of 2x2), "" keeps it.
    `time_size` says how many numbers of the time embedding the block asks for.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        resample: str = "",
        attention: SelfAttention | None = None,
        dropout: float = 0.0,
        scale_shift: bool = False,
        residual_scale: float = 1.0,
        project_resampled: bool = True,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__()
        if resample not in ("", "up", "down"):
            raise ValueError(f"resample is {resample!r}; use 'up', 'down' or ''.")
        self.out_channels, self.resample = out_channels, resample
        self.scale_shift, self.residual_scale = scale_shift, residual_scale
        self.time_size = out_channels * (2 if scale_shift else 1)
        self.norm_1 = group_norm(in_channels, epsilon)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm_2 = group_norm(out_channels, epsilon)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.conv_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        projected = in_channels != out_channels or (bool(resample) and project_resampled)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if projected else None
        self.attention = attention

    def reset_parameters(self) -> None:
        xavier(self.conv_1)
        xavier(self.conv_2, gain=NEARLY_ZERO)
        if self.shortcut is not None:
            xavier(self.shortcut)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return x

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (batch, in, height, width); time: (batch or 1, time_size)."""
        time = time[:, :, None, None]
        hidden = self.conv_1(self._resampled(F.silu(self.norm_1(x))))
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            hidden = F.silu(torch.addcmul(shift, self.norm_2(hidden), scale + 1))
        else:
            hidden = F.silu(self.norm_2(hidden + time))
        if self.dropout is not None:
            hidden = self.dropout(hidden)
        x = self._resampled(x)
        if self.shortcut is not None:
            x = self.shortcut(x)
        x = x + self.conv_2(hidden)
        if self.residual_scale != 1.0:
            x = x * self.residual_scale
        return x if self.attention is None else self.attention(x)
