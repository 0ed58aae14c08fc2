"""The Fréchet distance against SciPy's general matrix root and against a case with a known answer."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import UserError
from lib.vision.frechet import FeatureStatistics, frechet_distance


def features(samples, dimension, seed):
    source = np.random.default_rng(seed)
    mixing = source.normal(size=(dimension, dimension))
    return source.normal(size=(samples, dimension)) @ mixing + source.normal(size=dimension)


def by_scipy(a, b):
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(covariance_a @ covariance_b).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariance_a + covariance_b - 2 * root)


@given(st.integers(2, 12), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_it_agrees_with_scipys_matrix_root(dimension, seed):
    a, b = features(200, dimension, seed), features(150, dimension, seed + 1)
    assert frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-6, abs=1e-6)


def test_two_gaussians_of_known_distance():
    """Independent dimensions: the squared difference of means plus that of standard deviations."""
    a, b = FeatureStatistics(3), FeatureStatistics(3)
    for statistics, mean, deviations in ((a, 0.0, [1.0, 2.0, 3.0]), (b, 2.0, [1.0, 5.0, 0.0])):
        statistics.count = 11
        statistics.mean = np.full(3, mean)
        statistics.scatter = 10 * np.diag(np.square(deviations))
    assert frechet_distance(a, b) == pytest.approx(3 * 4 + 0 + 9 + 9)


def test_equal_features_are_at_distance_zero_and_order_does_not_matter():
    a, b = features(60, 5, 0), features(60, 5, 1)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_singular_covariances_give_a_finite_distance():
    """Fewer samples than dimensions, and a feature that is always zero: here SciPy's root is unreliable."""
    a, b = features(10, 30, 0), features(12, 30, 1)
    a[:, 3] = b[:, 3] = 0.0
    nearly = by_scipy_regularised(a, b)
    assert frechet_distance(a, b) == pytest.approx(nearly, rel=1e-3)


def by_scipy_regularised(a, b, ridge=1e-7):
    covariance_a = np.cov(a, rowvar=False) + ridge * np.eye(a.shape[1])
    covariance_b = np.cov(b, rowvar=False) + ridge * np.eye(a.shape[1])
    root = scipy.linalg.sqrtm(covariance_a @ covariance_b).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariance_a + covariance_b - 2 * root)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 100))
@settings(deadline=None, max_examples=40)
def test_statistics_in_pieces_equal_those_of_the_whole(sizes, seed):
    whole = features(sum(sizes) + 2, 4, seed) + 1e4  # a mean that is large against the spread
    statistics = FeatureStatistics(4)
    for piece in np.split(whole, np.cumsum(sizes)):
        statistics.update(torch.from_numpy(piece))
    assert statistics.count == len(whole)
    np.testing.assert_allclose(statistics.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(whole, rowvar=False), rtol=1e-6, atol=1e-9)


def test_broken_features_are_one_sentence():
    with pytest.raises(UserError, match="NaN or infinity"):
        frechet_distance(np.full((4, 2), np.nan), np.zeros((4, 2)))


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="2 and of 3 dimensions"):
        frechet_distance(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="shape"):
        FeatureStatistics(2).update(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(np.zeros((1, 2)), np.zeros((4, 2)))
