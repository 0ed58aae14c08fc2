"""FID with the Inception network, for paper-size runs: an optional extra (`pip install .[inception]`).

The network and its image scaling come from torch-fidelity, the library that reproduces the original TensorFlow
figures; the statistics and the distance are those of `lib.vision.frechet`. Nothing is downloaded here: the weights
are a file that the reader fetches once.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from lib.downloads import data_root
from lib.errors import UserError
from lib.vision.data import to_uint8
from lib.vision.frechet import FeatureStatistics, frechet_distance

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_FILE}"
# torch-fidelity opens the file as a pickle, which may run code: so only this one file is let through.
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
DIMENSION = 2048


def inception_features(weights: Path | None = None, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """A function: images (n, c, h, w) in [-1, 1] -> Inception's pool features (n, 2048). Grey becomes RGB.

    weights   the file `weights-inception-2015-12-05-6726825d.pth`; by default `inception/` under BOOK_DATA

    Raises UserError when torch-fidelity is not installed, or the weights are missing or another file.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise UserError("FID needs torch-fidelity: install it with `pip install -e .[inception]`.") from None
    weights = data_root() / "inception" / WEIGHTS_FILE if weights is None else Path(weights)
    if not weights.is_file():
        raise UserError(f"FID needs Inception's weights: fetch {WEIGHTS_URL} and put it at {weights}.")
    with weights.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WEIGHTS_SHA256:
            raise UserError(f"{weights} is not the file {WEIGHTS_URL} (its checksum differs): fetch it again.")
    network = FeatureExtractorInceptionV3("inception", [str(DIMENSION)], str(weights)).to(device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        return network(as_rgb_bytes(images).to(device))[0]

    return extract


def as_rgb_bytes(images: Tensor) -> Tensor:
    """Images (n, 1 or 3, h, w) in [-1, 1] -> uint8 (n, 3, h, w), as Inception wants them."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"FID is for images with 1 or 3 channels, these have shape {tuple(images.shape)}.")
    return to_uint8(images).expand(-1, 3, -1, -1)


def inception_fid(
    real: Iterable[Tensor], generated: Iterable[Tensor], extract: Callable[[Tensor], Tensor], dimension: int = DIMENSION
) -> float:
    """FID between two streams of image batches, each (n, c, h, w) in [-1, 1]; `extract` is from `inception_features`.

    Published figures use 50,000 generated images; with fewer the FID is biased upwards.
    """
    return frechet_distance(*(inception_statistics(batches, extract, dimension) for batches in (real, generated)))


def inception_statistics(
    batches: Iterable[Tensor], extract: Callable[[Tensor], Tensor], dimension: int = DIMENSION
) -> FeatureStatistics:
    """Mean and covariance of the features of a stream of image batches: of a whole data set once, for many FIDs."""
    statistics = FeatureStatistics(dimension)
    for images in batches:
        statistics.update(extract(images))
    return statistics
