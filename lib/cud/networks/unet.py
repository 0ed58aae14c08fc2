"""The U-Net: an encoder that halves the map, a decoder that doubles it, and skip connections across."""

import torch
from torch import Tensor, nn

from lib.cud.networks.blocks import NEARLY_ZERO, ResidualBlock, SelfAttention, group_norm, xavier
from lib.cud.networks.config import UNetConfig
from lib.cud.networks.embedding import TimeEmbedding
from lib.cud.networks.shakedrop import prior_shakedrop


class UNetTrunk(nn.Module):
    """f_theta: the U-Net up to and including its last decoder block.

    `encoder`, `bottleneck` and `decoder` hold the layers in the order of their call. Blocks of the decoder
    that read a skip connection are those listed in `joins`; Prior ShakeDrop acts there and nowhere else.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.bottleneck, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.joins: list[bool] = []
        skips: list[int] = []  # channels of the maps that the decoder will read, last in, first out
        width = config.channels

        self.saves: list[bool] = [config.skip_resampled]
        self.encoder.append(nn.Conv2d(config.in_channels, width, 3, padding=1))
        if config.skip_resampled:
            skips.append(width)
        for level, multiplier in enumerate(config.multipliers):
            side = config.resolution >> level
            if level > 0:
                self.encoder.append(self._down(width))
                self.saves.append(config.skip_resampled)
                if config.skip_resampled:
                    skips.append(width)
            for _ in range(config.blocks):
                out = config.channels * multiplier
                self.encoder.append(self._block(width, out, side in config.attention_resolutions))
                self.saves.append(True)
                width = out
                skips.append(width)

        for index in range(config.bottleneck_blocks):
            self.bottleneck.append(self._block(width, width, index == 0 and config.bottleneck_attention))

        count = config.blocks + int(config.skip_resampled)
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            side = config.resolution >> level
            if level < len(config.multipliers) - 1:
                self.decoder.append(self._up(width, config.channels * multiplier))
                self.joins.append(False)
                width = self.decoder[-1].out_channels
            for index in range(count):
                attends = config.attention_in_all_decoder_blocks or index == count - 1
                out = config.channels * multiplier
                self.decoder.append(
                    self._block(width + skips.pop(), out, attends and side in config.attention_resolutions)
                )
                self.joins.append(True)
                width = out

        self.width = width
        sizes = [block.time_size for block in self.modules() if isinstance(block, ResidualBlock)]
        self.time = TimeEmbedding(config.channels, sizes, config.classes, config.time_scale)
        self.reset_parameters()

    def _block(self, inputs: int, outputs: int, attends: bool, resample: str = "") -> ResidualBlock:
        config = self.config
        attention = None
        if attends:
            attention = SelfAttention(
                outputs, config.attention_head_channels, config.residual_scale, config.norm_epsilon
            )
        return ResidualBlock(
            inputs,
            outputs,
            resample=resample,
            attention=attention,
            dropout=config.dropout,
            scale_shift=config.scale_shift,
            residual_scale=config.residual_scale,
            project_resampled=config.project_resampled,
            epsilon=config.norm_epsilon,
        )

    def _down(self, width: int) -> nn.Module:
        if self.config.resample_in_blocks:
            return self._block(width, width, attends=False, resample="down")
        return nn.Conv2d(width, width, 3, stride=2, padding=1)

    def _up(self, width: int, next_width: int) -> nn.Module:
        if self.config.resample_in_blocks:
            return self._block(width, width, attends=False, resample="up")
        return nn.ConvTranspose2d(width, next_width, 2, stride=2)  # narrow first: the wide convolutions cost

    def reset_parameters(self) -> None:
        for module in [*self.encoder, *self.decoder]:
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                xavier(module)
        for module in self.modules():
            if isinstance(module, ResidualBlock | SelfAttention | TimeEmbedding):
                module.reset_parameters()

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """x: (batch, channels, side, side); t: (batch,) or (1,). Returns (batch, width, side, side)."""
        times = iter(self.time(t, labels))
        phi = self.config.phi
        skips: list[Tensor] = []
        for layer, saved in zip(self.encoder, self.saves, strict=True):
            x = layer(x, next(times)) if isinstance(layer, ResidualBlock) else layer(x)
            if saved:
                skips.append(x)
        for block in self.bottleneck:
            x = block(x, next(times))
        for layer, joins in zip(self.decoder, self.joins, strict=True):
            if joins:
                skip = skips.pop()
                x = torch.cat([x, skip], dim=1) if phi is None else prior_shakedrop(x, skip, t, phi)
            x = layer(x, next(times)) if isinstance(layer, ResidualBlock) else layer(x)
        return x


class UNetHead(nn.Sequential):
    """g_i for images: GroupNorm, SiLU, 3x3 convolution, almost silent at first.

    Source: official code of Catch-Up Distillation; the first head is the U-Net's own output layer.
    """

    def __init__(self, config: UNetConfig, width: int) -> None:
        super().__init__(group_norm(width, 1e-6), nn.SiLU(), nn.Conv2d(width, config.output_size, 3, padding=1))
        xavier(self[2], gain=NEARLY_ZERO)
