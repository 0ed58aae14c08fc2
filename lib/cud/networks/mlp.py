"""The multilayer perceptron for points on the plane."""

import torch
from torch import Tensor, nn

from lib.cud.networks.config import MLPConfig


class MLPTrunk(nn.Sequential):
    """Linear, SiLU, repeated `depth` times, on the point with the time appended.

    A plain Sequential, so that its weights can be read off and run elsewhere (the chapter's widget does).
    """

    def __init__(self, config: MLPConfig) -> None:
        layers: list[nn.Module] = []
        width = config.dimension + (1 if config.time else 0)
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.width), nn.SiLU()]
            width = config.width
        super().__init__(*layers)
        self.time = config.time

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """x: (batch, dimension); t: (batch,) or (1,). Returns features (batch, width)."""
        if self.time:
            x = torch.cat([x, t.to(x.dtype)[:, None].expand(len(x), 1)], dim=1)
        return super().forward(x)


def mlp_head(config: MLPConfig) -> nn.Linear:
    """g_i for points: one linear layer from the features to the velocity."""
    return nn.Linear(config.width, config.output_size)
