"""Audio files in and out, through soundfile: WAV, FLAC, OGG, MP3."""

from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torchaudio.functional import resample

from lib.errors import UserError

SAMPLE_RATE = 16_000


def read_audio(
    path: Path | str, sample_rate: int | None = SAMPLE_RATE, *, start: float = 0.0, end: float | None = None
) -> Tensor:
    """A recording as float32 (samples,), channels averaged, resampled to `sample_rate` Hz (None: as it is).

    start, end   seconds of the part that is wanted

    Raises UserError for a file that is missing, empty, damaged or no audio.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            file.seek(round(start * file.samplerate))
            frames = -1 if end is None else round((end - start) * file.samplerate)
            samples = file.read(frames, dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError, OSError) as fault:
        raise UserError(f"{path} cannot be read as audio ({fault}): save it as WAV or FLAC.") from None
    mono = torch.from_numpy(samples).mean(1)
    return mono if sample_rate in (None, rate) else resample(mono, rate, sample_rate)
