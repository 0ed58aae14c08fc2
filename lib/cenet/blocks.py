"""The three blocks of CENet: initial, bottleneck, connection.

Maps are (batch, channels, frames, bands). Convolutions have no bias: the batch normalisation behind each brings one.
"""

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, size: int = 1, stride: int = 1) -> list[nn.Module]:
    """Convolution and batch normalisation; the map keeps its size, or halves (rounded up) with stride 2."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


def initial_block(channels: int) -> nn.Sequential:
    """3x3 convolution of the one-channel input, then 2x2 average pooling: half the frames, half the bands.

    The paper's initial block, as restated by others.
    """
    return nn.Sequential(*convolution(1, channels, 3), nn.ReLU(inplace=True), nn.AvgPool2d(2))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, each with batch normalisation; the input is added, then a last ReLU.

    Without a stride it is the paper's bottleneck block: the map keeps its size and channels, the shortcut is the
    identity. With stride 2 and other channels it is the connection block that closes a stage; its shortcut is a 1x1
    convolution with the same stride. Channel widths were recovered by matching the paper's parameter totals. Two things
    no source says, and we take the usual: the stride sits on the 3x3, the last ReLU comes after the addition.

    inputs, middle, outputs   channels: c -> r c -> c'
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int = 1):
        super().__init__()
        self.residual = nn.Sequential(
            *convolution(inputs, middle),
            nn.ReLU(inplace=True),
            *convolution(middle, middle, 3, stride),
            nn.ReLU(inplace=True),
            *convolution(middle, outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(inputs, outputs, 1, stride))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, h, w) -> (batch, outputs, h / stride, w / stride), rounded up."""
        return self.activation(self.residual(x) + self.shortcut(x))
