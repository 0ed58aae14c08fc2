"""The order of the samples: each once an epoch, the same after a restart, shared among devices."""

import pytest
import torch

from lib.errors import UserError
from lib.training.order import Order


def test_each_epoch_holds_every_sample_once_in_its_own_order():
    order = Order(10, 4, seed=3)
    row = torch.cat([order.batch(step) for step in range(5)])
    assert sorted(row[:10].tolist()) == sorted(row[10:].tolist()) == list(range(10))
    assert row[:10].tolist() != row[10:].tolist()


def test_a_step_is_the_same_however_it_is_reached():
    walked = Order(10, 4, seed=3)
    for step in range(7):
        expected = walked.batch(step)
    assert torch.equal(Order(10, 4, seed=3).batch(6), expected)
    assert not torch.equal(Order(10, 4, seed=4).batch(6), expected)


def test_ranks_share_the_batch_of_one_device():
    whole = Order(10, 4, seed=0).batch(2)
    parts = [Order(10, 4, seed=0, rank=rank, world_size=2).batch(2) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(("count", "batch", "world"), [(0, 4, 1), (10, 0, 1), (10, 3, 2)])
def test_what_cannot_be_batched_is_refused(count, batch, world):
    with pytest.raises(UserError):
        Order(count, batch, 0, world_size=world)
