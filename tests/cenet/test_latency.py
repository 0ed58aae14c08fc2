"""Folding changes nothing but speed; times are taken in turns, on one thread."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from lib.cenet.config import NETWORKS, PAPER_FEATURES, SCALED_FEATURES, scaled, with_network
from lib.cenet.latency import Contender, as_folded, as_trained, folded, latencies
from lib.cenet.model import build_network
from lib.cenet.spotter import KeywordModel
from lib.errors import UserError


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_changes_the_logits_by_rounding_only(name):
    chance = torch.Generator().manual_seed(0)
    network = build_network(NETWORKS[name], 12)
    features = torch.randn(8, 51, 40, generator=chance)
    norms = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network(features)  # in training mode: means and variances that are not 0 and 1
        for norm in (one for one in norms if one.affine):
            norm.weight.uniform_(0.5, 1.5, generator=chance)
            norm.bias.uniform_(-0.5, 0.5, generator=chance)
        network.eval()
        before = {key: value.clone() for key, value in network.state_dict().items()}
        ours, expected = folded(network)(features), network(features)
        size = expected.abs().max()
        assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
        assert expected.std(0).max() > 1e-2
        assert (ours - expected).abs().max() < 1e-4 * max(1, size / 10)
        exact = network.double(), features.double()
        assert (folded(exact[0])(exact[1]) - exact[0](exact[1])).abs().max() < 1e-12 * max(1, size)


@pytest.mark.parametrize(("name", "left"), [("cenet-gcn-24", 0), ("tc-resnet8", 0), ("res8-narrow", 6)])
def test_no_normalisation_is_left_behind_a_convolution(name, left):
    network = folded(build_network(NETWORKS[name], 12))
    assert sum(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in network.modules()) == left


def busy(seconds: float) -> Contender:
    """A network that works so long."""

    def work(features: torch.Tensor) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return Contender(SCALED_FEATURES, work)


def test_ratios_are_those_of_the_work():
    rows = latencies({"slow": busy(0.003), "fast": busy(0.001)}, 0.1, reference="fast")
    assert [row.name for row in rows] == ["slow", "fast"]
    slow, fast = rows
    assert slow.network_ratio == pytest.approx(3, rel=0.1)
    assert (fast.network_ratio, fast.total_ratio) == (1, 1)
    assert slow.network_ms == pytest.approx(3, rel=0.1)
    assert slow.features_ms == fast.features_ms > 0
    assert 1 < slow.total_ratio < slow.network_ratio
    assert slow.network_quartiles[0] <= slow.network_ratio <= slow.network_quartiles[1]
    assert slow.total_ms == slow.features_ms + slow.network_ms


def test_networks_with_other_features_beside_each_other():
    model = KeywordModel(with_network(scaled(), "tc-resnet8"), 12)
    paper = Contender(PAPER_FEATURES, lambda features: np.asarray(features).sum())
    seen: list[tuple[int, ...]] = []
    spy = Contender(SCALED_FEATURES, lambda features: seen.append((*features.shape, torch.get_num_threads())))
    threads = torch.get_num_threads()
    rows = latencies({"ours": as_trained(model), "folded": as_folded(model), "paper": paper, "spy": spy}, 0)
    assert set(seen) == {(1, 51, 40, 1)}
    assert torch.get_num_threads() == threads
    ours, quick, other, _ = rows
    assert ours.features_ms == quick.features_ms != other.features_ms
    assert quick.network_ratio < 1 == ours.network_ratio


def test_bad_input():
    with pytest.raises(UserError, match="nothing to time"):
        latencies({})
    with pytest.raises(UserError, match="choose one of a"):
        latencies({"a": busy(0)}, reference="b")
