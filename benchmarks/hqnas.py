"""Chapter 2: a step of the supernet beside a supernet with branches, and beside the largest plain network."""

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import Ratio, compare
from lib.hqnas.baselines.branches import BranchedSupernet
from lib.hqnas.config import GateConfig, RecipeConfig, SpaceConfig, StageConfig, scaled
from lib.hqnas.cost import CostTable
from lib.hqnas.hardware import hardware_named
from lib.hqnas.model import Network, Supernet
from lib.hqnas.optimise import make_optimizer
from lib.hqnas.price import kept_for_backward
from lib.hqnas.space import SearchSpace

WIDER = SpaceConfig(stem=16, stages=(StageConfig(24, 1, 2), StageConfig(40, 2, 2)))
"""Four blocks of a paper-like width on 16x16 images."""
CASES = {
    "8x8 digits, batch 64": (scaled().space, (1, 8, 8), 64),
    "16x16, 24 to 40 channels, batch 32": (WIDER, (3, 16, 16), 32),
}


def _step(module: nn.Module, forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """A step of training: forwards, backwards, and the optimisers of a search."""
    thresholds = [one for name, one in module.named_parameters() if name.startswith("thresholds")]
    weights = [one for name, one in module.named_parameters() if not name.startswith("thresholds")]
    optimizers = [make_optimizer(weights, RecipeConfig(steps=1))]
    if thresholds:
        optimizers.append(torch.optim.SGD(thresholds, 1e-9, momentum=0.9))

    def step() -> None:
        for one in optimizers:
            one.zero_grad()
        forward().backward()
        for one in optimizers:
            one.step()

    return step


def _searching(supernet: Supernet, table: CostTable, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The loss of a search: task, and cost."""
    logits, decision = supernet(x)
    return F.cross_entropy(logits, y) + table.expected(decision.gates).log()


def supernets(seconds: float) -> Iterator[Ratio]:
    """Time of a step, as the issue bounds it; memory as a ratio of bytes counted."""
    for size, (config, shape, batch) in CASES.items():
        space = SearchSpace(config, shape, 10)
        source = torch.Generator().manual_seed(0)
        x, y = torch.randn(batch, *shape, generator=source), torch.arange(batch) % 10
        table = hardware_named("compute-bound").cost_table(space)
        plain = Network(space, space.uniform(8), quantized=False)
        bits, floats = GateConfig(), GateConfig(bits=False, start_bits=0)
        searched, shaped, branched = Supernet(space, bits), Supernet(space, floats), BranchedSupernet(space, bits)
        plain_step = _step(plain, lambda: F.cross_entropy(plain(x), y))  # noqa: B023
        search_loss = lambda: _searching(searched, table, x, y)  # noqa: B023, E731
        branch_loss = lambda: F.cross_entropy(branched(x), y)  # noqa: B023, E731
        shape_step = _step(shaped, lambda: _searching(shaped, table, x, y))  # noqa: B023
        search_step, branch_step = _step(searched, search_loss), _step(branched, branch_loss)
        branches, largest = "parallel branches", "largest plain network"
        yield compare("supernet step", size, branches, search_step, branch_step, seconds=seconds, target=0.5)
        memory = kept_for_backward(search_loss, searched) / kept_for_backward(branch_loss, branched)
        yield Ratio("bytes kept for gradients", size, branches, memory, memory, memory, 0.0, 0.5)
        yield compare("super-kernels, no bits", size, largest, shape_step, plain_step, seconds=seconds, target=1.2)
        yield compare("super-kernels, 2/4/8 bits", size, largest, search_step, plain_step, seconds=seconds, target=1.6)


def benchmarks(seconds: float) -> Iterator[Ratio]:
    """All of chapter 2."""
    yield from supernets(seconds)
