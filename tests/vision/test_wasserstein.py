"""Sliced Wasserstein and energy distance against SciPy, optimal assignment and plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import energy_distance as scipy_energy_distance
from scipy.stats import wasserstein_distance

from lib.training.seeding import generator
from lib.vision.wasserstein import energy_distance, sliced_wasserstein


def cloud(count, dimension, seed, shift=0.0):
    return torch.randn(count, dimension, generator=generator(seed), dtype=torch.float64) + shift


@pytest.mark.parametrize("count", [1, 2, 9])
def test_one_dimension_is_the_best_assignment(count):
    """In one dimension each direction is +1 or -1, so the sliced distance is W_2 itself."""
    a, b = cloud(count, 1, 0), cloud(count, 1, 1, shift=0.5)
    costs = (a - b.T).square().numpy()
    rows, columns = linear_sum_assignment(costs)
    best = math.sqrt(costs[rows, columns].mean())
    assert sliced_wasserstein(a, b, projections=3) == pytest.approx(best, rel=1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 50))
@settings(deadline=None, max_examples=60)
def test_unequal_numbers_are_as_if_each_point_were_repeated(n, m, seed):
    """n and m points, each repeated m and n times, have equal numbers and the same distributions."""
    a, b = cloud(n, 1, seed), cloud(m, 1, seed + 1)
    costs = (a.repeat_interleave(m, 0) - b.repeat_interleave(n, 0).T).square().numpy()
    rows, columns = linear_sum_assignment(costs)
    best = math.sqrt(costs[rows, columns].mean())
    assert sliced_wasserstein(a, b, projections=2) == pytest.approx(best, rel=1e-9)


def test_a_shift_in_one_dimension_agrees_with_scipy():
    """For a pure shift all W_p are equal, so SciPy's W_1 is the reference."""
    a = cloud(50, 1, 0)
    expected = wasserstein_distance(a[:, 0].numpy(), a[:, 0].numpy() + 0.7)
    assert sliced_wasserstein(a, a + 0.7) == pytest.approx(expected)


def test_it_is_the_root_mean_square_over_the_drawn_directions():
    a, b = cloud(30, 2, 0), cloud(30, 2, 1, shift=1.0)
    directions = torch.randn(2, 70, generator=generator(5), dtype=torch.float64)
    directions = directions / directions.norm(dim=0)
    squares = [
        (np.sort((a @ direction).numpy()) - np.sort((b @ direction).numpy())).__pow__(2).mean()
        for direction in directions.T
    ]
    found = sliced_wasserstein(a, b, projections=70, generator=generator(5))
    assert found == pytest.approx(math.sqrt(np.mean(squares)))


def test_a_shift_of_many_dimensions_has_its_known_length():
    """|shift|^2 / dimension is the mean squared length of the projected shift."""
    a = cloud(20, 4, 0)
    found = sliced_wasserstein(a, a + torch.tensor([2.0, 0.0, 0.0, 0.0]), projections=20000)
    assert found == pytest.approx(2.0 / math.sqrt(4), rel=0.02)


def test_without_a_generator_the_directions_are_always_the_same():
    a, b = cloud(20, 2, 0), cloud(20, 2, 1)
    torch.manual_seed(1)
    first = sliced_wasserstein(a, b)
    torch.manual_seed(2)
    assert sliced_wasserstein(a, b) == first
    assert sliced_wasserstein(a, b, generator=generator(9)) != first


def test_equal_clouds_are_at_distance_zero_whatever_their_order():
    a = cloud(40, 3, 0)
    assert sliced_wasserstein(a, a.flip(0)) == pytest.approx(0.0, abs=1e-12)
    assert energy_distance(a, a.flip(0)) == pytest.approx(0.0, abs=1e-12)


def test_images_are_flattened():
    a, b = cloud(8, 4, 0), cloud(8, 4, 1)
    images = a.reshape(8, 1, 2, 2), b.reshape(8, 1, 2, 2)
    assert sliced_wasserstein(*images) == sliced_wasserstein(a, b)
    assert energy_distance(*images) == energy_distance(a, b)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 50))
@settings(deadline=None, max_examples=40)
def test_energy_distance_is_the_square_of_scipys(n, m, seed):
    a, b = cloud(n, 1, seed), cloud(m, 1, seed + 1, shift=0.3)
    expected = scipy_energy_distance(a[:, 0].numpy(), b[:, 0].numpy()) ** 2
    assert energy_distance(a, b) == pytest.approx(expected, abs=1e-9)


def test_energy_distance_by_plain_loops():
    a, b = cloud(5, 3, 0), cloud(7, 3, 1)

    def mean(x, y):
        return np.mean([math.dist(p, q) for p in x.tolist() for q in y.tolist()])

    assert energy_distance(a, b) == pytest.approx(2 * mean(a, b) - mean(a, a) - mean(b, b))


def test_large_clouds_are_split_without_a_change():
    a, b = cloud(1500, 2, 0), cloud(1100, 2, 1)
    direct = 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
    assert energy_distance(a, b) == pytest.approx(direct.item(), abs=1e-6)


def test_impossible_clouds_are_refused():
    with pytest.raises(ValueError, match="dimensions"):
        sliced_wasserstein(cloud(3, 2, 0), cloud(3, 3, 0))
    with pytest.raises(ValueError, match="shape"):
        energy_distance(torch.zeros(0, 2), cloud(3, 2, 0))
    with pytest.raises(ValueError, match="projections"):
        sliced_wasserstein(cloud(3, 2, 0), cloud(3, 2, 0), projections=0)
