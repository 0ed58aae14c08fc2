"""Optimiser, learning rate and batches of a recipe: the same for a search and for the training of what it found."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.hqnas.config import RecipeConfig
from lib.training.run import Run
from lib.training.schedule import learning_rate
from lib.training.seeding import derive_seed, generator
from lib.vision.batches import Batches
from lib.vision.data import ImageSet


def make_optimizer(weights: Iterable[nn.Parameter], recipe: RecipeConfig) -> torch.optim.Optimizer:
    """The recipe's optimiser. Biases and normalisation are not decayed."""
    weights = list(weights)
    groups = [
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    if recipe.optimiser == "rmsprop":  # Single-Path NAS: decay 0.9, momentum 0.9, epsilon 1e-3
        return torch.optim.RMSprop(groups, recipe.learning_rate, alpha=0.9, momentum=recipe.momentum, eps=1e-3)
    return torch.optim.AdamW(groups, recipe.learning_rate, fused=weights[0].device.type in ("cpu", "cuda"))


def rate_of(recipe: RecipeConfig, step: int) -> float:
    """The learning rate of a step, from 0."""
    if recipe.schedule == "exponential":
        return recipe.learning_rate * recipe.decay ** (step // recipe.decay_steps)
    return learning_rate(step, base=recipe.learning_rate, warmup=recipe.warmup, total=recipe.steps)


class Images:
    """Batches of a recipe as a pure function of the step: flipped and moved, as the recipe says."""

    def __init__(self, data: ImageSet, recipe: RecipeConfig, run: Run, purpose: str):
        self._batches = Batches(
            data, recipe.batch_size, derive_seed(run.seed, purpose), recipe.flip, run.rank, run.world_size,
            device=run.device, workers=run.workers,
        )  # fmt: skip
        self._shift, self._seed = recipe.shift, derive_seed(run.seed, purpose, "shift")
        self._rank = run.rank

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (n, channels, height, width) in [-1, 1], and labels (n,)."""
        images, labels = self._batches.batch(step)
        if self._shift:
            images = moved(images, self._shift, generator(derive_seed(self._seed, step, self._rank)))
        return images, labels


def moved(images: Tensor, most: int, source: torch.Generator) -> Tensor:
    """Each image moved by up to ``most`` pixels along both axes; what comes in at the edge is its darkest value, -1."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (most,) * 4, value=-1.0)
    down, right = (torch.randint(2 * most + 1, (len(images),), generator=source).to(images.device) for _ in range(2))
    rows = (down[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (right[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    pick = torch.arange(len(images), device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[pick, channels, rows, columns]
