"""A moving figure of chapter 7: a threshold that walks along the curve of false alarms and false rejects."""

import html
from collections.abc import Sequence

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike
from torch import Tensor
from torchaudio.functional import mu_law_encoding, resample

from lib.cenet.clips import Clips
from lib.errors import UserError
from lib.speech.audio import SAMPLE_RATE
from lib.speech.data import SILENCE, UNKNOWN
from lib.speech.metrics.detection import DetectionCurve
from lib.speech.metrics.trials import Trials
from lib.speech.vad import speech_span
from lib.widgets.base import BookWidget, pack
from lib.widgets.kit import module, still, style

STEPS = 1000
THRESHOLDS = np.arange(STEPS + 1) / STEPS
"""Those of the slider."""
EXAMPLES = 36
PLAYED_RATE, LONGEST, MARGIN = 8000, 0.8, 0.12
"""What is played: samples a second (no feature of the chapter hears above 4 kHz), and in seconds the longest piece and
what is kept before and after the speech."""

_CSS = """
.ptr-trade { display: grid; grid-template-columns: minmax(0, 1fr); gap: 16px; }
@container ptr (min-width: 640px) { .ptr-trade { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }
.ptr-trade > * { min-width: 0; }
.ptr-clips { display: flex; flex-direction: column; gap: 10px; align-content: start; }
.ptr-clips ul { list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column; }
.ptr-threshold { flex: 3 1 260px; }
.ptr-clip {
  display: grid; grid-template-columns: 1.3em minmax(0, 1fr) 72px 3.6em auto; gap: 2px 8px; align-items: center;
  margin: 0; padding: 3px 0; border-bottom: 1px solid var(--ptr-grid);
  font-size: 13px; font-variant-numeric: tabular-nums;
}
.ptr-sign { font-weight: 700; text-align: center; }
.ptr-said { min-width: 0; line-height: 1.25; }
.ptr-said small { display: block; font-size: 11.5px; color: var(--ptr-muted); }
.ptr-clip button { min-height: 30px; padding: 2px 9px; font-size: 12.5px; min-width: 64px; }
.ptr-score { position: relative; height: 9px; border: 1px solid var(--ptr-line); border-radius: 2px; }
.ptr-score i { position: absolute; left: 0; top: 0; bottom: 0; background: var(--ptr-faint); }
.ptr-score b { position: absolute; top: -4px; bottom: -4px; width: 2px; margin-left: -1px; background: var(--ptr-ink); }
.ptr-right .ptr-sign { color: var(--ptr-mark2); }
.ptr-wrong .ptr-sign { color: var(--ptr-accent2); }
"""


def keyword_numbers(clips: Clips, keywords: Sequence[str] | None) -> list[int]:
    """The places of the keywords among the classes; None: all that have clips, but ``unknown`` and ``silence``.

    Raises UserError for an unknown name, and where there is no keyword, or no clip of it, or of nothing else.
    """
    names, counts = clips.class_names, clips.counts
    if keywords is None:
        keywords = [name for name in names if counts[name] and name not in (SILENCE, UNKNOWN)]
    strange = [name for name in keywords if name not in names]
    if strange:
        raise UserError(f"'{strange[0]}' is no class of these clips: choose of {', '.join(names)}.")
    if not keywords or len(set(keywords)) != len(keywords):
        raise UserError("The figure needs at least one keyword with clips, each named once.")
    for name in keywords:
        if not 0 < counts[name] < len(clips):
            raise UserError(f"The curve of '{name}' needs clips of it and clips of others.")
    return [names.index(name) for name in keywords]


def merged(others: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) of other clips, fewer, with how many each stands for: both (k,), ascending.

    Those are put together between which there is no score of the keyword and no threshold of the slider. So every
    rate on the slider stays exact, and the curve too: the points between them lie on one horizontal line.
    """
    others, targets = np.sort(others), np.unique(targets)
    places = np.stack(
        [
            np.searchsorted(THRESHOLDS, others.astype(np.float64), side="right"),
            np.searchsorted(targets, others, side="left"),
            np.searchsorted(targets, others, side="right"),
        ]
    )
    first = np.flatnonzero(np.append(True, (np.diff(places) != 0).any(0)))
    return others[first], np.diff(np.append(first, len(others)))


def informative(
    posteriors: np.ndarray, labels: np.ndarray, words: Sequence[str], keywords: Sequence[int], count: int
) -> list[int]:
    """Places of up to ``count`` clips worth hearing: for each keyword in turn the next of its list.

    The list of a keyword: its own clip with the lowest score, the other one with the highest, its own in the middle,
    at the tenth and with the highest score, then the next other ones, each of another word.
    """
    lists = []
    for keyword in keywords:
        scores, own = posteriors[:, keyword], labels == keyword
        ranked = np.flatnonzero(own)[np.argsort(scores[own], kind="stable")]
        mine = [int(ranked[round(share * (len(ranked) - 1))]) for share in (0.0, 0.5, 0.1, 1.0)]
        others = np.flatnonzero(~own)[np.argsort(-scores[~own], kind="stable")]
        _, firsts = np.unique([words[place] for place in others], return_index=True)
        theirs = [int(place) for place in others[np.sort(firsts)]]
        lists.append(list(dict.fromkeys([mine[0], *theirs[:1], *mine[1:], *theirs[1:]])))
    chosen: list[int] = []
    for turn in range(max(map(len, lists))):
        for wishes in lists:
            if turn < len(wishes) and wishes[turn] not in chosen and len(chosen) < count:
                chosen.append(wishes[turn])
    return chosen


def played_bytes(waveform: Tensor, sample_rate: int) -> bytes:
    """The speech in a waveform (samples,) for the ear: 8 kHz, equally loud everywhere, mu-law, a byte a sample."""
    first, stop = speech_span(waveform, sample_rate, margin_seconds=MARGIN)
    if stop == first:  # digital silence
        first, stop = 0, len(waveform)
    spare = stop - first - round(LONGEST * sample_rate)
    if spare > 0:
        first, stop = first + spare // 2, stop - (spare - spare // 2)
    sound = resample(waveform[first:stop], sample_rate, PLAYED_RATE)
    sound = 0.8 * sound / sound.abs().max().clamp_min(1e-4)
    ramp = torch.linspace(0, 1, min(80, len(sound)))  # no click at either end
    sound[: len(ramp)] *= ramp
    sound[len(sound) - len(ramp) :] *= ramp.flip(0)
    return pack(mu_law_encoding(sound, 256), "uint8")


def threshold_state(
    posteriors: ArrayLike | Tensor,
    clips: Clips,
    keywords: Sequence[str] | None = None,
    *,
    sample_rate: int = SAMPLE_RATE,
    examples: int = EXAMPLES,
) -> dict:
    """The state of `ThresholdCurves`; arguments and errors as in `ThresholdCurves.from_posteriors`."""
    table = torch.as_tensor(posteriors).detach().cpu().numpy().astype(np.float32)
    if table.shape != (len(clips), len(clips.class_names)):
        raise UserError(
            f"The scores have shape {table.shape}, not ({len(clips)}, {len(clips.class_names)}): one row a clip, one "
            "column a class."
        )
    if not (np.isfinite(table).all() and table.min() >= 0 and table.max() <= 1):
        raise UserError("The scores must be probabilities, from 0 to 1: take the posteriors, not the logits.")
    if not torch.isfinite(clips.waveforms).all():
        raise UserError("The clips hold NaN or infinity: they cannot be played.")
    if examples < 1:
        raise UserError(f"The figure plays one clip or more, not {examples}.")
    numbers, labels = keyword_numbers(clips, keywords), clips.labels.numpy()
    entries, targets, others, counts, gaps = [], [], [], [], []
    for number in numbers:
        own, rest = np.sort(table[labels == number, number]), table[labels != number, number]
        scores, weights = merged(rest, own)
        false_alarm, miss = Trials.of_two(own, rest).rates(THRESHOLDS)
        gaps.append(false_alarm - miss)
        entries.append({"name": clips.class_names[number], "targets": len(own), "others": len(scores)})
        targets.append(own)
        others.append(scores)
        counts.append(weights)
    chosen = informative(table, labels, clips.words, numbers, examples)
    sounds = [played_bytes(clips.waveforms[place], sample_rate) for place in chosen]
    return {
        "keywords": entries,
        "targets": pack(np.concatenate(targets)),
        "others": pack(np.concatenate(others)),
        "counts": pack(np.concatenate(counts), "int32"),
        "clips": [
            {"word": clips.words[place], "label": clips.class_names[labels[place]], "bytes": len(sound)}
            for place, sound in zip(chosen, sounds, strict=True)
        ],
        "scores": pack(table[chosen][:, numbers]),
        "sounds": b"".join(sounds),
        "start": float(THRESHOLDS[np.abs(np.mean(gaps, axis=0)).argmin()]),  # as many false alarms as false rejects
    }


class ThresholdCurves(BookWidget):
    """False rejects over false alarms of each keyword, a threshold to move, and clips to hear on either side of it."""

    label = "False rejects against false alarms of a keyword, with a threshold to move and clips to hear."
    _esm = module("cenet_threshold")
    _css = style() + _CSS

    keywords = traitlets.List().tag(sync=True)
    targets = traitlets.Bytes().tag(sync=True)
    others = traitlets.Bytes().tag(sync=True)
    counts = traitlets.Bytes().tag(sync=True)
    clips = traitlets.List().tag(sync=True)
    scores = traitlets.Bytes().tag(sync=True)
    sounds = traitlets.Bytes().tag(sync=True)
    start = traitlets.Float(0.5).tag(sync=True)

    @classmethod
    def from_posteriors(
        cls,
        posteriors: ArrayLike | Tensor,
        clips: Clips,
        keywords: Sequence[str] | None = None,
        *,
        sample_rate: int = SAMPLE_RATE,
        examples: int = EXAMPLES,
    ) -> "ThresholdCurves":
        """Build the figure from what a spotter made of test clips.

        Args:
            posteriors: (n, classes), as ``lib.cenet.evaluate`` gives them, or ``Spotter.posteriors``.
            clips: the n clips, with their classes and words.
            keywords: whose curves are shown; None: all classes with clips, but ``unknown`` and ``silence``.
            sample_rate: of the clips, Hz.
            examples: how many clips travel with the figure, some 8 kB of page each.

        Raises:
            UserError: scores of another shape or no probabilities, a keyword that is no class or has no clips, NaN.
        """
        return cls(**threshold_state(posteriors, clips, keywords, sample_rate=sample_rate, examples=examples))

    def preview(self) -> str:
        """The first keyword's curve on logarithmic axes with the first threshold, as a still."""
        entry = self.keywords[0]
        own = np.frombuffer(self.targets, "<f4", entry["targets"])
        counts = np.frombuffer(self.counts, "<i4", entry["others"])
        trials = Trials.of_two(own, np.repeat(np.frombuffer(self.others, "<f4", entry["others"]), counts))
        curve = DetectionCurve.of(trials)
        left, right, top, bottom = 58, 420, 16, 290
        floors = 0.5 / counts.sum(), 0.5 / len(own)

        def at(rates: tuple[float, float]) -> str:
            x, y = (1 - np.log(max(rate, floor)) / np.log(floor) for rate, floor in zip(rates, floors, strict=True))
            return f"{left + x * (right - left):.1f} {bottom - y * (bottom - top):.1f}"

        line = "M" + "L".join(map(at, zip(curve.false_alarm, curve.miss, strict=True)))
        alarm, miss = (float(rate) for rate in trials.rates(self.start))
        rates = (0.01, 0.1, 1.0)
        ticks = "".join(
            f'<text x="{at((rate, 1)).split()[0]}" y="{bottom + 18}" text-anchor="middle">{100 * rate:g} %</text>'
            for rate in rates
            if rate >= floors[0]
        ) + "".join(
            f'<text x="{left - 8}" y="{at((1, rate)).split()[1]}" dy="4" text-anchor="end">{100 * rate:g} %</text>'
            for rate in rates
            if rate >= floors[1]
        )
        name = html.escape(entry["name"], quote=True)
        sentence = (
            f"False rejects over false alarms of the keyword {name}, logarithmic axes; at the threshold {self.start:g} "
            f"{100 * miss:.1f} % of its clips are missed and {100 * alarm:.2f} in a hundred others raise a false alarm."
        )
        return still(
            f'<svg viewBox="0 0 640 336" role="img" aria-label="{sentence}"><g font-size="12" fill="var(--ptr-muted)">'
            f'{ticks}<text x="{(left + right) / 2}" y="{bottom + 40}" text-anchor="middle">false alarms, of the other '
            f'clips</text><text x="{right + 20}" y="{top + 12}" fill="var(--ptr-ink)" font-weight="600" font-size="14">'
            f'{name}, threshold {self.start:g}</text><text x="{right + 20}" y="{top + 34}">false rejects (upwards): '
            f'{100 * miss:.1f} %</text><text x="{right + 20}" y="{top + 54}">false alarms: {100 * alarm:.2f} %</text>'
            "</g>"
            f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="var(--ptr-line)"/>'
            f'<path d="{line}" fill="none" stroke="var(--ptr-accent)" stroke-width="2.2"/>'
            f'<path d="M{at((alarm, miss))}h0" stroke="var(--ptr-accent2)" stroke-width="12" stroke-linecap="round"/>'
            "</svg>"
        )
