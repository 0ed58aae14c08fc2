"""Lifelong: when data, target or preference change, go on from the trained supernet instead of searching anew.

The abstract says that the machinery is used again; how could not be read. Ours: weights and thresholds are kept; the
thresholds of closed gates are lowered until their gates stand open again, by a margin, and a short search follows. The
reopening is necessary: behind a closed gate weights are not trained, and no norm would ever rise by itself.
"""

from dataclasses import replace

import torch

from lib.hqnas.config import SearchConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.model import Supernet
from lib.hqnas.search import Found, search
from lib.training.run import Run
from lib.vision.data import ImageSet

MARGIN = 0.05
"""By how much a norm stands above its threshold after reopening."""
SHARE = 0.2
"""Of the steps of a search from scratch."""


@torch.no_grad()
def reopen(supernet: Supernet, margin: float = MARGIN) -> int:
    """Lower the thresholds of closed gates until their norms stand ``margin`` above them; how many gates that opened.

    A bit gate whose norm is measured behind a closed one has none of its own yet: the norms are taken twice.
    """
    opened = 0
    for _ in range(2):
        decision = supernet.decision()
        shut = decision.norms < decision.thresholds
        opened += int(shut.sum())
        supernet.thresholds.levels.copy_(torch.where(shut, decision.norms - margin, decision.thresholds))
    return opened


def shortened(config: SearchConfig, share: float = SHARE) -> SearchConfig:
    """The same search in this share of its steps, without a warm-up: the weights are warm."""
    recipe = config.recipe
    return replace(config, recipe=replace(recipe, steps=max(1, round(share * recipe.steps)), warmup=0), warm=0.0)


def continue_search(
    supernet: Supernet,
    config: SearchConfig,
    table: CostTable,
    data: ImageSet,
    run: Run | None = None,
    *,
    share: float = SHARE,
    margin: float = MARGIN,
) -> Found:
    """A new network for new data, a new target (``config.objective``) or a new device (``table``).

    Args:
        supernet: of an earlier search; it is changed. config: of a search from scratch, of whose steps ``share`` are
            taken.

    Raises:
        UserError: as ``lib.hqnas.search.search`` does.
    """
    reopen(supernet, margin)
    return search(supernet.space, shortened(config, share), table, data, run, start=supernet)
