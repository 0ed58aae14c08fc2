"""Means and spreads taken out, held against NumPy, a loop, and torchaudio's sliding window."""

import numpy as np
import pytest
import torch
import torchaudio

from lib.errors import UserError
from lib.speech.normalise import BandStatistics, normalise_sliding, normalise_utterances
from lib.training.seeding import generator

FEATURES = 3 * torch.randn(4, 50, 6, generator=generator(0)) + torch.arange(6.0) * 100
LENGTHS = torch.tensor([50, 31, 1, 7])


def utterances() -> list[np.ndarray]:
    return [row[:length].double().numpy() for row, length in zip(FEATURES, LENGTHS.tolist(), strict=True)]


def test_statistics_are_numpy_s():
    every = np.concatenate(utterances())
    for found in (
        BandStatistics.of(FEATURES, LENGTHS),
        BandStatistics.of(torch.from_numpy(one).float() for one in utterances()),
    ):
        np.testing.assert_allclose(found.mean.numpy(), every.mean(0), rtol=1e-6)
        np.testing.assert_allclose(found.std.numpy(), every.std(0), rtol=1e-5)
    whole = BandStatistics.of(FEATURES)
    normal = whole(FEATURES)
    torch.testing.assert_close(normal.mean((0, 1)), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std((0, 1), correction=0), torch.ones(6), atol=1e-4, rtol=0)


def test_statistics_far_from_zero_keep_their_digits():
    found = BandStatistics.of([FEATURES.double() + 1e7])
    np.testing.assert_allclose(found.std.numpy(), FEATURES.double().std((0, 1), correction=0), rtol=1e-5)


def test_statistics_travel_in_a_checkpoint():
    found = BandStatistics.of(FEATURES)
    other = BandStatistics(6)
    torch.testing.assert_close(other(FEATURES), FEATURES)
    other.load_state_dict(found.state_dict())
    assert set(found.state_dict()) == {"mean", "std"}
    torch.testing.assert_close(other(FEATURES), found(FEATURES))


def test_a_constant_band_is_not_blown_up():
    features = FEATURES.clone()
    features[..., 2] = -13.8
    found = BandStatistics.of(features)
    assert found.std[2] == 1
    assert found(features)[..., 2].abs().max() < 1e-4


@pytest.mark.parametrize("broken", [torch.zeros(2, 0, 6), torch.full((2, 3, 6), torch.nan), []])
def test_statistics_of_nothing_or_nan_are_one_sentence(broken):
    with pytest.raises(UserError, match=r"no frames|NaN or infinity"):
        BandStatistics.of(broken)


@pytest.mark.parametrize("variance", [False, True])
def test_each_utterance_has_its_own_mean(variance):
    found = normalise_utterances(FEATURES, LENGTHS, variance=variance)
    for row, utterance in zip(found, utterances(), strict=True):
        wanted = utterance - utterance.mean(0)
        if variance and len(utterance) > 1:
            wanted = wanted / utterance.std(0)
        np.testing.assert_allclose(row[: len(utterance)].numpy(), wanted, atol=1e-3)
        assert not row[len(utterance) :].any()
    torch.testing.assert_close(normalise_utterances(FEATURES), FEATURES - FEATURES.mean(1, keepdim=True))


def sliding_by_hand(utterance: np.ndarray, window: int, variance: bool) -> np.ndarray:
    found = np.empty_like(utterance)
    for frame in range(len(utterance)):
        start, stop = frame - window // 2, frame - window // 2 + window
        if start < 0:
            start, stop = 0, window
        if stop > len(utterance):
            start, stop = max(0, len(utterance) - window), len(utterance)
        around = utterance[start:stop]
        found[frame] = utterance[frame] - around.mean(0)
        if variance:
            found[frame] = found[frame] / around.std(0) if len(around) > 1 else 0
    return found


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("window", [1, 2, 7, 10, 31, 50, 300])
def test_the_sliding_window_is_the_loop_s(window, variance):
    found = normalise_sliding(FEATURES, LENGTHS, window=window, variance=variance)
    assert found.dtype == torch.float32
    for row, utterance in zip(found, utterances(), strict=True):
        np.testing.assert_allclose(
            row[: len(utterance)].numpy(), sliding_by_hand(utterance, window, variance), atol=2e-3
        )
        assert not row[len(utterance) :].any()


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("window", [8, 9, 49])
def test_the_sliding_window_is_torchaudio_s(window, variance):
    theirs = torchaudio.functional.sliding_window_cmn(
        FEATURES.double(), cmn_window=window, center=True, norm_vars=variance
    )
    found = normalise_sliding(FEATURES.double(), window=window, variance=variance)
    torch.testing.assert_close(found, theirs, atol=1e-6, rtol=1e-6)


def test_a_window_of_nothing_is_one_sentence():
    with pytest.raises(UserError, match="1 frame or more"):
        normalise_sliding(FEATURES, window=0)
    assert normalise_sliding(FEATURES[:, :0]).shape == (4, 0, 6)
