"""A spotter that listens all the time: sound comes in pieces of any size, posteriors go out at a steady pace.

Windows overlap, and so do their features. A frame in the middle of a window is the same in the next one, so it is
computed once and kept in a ring buffer. Only the frames that reach beyond the window's ends are computed anew: there
they see zeros (or, Kaldi's, a mirror) where the stream goes on. So the posteriors are those of the same window heard
alone.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import resample

from lib.cenet.spotter import Spotter
from lib.errors import UserError
from lib.speech.audio import RATES
from lib.speech.data import SILENCE, UNKNOWN
from lib.speech.features import FeatureConfig, FeatureExtractor, extended

BATCH = 64
"""Windows that go through the network together when much sound is pushed at once."""


class RingBuffer:
    """The last ``length`` rows of an endless sequence, each found by its number in the whole of it.

    It has twice the room, and when that is full its newer half moves to the front: so what is read lies in one piece
    and need not be copied, and a row is moved once at most.

    Attributes:
        written: rows so far; those from ``written - length`` on can still be read.
    """

    def __init__(self, length: int, row: tuple[int, ...] = ()):
        self.length = length
        self.rows = torch.zeros(2 * length, *row)
        self.first = 0  # number of the row at place 0
        self.written = 0

    def write(self, rows: Tensor) -> None:
        """Append rows (n, ...), of which the oldest of all are forgotten."""
        kept = rows[-self.length :]
        skipped = len(rows) - len(kept)
        self.written += skipped
        place = self.written - self.first
        if place + len(kept) > len(self.rows):
            stay = 0 if skipped else self.length - len(kept)
            self.rows[:stay] = self.rows[place - stay : place].clone()
            self.first, place = self.written - stay, stay
        self.rows[place : place + len(kept)] = kept
        self.written += len(kept)

    def read(self, first: int, stop: int) -> Tensor:
        """Rows first ... stop - 1 (n, ...), to be used before the next ones are written.

        Raises ValueError for rows that are not there yet, or no more.
        """
        if not max(0, self.written - self.length) <= first <= stop <= self.written:
            raise ValueError(f"rows {first} ... {stop} are not among the last {self.length} of {self.written}")
        return self.rows[first - self.first : stop - self.first]


class Resampler:
    """Another sample rate for sound that comes in pieces: together they are what the whole would become at once.

    The last samples of a piece wait for those that the filter wants to see behind them: 20 ms at 44.1 kHz, less at
    48 kHz. Rates in use are met exactly; an odd one as 44,099 Hz is rounded by less than a thousandth.
    """

    ZEROS, ROLL_OFF = 6, 0.99  # of torchaudio's filter: its half length in zero crossings, and its edge

    def __init__(self, rate: int, wanted: int):
        if rate not in RATES:
            raise UserError(f"A sample rate of {rate} Hz is out of range: {RATES[0]} to {RATES[-1]} Hz can be heard.")
        low, high = sorted((rate, wanted))
        terms = Fraction(low, high).limit_denominator(1000)
        small, large = max(1, terms.numerator), terms.denominator
        # every period of `before` samples becomes one of `after`
        self.before, self.after = (small, large) if rate < wanted else (large, small)
        reach = math.ceil(self.ZEROS * self.before / (self.ROLL_OFF * min(self.before, self.after)))
        self.context = math.ceil(reach / self.before)  # periods that the filter sees on either side
        self.kept = torch.zeros(0)
        self.behind = 0  # periods at the start of what is kept that have been told already

    def push(self, samples: Tensor) -> Tensor:
        """Hear (n,) further samples; what can be told by now: float32 (m,)."""
        if self.before == self.after:
            return samples
        self.kept = torch.cat([self.kept, samples])
        count = len(self.kept) // self.before - self.context - self.behind
        if count <= 0:
            return torch.zeros(0)
        told = self.behind + count
        found = resample(self.kept, self.before, self.after)[self.behind * self.after : told * self.after]
        self.behind = min(told, self.context)
        self.kept = self.kept[(told - self.behind) * self.before :]
        return found

    def finish(self) -> Tensor:
        """The rest, as if silence followed. After that the sound is over."""
        kept, self.kept = self.kept, torch.zeros(0)
        return resample(kept, self.before, self.after)[self.behind * self.after :] if len(kept) else kept


@dataclass(frozen=True)
class Moment:
    """What the spotter hears at one time.

    Attributes:
        time_seconds: from the start of the stream to the end of the window. posteriors: (classes,).
    """

    time_seconds: float
    posteriors: Tensor


class StreamingSpotter:
    """A spotter over a stream: one moment every hop, the first when a whole window has been heard.

    Args:
        hop_seconds: from one moment to the next; a multiple of the features' hop, at most one window.
        input_rate: of the samples pushed, in Hz; None: the spotter's own.

    Attributes:
        frames_computed: how many frames of features so far, those at the ends of windows included.

    Raises:
        UserError: a hop that is no such multiple, or a rate out of range.
    """

    def __init__(self, spotter: Spotter, hop_seconds: float = 0.1, input_rate: int | None = None):
        config, samples = spotter.config.features, spotter.samples
        self.spotter, self.config = spotter, config
        self.hop = round(hop_seconds * config.sample_rate)
        if self.hop % config.hop or not 0 < self.hop <= samples:
            raise UserError(
                f"A hop of {hop_seconds:g} s does not suit this spotter: take a multiple of its features' "
                f"{config.hop_seconds:g} s, at most its window of {spotter.config.seconds:g} s."
            )
        self.resampler = Resampler(input_rate or config.sample_rate, config.sample_rate)
        # one frame from exactly the samples that it is computed from
        self.extract = FeatureExtractor(replace(config, centred=False)).to(_device(spotter))
        count = config.frames(samples)
        inside = [frame for frame in range(count) if _lies_inside(config, frame, samples)]
        self.inside = range(inside[0], inside[-1] + 1) if inside else range(0)
        self.ends = torch.tensor([frame for frame in range(count) if frame not in self.inside], dtype=torch.long)
        self.sound = RingBuffer(max(samples, self.hop + config.reach + config.hop))
        self.frames = RingBuffer(max(count, self.hop // config.hop), (config.width,))  # the stream's, from inside[0] on
        self.frames_computed = 0

    def push(self, samples: Tensor | np.ndarray) -> list[Moment]:
        """Hear (n,) further samples in -1 ... 1, any number of them. Raises UserError for NaN or several channels."""
        samples = torch.as_tensor(samples, dtype=torch.float32)
        if samples.ndim != 1 or not torch.isfinite(samples).all():
            raise UserError("A stream takes samples of one channel, all of them finite: mix the channels, mend NaN.")
        return self._hear(self.resampler.push(samples))

    def finish(self) -> list[Moment]:
        """The moments in what the resampler still held back; after that the stream is over."""
        return self._hear(self.resampler.finish())

    @torch.inference_mode()
    def _hear(self, samples: Tensor) -> list[Moment]:
        window = self.spotter.samples
        found: list[Moment] = []
        times: list[float] = []
        heard: list[Tensor] = []
        while len(samples):
            step = (window - self.sound.written - 1) % self.hop + 1  # to the end of the next window
            self.sound.write(samples[:step])
            if len(samples) >= step and self.sound.written >= window:
                heard.append(self._window())
                times.append(self.sound.written / self.config.sample_rate)
            samples = samples[step:]
            if heard and (len(heard) == BATCH or not len(samples)):
                found += map(Moment, times, self._posteriors(torch.stack(heard)))
                times, heard = [], []
        return found

    def _posteriors(self, features: Tensor) -> Tensor:
        model = self.spotter.model
        if model.training:  # asked, because eval() goes through all modules: a tenth of a moment's time
            model.eval()
        return model(features.to(_device(self.spotter))).softmax(1).cpu()

    def _window(self) -> Tensor:
        """Features (frames, width) of the window that ends here."""
        config, stop = self.config, self.sound.written
        start = stop - self.spotter.samples
        first = start // config.hop  # of the stream's frames, the first of this window
        sounds = []
        new = range(self.inside.start + self.frames.written, first + self.inside.stop)
        if self.inside and new:
            span = config.frame_span(new[0])[0], config.frame_span(new[-1])[1]
            sounds.append(self.sound.read(*span).unfold(0, config.reach, config.hop))
        if len(self.ends):
            whole = extended(self.sound.read(start, stop)[None], config)[0]
            sounds.append(whole.unfold(0, config.reach, config.hop).index_select(0, self.ends))
        fresh = torch.cat(sounds)  # (frames, reach): each frame's own samples
        fresh = self.extract(fresh.to(_device(self.spotter)))[:, 0].cpu()
        self.frames_computed += len(fresh)
        kept, ends = fresh.split([len(fresh) - len(self.ends), len(self.ends)])
        self.frames.write(kept)
        inside = self.frames.read(first, first + len(self.inside)) if self.inside else kept
        return torch.cat([ends[: self.inside.start], inside, ends[self.inside.start :]])


def _lies_inside(config: FeatureConfig, frame: int, samples: int) -> bool:
    first, stop = config.frame_span(frame)
    return first >= 0 and stop <= samples


def _device(spotter: Spotter) -> torch.device:
    return next(spotter.model.parameters()).device


class PosteriorSmoother:
    """The mean of the posteriors of the last ``moments`` moments, of fewer at the start: one odd moment counts less."""

    def __init__(self, moments: int):
        if moments < 1:
            raise UserError(f"Posteriors are smoothed over 1 moment or more, not {moments}.")
        self.last: deque[Tensor] = deque(maxlen=moments)

    def push(self, posteriors: Tensor) -> Tensor:
        """(classes,) -> (classes,)."""
        self.last.append(posteriors)
        return torch.stack(tuple(self.last)).mean(0)


@dataclass(frozen=True)
class Detection:
    """A word that was heard: the time of the moment that settled it (its window's end), and its smoothed posterior."""

    word: str
    time_seconds: float
    score: float


class Detector:
    """One detection for each word that is spoken.

    A word is detected when its smoothed posterior rises to the threshold. It passes through many windows, whole and in
    part, so what rises in the next ``hold_seconds`` counts for nothing: it must fall below the threshold first.
    `unknown` and `silence` are never detected.

    Args:
        smoothing: moments to take the mean of.

    Raises:
        UserError: a threshold outside of 0 ... 1, a negative hold, or fewer than one moment.
    """

    def __init__(
        self, class_names: Sequence[str], threshold: float = 0.7, hold_seconds: float = 0.5, smoothing: int = 5
    ):
        if not 0 < threshold <= 1:
            raise UserError(f"The threshold is a probability above 0, at most 1, not {threshold:g}.")
        if not hold_seconds >= 0:
            raise UserError(f"Detections are held back for 0 seconds or more, not {hold_seconds:g}.")
        self.words = {
            number: name for number, name in enumerate(class_names) if name not in (SILENCE, UNKNOWN)
        }  # fmt: skip
        self.threshold, self.hold_seconds = threshold, hold_seconds
        self.smoother = PosteriorSmoother(smoothing)
        self.free_at = -math.inf  # seconds
        self.waits: set[int] = set()  # words that must fall below the threshold before they count again

    def push(self, moments: Sequence[Moment]) -> list[Detection]:
        """Further moments, in order; what was detected in them."""
        found = []
        for moment in moments:
            smoothed = self.smoother.push(moment.posteriors)
            scores = {number: float(smoothed[number]) for number in self.words}
            above = {number for number, score in scores.items() if score >= self.threshold}
            self.waits &= above
            if moment.time_seconds < self.free_at - 1e-6:  # a hair less: times are rounded
                self.waits |= above
            elif above - self.waits:
                best = max(above - self.waits, key=scores.__getitem__)
                found.append(Detection(self.words[best], moment.time_seconds, scores[best]))
                self.free_at = moment.time_seconds + self.hold_seconds
                self.waits |= above
        return found
