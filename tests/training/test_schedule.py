"""The learning rate against torch's own cosine, and its corners."""

import pytest
import torch

from lib.training.schedule import learning_rate, set_learning_rate


def test_cosine_agrees_with_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40, eta_min=0.01)
    for step in range(41):
        assert learning_rate(step, base=0.3, total=40, floor=0.01) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_warm_up_rises_by_equal_parts_to_the_base():
    rates = [learning_rate(step, base=2.0, warmup=4) for step in range(6)]
    assert rates == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_after_the_end_the_rate_stays_at_the_floor():
    assert learning_rate(500, base=1.0, warmup=10, total=100, floor=0.1) == pytest.approx(0.1)


def test_the_rate_reaches_every_group():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.Adam([{"params": weights[:1]}, {"params": weights[1:], "lr": 5.0}])
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
