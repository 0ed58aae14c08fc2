"""A small image classifier, trained on the spot: home of the Fréchet distance."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.errors import UserError
from lib.training.checkpoint import load_checkpoint, restore_module, save_checkpoint
from lib.training.seeding import derive_seed, generator, isolated_seed
from lib.vision.batches import Batches

KIND = "classifier"
FEATURES = 64


@dataclass(frozen=True)
class ClassifierConfig:
    """Shape of the images, number of classes, and channels of the first convolution."""

    shape: tuple[int, int, int]
    classes: int
    channels: int = 24


class FeatureClassifier(nn.Module):
    """Convolutions that halve the image until it is 4x4 or smaller, then 64 features, then the classes."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        channels, height, width = config.shape
        layers: list[nn.Module] = [nn.Conv2d(channels, config.channels, 3, padding=1), nn.ReLU()]
        now = config.channels
        while max(height, width) > 4:
            layers += [nn.Conv2d(now, 2 * config.channels, 3, stride=2, padding=1), nn.ReLU()]
            now, height, width = 2 * config.channels, (height + 1) // 2, (width + 1) // 2
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.hidden = nn.Linear(now * height * width, FEATURES)
        self.output = nn.Linear(FEATURES, config.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) in [-1, 1] -> logits (n, classes)."""
        return self.output(self._hidden(images))

    def _hidden(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != tuple(self.config.shape):
            raise UserError(
                f"This classifier judges images of shape {tuple(self.config.shape)} (channels, height, "
                f"width), these have {tuple(images.shape[1:])}."
            )
        return F.relu(self.hidden(self.convolutions(images)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) in [-1, 1] -> features (n, 64), in pieces of 512 so that memory stays small."""
        return torch.cat([self._hidden(piece) for piece in images.split(512)])

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) in [-1, 1] -> probability of each class (n, classes); rows sum to 1."""
        return torch.cat([self(piece).softmax(dim=1) for piece in images.split(512)])

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of images whose most probable class is the label, 0 ... 1."""
        return (self.probabilities(images).argmax(dim=1) == labels).float().mean().item()

    def save(self, folder: Path | str) -> None:
        """Write weights and shape to `folder`."""
        save_checkpoint(folder, self.state_dict(), asdict(self.config), KIND)

    @classmethod
    def load(cls, folder: Path | str) -> "FeatureClassifier":
        """Read what `save` wrote. Raises UserError for anything else."""
        tensors, config = load_checkpoint(folder, KIND)
        try:
            settings = ClassifierConfig(tuple(config["shape"]), int(config["classes"]), int(config["channels"]))
            module = cls(settings)
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"{folder} holds no usable classifier settings: train it again.") from None
        restore_module(module, tensors, "", folder)
        return module.eval().requires_grad_(False)


def train_classifier(
    images: Tensor, labels: Tensor, seed: int = 0, steps: int = 800, batch_size: int = 64
) -> FeatureClassifier:
    """Train on `images` (n, c, h, w) in [-1, 1] with `labels` int64 (n,); the same seed gives the same network.

    Adam with one cosine fall of the learning rate. Images are shifted by up to one pixel: with few training
    images that is worth more than a larger network. Raises UserError when there is one class only.
    On the digits the default takes 2 to 3 seconds of one core and gets 98 to 99 % of the test images right.
    """
    classes = int(labels.max()) + 1
    if len(labels.unique()) < 2:
        raise UserError("All images have the same label: a classifier needs two classes or more.")
    with isolated_seed(derive_seed(seed, "classifier")):
        module = FeatureClassifier(ClassifierConfig(tuple(images.shape[1:]), classes)).to(images.device)
    batches = Batches(images, batch_size, derive_seed(seed, "batches"), labels=labels, device=images.device)
    shifts = generator(derive_seed(seed, "shifts"))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        batch, target = batches.batch(step)
        loss = F.cross_entropy(module(_shifted(batch, shifts)), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return module.eval().requires_grad_(False)


def _shifted(images: Tensor, source: torch.Generator) -> Tensor:
    """The whole batch moved by -1, 0 or 1 pixel in each direction; the new border is black (-1)."""
    height, width = images.shape[-2:]
    down, right = torch.randint(3, (2,), generator=source).tolist()
    return F.pad(images, (1, 1, 1, 1), value=-1.0)[..., down : down + height, right : right + width]
