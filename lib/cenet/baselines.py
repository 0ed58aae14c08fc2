"""The networks that the paper, or a reader of today, compares with: TC-ResNet, res8 and res15, BC-ResNet.

Built from their papers and held against their published parameter counts. All take features (batch, frames, bands) and
give logits (batch, classes).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from lib.cenet.config import BCResNetConfig, SpeechResNetConfig, TCResNetConfig


class TCResNet(nn.Module):
    """Bands as channels, convolutions along time only (length 9): fast, because maps are one frame high.

    Choi and others, "Temporal Convolution for Real-time Keyword Spotting on Mobile Devices", 2019.
    """

    def __init__(self, config: TCResNetConfig, classes: int):
        super().__init__()
        first, *widths = config.channels
        self.first = _temporal(config.bands, first, 3)
        blocks, inputs = [], first
        for outputs in widths:
            blocks.append(_TemporalBlock(inputs, outputs))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(inputs, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, bands) -> (batch, classes)."""
        x = self.blocks(self.first(features.transpose(1, 2)).relu())
        return self.classifier(self.dropout(x.mean(2)))


def _temporal(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm1d(outputs)
    )


class _TemporalBlock(nn.Module):
    """Two convolutions of length 9 and a shortcut; where the channels change, both halve the frames."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.first = _temporal(inputs, outputs, 9, stride)
        self.second = _temporal(outputs, outputs, 9)
        self.shortcut = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(_temporal(inputs, outputs, 1, 2), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return (self.second(self.first(x).relu()) + self.shortcut(x)).relu()


class SpeechResNet(nn.Module):
    """res8-narrow and res15: residual pairs of 3x3 convolutions over the whole map, dilated in res15.

    Tang and Lin, "Deep Residual Learning for Small-Footprint Keyword Spotting", 2018.
    """

    def __init__(self, config: SpeechResNetConfig, classes: int):
        super().__init__()
        width = config.channels
        self.first = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.pool = nn.AvgPool2d(config.pool) if config.pool else nn.Identity()
        dilations = [2 ** (layer // 3) if config.dilated else 1 for layer in range(config.layers)]
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=d, dilation=d, bias=False) for d in dilations)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for _ in dilations)
        self.classifier = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, bands) -> (batch, classes)."""
        x = kept = self.pool(self.first(features.unsqueeze(1)).relu())
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            x = layer(x).relu()
            if number % 2 == 0:
                x = kept = x + kept
            x = norm(x)
        return self.classifier(x.mean((2, 3)))


class BCResNet(nn.Module):
    """Broadcasted residuals: most of the work on one row that is the mean over the bands, added back to all bands.

    Kim and others, "Broadcasted Residual Learning for Efficient Keyword Spotting", 2021. For τ = 1 its widths are 16,
    8, 12, 16, 20, 32.
    """

    REPEATS = (2, 2, 4, 4)
    STRIDED = (False, True, True, False)

    def __init__(self, config: BCResNetConfig, classes: int):
        super().__init__()
        base = 8 * config.scale
        widths = [2 * base, base, 3 * base // 2, 2 * base, 5 * base // 2, 4 * base]
        self.first = nn.Sequential(
            nn.Conv2d(1, widths[0], 5, (2, 1), padding=2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        blocks = []
        for stage, (repeats, strided) in enumerate(zip(self.REPEATS, self.STRIDED, strict=True)):
            inputs, outputs = widths[stage], widths[stage + 1]
            blocks.append(_BroadcastBlock(inputs, outputs, 2**stage, 2 if strided else 1))
            blocks += [_BroadcastBlock(outputs, outputs, 2**stage, 1) for _ in range(repeats - 1)]
        self.blocks = nn.Sequential(*blocks)
        last, wide = widths[4], widths[5]
        rows = config.bands // 8
        self.last = nn.Sequential(
            nn.Conv2d(last, last, (rows, 5), padding=(0, 2), groups=last, bias=False),
            nn.Conv2d(last, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(wide, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, bands) -> (batch, classes)."""
        x = self.blocks(self.first(features.transpose(1, 2).unsqueeze(1)))
        return self.classifier(self.last(x).mean((2, 3)))


class SubSpectralNorm(nn.Module):
    """Batch normalisation with statistics of its own for each of five groups of bands.

    Chang and others, "SubSpectral Normalization for Neural Audio Data Processing", 2021.
    """

    GROUPS = 5

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels * self.GROUPS)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bands, frames), bands a multiple of five."""
        batch, channels, bands, frames = x.shape
        grouped = x.reshape(batch, channels * self.GROUPS, bands // self.GROUPS, frames)
        return self.norm(grouped).reshape(x.shape)


class _BroadcastBlock(nn.Module):
    """y = x + f2(x) + BC(f1(mean over bands of f2(x))); without x where channels or bands change."""

    def __init__(self, inputs: int, outputs: int, dilation: int, stride: int):
        super().__init__()
        change = []
        if inputs != outputs:
            change = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.keeps = inputs == outputs and stride == 1
        self.frequency = nn.Sequential(
            *change,
            nn.Conv2d(outputs, outputs, (3, 1), (stride, 1), padding=(1, 0), groups=outputs, bias=False),
            SubSpectralNorm(outputs),
        )
        self.temporal = nn.Sequential(
            nn.Conv2d(
                outputs, outputs, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=outputs, bias=False
            ),
            nn.BatchNorm2d(outputs),
            nn.SiLU(inplace=True),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.Dropout2d(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        spread = self.frequency(x)
        y = spread + self.temporal(spread.mean(2, keepdim=True))
        return F.relu(y + x if self.keeps else y)
