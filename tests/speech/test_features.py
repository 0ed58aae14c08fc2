"""Log-mel bands and cepstra, held against NumPy, SciPy and torchaudio's own transforms."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import torch
import torchaudio
from torch.nn.functional import pad
from torchaudio.compliance import kaldi

from lib.errors import UserError
from lib.speech.features import KALDI_SCALE, FeatureConfig, FeatureExtractor, features_of
from lib.training.seeding import generator

KEYWORDS = FeatureConfig(window_seconds=0.030, hop_seconds=0.020, low_hz=20, high_hz=4000)


def voices(batch: int, samples: int, seed: int = 0) -> torch.Tensor:
    """Tones in noise, each row its own."""
    source = generator(seed)
    hertz = 100 + 3000 * torch.rand(batch, 1, generator=source)
    tone = torch.sin(2 * np.pi * hertz * torch.arange(samples) / 16000)
    return 0.3 * tone + 0.05 * torch.randn(batch, samples, generator=source)


def own_log_mel(waveform: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """The definition, frame by frame and band by band, in float64."""
    size, window = config.transform_size, config.window
    weights = np.zeros(size)
    before = (size - window) // 2
    weights[before : before + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    samples = np.concatenate([np.zeros(size), waveform.astype(np.float64), np.zeros(2 * size)])
    hertz = np.arange(size // 2 + 1) * config.sample_rate / size
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (config.low_hz, config.top_hz))
    edges = 700 * (10 ** (np.linspace(low, high, config.bands + 2) / 2595) - 1)
    found = np.empty((config.frames(len(waveform)), config.bands))
    for frame in range(len(found)):
        first, _ = config.frame_span(frame)
        power = np.abs(np.fft.rfft(weights * samples[size + first : size + first + size])) ** 2
        for band in range(config.bands):
            left, peak, right = edges[band : band + 3]
            triangle = np.minimum((hertz - left) / (peak - left), (right - hertz) / (right - peak)).clip(0)
            found[frame, band] = np.log(max(triangle @ power, config.floor))
    return found


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("fft_size", [None, 480, 1024])
def test_log_mel_is_what_its_definition_says(centred, fft_size):
    config = replace(KEYWORDS, centred=centred, fft_size=fft_size)
    waveforms = voices(3, 5003)
    waveforms[2, 1000:] = 0
    found = FeatureExtractor(config)(waveforms)
    assert found.shape == (3, config.frames(5003), 40)
    assert found.dtype == torch.float32
    for row, waveform in zip(found, waveforms, strict=True):
        np.testing.assert_allclose(row.numpy(), own_log_mel(waveform.numpy(), config), atol=2e-3)
    assert found[2, -1].tolist() == pytest.approx([np.log(1e-6)] * 40)


def test_log_mel_and_torchaudio_agree():
    theirs = torchaudio.transforms.MelSpectrogram(
        16000, n_fft=512, win_length=480, hop_length=320, f_min=20, f_max=4000, n_mels=40, pad_mode="constant"
    )
    waveforms = voices(2, 16000)
    wanted = theirs(waveforms).clamp_min(1e-6).log().transpose(1, 2)
    torch.testing.assert_close(FeatureExtractor(KEYWORDS)(waveforms), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("coefficients", [13, 40])
def test_mfcc_is_the_orthonormal_cosine_transform_of_log_mel(coefficients):
    waveforms = voices(2, 16000)
    log_mel = FeatureExtractor(KEYWORDS)(waveforms).double().numpy()
    wanted = scipy.fft.dct(log_mel, type=2, norm="ortho", axis=-1)[..., :coefficients]
    found = FeatureExtractor(replace(KEYWORDS, kind="mfcc", coefficients=coefficients))(waveforms)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-3)


def test_what_lies_outside_of_the_bands_is_not_heard():
    time = torch.arange(16000) / 16000
    quiet = 0.1 * torch.randn(1, 16000, generator=generator(0))
    loud = quiet + 0.5 * torch.sin(2 * np.pi * 6000 * time)
    narrow, wide = (FeatureExtractor(replace(KEYWORDS, high_hz=top)) for top in (4000, None))
    inner = slice(2, -2)  # the tone's beginning and end are clicks
    assert (narrow(loud) - narrow(quiet))[:, inner].abs().max() < 1
    assert (wide(loud) - wide(quiet))[:, inner].abs().max() > 5


def theirs(waveform: torch.Tensor, config: FeatureConfig) -> torch.Tensor:
    settings = {
        "sample_frequency": config.sample_rate,
        "frame_length": 1000 * config.window_seconds,
        "frame_shift": 1000 * config.hop_seconds,
        "num_mel_bins": config.bands,
        "low_freq": config.low_hz,
        "high_freq": config.top_hz,
        "snip_edges": not config.centred,
    }
    waveform = waveform[None] * KALDI_SCALE
    if config.kind == "kaldi_fbank":
        return kaldi.fbank(waveform, **settings)
    return kaldi.mfcc(waveform, num_ceps=config.coefficients, use_energy=config.energy, **settings)


KALDI = [
    FeatureConfig(kind="kaldi_fbank", bands=80),
    FeatureConfig(kind="kaldi_fbank", bands=23, hop_seconds=0.0125, sample_rate=8000, high_hz=3700, low_hz=40),
    FeatureConfig(kind="kaldi_mfcc", bands=23, coefficients=23, sample_rate=8000, high_hz=3700, energy=True),
    FeatureConfig(kind="kaldi_fbank", sample_rate=11025),  # 275.625 samples: Kaldi cuts off, and hops of 110.25
    FeatureConfig(kind="kaldi_mfcc", bands=30, coefficients=20, window_seconds=0.0205, hop_seconds=0.007),
]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("config", KALDI)
@pytest.mark.parametrize("samples", [400, 1999, 8001])
def test_a_batch_of_kaldi_features_is_each_waveform_s_own(config, centred, samples):
    config = replace(config, centred=centred)
    waveforms = voices(3, samples)
    found = FeatureExtractor(config)(waveforms)
    assert found.shape == (3, config.frames(samples), config.width)
    for row, waveform in zip(found, waveforms, strict=True):
        torch.testing.assert_close(row, theirs(waveform, config), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", ["kaldi_fbank", "kaldi_mfcc"])
def test_kaldi_s_short_waveforms(kind):
    config = FeatureConfig(kind=kind)
    mirrored = FeatureExtractor(config)(voices(2, 90))  # shorter than what is mirrored: over and over
    assert mirrored.shape == (2, 1, 40)
    assert mirrored.isfinite().all()
    assert FeatureExtractor(replace(config, centred=False))(voices(2, 399)).shape == (2, 0, 40)


def test_how_many_frames():
    assert [KEYWORDS.frames(samples) for samples in (1, 319, 320, 16000)] == [1, 1, 2, 51]
    assert replace(KEYWORDS, hop_seconds=0.010).frames(16000) == 101
    assert replace(KEYWORDS, hop_seconds=0.010, centred=False, fft_size=480).frames(16000) == 98
    assert replace(KEYWORDS, centred=False).frames(511) == 0
    for centred in (True, False):
        for kind in ("log_mel", "kaldi_fbank"):
            extractor = FeatureExtractor(FeatureConfig(kind=kind, centred=centred))
            for samples in (100, 400, 512, 1039, 1040, 1041):
                assert extractor(torch.zeros(1, samples)).shape[1] == extractor.frames(samples)
            assert extractor(torch.zeros(0, 1000)).shape == (0, extractor.frames(1000), 40)


@pytest.mark.parametrize("kind", ["log_mel", "mfcc", "kaldi_fbank"])
@pytest.mark.parametrize("centred", [True, False])
def test_a_frame_depends_on_its_span_and_nothing_else(kind, centred):
    config = FeatureConfig(kind=kind, centred=centred, window_seconds=0.030)
    extractor = FeatureExtractor(config)
    waveform = voices(1, 6000)
    whole = extractor(waveform)
    for frame in (5, 11):
        first, stop = config.frame_span(frame)
        other = voices(1, 6000, seed=1)
        other[:, first:stop] = waveform[:, first:stop]
        changed = (extractor(other) - whole).abs().amax(-1)[0] > 1e-3
        assert not changed[frame]
        assert changed.sum() >= len(changed) - 3
        # ... and on nearly all of it: the Hann window begins with a zero, and may be shorter than the transform.
        inside = (config.reach - config.window) // 2 + 2
        for place in (first + inside, stop - 1 - inside):
            other = waveform.clone()
            other[:, place] += 100
            assert (extractor(other)[0, frame] - whole[0, frame]).abs().max() > 1e-3


def test_a_stream_makes_the_same_frames():
    config = KEYWORDS
    waveform = voices(1, 16000)
    whole = FeatureExtractor(config)(waveform)
    piecewise = FeatureExtractor(replace(config, centred=False))
    padded = pad(waveform, (512, 512))
    frames = []
    for start in range(0, 51, 7):
        first, stop = config.frame_span(start)[0], config.frame_span(min(start + 6, 50))[1]
        frames.append(piecewise(padded[:, 512 + first : 512 + stop]))
    torch.testing.assert_close(torch.cat(frames, 1), whole)


@pytest.mark.parametrize("kind", ["log_mel", "mfcc", "kaldi_fbank", "kaldi_mfcc"])
@pytest.mark.parametrize("centred", [True, False])
def test_waveforms_of_any_lengths_are_each_as_alone(kind, centred):
    extractor = FeatureExtractor(FeatureConfig(kind=kind, centred=centred))
    waveforms = [voices(1, samples, seed=samples)[0] for samples in (4000, 700, 700, 300, 12000, 4001)]
    found = features_of(extractor, waveforms, batch_samples=9000)
    assert [len(one) for one in found] == [extractor.frames(len(one)) for one in waveforms]
    for features, waveform in zip(found, waveforms, strict=True):
        torch.testing.assert_close(features, extractor(waveform[None])[0], atol=1e-3, rtol=1e-4)
    assert features_of(extractor, []) == []


def test_an_extractor_leaves_nothing_in_a_checkpoint():
    for kind in ("mfcc", "kaldi_mfcc"):
        assert not FeatureExtractor(FeatureConfig(kind=kind)).state_dict()


def test_a_config_survives_json():
    for config in (KEYWORDS, *KALDI, FeatureConfig(fft_size=1024)):
        assert FeatureConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert FeatureConfig.from_dict({"bands": 80, "low_hz": 0}) == FeatureConfig(bands=80, low_hz=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "gammatone"}, "choose log_mel, mfcc, kaldi_fbank, kaldi_mfcc"),
        ({"sample_rate": 0}, "sample_rate .* above zero"),
        ({"bands": -1}, "bands .* above zero"),
        ({"bands": 3, "kind": "kaldi_fbank"}, "4 bands or more"),
        ({"bands": 3.5}, "bands"),
        ({"hop_seconds": float("nan")}, "hop_seconds"),
        ({"hop_seconds": 1e-6}, "too short"),
        ({"high_hz": 9000}, "between 0 and 8000 Hz"),
        ({"low_hz": 5000, "high_hz": 4000}, "from 5000 to 4000"),
        ({"fft_size": 256}, "does not hold a window of 400"),
        ({"kind": "kaldi_fbank", "fft_size": 1024}, "512"),
        ({"kind": "mfcc", "coefficients": 41}, "at most 40 coefficients"),
        ({"energy": True}, "Only kaldi_mfcc"),
        ({"hop": 0.01}, "'hop' is no setting"),
        ({"bands": "forty"}, "'bands' .* cannot be 'forty'"),
        ({"bands": None}, "'bands' .* cannot be None"),
    ],
)
def test_a_wrong_setting_is_one_sentence(values, message):
    with pytest.raises(UserError, match=message):
        FeatureConfig.from_dict(values)


@pytest.mark.parametrize("kind", ["log_mel", "kaldi_fbank"])
def test_bands_that_hear_nothing_are_refused(kind):
    with pytest.raises(UserError, match="narrower than a step of the transform"):
        FeatureExtractor(FeatureConfig(kind=kind, bands=200))


def test_one_waveform_is_not_a_batch():
    with pytest.raises(ValueError, match="batch, samples"):
        FeatureExtractor(KEYWORDS)(torch.zeros(100))
