"""Audio files in and out, through soundfile (libsndfile): WAV, FLAC, OGG, MP3 and what else it knows.

Nothing that a header says is believed before it is held against the file: what is read comes in bounded blocks, so
that a damaged header costs a sentence and never memory.
"""

import io
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.functional import resample

from lib.errors import UserError
from lib.files import write_whole

SAMPLE_RATE = 16_000  # Hz; what every system of the book works with
RATES = range(1_000, 384_001)  # Hz; a header with another rate is damaged
MAX_SECONDS = 3_600.0  # of one clip; its samples at 16 kHz take 230 MB
BLOCK_VALUES = 2**20  # so many samples, of all channels together, are decoded at a time
LARGEST_SAMPLE = 10.0  # float files may pass full scale (1.0) a little; beyond 20 dB they are not scaled to it
OVERSHOOT = 0.5  # seconds by which a part may end after its file; time marks made by aligners often do
LARGEST_TERM = 1_000  # of the fraction by which we resample

SILENT_DBFS = -90.0  # the smallest step of 16-bit audio
CLIPPED_SAMPLE = 0.999
CLIPPED_SHARE = 0.01

# libsndfile's own faults; soundfile adds Python's for odd names and for raw files, which have no header.
READ_FAULTS = (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, OSError)


class EmptyAudio(UserError):
    """A file without a byte, or a recording without a sample."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: length in seconds, Hz, number of channels, and the format, as "WAV PCM_16"."""

    seconds: float
    sample_rate: int
    channels: int
    format: str


def probe(path: Path | str) -> AudioInfo:
    """Read a file's header only. Raises UserError as `read_audio` does, for what the header shows."""
    with _opened(path) as file:
        seconds = file.frames / file.samplerate
        return AudioInfo(seconds, file.samplerate, file.channels, f"{file.format} {file.subtype}")


def read_audio(
    path: Path | str, sample_rate: int | None = SAMPLE_RATE, *, start: float = 0.0, end: float | None = None
) -> Tensor:
    """A recording as float32 (samples,), channels averaged, resampled to `sample_rate` Hz (None: as it is).

    start, end   seconds of the part that is wanted; end None: to the end of the file

    Raises UserError for a file that is missing, empty, damaged, truncated, not finite, longer than an hour or no
    audio at all, and for a part that lies outside it.
    """
    with _opened(path) as file:
        rate = file.samplerate
        first, count = _part(path, file, start, end)
        samples = _read_blocks(path, file, first, count)
    peak = max(samples.max(), -samples.min())  # NaN or infinite when any sample is
    if not np.isfinite(peak):
        raise UserError(f"{path} holds samples that are no numbers (NaN or infinite): make the file again.")
    if peak > LARGEST_SAMPLE:
        raise UserError(f"{path} holds samples up to {peak:.3g}: scale them to -1 ... 1 and save it again.")
    if sample_rate in (None, rate):
        return torch.from_numpy(samples)
    if sample_rate < 1:
        raise UserError(f"The sample rate must be 1 Hz or more, not {sample_rate}.")
    return resample(torch.from_numpy(samples), *_resampling_terms(rate, sample_rate))


def audio_faults(samples: Tensor) -> tuple[str, ...]:
    """What is wrong with the samples (n,) of a clip, as it lies in its file: of "silent", "clipped", or nothing.

    silent    the samples vary by less than -90 dB of full scale (root mean square around their mean)
    clipped   at least one sample in a hundred is at full scale
    """
    if not len(samples):
        return ("silent",)
    values = samples.detach().cpu().numpy()  # NumPy: several torch threads are slower on so little
    faults = []
    if values.std() < 10 ** (SILENT_DBFS / 20):
        faults.append("silent")
    if (np.abs(values) >= CLIPPED_SAMPLE).mean() >= CLIPPED_SHARE:
        faults.append("clipped")
    return tuple(faults)


def write_flac(path: Path | str, samples: Tensor, sample_rate: int = SAMPLE_RATE) -> Path:
    """Keep samples (n,) in -1 ... 1 as 16-bit FLAC, whole or not at all; what lies outside is clipped."""
    values = samples.detach().cpu().float().numpy()
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UserError(f"{path} cannot be written: there must be samples, of one channel, and all of them finite.")
    buffer = io.BytesIO()
    soundfile.write(buffer, values.clip(-1.0, 1.0), sample_rate, format="FLAC", subtype="PCM_16")
    return write_whole(Path(path), buffer.getvalue())


def _opened(path: Path | str) -> soundfile.SoundFile:
    """The file, once its header has been found to be possible."""
    _require_file(Path(path))
    try:
        file = soundfile.SoundFile(str(path))
    except READ_FAULTS as fault:
        raise UserError(f"{path} cannot be read as audio ({_reason(fault)}): save it as WAV or FLAC.") from None
    try:
        if file.samplerate not in RATES:
            raise UserError(
                f"{path} has a sample rate of {file.samplerate} Hz by its header, outside {RATES[0]} ... {RATES[-1]}: "
                "it is damaged; save it again."
            )
        if file.frames == 0:
            raise EmptyAudio(f"{path} holds no samples: remove it, or record it again.")
        if file.frames < 0 or file.frames >= 2**62:  # libsndfile's way to say: unknown
            raise UserError(f"{path} does not say how long it is: save it again as WAV or FLAC.")
    except UserError:
        file.close()
        raise
    return file


def _require_file(path: Path) -> None:
    """Raise UserError unless there is a file that holds what its RIFF header, if it has one, promises."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: name an audio file in it.")
        if not path.exists():
            raise UserError(f"{path} does not exist: correct the name.")
        if not path.is_file():
            raise UserError(f"{path} is no ordinary file: name an audio file.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise EmptyAudio(f"{path} is an empty file: copy it again.")
            promised = _promised_end(file)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name
        raise UserError(f"{path} cannot be opened ({_reason(fault)}): correct the name or its rights.") from None
    if promised > size + 1:  # an odd number of bytes is filled up by one, which many programs forget
        raise UserError(
            f"{path} is truncated: its header promises {promised:,} bytes and {size:,} are there; copy it again."
        )


def _promised_end(file: io.BufferedReader) -> int:
    """Where the samples of a WAV file end by its header, in bytes from the start; 0 if that is not said.

    libsndfile silently reads what there is of a truncated WAV file. A RIFF file is a list of chunks, each a name of
    four bytes and a size (32 bits, little-endian); the samples are the chunk "data".
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return 0
    for _ in range(100):
        chunk = file.read(8)
        if len(chunk) < 8:
            return 0
        size = struct.unpack("<I", chunk[4:])[0]
        if chunk[:4] == b"data":
            return 0 if size >= 0x7FFF_F000 else file.tell() + size  # such sizes mean: written to a pipe, unknown
        file.seek(size + size % 2, io.SEEK_CUR)
    return 0


def _part(path: Path | str, file: soundfile.SoundFile, start: float, end: float | None) -> tuple[int, int]:
    """(first frame, number of frames) of what is wanted; a frame is one sample of every channel."""
    rate, seconds = file.samplerate, file.frames / file.samplerate
    until = seconds if end is None else end
    if not 0 <= start < until:
        raise UserError(f"{start} ... {until} s is no part of {path}, which has {seconds:.3f} s: correct its times.")
    if start >= seconds or until > seconds + OVERSHOOT:
        raise UserError(f"{start} ... {until} s of {path} is wanted, which has {seconds:.3f} s: correct the times.")
    first = round(start * rate)
    count = min(round(until * rate), file.frames) - first
    if count < 1:
        raise UserError(f"{start} ... {until} s of {path} holds no samples: correct the times.")
    if count > MAX_SECONDS * rate:
        raise UserError(
            f"{path} has {count / rate / 3600:,.1f} hours by its header, and {MAX_SECONDS / 3600:.0f} is the most that "
            "is read at once: cut it into clips."
        )
    return first, count


def _read_blocks(path: Path | str, file: soundfile.SoundFile, first: int, count: int) -> np.ndarray:
    """`count` frames from frame `first`, channels averaged: float32 (count,). Raises UserError when some are missing.

    Memory is taken for what is there, not for what the header promises.
    """
    size = max(1, BLOCK_VALUES // file.channels)
    blocks, missing = [], count
    try:
        if first:
            file.seek(first)
        while missing:
            block = file.read(min(size, missing), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block[:, 0] if file.channels == 1 else block.mean(1))
            missing -= len(block)
    except READ_FAULTS as fault:
        raise UserError(f"{path} is damaged or truncated ({_reason(fault)}): copy it again.") from None
    # The length of an MP3 file is partly an estimate.
    if missing > (count // 20 if file.format == "MP3" else 0) or not blocks:
        raise UserError(
            f"{path} is truncated: {count:,} samples should be there and {count - missing:,} are; copy it again."
        )
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _resampling_terms(rate: int, wanted: int) -> tuple[int, int]:
    """The two rates as a fraction in small terms, which keeps the filter small.

    Exact for the rates that are in use; a rate as 16,001 Hz is rounded by less than a thousandth (two cents).
    """
    low, high = sorted((rate, wanted))
    terms = Fraction(low, high).limit_denominator(LARGEST_TERM)
    small, large = max(terms.numerator, 1), terms.denominator
    return (small, large) if rate < wanted else (large, small)


def _reason(fault: Exception) -> str:
    """The fault in a few words, without the file's name, which stands beside it."""
    text = getattr(fault, "error_string", None) or getattr(fault, "strerror", None) or str(fault)
    if "does not exist" in text:  # so libsndfile says it of noise that it took for MP3
        text = "Format not recognised"
    return text.strip().rstrip(".").removeprefix("Error : ") or type(fault).__name__
