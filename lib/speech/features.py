"""What a network hears: log-mel bands and cepstral coefficients of short frames, in torch's way and in Kaldi's."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchaudio.compliance import kaldi
from torchaudio.functional import create_dct, melscale_fbanks, spectrogram

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE

KINDS = ("log_mel", "mfcc", "kaldi_fbank", "kaldi_mfcc")
KALDI_SCALE = 2.0**15  # Kaldi reads whole numbers of 16 bits; its thresholds and floors are meant for those


@dataclass(frozen=True)
class FeatureConfig:
    """Which features, and of which frames.

    kind             "log_mel"      natural log of mel-band energies (power spectrum, Hann window)
                     "mfcc"         their cepstrum: orthonormal DCT-II of log_mel
                     "kaldi_fbank"  as Kaldi's compute-fbank-feats without dither: pre-emphasis, Povey window
                     "kaldi_mfcc"   as Kaldi's compute-mfcc-feats without dither, with its lifter of 22
    sample_rate      Hz
    window_seconds   length of a frame
    hop_seconds      from one frame to the next
    bands            mel bands (HTK's mel scale: 2595 log10(1 + f / 700))
    coefficients     of the cepstrum, the zeroth included; only the two kinds of MFCC have them
    low_hz, high_hz  edges of the lowest and the highest band; high_hz None: half the sample rate. This is the
                     band-pass filter that papers mention: nothing outside of these edges enters a feature
    fft_size         points of the transform; None: the smallest power of two that holds the window, as Kaldi has it
    centred          True: frame t lies around sample t * hop, the first and last reach beyond the ends; see
                     `frame_span`. False: only frames that lie inside, so a waveform may be too short for any
    floor            log_mel and mfcc: energies below are raised to it before the logarithm
    energy           kaldi_mfcc: the zeroth coefficient is the log of the frame's energy (Kaldi's own default)
    """

    kind: str = "log_mel"
    sample_rate: int = SAMPLE_RATE
    window_seconds: float = 0.025
    hop_seconds: float = 0.010
    bands: int = 40
    coefficients: int = 40
    low_hz: float = 20.0
    high_hz: float | None = None
    fft_size: int | None = None
    centred: bool = True
    floor: float = 1e-6
    energy: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"{self.kind!r} is no kind of features: choose {', '.join(KINDS)}.")
        for name in ("sample_rate", "window_seconds", "hop_seconds", "bands", "coefficients", "floor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"{name} of the features must be above zero, not {getattr(self, name)}.")
        for name in ("sample_rate", "bands", "coefficients"):
            if getattr(self, name) != int(getattr(self, name)):
                raise UserError(f"{name} of the features must be a whole number, not {getattr(self, name)}.")
        if self.hop < 1 or self.window < 2:
            raise UserError(
                f"Frames of {self.window_seconds} s every {self.hop_seconds} s are too short "
                f"at {self.sample_rate} samples a second."
            )
        if not 0 <= self.low_hz < self.top_hz <= self.sample_rate / 2:
            raise UserError(
                f"The bands must lie between 0 and {self.sample_rate / 2:g} Hz, half the sample rate, low_hz below "
                f"high_hz; these go from {self.low_hz:g} to {self.top_hz:g} Hz."
            )
        if self.fft_size is not None and self.fft_size < self.window:
            raise UserError(f"fft_size {self.fft_size} does not hold a window of {self.window} samples.")
        if self.kaldi and self.transform_size != _power_of_two(self.window):
            raise UserError(
                f"{self.kind} has an fft_size of {_power_of_two(self.window)} here, or None, which means it."
            )
        if self.kaldi and self.bands < 4:
            raise UserError(f"{self.kind} has 4 bands or more, not {self.bands}.")
        if self.cepstral and self.coefficients > self.bands:
            raise UserError(f"{self.bands} bands give at most {self.bands} coefficients, not {self.coefficients}.")
        if self.energy and self.kind != "kaldi_mfcc":
            raise UserError(f"Only kaldi_mfcc can hold the frame's energy, not {self.kind}.")

    @property
    def kaldi(self) -> bool:
        return self.kind.startswith("kaldi_")

    @property
    def cepstral(self) -> bool:
        return self.kind.endswith("mfcc")

    @property
    def width(self) -> int:
        """Features of a frame."""
        return self.coefficients if self.cepstral else self.bands

    @property
    def window(self) -> int:
        """Samples of a frame."""
        # Kaldi cuts off what is no whole sample: 25 ms at 11,025 Hz are 275 samples, not 276. A hair more than the
        # product, as 0.0025 * 16,000 may come out below 40.
        exact = self.window_seconds * self.sample_rate
        return int(exact + 1e-6) if self.kaldi else round(exact)

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        exact = self.hop_seconds * self.sample_rate
        return int(exact + 1e-6) if self.kaldi else round(exact)

    @property
    def transform_size(self) -> int:
        """Points of the Fourier transform."""
        return self.fft_size or _power_of_two(self.window)

    @property
    def top_hz(self) -> float:
        """Upper edge of the highest band."""
        return self.sample_rate / 2 if self.high_hz is None else self.high_hz

    @property
    def reach(self) -> int:
        """Samples that one frame is computed from: the transform's, of which the window weighs the middle ones."""
        return self.window if self.kaldi else self.transform_size

    def frames(self, samples: int) -> int:
        """How many frames so many samples give."""
        if self.centred:
            return (samples + self.hop // 2) // self.hop if self.kaldi else 1 + samples // self.hop
        return max(0, 1 + (samples - self.reach) // self.hop)

    def frame_span(self, frame: int) -> tuple[int, int]:
        """The samples of a frame, (first, stop): first may lie before 0 and stop after the end of the waveform.

        Centred frames of log_mel and mfcc: frame * hop - fft_size // 2 and that plus fft_size; there are zeros
        outside of the waveform. So a stream can make the same frames: those from a to b are what the same
        config with centred=False gives for the samples frame_span(a)[0] ... frame_span(b)[1], zeros outside.

        Kaldi's centred frames lie around (frame + 1/2) * hop, and outside of the waveform it is mirrored.
        """
        first = frame * self.hop
        if self.centred:
            first -= self.reach // 2 - (self.hop // 2 if self.kaldi else 0)
        return first, first + self.reach

    def to_dict(self) -> dict[str, str | int | float | bool | None]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, str | int | float | bool | None]) -> "FeatureConfig":
        """The inverse of `to_dict`; what is left out has its default. Raises UserError for an unknown name."""
        known = {one.name: one.type for one in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise UserError(f"{name!r} is no setting of the features: they are {', '.join(known)}.")
            wanted = (int, float) if known[name] in (float, float | None) else known[name]
            if not isinstance(value, wanted) and not (value is None and known[name] == float | None):
                raise UserError(f"The setting {name!r} of the features cannot be {value!r}.")
        return cls(**values)


class FeatureExtractor(nn.Module):
    """Waveforms (batch, samples) -> features (batch, frames, width), float32, as a FeatureConfig says.

    Each row's features depend on that row alone. Rows that were filled up with zeros at their end have, in their first
    `config.frames(length)` frames, what they would have alone (Kaldi's centred frames excepted: they mirror the end).

    It has no parameters and nothing of it goes into a checkpoint: the config is enough to make it again.
    """

    def __init__(self, config: FeatureConfig):
        super().__init__()
        self.config = config
        mel = _kaldi_bands(config) if config.kaldi else _bands(config)
        empty = int((mel == 0).all(0).sum())
        if empty:
            raise UserError(
                f"{empty} of the {config.bands} bands from {config.low_hz:g} to {config.top_hz:g} Hz are narrower than "
                f"a step of the transform ({config.sample_rate / config.transform_size:.3g} Hz): "
                "take fewer bands or a larger fft_size."
            )
        if not config.kaldi:
            # Not persistent: a network that holds an extractor does not carry it in its checkpoint.
            self.register_buffer("mel", mel, persistent=False)
            self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        if config.kind == "mfcc":
            dct = create_dct(config.coefficients, config.bands, norm="ortho")
            self.register_buffer("dct", dct, persistent=False)

    def frames(self, samples: int) -> int:
        """How many frames so many samples give."""
        return self.config.frames(samples)

    def forward(self, waveforms: Tensor) -> Tensor:
        if waveforms.ndim != 2:
            raise ValueError(f"waveforms have the shape (batch, samples), these have {tuple(waveforms.shape)}")
        config = self.config
        if not waveforms.shape[0] or not config.frames(waveforms.shape[1]):
            shape = (len(waveforms), config.frames(waveforms.shape[1]), config.width)
            return torch.zeros(shape, dtype=waveforms.dtype, device=waveforms.device)
        if config.kaldi:
            return _kaldi_features(waveforms, config)
        spectrum = spectrogram(
            waveforms,
            pad=0,
            window=self.window,
            n_fft=config.transform_size,
            hop_length=config.hop,
            win_length=config.window,
            power=None,
            normalized=False,
            center=config.centred,
            pad_mode="constant",
        )  # complex (batch, fft_size // 2 + 1, frames)
        # its own power=2 takes a root and squares it again: measured as 1.6 times the time
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        log_mel = (power.transpose(1, 2) @ self.mel).clamp_min(config.floor).log()
        return log_mel @ self.dct if config.kind == "mfcc" else log_mel


@torch.no_grad()
def features_of(
    extractor: FeatureExtractor, waveforms: Sequence[Tensor], batch_samples: int = 4_000_000
) -> list[Tensor]:
    """Features of waveforms (samples,) of any lengths: a list of (frames, width), as each would give alone.

    Waveforms of like lengths go through the extractor together, `batch_samples` at most at a time.
    """
    config = extractor.config
    found: list[Tensor] = [torch.empty(0)] * len(waveforms)
    lengths = [len(one) for one in waveforms]
    same_only = config.kaldi and config.centred  # their last frames look at the end of the batch's row
    batch: list[int] = []
    for index in [*sorted(range(len(waveforms)), key=lengths.__getitem__), None]:
        full = batch and (
            index is None
            or (len(batch) + 1) * lengths[index] > batch_samples
            or (same_only and lengths[index] != lengths[batch[0]])
        )
        if full:
            longest = lengths[batch[-1]]
            rows = torch.stack([pad(waveforms[one], (0, longest - lengths[one])) for one in batch])
            for one, row in zip(batch, extractor(rows), strict=True):
                found[one] = row[: config.frames(lengths[one])].clone()
            batch = []
        if index is not None:
            batch.append(index)
    return found


def extended(waveforms: Tensor, config: FeatureConfig) -> Tensor:
    """Waveforms (batch, samples) from the first sample of their first frame to the end of their last.

    Outside of the waveform there are zeros; Kaldi's centred frames see it mirrored. Cut with `unfold(1, config.reach,
    config.hop)` it becomes the frames, and there must be at least one.
    """
    samples = waveforms.shape[1]
    first, stop = config.frame_span(0)[0], config.frame_span(config.frames(samples) - 1)[1]
    if config.kaldi and config.centred:
        # The outermost sample is told twice: c b a | a b c | c b a, over and over.
        places = torch.arange(first, stop, device=waveforms.device) % (2 * samples)
        return waveforms[:, torch.minimum(places, 2 * samples - 1 - places)]
    return pad(waveforms, (-first, stop - samples))  # a negative number cuts off


def _power_of_two(samples: int) -> int:
    return 1 << (samples - 1).bit_length()


def _bands(config: FeatureConfig) -> Tensor:
    """Triangles on the mel scale, their peaks 1: (fft_size // 2 + 1, bands)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty bands: our own sentence says more
        return melscale_fbanks(
            config.transform_size // 2 + 1, config.low_hz, config.top_hz, config.bands, config.sample_rate
        )


def _kaldi_bands(config: FeatureConfig) -> Tensor:
    mel, _ = kaldi.get_mel_banks(
        config.bands, config.transform_size, config.sample_rate, config.low_hz, config.top_hz, 100.0, -500.0, 1.0
    )
    return mel.T


def _kaldi_features(waveforms: Tensor, config: FeatureConfig) -> Tensor:
    """torchaudio's Kaldi takes one waveform and cuts it into frames; frames know nothing of each other.

    So we lay the rows of a batch end to end, each filled up to a whole number of hops, and keep the frames
    that lie inside a row.
    """
    batch, samples = waveforms.shape
    frames = config.frames(samples)
    rows = extended(waveforms * KALDI_SCALE, config)
    steps = math.ceil(rows.shape[1] / config.hop)
    row = pad(rows, (0, steps * config.hop - rows.shape[1])).reshape(1, -1)
    settings = {
        "sample_frequency": float(config.sample_rate),
        # Half a sample more: these become whole samples by cutting off what is behind the point.
        "frame_length": 1000 * (config.window + 0.5) / config.sample_rate,
        "frame_shift": 1000 * (config.hop + 0.5) / config.sample_rate,
        "num_mel_bins": config.bands,
        "low_freq": config.low_hz,
        "high_freq": config.top_hz,
        "dither": 0.0,
        "energy_floor": 1.0,
        "snip_edges": True,
    }
    if config.kind == "kaldi_fbank":
        found = kaldi.fbank(row, **settings)
    else:
        found = kaldi.mfcc(row, num_ceps=config.coefficients, use_energy=config.energy, **settings)
    found = pad(found, (0, 0, 0, batch * steps - len(found)))
    return found.reshape(batch, steps, config.width)[:, :frames].contiguous()
