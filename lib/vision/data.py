"""Image data sets under one roof: the embedded digits, real sets in `BOOK_DATA`, and folders of images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lib.errors import UserError
from lib.files import at_home

SPLITS = ("train", "test")
EMBEDDED_NAMES = ("embedded", "digits")
KNOWN_SETS = ("mnist", "fashion_mnist", "cifar10")
TENSOR_LIMIT_BYTES = 2 * 1024**3  # `ImageSet.tensor` refuses to build more than this


@dataclass
class ImageSet:
    """Images with labels: whole in memory (`images`) or read from files when they are asked for (`reader`).

    name, split     where the images come from, and "train" or "test"
    labels          int64 (n,), indices into `class_names`
    shape           (channels, height, width) of every image
    images          uint8 (n, channels, height, width), or None for a lazy set
    reader          lazy sets only: index -> uint8 (channels, height, width); raises UserError naming the file
    part            a sentence when the files hold only a part of the known set, else None
    skipped         reason -> number of files that were left out
    notes           sentences on what was changed while reading (colours, sizes)
    """

    name: str
    split: str
    labels: Tensor
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    images: Tensor | None = None
    reader: Callable[[int], Tensor] | None = None
    part: str | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lazy(self) -> bool:
        """True when images are read from their files one by one."""
        return self.images is None

    def read(self, indices: Tensor | list[int]) -> Tensor:
        """The images at `indices`: uint8 (k, channels, height, width)."""
        indices = torch.as_tensor(indices)
        if self.images is not None:
            return self.images.index_select(0, indices)
        return torch.stack([self.reader(int(index)) for index in indices])

    def tensor(self, limit: int | None = None) -> Tensor:
        """The whole set (or its first `limit` images) as float (n, channels, height, width) in [-1, 1].

        Raises UserError when that would take more than 2 GiB: then use `Batches`, which reads piece by piece.
        """
        count = len(self) if limit is None else min(limit, len(self))
        size = 4 * count * self.shape[0] * self.shape[1] * self.shape[2]
        if size > TENSOR_LIMIT_BYTES:
            raise UserError(
                f"{self.name}: {count} images as one tensor would take {size / 1024**3:.1f} GiB; "
                "ask for fewer images or smaller ones."
            )
        return to_float(self.read(torch.arange(count)))

    def describe(self) -> str:
        """One line: what was loaded, what is only a part, what was skipped."""
        channels, height, width = self.shape
        text = f"{self.name} ({self.split}): {len(self)} images, {height}x{width}, {channels} channel(s), "
        text += f"{len(self.class_names)} class(es)"
        extras = [self.part] if self.part else []
        extras += [f"skipped {count}: {reason}" for reason, count in sorted(self.skipped.items())]
        return "; ".join([text, *extras, *self.notes])


def to_float(images: Tensor) -> Tensor:
    """uint8 0 ... 255 -> float -1 ... 1."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float -1 ... 1 (values outside are clipped) -> uint8 0 ... 255; undoes `to_float` exactly."""
    return images.detach().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)


def load_images(data: str | Path, split: str = "train", size: int | None = None) -> ImageSet:
    """Load an image set by name or folder.

    data    "embedded" (or "digits"): the handwritten digits of scikit-learn, 8x8, nothing to download;
            "mnist", "fashion_mnist", "cifar10": files under the folder that BOOK_DATA names;
            a folder: one sub-folder a class, or `metadata.csv`, or just images (see `lib.vision.folders`);
            a `.npz` file with `images` and optionally `labels`.
    split   "train" or "test"
    size    folders only: side in pixels; images are scaled so that the short side fits, then cropped at
            the centre

    Raises UserError when something is missing, truncated or not an image, in one sentence with the mend.
    """
    if split not in SPLITS:
        raise UserError(f"Unknown split '{split}': choose one of {', '.join(SPLITS)}.")
    name = str(data)
    if name in EMBEDDED_NAMES:
        return _digits(split)
    if name in KNOWN_SETS:
        from lib.vision import known_sets  # here, so that the digits load without torchvision

        return known_sets.load(name, split)
    path = at_home(data)
    if path.is_dir():
        from lib.vision import folders

        return folders.load(path, split, size)
    if path.suffix == ".npz" and path.is_file():
        from lib.vision import arrays

        return arrays.load(path, split)
    raise UserError(
        f"No data called '{name}': it is no folder, no .npz file, and none of the known sets "
        f"({', '.join(('embedded', *KNOWN_SETS))})."
    )


def held_out(labels: Tensor, split: str) -> Tensor:
    """Indices of a split for data that come without one: in each class every fifth sample is for the test."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        chosen[torch.nonzero(labels == label).flatten()[4::5]] = True
    return torch.nonzero(chosen if split == "test" else ~chosen).flatten()


@lru_cache(maxsize=2)
def _digits(split: str) -> ImageSet:
    """1797 handwritten digits, 8x8, 16 grey levels: 1300 to train, 497 to test, each class in proportion."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train, test = train_test_split(range(1797), test_size=497, stratify=digits.target, random_state=0)
    chosen = torch.tensor(sorted(train if split == "train" else test))
    grey = torch.from_numpy(digits.images)[chosen].mul(255 / 16).round().to(torch.uint8)
    return ImageSet(
        name="handwritten digits of scikit-learn",
        split=split,
        labels=torch.from_numpy(digits.target)[chosen].long(),
        class_names=tuple(str(digit) for digit in range(10)),
        shape=(1, 8, 8),
        images=grey[:, None],
    )
