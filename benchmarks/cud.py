"""Chapter 1: a training step and a sampler of ours, beside torchcfm's, torchdiffeq's and a bare loop."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.timing import Ratio, compare
from lib.cud.config import CUDConfig, scaled, toy, with_method
from lib.cud.fit import Run, Trainer
from lib.cud.model import build_model
from lib.cud.objective import Objective, Randomness
from lib.cud.samplers import sample
from lib.errors import UserError

Step = Callable[[], object]


def _network(config: CUDConfig) -> tuple[nn.Module, Tensor]:
    """A network and a batch, both shared by the two sides: two networks differ by where in memory they lie."""
    data = torch.randn(config.optimiser.batch_size, *config.network.input_shape)
    return build_model(config.network, config.heads), data


def _ours(config: CUDConfig, model: nn.Module, data: Tensor) -> Step:
    """A step of ``lib.cud.fit`` as every training here makes it."""
    chance = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    objective = Objective(config, model)
    trainer = Trainer(
        model, lambda modules, average: lambda step, part: objective(data, chance), config.optimiser, Run()
    )
    count = itertools.count()
    return lambda: trainer.step(next(count))


def _conditional_flow(model: nn.Module, data: Tensor) -> Callable[[], Tensor]:
    """The loss of torchcfm, as its documentation writes it."""
    try:
        from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    except ImportError:
        raise UserError("torchcfm, the peer of this benchmark, is missing: run `make benchmarks`.") from None
    matcher = ConditionalFlowMatcher(sigma=0.0)

    def loss() -> Tensor:
        t, x_t, u = matcher.sample_location_and_conditional_flow(torch.randn_like(data), data)
        return (model(x_t, t) - u).square().mean()

    return loss


def _stepped(loss: Callable[[], Tensor], adam: torch.optim.Adam) -> Step:
    def step() -> None:
        adam.zero_grad()
        loss().backward()
        adam.step()

    return step


def training(seconds: float) -> Iterator[Ratio]:
    """Flow matching against torchcfm on one network; RK12 against our own flow matching."""
    for preset in (toy(), scaled()):
        plain, ahead = with_method(preset, "flow_matching"), with_method(preset, "rk12")
        size = f"{preset.name} network, batch {preset.optimiser.batch_size}"
        model, data = _network(plain)
        ours, theirs = _ours(plain, model, data), _conditional_flow(model, data)
        loop = _stepped(theirs, torch.optim.Adam(model.parameters(), 1e-4))
        yield compare("flow-matching step", size, "torchcfm's loop", ours, loop, seconds=seconds, target=1.0)
        objective, chance = Objective(plain, model), Randomness(torch.Generator(), torch.Generator())
        adam = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
        alone = (_stepped(lambda: objective(data, chance)["loss"], adam), _stepped(theirs, adam))  # noqa: B023
        yield compare("its loss alone", size, "torchcfm, our Adam", *alone, seconds=seconds)
        yield compare(
            "RK12 step", size, "our flow matching", _ours(ahead, model, data), ours, seconds=seconds, target=1.45
        )
    for method in ("rk23", "rk34"):
        config = with_method(toy(), method)
        model, data = _network(config)
        ours = _ours(replace(config, catch_up=None), model, data)
        yield compare(
            f"{method.upper()} step", "toy network, batch 256", "our flow matching", _ours(config, model, data), ours,
            seconds=seconds,
        )  # fmt: skip


def sampling(seconds: float) -> Iterator[Ratio]:
    """Sixteen Euler steps against a bare loop of network calls and against torchdiffeq."""
    from torchdiffeq import odeint

    steps = 16
    for preset, batch in ((toy(), 1), (toy(), 64), (toy(), 4096), (scaled(), 1), (scaled(), 64)):
        model = build_model(preset.network, 1).eval()
        noise = torch.randn(batch, *preset.network.input_shape)
        times = torch.linspace(1, 0, steps + 1)

        @torch.no_grad()
        def bare(model=model, noise=noise) -> Tensor:
            x = noise
            for i in range(steps):
                x = x - model(x, 1 - i / steps) / steps
            return x

        @torch.no_grad()
        def theirs(model=model, noise=noise, times=times) -> Tensor:
            return odeint(lambda t, x: model(x, t), noise, times, method="euler")[-1]

        def ours(model=model, noise=noise) -> Tensor:
            return sample(model, noise, steps).samples

        size = f"{preset.name} network, batch {batch}, {steps} steps"
        yield compare("Euler sampler", size, "bare loop of calls", ours, bare, seconds=seconds, target=1.05)
        yield compare("Euler sampler", size, "torchdiffeq", ours, theirs, seconds=seconds)


def benchmarks(seconds: float) -> Iterator[Ratio]:
    """All of chapter 1."""
    yield from training(seconds)
    yield from sampling(seconds)
