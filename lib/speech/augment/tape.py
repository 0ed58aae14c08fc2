"""A tape that runs a little fast or slow, each waveform of a batch at its own speed, whole batches at once."""

import torch
from torch import Tensor


def played(waveforms: Tensor, speeds: Tensor) -> Tensor:
    """Waveforms (batch, samples) played at speeds (batch,) around their middle: 1.1 is faster and higher in pitch.

    The length stays: faster ones have zeros at both ends, slower ones lose what leaves. Between samples it is
    interpolated linearly, which dulls what lies near half the sample rate; `lib.speech.augment.speed` resamples well,
    one speed for a whole batch.
    """
    samples = waveforms.shape[1]
    middle = (samples - 1) / 2
    places = middle + (torch.arange(samples, device=waveforms.device) - middle) * speeds.to(waveforms.device)[:, None]
    low = places.floor()
    share = (places - low).to(waveforms.dtype)
    low = low.long()
    inside = (places >= 0) & (places <= samples - 1)
    left = waveforms.gather(1, low.clamp(0, samples - 1))
    right = waveforms.gather(1, (low + 1).clamp(0, samples - 1))
    return torch.where(inside, left + share * (right - left), torch.zeros_like(left))
