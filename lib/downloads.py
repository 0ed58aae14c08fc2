"""Real data sets: the folder they lie in, and how they get there.

Nothing is fetched unless it is asked for. What is fetched arrives as `NAME.part`, is held against a published checksum
and only then unpacked or renamed. A broken download goes on where it stopped, when there is a checksum to prove that
the two halves belong together.
"""

import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.errors import UserError
from lib.files import at_home

TIMEOUTS = (10, 60)  # seconds: to connect, and between two pieces
PIECE = 2**14  # bytes; what had arrived of the last one is lost when a connection is cut
SUMS = "SHA256SUMS"
SUM_KINDS = {32: "md5", 64: "sha256"}  # by the number of hexadecimal digits


@dataclass(frozen=True)
class RemoteFile:
    """One file of a set: where it can be had, its published checksum, and its place.

    checksum   MD5 or SHA-256 in hexadecimal digits; "" when none was published
    path       under BOOK_DATA: of the file, or of the folder that an archive becomes
    unpack     an archive: these members are kept, beside each other in the folder
    inside     an archive: all that lies in this folder of it is kept ("" is everything)
    nested     with `inside`: archives in the archive, a pattern; each is unpacked where it lies
    """

    urls: tuple[str, ...]
    checksum: str
    path: str
    unpack: tuple[str, ...] = ()
    inside: str | None = None
    nested: str = ""


@dataclass(frozen=True)
class FileCheck:
    """One file's verdict: "ok", "missing", "wrong" (its sum differs) or "unchecked" (no sum is known)."""

    path: Path
    verdict: str


def data_root() -> Path:
    """The folder that BOOK_DATA names. Raises UserError when it is not set or not there."""
    name = os.environ.get("BOOK_DATA", "")
    if not name:
        raise UserError(
            "BOOK_DATA is not set: let it name the folder of your data sets (or use the embedded data, which need no "
            "files)."
        )
    root = at_home(name)
    if not root.is_dir():
        raise UserError(f"BOOK_DATA names {root}, which is no folder: correct it, or create the folder.")
    return root


def get(name: str, remote: Mapping[str, tuple[RemoteFile, ...]]) -> list[Path]:
    """Fetch a set of `remote` into BOOK_DATA; what is there and whole is left alone. Returns the paths.

    Raises UserError for an unknown name, no network, no space, an archive that is not what it should be, and a file
    whose checksum is wrong (it is not kept).
    """
    files = _files_of(name, remote)
    root = data_root()
    return [_fetch(file, root, name) for file in files]


def check(name: str, remote: Mapping[str, tuple[RemoteFile, ...]]) -> list[FileCheck]:
    """Verify a set's files: against SHA256SUMS in its folder when there is one, else against the published sums.

    Works for every folder of BOOK_DATA that has SHA256SUMS. Raises UserError when there is nothing to check.
    """
    root = data_root()
    listed = root / name / SUMS
    if Path(name).name == name and listed.is_file():
        return _check_listed(listed)
    return [checked for file in _files_of(name, remote) for checked in _check(file, root)]


def find(folders: Mapping[str, tuple[str, ...]]) -> dict[str, Path | None]:
    """Each set's folder under BOOK_DATA, the first that is there of those where it may lie, or None."""
    try:
        root = data_root()
    except UserError:
        return dict.fromkeys(folders)
    return {
        name: next((root / place for place in places if (root / place).is_dir()), None)
        for name, places in folders.items()
    }


def _files_of(name: str, remote: Mapping[str, tuple[RemoteFile, ...]]) -> tuple[RemoteFile, ...]:
    if name not in remote:
        raise UserError(f"No data set called '{name}' can be fetched or checked: choose one of {', '.join(remote)}.")
    return remote[name]


def _fetch(file: RemoteFile, root: Path, name: str) -> Path:
    target = root / file.path
    if _is_here(file, target):
        return target
    archive_name = file.urls[0].rsplit("/", 1)[1]
    part = target.parent / f"{archive_name}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(file, part, name)
        if not file.unpack and file.inside is None:
            part.replace(target)
            return target
        # Beside the target, so that the last step is a rename on one disk.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as beside:
            unpacked = Path(beside) / "unpacked"
            unpacked.mkdir()
            try:
                _unpack(part, archive_name, file, unpacked)
            except UserError:
                part.unlink()  # it is of no use; after a full disk or Ctrl-C it still is
                raise
            if target.exists():
                shutil.rmtree(target)  # an unfinished copy: it lacked a file
            unpacked.replace(target)
            part.unlink()
        return target
    except OSError as fault:
        raise UserError(f"Cannot write {name} to {root}: {fault.strerror or fault}.") from None


def _is_here(file: RemoteFile, target: Path) -> bool:
    if file.unpack:
        return all((target / Path(member).name).is_file() for member in file.unpack)
    if file.inside is not None:
        return target.is_dir() and any(target.iterdir())  # it was renamed when whole, or is the reader's own
    return target.is_file() and (not file.checksum or _digest(target, file.checksum) == file.checksum)


def _download(file: RemoteFile, part: Path, name: str) -> None:
    """Bring the whole file to `part`, from the first address that gives it with the right checksum."""
    import requests  # here: nothing else of the book needs it

    if not file.checksum:
        part.unlink(missing_ok=True)  # nothing could prove that a second half belongs to it
    reasons = []
    for url in file.urls:
        for _ in range(2):
            resumed = part.exists()
            try:
                _transfer(url, part, resume=bool(file.checksum))
            except requests.HTTPError as fault:
                reasons.append(f"{url} answers {fault.response.status_code}")
                break
            except requests.RequestException as fault:
                reasons.append(f"{url} cannot be reached ({type(fault).__name__})")
                break
            if not file.checksum or _digest(part, file.checksum) == file.checksum:
                return
            part.unlink()
            if not resumed:  # else the first half may have been of another file: once more, from the start
                reasons.append(f"{url} gave a file with a wrong checksum")
                break
    kept = " What has arrived is kept, and the next try goes on from there." if part.exists() else ""
    archive = file.unpack or file.inside is not None
    mend = "fetch and unpack it yourself, as" if archive else "fetch the file yourself and put it at"
    raise UserError(
        f"Could not fetch {name}: {'; '.join(reasons)}. Try again later, or {mend} {file.path} under BOOK_DATA.{kept}"
    )


def _transfer(url: str, part: Path, resume: bool) -> None:
    """Fetch `url` into `part`. While a connection brings something new before it is cut, another is made.

    Without `resume` nothing of a cut connection is kept.
    """
    import requests

    while True:
        size = part.stat().st_size if part.exists() else 0
        try:
            _transfer_once(url, part)
            return
        except requests.RequestException as fault:
            now = part.stat().st_size if part.exists() else 0
            if not resume:
                part.unlink(missing_ok=True)
            if isinstance(fault, requests.HTTPError) or not resume or now <= size:
                raise


def _transfer_once(url: str, part: Path) -> None:
    """One request, for what is missing of `part`. Raises requests.RequestException when it is cut."""
    import requests
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    # identity: some servers would pack what is packed, and the sum is of the file as it is.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as answer:
        if answer.status_code == 416 and have:  # there is nothing behind what we have
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            part.unlink()  # longer than the file: it is of another one
            _transfer_once(url, part)
            return
        answer.raise_for_status()
        if not (answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            have = 0  # the server sends the file from its start
        length = int(answer.headers.get("Content-Length", 0))
        _require_space(part, length, url)
        bar = tqdm(
            total=have + length or None,
            initial=have,
            desc=part.stem,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        )
        with part.open("ab" if have else "wb") as out, bar:
            for piece in answer.iter_content(PIECE):  # raises when fewer bytes come than were promised
                out.write(piece)
                bar.update(len(piece))


def _require_space(part: Path, length: int, url: str) -> None:
    free = shutil.disk_usage(part.parent).free
    if length > free:
        raise UserError(
            f"{url} has {length / 1e9:.1f} GB and {part.parent} has room for {free / 1e9:.1f}: make room, or let "
            "BOOK_DATA name another disk."
        )


def _unpack(archive: Path, name: str, file: RemoteFile, folder: Path) -> None:
    try:
        with tarfile.open(archive) as bundle:
            if file.unpack:
                _unpack_members(bundle, name, file.unpack, folder)
                return
            _unpack_folder(bundle, file.inside or "", folder)
        for inner in sorted(folder.glob(file.nested)) if file.nested else ():
            with tarfile.open(inner) as bundle:
                _unpack_folder(bundle, "", inner.parent)
            inner.unlink()
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as fault:
        raise UserError(f"{name} cannot be unpacked ({str(fault) or 'it is cut'}): nothing was kept.") from None
    if not any(folder.iterdir()):
        raise UserError(f"{name} has no folder {file.inside}: the archive has changed; nothing was kept.")
    _write_sums(folder)


def _unpack_members(bundle: tarfile.TarFile, name: str, members: tuple[str, ...], folder: Path) -> None:
    for member in members:
        try:
            source = bundle.extractfile(member)
        except KeyError:
            source = None
        if source is None:
            raise UserError(f"{name} has no file {member}: the archive has changed; nothing was kept.")
        with source, (folder / Path(member).name).open("wb") as out:
            shutil.copyfileobj(source, out)


def _unpack_folder(bundle: tarfile.TarFile, inside: str, folder: Path) -> None:
    """The plain files of an archive that lie in its folder `inside`; tarfile refuses those that would leave ours."""
    start = PurePosixPath(inside)
    for member in bundle:
        path = PurePosixPath(member.name)
        if member.isreg() and path.is_relative_to(start):
            bundle.extract(member.replace(name=str(path.relative_to(start)), deep=False), folder, filter="data")


def _write_sums(folder: Path) -> None:
    """SHA256SUMS of all files below a folder, so that they can be checked later."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{_hash(path, 'sha256')}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _check(file: RemoteFile, root: Path) -> list[FileCheck]:
    path = root / file.path
    if file.unpack:
        members = [path / Path(member).name for member in file.unpack]
        return [FileCheck(member, "unchecked" if member.is_file() else "missing") for member in members]
    if file.inside is not None:
        if (path / SUMS).is_file():
            return _check_listed(path / SUMS)
        return [FileCheck(path, "unchecked" if path.is_dir() else "missing")]
    if not path.is_file():
        return [FileCheck(path, "missing")]
    if not file.checksum:
        return [FileCheck(path, "unchecked")]
    return [FileCheck(path, "ok" if _digest(path, file.checksum) == file.checksum else "wrong")]


def _check_listed(listed: Path) -> list[FileCheck]:
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{listed} is no UTF-8 text: get it again.") from None
    checks = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        digest, _, name = line.partition(" ")
        path = listed.parent / name.strip().removeprefix("*")
        if len(digest) != 64 or not name.strip():
            raise UserError(f"{listed}, line {number}: expected a SHA-256 sum and a file name.")
        if not path.is_file():
            checks.append(FileCheck(path, "missing"))
        else:
            checks.append(FileCheck(path, "ok" if _hash(path, "sha256") == digest else "wrong"))
    return checks


def _digest(path: Path, like: str) -> str:
    """The file's sum, of the kind of the sum `like`."""
    return _hash(path, SUM_KINDS[len(like)])


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
