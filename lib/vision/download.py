"""Real sets of images: where they can be had. The fetching and checking is that of `lib.downloads`."""

from pathlib import Path

from lib import downloads
from lib.downloads import FileCheck, RemoteFile
from lib.vision.known_sets import SETS

_MNIST_HOSTS = ("https://ossci-datasets.s3.amazonaws.com/mnist/",)
_FASHION_HOSTS = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
_IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_MNIST_SUMS = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
_FASHION_SUMS = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)


def _idx_files(hosts: tuple[str, ...], sums: tuple[str, ...], folder: str) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(tuple(host + name for host in hosts), md5, f"{folder}/{name}")
        for name, md5 in zip(_IDX_NAMES, sums, strict=True)
    )


REMOTE: dict[str, tuple[RemoteFile, ...]] = {
    "mnist": _idx_files(_MNIST_HOSTS, _MNIST_SUMS, "mnist"),
    "fashion_mnist": _idx_files(_FASHION_HOSTS, _FASHION_SUMS, "fashion_mnist"),
    "cifar10": (
        # The binary version: the same images as the Python version, without pickles.
        RemoteFile(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-batches-bin",
            unpack=(
                *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
                "cifar-10-batches-bin/test_batch.bin",
                "cifar-10-batches-bin/batches.meta.txt",
            ),
        ),
    ),
}


def get(name: str) -> list[Path]:
    """Fetch a set into BOOK_DATA; files that are there and whole are left alone. See `lib.downloads.get`."""
    return downloads.get(name, REMOTE)


def check(name: str) -> list[FileCheck]:
    """Verify a set's files. See `lib.downloads.check`."""
    return downloads.check(name, REMOTE)


def found_sets() -> dict[str, Path | None]:
    """Each known set and the folder under BOOK_DATA where it lies, or None."""
    return downloads.find({name: known.folders for name, known in SETS.items()})
