"""A trained keyword spotter: features, their normalisation, a network, and the names of its classes."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.cenet.config import KeywordConfig
from lib.cenet.model import build_network
from lib.errors import UserError
from lib.speech.features import FeatureExtractor
from lib.training.checkpoint import load_checkpoint, restore_module
from lib.training.loop import History

KIND = "cenet"


class Normalisation(nn.Module):
    """Each band to mean 0 and deviation 1, by statistics of the training set that travel with the network.

    own_mean   before that, each clip's own mean over time is taken from every band (cepstral mean normalisation)
    """

    def __init__(self, width: int, own_mean: bool = False):
        super().__init__()
        self.own_mean = own_mean
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, features: Tensor) -> None:
        """Take the statistics of features (n, frames, width)."""
        features = self._centred(features)
        self.mean.copy_(features.mean((0, 1)))
        self.deviation.copy_(features.std((0, 1)).clamp_min(1e-3))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, width), normalised."""
        return (self._centred(features) - self.mean) / self.deviation

    def _centred(self, features: Tensor) -> Tensor:
        return features - features.mean(1, keepdim=True) if self.own_mean else features


class KeywordModel(nn.Module):
    """Features in, logits out: normalisation and network. ``extract`` makes the features."""

    def __init__(self, config: KeywordConfig, classes: int, seed: int = 0):
        super().__init__()
        self.extract = FeatureExtractor(config.features)
        self.normalise = Normalisation(config.features.width, config.own_mean)
        self.network = build_network(config.network, classes, seed)

    def forward(self, features: Tensor) -> Tensor:
        """Raw features (batch, frames, width) -> logits (batch, classes)."""
        return self.network(self.normalise(features))


@dataclass
class Spotter:
    """A trained spotter and what is needed to use it again.

    Attributes:
        class_names: in the order of the network's outputs. data: the name of what it was trained on.
        task: how to find that again (``lib.cenet.task``); empty where it was given as clips.
        history: every loss of every step; empty for one that was read from a checkpoint.
    """

    config: KeywordConfig
    model: KeywordModel
    class_names: tuple[str, ...]
    data: str = ""
    seed: int = 0
    task: dict = field(default_factory=dict)
    history: History = field(default_factory=History)

    @property
    def samples(self) -> int:
        """How many samples it hears at once."""
        return round(self.config.seconds * self.config.features.sample_rate)

    @torch.inference_mode()
    def logits(self, waveforms: Tensor, batch: int = 256) -> Tensor:
        """Waveforms (n, samples) -> logits (n, classes), in evaluation mode."""
        if waveforms.ndim != 2 or waveforms.shape[1] != self.samples:
            raise UserError(
                f"This spotter hears {self.samples} samples at once, of shape (n, {self.samples}), not "
                f"{tuple(waveforms.shape)}: cut or fill up with lib.cenet.clips.placed."
            )
        if self.model.training:
            self.model.eval()
        device = next(self.model.parameters()).device
        pieces = [self.model(self.model.extract(piece.to(device))).cpu() for piece in waveforms.split(batch)]
        return torch.cat(pieces) if pieces else torch.zeros(0, len(self.class_names))

    def posteriors(self, waveforms: Tensor) -> Tensor:
        """Waveforms (n, samples) -> probabilities (n, classes); each row sums to 1."""
        return self.logits(waveforms).softmax(1)


def load_spotter(folder: Path | str) -> Spotter:
    """Read a checkpoint of ``lib.cenet.train``. Raises UserError when that is not possible."""
    tensors, settings = load_checkpoint(folder, KIND)
    names = settings.get("class_names")
    task, seed = settings.get("task", {}), settings.get("seed", 0)
    whole = isinstance(settings.get("cenet"), dict) and isinstance(task, dict) and isinstance(seed, int)
    if not whole or not isinstance(names, list) or len(names) < 2:
        raise UserError(f"config.json in {folder} has no keyword spotter: it is not a checkpoint of ours.")
    config = KeywordConfig.from_dict(settings["cenet"])
    model = KeywordModel(config, len(names))
    restore_module(model, tensors, "module.model.", folder)
    model.eval().requires_grad_(False)
    return Spotter(config, model, tuple(map(str, names)), str(settings.get("data", "")), seed, task)
