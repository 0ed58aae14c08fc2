"""Evolution on the same supernet (as Once-for-All and APQ): random policies share weights, then the fittest breed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.hqnas.baselines import Candidate
from lib.hqnas.baselines.policies import random_choices, random_within
from lib.hqnas.config import SearchConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.gates import Gates
from lib.hqnas.model import Supernet, sliced_from
from lib.hqnas.optimise import Images, make_optimizer, rate_of
from lib.hqnas.space import Choices, SearchSpace
from lib.training.progress import progress_bar
from lib.training.run import Run
from lib.training.schedule import set_learning_rate
from lib.training.seeding import derive_seed, generator
from lib.vision.data import ImageSet, to_float


@dataclass(frozen=True)
class EvolutionConfig:
    """Sizes of the population and of what survives, generations, and how often a block of a child changes."""

    population: int = 24
    parents: int = 8
    generations: int = 8
    mutation: float = 0.15
    judged_on: int = 400


def train_shared(space: SearchSpace, config: SearchConfig, data: ImageSet, run: Run | None = None) -> Supernet:
    """A supernet that is good at many policies: every step trains another random one, every second the largest."""
    run = run or Run()
    supernet = Supernet(space, config.gates, derive_seed(run.seed, "supernet")).to(run.device).train()
    images = Images(data, config.recipe, run, "search")
    optimizer = make_optimizer(supernet.weights(), config.recipe)
    source = generator(derive_seed(run.seed, "policies"))
    largest = Gates.of(space.uniform(8))
    steps = min(config.recipe.steps, run.max_steps or config.recipe.steps)
    for step in progress_bar(range(steps), description=run.description, quiet=not run.progress):
        set_learning_rate(optimizer, rate_of(config.recipe, step))
        x, labels = images.batch(step)
        gates = Gates.of(random_choices(space, source)) if step % 2 else largest
        optimizer.zero_grad()
        F.cross_entropy(supernet(x, gates.to(run.device))[0], labels).backward()
        optimizer.step()
    return supernet


def evolve(
    supernet: Supernet,
    table: CostTable,
    share: float,
    data: ImageSet,
    seed: int = 0,
    config: EvolutionConfig | None = None,
) -> tuple[Candidate, list[float]]:
    """The fittest policy that keeps a budget, judged by its loss with the shared weights on images of ``data``.

    Returns:
        The candidate (its steps are those of judging only: none), and the least loss of each generation.
    """
    config = config or EvolutionConfig()
    space, source = supernet.space, generator(derive_seed(seed, "evolution"))
    target = table.target(space, share)
    images, labels = _judge(data, config.judged_on, source)
    losses: dict[Choices, float] = {}

    def loss_of(choices: Choices) -> float:
        if choices not in losses:
            losses[choices] = _loss(supernet, choices, images, labels)
        return losses[choices]

    population = [random_within(space, table, share, source, least=0.5) for _ in range(config.population)]
    best = []
    for _ in range(config.generations):
        parents = sorted(population, key=loss_of)[: config.parents]
        best.append(loss_of(parents[0]))
        children = []
        while len(children) < config.population - config.parents:
            child = _bred(space, parents, source, config.mutation)
            if table.of(child) <= target:
                children.append(child)
        population = parents + children
    fittest = min(population, key=loss_of)
    return Candidate(fittest, sliced_from(supernet, fittest), 0), [*best, loss_of(fittest)]


def _judge(data: ImageSet, count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.randperm(len(data), generator=source)[:count]
    return to_float(data.read(chosen)), data.labels[chosen]


@torch.no_grad()
def _loss(supernet: Supernet, choices: Choices, images: Tensor, labels: Tensor) -> float:
    # Statistics of this batch, not of all policies together: those belong to no network.
    supernet.train()
    before = {name: value.clone() for name, value in supernet.named_buffers() if "running" in name}
    loss = float(F.cross_entropy(supernet(images, Gates.of(choices))[0], labels))
    for name, value in supernet.named_buffers():
        if name in before:
            value.copy_(before[name])
    return loss


def _bred(space: SearchSpace, parents: list[Choices], source: torch.Generator, mutation: float) -> Choices:
    """Each block from one of two parents, or from nowhere."""
    mother, father = (parents[int(torch.randint(len(parents), (), generator=source))] for _ in range(2))
    fresh = random_choices(space, source)
    coins = torch.rand(len(mother), 2, generator=source).tolist()
    return tuple(
        new if change < mutation else (a if side < 0.5 else b)
        for a, b, new, (side, change) in zip(mother, father, fresh, coins, strict=True)
    )
