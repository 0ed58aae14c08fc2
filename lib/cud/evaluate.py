"""How good the samples are: against the data, at a given number of network calls."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from lib.cud.catchup import scheme_named
from lib.cud.config import CUDConfig
from lib.cud.straightness import path_straightness
from lib.cud.train import Data, TrainedFlow
from lib.errors import UserError
from lib.training.seeding import derive_seed
from lib.vision.classifier import FeatureClassifier, train_classifier
from lib.vision.data import ImageSet, to_float
from lib.vision.frechet import FeatureStatistics, frechet_distance
from lib.vision.wasserstein import sliced_wasserstein

LARGEST_REFERENCE = 10_000
PROJECTIONS = 100


@dataclass(frozen=True)
class PointJudge:
    """Sliced Wasserstein-2 distance to fresh points of the same distribution (in the units of the plane).

    Attributes:
        points: the reference, (n, 2).
        floor: what other fresh draws of the data, as many points each, score on average: a sampler at the floor cannot
            be told from the data by so many points.
        spread: the lowest and the highest score of these draws.
        samples: how many samples to judge.
    """

    points: Tensor
    floor: float
    spread: tuple[float, float]
    samples: int = 8000
    metric: str = "sliced Wasserstein distance"
    short: str = "SW₂"

    def __call__(self, samples: Tensor) -> float:
        """The distance of samples (n, 2); lower is better."""
        return sliced_wasserstein(samples, self.points, PROJECTIONS)


@dataclass(frozen=True)
class ImageJudge:
    """Fréchet distance to the training images, in the features of a small classifier trained on them.

    The reference is the training set, as for the customary FID of CIFAR-10.

    Attributes:
        floor: what the held-out test images score. Fewer images score worse, so that a good sampler with many samples
            may fall below it.
        samples: how many samples to judge.
    """

    classifier: FeatureClassifier
    reference: FeatureStatistics
    floor: float
    samples: int = 2000
    metric: str = "Fréchet distance"
    short: str = "FD"

    def __call__(self, samples: Tensor) -> float:
        """The distance of images (n, c, h, w) in [-1, 1] (values outside are cut off); lower is better."""
        return frechet_distance(self.classifier.features(samples.clamp(-1, 1)), self.reference)


Judge = PointJudge | ImageJudge


def make_judge(train: Data, test: Data, *, seed: int = 0, classifier_steps: int = 600) -> Judge:
    """The judge that fits the data: points or images.

    Args:
        classifier_steps: how long the classifier learns whose features are compared.
    """
    if isinstance(train, Tensor):
        size = min(PointJudge.samples, len(test) // 2)
        points, *draws = test.split(size)
        scores = [sliced_wasserstein(draw, points, PROJECTIONS) for draw in draws if len(draw) == size]
        return PointJudge(points, mean(scores), (min(scores), max(scores)), size)
    if not isinstance(train, ImageSet) or len(train.class_names) < 2:
        raise UserError("the Fréchet distance needs labelled images of two classes or more, to train its classifier.")
    if len(test) < 2:
        raise UserError(
            f"{test.name} has {len(test)} image(s): the Fréchet distance needs two or more to compare with."
        )
    images, labels = _at_most(train, LARGEST_REFERENCE)
    classifier = train_classifier(images, labels, seed, classifier_steps)
    reference = FeatureStatistics.of(classifier.features(images))
    floor = frechet_distance(classifier.features(_at_most(test, LARGEST_REFERENCE)[0]), reference)
    return ImageJudge(classifier, reference, floor)


def _at_most(images: ImageSet, count: int) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1] and their labels, at even distances: folders are sorted by class, and all must be there."""
    count = min(count, len(images))
    places = torch.arange(count) * len(images) // count
    return to_float(images.read(places)), images.labels[places]


def quality(
    flow: TrainedFlow,
    judge: Judge,
    nfe: Iterable[int],
    *,
    samples: int | None = None,
    seed: int = 0,
    solver: str = "euler",
    head: int | None = None,
) -> dict[int, float]:
    """The judge's distance at each number of network calls: {nfe: distance}.

    The same noise serves all. ``samples``: how many; as many as the judge wants if None.
    """
    samples = samples or judge.samples
    return {
        n: judge(flow.sample(samples, n, solver=solver, seed=derive_seed(seed, "judged"), head=head).samples)
        for n in nfe
    }


def flow_straightness(flow: TrainedFlow, *, samples: int = 1000, seed: int = 0, head: int | None = None) -> float:
    """S of 64 Euler steps; 0 for straight paths. See ``lib.cud.straightness``."""
    noise = flow.noise(samples, derive_seed(seed, "straightness"))
    return path_straightness(flow.model, noise.to(next(flow.model.parameters()).device), head=head)


def passes_per_step(config: CUDConfig) -> float:
    """Network work of a training step, in forward passes (a backward pass counts 2).

    3 for flow matching; a catch-up scheme adds its slopes and targets, less the first slope where the student's own
    output serves for it (our count). A learnt coupling's encoder is not counted.
    """
    catch_up = config.catch_up
    if catch_up is None:
        return 3.0
    scheme = scheme_named(catch_up.scheme)
    slopes = len(scheme.weights)
    calls = slopes + scheme.heads + (scheme.heads - 1) * (slopes - 1) * catch_up.chained
    reused = catch_up.teacher == "online" and not config.network_has_dropout
    return 3.0 + calls - reused


def equal_compute_steps(reference: CUDConfig, other: CUDConfig, steps: int) -> int:
    """How many steps of ``other`` cost as much network work as ``steps`` of ``reference``."""
    return round(steps * passes_per_step(reference) / passes_per_step(other))
