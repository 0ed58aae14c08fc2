"""Adam, a learning-rate curve and a moving average around any loss: the skeleton that every trainer here shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.cud.config import OptimiserConfig
from lib.training.ema import ExponentialMovingAverage
from lib.training.loop import History, LoopSettings, train_loop
from lib.training.progress import LossCurve
from lib.training.schedule import learning_rate, set_learning_rate
from lib.training.seeding import derive_seed, generator, isolated_seed
from lib.training.state import TrainingState

KIND = "cud"


@dataclass(frozen=True)
class Run:
    """How a training is carried out, as opposed to what is trained.

    Attributes:
        seed: of the weights, the data order and all noise.
        out, resume, checkpoint_every: where checkpoints go, whether to go on from one, and how often to write.
        max_steps: stop early, without changing any schedule.
        fabric: a launched Lightning Fabric, for other devices and precisions; None trains on the processor.
        progress, description: the bar and its label. curve: a live figure of the losses.
        workers: processes that read image files ahead.
    """

    seed: int = 0
    out: Path | None = None
    resume: bool = False
    checkpoint_every: int = 0
    max_steps: int | None = None
    fabric: Any = None
    progress: bool = True
    description: str = "training"
    curve: LossCurve | None = None
    workers: int = 0

    def named(self, description: str) -> "Run":
        """The same run under another label."""
        return replace(self, description=description)

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return torch.device("cpu") if self.fabric is None else self.fabric.device

    @property
    def rank(self) -> int:
        """The number of this process among ``world_size``."""
        return 0 if self.fabric is None else self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return 1 if self.fabric is None else self.fabric.world_size

    def generator(self, *names: object) -> torch.Generator:
        """A stream of chance of its own for each purpose and process."""
        return generator(derive_seed(self.seed, *names, self.rank), self.device)


def fit(
    model: nn.Module,
    make_loss: Callable[[dict[str, nn.Module], ExponentialMovingAverage], Callable[[int], Mapping[str, Tensor]]],
    optimiser: OptimiserConfig,
    run: Run,
    *,
    config: dict[str, Any],
    generators: dict[str, torch.Generator],
    companions: dict[str, nn.Module] | None = None,
    steps: int | None = None,
) -> tuple[nn.Module, History]:
    """Minimise a loss by Adam and return the averaged model, in evaluation mode, with the history of the losses.

    Args:
        model: trained in place.
        make_loss: called once with the modules as they must be called (wrapped by Fabric where there is one), under
            ``model`` and the companions' names, and with the moving average. It gives the loss of a step: a mapping
            whose ``loss`` is minimised and whose other entries are recorded.
        companions: networks trained beside the model, such as a coupling's encoder.
        generators: the streams that the loss draws from; they are part of a checkpoint.
        config: what a checkpoint must say to be read again.
        steps: iterations in all; those of ``optimiser`` if None.
    """
    total = steps or optimiser.steps
    modules = {"model": model, **(companions or {})}
    for module in modules.values():
        module.to(run.device).train()
    average = ExponentialMovingAverage(model, optimiser.ema_decay, optimiser.ema_ramp)
    parameters = [p for module in modules.values() for p in module.parameters()]
    adam = torch.optim.Adam(parameters, optimiser.learning_rate, fused=run.device.type in ("cpu", "cuda"))
    called, stepped = modules, adam
    if run.fabric is not None:
        called = {name: run.fabric.setup_module(module) for name, module in modules.items()}
        called["model"].mark_forward_method("all_heads")
        stepped = run.fabric.setup_optimizers(adam)
    loss_of = make_loss(called, average)

    def step(index: int) -> Mapping[str, Tensor]:
        rate = learning_rate(
            index, base=optimiser.learning_rate, warmup=optimiser.warmup, total=total if optimiser.cosine else None
        )
        set_learning_rate(adam, rate)
        losses = loss_of(index)
        stepped.zero_grad()
        if run.fabric is None:
            losses["loss"].backward()
        else:
            run.fabric.backward(losses["loss"])
        stepped.step()
        average.update(model)
        return losses

    settings = LoopSettings(
        steps=min(total, run.max_steps or total),
        checkpoint_every=run.checkpoint_every,
        out=run.out,
        resume=run.resume,
    )
    state = TrainingState(
        kind=KIND,
        config=config,
        modules=modules,
        optimizers={"adam": adam},
        averages={"model": average},
        generators=generators,
        fabric=run.fabric,
    )
    with isolated_seed(derive_seed(run.seed, "dropout", run.rank)):
        history = train_loop(
            step, state=state, settings=settings, progress=run.progress, curve=run.curve, description=run.description
        )
    return average.module, history
