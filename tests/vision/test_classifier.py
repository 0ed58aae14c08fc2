"""The classifier learns to read digits, tells noise from digits, and goes round through its file."""

import json

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lib.errors import UserError
from lib.training.seeding import generator
from lib.vision.classifier import FeatureClassifier, train_classifier
from lib.vision.data import load_images
from lib.vision.frechet import frechet_distance


@pytest.fixture(scope="module")
def digits():
    train, test = load_images("digits"), load_images("digits", "test")
    return train.tensor(), train.labels, test.tensor(), test.labels


@pytest.fixture(scope="module")
def classifier(digits):
    return train_classifier(digits[0], digits[1], seed=0)


def test_it_reads_the_test_digits_better_than_a_linear_model(digits, classifier):
    images, labels, test_images, test_labels = digits
    accuracy = classifier.accuracy(test_images, test_labels)
    linear = LogisticRegression(max_iter=300).fit(images.flatten(1).numpy(), labels.numpy())
    assert accuracy > 0.97
    assert accuracy > linear.score(test_images.flatten(1).numpy(), test_labels.numpy())


def test_its_features_order_digits_shifted_digits_and_noise(digits, classifier):
    images, _, test_images, _ = digits
    real = classifier.features(test_images)
    assert real.shape == (497, 64)
    held_out = frechet_distance(classifier.features(images), real)
    noisy = images + 0.5 * torch.randn(images.shape, generator=generator(0))
    noise = torch.randn(1000, 1, 8, 8, generator=generator(1))
    distances = [held_out, *(frechet_distance(classifier.features(x), real) for x in (noisy, noise))]
    assert distances == sorted(distances)
    assert distances[2] > 20 * distances[0]


def test_probabilities_are_probabilities(digits, classifier):
    found = classifier.probabilities(digits[2])
    assert found.shape == (497, 10)
    torch.testing.assert_close(found.sum(1), torch.ones(497))


def test_pieces_do_not_change_the_features(digits, classifier):
    images = digits[0][:600]
    one_by_one = torch.cat([classifier.features(image[None]) for image in images[510:514]])
    torch.testing.assert_close(classifier.features(images)[510:514], one_by_one, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_network_and_the_global_generator_is_left_alone(digits):
    before = torch.get_rng_state()
    one, two, other = (train_classifier(digits[0], digits[1], seed=seed, steps=5) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.output.weight, two.output.weight)
    assert not torch.equal(one.output.weight, other.output.weight)


def test_it_goes_round_through_its_file(digits, classifier, tmp_path):
    classifier.save(tmp_path / "classifier")
    loaded = FeatureClassifier.load(tmp_path / "classifier")
    assert torch.equal(loaded.features(digits[2]), classifier.features(digits[2]))


@pytest.mark.parametrize(
    "config", [{}, {"shape": 3, "classes": 2, "channels": 4}, {"shape": [1, 8, 8], "classes": "x"}]
)
def test_settings_that_are_not_a_classifiers_are_one_sentence(classifier, tmp_path, config):
    classifier.save(tmp_path / "classifier")
    path = tmp_path / "classifier" / "config.json"
    record = json.loads(path.read_text())
    record["config"] = config
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="no usable classifier settings"):
        FeatureClassifier.load(tmp_path / "classifier")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 48), (1, 4, 4)])
def test_other_shapes_of_images_are_welcome(shape):
    images = torch.randn(8, *shape, generator=generator(0))
    network = train_classifier(images, torch.arange(8) % 3, steps=1, batch_size=4)
    assert network.features(images).shape == (8, 64)
    assert network(images).shape == (8, 3)


def test_wrong_images_and_one_class_are_one_sentence(digits, classifier):
    with pytest.raises(UserError, match=r"judges images of shape \(1, 8, 8\)"):
        classifier.features(torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match="two classes"):
        train_classifier(digits[0][:5], torch.zeros(5, dtype=torch.long))
