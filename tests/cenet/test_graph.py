"""The graph module: rows that sum to 1, a double loop, equivariance, and a start that changes nothing."""

import math

import pytest
import torch

from lib.cenet.config import NETWORKS, GraphConfig
from lib.cenet.graph import GraphModule, neighbours
from lib.cenet.model import build_network

KINDS = ("learned", "identity", "uniform", "banded")


def module_with(gamma=0.7, channels=8, **settings) -> GraphModule:
    torch.manual_seed(0)
    module = GraphModule(channels, GraphConfig(**settings))
    with torch.no_grad():
        module.gamma.fill_(gamma)
        for weight in module.parameters():
            if weight.ndim == 2:
                weight.mul_(3)  # so that the similarities are far from equal
    return module.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaled", [False, True])
def test_rows_sum_to_one(kind, scaled):
    adjacency = module_with(adjacency=kind, scaled=scaled).adjacency(torch.randn(2, 8, 5, 3))
    assert adjacency.shape == (2, 15, 15)
    torch.testing.assert_close(adjacency.sum(-1), torch.ones(2, 15))
    if kind == "learned":  # a transposed softmax would make the columns sum to 1
        assert not torch.allclose(adjacency.sum(-2), torch.ones(2, 15), atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaled", [False, True])
def test_the_module_equals_an_explicit_double_loop(kind, scaled):
    module = module_with(adjacency=kind, scaled=scaled)
    x = torch.randn(1, 8, 3, 2)
    places = [(row, column) for row in range(3) for column in range(2)]
    vectors = [x[0, :, row, column] for row, column in places]
    expected = torch.empty_like(x)
    with torch.no_grad():
        for i, (row, column) in enumerate(places):
            scores = []
            for j, (other_row, other_column) in enumerate(places):
                if kind == "uniform":
                    score = 0.0
                elif kind == "identity":
                    score = 0.0 if i == j else -math.inf
                else:
                    score = float(module.theta(vectors[i]) @ module.phi(vectors[j]))
                    score /= math.sqrt(2) if scaled else 1  # c / 4 = 2
                    if kind == "banded" and (abs(row - other_row) > 1 or abs(column - other_column) > 1):
                        score = -math.inf
                scores.append(score)
            largest = max(scores)
            weights = [math.exp(score - largest) for score in scores]
            total = sum(weights)
            context = sum(w / total * module.weight(v) for w, v in zip(weights, vectors, strict=True)).relu()
            expected[0, :, row, column] = vectors[i] + module.gamma * context
        torch.testing.assert_close(module(x), expected)
        # what the pictures show is what the pass used
        mixed = (module.adjacency(x) @ module.weight(x.flatten(2).transpose(1, 2))).relu()
        torch.testing.assert_close(x + module.gamma * mixed.transpose(1, 2).unflatten(2, (3, 2)), expected)


@pytest.mark.parametrize("kind", ["learned", "identity", "uniform"])
def test_permuted_nodes_permute_the_output(kind):
    module = module_with(adjacency=kind)
    x = torch.randn(2, 8, 5, 3)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    mixed = x.flatten(2)[:, :, order].unflatten(2, (5, 3))
    with torch.no_grad():
        torch.testing.assert_close(module(mixed).flatten(2), module(x).flatten(2)[:, :, order])


def test_a_band_breaks_the_equivariance_because_it_knows_places():
    module = module_with(adjacency="banded")
    x = torch.randn(1, 8, 5, 3)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    mixed = x.flatten(2)[:, :, order].unflatten(2, (5, 3))
    with torch.no_grad():
        assert not torch.allclose(module(mixed).flatten(2), module(x).flatten(2)[:, :, order], atol=1e-3)


def test_gamma_zero_changes_nothing_and_is_where_training_starts():
    x = torch.randn(2, 8, 5, 3)
    assert torch.equal(module_with(gamma=0.0)(x), x)
    features = torch.randn(2, 51, 40)
    plain, graph = (build_network(NETWORKS[name], 12, seed=5).eval() for name in ("cenet-6", "cenet-gcn-6"))
    with torch.no_grad():
        torch.testing.assert_close(graph(features), plain(features))
    assert all(module.gamma.item() == 0 for module in graph.graphs.values())


def test_gamma_learns_from_zero():
    module = module_with(gamma=0.0)
    module(torch.randn(2, 8, 5, 3)).square().sum().backward()
    assert module.gamma.grad.abs() > 0


def test_a_band_as_wide_as_the_map_is_the_whole_graph():
    x = torch.randn(2, 8, 5, 3)
    whole, banded = module_with(), module_with(adjacency="banded", reach=5)
    torch.testing.assert_close(banded(x), whole(x))


def test_neighbours_of_a_corner_and_of_the_middle():
    near = neighbours(3, 3, 1)
    assert near[0].tolist() == [True, True, False, True, True, False, False, False, False]
    assert near[4].all()
    assert torch.equal(near, near.T)
