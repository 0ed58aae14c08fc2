"""Real data sets: fetched only when asked for, checked against known sums, renamed when whole."""

import hashlib
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib.downloads import data_root
from lib.errors import UserError
from lib.vision.known_sets import SETS


@dataclass(frozen=True)
class RemoteFile:
    """One file of a set: where it can be had, its MD5 as the authors (or torchvision) publish it, and its place."""

    urls: tuple[str, ...]
    md5: str
    path: str  # under BOOK_DATA
    unpack: tuple[str, ...] = ()  # an archive: these members are kept, beside each other in a folder at `path`


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


@dataclass(frozen=True)
class FileCheck:
    """One file's verdict: "ok", "missing", "wrong" (its sum differs) or "unchecked" (no sum is known)."""

    path: Path
    verdict: str


def get(name: str) -> list[Path]:
    """Fetch a set into BOOK_DATA; files that are there and whole are left alone. Returns the files' paths.

    Raises UserError for an unknown name, no network, or a file whose checksum is wrong (it is not kept).
    """
    remote = _remote(name)
    root = data_root()
    return [_fetch(file, root, name) for file in remote]


def check(name: str) -> list[FileCheck]:
    """Verify a set's files: against its SHA256SUMS when it has one, else against the known MD5 sums.

    Works for every folder of BOOK_DATA that has SHA256SUMS. Raises UserError when there is nothing to check.
    """
    root = data_root()
    listed = root / name / "SHA256SUMS"
    if Path(name).name == name and listed.is_file():
        return _check_listed(listed)
    checks = []
    for file in _remote(name):
        path = root / file.path
        if file.unpack:
            members = [path / Path(member).name for member in file.unpack]
            checks += [FileCheck(member, "unchecked" if member.is_file() else "missing") for member in members]
        elif not path.is_file():
            checks.append(FileCheck(path, "missing"))
        else:
            checks.append(FileCheck(path, "ok" if _digest(path, "md5") == file.md5 else "wrong"))
    return checks


def found_sets() -> dict[str, Path | None]:
    """Each known set and the folder under BOOK_DATA where it lies, or None."""
    try:
        root = data_root()
    except UserError:
        return dict.fromkeys(SETS)
    return {
        name: next((root / folder for folder in known.folders if (root / folder).is_dir()), None)
        for name, known in SETS.items()
    }


def _remote(name: str) -> tuple[RemoteFile, ...]:
    if name not in REMOTE:
        raise UserError(f"No data set called '{name}' can be fetched or checked: choose one of {', '.join(REMOTE)}.")
    return REMOTE[name]


def _fetch(file: RemoteFile, root: Path, name: str) -> Path:
    target = root / file.path
    if file.unpack:
        if all((target / Path(member).name).is_file() for member in file.unpack):
            return target
    elif target.is_file() and _digest(target, "md5") == file.md5:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename on one disk.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as beside:
            fetched = _download(file, Path(beside), name)
            if not file.unpack:
                fetched.replace(target)
                return target
            unpacked = Path(beside) / "unpacked"
            unpacked.mkdir()
            _unpack(fetched, file.unpack, unpacked)
            if target.exists():
                shutil.rmtree(target)  # an unfinished copy: it lacked a file
            unpacked.replace(target)
            return target
    except OSError as fault:
        raise UserError(f"Cannot write {name} to {root}: {fault.strerror or fault}.") from None


def _download(file: RemoteFile, folder: Path, name: str) -> Path:
    import pooch  # here: nothing else of the book needs it
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")  # its notices would mix with the command's output
    reasons = []
    for url in file.urls:
        try:
            found = pooch.retrieve(url, f"md5:{file.md5}", fname=url.rsplit("/", 1)[1], path=folder)
            return Path(found)
        except ValueError:
            reasons.append(f"{url} gave a file with a wrong checksum")
        except (RequestException, OSError) as fault:
            reasons.append(f"{url} cannot be reached ({type(fault).__name__})")
    raise UserError(
        f"Could not fetch {name}: {'; '.join(reasons)}. Try again later, or fetch the file yourself and put it at "
        f"{file.path} under BOOK_DATA."
    )


def _unpack(archive: Path, members: tuple[str, ...], folder: Path) -> None:
    with tarfile.open(archive) as bundle:
        for member in members:
            try:
                source = bundle.extractfile(member)
            except KeyError:
                source = None
            if source is None:
                raise UserError(f"{archive.name} has no file {member}: the archive has changed; nothing was kept.")
            with source, (folder / Path(member).name).open("wb") as out:
                shutil.copyfileobj(source, out)


def _check_listed(listed: Path) -> list[FileCheck]:
    checks = []
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        digest, _, name = line.partition(" ")
        path = listed.parent / name.strip().removeprefix("*")
        if len(digest) != 64 or not name.strip():
            raise UserError(f"{listed}, line {number}: expected a SHA-256 sum and a file name.")
        if not path.is_file():
            checks.append(FileCheck(path, "missing"))
        else:
            checks.append(FileCheck(path, "ok" if _digest(path, "sha256") == digest else "wrong"))
    return checks


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
