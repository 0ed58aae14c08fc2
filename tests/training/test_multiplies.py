"""The counter, held against counts by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.training.multiplies import Multiplies, count_multiplies, count_parameters


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(7, 3), (5, 7), 5 * 7 * 3),
        (nn.Conv2d(4, 6, 3, padding=1, bias=False), (2, 4, 5, 7), 2 * 5 * 7 * 4 * 6 * 9),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (1, 4, 5, 7), 3 * 4 * 4 * 6 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (1, 8, 5, 7), 5 * 7 * 8 * 9),
        (nn.Conv1d(4, 6, 9, padding=4), (1, 4, 11), 11 * 4 * 6 * 9),
        (nn.Sequential(nn.BatchNorm1d(7), nn.ReLU()), (5, 7), 0),
    ],
)
def test_layers_count_as_by_hand(layer, shape, expected, device):
    layer = layer.to(device).eval()
    x = torch.zeros(shape, device=device)
    assert count_multiplies(lambda: layer(x)) == Multiplies(expected, 0)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_products_of_activations_are_counted_apart(device):
    a, b = torch.zeros(2, 5, 3, device=device), torch.zeros(2, 3, 7, device=device)
    found = count_multiplies(lambda: a @ b)
    assert found == Multiplies(0, 2 * 5 * 3 * 7)
    assert found.total == 210
    assert found.operations == 420
    q = torch.zeros(1, 2, 5, 4, device=device)
    attention = count_multiplies(lambda: F.scaled_dot_product_attention(q, q, q))
    assert attention == Multiplies(0, 2 * (2 * 5 * 5 * 4))


def test_parameters_include_normalisation_and_leave_out_what_is_frozen():
    module = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4))
    assert count_parameters(module) == 36 + 8
    module[0].weight.requires_grad_(False)
    assert count_parameters(module) == 8
