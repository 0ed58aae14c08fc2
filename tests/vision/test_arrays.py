"""Images from one .npz file."""

import numpy as np
import pytest

from lib.errors import UserError
from lib.vision.data import load_images

BYTES = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "images.npz"


def test_bytes_and_floats_in_any_order_of_axes_are_the_same(path):
    labels = np.repeat([0, 1], 5)
    np.savez(path, images=BYTES, labels=labels)
    last = load_images(path)
    np.savez(path, images=BYTES.transpose(0, 3, 1, 2).astype(np.float32) / 255, labels=labels)
    first = load_images(path)
    assert last.shape == (3, 4, 4)
    assert (last.images == first.images).all()
    assert last.labels.tolist() == [0] * 4 + [1] * 4
    assert load_images(path, "test").labels.tolist() == [0, 1]


def test_grey_images_without_labels(path):
    np.savez(path, images=BYTES[..., 0])
    assert load_images(path).shape == (1, 4, 4)
    assert load_images(path).class_names == ("0",)


def test_nan_is_named_with_its_image(path):
    images = BYTES.astype(float) / 255
    images[6, 0, 0, 0] = np.nan
    np.savez(path, images=images)
    with pytest.raises(UserError, match=r"images\.npz: 1 image\(s\) hold NaN or infinity, the first is number 6"):
        load_images(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": BYTES}, "no array 'images'"),
        ({"images": BYTES[0, 0]}, "has shape"),
        ({"images": BYTES[:0]}, "has shape"),
        ({"images": np.zeros((2, 4, 4, 7), np.uint8)}, "has shape"),
        ({"images": BYTES.astype(np.int64)}, "type int64"),
        ({"images": BYTES / 100}, "must lie in 0"),
        ({"images": BYTES, "labels": np.zeros(9, int)}, "'labels' must be"),
        ({"images": BYTES, "labels": np.zeros(10)}, "'labels' must be"),
        ({"images": BYTES, "labels": np.full(10, -1)}, "'labels' must be"),
    ],
)
def test_anything_else_is_one_sentence(path, arrays, message):
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=message):
        load_images(path)


def test_a_truncated_archive_is_one_sentence(path):
    np.savez(path, images=BYTES)
    whole = path.read_bytes()
    for length in range(0, len(whole), 40):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cannot be read"):
            load_images(path)


def test_too_few_for_a_test_split(path):
    np.savez(path, images=BYTES[:3])
    with pytest.raises(UserError, match="too few images"):
        load_images(path, "test")
