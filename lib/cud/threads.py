"""How many threads a training on the processor should use: one for small networks, else whatever is measured faster."""

import torch

from lib.cud.config import CUDConfig
from lib.cud.model import build_model, count_multiplies, count_parameters
from lib.training.devices import fastest_threads

SMALL = 10_000_000
"""Multiplies of one network call for one sample up to which threads only wait for each other: measured with the toy
and the scaled network (2 million at most), for which one thread was faster at the presets' batch sizes."""
LARGE = 150_000_000
"""Parameters from which one call takes too long to be tried out, and gives every core enough to do."""
PIECE = 2_500_000_000
"""Multiplies of the batch that is measured: a second at most on one core."""


def suited_threads(config: CUDConfig) -> tuple[int, str]:
    """Threads for one tensor operation, and why. For networks of middling size this measures for a few seconds."""
    with torch.device("meta"):  # shapes only; a call there would be slow to start
        parameters = count_parameters(build_model(config.network, config.heads))
    if parameters >= LARGE:
        return torch.multiprocessing.cpu_count(), "all cores, for a large network"
    model = build_model(config.network, config.heads)
    multiplies = count_multiplies(model, (1, *config.network.input_shape))
    if multiplies <= SMALL:
        return 1, "a small network"
    x = torch.zeros(max(1, min(64, config.optimiser.batch_size, PIECE // multiplies)), *config.network.input_shape)
    labels = torch.zeros(len(x), dtype=torch.long) if getattr(config.network, "classes", 0) else None
    repeats = 5 if multiplies < PIECE else 1
    threads = fastest_threads(lambda: model(x, 0.5, labels).square().mean().backward(), repeats)
    return threads, "measured to be the fastest"
