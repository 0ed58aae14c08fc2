"""The moving average against its own definition, written out."""

import pytest
import torch
from torch import nn

from lib.errors import UserError
from lib.training.ema import ExponentialMovingAverage
from lib.training.seeding import isolated_seed


def make_network():
    with isolated_seed(0):
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("start", ["ramp", "plain"])
def test_average_follows_its_definition(start):
    network = make_network()
    average = ExponentialMovingAverage(network, decay=0.9, start=start)
    expected = [weight.detach().double().clone() for weight in network.parameters()]
    for i in range(120):
        for weight in network.parameters():
            weight.data += 0.1 * (i + 1)
        average.update(network)
        decay = min(0.9, (1 + i) / (10 + i)) if start == "ramp" else 0.9
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


def test_unbiased_the_first_weights_have_no_share():
    network = make_network()
    average = ExponentialMovingAverage(network, decay=0.97, start="unbiased")
    seen = []
    for i in range(60):
        for weight in network.parameters():
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(i))
        average.update(network)
        seen.append([weight.detach().double().clone() for weight in network.parameters()])
        shares = 0.97 ** torch.arange(i, -1, -1, dtype=torch.float64)
        shares /= shares.sum()
        for number, mine in enumerate(average.module.parameters()):
            expected = sum(share * step[number] for share, step in zip(shares, seen, strict=True))
            torch.testing.assert_close(mine.double(), expected, rtol=1e-5, atol=1e-5)
    assert average.current_decay() < 0.97
    average.updates = 5000
    assert average.current_decay() == 0.97  # in the long run it is the plain average


def test_an_unknown_start_is_refused():
    with pytest.raises(UserError, match="'slow': choose one of plain, unbiased, ramp"):
        ExponentialMovingAverage(make_network(), start="slow")


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage(make_network(), decay=decay)
