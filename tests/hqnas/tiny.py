"""A search space that a test can train in a second, and the images for it."""

from dataclasses import replace
from functools import cache

import torch

from lib.hqnas.config import HQNASConfig, ObjectiveConfig, RecipeConfig, SpaceConfig, StageConfig, scaled
from lib.hqnas.cost import CostTable, table_of
from lib.hqnas.model import Supernet
from lib.hqnas.space import BITS, EXPANSIONS, KERNELS, PARTS, Choice, Choices, SearchSpace
from lib.training.seeding import generator
from lib.vision.data import ImageSet, load_images

TINY = SpaceConfig(stem=4, stages=(StageConfig(4, 1, 1), StageConfig(6, 2, 2)))
WHOLE = replace(TINY, stem_stride=2, first=4, last=8, head=10)
"""With every layer that a space may have."""


def tiny_space(config: SpaceConfig = TINY) -> SearchSpace:
    """Three blocks, the first and the last of which may be left out."""
    return SearchSpace(config, (1, 8, 8), 10)


@cache
def digits(split: str = "train", count: int = 400) -> ImageSet:
    """The first so many of the embedded digits."""
    found = load_images("embedded", split)
    return replace(found, images=found.images[:count], labels=found.labels[:count])


def products(space: SearchSpace) -> CostTable:
    """A device on which a multiplication costs as much as the weight has bits."""
    return table_of(space, "products", "kiloproducts", lambda conv, bits: conv.macs * bits / 8000)


def tiny_config(steps: int = 30, target: float = 0.3) -> HQNASConfig:
    """Seconds in all."""
    base = scaled()
    recipe = RecipeConfig(steps=steps, batch_size=32)
    search = replace(base.search, recipe=recipe, objective=ObjectiveConfig("absolute", 1.0, target), threshold_rate=0.2)
    return replace(base, space=TINY, search=search, retrain=recipe, hardware="compute-bound")


def some_choices(space: SearchSpace, seed: int) -> Choices:
    """A random policy, made without the library's own."""
    source = generator(seed)

    def pick(options):
        return options[int(torch.randint(len(options), (), generator=source))]

    return tuple(
        None
        if block.skippable and pick((0, 1, 2)) == 0
        else Choice(pick(KERNELS), pick(EXPANSIONS), tuple(pick(BITS) for _ in PARTS))
        for block in space.blocks
    )


def lived_in(supernet: Supernet, seed: int = 0) -> Supernet:
    """With statistics, scales and shifts as after a training, some of them negative, so that nothing cancels."""
    source = generator(seed)
    with torch.no_grad():
        for name, value in [*supernet.named_parameters(), *supernet.named_buffers()]:
            noise = torch.randn(value.shape, generator=source) if value.is_floating_point() else None
            if name.endswith(("norm.weight", "running_var")):
                value.copy_(0.6 + 0.3 * noise.abs() if "running" in name else 0.8 + 0.4 * noise)
            elif name.endswith(("norm.bias", "running_mean")):
                value.copy_(0.3 * noise)
    return supernet.eval()
