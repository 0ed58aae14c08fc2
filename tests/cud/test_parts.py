"""Flow, step sizes, couplings, wavelets and points: the small parts, against references and by hand."""

import itertools

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.cud.coupling import couple, learned_pairing, optimal_pairing
from lib.cud.flow import clean_estimate, draw_times, flow_matching_loss, interpolate, velocity_target
from lib.cud.points import SHAPES, shape_named
from lib.cud.step_sizes import STRATEGIES, draw_step_sizes, expected_lag, mean_step_size
from lib.cud.wavelet import high_frequency, wavelet_loss
from lib.errors import UserError


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_path_starts_at_data_and_ends_at_noise():
    x0, x1 = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    assert torch.equal(interpolate(x0, x1, torch.zeros(3)), x0)
    assert torch.allclose(interpolate(x0, x1, torch.ones(3)), x1)
    t = torch.tensor([0.2, 0.5, 0.9])
    x_t, u = interpolate(x0, x1, t), velocity_target(x0, x1)
    assert torch.allclose(clean_estimate(x_t, t, u), x0, atol=1e-6)


def test_the_velocity_is_the_derivative_of_the_path():
    x0, x1, t = torch.randn(4, 2).double(), torch.randn(4, 2).double(), torch.rand(4).double()
    slope = (interpolate(x0, x1, t + 1e-6) - interpolate(x0, x1, t - 1e-6)) / 2e-6
    assert torch.allclose(slope, velocity_target(x0, x1), atol=1e-6)


def test_all_heads_learn_the_same_velocity():
    target, heads = torch.randn(5, 2), (torch.randn(5, 2), torch.randn(5, 2))
    assert flow_matching_loss(heads, target).item() == pytest.approx(
        sum(((v - target) ** 2).mean().item() for v in heads)
    )


def test_times():
    t = draw_times(20_000, chance())
    assert t.min() >= 1e-5
    assert t.max() <= 1
    assert t.mean().item() == pytest.approx(0.5, abs=0.01)
    on_grid = draw_times(5_000, chance(), grid=16)
    assert sorted({round(x * 16, 6) for x in on_grid.tolist()}) == list(range(1, 17))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_step_sizes(strategy):
    t = draw_times(20_000, chance(1))
    h = draw_step_sizes(t, strategy, 16, chance())
    assert h.min() >= 0
    assert h.max() <= 1 / 16
    assert h.mean().item() == pytest.approx(mean_step_size(strategy, 16), rel=0.02)


def test_discrete_steps_lie_on_the_grid_and_never_pass_the_data():
    t = draw_times(2_000, chance(), grid=16)
    h = draw_step_sizes(t, "uniform", 16, chance(1), discrete=True)
    assert torch.allclose((h * 16).round(), h * 16)
    assert (h < t).all()
    assert (h == 0).any()
    with pytest.raises(UserError, match="no discrete form"):
        draw_step_sizes(t, "rule", 16, chance(), discrete=True)
    with pytest.raises(UserError, match="uniform, rule, fixed"):
        draw_step_sizes(t, "cosine", 16, chance())
    with pytest.raises(UserError, match="at least 1"):
        draw_step_sizes(t, "uniform", 0, chance())


def test_lag_law():
    # By hand, at w1 = w2 and uniform steps, T_N = 16: λ_i = (i + 1) / 2 · 1/32.
    assert [expected_lag("uniform", 16, head) * 32 for head in (1, 2, 3)] == pytest.approx([1, 1.5, 2])
    assert expected_lag("fixed", 4) == pytest.approx(1 / 4)
    assert expected_lag("uniform", 16, ratio=float("inf")) == float("inf")


@given(st.integers(1, 3), st.floats(0.05, 4), st.integers(2, 32))
def test_lag_is_the_fixed_point_of_its_recursion(head, ratio, grid):
    # u(t) = t has slope 1: v(t) = (u(t) + ratio * v1(t - ih)) / (1 + ratio) = t - lag.
    h = mean_step_size("fixed", grid)
    lag1 = 0.0
    for _ in range(2000):
        lag1 = ratio * (lag1 + h) / (1 + ratio)
    assert expected_lag("fixed", grid, head, ratio) == pytest.approx(ratio * (lag1 + head * h) / (1 + ratio), rel=1e-6)


def test_optimal_pairing_against_all_orders():
    x0, noise = torch.randn(6, 2, generator=chance()), torch.randn(6, 2, generator=chance(1))
    best = min(itertools.permutations(range(6)), key=lambda order: (x0 - noise[list(order)]).square().sum().item())
    assert torch.equal(optimal_pairing(x0, noise), noise[list(best)])


def test_learned_coupling():
    x0, noise = torch.randn(200, 3, generator=chance()), torch.randn(200, 3, generator=chance(1))
    mean, spread = torch.full_like(x0, 0.5), torch.full_like(x0, -1.0)
    pair = learned_pairing(lambda x: (mean, spread), x0, noise)
    assert torch.allclose(pair.x1, 0.5 + np.exp(-0.5) * noise)
    q = torch.distributions.Normal(mean, (spread / 2).exp())
    reference = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean()
    assert pair.divergence.item() == pytest.approx(reference.item(), rel=1e-5)


def test_couplings_by_name():
    x0, noise = torch.randn(4, 2), torch.randn(4, 2)
    assert couple("independent", x0, noise).x1 is noise
    with pytest.raises(UserError, match="needs an encoder"):
        couple("learned", x0, noise)
    with pytest.raises(UserError, match="independent, minibatch_ot, learned"):
        couple("sinkhorn", x0, noise)


@pytest.mark.parametrize("side", [8, 13, 32])
def test_wavelet_details_against_pywavelets(side):
    images = torch.randn(2, 3, side, side, generator=chance(), dtype=torch.float64)
    details = high_frequency(images)
    _, reference = pywt.dwt2(images.numpy(), "db3", mode="zero", axes=(-2, -1))
    for band, expected in enumerate(reference):
        assert np.allclose(details[:, :, band].numpy(), expected, atol=1e-10)


def test_wavelet_loss_is_the_mean_of_the_hardest_fifth():
    x0, x1, v = (torch.randn(2, 1, 8, 8, generator=chance(i)) for i in range(3))
    assert wavelet_loss(x1, x1 - x0, x0).item() == pytest.approx(0, abs=1e-5)
    difference = (high_frequency(x1 - v) - high_frequency(x0)).abs().flatten(1)
    expected = np.sort(difference.numpy(), axis=1)[:, ::-1][:, : int(0.2 * difference.shape[1])].mean()
    assert wavelet_loss(x1, v, x0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_points(name):
    points = shape_named(name)(4_000, chance())
    assert points.shape == (4_000, 2)
    assert torch.equal(points, shape_named(name)(4_000, chance()))
    assert points.mean(0).abs().max() < 0.1
    assert 0.5 < points.std() < 1.8


def test_a_quarter_of_the_board_is_black_in_each_row():
    points = shape_named("checkerboard")(4_000, chance())
    cells = (points + 2).floor().long()
    assert ((cells[:, 0] + cells[:, 1]) % 2 == 0).all()
    assert len({tuple(cell) for cell in cells.tolist()}) == 8
