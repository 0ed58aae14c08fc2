"""Untrained spotters with lively graphs, and clips of tones, for the tests of chapter 7's figures."""

from dataclasses import replace

import torch

from lib.cenet.clips import Clips
from lib.cenet.config import GraphConfig, KeywordConfig, scaled
from lib.cenet.spotter import KeywordModel, Spotter

NAMES = ("yes", "no", "up", "unknown", "silence")


def spotter_of(config: KeywordConfig | None = None, sharpness: float = 4.0, gamma: float = 0.5) -> Spotter:
    """An untrained spotter whose graphs look at some places much more than at others."""
    model = KeywordModel(config or scaled(), len(NAMES)).eval().requires_grad_(False)
    for stage, graph in model.network.graphs.items():
        graph.theta.weight.mul_(sharpness)
        graph.phi.weight.mul_(sharpness)
        graph.gamma.fill_(gamma * (-1) ** int(stage))
    return Spotter(config or scaled(), model, NAMES)


def with_adjacency(name: str) -> KeywordConfig:
    config = scaled()
    return replace(config, network=replace(config.network, graph=GraphConfig(adjacency=name)))


def clips_of_tones(count: int, seed: int = 0) -> Clips:
    """A second of a tone in noise each, a third of it loud; the last class is digital silence."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(NAMES)
    time = torch.arange(16000) / 16000
    pitch = 200 + 400 * torch.rand(count, 1, generator=source) * (1 + labels[:, None])
    loud = ((time > 0.3) & (time < 0.65)).float()
    waveforms = 0.3 * loud * torch.sin(2 * torch.pi * pitch * time) + 0.002 * torch.randn(
        count, 16000, generator=source
    )
    waveforms[labels == len(NAMES) - 1] = 0
    words = ("yes", "no", "up", "bed", "")
    return Clips("tones", waveforms, labels, NAMES, tuple(words[label] for label in labels.tolist()))


def scores_of(clips: Clips, seed: int = 0, sharpness: float = 2.5) -> torch.Tensor:
    """Posteriors (n, classes) that are often right, some of them tied."""
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(clips), len(NAMES), generator=source)
    logits[torch.arange(len(clips)), clips.labels] += sharpness
    return ((1000 * logits.softmax(1)).round() / 1000).float()
