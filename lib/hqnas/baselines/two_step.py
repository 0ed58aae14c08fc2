"""One after the other: which network, at 8 bits; then which bits, in that network."""

from dataclasses import replace

from lib.hqnas.baselines import Candidate
from lib.hqnas.config import SearchConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.gates import Thresholds
from lib.hqnas.model import sliced_from
from lib.hqnas.search import Found, search
from lib.hqnas.space import SearchSpace
from lib.training.run import Run
from lib.vision.data import ImageSet

HEADROOM = 2.0
"""The first step's budget, for each of the second's: what 4 bits everywhere would save on a device that computes twice
as fast at half the bits. The joint search needs no such number."""


def two_step(
    space: SearchSpace,
    config: SearchConfig,
    table: CostTable,
    data: ImageSet,
    run: Run | None = None,
    headroom: float = HEADROOM,
) -> tuple[Candidate, Found, Found]:
    """Search the shape with half of the steps, at 8 bits and ``headroom`` times the target; with the rest the bits.

    Returns:
        The candidate, and what the first and the second step found.
    """
    run = run or Run()
    first, second = halved(config)
    target = min(1.0, headroom * config.objective.target)
    gates = replace(first.gates, bits=False, start_bits=8)
    first = replace(first, gates=gates, objective=replace(first.objective, target=target))
    shaped = search(space, first, table, data, replace(run, out=None).named("shape"))
    supernet = shaped.supernet
    supernet.config = config.gates
    device = next(supernet.parameters()).device
    supernet.thresholds = Thresholds(space).to(device)  # the second search begins with all bits
    bits = search(
        space, second, table, data, replace(run, out=None).named("bits"), start=supernet, shape=shaped.choices
    )
    return Candidate(bits.choices, sliced_from(supernet, bits.choices), shaped.steps + bits.steps), shaped, bits


def halved(config: SearchConfig) -> tuple[SearchConfig, SearchConfig]:
    """Two searches with the steps of one. The second needs no warm-up: its weights are warm."""
    steps = config.recipe.steps
    first = replace(config, recipe=replace(config.recipe, steps=steps // 2))
    second = replace(config, recipe=replace(config.recipe, steps=steps - steps // 2), warm=0.0)
    return first, second
