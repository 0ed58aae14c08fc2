"""How to train on the processor: with how many threads, and in how many parts to go through a batch."""

import functools
import math

import torch

from lib.cud.config import CUDConfig
from lib.cud.model import build_model, count_multiplies
from lib.cud.networks import NetworkConfig
from lib.training.devices import fastest_threads
from lib.training.multiplies import count_parameters

SMALL = 10_000_000
"""Multiplies of one network call for one sample up to which threads only wait for each other: measured with the toy
and the scaled network (2 million at most), for which one thread was faster at the presets' batch sizes."""
LARGE = 150_000_000
"""Parameters from which one call takes too long to be tried out, and gives every core enough to do."""
PIECE = 2_500_000_000
"""Multiplies of the batch that is measured: a second at most on one core."""
PART = 32
"""Samples that a network of the paper's size takes at once: measured with MNIST's, larger parts are no faster and take
memory (256 at once: 12 GB)."""


def suited_threads(config: CUDConfig) -> tuple[int, str]:
    """Threads for one tensor operation, and why. For networks of middling size this measures for a few seconds."""
    multiplies = _multiplies(config.network)
    if multiplies == math.inf:
        return torch.multiprocessing.cpu_count(), "all cores, for a large network"
    if multiplies <= SMALL:
        return 1, "a small network"
    model = build_model(config.network, config.heads)
    x = torch.zeros(max(1, min(PART, config.optimiser.batch_size, PIECE // multiplies)), *config.network.input_shape)
    labels = torch.zeros(len(x), dtype=torch.long) if getattr(config.network, "classes", 0) else None
    repeats = 5 if multiplies < PIECE else 1
    threads = fastest_threads(lambda: model(x, 0.5, labels).square().mean().backward(), repeats)
    return threads, "measured to be the fastest"


def suited_parts(config: CUDConfig, batch_size: int) -> int:
    """Parts in which a step goes through its batch: 1 for small networks, else as few as give 32 samples or fewer.

    Also 1 where noise is assigned to data within a batch, because a part of it would have less to choose from.
    """
    if _multiplies(config.network) <= SMALL or config.coupling.kind == "minibatch_ot":
        return 1
    return next(n for n in range(1, batch_size + 1) if batch_size % n == 0 and batch_size // n <= PART)


@functools.lru_cache(maxsize=8)
def _multiplies(network: NetworkConfig) -> float:
    """Of one call for one sample; infinite for a network that is too large to be tried out."""
    with torch.device("meta"):  # shapes only; a call there would be slow to start
        if count_parameters(build_model(network)) >= LARGE:
            return math.inf
    return count_multiplies(build_model(network), (1, *network.input_shape))
