"""Features on disk: the same as computed, once; damage and change are noticed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lib.errors import UserError
from lib.speech import feature_cache
from lib.speech.data import SpeechSet, Utterance
from lib.speech.feature_cache import cached_features
from lib.speech.features import FeatureConfig, FeatureExtractor
from lib.speech.normalise import BandStatistics
from lib.training.seeding import generator

CONFIG = FeatureConfig(hop_seconds=0.020, high_hz=4000)
SAMPLES = (4000, 900, 16000, 320, 7777)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(feature_cache, "BLOCK", 2)
    return tmp_path / "cache" / "features"


@pytest.fixture
def speech(tmp_path) -> SpeechSet:
    utterances = []
    for number, samples in enumerate(SAMPLES):
        path = tmp_path / f"{number}.wav"
        waveform = 0.1 * torch.randn(samples, generator=generator(number))
        soundfile.write(path, waveform.numpy(), 16000, subtype="FLOAT")
        utterances.append(Utterance(path))
    return SpeechSet("five", "train", tuple(utterances))


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """How many waveforms went through an extractor."""
    seen: list[int] = []
    own = feature_cache.features_of

    def counted(extractor, waveforms):
        seen.append(len(waveforms))
        return own(extractor, waveforms)

    monkeypatch.setattr(feature_cache, "features_of", counted)
    return seen


@pytest.mark.parametrize(("precision", "off"), [("float32", 1e-4), ("float16", 0.01)])
@pytest.mark.parametrize("kind", ["log_mel", "kaldi_mfcc"])
def test_what_is_kept_is_what_is_computed(speech, computed, precision, off, kind):
    config = replace(CONFIG, kind=kind)
    extractor = FeatureExtractor(config)
    for _ in range(2):
        store = cached_features(speech, config, precision)
        assert len(store) == 5
        assert store.config == config
        assert store.lengths.tolist() == [config.frames(samples) for samples in SAMPLES]
        for index, features in enumerate(store):
            wanted = extractor(speech.waveform(index)[None])[0]
            assert features.dtype == torch.float32
            torch.testing.assert_close(features, wanted, atol=off, rtol=1e-3)
            assert torch.equal(features, store[index])
    assert sum(computed) == 5  # the second time nothing is


def test_a_batch_is_padded_with_zeros(speech):
    store = cached_features(speech, CONFIG)
    features, lengths = store.batch(torch.tensor([3, 0, 3]))
    assert features.shape == (3, 13, 40)
    assert lengths.tolist() == [2, 13, 2]
    assert torch.equal(features[1], store[0])
    assert torch.equal(features[0, :2], store[3])
    assert not features[[0, 2], 2:].any()
    assert store.batch([])[0].shape == (0, 0, 40)
    for index in (-1, 5):
        with pytest.raises(IndexError, match="5 utterances"):
            store[index]


def test_statistics_can_be_taken_of_a_store(speech):
    found = BandStatistics.of(cached_features(speech, CONFIG, "float32"))
    every = torch.cat([FeatureExtractor(CONFIG)(one[None])[0] for one in speech.waveforms()])
    torch.testing.assert_close(found.mean, every.mean(0), atol=1e-3, rtol=1e-4)


def test_the_folder_says_what_it_is(speech, cache):
    store = cached_features(speech, CONFIG)
    assert [one.name for one in cache.iterdir()] == [store.folder.name]
    about = json.loads((store.folder / "about.json").read_text())
    assert about["of"] == "five"
    assert about["utterances"] == 5
    assert FeatureConfig.from_dict(about["features"]) == CONFIG
    frames = np.load(store.folder / "frames.npy", allow_pickle=False)
    assert frames.dtype == np.float16
    assert frames.shape == (int(store.lengths.sum()), 40)
    assert isinstance(store._frames, np.memmap)


def test_another_question_has_another_answer(speech, computed):
    def asked(source=speech, config=CONFIG, precision="float16") -> int:
        computed.clear()
        cached_features(source, config, precision)
        return sum(computed)

    assert asked() == 5
    assert asked(config=replace(CONFIG, bands=30)) == 5
    assert asked(precision="float32") == 5
    assert asked(speech.subset([1, 0])) == 2
    assert asked(speech.subset([0, 1])) == 2
    part = replace(speech.utterances[0], start=0.1)
    assert asked(replace(speech, utterances=(part, speech.utterances[1]))) == 2
    named = replace(speech, utterances=tuple(replace(one, label="a", speaker="b") for one in speech.utterances))
    assert asked(named) == 0  # who speaks changes no feature
    path = speech.utterances[2].path
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert asked() == 5
    assert asked() == 0


def test_waveforms_are_known_by_their_samples(computed):
    waveforms = [torch.randn(samples, generator=generator(0)) for samples in SAMPLES]
    store = cached_features(waveforms, CONFIG, "float32")
    torch.testing.assert_close(store[2], FeatureExtractor(CONFIG)(waveforms[2][None])[0], atol=1e-4, rtol=1e-4)
    cached_features([one.clone() for one in waveforms], CONFIG, "float32")
    assert sum(computed) == 5
    waveforms[4][17] += 1e-3
    cached_features(waveforms, CONFIG, "float32")
    assert sum(computed) == 10


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["frames.npy", "offsets.npy", "about.json"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"")])
def test_damage_is_noticed_and_mended(speech, cache, computed, name, damage):
    whole = [one.clone() for one in cached_features(speech, CONFIG)]
    folder = next(cache.iterdir())
    damage(folder / name)
    if name == "about.json" and damage is cut:
        (folder / name).write_text("[]")  # its last character says nothing
    again = cached_features(speech, CONFIG)
    assert sum(computed) == 10
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))
    assert [one.name for one in cache.iterdir()] == [folder.name]


def test_a_large_array_is_known_by_its_size(speech, cache, computed, monkeypatch):
    monkeypatch.setattr(feature_cache, "CHECKED_BYTES", 1000)
    cached_features(speech, CONFIG)
    flip(next(cache.iterdir()) / "frames.npy")
    cached_features(speech, CONFIG)
    assert sum(computed) == 5
    cut(next(cache.iterdir()) / "frames.npy")
    cached_features(speech, CONFIG)
    assert sum(computed) == 10


def test_two_at_once_end_with_one(speech, cache, monkeypatch):
    own = os.rename

    def slow(beside, folder):
        monkeypatch.setattr(os, "rename", own)
        cached_features(speech, CONFIG)  # somebody else comes first
        own(beside, folder)

    monkeypatch.setattr(os, "rename", slow)
    assert len(cached_features(speech, CONFIG)) == 5
    assert len(list(cache.iterdir())) == 1


def test_a_fault_leaves_nothing_behind(speech, cache, monkeypatch):
    speech.utterances[3].path.write_bytes(b"no audio")
    with pytest.raises(UserError, match=r"3\.wav"):
        cached_features(speech, CONFIG)
    assert list(cache.iterdir()) == []
    speech.utterances[3].path.unlink()
    with pytest.raises(UserError, match=r"3\.wav cannot be read"):
        cached_features(speech, CONFIG)


def test_broken_samples_are_named():
    waveforms = [torch.zeros(1000), torch.zeros(1000)]
    waveforms[1][500] = torch.nan
    with pytest.raises(UserError, match="Waveform 1 gives features that are NaN"):
        cached_features(waveforms, CONFIG)
    loud = [torch.full((1000,), 1e20)]
    with pytest.raises(UserError, match=r"NaN or infinite|too large"):
        cached_features(loud, replace(CONFIG, kind="mfcc"))


def test_waveforms_too_short_for_a_frame_have_none():
    config = replace(CONFIG, centred=False)
    store = cached_features([torch.zeros(10), torch.zeros(16000)], config)
    assert store.lengths.tolist() == [0, config.frames(16000)]
    assert store[0].shape == (0, 40)
    alone = cached_features([torch.zeros(10)], config)
    assert alone.lengths.tolist() == [0]


def test_what_makes_no_sense_is_one_sentence(speech, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="choose float16 or float32"):
        cached_features(speech, CONFIG, "int8")
    with pytest.raises(UserError, match="empty"):
        cached_features(speech.subset([]), CONFIG)
    with pytest.raises(UserError, match="16000 samples a second, the features want 8000"):
        cached_features(speech, replace(CONFIG, sample_rate=8000))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BOOK_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="BOOK_CACHE"):
        cached_features(speech, CONFIG)
