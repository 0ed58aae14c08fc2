"""The digest of weights: the same for equal ones, another for any change."""

import copy
import hashlib

import numpy as np
import torch

from lib.training.digest import weights_digest


def test_the_digest_is_that_of_names_shapes_and_bytes():
    layer = torch.nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
        layer.bias.fill_(0.5)
    content = b"bias torch.float32 (1,)\n" + np.float32([0.5]).tobytes()
    content += b"weight torch.float32 (1, 2)\n" + np.float32([1, -2]).tobytes()
    assert weights_digest(layer) == hashlib.sha256(content).hexdigest()


def test_any_change_changes_it_and_a_copy_does_not():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    digest = weights_digest(network)
    assert weights_digest(copy.deepcopy(network)) == digest
    assert weights_digest(copy.deepcopy(network).double()) != digest
    network[1].num_batches_tracked += 1  # a buffer without dimensions
    assert weights_digest(network) != digest
