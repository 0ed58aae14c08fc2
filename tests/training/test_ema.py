"""The moving average against its own definition, written out."""

import pytest
import torch
from torch import nn

from lib.training.ema import ExponentialMovingAverage
from lib.training.seeding import isolated_seed


def make_network():
    with isolated_seed(0):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("ramp", [True, False])
def test_average_follows_its_definition(ramp):
    network = make_network()
    average = ExponentialMovingAverage(network, decay=0.9, ramp=ramp)
    expected = [weight.detach().double().clone() for weight in network.parameters()]
    for i in range(120):
        for weight in network.parameters():
            weight.data += 0.1 * (i + 1)
        average.update(network)
        decay = min(0.9, (1 + i) / (10 + i)) if ramp else 0.9
        expected = [
            decay * old + (1 - decay) * new.detach().double()
            for old, new in zip(expected, network.parameters(), strict=True)
        ]
    for mine, theirs in zip(average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)


def test_the_average_is_for_judging_only_and_is_a_copy():
    network = make_network()
    average = ExponentialMovingAverage(network)
    assert not average.module.training
    assert not any(weight.requires_grad for weight in average.module.parameters())
    before = average.module[0].weight.clone()
    network[0].weight.data += 1.0
    assert torch.equal(average.module[0].weight, before)


def test_buffers_are_copied():
    network = make_network()
    average = ExponentialMovingAverage(network)
    network(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    average.update(network)
    assert torch.equal(average.module[1].running_mean, network[1].running_mean)
    assert average.module[1].num_batches_tracked == 1


def test_state_goes_round():
    network = make_network()
    average = ExponentialMovingAverage(network)
    for _ in range(3):
        network[0].weight.data += 1.0
        average.update(network)
    other = ExponentialMovingAverage(make_network())
    other.load_state_dict(average.state_dict())
    assert other.updates == 3
    assert other.current_decay() == average.current_decay()
    for mine, theirs in zip(other.module.parameters(), average.module.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage(make_network(), decay=decay)
