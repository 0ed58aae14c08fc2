"""Listening all the time: the same posteriors as window by window, and one detection for each word."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.functional import resample

from lib.cenet.config import AugmentConfig, KeywordConfig, RecipeConfig, scaled, with_network
from lib.cenet.spotter import KeywordModel, Spotter
from lib.cenet.streaming import Detector, Moment, PosteriorSmoother, Resampler, RingBuffer, StreamingSpotter
from lib.errors import UserError
from lib.speech.features import FeatureConfig

NAMES = ("yes", "no", "stop", "unknown", "silence")


def spotter_of(features: FeatureConfig, seconds: float = 1.0, network: str = "cenet-gcn-6") -> Spotter:
    """An untrained spotter whose posteriors differ from window to window."""
    config = dataclasses.replace(
        with_network(KeywordConfig("test", scaled().network, features, RecipeConfig(), AugmentConfig()), network),
        seconds=seconds,
    )
    model = KeywordModel(config, len(NAMES), seed=1).eval().requires_grad_(False)
    if "gcn" in network:
        for graph in model.network.graphs.values():
            graph.gamma.fill_(0.5)
    features = model.extract(sound(5.0).unfold(0, round(16000 * seconds), 2000))
    model.normalise.fit(features)
    # running means and variances as after training, or some networks give nothing but zeros
    model.train()
    for norm in (one for one in model.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)):
        norm.momentum = 1.0
    model(features)
    model.eval()
    # the logits' mean at 0 and their deviation at 1: posteriors that move
    pooled = []
    model.network.classifier.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
    model(features)
    mean, weight = pooled[0].mean(0), model.network.classifier.weight
    weight -= torch.outer(weight @ mean, mean) / mean.square().sum()
    weight /= (pooled[0] @ weight.T).std()
    return Spotter(config, model, NAMES)


def sound(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise that grows and fades, with a second of digital silence in it: no two windows are alike."""
    source = torch.Generator().manual_seed(seed)
    samples = round(seconds * 16000)
    noise = torch.randn(samples, generator=source)
    found = 0.2 * noise * torch.sin(torch.arange(samples) / 3000) ** 2
    found[16000:32000] = 0
    return found


def pieces(waveform: torch.Tensor, smallest: int, largest: int, seed: int = 0) -> list[torch.Tensor]:
    chance, found = np.random.default_rng(seed), []
    while len(waveform):
        size = int(chance.integers(smallest, largest + 1))
        found.append(waveform[:size])
        waveform = waveform[size:]
    return found


def windows_alone(spotter: Spotter, waveform: torch.Tensor, hop: int) -> torch.Tensor:
    """Every window by itself, features and all."""
    return spotter.posteriors(waveform.unfold(0, spotter.samples, hop))


def spread(posteriors: torch.Tensor) -> float:
    """How far a posterior moves from window to window: with little of it there is nothing to get wrong."""
    return float((posteriors.max(0).values - posteriors.min(0).values).max())


class TestStreamingSpotter:
    @pytest.mark.parametrize("kind", ["log_mel", "mfcc"])
    @pytest.mark.parametrize("hop", [0.01, 0.02])
    def test_says_what_the_same_windows_say_alone(self, kind, hop):
        spotter = spotter_of(FeatureConfig(kind, window_seconds=0.03, hop_seconds=hop, high_hz=4000.0))
        waveform = sound(4.0)
        stream = StreamingSpotter(spotter, 0.1)
        moments = [moment for piece in pieces(waveform, 1, 5000) for moment in stream.push(piece)]
        expected = windows_alone(spotter, waveform, 1600)
        assert [round(moment.time_seconds, 6) for moment in moments] == [round(1 + 0.1 * i, 6) for i in range(31)]
        found = torch.stack([moment.posteriors for moment in moments])
        assert spread(expected) > 0.2
        assert (found - expected).abs().max() < 1e-5

    @given(
        kind=st.sampled_from(["log_mel", "mfcc", "kaldi_fbank", "kaldi_mfcc"]),
        centred=st.booleans(),
        hops=st.integers(1, 70),
        seconds=st.sampled_from([0.7, 1.0, 1.23]),
        largest=st.sampled_from([1, 7, 100, 5000, 100_000]),
        seed=st.integers(0, 100),
    )
    @settings(deadline=None, max_examples=8)
    def test_whatever_the_features_hops_and_pieces(self, kind, centred, hops, seconds, largest, seed):
        spotter = spotter_of(FeatureConfig(kind, hop_seconds=0.01, centred=centred), seconds, "tc-resnet8")
        waveform = sound(3.1 if largest > 10 else 1.4, seed)
        stream = StreamingSpotter(spotter, hops * 0.01)
        moments = [moment for piece in pieces(waveform, 1, largest, seed) for moment in stream.push(piece)]
        expected = windows_alone(spotter, waveform, 160 * hops)
        found = torch.stack([moment.posteriors for moment in moments])
        assert found.shape == expected.shape
        assert spread(expected) > 0.2 or len(expected) < 10
        assert (found - expected).abs().max() < 1e-5

    @pytest.mark.parametrize(
        ("kind", "hop", "first", "later"),
        # of 51 and 101 frames; later: those that are new within 0.1 s, and those that reach out of the window
        [("log_mel", 0.02, 51, 5 + 2), ("mfcc", 0.01, 101, 10 + 4)],
    )
    def test_computes_few_frames(self, kind, hop, first, later):
        spotter = spotter_of(FeatureConfig(kind, window_seconds=0.03, hop_seconds=hop), network="tc-resnet8")
        stream = StreamingSpotter(spotter, 0.1)
        for piece in pieces(sound(3.0), 1, 5000):
            stream.push(piece)
        assert stream.frames_computed == first + 20 * later

    def test_another_rate_is_resampled_as_the_whole_would_be(self):
        spotter = spotter_of(FeatureConfig(hop_seconds=0.02))
        waveform = resample(sound(3.0), 16000, 44100)
        stream = StreamingSpotter(spotter, 0.1, input_rate=44100)
        moments = [moment for piece in pieces(waveform, 1, 5000) for moment in stream.push(piece)]
        moments += stream.finish()
        expected = windows_alone(spotter, resample(waveform, 44100, 16000), 1600)
        assert (torch.stack([moment.posteriors for moment in moments]) - expected).abs().max() < 1e-5

    def test_bad_input(self):
        spotter = spotter_of(FeatureConfig(hop_seconds=0.02))
        for hop in (0.0, 0.03, 1.2, -0.1):
            with pytest.raises(UserError, match="hop of"):
                StreamingSpotter(spotter, hop)
        with pytest.raises(UserError, match="10 Hz is out of range"):
            StreamingSpotter(spotter, input_rate=10)
        stream = StreamingSpotter(spotter)
        for bad in (torch.full((5,), torch.nan), torch.zeros(2, 5)):
            with pytest.raises(UserError, match="one channel, all of them finite"):
                stream.push(bad)
        assert stream.push(torch.zeros(0)) == []
        assert stream.push(np.zeros(15999)) == []
        assert len(stream.push(np.zeros(1, np.float32))) == 1


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 44099, 16000, 96000])
@pytest.mark.parametrize("largest", [3, 700, 50_000])
def test_resampling_in_pieces_is_resampling_the_whole(rate, largest):
    waveform = torch.randn(rate // 5 if largest == 3 else rate, generator=torch.Generator().manual_seed(rate))
    resampler = Resampler(rate, 16000)
    expected = resample(waveform, resampler.before, resampler.after) if rate != 16000 else waveform
    found = [resampler.push(piece) for piece in pieces(waveform, 1, largest)]
    assert len(expected) - sum(map(len, found)) < 16000 * 0.08  # little is held back
    whole = torch.cat([*found, resampler.finish()])
    assert whole.shape == expected.shape
    assert (whole - expected).abs().max() < 1e-5
    assert len(resampler.finish()) == 0


def test_a_ring_buffer_keeps_the_last_rows():
    ring = RingBuffer(5, (2,))
    rows = torch.arange(40.0).reshape(20, 2)
    for first, stop in ((0, 3), (3, 4), (4, 4), (4, 9), (9, 20)):
        ring.write(rows[first:stop])
        oldest = max(0, stop - 5)
        assert torch.equal(ring.read(oldest, stop), rows[oldest:stop])
    for first, stop in ((14, 16), (18, 21), (19, 18)):
        with pytest.raises(ValueError, match="not among"):
            ring.read(first, stop)


def moments_of(spoken: dict[float, str], seconds: float, *, length: float = 0.6, level: float = 0.95) -> list[Moment]:
    """Posteriors as a good spotter would give them: a word for ``length`` seconds from each time on, else silence."""
    found = []
    for step in range(round(seconds * 10)):
        now = step / 10
        heard = [word for start, word in spoken.items() if start - 1e-9 <= now < start + length - 1e-9]
        posteriors = torch.full((len(NAMES),), (1 - level) / (len(NAMES) - 1))
        posteriors[NAMES.index(heard[-1] if heard else "silence")] = level
        found.append(Moment(now, posteriors))
    return found


class TestDetector:
    def test_one_detection_for_each_word(self):
        moments = moments_of({1.0: "yes", 3.0: "no", 5.0: "stop"}, 7)
        detector = Detector(NAMES, threshold=0.6, hold_seconds=0.7, smoothing=3)
        found = [one for moment in moments for one in detector.push([moment])]
        assert [one.word for one in found] == ["yes", "no", "stop"]
        # two of three moments make a mean above 0.6
        assert [one.time_seconds for one in found] == pytest.approx([1.1, 3.1, 5.1])
        assert all(0.6 <= one.score <= 0.95 for one in found)

    def test_the_same_word_twice_is_two_detections_a_long_one_is_one(self):
        def count(moments: list[Moment], hold: float) -> int:
            return len(Detector(NAMES, hold_seconds=hold, smoothing=1).push(moments))

        assert count(moments_of({1.0: "yes", 2.0: "yes"}, 4), 0.7) == 2
        assert count(moments_of({1.0: "yes", 2.0: "yes"}, 4), 1.2) == 1  # still held back when it rises again
        assert count(moments_of({1.0: "yes"}, 6, length=4), 0.7) == 1

    def test_nothing_is_detected_while_one_is_held(self):
        moments = moments_of({1.0: "yes", 1.3: "no"}, 3, length=0.3)
        assert [one.word for one in Detector(NAMES, hold_seconds=0.7, smoothing=1).push(moments)] == ["yes"]
        late = moments_of({1.0: "yes", 1.5: "no"}, 3)  # rises while held, stays
        assert [one.word for one in Detector(NAMES, hold_seconds=0.7, smoothing=1).push(late)] == ["yes"]
        found = Detector(NAMES, hold_seconds=0.2, smoothing=1).push(moments)
        assert [one.word for one in found] == ["yes", "no"]

    def test_unknown_and_silence_never(self):
        moments = moments_of({1.0: "unknown", 3.0: "silence"}, 5, level=1.0)
        assert Detector(NAMES, threshold=0.01, smoothing=1).push(moments_of({}, 3, level=1.0)) == []
        assert Detector(NAMES, smoothing=1).push(moments) == []

    def test_one_odd_moment_is_smoothed_away(self):
        moments = moments_of({1.0: "yes"}, 3, length=0.1)
        assert len(Detector(NAMES, smoothing=1).push(moments)) == 1
        assert Detector(NAMES, smoothing=3).push(moments) == []

    def test_smoothing_is_a_running_mean(self):
        rows = torch.rand(10, 4, generator=torch.Generator().manual_seed(0))
        smoother = PosteriorSmoother(3)
        found = torch.stack([smoother.push(row) for row in rows])
        expected = torch.stack([rows[max(0, i - 2) : i + 1].mean(0) for i in range(10)])
        assert torch.allclose(found, expected)

    def test_bad_input(self):
        for arguments in ({"threshold": 0.0}, {"threshold": 1.1}, {"hold_seconds": -1.0}, {"smoothing": 0}):
            with pytest.raises(UserError):
                Detector(NAMES, **arguments)
