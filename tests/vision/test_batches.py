"""Batches are a pure function of (seed, step): every test here is about what that promises."""

import pytest
import torch
from PIL import Image

from lib.errors import UserError
from lib.vision import folders
from lib.vision.batches import Batches
from lib.vision.data import load_images, to_float

POINTS = torch.arange(10.0)[:, None]


def seen(batches, steps):
    return torch.cat([batches.batch(step)[0] for step in steps]).flatten().tolist()


def test_each_epoch_has_each_sample_once_also_across_batches():
    row = seen(Batches(POINTS, 4, seed=0), range(15))  # six epochs of ten samples
    epochs = [row[start : start + 10] for start in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_batch_does_not_depend_on_what_was_asked_before():
    straight = [Batches(POINTS, 4, seed=0).batch(step)[0] for step in range(12)]
    one = Batches(POINTS, 4, seed=0)
    for step in (11, 3, 0, 7, 7, 2):
        assert torch.equal(one.batch(step)[0], straight[step])
    assert seen(Batches(POINTS, 4, seed=1), range(3)) != seen(Batches(POINTS, 4, seed=0), range(3))


def test_a_batch_may_be_larger_than_the_data_set():
    row = seen(Batches(POINTS, 25, seed=0), range(2))
    assert [row.count(float(value)) for value in range(10)] == [5] * 10


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Batches(torch.zeros(4, 1, 2, 2), 2, seed=0, flip=True).batch(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_ranks_together_see_what_one_device_sees():
    images = torch.arange(48.0).reshape(12, 1, 2, 2)
    whole = Batches(images, 6, seed=0, flip=True)
    ranks = [Batches(images, 6, seed=0, flip=True, rank=rank, world_size=3) for rank in range(3)]
    for step in range(5):
        shared = torch.cat([rank.batch(step)[0] for rank in ranks])
        assert torch.equal(shared, whole.batch(step)[0])


def test_flipping_mirrors_about_half_of_the_images_left_to_right():
    images = torch.arange(4.0).reshape(1, 1, 2, 2).expand(100, 1, 2, 2)
    batch, _ = Batches(images, 400, seed=0, flip=True).batch(0)
    straight = (batch == images[0]).flatten(1).all(1)
    mirrored = (batch == images[0].flip(-1)).flatten(1).all(1)
    assert torch.equal(straight, ~mirrored)
    assert 150 < int(mirrored.sum()) < 250


def test_labels_stay_with_their_images():
    digits = load_images("digits")
    images, labels = Batches(digits, 32, seed=0).batch(5)
    whole = digits.tensor()
    assert images.shape == (32, 1, 8, 8)
    for image, label in zip(images, labels, strict=True):
        matches = (whole == image).flatten(1).all(1)
        assert label in digits.labels[matches]
    points, none = Batches(POINTS, 3, seed=0).batch(0)
    assert none is None
    assert torch.equal(Batches(POINTS, 3, seed=0, labels=torch.arange(10)).batch(0)[1], points.flatten().long())


def test_keeping_bytes_instead_of_floats_changes_nothing(monkeypatch):
    digits = load_images("digits")
    prepared = Batches(digits, 16, seed=0, flip=True).batch(2)[0]
    monkeypatch.setattr("lib.vision.batches.PREPARED_LIMIT_BYTES", 0)
    kept = Batches(digits, 16, seed=0, flip=True)
    assert kept._images.dtype == torch.uint8
    assert torch.equal(kept.batch(2)[0], prepared)


@pytest.fixture
def lazy_set(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MEMORY_LIMIT_BYTES", 0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            shade = 20 * number + (10 if name == "b" else 0)
            Image.new("L", (2, 2), shade).save(tmp_path / name / f"{number}.png")
    images = load_images(tmp_path)
    assert images.lazy
    return images


def test_lazy_sets_give_the_batches_of_a_set_in_memory(lazy_set):
    lazy = Batches(lazy_set, 4, seed=0, flip=True)
    in_memory = Batches(
        to_float(lazy_set.read(torch.arange(len(lazy_set)))), 4, seed=0, flip=True, labels=lazy_set.labels
    )
    for step in (0, 1, 2, 9):
        for mine, theirs in zip(lazy.batch(step), in_memory.batch(step), strict=True):
            assert torch.equal(mine, theirs)


def test_workers_start_at_the_step_that_is_asked_for(lazy_set):
    plain = Batches(lazy_set, 4, seed=0)
    ahead = Batches(lazy_set, 4, seed=0, workers=1)
    for step in (5, 6, 7, 2, 3):  # resumed at 5, then a jump back
        assert torch.equal(ahead.batch(step)[0], plain.batch(step)[0])


def test_workers_leave_the_global_generator_alone(lazy_set):
    before = torch.random.get_rng_state()
    Batches(lazy_set, 4, seed=0, workers=1).batch(0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_broke_after_the_start_is_named(lazy_set, workers):
    for path in lazy_set.reader._paths:
        with open(path, "r+b") as file:
            file.truncate(20)
    with pytest.raises(UserError, match=r"\d\.png cannot be read .* copy it again") as caught:
        Batches(lazy_set, 4, seed=0, workers=workers).batch(0)
    assert "Traceback" not in str(caught.value)


def test_impossible_batches_are_refused():
    with pytest.raises(UserError, match="multiple of the number of devices"):
        Batches(POINTS, 5, seed=0, world_size=2)
    with pytest.raises(UserError, match="batch size"):
        Batches(POINTS, 0, seed=0)
    with pytest.raises(UserError, match="empty"):
        Batches(POINTS[:0], 1, seed=0)
    with pytest.raises(UserError, match="NaN"):
        Batches(torch.tensor([[float("nan")]]), 1, seed=0)
    with pytest.raises(ValueError, match="rank 2"):
        Batches(POINTS, 4, seed=0, rank=2, world_size=2)
