"""What catch-up is compared with, on the same network, data and trainer.

Plain flow matching, minibatch optimal transport and the learnt coupling are configurations of ``train``
(``lib.cud.config.with_method``). Here are the peers that need an algorithm of their own: reflow, progressive
distillation, consistency training and consistency distillation. All are written from their own papers, because the
official repository's versions of the last two are no faithful stand-ins (our reading of its code).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.cud.config import CUDConfig, OptimiserConfig
from lib.cud.fit import Run, fit
from lib.cud.flow import clean_estimate, expand_time, interpolate
from lib.cud.model import build_model
from lib.cud.samplers import SampleResult, sample
from lib.cud.train import (
    PROGRESSIVE,
    Data,
    TrainedFlow,
    check_shape,
    copy_network,
    data_name,
    piece_size,
    require_teacher,
)
from lib.errors import UserError
from lib.training.digest import weights_digest
from lib.training.loop import History
from lib.training.seeding import derive_seed, generator


def reflow(
    flow: TrainedFlow, run: Run | None = None, *, pairs: int, steps: int, teacher_steps: int = 32
) -> TrainedFlow:
    """2-rectified flow: flow matching on the pairs (noise, where the trained flow carries it).

    Source: Liu, Gong and Liu, "Flow straight and fast", 2022. The student starts from the trained weights.

    Args:
        pairs: how many noises are carried, by ``teacher_steps`` Euler steps.
        steps: training iterations.
    """
    require_teacher(flow)
    run = run or Run()
    noise = flow.noise(pairs, derive_seed(run.seed, "reflow"))
    device = next(flow.model.parameters()).device
    pieces = noise.split(piece_size(flow.sample_shape))
    ends = torch.cat([sample(flow.model, piece.to(device), teacher_steps).samples.cpu() for piece in pieces])
    batches = run.batches(torch.stack([ends, noise], dim=1), flow.config.optimiser.batch_size, "data")
    times = run.generator("reflow times")

    def loss(model: nn.Module, step: int, part: int) -> Tensor:
        rows, _ = batches.batch(part)
        x0, x1 = rows[:, 0], rows[:, 1]
        t = torch.rand(len(x0), generator=times, device=times.device)
        return nn.functional.mse_loss(model(interpolate(x0, x1, t), t), x1 - x0)

    config = replace(flow.config, catch_up=None)
    # A checkpoint says what the pairs came from: a run that is resumed from another flow is refused.
    source = {"weights": weights_digest(flow.model), "pairs": pairs, "teacher_steps": teacher_steps, "steps": steps}
    return _fit_flow(
        copy_network(flow, 1),
        config,
        flow.data,
        loss,
        steps,
        run,
        {"reflow times": times},
        method="reflow",
        source=source,
    )


def progressive_distillation(
    flow: TrainedFlow, run: Run | None = None, *, data: Data, steps: int, start: int = 16
) -> dict[int, TrainedFlow]:
    """Halve the number of steps, round after round: a network of its own for each number of steps.

    One Euler step of the student must land where two of its teacher do. Source: Salimans and Ho, "Progressive
    distillation for fast sampling of diffusion models", 2022, with the straight-line velocity in place of their v.

    Each round has a folder of its own below ``run.out`` (``round_folder``), and a resumed run goes through the
    finished ones at once.

    Args:
        run: its ``max_steps`` are counted over all rounds.
        steps: training iterations over all rounds.
        start: the number of Euler steps of the first teacher, a power of two.

    Returns:
        {start / 2: student, ..., 1: student}; a run that ``max_steps`` ends early lacks the last ones.
    """
    if start < 2 or start & (start - 1):
        raise UserError(f"progressive distillation starts from a power of two above 1, not {start}.")
    require_teacher(flow)
    check_shape(flow.config, data)
    run, students, teacher = run or Run(), {}, flow
    name = data_name(flow.config, data)
    rounds = start.bit_length() - 1
    each = max(1, steps // rounds)
    left = each * rounds if run.max_steps is None else run.max_steps
    batches = run.batches(data, flow.config.optimiser.batch_size, "data", flip=flow.config.horizontal_flip)
    for number in range(1, rounds + 1):
        grid = start >> number
        chance = run.generator("progressive distillation", grid)

        def loss(model: nn.Module, step: int, part: int, grid=grid, teacher=teacher, chance=chance) -> Tensor:
            x0, _ = batches.batch(part)
            noise = torch.randn(x0.shape, generator=chance, device=chance.device)
            t = torch.randint(1, grid + 1, (len(x0),), generator=chance, device=chance.device) / grid
            x, h = interpolate(x0, noise, t), 0.5 / grid
            with torch.no_grad():
                middle = x - h * teacher.model(x, t)
                landing = middle - h * teacher.model(middle, t - h)
            return nn.functional.mse_loss(model(x, t), (x - landing) / (2 * h))

        config = replace(flow.config, catch_up=None)
        out = None if run.out is None else round_folder(run.out, grid)
        teacher = _fit_flow(
            copy_network(teacher, 1), config, name, loss, each,
            replace(run, out=out, max_steps=left, description=f"{grid} steps"), {"chance": chance},
            method=PROGRESSIVE,
            source={"weights": weights_digest(teacher.model), "steps": each},
        )  # fmt: skip
        students[grid] = teacher
        left -= each
        if left <= 0:
            break
    return students


def round_folder(out: Path, grid: int) -> Path:
    """Where progressive distillation keeps the student that takes ``grid`` steps."""
    return out / f"{grid}-steps"


@dataclass
class ConsistencyFlow:
    """A network whose f(x, t) = x - t v(x, t) jumps from any point of a path to its data end; f(x, 0) = x by make."""

    config: CUDConfig
    model: nn.Module
    history: History

    @torch.no_grad()
    def sample(self, count: int, nfe: int, *, seed: int = 0) -> SampleResult:
        """Jump to the data end, then noise again and jump again, ``nfe`` times at the times nfe/nfe, ..., 1/nfe."""
        if nfe < 1:
            raise UserError(f"nfe must be at least 1, not {nfe}: a sample needs one network call or more.")
        shape, chance = (count, *self.config.network.input_shape), generator(derive_seed(seed, "noise"))
        device, piece = next(self.model.parameters()).device, piece_size(shape[1:])
        x = torch.zeros(shape)
        for i in range(nfe, 0, -1):
            t = torch.tensor(i / nfe)
            noisy = (1 - t) * x + t * torch.randn(shape, generator=chance)
            velocity = [self.model(part.to(device), t.to(device)).cpu() for part in noisy.split(piece)]
            x = clean_estimate(noisy, t, torch.cat(velocity))
        return SampleResult(x, nfe)


def pseudo_huber(difference: Tensor) -> Tensor:
    """sqrt(|d|² + c²) - c for each sample, with c = 0.00054 sqrt(dimensions): (batch,).

    Source: Song and Dhariwal, "Improved techniques for training consistency models", 2023.
    """
    flat = difference.flatten(1)
    c = 0.00054 * flat.shape[1] ** 0.5
    return (flat.square().sum(1) + c * c).sqrt() - c


def grid_size(progress: float, first: int = 8, last: int = 64) -> int:
    """The number of time cells at ``progress`` in [0, 1): doubled in equal shares of the run from first to last."""
    doublings = (last // first).bit_length()
    return first * 2 ** min(int(progress * doublings), doublings - 1)


def consistency_training(config: CUDConfig, data: Data, run: Run | None = None) -> ConsistencyFlow:
    """f at t and f at the next smaller time of the SAME straight pair must agree; no teacher is needed.

    Source: Song et al., "Consistency models", 2023, with the later pseudo-Huber loss, doubling time grid (8 to 64) and
    weights 1 / (t - s), on the straight-line path of this book.
    """

    def previous(x: Tensor, t: Tensor, s: Tensor, x0: Tensor, noise: Tensor) -> Tensor:
        return interpolate(x0, noise, s)

    model = build_model(config.network, 1, derive_seed((run or Run()).seed, "model"))
    return _consistency(model, config, data, run, previous, method="consistency_training")


def consistency_distillation(flow: TrainedFlow, data: Data, run: Run | None = None) -> ConsistencyFlow:
    """As ``consistency_training``, but the point at the smaller time is one Heun step of a trained flow away."""

    def previous(x: Tensor, t: Tensor, s: Tensor, x0: Tensor, noise: Tensor) -> Tensor:
        h = expand_time(t - s, x)
        slope = flow.model(x, t)
        return x - h / 2 * (slope + flow.model(x - h * slope, s))

    require_teacher(flow)
    source = {"weights": weights_digest(flow.model)}
    return _consistency(
        copy_network(flow, 1), flow.config, data, run, previous, method="consistency_distillation", source=source
    )


def _consistency(
    model: nn.Module,
    config: CUDConfig,
    data: Data,
    run: Run | None,
    previous: Callable,
    *,
    method: str,
    source: dict[str, Any] | None = None,
) -> ConsistencyFlow:
    run = run or Run()
    check_shape(config, data)
    batches = run.batches(data, config.optimiser.batch_size, "data", flip=config.horizontal_flip)
    chance = run.generator("consistency")

    def loss(model: nn.Module, step: int, part: int) -> Tensor:
        x0, _ = batches.batch(part)
        grid = grid_size(step / config.optimiser.steps)
        noise = torch.randn(x0.shape, generator=chance, device=chance.device)
        cell = torch.randint(1, grid + 1, (len(x0),), generator=chance, device=chance.device)
        t, s = cell / grid, (cell - 1) / grid
        x = interpolate(x0, noise, t)
        with torch.no_grad():
            before = previous(x, t, s, x0, noise)
            target = clean_estimate(before, s, model(before, s))
        return grid * pseudo_huber(clean_estimate(x, t, model(x, t)) - target).mean()

    flow = _fit_flow(
        model, replace(config, catch_up=None), data_name(config, data), loss, config.optimiser.steps, run,
        {"consistency": chance}, method=method, source=source,
    )  # fmt: skip
    return ConsistencyFlow(flow.config, flow.model, flow.history)


def _fit_flow(
    model: nn.Module,
    config: CUDConfig,
    data: str,
    loss: Callable[[nn.Module, int, int], Tensor],
    steps: int,
    run: Run,
    generators: dict[str, torch.Generator],
    *,
    method: str,
    source: dict[str, Any] | None = None,
) -> TrainedFlow:
    """Minimise ``loss`` over (model, step, part). A checkpoint tells the method, and what the run started from."""
    optimiser: OptimiserConfig = replace(config.optimiser, steps=steps)

    def make_loss(modules, average):
        return lambda step, part: {"loss": loss(modules["model"], step, part)}

    settings: dict[str, Any] = {
        "cud": config.to_dict(), "data": data, "seed": run.seed, "session": 1, "method": method,
    }  # fmt: skip
    if source is not None:
        settings["source"] = source
    averaged, history = fit(model, make_loss, optimiser, run, config=settings, generators=generators)
    return TrainedFlow(config, averaged, data, 1, history, method)
