"""Chapter 7: networks beside TC-ResNet8, features beside torchaudio's own, a stream beside whole windows."""

import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.transforms import MFCC, MelSpectrogram

from benchmarks.timing import Ratio, compare
from lib.cenet.config import PAPER_FEATURES, KeywordConfig, paper, scaled, with_network
from lib.cenet.export import export_onnx, load_onnx
from lib.cenet.latency import as_folded, as_onnx, as_trained
from lib.cenet.spotter import KeywordModel, Spotter
from lib.cenet.streaming import StreamingSpotter
from lib.speech.features import FeatureConfig, FeatureExtractor

NETWORKS = ("cenet-6", "cenet-24", "cenet-gcn-6", "cenet-gcn-40", "res8-narrow", "bc-resnet-1", "bc-resnet-3", "res15")
PEER = "tc-resnet8"
CLASSES = 12


def _sound(seconds: float = 1.0) -> Tensor:
    return 0.1 * torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(0))


def _quiet(work: Callable[[], object]) -> Callable[[], object]:
    return torch.inference_mode()(work)


def _model(config: KeywordConfig, network: str) -> KeywordModel:
    return KeywordModel(with_network(config, network), CLASSES).eval()


def networks(seconds: float) -> Iterator[Ratio]:
    """One second of sound, batch 1: each network as one would ship it, beside TC-ResNet8 in the same engine."""
    for config in (scaled(), paper("cenet-6")):
        model = _model(config, PEER)
        features = model.extract(_sound()[None])
        size = f"{features.shape[1]} frames, batch 1, folded"
        peer = as_folded(model).network
        for name in NETWORKS:
            ours = as_folded(_model(config, name)).network
            yield compare(
                name, size, PEER,
                _quiet(lambda: ours(features)), _quiet(lambda: peer(features)),  # noqa: B023
                seconds=seconds,
            )  # fmt: skip


def engines(seconds: float) -> Iterator[Ratio]:
    """One network with its normalisations folded in, and under ONNX Runtime, beside the module that was trained."""
    for name in ("cenet-gcn-6", PEER):
        model = _model(scaled(), name)
        features = model.extract(_sound()[None])
        plain, quick = as_trained(model).network, as_folded(model).network
        pair = _quiet(lambda: quick(features)), _quiet(lambda: plain(features))  # noqa: B023
        yield compare(name, "51 frames, batch 1, folded", "as trained", *pair, seconds=seconds, target=1.0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export_onnx(Spotter(with_network(scaled(), name), model, tuple(map(str, range(CLASSES)))), path)
            runtime = as_onnx(load_onnx(path)).network
        pair = _quiet(lambda: runtime(features)), _quiet(lambda: quick(features))  # noqa: B023
        yield compare(name, "51 frames, batch 1, ONNX Runtime", "folded, torch", *pair, seconds=seconds)


def features(seconds: float) -> Iterator[Ratio]:
    """Features of one second beside torchaudio's transforms with the same settings."""
    config = PAPER_FEATURES
    mel = {
        "n_fft": config.transform_size, "win_length": config.window, "hop_length": config.hop, "n_mels": config.bands,
        "f_min": config.low_hz, "f_max": config.top_hz,
    }  # fmt: skip
    spectrogram = MelSpectrogram(config.sample_rate, **mel)
    peers = {
        "mfcc": ("torchaudio MFCC", MFCC(config.sample_rate, config.coefficients, log_mels=True, melkwargs=mel)),
        "log_mel": ("MelSpectrogram, log", lambda sound: (spectrogram(sound) + 1e-6).log()),
    }
    sound = _sound()[None]
    for kind, (peer, theirs) in peers.items():
        ours = FeatureExtractor(FeatureConfig(kind, window_seconds=0.03, high_hz=config.high_hz))
        pair = _quiet(lambda: ours(sound)), _quiet(lambda: theirs(sound))  # noqa: B023
        yield compare(kind, "1 s, 101 frames, batch 1", peer, *pair, seconds=seconds, target=1.0)


def streams(seconds: float) -> Iterator[Ratio]:
    """A moment of a stream, 0.1 s after the last, beside the same window computed whole."""
    for config, network in ((scaled(), "cenet-gcn-6"), (paper("cenet-6"), PEER)):
        config = with_network(config, network)
        spotter = Spotter(config, KeywordModel(config, CLASSES).eval(), tuple(map(str, range(CLASSES))))
        stream, window = StreamingSpotter(spotter), _sound()[None]
        stream.push(window[0])
        pieces = cycle(_sound(5).split(1600))
        yield compare(
            "moment of a stream", f"{network}, {config.features.frames(16_000)} frames", "whole window",
            lambda: stream.push(next(pieces)), lambda: spotter.posteriors(window),  # noqa: B023
            seconds=seconds,
            target=1.0,
        )  # fmt: skip


def benchmarks(seconds: float) -> Iterator[Ratio]:
    """All of chapter 7."""
    yield from networks(seconds)
    yield from engines(seconds)
    yield from features(seconds)
    yield from streams(seconds)
