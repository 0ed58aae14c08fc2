"""Where somebody speaks: Kaldi's energy rule for frames, and the span of a word in a waveform."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE
from lib.speech.features import KALDI_SCALE, FeatureConfig, extended

QUIETEST_DB = 40.0  # what is so far below the loudest moment of a waveform is no speech
ABOVE_NOISE_DB = 6.0  # speech rises so far above the noise floor
NOISE_QUANTILE = 0.1  # a tenth of the waveform at least is taken to be pauses
SHORTEST = 3  # frames of 20 ms every 10 ms; a click alone is heard in two


def frame_log_energy(waveforms: Tensor, config: FeatureConfig) -> Tensor:
    """Log energy of the frames that `config` cuts: waveforms (batch, samples) -> (batch, frames).

    As Kaldi: the sum of squares of a frame's samples without their mean, samples counting up to 32,768, and 1 at
    least. With config.kind "kaldi_mfcc" it is the same as the zeroth coefficient with `energy`.
    """
    if not config.frames(waveforms.shape[1]):
        return waveforms.new_zeros(len(waveforms), 0)
    before = (config.reach - config.window) // 2
    frames = extended(waveforms * KALDI_SCALE, config).unfold(1, config.reach, config.hop)
    frames = frames[..., before : before + config.window]
    return frames.var(-1, correction=0).mul(config.window).clamp_min(1.0).log()


def energy_vad(
    log_energy: Tensor,
    *,
    threshold: float = 5.5,
    mean_scale: float = 0.5,
    context: int = 2,
    proportion: float = 0.12,
    lengths: Tensor | None = None,
) -> Tensor:
    """Which frames hold speech, as Kaldi's compute-vad: (batch, frames) -> bool (batch, frames).

    A frame is loud if its log energy is above threshold + mean_scale * (mean log energy of the utterance). It holds
    speech if at least `proportion` of the frames from `context` before to `context` behind it are loud; frames outside
    of the utterance do not count. The defaults are those of the speaker recipes for telephone speech.

    lengths   frames of each utterance, int (batch,); what lies behind is never speech
    """
    if context < 0 or not 0 < proportion <= 1:
        raise UserError(f"An energy VAD wants context >= 0 and 0 < proportion <= 1, not {context} and {proportion}.")
    frames = log_energy.shape[1]
    if not frames:
        return torch.zeros_like(log_energy, dtype=torch.bool)
    if lengths is None:
        lengths = torch.full((len(log_energy),), frames)
    places = torch.arange(frames, device=log_energy.device)
    valid = places < lengths.to(log_energy.device)[:, None]
    mean = (log_energy * valid).sum(1) / valid.sum(1).clamp_min(1)
    loud = (log_energy > threshold + mean_scale * mean[:, None]) & valid
    around = 2 * context + 1
    counts = [avg_pool1d(one[:, None].double(), around, 1, context)[:, 0] * around for one in (loud, valid)]
    loud_around, valid_around = (one.round() for one in counts)
    # Kaldi compares in single precision; a hair of slack keeps 3 of 25 at 0.12 on the same side everywhere.
    return (loud_around >= valid_around * proportion - 1e-6) & valid


def drop_silence(features: Tensor, speech: Tensor) -> Tensor:
    """The frames (frames, bands) that hold speech by the mask (frames,). None may be left: then nobody speaks."""
    if features.ndim != 2 or speech.shape != features.shape[:1]:
        raise ValueError(f"features {tuple(features.shape)} and mask {tuple(speech.shape)} are not of one utterance")
    return features[speech]


def speech_span(waveform: Tensor, sample_rate: int = SAMPLE_RATE, *, margin_seconds: float = 0.02) -> tuple[int, int]:
    """First sample of the speech in a waveform (samples,), and the one behind its last.

    The level of 20 ms is taken every 10 ms. Speech is what lies above both

        the loudest level - 40 dB        clean recordings: their pauses are far below
        the noise floor + 6 dB           the noise floor is the tenth of the levels that is quietest

    for 3 frames on end, so that a click does not count; from there `margin_seconds` are added on both sides. When
    nothing stands out (steady noise, or a word that fills the waveform evenly) the span is the whole waveform. When all
    samples are the same it is (0, 0).
    """
    if waveform.ndim != 1:
        raise ValueError(f"a waveform has the shape (samples,), this has {tuple(waveform.shape)}")
    samples = len(waveform)
    if not samples or bool((waveform == waveform[0]).all()):
        return 0, 0
    hop = max(1, round(0.010 * sample_rate))
    if samples < 2 * hop * SHORTEST:
        return 0, samples
    frames = waveform.unfold(0, 2 * hop, hop)
    level = 10 * (frames.var(-1, correction=0) + 1e-12).log10()  # a constant offset is no sound
    loudest = level.max()
    floor = level.sort().values[int(NOISE_QUANTILE * (len(level) - 1))]
    if loudest - floor < 2 * ABOVE_NOISE_DB:
        return 0, samples
    loud = level > torch.maximum(loudest - QUIETEST_DB, floor + ABOVE_NOISE_DB)
    lasting = loud.unfold(0, SHORTEST, 1).all(1).nonzero()[:, 0]  # where runs of enough frames begin
    if not len(lasting):
        lasting, run = loud.nonzero()[:, 0], 1
    else:
        run = SHORTEST
    margin = round(margin_seconds * sample_rate)
    first, last = int(lasting[0]), int(lasting[-1]) + run - 1
    # The first loud frame overlaps a quiet one by half: what made it loud is in its other half. The same at the end.
    start = (first + 1) * hop - margin if first > 0 else 0
    stop = (last + 1) * hop + margin if last < len(level) - 1 else samples
    return max(0, start), min(samples, stop)
