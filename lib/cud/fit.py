"""Adam, a learning-rate curve and a moving average around any loss: the skeleton that every trainer here shares."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lib.cud.config import OptimiserConfig
from lib.errors import UserError
from lib.training.ema import ExponentialMovingAverage
from lib.training.loop import History, train_loop
from lib.training.run import Run as AnyRun
from lib.training.schedule import learning_rate, set_learning_rate
from lib.training.seeding import derive_seed, isolated_seed
from lib.training.state import TrainingState
from lib.vision.batches import Batches
from lib.vision.data import ImageSet

KIND = "cud"


@dataclass(frozen=True)
class Run(AnyRun):
    """A run of this system: noise is drawn part by part, and pairs are assigned within a part of ``accumulate``."""

    def batches(self, data: ImageSet | Tensor, batch_size: int, *names: object, flip: bool = False) -> Batches:
        """The data in parts of batches, in an order of their own for each purpose: part ``p`` is ``batch(p)``.

        Raises:
            UserError: a batch that does not fall into so many equal parts.
        """
        if self.accumulate < 1 or batch_size % self.accumulate:
            raise UserError(f"a batch of {batch_size} does not fall into {self.accumulate} equal parts.")
        return Batches(
            data,
            batch_size // self.accumulate,
            derive_seed(self.seed, *names),
            flip=flip,
            rank=self.rank,
            world_size=self.world_size,
            device=self.device,
            workers=self.workers,
        )


Loss = Callable[[int, int], Mapping[str, Tensor]]
"""(step, part) -> a mapping whose ``loss`` is minimised and whose other entries are recorded. Parts are counted over
the whole run: those of step i are i n, ..., i n + n - 1, with n = ``Run.accumulate``."""


MakeLoss = Callable[[dict[str, nn.Module], ExponentialMovingAverage], Loss]
"""Called once, with the modules as they must be called (wrapped by Fabric where there is one) under ``model`` and the
companions' names, and with the moving average."""


class Trainer:
    """One step of training after the other: loss, backward pass, Adam, moving average.

    Attributes:
        modules: the model and its companions, under the names of ``MakeLoss``.
        adam: the optimiser of all of them. average: the moving average of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        make_loss: MakeLoss,
        optimiser: OptimiserConfig,
        run: Run,
        *,
        companions: dict[str, nn.Module] | None = None,
    ) -> None:
        self.optimiser, self.run = optimiser, run
        self.modules = {"model": model, **(companions or {})}
        for module in self.modules.values():
            module.to(run.device).train()
        self.average = ExponentialMovingAverage(model, optimiser.ema_decay, optimiser.ema_start)
        parameters = [p for module in self.modules.values() for p in module.parameters()]
        self.adam = torch.optim.Adam(parameters, optimiser.learning_rate, fused=run.device.type in ("cpu", "cuda"))
        self._called, self._stepped = self.modules, self.adam
        if run.fabric is not None:
            self._called = {name: run.fabric.setup_module(module) for name, module in self.modules.items()}
            self._called["model"].mark_forward_method("all_heads")
            self._stepped = run.fabric.setup_optimizers(self.adam)
        self._loss_of = make_loss(self._called, self.average)

    def step(self, index: int) -> Mapping[str, Tensor]:
        """Step ``index``, counted from 0. Returns its losses."""
        chosen = self.optimiser
        rate = learning_rate(
            index, base=chosen.learning_rate, warmup=chosen.warmup, total=chosen.steps if chosen.cosine else None
        )
        set_learning_rate(self.adam, rate)
        self._stepped.zero_grad()
        losses = _accumulate(self._loss_of, index, self.run, self._called)
        self._stepped.step()
        self.average.update(self.modules["model"])
        return losses


def fit(
    model: nn.Module,
    make_loss: MakeLoss,
    optimiser: OptimiserConfig,
    run: Run,
    *,
    config: dict[str, Any],
    generators: dict[str, torch.Generator],
    companions: dict[str, nn.Module] | None = None,
) -> tuple[nn.Module, History]:
    """Minimise a loss by Adam and return the averaged model, in evaluation mode, with the history of the losses.

    Args:
        model: trained in place.
        make_loss: gives the loss of a part of a step.
        companions: networks trained beside the model, such as a coupling's encoder.
        generators: the streams that the loss draws from; they are part of a checkpoint.
        config: what a checkpoint must say to be read again.
    """
    trainer = Trainer(model, make_loss, optimiser, run, companions=companions)
    settings = run.loop_settings(optimiser.steps)
    state = TrainingState(
        kind=KIND,
        config=config | {"accumulate": run.accumulate},
        modules=trainer.modules,
        optimizers={"adam": trainer.adam},
        averages={"model": trainer.average},
        generators=generators,
        fabric=run.fabric,
    )
    with isolated_seed(derive_seed(run.seed, "dropout", run.rank)):
        history = train_loop(
            trainer.step,
            state=state,
            settings=settings,
            progress=run.progress,
            curve=run.curve,
            description=run.description,
        )
    return trainer.average.module, history


def _accumulate(loss_of: Loss, index: int, run: Run, called: Mapping[str, nn.Module]) -> Mapping[str, Tensor]:
    """Add up the gradients of a step's parts, and return the mean of their losses."""
    losses: list[Mapping[str, Tensor]] = []
    for part in range(run.accumulate):
        with ExitStack() as local:
            if run.fabric is not None:  # several devices exchange gradients once a step, after the last part
                for module in called.values():
                    local.enter_context(run.fabric.no_backward_sync(module, enabled=part + 1 < run.accumulate))
            found = loss_of(index, index * run.accumulate + part)
            loss = found["loss"] if run.accumulate == 1 else found["loss"] / run.accumulate
            if run.fabric is None:
                loss.backward()
            else:
                run.fabric.backward(loss)
        losses.append({name: value.detach() for name, value in found.items()})
    if run.accumulate == 1:
        return losses[0]
    return {name: torch.stack([found[name] for found in losses]).mean() for name in losses[0]}
