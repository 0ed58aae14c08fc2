"""Chapter 1: a training step and a sampler of ours, beside torchcfm's, torchdiffeq's and a bare loop."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.timing import Ratio, compare
from lib.cud.config import CUDConfig, scaled, toy, with_method
from lib.cud.model import build_model
from lib.cud.objective import Objective, Randomness
from lib.cud.samplers import sample
from lib.errors import UserError

Loss = Callable[[nn.Module, Tensor], Tensor]


def _ours(config: CUDConfig, model: nn.Module) -> Loss:
    objective = Objective(config, model)
    chance = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    return lambda model, x: objective(x, chance)["loss"]


def _torchcfm() -> Loss:
    try:
        from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    except ImportError:
        raise UserError("torchcfm, the peer of this benchmark, is missing: run `make benchmarks`.") from None
    matcher = ConditionalFlowMatcher(sigma=0.0)

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        t, x_t, u = matcher.sample_location_and_conditional_flow(torch.randn_like(x), x)
        return (model(x_t, t) - u).square().mean()

    return loss


def _steps(config: CUDConfig, *makers: Callable[[CUDConfig, nn.Module], Loss]) -> list[Callable[[], None]]:
    """One optimiser step for each loss, on ONE network: two would differ by where in memory they lie."""
    model = build_model(config.network, config.heads)
    adam = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    data = torch.randn(config.optimiser.batch_size, *config.network.input_shape)

    def step_of(loss: Loss) -> Callable[[], None]:
        def step() -> None:
            value = loss(model, data)
            adam.zero_grad()
            value.backward()
            adam.step()

        return step

    return [step_of(make(config, model)) for make in makers]


def training(seconds: float) -> Iterator[Ratio]:
    """Flow matching against torchcfm on one network; RK12 against our own flow matching."""
    for preset in (toy(), scaled()):
        plain, ahead = with_method(preset, "flow_matching"), with_method(preset, "rk12")
        size = f"{preset.name} network, batch {preset.optimiser.batch_size}"
        ours, theirs = _steps(plain, _ours, lambda config, model: _torchcfm())
        yield compare("flow-matching step", size, "torchcfm", ours, theirs, seconds=seconds, target=1.0)
        yield compare("RK12 step", size, "our flow matching", *_steps(ahead, _ours), ours, seconds=seconds, target=1.45)
    for method in ("rk23", "rk34"):
        config = with_method(toy(), method)
        ours, *_ = _steps(replace(config, catch_up=None), _ours)
        yield compare(
            f"{method.upper()} step", "toy network, batch 256", "our flow matching", *_steps(config, _ours), ours,
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
