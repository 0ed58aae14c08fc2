"""MNIST, Fashion-MNIST and CIFAR-10 from their own files, under the folder that `BOOK_DATA` names.

Only plain bytes are read: the idx files of MNIST, the binary version of CIFAR-10, or NumPy arrays. CIFAR-10's Python
version is pickled; a pickle may run any code when it is opened, so it is refused.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lib.downloads import data_root
from lib.errors import UserError
from lib.vision.data import ImageSet


@dataclass(frozen=True)
class KnownSet:
    """What is known of a set before a file is opened."""

    title: str
    folders: tuple[str, ...]  # where it may lie under BOOK_DATA: ours, then torchvision's
    class_names: tuple[str, ...]
    sizes: dict[str, int]  # split -> number of images of the whole set


SETS = {
    "mnist": KnownSet("MNIST", ("mnist", "MNIST/raw"), tuple("0123456789"), {"train": 60_000, "test": 10_000}),
    "fashion_mnist": KnownSet(
        "Fashion-MNIST",
        ("fashion_mnist", "FashionMNIST/raw"),
        ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        {"train": 60_000, "test": 10_000},
    ),
    "cifar10": KnownSet(
        "CIFAR-10",
        ("cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        {"train": 50_000, "test": 10_000},
    ),
}
IDX_PREFIXES = {"train": ("train", "train10k"), "test": ("t10k",)}


def load(name: str, split: str) -> ImageSet:
    """Read one split of a known set into memory. Raises UserError for missing, truncated or wrong files."""
    known = SETS[name]
    root = data_root()
    read = _read_cifar if name == "cifar10" else _read_idx_pair
    for folder in known.folders:
        if (root / folder).is_dir():
            found = read(root / folder, split)
            if found is not None:
                return _image_set(known, split, *found)
    if name == "cifar10":
        _refuse_pickled_cifar(root)
    raise UserError(
        f"No {known.title} {split} files under {root} (looked in {', '.join(known.folders)}): "
        f"run `papers data get {name}`."
    )


def _image_set(known: KnownSet, split: str, images: np.ndarray, labels: np.ndarray, source: Path) -> ImageSet:
    if len(images) != len(labels) or not len(images):
        raise UserError(f"{source} has {len(images)} images and {len(labels)} labels: download it again.")
    if labels.min() < 0 or labels.max() >= len(known.class_names):
        raise UserError(f"{source} has labels outside 0 ... {len(known.class_names) - 1}: download it again.")
    whole = known.sizes[split]
    part = None
    if len(images) < whole:
        part = f"a part: {len(images):,} of the {whole:,} {split} images ({source.name})"
    return ImageSet(
        name=known.title,
        split=split,
        labels=torch.from_numpy(labels.astype(np.int64)),
        class_names=known.class_names,
        shape=tuple(images.shape[1:]),
        images=torch.from_numpy(np.ascontiguousarray(images)),
        part=part,
    )


def _read_idx_pair(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, Path] | None:
    for prefix in IDX_PREFIXES[split]:
        image_path = _existing(folder / f"{prefix}-images-idx3-ubyte")
        label_path = _existing(folder / f"{prefix}-labels-idx1-ubyte")
        if image_path and label_path:
            return read_idx(image_path, 3)[:, None], read_idx(label_path, 1), image_path
        if image_path or label_path:
            have, lack = (image_path, "labels") if image_path else (label_path, "images")
            raise UserError(f"{have} is there, but the file with its {lack} is missing: download the set again.")
    return None


def _existing(path: Path) -> Path | None:
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of bytes, plain or gzipped, as uint8 with so many `dimensions`.

    Four bytes (0, 0, 8 for bytes, number of dimensions), each size as a big-endian 32-bit number, then the values.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as fault:
        raise UserError(f"{path} is damaged or truncated ({fault}): download it again.") from None
    header = 4 + 4 * dimensions
    if len(raw) < header or raw[:4] != bytes((0, 0, 8, dimensions)):
        raise UserError(f"{path} is not an idx file with {dimensions} dimension(s) of bytes: download it again.")
    shape = np.frombuffer(raw, ">u4", dimensions, 4).astype(np.int64)
    if len(raw) != header + shape.prod():
        raise UserError(
            f"{path} should hold {shape.prod():,} values and holds {len(raw) - header:,}: it is truncated or "
            "damaged; download it again."
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()


def _read_cifar(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, Path] | None:
    archives = sorted(folder.glob("*.npz"))
    if archives:
        return _read_cifar_npz(archives[0], split)
    wanted = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    paths = [folder / name for name in wanted if (folder / name).is_file()]
    if not paths:
        return None
    records = np.concatenate([_read_cifar_binary(path) for path in paths])
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], folder


def _read_cifar_binary(path: Path) -> np.ndarray:
    """Records of one label byte and 3072 pixel bytes (red, green, blue planes): uint8 (n, 3073)."""
    raw = np.fromfile(path, np.uint8)
    if not len(raw) or len(raw) % 3073:
        raise UserError(f"{path} is not a whole number of CIFAR-10 records: it is truncated; download it again.")
    return raw.reshape(-1, 3073)


def _read_cifar_npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, Path] | None:
    keys = (f"{split}_data", f"{split}_labels")
    arrays = read_npz(path, keys)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise UserError(f"{path} has no array '{missing[0]}': a CIFAR-10 archive has {', '.join(keys)}.")
    rows, labels = arrays[keys[0]], arrays[keys[1]]
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072 or labels.ndim != 1:
        raise UserError(f"{path}: '{keys[0]}' must be uint8 with rows of 3072 values, '{keys[1]}' one label a row.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{path}: '{keys[1]}' has type {labels.dtype}, wanted whole numbers.")
    return rows.reshape(-1, 3, 32, 32), labels, path


def read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the arrays `keys` that the archive holds. Pickled objects are refused, damage is a UserError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {key: archive[key] for key in keys if key in archive}
        if any(not isinstance(value, np.ndarray) for value in found.values()):
            raise ValueError("a part of it is no array")
        return found
    except Exception as fault:  # zip, zlib, the header's parser and NumPy each have faults of their own
        reason = str(fault).splitlines()[0].rstrip(".") if str(fault) else type(fault).__name__
        raise UserError(f"{path} cannot be read as an .npz archive ({reason}): get it again.") from None


def _refuse_pickled_cifar(root: Path) -> None:
    for folder in (root / "cifar-10-batches-py", root / "cifar10" / "cifar-10-batches-py"):
        if folder.is_dir():
            raise UserError(
                f"{folder} is the pickled version of CIFAR-10, and pickles can run code when opened: run "
                "`papers data get cifar10` for the binary version."
            )
