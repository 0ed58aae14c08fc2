"""The embedded digits, the conversion between bytes and floats, and names that do not exist."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lib.errors import UserError
from lib.vision import data
from lib.vision.data import held_out, load_images, to_float, to_uint8


def test_the_digits_are_split_into_1300_and_497_without_overlap_or_loss():
    train, test = load_images("embedded"), load_images("digits", "test")
    assert (len(train), len(test)) == (1300, 497)
    assert train.shape == test.shape == (1, 8, 8)
    ours = torch.cat([train.images, test.images]).flatten(1).numpy()
    theirs = (load_digits().data * 255 / 16).round().astype(np.uint8)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))


def test_each_digit_keeps_its_share_in_both_parts():
    train, test = (load_images("digits", split).labels for split in ("train", "test"))
    whole = torch.cat([train, test]).bincount()
    assert (train.bincount() - whole * 1300 / 1797).abs().max() < 1
    assert (test.bincount() - whole * 497 / 1797).abs().max() < 1


def test_bytes_and_floats_undo_each_other():
    every = torch.arange(256, dtype=torch.uint8)
    floats = to_float(every)
    assert (floats.min(), floats.max()) == (-1, 1)
    assert torch.equal(to_uint8(floats), every)
    assert to_uint8(torch.tensor([-5.0, 5.0])).tolist() == [0, 255]


def test_the_whole_set_as_one_tensor():
    digits = load_images("digits")
    assert digits.tensor().shape == (1300, 1, 8, 8)
    assert torch.equal(digits.tensor(limit=3), to_float(digits.images[:3]))


def test_a_set_that_is_too_large_for_one_tensor_says_so(monkeypatch):
    monkeypatch.setattr(data, "TENSOR_LIMIT_BYTES", 1000)
    with pytest.raises(UserError, match="ask for fewer images"):
        load_images("digits").tensor()
    assert load_images("digits").tensor(limit=3).shape[0] == 3


def test_unknown_names_and_splits_are_one_sentence():
    with pytest.raises(UserError, match=r"No data called 'mnits': .*mnist, fashion_mnist, cifar10"):
        load_images("mnits")
    with pytest.raises(UserError, match="Unknown split 'dev': choose one of train, test"):
        load_images("digits", "dev")


def test_every_fifth_of_a_class_is_held_out():
    labels = torch.tensor([0] * 10 + [1] * 5 + [2] * 4)
    assert held_out(labels, "test").tolist() == [4, 9, 14]
    both = torch.cat([held_out(labels, "train"), held_out(labels, "test")])
    assert sorted(both.tolist()) == list(range(19))


def test_a_description_tells_what_is_there():
    text = load_images("digits").describe()
    assert text == "handwritten digits of scikit-learn (train): 1300 images, 8x8, 1 channel(s), 10 class(es)"
