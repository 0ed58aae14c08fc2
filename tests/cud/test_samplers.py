"""Solvers: their order, their agreement with torchdiffeq, and the truth of their bill."""

import math

import pytest
import torch
from torchdiffeq import odeint

from lib.cud.orders import exact, nonlinear
from lib.cud.samplers import (
    ADAMS_BASHFORTH,
    SOLVERS,
    adaptive,
    sample,
    steps_for,
    trajectory,
    uniform_times,
)
from lib.cud.straightness import path_straightness, straightness
from lib.errors import UserError


class Equation(torch.nn.Module):
    """The nonlinear equation in the dress of a velocity model, counting its calls."""

    def __init__(self, heads: int = 1):
        super().__init__()
        self.heads, self.calls, self.asked = [None] * heads, 0, []

    def forward(self, x, t, labels=None, head=1):
        self.calls += 1
        self.asked.append(head)
        return nonlinear(x, t)


START = torch.tensor([[0.7], [-0.3], [1.9]], dtype=torch.float64)


@pytest.mark.parametrize("name", SOLVERS)
def test_global_order(name):
    truth = torch.tensor([[exact(x, 1.0, 0.0)] for x in START.flatten().tolist()], dtype=torch.float64)
    errors = [(sample(Equation(), START, n, name).samples - truth).abs().max().item() for n in (64, 128)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(SOLVERS[name].order, abs=0.2)


@pytest.mark.parametrize(("ours", "theirs"), [("euler", "euler"), ("rk4", "rk4")])
def test_same_walk_as_torchdiffeq(ours, theirs):
    times = torch.tensor(uniform_times(9), dtype=torch.float64)
    options = {"method": theirs}
    if theirs == "rk4":  # its rk4 is the 3/8 rule: compare with a fine walk instead
        reference = odeint(lambda t, x: nonlinear(x, t), START, times, rtol=1e-10, atol=1e-10)
        tolerance = 1e-4
    else:
        reference, tolerance = odeint(lambda t, x: nonlinear(x, t), START, times, **options), 1e-12
    walk = trajectory(Equation(), START, 9, ours)
    assert torch.allclose(walk.points, reference, atol=tolerance, rtol=0)


def test_heun_is_torchdiffeqs_but_for_its_last_interval():
    times = torch.tensor(uniform_times(6), dtype=torch.float64)
    reference = odeint(lambda t, x: nonlinear(x, t), START, times, method="heun2")
    walk = trajectory(Equation(), START, 6, "heun")
    assert torch.allclose(walk.points[:-1], reference[:-1], atol=1e-12)
    last = walk.points[-2] - nonlinear(walk.points[-2], 1 / 6) / 6
    assert torch.allclose(walk.points[-1], last, atol=1e-12)


def test_multistep_rules_by_hand():
    walk = trajectory(Equation(), START, 5, "dpm_solver_2")
    x, v = walk.points, walk.velocities
    assert torch.allclose(x[1], x[0] - v[0] / 5)
    assert torch.allclose(x[3], x[2] - (1.5 * v[2] - 0.5 * v[1]) / 5)
    walk = trajectory(Equation(), START, 5, "deis_2")
    x, v = walk.points, walk.velocities
    assert torch.allclose(x[2], x[1] - v[1] / 5)
    assert torch.allclose(x[3], x[2] - (23 * v[2] - 16 * v[1] + 5 * v[0]) / 60)


def test_adams_bashforth_weights_are_lagrange_integrals():
    for order, weights in ADAMS_BASHFORTH.items():
        nodes = torch.arange(order, dtype=torch.float64).neg()
        powers = torch.stack([nodes**k for k in range(order)])
        integrals = torch.tensor([1 / (k + 1) for k in range(order)], dtype=torch.float64)
        assert torch.linalg.solve(powers, integrals).tolist() == pytest.approx(list(weights))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_network_calls_are_counted(name, steps):
    model = Equation()
    result = sample(model, START, steps, name)
    assert result.nfe == model.calls == SOLVERS[name].calls(steps)
    assert steps_for(name, result.nfe) == steps
    walk = trajectory(Equation(), START, steps, name)
    assert walk.nfe == result.nfe
    assert torch.equal(walk.points[-1], result.samples)
    assert walk.points.shape == (steps + 1, *START.shape)
    assert walk.velocities.shape == (steps, *START.shape)


def test_adaptive_reference():
    model = Equation()
    result = sample(model, START, 1, "adaptive")
    truth = torch.tensor([[exact(x, 1.0, 0.0)] for x in START.flatten().tolist()], dtype=torch.float64)
    assert (result.samples - truth).abs().max() < 1e-2
    assert result.nfe == model.calls - 1  # one more for the read-out velocity, which is not billed
    fine = adaptive(Equation(), START, tolerance=1e-9)
    assert (fine.points[-1] - truth).abs().max() < 1e-7
    assert fine.nfe > result.nfe


def test_the_last_head_is_followed_unless_one_is_named():
    model = Equation(heads=3)
    sample(model, START, 2)
    sample(model, START, 2, head=1)
    assert model.asked == [3, 3, 1, 1]


def test_clean_estimates():
    walk = trajectory(Equation(), START, 4)
    assert torch.allclose(walk.clean_estimates[1], walk.points[1] - 0.75 * walk.velocities[1])


def test_straightness():
    line = torch.linspace(0, 1, 9)[:, None, None] * torch.tensor([[3.0, -2.0]])
    assert straightness(line, torch.tensor(uniform_times(8))) == pytest.approx(0, abs=1e-9)
    # Two steps of slopes a and b: the mean slope is (a + b) / 2, so that S = ((a - b) / 2)².
    bent = torch.tensor([0.0, -0.5 * 3, -0.5 * 3 - 0.5 * 7])[:, None, None]
    assert straightness(bent, torch.tensor([1.0, 0.5, 0.0])) == pytest.approx(4.0)
    assert path_straightness(Equation(), START.float()) > 0.01


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sample(Equation(), START, 0), "at least 1"),
        (lambda: sample(Equation(), START, 4, "rk5"), "euler, heun"),
        (lambda: steps_for("euler", 0), "nfe must be at least 1"),
        (lambda: steps_for("heun", 4), "odd"),
        (lambda: steps_for("rk4", 6), "multiple of 4"),
    ],
)
def test_bad_requests(call, words):
    with pytest.raises(UserError, match=words):
        call()
