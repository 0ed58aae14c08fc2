"""Image folders of every layout, and what happens when something in them is not as it should be."""

import numpy as np
import pytest
import torch
from PIL import Image

from lib.errors import UserError
from lib.vision import folders
from lib.vision.data import load_images


def write(path, shade=0, mode="L", size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0]), shade, np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def classes(tmp_path):
    for number in range(10):
        write(tmp_path / "cat" / f"{number}.png", shade=number)
        write(tmp_path / "dog" / f"{number}.png", shade=100 + number)
    return tmp_path


def shades(images):
    return images.images[:, 0, 0, 0].tolist()


def test_a_folder_a_class(classes):
    train, test = load_images(classes), load_images(str(classes), "test")
    assert train.class_names == ("cat", "dog")
    assert shades(test) == [4, 9, 104, 109]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert sorted(shades(train) + shades(test)) == [*range(10), *range(100, 110)]
    assert not train.lazy
    assert train.skipped == {}


def test_folders_for_train_and_test(tmp_path):
    write(tmp_path / "train" / "a" / "1.png", 1)
    write(tmp_path / "train" / "b" / "2.png", 2)
    write(tmp_path / "val" / "b" / "3.png", 3)
    test = load_images(tmp_path, "test")
    assert shades(load_images(tmp_path)) == [1, 2]
    assert (shades(test), test.labels.tolist(), test.class_names) == ([3], [1], ("a", "b"))


def test_a_test_class_that_was_never_trained_is_one_sentence(tmp_path):
    write(tmp_path / "train" / "a" / "1.png")
    write(tmp_path / "test" / "c" / "2.png")
    with pytest.raises(UserError, match="a class 'c' that is not among the training classes"):
        load_images(tmp_path, "test")


def test_train_without_test_is_one_sentence(tmp_path):
    write(tmp_path / "train" / "a" / "1.png")
    with pytest.raises(UserError, match="none called 'test' or 'val'"):
        load_images(tmp_path, "test")


def test_images_without_class_folders_are_one_class(tmp_path):
    for number in range(5):
        write(tmp_path / f"{number}.png", number)
    (tmp_path / "notes.txt").write_text("x")
    train = load_images(tmp_path)
    assert (train.class_names, train.labels.tolist()) == (("all",), [0, 0, 0, 0])
    assert train.skipped == {"not an image file": 1}


def test_a_table_of_labels(tmp_path):
    for number in range(12):
        write(tmp_path / "pictures" / f"{number}.png", number)
    write(tmp_path / "stray.png")
    rows = "".join(f"pictures/{number}.png,{[10, 9][number % 2]},x\n" for number in range(12))
    (tmp_path / "metadata.csv").write_text(f"file_name,label,note\n{rows}pictures/gone.png,9,x\n")
    train = load_images(tmp_path)
    assert train.class_names == ("9", "10")  # numbers in the order of numbers
    assert shades(train)[:2] == [0, 1]
    assert train.labels[:2].tolist() == [1, 0]
    assert train.skipped == {"named in metadata.csv but missing": 1, "not named in metadata.csv": 1}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "needs a first line"),
        ("name,label\na.png,1\n", "a column 'file_name'"),
        ("file_name,label\na.png,\n", "line 2"),
        ("file_name,label\na.png,1\n\nb.png\n", "line 3"),
        ("file_name\nnowhere.png\n", "holds no images"),
        ("file_name\nM\xfcller.png\n", "cannot be read as a UTF-8 table"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path, table, message):
    write(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        load_images(tmp_path)


def test_an_empty_folder_and_folders_without_images_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        load_images(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.txt").write_text("x")
    with pytest.raises(UserError, match="holds no images"):
        load_images(tmp_path)


def test_too_few_images_for_a_test_part_is_one_sentence(tmp_path):
    write(tmp_path / "a" / "1.png")
    with pytest.raises(UserError, match="too few images for a test split"):
        load_images(tmp_path, "test")


def test_damaged_files_are_skipped_with_a_count(classes):
    (classes / "cat" / "0.png").write_bytes(b"no picture")
    whole = (classes / "dog" / "0.png").read_bytes()
    (classes / "dog" / "0.png").write_bytes(whole[: len(whole) - 30])  # the header is whole, the pixels are not
    (classes / "dog" / "readme.txt").write_text("x")
    (classes / "bird").mkdir()
    train = load_images(classes)
    assert train.skipped == {
        "damaged image": 2,
        "not an image file, or outside the class folders": 1,
        "class folder without images": 1,
    }
    assert shades(train) == [1, 2, 3, 5, 6, 7, 8, 101, 102, 103, 105, 106, 107, 108]
    assert len(train.labels) == len(train.images) == 14
    assert "skipped 2: damaged image" in train.describe()


def test_nothing_but_damaged_files_is_one_sentence(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="None of the images"):
        load_images(tmp_path)


def test_mixed_colours_become_rgb_and_are_counted(tmp_path):
    for number, mode in enumerate(["RGB", "L", "P", "RGBA", "RGB"]):
        write(tmp_path / f"{number}.png", 50, mode)
    train = load_images(tmp_path)
    assert train.shape == (3, 4, 4)
    assert (train.images == 50).all()
    assert train.notes == ("3 images were converted to RGB",)


def test_all_grey_stays_grey(tmp_path):
    for number, mode in enumerate(["L", "1", "LA", "L"]):
        write(tmp_path / f"{number}.png", 255, mode)
    train = load_images(tmp_path)
    assert train.shape == (1, 4, 4)
    assert train.notes == ("2 images were converted to grey",)
    assert (train.images == 255).all()


def test_sixteen_bits_are_one_sentence(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep\.png has pixels of type .*8 bits"):
        load_images(tmp_path)


def test_different_sizes_need_a_size(tmp_path):
    write(tmp_path / "1.png", size=(4, 4))
    write(tmp_path / "2.png", size=(8, 6))
    with pytest.raises(UserError, match=r"4x4.*6x8.*choose a size"):
        load_images(tmp_path)
    assert load_images(tmp_path, size=4).images.shape == (2, 1, 4, 4)
    with pytest.raises(UserError, match="size must be 1 or more"):
        load_images(tmp_path, size=0)


def test_scaling_keeps_the_middle(tmp_path):
    """A wide picture, black at both ends: the square in its middle is white."""
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    found = load_images(tmp_path, size=4).images
    assert found.shape == (1, 1, 4, 4)
    assert found.min() > 200


def test_large_folders_stay_on_the_disk(classes, monkeypatch):
    in_memory = load_images(classes)
    monkeypatch.setattr(folders, "MEMORY_LIMIT_BYTES", 10)
    lazy = load_images(classes)
    assert lazy.lazy
    assert torch.equal(lazy.labels, in_memory.labels)
    assert torch.equal(lazy.read([3, 0]), in_memory.read([3, 0]))
    assert torch.equal(lazy.tensor(), in_memory.tensor())


def test_when_only_some_headers_are_looked_at_a_stranger_is_named_on_reading(classes, monkeypatch):
    monkeypatch.setattr(folders, "MEMORY_LIMIT_BYTES", 10)
    monkeypatch.setattr(folders, "PROBED", 2)
    write(classes / "cat" / "3.png", size=(9, 9))
    lazy = load_images(classes)
    with pytest.raises(UserError, match=r"3\.png is 9x9, the others are 4x4"):
        lazy.read([3])
