"""What is compared with what: one task, one space, one device, equal steps.

Each method names a network for a budget. Two figures judge it. "Trained on": it goes on from the weights that its
search left, as one would use it; networks that nobody searched train as many steps in all. "From scratch": its policy
alone, from random weights, with the steps of a retraining: which network is better, whoever found it.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from lib.hqnas.baselines import Candidate
from lib.hqnas.baselines.evolution import evolve, train_shared
from lib.hqnas.baselines.greedy import greedy_bits
from lib.hqnas.baselines.policies import random_within, uniform_within
from lib.hqnas.baselines.two_step import halved, two_step
from lib.hqnas.config import HQNASConfig, SearchConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.evaluate import accuracy
from lib.hqnas.model import Network, Supernet, sliced_from
from lib.hqnas.retrain import retrain
from lib.hqnas.search import search
from lib.hqnas.space import Choices, SearchSpace
from lib.training.run import Run
from lib.training.seeding import derive_seed, generator
from lib.vision.data import ImageSet, to_float

JOINT, TWO_STEP = "joint search", "one after the other"
UNIFORM, RANDOM = "uniform", "random"
GREEDY, EVOLUTION = "greedy bits", "evolution"
ADAM, UNFROZEN, SHARED, HINGE, STEEP = (
    "thresholds by Adam", "gates never frozen", "one range for all widths", "hinge", "bits asked first",
)  # fmt: skip
"""The joint search with one thing changed."""


def moved_everywhere(data: ImageSet, most: int = 1) -> ImageSet:
    """Every image in each of its (2 most + 1)^2 places: what a training with ``shift`` must get right.

    Nine times the images make a finer ruler, too; they are not nine times the evidence, since copies are alike.

    Raises:
        ValueError: they were moved before, and would now lie twice as far off.
    """
    if _MOVED in data.name:
        raise ValueError(f"{data.name}: these images were moved already; give the plain ones")
    side = 2 * most + 1
    height, width = data.shape[1:]
    padded = F.pad(data.read(torch.arange(len(data))), (most,) * 4)
    places = [padded[..., y : y + height, x : x + width] for y in range(side) for x in range(side)]
    return ImageSet(
        name=f"{data.name}{_MOVED}{side**2} places",
        split=data.split,
        labels=data.labels.repeat(side**2),
        class_names=data.class_names,
        shape=data.shape,
        images=torch.cat(places),
        part=data.part,
    )


_MOVED = ", each in "


def transposed(data: ImageSet) -> ImageSet:
    """Other data for the same network: every image mirrored along its diagonal."""
    images = data.read(torch.arange(len(data))).transpose(-1, -2).contiguous()
    return replace(data, name=f"{data.name}, transposed", images=images, reader=None)


def aimed(config: HQNASConfig, target: float) -> SearchConfig:
    """The search of a configuration with another budget."""
    return replace(config.search, objective=replace(config.search.objective, target=target))


def varied(search_config: SearchConfig) -> dict[str, SearchConfig]:
    """The joint search with one thing changed: what each of our choices is worth."""
    gates, objective = search_config.gates, search_config.objective
    return {
        ADAM: replace(search_config, threshold_optimiser="adam"),
        UNFROZEN: replace(search_config, frozen=0.0),
        SHARED: replace(search_config, gates=replace(gates, clip="shared")),
        HINGE: replace(search_config, objective=replace(objective, form="hinge")),
        STEEP: replace(search_config, gates=replace(gates, bit_scales=(1.0, 5.0))),
    }


@dataclass(frozen=True)
class Contest:
    """A task on which methods compete: configuration, device, and the images of training and test."""

    config: HQNASConfig
    space: SearchSpace
    table: CostTable
    data: ImageSet
    test: ImageSet
    run: Run

    def joint(self, target: float, search_config: SearchConfig | None = None) -> Candidate:
        """The paper's way, or a variation of it."""
        found = search(self.space, search_config or aimed(self.config, target), self.table, self.data, self.run)
        return Candidate(found.choices, sliced_from(found.supernet, found.choices), found.steps)

    def two_step(self, target: float, headroom: float = 2.0) -> Candidate:
        """Shape first, then bits: the same steps in all."""
        return two_step(self.space, aimed(self.config, target), self.table, self.data, self.run, headroom)[0]

    def greedy(self, target: float) -> Candidate:
        """The shape of the two-step search, trained at 8 bits with the rest of its steps; then bits by sensitivity."""
        first, second = halved(aimed(self.config, target))
        gates = replace(first.gates, bits=False, start_bits=8)
        budget = replace(first.objective, target=min(1.0, 2 * target))
        shaped = search(
            self.space, replace(first, gates=gates, objective=budget), self.table, self.data, self.run.named("shape")
        )
        network, _ = retrain(
            self.space, shaped.choices, second.recipe, self.data, self.run, start=shaped.supernet, clip=gates.clip
        )
        chosen = torch.arange(min(400, len(self.data)))
        images, labels = to_float(self.data.read(chosen)), self.data.labels[chosen]
        choices = greedy_bits(network, self.table, self.table.target(self.space, target), images, labels)
        return Candidate(choices, with_bits(network, choices), shaped.steps + second.recipe.steps)

    def evolved(self, target: float, supernet: Supernet | None = None) -> Candidate:
        """Evolution on a supernet that was trained with random policies."""
        supernet = supernet or train_shared(self.space, self.config.search, self.data, self.run)
        candidate, _ = evolve(supernet, self.table, target, self.data, self.run.seed)
        return replace(candidate, steps=self.config.search.recipe.steps)

    def random(self, target: float, number: int = 0) -> Candidate:
        """A random policy that keeps the budget."""
        source = generator(derive_seed(self.run.seed, "random", number))
        return Candidate(random_within(self.space, self.table, target, source), None, 0)

    def uniform(self, target: float) -> Candidate | None:
        """The same everywhere, if anything so simple keeps the budget."""
        choices = uniform_within(self.space, self.table, target)
        return None if choices is None else Candidate(choices, None, 0)

    def trained_on(self, candidate: Candidate, steps: int | None = None) -> float:
        """Accuracy after as many steps in all as a search and a retraining take.

        ``steps``: of the retraining; None: the recipe's, and those of a search more where there was none.
        """
        recipe = self.config.retrain
        if steps is None:
            steps = recipe.steps + self.config.search.recipe.steps - candidate.steps
        return self._accuracy(candidate.choices, candidate, steps)

    def from_scratch(self, candidate: Candidate) -> float:
        """Accuracy of the policy alone, from random weights."""
        return self._accuracy(candidate.choices, None, self.config.retrain.steps)

    def _accuracy(self, choices: Choices, candidate: Candidate | None, steps: int) -> float:
        network, _ = retrain(
            self.space, choices, replace(self.config.retrain, steps=steps), self.data, self.run,
            start=candidate and candidate.start, clip=self.config.search.gates.clip,
        )  # fmt: skip
        return accuracy(network, self.test)

    def cost(self, candidate: Candidate) -> float:
        """Of a candidate, as a share of the full cost."""
        return self.table.of(candidate.choices) / self.table.full(self.space)


def with_bits(network: Network, choices: Choices) -> Network:
    """The same weights in a network of the same shape and other bits."""
    other = Network(network.space, choices, network.clip)
    other.load_state_dict(network.state_dict())
    return other
