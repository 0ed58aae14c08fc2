"""The demo of chapter 7: say a word, or let the spotter listen all the time."""

import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.cenet.clips import placed
from lib.cenet.spotter import Spotter
from lib.cenet.streaming import Detection, Detector, Moment, StreamingSpotter
from lib.demos.serve import load_gradio
from lib.errors import UserError
from lib.figures import book_style, marks, new_figure, png_bytes
from lib.speech.audio import audio_faults, probe, read_audio
from lib.speech.data import SILENCE, UNKNOWN

if TYPE_CHECKING:
    import gradio

SHORTEST = 0.1
"""Seconds; what is shorter can hardly be a word."""
LONGEST_RECORDING = 60.0
"""Seconds that the second tab listens to."""
LIVE_SECONDS = 10.0
"""How much of the past the live picture shows."""
PICTURE_SECONDS = 0.5
"""From one live picture to the next. A microphone's piece lasts 0.1 s, less than a picture takes to draw."""
_REPEATS = 5
_DRAWN = 6  # words in a picture, at most
_LISTED = 20


@dataclass(frozen=True)
class Hearing:
    """What a spotter made of one clip.

    Attributes:
        waveform: (samples,) that were heard, at the spotter's rate. posteriors: (classes,).
        milliseconds: for features and network together, measured here and now.
        remarks: sentences on the recording, if something is odd about it.
    """

    spotter: Spotter
    waveform: Tensor
    posteriors: Tensor
    milliseconds: float
    remarks: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, float]:
        """Class -> probability."""
        return dict(zip(self.spotter.class_names, self.posteriors.tolist(), strict=True))


@dataclass(frozen=True)
class Overheard:
    """What a spotter heard in a stretch of sound.

    Attributes:
        waveform: (samples,) at ``rate`` Hz, beginning at ``start`` seconds.
        times: (moments,), the middle of each window in seconds. posteriors: (moments, classes).
        detections: with their times in the middle of the window, too.
    """

    spotter: Spotter
    waveform: Tensor
    rate: int
    times: Tensor
    posteriors: Tensor
    detections: tuple[Detection, ...]
    start: float = 0.0
    remarks: tuple[str, ...] = ()


def read(path: Path | str | None, rate: int, end: float | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """A recording as (samples,) at this rate, and remarks on what is odd about it.

    Raises:
        UserError: no recording, or one that cannot be used; the sentence names it without its folder.
    """
    if path is None:
        raise UserError("There is no sound yet: record a word, or choose a file.")
    try:
        waveform = read_audio(path, rate, end=end)
    except UserError as error:
        raise UserError(str(error).replace(str(path), Path(path).name)) from None
    faults = audio_faults(waveform)
    remarks = []
    if "silent" in faults:
        remarks.append("This recording is silent: is the microphone on?")
    if "clipped" in faults:
        remarks.append("This recording is clipped: speak more softly, or farther away.")
    if len(waveform) < SHORTEST * rate:
        remarks.append(f"This recording lasts only {len(waveform) / rate:.2f} s, too short for a word.")
    return waveform, tuple(remarks)


def read_piece(path: Path | str) -> tuple[Tensor, int]:
    """What the microphone sent: (samples,) and their rate in Hz. Raises UserError when it cannot be read."""
    return read_audio(path, None), probe(path).sample_rate


def hear(spotter: Spotter, path: Path | str | None) -> Hearing:
    """Classify one recording: its loudest stretch if it is longer than the spotter hears, else with silence around.

    Raises:
        UserError: no recording, or one that cannot be used.
    """
    rate = spotter.config.features.sample_rate
    waveform, remarks = read(path, rate)
    seconds = len(waveform) / rate
    if len(waveform) > 1.05 * spotter.samples:
        remarks += (f"This recording lasts {seconds:.1f} s; we heard its loudest {spotter.config.seconds:g} s.",)
    clip = placed(waveform, spotter.samples)[None]
    posteriors = spotter.posteriors(clip)[0]  # the first call in a process also pays for set-up
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        spotter.posteriors(clip)
        times.append(time.perf_counter() - start)
    return Hearing(spotter, clip[0], posteriors, 1000 * median(times), remarks)


def listen(spotter: Spotter, path: Path | str | None, threshold: float = 0.7) -> Overheard:
    """Listen to a recording as to a stream, with silence before and behind it, so that the words at its ends count.

    Raises:
        UserError: no recording, one that cannot be used, or a threshold that is no probability.
    """
    rate = spotter.config.features.sample_rate
    detector = Detector(spotter.class_names, threshold)
    end = None
    if path is not None and Path(path).is_file():
        with contextlib.suppress(UserError):  # reading it says so, too
            end = LONGEST_RECORDING if probe(path).seconds > LONGEST_RECORDING else None
    waveform, remarks = read(path, rate, end)
    if end is not None:
        remarks += (f"This recording is long; we heard its first {LONGEST_RECORDING:g} s.",)
    stream = StreamingSpotter(spotter)
    half = spotter.samples // 2
    # some moments more at the end, as detections are settled by a mean
    moments = stream.push(pad(waveform, (half, half + 4 * stream.hop)))
    detections = detector.push(moments)
    times, posteriors, settled = _shifted(moments, detections, -2 * half / rate)
    return Overheard(spotter, waveform, rate, times, posteriors, settled, remarks=remarks)


def _shifted(
    moments: Sequence[Moment], detections: Sequence[Detection], shift: float
) -> tuple[Tensor, Tensor, tuple[Detection, ...]]:
    """Times (moments,), posteriors (moments, classes) and detections, with so many seconds added."""
    times = torch.tensor([moment.time_seconds + shift for moment in moments])
    posteriors = torch.stack([moment.posteriors for moment in moments]) if moments else torch.zeros(0, 0)
    return times, posteriors, tuple(replace(one, time_seconds=one.time_seconds + shift) for one in detections)


@dataclass
class Live:
    """A microphone that is on.

    Attributes:
        network, rate, threshold: what it was started with; with others one starts anew.
    """

    spotter: Spotter
    network: str
    rate: int
    threshold: float
    detections: list[Detection] = field(default_factory=list)

    def __post_init__(self):
        self.stream = StreamingSpotter(self.spotter, input_rate=self.rate)
        self.detector = Detector(self.spotter.class_names, self.threshold)
        self.moments: deque[Moment] = deque(maxlen=round(LIVE_SECONDS / 0.1))
        self.sound: deque[Tensor] = deque()
        self.seconds = 0.0
        self.drawn_at = -math.inf

    def push(self, samples: Tensor) -> list[Detection]:
        """Hear (n,) further samples; what was detected in them."""
        moments = self.stream.push(samples)
        found = self.detector.push(moments)
        self.moments += moments
        self.detections += found
        self.sound.append(samples)
        self.seconds += len(samples) / self.rate
        while sum(map(len, self.sound)) - len(self.sound[0]) > LIVE_SECONDS * self.rate:
            self.sound.popleft()
        return found

    def is_due(self) -> bool:
        """Whether it is time for a picture."""
        return time.monotonic() - self.drawn_at >= PICTURE_SECONDS

    def drawn(self) -> None:
        """A picture is ready."""
        self.drawn_at = time.monotonic()

    @property
    def overheard(self) -> Overheard:
        """The last seconds."""
        sound = torch.cat(tuple(self.sound)) if self.sound else torch.zeros(0)
        start = self.seconds - len(sound) / self.rate
        shift = -self.spotter.config.seconds / 2
        times, posteriors, detections = _shifted(self.moments, self.detections, shift)
        return Overheard(self.spotter, sound, self.rate, times, posteriors, detections, start)


def clip_picture(hearing: Hearing) -> np.ndarray:
    """The sound and the features that the network sees, uint8 (height, width, 3)."""
    spotter = hearing.spotter
    with torch.inference_mode():
        features = spotter.model.extract(hearing.waveform[None])[0]
    seconds = spotter.config.seconds
    with book_style():
        figure = new_figure(5.2, 3.4, "Waveform and features of the clip.")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
        _draw_sound(top, hearing.waveform, 0.0, seconds)
        bottom.imshow(
            features.T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, features.shape[1])
        )
        bottom.grid(False)
        bottom.set_ylabel("coefficient" if spotter.config.features.cepstral else "mel band")
        bottom.set_xlabel("seconds")
        return _pixels(png_bytes(figure))


def timeline_picture(heard: Overheard) -> np.ndarray:
    """The sound, and below it the posteriors of the words that came up, uint8 (height, width, 3)."""
    names = heard.spotter.class_names
    stop = heard.start + max(len(heard.waveform) / heard.rate, 0.1)
    words = [number for number, name in enumerate(names) if name not in (SILENCE, UNKNOWN)]
    peaks = heard.posteriors.amax(0) if len(heard.times) else torch.zeros(len(names))
    detected = {one.word for one in heard.detections}
    # those that were detected first, then by how far they rose
    shown = sorted(words, key=lambda number: (names[number] not in detected, -peaks[number]))[:_DRAWN]
    shown = [number for number in shown if peaks[number] >= 0.2 or names[number] in detected]
    times, posteriors = heard.times.numpy(), heard.posteriors.numpy()
    looks = marks([names[number] for number in words][:10])
    with book_style():
        figure = new_figure(6.4, 3.6, "Sound over time, with the posteriors of the words that came up.")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
        _draw_sound(top, heard.waveform, heard.start, stop)
        for number in shown:
            look = looks.get(names[number])
            style = {"color": look.light, "marker": look.marker, "markevery": 5} if look else {}
            bottom.plot(times, posteriors[:, number], label=names[number], **style)
        for name, dash in ((UNKNOWN, (0, (1, 2))), (SILENCE, (0, (4, 3)))):
            if name in names and len(heard.times):
                bottom.plot(
                    times, posteriors[:, names.index(name)],
                    label=name, color="#8a929c", linewidth=1, linestyle=dash,
                )  # fmt: skip
        for one in heard.detections:
            if not heard.start <= one.time_seconds <= stop:
                continue
            bottom.axvline(one.time_seconds, color="#23292f", linewidth=1)
            bottom.annotate(one.word, (one.time_seconds, 1.04), ha="center", va="bottom", fontsize=9, weight="bold")
        bottom.set_ylim(0, 1.25)
        bottom.set_yticks((0, 0.5, 1))
        bottom.set_ylabel("posterior")
        bottom.set_xlabel("seconds (middle of the window)")
        bottom.set_xlim(heard.start, stop)
        if len(heard.times):
            figure.legend(loc="outside lower center", ncols=4)
        return _pixels(png_bytes(figure))


def _draw_sound(axis, waveform: Tensor, start: float, stop: float) -> None:
    """Lowest and highest sample of each of 500 stretches: what the eye sees of a waveform."""
    count = min(500, len(waveform))
    if count:
        parts = np.array_split(waveform.numpy(), count)
        places = np.linspace(start, stop, count)
        low, high = [part.min() for part in parts], [part.max() for part in parts]
        axis.fill_between(places, low, high, color="#4a525b", linewidth=0.4)
    axis.set_yticks(())
    axis.set_ylabel("sound")


def _pixels(png: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def describe(name: str, hearing: Hearing) -> str:
    """The facts under the bars."""
    best = max(hearing.scores, key=hearing.scores.__getitem__)
    score, speed = f"{hearing.scores[best]:.0%}", f"{hearing.milliseconds:.1f} ms"
    fact = f"**{name}** hears **{best}** ({score}), **{speed}** a clip on this machine."
    return "\n\n".join([fact, *(f"⚠ {remark}" for remark in hearing.remarks)])


def detection_list(heard: Overheard) -> str:
    """The detections as Markdown."""
    lines = [f"⚠ {remark}" for remark in heard.remarks]
    if heard.detections:
        last = heard.detections[-_LISTED:]
        rows = [f"| {one.word} | {one.time_seconds:.1f} s | {one.score:.0%} |" for one in last]
        lines.append("\n".join(["| word | at | posterior |", "| --- | ---: | ---: |", *rows]))
    else:
        lines.append("No word was detected.")
    return "\n\n".join(lines)


def build(spotters: Mapping[str, Spotter]) -> "gradio.Blocks":
    """The demo for these spotters, not yet served.

    Args:
        spotters: name -> spotter, in the order of the menu.

    Raises:
        UserError: no spotter.
    """
    if not spotters:
        raise UserError("The demo needs at least one trained spotter.")
    gr = load_gradio()

    def chosen(network: str) -> Spotter:
        if network not in spotters:
            raise UserError(f"Network {network!r} is not on offer: choose one of {', '.join(spotters)}.")
        return spotters[network]

    def told(work):
        """The same function; what it cannot use becomes a message on the page."""

        @functools.wraps(work)
        def run(*inputs):
            try:
                return work(*inputs)
            except UserError as error:
                raise gr.Error(str(error), print_exception=False) from error

        return run

    @told
    def classify(network: str, path: str | None):
        hearing = hear(chosen(network), path)
        return hearing.scores, describe(network, hearing), clip_picture(hearing)

    @told
    def follow(network: str, path: str | None, threshold: float):
        heard = listen(chosen(network), path, threshold)
        return timeline_picture(heard), detection_list(heard)

    @told
    def stream(network: str, path: str | None, threshold: float, live: Live | None):
        spotter = chosen(network)
        if path is None:
            return gr.skip(), gr.skip(), live
        samples, rate = read_piece(path)
        if live is None or (live.network, live.rate, live.threshold) != (network, rate, threshold):
            live = Live(spotter, network, rate, threshold)
        live.push(samples)
        if not live.is_due():
            return gr.skip(), gr.skip(), live
        picture, found = timeline_picture(live.overheard), detection_list(live.overheard)
        live.drawn()
        return picture, found, live

    words = [name for name in next(iter(spotters.values())).class_names if name not in (SILENCE, UNKNOWN)]
    with gr.Blocks(title="Keyword spotting", analytics_enabled=False) as demo:
        gr.Markdown(f"## Which word was that?\nThe networks know: {', '.join(words)}. Nothing leaves this machine.")
        network = gr.Dropdown(list(spotters), value=next(iter(spotters)), label="Network")
        with gr.Tab("One word"), gr.Row():
            with gr.Column(scale=1, min_width=280):
                clip = gr.Audio(sources=["upload", "microphone"], type="filepath", label="A word", buttons=[])
                button = gr.Button("Classify", variant="primary")
            with gr.Column(scale=2, min_width=280):
                label = gr.Label(num_top_classes=3, label="Heard", show_label=False)
                facts = gr.Markdown()
                picture = gr.Image(
                    label="What the network sees", alt_text="Waveform and features of the clip.", show_label=False,
                    format="png", buttons=[], interactive=False,
                )  # fmt: skip
        with gr.Tab("A stream"), gr.Row():
            with gr.Column(scale=1, min_width=280):
                threshold = gr.Slider(0.05, 1, 0.7, step=0.05, label="Threshold", info="of a smoothed posterior")
                recording = gr.Audio(sources=["upload", "microphone"], type="filepath", label="A recording", buttons=[])
                listening = gr.Button("Listen", variant="primary")
                microphone = gr.Audio(
                    sources=["microphone"], type="filepath", streaming=True, label="Live", buttons=[]
                )  # fmt: skip
            with gr.Column(scale=2, min_width=280):
                timeline = gr.Image(
                    label="Posteriors over time", alt_text="Posteriors over time; the list below names the detections.",
                    show_label=False, format="png", buttons=[], interactive=False,
                )  # fmt: skip
                detections = gr.Markdown()
        live = gr.State(None)
        button.click(classify, [network, clip], [label, facts, picture], api_name="cenet_classify")
        listening.click(follow, [network, recording, threshold], [timeline, detections], api_name="cenet_listen")
        microphone.start_recording(lambda: None, None, live, api_name="cenet_start")
        piece = microphone.stream(
            stream, [network, microphone, threshold, live], [timeline, detections, live],
            api_name="cenet_stream", show_progress="hidden", trigger_mode="multiple", concurrency_limit=1,
        )  # fmt: skip
        # Gradio's own way drops the pieces that come while one is worked on; as plain events they wait in line.
        demo.fns[piece["id"]].connection = "sse"
    return demo
