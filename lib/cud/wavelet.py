"""The wavelet term of the ImageNet-64 recipe: fine detail of the predicted image against the true one.

Absent from the CIFAR-10 and MNIST code. Source: the author's ImageNet-64 repository.
"""

from functools import cache

import pywt
import torch
from torch import Tensor

HARDEST_SHARE = 0.2


@cache
def _high_frequency_filters(wavelet: str) -> Tensor:
    """The three two-dimensional analysis filters with a high-pass side: (3, 1, L, L), ready for correlation."""
    bank = pywt.Wavelet(wavelet)
    low, high = (torch.tensor(taps[::-1], dtype=torch.float64) for taps in (bank.dec_lo, bank.dec_hi))
    pairs = [torch.outer(a, b) for a, b in ((high, low), (low, high), (high, high))]
    return torch.stack(pairs)[:, None]


def high_frequency(images: Tensor, wavelet: str = "db3") -> Tensor:
    """Level-1 detail coefficients, zero-padded as PyWavelets' mode ``zero``.

    Args:
        images: (batch, channels, height, width).

    Returns:
        (batch, channels, 3, h, w) with h = (height + L - 1) // 2 for a filter of length L. Bands: detail along the
        height, along the width, along both.
    """
    filters = _high_frequency_filters(wavelet).to(images)
    length = filters.shape[-1]
    batch, channels, height, width = images.shape
    # Left pad L - 2 and stride 2 pick the samples that PyWavelets keeps.
    padded = torch.nn.functional.pad(images, (length - 2, length - 1, length - 2, length - 1))
    bands = torch.nn.functional.conv2d(padded.reshape(-1, 1, *padded.shape[2:]), filters, stride=2)
    bands = bands[:, :, : (height + length - 1) // 2, : (width + length - 1) // 2]
    return bands.reshape(batch, channels, 3, *bands.shape[2:])


def wavelet_loss(x1: Tensor, velocity: Tensor, x0: Tensor, wavelet: str = "db3") -> Tensor:
    """Mean of the largest 20 % of |W(x_1 - v) - W(x_0)| in each sample, where W keeps the level-1 details.

    Args:
        x1, velocity, x0: noise, predicted velocity and true image, each (batch, channels, height, width). The
            prediction of the image is x_1 - v, as in the released code.
    """
    difference = (high_frequency(x1 - velocity, wavelet) - high_frequency(x0, wavelet)).abs().flatten(1)
    hardest = max(1, int(HARDEST_SHARE * difference.shape[1]))
    return difference.topk(hardest, dim=1).values.mean()
