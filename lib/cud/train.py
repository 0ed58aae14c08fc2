"""Train a flow, with or without catch-up, from a configuration; read a trained one back."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.cud.config import CUDConfig
from lib.cud.fit import KIND, Run, fit
from lib.cud.model import build_encoder, build_model
from lib.cud.objective import Objective, Randomness
from lib.cud.points import SHAPES, shape_named
from lib.cud.samplers import SampleResult, sample, steps_for
from lib.errors import UserError
from lib.training.checkpoint import load_checkpoint, restore_module
from lib.training.loop import History
from lib.training.seeding import derive_seed, generator
from lib.vision.data import ImageSet, load_images

POINTS = {"train": 1_200_000, "test": 88_000}
"""Of the plane. More training points than a toy run sees: no point comes twice. The test points are the judge's 8,000
and ten more draws like them."""

Data = ImageSet | Tensor


def piece_size(sample_shape: tuple[int, ...]) -> int:
    """How many samples go through a network at once: a thousand of MNIST's would take gigabytes."""
    return 1000 if math.prod(sample_shape) <= 256 else 100


@dataclass
class TrainedFlow:
    """A trained velocity model and what is needed to use it again.

    Attributes:
        model: the moving average of the weights, in evaluation mode.
        session: 1 after the training proper; 2 after the distillation to one step.
        history: every loss of every step; empty for a flow that was read from a checkpoint.
        method: of ``lib.cud.baselines``, where it was one of those.
    """

    config: CUDConfig
    model: nn.Module
    data: str
    session: int = 1
    history: History = field(default_factory=History)
    method: str = ""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, such as (2,) or (1, 8, 8)."""
        return self.config.network.input_shape

    def noise(self, count: int, seed: int) -> Tensor:
        """Start points at t = 1: (count, ...), the same for the same seed."""
        return torch.randn(count, *self.sample_shape, generator=generator(derive_seed(seed, "noise")))

    def sample(
        self,
        count: int,
        nfe: int,
        *,
        solver: str = "euler",
        seed: int = 0,
        head: int | None = None,
        batch: int | None = None,
    ) -> SampleResult:
        """``count`` samples at ``nfe`` network calls each. Classes are drawn evenly.

        Args:
            batch: how many at once; ``piece_size`` if None.

        Raises:
            UserError: an nfe that the solver cannot spend, an unknown solver, or nothing to sample.
        """
        if count < 1:
            raise UserError(f"the number of samples must be at least 1, not {count}.")
        steps = 1 if solver == "adaptive" else steps_for(solver, nfe)
        batch = batch or piece_size(self.sample_shape)
        device = next(self.model.parameters()).device
        classes = getattr(self.config.network, "classes", 0)
        labels = torch.arange(count) % classes if classes else None
        results = [
            sample(
                self.model,
                piece.to(device),
                steps,
                solver,
                head=head,
                labels=None if labels is None else labels[i * batch : (i + 1) * batch].to(device),
            )
            for i, piece in enumerate(self.noise(count, seed).split(batch))
        ]
        return SampleResult(torch.cat([result.samples.cpu() for result in results]), max(r.nfe for r in results))


def load_data(name: str, split: str = "train", *, size: int | None = None, seed: int = 0) -> Data:
    """A named distribution of the plane (points, (n, 2)), or an image set, known by name or by folder.

    The training and the test points are separate draws.
    """
    if name in SHAPES:
        return shape_named(name)(POINTS[split], generator(derive_seed(seed, "points", split)))
    return load_images(name, split, size)


def train(config: CUDConfig, data: Data | None = None, run: Run | None = None) -> TrainedFlow:
    """One training session: plain flow matching, or with catch-up, as the configuration says.

    Args:
        data: an image set, or a float tensor (n, ...). None loads ``config.data``.
        run: seed, checkpoints, device, bar; the default keeps nothing on disk.

    Raises:
        UserError: data whose shape does not fit the network, a checkpoint that cannot be used, a diverged loss.
    """
    run = run or Run()
    data = load_data(config.data) if data is None else data
    check_shape(config, data)
    batches = run.batches(data, config.optimiser.batch_size, "data", flip=config.horizontal_flip)
    model = build_model(config.network, config.heads, derive_seed(run.seed, "model"))
    companions = {}
    if config.coupling.kind == "learned":
        companions["encoder"] = build_encoder(config.coupling.encoder, derive_seed(run.seed, "encoder"))
    randomness = Randomness(run.generator("pairs"), run.generator("steps"))
    follows_average = config.catch_up is not None and config.catch_up.teacher == "ema"

    def make_loss(modules, average):
        objective = Objective(
            config, modules["model"], average.module if follows_average else None, modules.get("encoder")
        )

        def loss_of(step: int, part: int) -> dict[str, Tensor]:
            x0, labels = batches.batch(part)
            return objective(
                x0,
                randomness,
                labels=labels if getattr(config.network, "classes", 0) else None,
                progress=step / config.optimiser.steps,
            )

        return loss_of

    averaged, history = fit(
        model,
        make_loss,
        config.optimiser,
        run,
        config={"cud": config.to_dict(), "data": data_name(config, data), "seed": run.seed, "session": 1},
        generators={"pairs": randomness.pairs, "steps": randomness.steps},
        companions=companions,
    )
    return TrainedFlow(config, averaged, data_name(config, data), 1, history)


def load_trained(folder: Path | str) -> TrainedFlow:
    """Read a checkpoint of ``train`` or of the second session. Raises UserError when that is not possible."""
    tensors, settings = load_checkpoint(folder, KIND)
    if not isinstance(settings.get("cud"), dict):
        raise UserError(f"config.json in {folder} has no configuration of cud: it is not a checkpoint of ours.")
    config = CUDConfig.from_dict(settings["cud"])
    session = settings.get("session", 1)
    if session not in (1, 2):
        raise UserError(f"config.json in {folder} names session {session}: it is 1 or 2. Restore the file.")
    model = build_model(config.network, config.heads)
    restore_module(model, tensors, "average.model.module.", folder)
    model.eval().requires_grad_(False)
    data, method = str(settings.get("data", config.data)), str(settings.get("method", ""))
    return TrainedFlow(config, model, data, session, method=method)


PROGRESSIVE = "progressive_distillation"


def require_teacher(flow: TrainedFlow) -> None:
    """Refuse a flow that cannot be walked in small steps, so that nothing can be distilled from it."""
    if flow.session != 1:
        raise UserError("this flow has had its second session already: start from a checkpoint of the first.")
    if flow.method == PROGRESSIVE:
        raise UserError("this network was distilled for one number of steps: start from the flow that was its teacher.")


def copy_network(flow: TrainedFlow, heads: int) -> nn.Module:
    """The flow's network with its first heads again, ready to be trained on."""
    copy = build_model(flow.config.network, heads)
    weights = flow.model.state_dict()
    copy.load_state_dict({name: weights[name] for name in copy.state_dict()})
    return copy


def data_name(config: CUDConfig, data: Data) -> str:
    """What a checkpoint says of its data."""
    return data.name if isinstance(data, ImageSet) else config.data


def check_shape(config: CUDConfig, data: Data) -> None:
    """Refuse data that the network cannot take."""
    found = tuple(data.shape) if isinstance(data, ImageSet) else tuple(data.shape[1:])
    wanted = tuple(config.network.input_shape)
    if found != wanted:
        name = data.name if isinstance(data, ImageSet) else "the data"
        raise UserError(
            f"{name} has samples of shape {found}, the network of preset '{config.name}' takes {wanted}: choose "
            "the preset that fits the data, or another data set."
        )
    classes = getattr(config.network, "classes", 0)
    if classes and isinstance(data, ImageSet) and len(data.class_names) > classes:
        raise UserError(
            f"{data.name} has {len(data.class_names)} classes, the network of preset '{config.name}' knows {classes}."
        )
