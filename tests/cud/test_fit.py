"""A step that goes through its batch in parts is the same step."""

from dataclasses import replace

import pytest
import torch

from lib.cud.config import CUDConfig, OptimiserConfig, SecondSessionConfig, toy, with_method
from lib.cud.fit import Run, fit
from lib.cud.model import build_model
from lib.cud.second_session import second_session
from lib.cud.train import load_trained, train
from lib.errors import UserError
from lib.training.checkpoint import load_checkpoint

RUN = Run(seed=0, progress=False)
POINTS = torch.randn(100, 2, generator=torch.Generator().manual_seed(5))


def small(method: str = "rk12", steps: int = 12) -> CUDConfig:
    config = with_method(toy(), method)
    return replace(config, optimiser=replace(config.optimiser, steps=steps, batch_size=24, warmup=2))


def regression(accumulate: int, data: torch.Tensor = POINTS) -> tuple[torch.Tensor, list[float]]:
    """Weights and losses of a fit without noise: the network learns to be the identity at t = 1."""
    run = replace(RUN, accumulate=accumulate)
    batches = run.batches(data, 12, "data")

    def make_loss(modules, average):
        def loss_of(step, part):
            x, _ = batches.batch(part)
            assert part // accumulate == step
            return {"loss": (modules["model"](x, 1.0) - x).square().mean()}

        return loss_of

    optimiser = OptimiserConfig(steps=20, batch_size=12, learning_rate=1e-3)
    model, history = fit(build_model(toy().network), make_loss, optimiser, run, config={}, generators={})
    return torch.cat([weight.flatten() for weight in model.parameters()]), list(history["loss"])


@pytest.mark.parametrize("accumulate", [2, 3, 12])
def test_parts_of_a_batch_add_up_to_the_same_step(accumulate):
    whole, parts = regression(1), regression(accumulate)
    assert torch.allclose(whole[0], parts[0], atol=2e-5)
    assert parts[1] == pytest.approx(whole[1], rel=1e-4)
    other = regression(accumulate, POINTS.flip(0))
    assert not torch.allclose(whole[0], other[0], atol=2e-5)  # another order of the data shows


def test_parts_laid_side_by_side_are_the_batch():
    whole = RUN.batches(POINTS, 24, "data")
    parts = replace(RUN, accumulate=4).batches(POINTS, 24, "data")
    for step in range(9):  # twice over the end of an epoch
        pieces = [parts.batch(4 * step + i)[0] for i in range(4)]
        assert torch.equal(torch.cat(pieces), whole.batch(step)[0])


@pytest.mark.parametrize("accumulate", [0, 5, 48])
def test_a_batch_must_fall_into_equal_parts(accumulate):
    with pytest.raises(UserError, match=f"batch of 24 does not fall into {accumulate} equal parts"):
        train(small(), POINTS, replace(RUN, accumulate=accumulate))


def test_a_resumed_run_in_parts_equals_an_unbroken_one(tmp_path):
    run = replace(RUN, accumulate=3)
    whole = train(small("rk23"), POINTS, replace(run, out=tmp_path / "whole"))
    train(small("rk23"), POINTS, replace(run, out=tmp_path / "parts", max_steps=5))
    assert load_checkpoint(tmp_path / "parts", "cud")[1]["accumulate"] == 3
    with pytest.raises(UserError, match="started with accumulate = 3, now it is 1"):
        train(small("rk23"), POINTS, replace(RUN, out=tmp_path / "parts", resume=True))
    parts = train(small("rk23"), POINTS, replace(run, out=tmp_path / "parts", resume=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True))
    assert (whole.history["loss"] == parts.history["loss"]).all()
    assert load_trained(tmp_path / "parts").config == small("rk23")


def test_the_second_session_goes_through_its_stages_in_steps_not_in_parts():
    session = SecondSessionConfig(pairs=48, steps=4, batch_size=24, learning_rate=1e-3)
    flow = train(small(), POINTS, RUN)
    whole, parts = (second_session(flow, replace(RUN, accumulate=n), session) for n in (1, 4))
    assert parts.history.steps == 12
    assert list(parts.history["distillation"]) == pytest.approx(list(whole.history["distillation"]), rel=1e-4)
