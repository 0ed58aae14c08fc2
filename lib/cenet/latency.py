"""How long a spotter computes over one second of sound on one core, beside others, measured in turns.

Times on a busy machine are noise; their ratios in the same moment are less so. What is compared takes turns of a few
milliseconds, time is that of this process on the processor, and every ratio is one within a round of turns.
"""

import copy
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median, quantiles

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from lib.cenet.export import OnnxSpotter
from lib.cenet.spotter import KeywordModel
from lib.errors import UserError
from lib.speech.features import FeatureConfig, FeatureExtractor
from lib.training.seeding import generator

TURN = 0.002
"""Seconds of work in a turn, at least."""
FEWEST = 15
"""Rounds, at least."""


@dataclass(frozen=True)
class Contender:
    """What is timed: features of a configuration, and a function (1, frames, width) -> logits."""

    features: FeatureConfig
    network: Callable[[Tensor], object]


@dataclass(frozen=True)
class Latency:
    """One second of sound through one contender, batch 1, one thread.

    Attributes:
        features_ms, network_ms: median times on the processor, each alone. They are this machine's, at this hour.
        network_ratio: the network's time for each second of the reference's network, median over the rounds;
            network_quartiles: its quartiles. total_ratio, total_quartiles: the same with both one's features.
    """

    name: str
    features_ms: float
    network_ms: float
    network_ratio: float
    network_quartiles: tuple[float, float]
    total_ratio: float
    total_quartiles: tuple[float, float]

    @property
    def total_ms(self) -> float:
        """Features and network."""
        return self.features_ms + self.network_ms


def folded(network: nn.Module) -> nn.Module:
    """A copy for use, not for training: every batch normalisation right behind a convolution becomes part of it.

    Mathematically it is the same function; the logits differ by rounding. The normalisations of res8 and res15 stand
    before a convolution that fills up with zeros, those of BC-ResNet's bands differ within a channel: both stay.
    Memory is laid out as is best for one sound at a time, not as in training.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in [one for one in network.modules() if isinstance(one, nn.Sequential)]:
        kept: list[nn.Module] = []
        for layer in module:
            behind = kept and isinstance(kept[-1], nn.Conv1d | nn.Conv2d)
            if behind and isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                kept[-1] = fuse_conv_bn_eval(kept[-1], layer)
            else:
                kept.append(layer)
        del module[:]
        module.extend(kept)
    return network.to(memory_format=torch.contiguous_format)


def as_trained(model: KeywordModel) -> Contender:
    """Normalisation and network as they are."""
    return Contender(model.extract.config, nn.Sequential(model.normalise, model.network).eval())


def as_folded(model: KeywordModel) -> Contender:
    """Normalisation and the network with its batch normalisations folded in: how one would ship it."""
    return Contender(model.extract.config, folded(nn.Sequential(model.normalise, model.network)))


def as_onnx(spotter: OnnxSpotter) -> Contender:
    """The exported file under ONNX Runtime."""
    return Contender(spotter.features, lambda features: spotter(features.numpy()))


def latencies(
    contenders: Mapping[str, Contender], seconds: float = 10.0, *, reference: str | None = None, sound: float = 1.0
) -> list[Latency]:
    """Time all of them in turns, on one thread.

    Args:
        seconds: of measuring in all, on the clock. reference: what ratios refer to; the first if None.
        sound: seconds that are heard at once.

    Raises:
        UserError: nothing to time, or a reference that is not among them.
    """
    if not contenders:
        raise UserError("There is nothing to time: name a network.")
    reference = next(iter(contenders)) if reference is None else reference
    if reference not in contenders:
        raise UserError(f"The reference '{reference}' is not timed: choose one of {', '.join(contenders)}.")
    with _one_thread(), torch.inference_mode():
        spent = _rounds(_works(contenders, sound), seconds)
    network = {name: spent[name] for name in contenders}
    features = {name: spent[one.features] for name, one in contenders.items()}
    total = {name: [a + b for a, b in zip(features[name], network[name], strict=True)] for name in contenders}
    return [
        Latency(
            name,
            1000 * median(features[name]),
            1000 * median(network[name]),
            *_ratio(network[name], network[reference]),
            *_ratio(total[name], total[reference]),
        )
        for name in contenders
    ]


def _works(contenders: Mapping[str, Contender], sound: float) -> dict[object, Callable[[], object]]:
    """What takes turns: every network, and every kind of features once."""
    works: dict[object, Callable[[], object]] = {}
    given: dict[FeatureConfig, Tensor] = {}
    for config in {one.features: None for one in contenders.values()}:
        extract = FeatureExtractor(config)
        waveform = 0.1 * torch.randn(1, round(sound * config.sample_rate), generator=generator(0))
        given[config] = extract(waveform)
        works[config] = lambda extract=extract, waveform=waveform: extract(waveform)
    for name, one in contenders.items():
        works[name] = lambda one=one: one.network(given[one.features])
    return works


def _rounds(works: Mapping[object, Callable[[], object]], seconds: float) -> dict[object, list[float]]:
    """Seconds of one call of each work, in every round. Each round begins with another work."""
    calls = {key: max(1, math.ceil(TURN / min(_seconds(work, 1) for _ in range(4)))) for key, work in works.items()}
    order, spent = list(works), {key: [] for key in works}
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection in one turn would be counted as that one's cost
    try:
        start = time.perf_counter()
        for number in count():
            if number >= FEWEST and time.perf_counter() - start >= seconds:
                break
            first = number % len(order)
            for key in (*order[first:], *order[:first]):
                spent[key].append(_seconds(works[key], calls[key]) / calls[key])
    finally:
        if enabled:
            gc.enable()
    return spent


def _seconds(work: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        work()
    return time.process_time() - start


def _ratio(ours: list[float], theirs: list[float]) -> tuple[float, tuple[float, float]]:
    low, middle, high = quantiles([a / b for a, b in zip(ours, theirs, strict=True)], n=4)
    return middle, (low, high)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
