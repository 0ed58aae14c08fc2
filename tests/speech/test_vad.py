"""Kaldi's energy rule against a loop, and the span of words whose place is known."""

import math

import numpy as np
import pytest
import torch

from lib.errors import UserError
from lib.speech.augment.mixing import mix
from lib.speech.augment.noise import coloured_noise
from lib.speech.features import FeatureConfig, FeatureExtractor
from lib.speech.vad import drop_silence, energy_vad, frame_log_energy, speech_span
from lib.training.seeding import generator


@pytest.mark.parametrize("centred", [True, False])
def test_log_energy_is_kaldi_s(centred):
    config = FeatureConfig(kind="kaldi_mfcc", energy=True, centred=centred)
    waveforms = 0.1 * torch.randn(2, 4003, generator=generator(0)) + 0.02
    waveforms[1, 1000:2500] = 0
    found = frame_log_energy(waveforms, config)
    torch.testing.assert_close(found, FeatureExtractor(config)(waveforms)[..., 0], atol=1e-3, rtol=1e-4)
    assert (found[1] == 0).any()


@pytest.mark.parametrize("centred", [True, False])
def test_log_energy_is_of_the_window_in_the_middle_of_a_frame(centred):
    config = FeatureConfig(centred=centred, window_seconds=0.030)
    waveform = 0.1 * torch.randn(1, 4000, generator=generator(0))
    found = frame_log_energy(waveform, config)
    assert found.shape == (1, config.frames(4000))
    first, stop = config.frame_span(7)
    piece = 32768 * waveform[0, first + 16 : stop - 16].double()
    assert found[0, 7].item() == pytest.approx((piece - piece.mean()).square().sum().log().item(), rel=1e-5)
    assert frame_log_energy(waveform[:, :100], FeatureConfig(centred=False)).shape == (1, 0)


def by_hand(row: list[float], threshold: float, mean_scale: float, context: int, proportion: float) -> list[bool]:
    cut = threshold + mean_scale * sum(row) / len(row)
    found = []
    for frame in range(len(row)):
        around = row[max(0, frame - context) : frame + context + 1]
        found.append(sum(value > cut for value in around) >= proportion * len(around))
    return found


@pytest.mark.parametrize(("context", "proportion"), [(0, 0.6), (2, 0.12), (2, 0.4), (3, 1.0), (40, 0.5)])
def test_the_energy_rule_is_the_loop_s(context, proportion):
    energy = 10 + 4 * torch.randn(3, 57, generator=generator(1), dtype=torch.float64)
    lengths = torch.tensor([57, 30, 1])
    settings = {"threshold": 5.0, "mean_scale": 0.5, "context": context, "proportion": proportion}
    found = energy_vad(energy, lengths=lengths, **settings)
    assert found.dtype == torch.bool
    for row, values, length in zip(found.tolist(), energy.tolist(), lengths.tolist(), strict=True):
        assert row[:length] == by_hand(values[:length], **settings)
        assert not any(row[length:])
    torch.testing.assert_close(energy_vad(energy[:1], **settings), found[:1])
    assert energy_vad(energy[:, :0]).shape == (3, 0)


@pytest.mark.parametrize(("context", "proportion"), [(-1, 0.5), (2, 0.0), (2, 1.1)])
def test_a_rule_that_makes_no_sense_is_one_sentence(context, proportion):
    with pytest.raises(UserError, match="energy VAD wants"):
        energy_vad(torch.zeros(1, 5), context=context, proportion=proportion)


def test_only_frames_with_speech_stay():
    features = torch.arange(8.0).reshape(4, 2)
    assert drop_silence(features, torch.tensor([True, False, False, True])).tolist() == [[0, 1], [6, 7]]
    assert drop_silence(features, torch.zeros(4, dtype=torch.bool)).shape == (0, 2)
    with pytest.raises(ValueError, match="not of one utterance"):
        drop_silence(features, torch.tensor([True]))


def word(first: int, stop: int, samples: int = 16000) -> torch.Tensor:
    """A buzz of 120 Hz that swells and fades, with a silent gap of 60 ms as before a plosive."""
    time = torch.arange(samples)
    buzz = sum(torch.sin(2 * math.pi * 120 * k * time / 16000 + k * k) / k for k in range(1, 20))
    inside = torch.minimum(time - first, stop - time).clamp(0, 400) / 400
    middle = (first + stop) // 2
    inside[middle - 480 : middle + 480] = 0
    return 0.2 * buzz * inside


@pytest.mark.parametrize(("first", "stop"), [(3000, 9000), (0, 5000), (11000, 16000), (6001, 10007)])
@pytest.mark.parametrize("snr", [None, 40, 20, 10])
@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_the_span_of_a_word_is_found(first, stop, snr, exponent):
    waveform = word(first, stop)
    if snr is not None:
        waveform = mix(waveform[None], coloured_noise(1, 16000, generator(2), exponent), snr)[0]
    for level in (0.01, 1.0, 4.0):  # of the recording
        found = speech_span(level * waveform)
        assert found[0] == pytest.approx(first, abs=700)
        assert found[1] == pytest.approx(stop, abs=700)
        assert 0 <= found[0] < found[1] <= 16000


def test_the_span_is_in_seconds_of_the_rate():
    first, stop = speech_span(word(3000, 9000), 8000)
    assert first == pytest.approx(3000, abs=500)
    assert stop == pytest.approx(9000, abs=500)
    wide = speech_span(word(3000, 9000), margin_seconds=0.1)
    narrow = speech_span(word(3000, 9000), margin_seconds=0.0)
    assert (narrow[0] - wide[0], wide[1] - narrow[1]) == (1600, 1600)


def test_clicks_and_offsets_are_no_speech():
    waveform = word(6000, 10000)
    waveform[[500, 1201, 15003]] = 0.9
    found = speech_span(waveform + 0.1)
    assert found[0] == pytest.approx(6000, abs=500)
    assert found[1] == pytest.approx(10000, abs=500)


def test_a_faint_hum_in_a_clean_recording_is_no_speech():
    waveform = word(6000, 10000)
    waveform[1000:5000] += 1e-4 * torch.sin(torch.arange(4000) / 20)
    assert speech_span(waveform)[0] == pytest.approx(6000, abs=500)


def test_where_nothing_stands_out():
    assert speech_span(torch.zeros(16000)) == (0, 0)
    assert speech_span(torch.full((16000,), 0.3)) == (0, 0)
    assert speech_span(torch.zeros(0)) == (0, 0)
    assert speech_span(coloured_noise(1, 16000, generator(0))[0]) == (0, 16000)
    assert speech_span(0.1 * torch.sin(torch.arange(16000.0))) == (0, 16000)
    assert speech_span(torch.randn(100, generator=generator(0))) == (0, 100)
    click = torch.zeros(16000)
    click[8000] = 1
    first, stop = speech_span(click)
    assert first < 8000 < stop < first + 1200
    with pytest.raises(ValueError, match="samples"):
        speech_span(torch.zeros(2, 100))


def test_numpy_and_torch_agree_on_energy():
    rng = np.random.default_rng(0)
    waveform = rng.normal(size=400).astype(np.float32)
    found = frame_log_energy(torch.from_numpy(waveform)[None], FeatureConfig(kind="kaldi_fbank", centred=False))
    wanted = np.log(((32768 * (waveform.astype(np.float64) - waveform.mean())) ** 2).sum())
    assert found.item() == pytest.approx(wanted, rel=1e-5)
