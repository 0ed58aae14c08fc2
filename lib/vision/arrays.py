"""Images from one `.npz` file: an array `images`, and `labels` when there are classes."""

from pathlib import Path

import numpy as np
import torch

from lib.errors import UserError
from lib.vision.data import ImageSet, held_out
from lib.vision.known_sets import read_npz

LARGEST_LABEL = 100_000


def load(path: Path, split: str) -> ImageSet:
    """Read `images`: uint8, or float in [0, 1]; (n, h, w), (n, c, h, w) or (n, h, w, c) with c = 1 or 3.

    In each class every fifth image is for the test. Raises UserError for anything else, NaN included.
    """
    arrays = read_npz(path, ("images", "labels"))
    if "images" not in arrays:
        raise UserError(f"{path} has no array 'images': save one with np.savez(path, images=..., labels=...).")
    images = _as_bytes(_channels_first(arrays["images"], path), path)
    labels = arrays.get("labels", np.zeros(len(images), np.int64))
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise UserError(f"{path}: 'labels' must be one whole number from 0 for each of the {len(images)} images.")
    if labels.max(initial=0) >= LARGEST_LABEL:
        raise UserError(f"{path}: the label {labels.max()} is too large, they count from 0 to {LARGEST_LABEL} at most.")
    indices = held_out(torch.from_numpy(labels.astype(np.int64)), split)
    if not len(indices):
        raise UserError(f"{path} has too few images for a {split} split: five or more of a class are needed.")
    chosen = torch.from_numpy(images)[indices]
    return ImageSet(
        name=path.name,
        split=split,
        labels=torch.from_numpy(labels.astype(np.int64))[indices],
        class_names=tuple(str(label) for label in range(int(labels.max()) + 1)),
        shape=tuple(chosen.shape[1:]),
        images=chosen,
    )


def _channels_first(images: np.ndarray, path: Path) -> np.ndarray:
    if images.ndim == 3 and images.size:
        return images[:, None]
    if images.ndim == 4 and images.size:
        if images.shape[1] in (1, 3):
            return images
        if images.shape[3] in (1, 3):
            return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    raise UserError(f"{path}: 'images' has shape {images.shape}, wanted (n, h, w) or (n, c, h, w) with c = 1 or 3.")


def _as_bytes(images: np.ndarray, path: Path) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{path}: 'images' has type {images.dtype}, wanted uint8 or floats from 0 to 1.")
    broken = ~np.isfinite(images).all(axis=(1, 2, 3))
    if broken.any():
        raise UserError(
            f"{path}: {broken.sum()} image(s) hold NaN or infinity, the first is number {int(broken.argmax())}: "
            "mend or remove them."
        )
    if images.min() < 0 or images.max() > 1:
        raise UserError(
            f"{path}: float images must lie in 0 ... 1, these go from {images.min():.3g} to {images.max():.3g}."
        )
    return (images * 255).round().astype(np.uint8)
