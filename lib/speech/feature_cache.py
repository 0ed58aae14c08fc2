"""Features of a whole corpus, computed once and kept on disk, read a few utterances at a time.

A folder features/<key> below `lib.files.cache_root()` holds one array of all frames, where each utterance begins,
and a description. The key stands for the features' config, the files (path, size, time of change) and what is taken
of them; so what has changed is computed anew, under another key. Old folders stay: all may be deleted at any time.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from lib.errors import UserError
from lib.files import cache_root
from lib.speech.data import SpeechSet
from lib.speech.features import FeatureConfig, FeatureExtractor, features_of
from lib.training.progress import progress_bar

VERSION = 1  # of how features are computed and kept: another number, other keys
PRECISIONS = ("float16", "float32")
FRAMES, OFFSETS, ABOUT = "frames.npy", "offsets.npy", "about.json"
BLOCK = 64  # utterances that are read and computed together
Description = dict[str, int | str | dict[str, str | int | float | bool | None]]
CHECKED_BYTES = 256 * 1024**2  # arrays up to here are summed when they are opened, of larger ones the size is enough


class FeatureStore:
    """Features of the utterances of a corpus, in its order. What is asked for is read, nothing else.

    folder    where they lie
    config    what they are
    lengths   frames of each, int64 (n,); 0 where a recording is too short for a single frame

    Iterating gives each utterance's features, so `BandStatistics.of(store)` is possible.
    """

    def __init__(self, folder: Path, config: FeatureConfig, frames: np.ndarray, offsets: np.ndarray):
        self.folder, self.config = folder, config
        self.lengths = torch.from_numpy(np.diff(offsets))
        self._frames, self._offsets = frames, offsets.tolist()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> Tensor:
        """float32 (frames, width). Raises IndexError beyond the last; indices count from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} utterances, number {index} is none of them")
        rows = self._frames[self._offsets[index] : self._offsets[index + 1]]
        return torch.from_numpy(rows.astype(np.float32))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def batch(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Several utterances: float32 (batch, longest, width) with zeros behind each, and their lengths (batch,)."""
        chosen = [int(index) for index in indices]
        lengths = self.lengths[chosen]
        longest = int(lengths.max()) if chosen else 0
        found = torch.zeros(len(chosen), longest, self.config.width)
        for row, index in zip(found, chosen, strict=True):
            features = self[index]
            row[: len(features)] = features
        return found, lengths


def cached_features(
    source: SpeechSet | Sequence[Tensor], config: FeatureConfig, precision: str = "float16", *, quiet: bool = False
) -> FeatureStore:
    """Features of a set, or of waveforms (samples,): from the cache, computed first if they are not there.

    precision   "float16" takes half the room of "float32"; log-mel bands lose 0.01 at most
    quiet       without a progress bar

    Raises UserError for a set that is empty, has another sample rate or a file that cannot be read, for features that
    are NaN or infinite, and for a cache that cannot be written.
    """
    if precision not in PRECISIONS:
        raise UserError(f"{precision!r} is no precision to keep features in: choose {' or '.join(PRECISIONS)}.")
    if not len(source):
        raise UserError("There is no utterance to compute features of: the set is empty.")
    if isinstance(source, SpeechSet) and source.sample_rate != config.sample_rate:
        raise UserError(
            f"{source.name} is read with {source.sample_rate} samples a second, "
            f"the features want {config.sample_rate}: set the two alike."
        )
    about = {"version": VERSION, "features": config.to_dict(), "precision": precision}
    folder = cache_root() / "features" / _key(source, about)
    store = _open(folder, about, len(source))
    if store is None:
        try:
            _build(folder, source, config, about, quiet)
        except OSError as fault:
            raise UserError(
                f"Features cannot be kept in {folder.parent} ({fault}): make room, "
                "or let BOOK_CACHE name a folder that can be written."
            ) from None
        store = _open(folder, about, len(source))
        if store is None:
            raise UserError(f"{folder} was damaged while it was written: delete it and try again.")
    return store


def _key(source: SpeechSet | Sequence[Tensor], about: Description) -> str:
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    if isinstance(source, SpeechSet):
        for one in source.utterances:
            path = Path(one.path).absolute()
            try:
                stat = path.stat()
            except OSError as fault:
                raise UserError(f"{path} cannot be read ({fault.strerror}): load the set again.") from None
            line = [os.fspath(path), stat.st_size, stat.st_mtime_ns, one.start, one.end]
            found.update(json.dumps(line).encode())
    else:
        for waveform in source:
            samples = waveform.detach().cpu().contiguous().numpy()
            found.update(f"{samples.dtype} {samples.shape}".encode() + samples.tobytes())
    return found.hexdigest()[:32]


def _open(folder: Path, about: Description, count: int) -> FeatureStore | None:
    """The store in a folder; None when there is none, or a damaged one."""
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if {name: found[name] for name in about} != about:
            return None
        for name in (FRAMES, OFFSETS):
            size, checksum = found["files"][name]
            path = folder / name
            if path.stat().st_size != size or (size <= CHECKED_BYTES and _checksum(path) != checksum):
                return None
        frames = np.load(folder / FRAMES, mmap_mode="r", allow_pickle=False)
        offsets = np.load(folder / OFFSETS, allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError):  # JSON and text that cannot be decoded are ValueErrors
        return None
    config = FeatureConfig.from_dict(about["features"])
    fits = (
        frames.dtype == about["precision"]
        and offsets.shape == (count + 1,)
        and frames.shape == (offsets[-1], config.width)
        and offsets[0] == 0
        and (np.diff(offsets) >= 0).all()
    )
    return FeatureStore(folder, config, frames, offsets) if fits else None


def _build(
    folder: Path, source: SpeechSet | Sequence[Tensor], config: FeatureConfig, about: Description, quiet: bool
) -> None:
    """Compute everything into a folder beside, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        lengths = _write_frames(beside / FRAMES, source, config, about["precision"], quiet)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        np.save(beside / OFFSETS, offsets)
        files = {name: [(beside / name).stat().st_size, _checksum(beside / name)] for name in (FRAMES, OFFSETS)}
        name = source.name if isinstance(source, SpeechSet) else "waveforms"
        text = json.dumps({**about, "of": name, "utterances": len(lengths), "files": files}, indent=1)
        (beside / ABOUT).write_text(text + "\n", encoding="utf-8")
        beside.chmod(0o755)  # mkdtemp makes it private
        try:
            os.rename(beside, folder)
        except OSError:  # somebody was quicker, or a damaged one lies there
            if _open(folder, about, len(lengths)) is None:
                damaged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
                os.replace(folder, damaged)  # an empty folder gives way
                shutil.rmtree(damaged, ignore_errors=True)
                os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_frames(
    path: Path, source: SpeechSet | Sequence[Tensor], config: FeatureConfig, precision: str, quiet: bool
) -> list[int]:
    """One array (all frames, width), written block by block; how many frames each utterance has."""
    extractor = FeatureExtractor(config)
    lengths: list[int] = []
    with path.open("wb") as file:
        _write_header(file, precision, (0, config.width))
        begin = file.tell()
        for start in progress_bar(range(0, len(source), BLOCK), description="features", quiet=quiet):
            indices = range(start, min(start + BLOCK, len(source)))
            waveforms = [source.waveform(i) if isinstance(source, SpeechSet) else source[i].cpu() for i in indices]
            for index, features in zip(indices, features_of(extractor, waveforms), strict=True):
                rows = features.numpy()
                kept = rows.astype(precision)
                if not np.isfinite(kept).all():
                    name = source.utterances[index].path if isinstance(source, SpeechSet) else f"Waveform {index}"
                    if np.isfinite(rows).all():
                        raise UserError(f"{name} has features too large for {precision}: keep them as float32.")
                    raise UserError(f"{name} gives features that are NaN or infinite: mend or remove it.")
                file.write(kept.tobytes())
                lengths.append(len(rows))
        # NumPy leaves room in its header for a first dimension that grows.
        file.seek(0)
        _write_header(file, precision, (sum(lengths), config.width))
        if file.tell() != begin:
            raise RuntimeError("the header of the array has changed its size")
    return lengths


def _write_header(file: BinaryIO, precision: str, shape: tuple[int, int]) -> None:
    described = np.lib.format.dtype_to_descr(np.dtype(precision))
    np.lib.format.write_array_header_1_0(file, {"descr": described, "fortran_order": False, "shape": shape})


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            found = zlib.crc32(piece, found)
    return found
