"""Images from a folder: one sub-folder a class, or `metadata.csv`, or just images.

    photos/cat/1.png  photos/dog/2.png          classes by sub-folder (torchvision's ImageFolder)
    photos/metadata.csv  photos/1.png           columns `file_name` and `label`
    photos/1.png  photos/2.png                  one class

Any of these may lie in `photos/train` and `photos/test` (or `val`). Otherwise every fifth image of each class is for
the test. Small sets are read into memory; large ones (ImageNet at 64x64) stay on the disk until a batch asks.
"""

import csv
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from lib.errors import UserError
from lib.vision.data import ImageSet, held_out

MEMORY_LIMIT_BYTES = 256 * 1024**2  # beyond this the images stay on the disk
PROBED = 5000  # so many headers are looked at to learn size and colours of a large set
GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
READ_FAULTS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for bad files


@dataclass
class _Listing:
    """Files and their classes, before any of them is opened."""

    samples: list[tuple[str, int]]
    class_names: tuple[str, ...]
    skipped: Counter = field(default_factory=Counter)


def load(folder: Path, split: str, size: int | None = None) -> ImageSet:
    """Read one split of an image folder. See `lib.vision.data.load_images` for `size` and the errors."""
    if size is not None and size < 1:
        raise UserError(f"The image size must be 1 or more, not {size}.")
    listing = _list_split(folder, split)
    channels, side, notes = _agree_on_shape(folder, listing, size)
    height, width = side
    reader = _Reader([path for path, _ in listing.samples], channels, size, side)
    labels = torch.tensor([label for _, label in listing.samples])
    images = None
    if len(labels) * channels * height * width <= MEMORY_LIMIT_BYTES:
        images, readable = _read_all(reader, listing)
        labels = labels[readable]
        if not len(labels):
            raise UserError(f"None of the images in {folder} can be read: they are damaged; copy them again.")
    return ImageSet(
        name=str(folder),
        split=split,
        labels=labels,
        class_names=listing.class_names,
        shape=(channels, height, width),
        images=images,
        reader=None if images is not None else reader,
        skipped=dict(listing.skipped),
        notes=notes,
    )


def _list_split(folder: Path, split: str) -> _Listing:
    if not (folder / "train").is_dir():
        listing = _list(folder)
        indices = held_out(torch.tensor([label for _, label in listing.samples]), split)
        if not len(indices):
            raise UserError(f"{folder} has too few images for a {split} split: five or more of a class are needed.")
        listing.samples = [listing.samples[int(index)] for index in indices]
        return listing
    train = _list(folder / "train")
    if split == "train":
        return train
    for name in ("test", "val"):
        if (folder / name).is_dir():
            return _with_classes_of(train, _list(folder / name), folder / name)
    raise UserError(f"{folder} has a folder 'train' but none called 'test' or 'val': add one.")


def _with_classes_of(train: _Listing, test: _Listing, folder: Path) -> _Listing:
    """Number the test classes as the training classes are numbered, by their names."""
    unseen = sorted(set(test.class_names) - set(train.class_names))
    if unseen:
        raise UserError(f"{folder} has a class '{unseen[0]}' that is not among the training classes: rename it.")
    samples = [(path, train.class_names.index(test.class_names[label])) for path, label in test.samples]
    return _Listing(samples, train.class_names, test.skipped)


def _list(folder: Path) -> _Listing:
    if (folder / "metadata.csv").is_file():
        listing = _list_metadata(folder)
    elif any(entry.is_dir() and not entry.name.startswith(".") for entry in os.scandir(folder)):
        listing = _list_classes(folder)
    else:
        files = sorted(entry.path for entry in os.scandir(folder) if _is_image_name(entry.name))
        others = sum(not _is_image_name(entry.name) for entry in os.scandir(folder) if _is_visible_file(entry))
        listing = _Listing([(path, 0) for path in files], ("all",))
        listing.skipped += Counter({"not an image file": others})
    if not listing.samples:
        raise UserError(
            f"{folder} holds no images: put them into one sub-folder a class, beside a metadata.csv, or straight "
            f"into it ({', '.join(IMG_EXTENSIONS)})."
        )
    return listing


def _list_classes(folder: Path) -> _Listing:
    found = ImageFolder(str(folder), allow_empty=True)
    listing = _Listing(found.samples, tuple(found.classes))
    total = sum(not name.startswith(".") for _, _, names in os.walk(folder, followlinks=True) for name in names)
    listing.skipped += Counter({"not an image file, or outside the class folders": total - len(found.samples)})
    filled = {label for _, label in found.samples}
    listing.skipped += Counter({"class folder without images": len(found.classes) - len(filled)})
    return listing


def _list_metadata(folder: Path) -> _Listing:
    path = folder / "metadata.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise UserError(f"{path} cannot be read as a UTF-8 table ({fault}): save it again.") from None
    if not rows or "file_name" not in rows[0]:
        raise UserError(f"{path} needs a first line with a column 'file_name', and one line for each image.")
    names = [row.get("label", "all") for row in rows]
    for line, (row, name) in enumerate(zip(rows, names, strict=True), start=2):
        if not row["file_name"] or not name:
            raise UserError(f"{path}, line {line}: file_name and label must both be filled in.")
    class_names = sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else name))
    listing = _Listing([], tuple(class_names))
    for row, name in zip(rows, names, strict=True):
        file = folder / row["file_name"]
        if file.is_file():
            listing.samples.append((str(file), class_names.index(name)))
        else:
            listing.skipped["named in metadata.csv but missing"] += 1
    listed = {file for file, _ in listing.samples}
    unlisted = sum(_is_image_name(entry.name) and entry.path not in listed for entry in os.scandir(folder))
    listing.skipped += Counter({"not named in metadata.csv": unlisted})
    return listing


def _agree_on_shape(folder: Path, listing: _Listing, size: int | None) -> tuple[int, tuple[int, int], tuple[str, ...]]:
    """(channels, (height, width), notes), from the headers; unreadable files are left out and counted."""
    whole = len(listing.samples) <= PROBED
    probes = listing.samples if whole else listing.samples[:: len(listing.samples) // PROBED]
    modes: Counter[str] = Counter()
    first: dict[tuple[int, int], str] = {}
    unreadable = set()
    for path, _ in probes:
        try:
            with Image.open(path) as image:
                if image.mode not in GREY_MODES + COLOUR_MODES:
                    raise UserError(f"{path} has pixels of type '{image.mode}': save it with 8 bits a channel.")
                modes[image.mode] += 1
                first.setdefault((image.height, image.width), path)
        except (UnidentifiedImageError, *READ_FAULTS):
            unreadable.add(path)
    if not modes:
        raise UserError(f"None of the images in {folder} can be read: they are damaged; copy them again.")
    if unreadable:
        listing.samples = [sample for sample in listing.samples if sample[0] not in unreadable]
        listing.skipped["damaged image"] += len(unreadable)
    if size is None and len(first) > 1:
        (one, path_one), (two, path_two) = list(first.items())[:2]
        raise UserError(
            f"The images have different sizes ({path_one} is {one[0]}x{one[1]}, {path_two} is {two[0]}x{two[1]}): "
            "choose a size to which all are scaled and cropped."
        )
    side = (size, size) if size is not None else next(iter(first))
    channels = 1 if set(modes) <= set(GREY_MODES) else 3
    changed = sum(count for mode, count in modes.items() if mode != ("L" if channels == 1 else "RGB"))
    notes = (f"{changed} images were converted to {'grey' if channels == 1 else 'RGB'}",) if changed else ()
    return channels, side, notes


def _read_all(reader: "_Reader", listing: _Listing) -> tuple[Tensor, list[int]]:
    """All images that can be read, and their places in the list; the others are counted as damaged."""
    images, readable = [], []
    for index in range(len(listing.samples)):
        try:
            images.append(reader.open(index))
            readable.append(index)
        except READ_FAULTS:
            listing.skipped["damaged image"] += 1
    return torch.stack(images) if images else torch.empty(0), readable


class _Reader:
    """index -> uint8 (channels, height, width), from the file."""

    def __init__(self, paths: list[str], channels: int, size: int | None, side: tuple[int, int]):
        self._paths = np.array(paths)  # one block of memory: worker processes share it instead of copying
        self._mode = "L" if channels == 1 else "RGB"
        self._size, self._side = size, side

    def __call__(self, index: int) -> Tensor:
        try:
            return self.open(index)
        except READ_FAULTS as fault:
            raise UserError(
                f"{self._paths[index]} cannot be read ({fault}): it is damaged; copy it again or remove it."
            ) from None

    def open(self, index: int) -> Tensor:
        """As a call, but with Pillow's own errors."""
        with Image.open(str(self._paths[index])) as file:
            image = file.convert(self._mode)
        if self._size is not None:
            image = ImageOps.fit(image, (self._size, self._size), method=Image.Resampling.BICUBIC)
        if (image.height, image.width) != self._side:
            raise UserError(
                f"{self._paths[index]} is {image.height}x{image.width}, the others are "
                f"{self._side[0]}x{self._side[1]}: choose a size to which all are scaled and cropped."
            )
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(IMG_EXTENSIONS) and not name.startswith(".")


def _is_visible_file(entry: os.DirEntry) -> bool:
    return entry.is_file() and not entry.name.startswith(".")
