"""Fréchet distance: how far apart two clouds of features lie, when each is taken for a Gaussian.

    d = |m_a - m_b|^2 + trace(C_a + C_b - 2 (C_a C_b)^(1/2))        (Heusel et al. 2017, arXiv 1706.08500)

With features of the Inception network it is the FID. Here the features come from a small classifier that is
trained on the spot, so the numbers can be compared with each other only when the classifier is the same.
"""

import numpy as np
from torch import Tensor

from lib.errors import UserError


class FeatureStatistics:
    """Mean and covariance of features that arrive in pieces, in double precision.

    Pieces are merged by the pairwise rule of Chan, Golub and LeVeque (1979), which does not lose digits when
    the mean is large against the spread.
    """

    def __init__(self, dimension: int):
        self.count = 0
        self.mean = np.zeros(dimension)
        self.scatter = np.zeros((dimension, dimension))  # sum of (f - mean)(f - mean)^T

    @classmethod
    def of(cls, features: Tensor | np.ndarray) -> "FeatureStatistics":
        """Statistics of one whole array of features, shape (samples, dimension)."""
        statistics = cls(features.shape[-1])
        statistics.update(features)
        return statistics

    def update(self, features: Tensor | np.ndarray) -> None:
        """Add features of shape (samples, dimension). Raises UserError when one of them is not a number."""
        if isinstance(features, Tensor):
            features = features.detach().cpu().numpy()
        piece = np.asarray(features, dtype=np.float64)
        if piece.ndim != 2 or piece.shape[1] != len(self.mean):
            raise ValueError(f"features must have shape (samples, {len(self.mean)}), these have {piece.shape}")
        if not np.isfinite(piece).all():
            raise UserError(
                "The features hold NaN or infinity, so no Fréchet distance exists: the images that were "
                "judged are broken, most likely because the model's training diverged."
            )
        if not len(piece):
            return
        mean, total = piece.mean(axis=0), self.count + len(piece)
        centred, shift = piece - mean, mean - self.mean
        self.scatter += centred.T @ centred + np.outer(shift, shift) * (self.count * len(piece) / total)
        self.mean = self.mean + shift * (len(piece) / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance, shape (dimension, dimension); needs two samples or more."""
        if self.count < 2:
            raise ValueError(f"a covariance needs two samples or more, here are {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Tensor | np.ndarray | FeatureStatistics, b: Tensor | np.ndarray | FeatureStatistics) -> float:
    """Fréchet distance between two sets of features, each (samples, dimension), or between their statistics.

    The trace of the root of `C_a C_b` is taken as the sum of the roots of the eigenvalues of
    `C_a^(1/2) C_b C_a^(1/2)`. That matrix is similar to `C_a C_b` but symmetric, so the answer is real and
    exists also when a covariance is singular (fewer samples than dimensions, or a feature that is always
    zero). There the general matrix root of SciPy may fail or return complex numbers. With few samples the
    distance is biased upwards: compare only figures made with equal numbers of samples.
    """
    a = a if isinstance(a, FeatureStatistics) else FeatureStatistics.of(a)
    b = b if isinstance(b, FeatureStatistics) else FeatureStatistics.of(b)
    if len(a.mean) != len(b.mean):
        raise ValueError(f"features of {len(a.mean)} and of {len(b.mean)} dimensions cannot be compared")
    covariance_a, covariance_b = a.covariance, b.covariance
    root_a = _symmetric_root(covariance_a)
    eigenvalues = np.linalg.eigvalsh(root_a @ covariance_b @ root_a)
    cross = np.sqrt(np.clip(eigenvalues, 0.0, None)).sum()
    means = float(((a.mean - b.mean) ** 2).sum())
    distance = means + float(np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * cross)
    return max(distance, 0.0)  # equal sets: rounding may leave a tiny negative number


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """The root of a symmetric matrix without negative eigenvalues (those of rounding are set to zero)."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
