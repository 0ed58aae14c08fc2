"""The networks: sizes against the published ones, shapes, seeds."""

from dataclasses import replace

import pytest
import torch

from lib.cenet.config import NETWORKS, CENetConfig, GraphConfig
from lib.cenet.model import build_network, network_multiplies
from lib.training.multiplies import count_parameters

PUBLISHED = {
    "cenet-6": 16_240,
    "cenet-24": 44_272,
    "cenet-40": 60_912,
    "cenet-gcn-6": 27_595,
    "cenet-gcn-24": 55_627,
    "cenet-gcn-40": 72_267,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_all_six_totals_are_the_papers(name, parameters):
    assert count_parameters(build_network(NETWORKS[name], classes=12)) == parameters


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("tc-resnet8", 65_100, 66_000),
        ("tc-resnet14-1.5", 302_500, 305_500),  # 305 K in print
        ("res8-narrow", 19_850, 19_950),
        ("res15", 237_500, 238_500),
        ("bc-resnet-1", 9_150, 9_250),
        ("bc-resnet-3", 54_150, 54_250),
    ],
)
def test_peers_have_the_sizes_that_their_papers_print(name, low, high):
    assert low <= count_parameters(build_network(NETWORKS[name], classes=12)) <= high


@pytest.mark.parametrize(
    ("name", "millions"),
    [("cenet-6", 2.68), ("cenet-24", 10.26), ("cenet-40", 19.09), ("tc-resnet8", 1.56), ("res8-narrow", 7.03)],
)
def test_multiplies_agree_with_a_count_by_hand(name, millions):
    found = network_multiplies(NETWORKS[name], frames=101, bands=40)
    assert found.by_weights == pytest.approx(1e6 * millions, rel=0.02)
    assert found.by_activations == 0


def test_the_products_of_the_graph_are_counted_apart():
    found = network_multiplies(NETWORKS["cenet-gcn-6"], frames=101, bands=40)
    nodes, channels = (250, 65, 21), (32, 48, 64)
    products = sum(n * n * (c // 4) + n * n * c for n, c in zip(nodes, channels, strict=True))
    assert found.by_activations == products
    plain = network_multiplies(NETWORKS["cenet-6"], frames=101, bands=40)
    weights = sum(n * (c * c + 2 * c * (c // 4)) for n, c in zip(nodes, channels, strict=True))
    assert found.by_weights - plain.by_weights == weights


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("frames", [51, 101])
def test_every_network_takes_features_and_gives_logits(name, frames):
    network = build_network(NETWORKS[name], classes=5).eval()
    with torch.no_grad():
        assert network(torch.randn(2, frames, 40)).shape == (2, 5)


def test_equal_seeds_give_equal_weights_and_the_same_backbone_with_and_without_graph():
    plain, again = (build_network(NETWORKS["cenet-6"], 12, seed=3).state_dict() for _ in range(2))
    graph = build_network(NETWORKS["cenet-gcn-6"], 12, seed=3).state_dict()
    other = build_network(NETWORKS["cenet-6"], 12, seed=4).state_dict()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert all(torch.equal(plain[name], graph[name]) for name in plain)
    assert not torch.equal(plain["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("stages", [(), (1,), (2,), (3,), (1, 3), (1, 2, 3)])
def test_graphs_stand_at_any_stages_and_are_traced(stages):
    network = build_network(replace(NETWORKS["cenet-6"], graph=GraphConfig(stages=stages)), 12).eval()
    traces = network.trace(torch.randn(2, 101, 40))
    assert [one.stage for one in traces] == list(stages)
    nodes = {1: (25, 10), 2: (13, 5), 3: (7, 3)}
    for one in traces:
        assert one.before.shape[2:] == nodes[one.stage]
        assert one.adjacency.shape[1] == nodes[one.stage][0] * nodes[one.stage][1]


def test_the_number_in_the_name_counts_the_residual_blocks():
    for name in PUBLISHED:
        config = NETWORKS[name]
        assert isinstance(config, CENetConfig)
        assert sum(config.repetitions) + 3 == int(name.rsplit("-", 1)[1])
