"""Configurations go to JSON and back, fit together, and say what is wrong in one sentence."""

import json
from dataclasses import replace

import pytest
import torch

from lib.cenet.config import (
    NETWORKS,
    PAPER_FEATURES,
    PAPER_NETWORKS,
    PRESETS,
    SMALLEST_MAP,
    CENetConfig,
    GraphConfig,
    KeywordConfig,
    paper,
    preset_named,
    scaled,
    with_network,
    with_settings,
)
from lib.cenet.model import build_network, network_multiplies
from lib.cenet.spotter import KeywordModel
from lib.errors import UserError
from lib.training.multiplies import count_parameters

EVERY = ("paper", *PRESETS)


@pytest.mark.parametrize("name", EVERY)
def test_presets_go_to_json_and_back(name):
    config = preset_named(name)
    text = json.dumps(config.to_dict(), allow_nan=False)
    assert KeywordConfig.from_dict(json.loads(text)) == config


@pytest.mark.parametrize("preset", ["scaled", "real", "paper"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_runs_under_every_kind_of_preset(preset, name):
    config = with_network(preset_named(preset), name)
    assert KeywordConfig.from_dict(config.to_dict()) == config
    model = KeywordModel(config, 4)
    features = model.extract(torch.zeros(1, 16000))
    assert features.shape == (1, {"scaled": 51, "real": 51, "paper": 101}[preset], 40)
    with torch.no_grad():
        assert model.eval()(features).shape == (1, 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_map_is_large_enough_for_every_network(name):
    network = NETWORKS[name]
    width = 40 if name.startswith("bc") else SMALLEST_MAP
    if hasattr(network, "bands"):
        network = replace(network, bands=width)
    found = build_network(network, 3)(torch.randn(2, SMALLEST_MAP, width))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("name", "parameters", "multiplies"),
    [
        # parameters of the paper; multiplies as counted by hand in its figure's way, see test_model.py
        ("cenet-6", 16_240, 2.68e6),
        ("cenet-24", 44_272, 10.26e6),
        ("cenet-40", 60_912, 19.09e6),
        ("cenet-gcn-6", 27_595, None),
        ("cenet-gcn-24", 55_627, None),
        ("cenet-gcn-40", 72_267, None),
    ],
)
def test_the_papers_presets_have_the_papers_sizes_and_features(name, parameters, multiplies):
    config = preset_named(name)
    assert count_parameters(build_network(config.network, 12)) == parameters
    assert (config.features.kind, config.features.width, config.features.frames(16000)) == ("mfcc", 40, 101)
    assert (config.features.low_hz, config.features.high_hz, config.seconds) == (20.0, 4000.0, 1.0)
    assert config.network.graph is None or not config.network.graph.scaled  # the paper mentions no scale
    found = network_multiplies(config.network, 101, 40)
    assert multiplies is None or found.by_weights == pytest.approx(multiplies, rel=0.02)
    assert (found.by_activations > 0) == ("gcn" in name)


def test_the_paper_is_its_largest_network():
    assert preset_named("paper") == paper("cenet-gcn-40")
    assert len(PAPER_NETWORKS) == 6
    assert set(PRESETS) == {"scaled", "real", *PAPER_NETWORKS}


def test_another_network_keeps_the_graphs_of_the_run():
    uniform = with_settings(scaled(), ["network.graph.adjacency=uniform", "network.graph.stages=[2]"])
    found = with_network(uniform, "cenet-gcn-24").network
    assert found == replace(NETWORKS["cenet-gcn-24"], graph=GraphConfig((2,), "uniform", scaled=True))
    assert with_network(scaled(), "cenet-gcn-6") == scaled()
    assert with_network(uniform, "cenet-24").network.graph is None
    assert with_network(with_network(scaled(), "tc-resnet8"), "cenet-gcn-6").network == NETWORKS["cenet-gcn-6"]
    assert with_network(paper("cenet-6"), "cenet-gcn-6").network == NETWORKS["cenet-gcn-6"]


def test_another_network_takes_the_features_as_they_are():
    wide = with_settings(scaled(), ["features.bands=80"])
    assert with_network(wide, "tc-resnet8").network.bands == 80
    assert with_network(wide, "bc-resnet-1").network.bands == 80
    few = replace(paper("cenet-6"), features=replace(PAPER_FEATURES, coefficients=30))
    assert with_network(few, "tc-resnet8").network.bands == 30
    with pytest.raises(UserError, match=r"network\.bc_resnet\.bands: Input should be a multiple of 40"):
        with_network(few, "bc-resnet-1")
    with pytest.raises(UserError, match="network 'rnn' is not known: choose one of cenet-6, "):
        with_network(scaled(), "rnn")


def test_single_settings():
    config = with_settings(
        scaled(),
        ["recipe.steps=7", "augment.snr=[0, 3]", "network.channels=[8,8,8,8]", "recipe.optimiser=sgd", "seconds=0.5"],
    )
    assert (config.recipe.steps, config.augment.snr, config.seconds) == (7, (0.0, 3.0), 0.5)
    assert (config.network.channels, config.recipe.optimiser) == ((8, 8, 8, 8), "sgd")
    assert with_settings(scaled(), ["network.graph=null"]).network == replace(NETWORKS["cenet-6"])
    assert with_settings(scaled(), []) == scaled()
    both = with_settings(with_network(scaled(), "tc-resnet8"), ["features.bands=20", "network.bands=20"])
    assert both.network.bands == 20


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("seconds", "sets nothing"),
        ("second=1", "'second' is no setting of preset 'scaled': choose one of name, network"),
        ("network.foo.bar=1", "nothing lies below"),
        ("network.graph=uniform", "network.cenet.graph"),
        ("network.graph.adjacency=random", "'learned', 'identity', 'uniform' or 'banded'"),
        ("network.graph.stages=[1,1]", "one graph at most"),
        ("network.graph.stages=[4]", "less than or equal to 3"),
        ("network.graph.reach=-1", "reach"),
        ("network.channels=[1,2,3]", "network.cenet.channels.3: Field required"),
        ("network.channels=[16,32,48,2]", "4 channels or more"),
        ("network.ratios=[2,4,400]", "48 channels has no middle of one in 400"),
        ("network.repetitions=[1,1,-1]", "repetitions.2"),
        ("network.family=rnn", "'rnn'"),
        ("network=null", "network"),
        ("features.kind=wavelet", "log_mel"),
        ("features.bands=0", "bands"),
        ("features.bands=2.5", "features.bands"),
        ("features.bands=4", "51 frames of 4 features, and a network needs 8"),
        ("features.hop_seconds=0.5", "3 frames of 40 features"),
        ("features.high_hz=9000", "8000 Hz"),
        ("features.sample_rate=8000", "16000 Hz"),
        ("recipe.steps=0", "recipe.steps"),
        ("recipe.steps=many", "recipe.steps"),
        ("recipe.batch_size=1", "recipe.batch_size"),
        ("recipe.learning_rate=0", "recipe.learning_rate"),
        ("recipe.learning_rate=Infinity", "recipe.learning_rate: Input should be a finite number"),
        ("recipe.learning_rate=NaN", "recipe.learning_rate"),
        ("recipe.optimiser=adam", "'adamw' or 'sgd'"),
        ("recipe.schedule=linear", "'one_cycle' or 'steps'"),
        ("recipe.boundaries=[0]", "recipe.boundaries.0"),
        ("augment.snr=[20,5]", "not from 20 to 5"),
        ("augment.snr=[5]", "augment.snr.1"),
        ("augment.speed=0.5", "augment.speed"),
        ("augment.noise_probability=1.1", "augment.noise_probability"),
        ("augment.time_mask=-1", "augment.time_mask"),
        ("seconds=0", "seconds"),
        ("seconds=1e9", "seconds"),
        ("name=3", "name"),
    ],
)
def test_bad_settings_are_one_sentence(assignment, words):
    with pytest.raises(UserError) as found:
        with_settings(scaled(), [assignment])
    assert words in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["tc-resnet8", "bc-resnet-1"])
def test_a_network_for_other_bands_is_refused(name):
    with pytest.raises(UserError, match=r"takes 40 bands of a frame and the features have 80: set network\.bands too"):
        with_settings(with_network(scaled(), name), ["features.bands=80"])


@pytest.mark.parametrize("place", ["", "network", "network.graph", "features", "recipe", "augment"])
def test_unknown_keys_are_named(place):
    values = scaled().to_dict()
    inner = values
    for part in filter(None, place.split(".")):
        inner = inner[part]
    inner["colour"] = "red"
    with pytest.raises(UserError, match=r"configuration of cenet: .*colour: Unexpected keyword argument\."):
        KeywordConfig.from_dict(values)


@pytest.mark.parametrize("values", [{}, [], None, {"name": "x"}])
def test_what_is_no_configuration_is_refused(values):
    with pytest.raises(UserError, match="configuration of cenet: "):
        KeywordConfig.from_dict(values)


def test_unknown_presets_are_named():
    with pytest.raises(UserError, match="preset 'huge' of cenet is not known: choose one of scaled, real, cenet-6"):
        preset_named("huge")


def test_configurations_are_frozen_and_checked_when_they_are_made():
    with pytest.raises(AttributeError):
        scaled().seconds = 2.0
    with pytest.raises(ValueError, match="ratio"):
        CENetConfig((1, 1, 1), channels=(1, 2, 3, 4))
