"""The optional FID: its errors without the extra, its image conversion, and its sum over batches."""

import sys
import types

import pytest
import torch

from lib.errors import UserError
from lib.training.seeding import generator
from lib.vision import inception
from lib.vision.frechet import frechet_distance
from lib.vision.inception import WEIGHTS_FILE, as_rgb_bytes, inception_features, inception_fid


def test_without_the_library_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"pip install -e \.\[inception\]"):
        inception_features()


@pytest.fixture
def library(monkeypatch):
    """torch-fidelity's one class that is used, with a network that needs no weights."""

    class Extractor(torch.nn.Module):
        def __init__(self, name, features_list, weights):
            super().__init__()
            assert (name, features_list) == ("inception", ["2048"])

        def forward(self, images):
            assert images.dtype == torch.uint8
            assert images.shape[1] == 3
            return (images.float().flatten(1)[:, :4],)

    package = types.ModuleType("torch_fidelity")
    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)


def test_missing_and_foreign_weights_are_one_sentence(library, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="fetch https://github"):
        inception_features(tmp_path / "nowhere.pth")
    (tmp_path / "inception").mkdir()
    (tmp_path / "inception" / WEIGHTS_FILE).write_bytes(b"not the weights")
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(UserError, match="checksum differs"):
        inception_features()


def test_fid_over_batches_is_the_distance_of_all_features(library, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"")
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", inception.hashlib.sha256(b"").hexdigest())
    extract = inception_features(path)
    real, fake = (torch.rand(30, 1, 2, 2, generator=generator(seed)) for seed in (0, 1))
    found = inception_fid(real.split(7), fake.split(11), extract, dimension=4)
    assert found == pytest.approx(frechet_distance(extract(real), extract(fake)))


def test_grey_becomes_rgb_and_values_become_bytes():
    grey = torch.tensor([-2.0, -1.0, 0.0, 1.0]).reshape(1, 1, 2, 2)
    found = as_rgb_bytes(grey)
    assert found.shape == (1, 3, 2, 2)
    assert found[0, 2].flatten().tolist() == [0, 0, 128, 255]
    with pytest.raises(UserError, match="1 or 3 channels"):
        as_rgb_bytes(torch.zeros(1, 2, 4, 4))
