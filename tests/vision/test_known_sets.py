"""MNIST, Fashion-MNIST and CIFAR-10 files: small ones made here (read by torchvision too), and the real ones."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets.mnist import read_image_file, read_label_file

from lib.errors import UserError
from lib.vision.data import load_images

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
LABELS = (np.arange(20) % 10).astype(np.uint8)
REAL = os.environ.get("BOOK_DATA", "")


def idx_bytes(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_pair(folder, prefix, images=IMAGES, labels=LABELS, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / name).write_bytes(idx_bytes(array))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
def test_idx_files_are_read_as_torchvision_reads_them(root, tmp_path, folder, zipped):
    write_pair(root / folder, "t10k", zipped=zipped)
    found = load_images("mnist", "test")
    write_pair(tmp_path / "plain", "t10k")
    assert torch.equal(found.images[:, 0], read_image_file(str(tmp_path / "plain" / "t10k-images-idx3-ubyte")))
    assert torch.equal(found.labels, read_label_file(str(tmp_path / "plain" / "t10k-labels-idx1-ubyte")))
    assert found.shape == (1, 28, 28)
    assert found.part == "a part: 20 of the 10,000 test images (t10k-images-idx3-ubyte" + (".gz)" if zipped else ")")


def test_a_named_part_of_fashion_mnist_is_accepted_and_named(root):
    write_pair(root / "fashion_mnist", "train10k", zipped=True)
    found = load_images("fashion_mnist", "train")
    assert "a part: 20 of the 60,000 train images (train10k-images" in found.describe()
    assert found.class_names[9] == "ankle boot"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_truncated_idx_file_is_one_sentence_wherever_it_is_cut(root, zipped):
    write_pair(root / "mnist", "train", zipped=zipped)
    path = root / "mnist" / ("train-images-idx3-ubyte" + (".gz" if zipped else ""))
    whole = path.read_bytes()
    for length in [*range(0, 30), *range(30, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"train-images-idx3-ubyte.*download it again"):
            load_images("mnist")


def test_wrong_contents_are_one_sentence(root):
    write_pair(root / "mnist", "train", labels=LABELS[:19])
    with pytest.raises(UserError, match="20 images and 19 labels"):
        load_images("mnist")
    write_pair(root / "mnist", "train", labels=LABELS + 1)
    with pytest.raises(UserError, match=r"labels outside 0 \.\.\. 9"):
        load_images("mnist")
    (root / "mnist" / "train-labels-idx1-ubyte").write_bytes(b"\x1f\x8bnot a gzip")
    with pytest.raises(UserError, match="damaged or truncated"):
        load_images("mnist")
    (root / "mnist" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="its labels is missing"):
        load_images("mnist")


def test_missing_files_name_the_command_that_fetches_them(root, monkeypatch):
    with pytest.raises(UserError, match="run `papers data get mnist`"):
        load_images("mnist")
    monkeypatch.setenv("BOOK_DATA", str(root / "nowhere"))
    with pytest.raises(UserError, match="which is no folder"):
        load_images("mnist")
    monkeypatch.delenv("BOOK_DATA")
    with pytest.raises(UserError, match="BOOK_DATA is not set"):
        load_images("cifar10")


ROWS = np.random.default_rng(1).integers(0, 256, (12, 3072), dtype=np.uint8)


def test_cifar_from_npz_and_from_binary_files_are_the_same(root):
    labels = (np.arange(12) % 10).astype(np.int64)
    binary = root / "cifar-10-batches-bin"
    binary.mkdir()
    records = np.concatenate([labels[:, None].astype(np.uint8), ROWS], axis=1)
    (binary / "data_batch_1.bin").write_bytes(records[:7].tobytes())
    (binary / "data_batch_2.bin").write_bytes(records[7:].tobytes())
    from_binary = load_images("cifar10")
    (root / "cifar10").mkdir()
    np.savez_compressed(root / "cifar10" / "cifar10_subset.npz", train_data=ROWS, train_labels=labels)
    from_npz = load_images("cifar10")
    assert "cifar10_subset.npz" in from_npz.part
    assert torch.equal(from_npz.images, from_binary.images)
    assert torch.equal(from_npz.labels, from_binary.labels)
    # The layout: 1024 red values, row by row, then green, then blue.
    assert from_npz.images[4, 1, 2, 3] == ROWS[4, 1024 + 2 * 32 + 3]


def test_a_damaged_cifar_archive_is_one_sentence(root):
    (root / "cifar10").mkdir()
    path = root / "cifar10" / "cifar10.npz"
    np.savez_compressed(path, train_data=ROWS, train_labels=np.arange(12) % 10)
    whole = path.read_bytes()
    for length in range(0, len(whole), 1500):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cifar10\.npz cannot be read"):
            load_images("cifar10")
    damaged = bytearray(whole)
    damaged[2000:2100] = bytes(100)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"cifar10\.npz cannot be read"):
        load_images("cifar10")
    np.savez(path, train_data=ROWS)
    with pytest.raises(UserError, match="no array 'train_labels'"):
        load_images("cifar10")
    np.savez(path, train_data=ROWS[:, :10], train_labels=np.arange(12) % 10)
    with pytest.raises(UserError, match="rows of 3072 values"):
        load_images("cifar10")


def test_pickles_are_never_opened(root):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (root / "was-run",))

    (root / "cifar10").mkdir()
    path = root / "cifar10" / "cifar10.npz"
    np.savez(path, train_data=np.array([Trap()], dtype=object), train_labels=np.arange(1), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        load_images("cifar10")
    assert not (root / "was-run").exists()
    path.unlink()
    (root / "cifar-10-batches-py").mkdir()
    with pytest.raises(UserError, match=r"pickled version of CIFAR-10.*papers data get cifar10"):
        load_images("cifar10")


def test_a_cut_cifar_batch_is_one_sentence(root):
    (root / "cifar-10-batches-bin").mkdir()
    (root / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(bytes(3072))
    with pytest.raises(UserError, match="not a whole number of CIFAR-10 records"):
        load_images("cifar10", "test")


@pytest.mark.skipif(not (Path(REAL) / "mnist").is_dir() or not REAL, reason="BOOK_DATA holds no MNIST")
def test_the_real_mnist_has_its_published_counts():
    train = load_images("mnist")
    assert len(train) == 60_000
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.part is None


@pytest.mark.skipif(not (Path(REAL) / "cifar10").is_dir() or not REAL, reason="BOOK_DATA holds no CIFAR-10")
def test_the_real_cifar_has_its_published_colours():
    train = load_images("cifar10")
    means = train.images[:2000].float().div(255).mean(dim=(0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.4914, 0.4822, 0.4465]), rtol=0, atol=0.02)
