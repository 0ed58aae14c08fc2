"""Training learns, resumes bit for bit, can start from another spotter, and is read back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lib.cenet.config import NETWORKS, AugmentConfig, CENetConfig, GraphConfig, RecipeConfig, TCResNetConfig
from lib.cenet.evaluate import evaluate
from lib.cenet.spotter import KIND, KeywordModel, load_spotter
from lib.cenet.stream import Stream, noisy
from lib.cenet.train import _optimizer, rate_of, train
from lib.errors import UserError
from lib.speech.features import FeatureConfig
from lib.training.checkpoint import load_checkpoint, save_checkpoint
from lib.training.run import Run
from tests.cenet.sounds import tiny, words_of

QUIET = Run(progress=False)
CLIPS = words_of(range(12))
FOREIGN = words_of(range(20, 40))
"""Voices that nobody has trained on."""
MASKED = AugmentConfig(shift_seconds=0.02, time_mask=6, frequency_mask=8)
PLAIN_NETWORK = CENetConfig((0, 0, 0), (8, 8, 12, 16), (2, 2, 2))


def weights(spotter) -> dict[str, torch.Tensor]:
    return spotter.model.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def trained():
    return train(tiny(), CLIPS, QUIET)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_training_recognises_words_of_voices_it_never_heard(seed):
    spotter = train(tiny(), CLIPS, replace(QUIET, seed=seed))
    test = noisy(FOREIGN, (10.0, 20.0), seed)
    baseline = max(test.counts.values()) / len(test)  # who always names the most frequent class
    assert baseline == pytest.approx(1 / 3)
    score = evaluate(spotter, test)
    assert score.accuracy > 0.75  # seeds 0 to 7: 0.93 to 0.98
    assert score.low > baseline
    loss = spotter.history["loss"]
    assert loss[-10:].mean() < 0.5 * loss[:5].mean()
    assert spotter.history["accuracy"][-10:].mean() > 0.75


def test_the_history_has_every_step_and_the_scale_of_every_graph(trained):
    assert trained.history.steps == 60
    assert set(trained.history.values) == {"loss", "accuracy", "gamma 1", "gamma 2", "gamma 3"}
    for stage in "123":
        gamma = trained.history[f"gamma {stage}"]
        assert abs(gamma[0]) <= 1e-2 + 1e-6  # one step from zero
        assert gamma[-1] == pytest.approx(trained.model.network.graphs[stage].gamma.item())
        assert gamma[-1] != 0
    assert (trained.history["accuracy"] * 16 % 1 == 0).all()


def test_the_same_seed_gives_the_same_run_and_no_global_state_is_touched():
    before = torch.random.get_rng_state()
    one, two = (train(tiny(steps=4), CLIPS, QUIET) for _ in range(2))
    assert same(weights(one), weights(two))
    assert (one.history["loss"] == two.history["loss"]).all()
    assert torch.random.get_rng_state().equal(before)
    other = train(tiny(steps=4), CLIPS, replace(QUIET, seed=1))
    assert (one.history["loss"] != other.history["loss"]).any()


def test_a_stream_is_heard_as_its_clips_are():
    config = tiny(steps=3)
    stream = Stream(CLIPS, config, seed=0).keep(8)
    assert same(weights(train(config, CLIPS, QUIET)), weights(train(config, stream, QUIET)))
    without = replace(config, network=PLAIN_NETWORK)
    assert train(without, stream, QUIET).history["loss"][0] == train(config, stream, QUIET).history["loss"][0]  # γ = 0


@pytest.mark.parametrize(
    "network",
    [
        tiny().network,
        TCResNetConfig((8, 8, 12), dropout=0.5),
        NETWORKS["bc-resnet-1"],
        NETWORKS["res8-narrow"],
    ],
    ids=lambda network: network.family,
)
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path, network, optimiser):
    config = tiny(steps=6, warmup=2, batch_size=8, optimiser=optimiser, network=network, augment=MASKED)
    whole = train(config, CLIPS, replace(QUIET, out=tmp_path / "whole"))
    train(config, CLIPS, replace(QUIET, out=tmp_path / "parts", max_steps=2))
    parts = train(config, CLIPS, replace(QUIET, out=tmp_path / "parts", resume=True))
    assert same(weights(whole), weights(parts))
    assert whole.history.values.keys() == parts.history.values.keys()
    assert all((values == parts.history[name]).all() for name, values in whole.history.values.items())
    assert same(*(load_checkpoint(tmp_path / name, KIND)[0] for name in ("whole", "parts")))
    kept = train(config, CLIPS, QUIET)  # nor does keeping checkpoints change anything
    assert same(weights(whole), weights(kept))


def test_dropout_and_masks_are_there_to_be_resumed(tmp_path):
    """The test above would also pass if neither drew anything."""
    config = tiny(steps=2, network=TCResNetConfig((8, 8, 12), dropout=0.5), augment=MASKED)
    undropped = replace(config, network=replace(config.network, dropout=0.0))
    unmasked = replace(config, augment=replace(MASKED, time_mask=0, frequency_mask=0))
    losses = [tuple(train(one, CLIPS, QUIET).history["loss"]) for one in (config, undropped, unmasked)]
    assert len(set(losses)) == 3


def test_a_run_is_not_resumed_with_other_settings(tmp_path):
    run = replace(QUIET, out=tmp_path, max_steps=2)
    train(tiny(), CLIPS, run)
    for other in (tiny(learning_rate=2e-2), tiny(augment=MASKED), tiny(network=PLAIN_NETWORK)):
        with pytest.raises(UserError, match="resume it with the same settings"):
            train(other, CLIPS, replace(run, resume=True))
    with pytest.raises(UserError, match="already holds a checkpoint"):
        train(tiny(), CLIPS, run)
    with pytest.raises(UserError, match="same settings"):
        train(tiny(), replace(CLIPS, class_names=("a", "b", "c")), replace(run, resume=True))


def test_a_batch_in_parts_is_nearly_the_same_step():
    # not quite: batch normalisation sees the parts one by one
    config = tiny(steps=20)
    whole, halves, uneven = (train(config, CLIPS, replace(QUIET, accumulate=parts)) for parts in (1, 2, 3))
    for parts in (halves, uneven):
        assert parts.history.steps == 20
        assert parts.history["loss"][0] == pytest.approx(whole.history["loss"][0], rel=0.2)
        assert parts.history["loss"][-5:].mean() == pytest.approx(whole.history["loss"][-5:].mean(), rel=0.4)
    assert (halves.history["loss"] != whole.history["loss"]).any()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_weights_decay_but_no_bias_norm_or_gamma(name, optimiser):
    config = tiny(network=NETWORKS[name])
    model = KeywordModel(config, 3)
    recipe = RecipeConfig(optimiser=optimiser, weight_decay=0.25)
    decayed, free = _optimizer(model, recipe, QUIET).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.25, 0.0)
    wanted = {
        id(layer.weight)
        for layer in model.modules()
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
    }  # fmt: skip
    assert {id(one) for one in decayed["params"]} == wanted
    assert {id(one) for one in free["params"]} == {id(one) for one in model.parameters()} - wanted


def test_weight_decay_shrinks_what_it_is_meant_for():
    config = tiny(steps=1, warmup=0, learning_rate=1e-3, weight_decay=900.0)
    start = KeywordModel(config, 3).state_dict()
    after = weights(train(config, CLIPS, QUIET))
    first = "network.initial.0.weight"
    assert after[first].norm() < 0.2 * start[first].norm()
    norm = "network.initial.1.weight"
    assert after[norm].norm() > 0.9 * start[norm].norm()


def test_the_learning_rate_rises_and_falls():
    steps = RecipeConfig(learning_rate=0.1, schedule="steps", boundaries=(3, 5), steps=9)
    assert [rate_of(steps, step) for step in range(7)] == pytest.approx([0.1] * 3 + [0.01] * 2 + [0.001] * 2)
    cycle = RecipeConfig(learning_rate=0.1, warmup=4, steps=12)
    rates = [rate_of(cycle, step) for step in range(13)]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[8] == pytest.approx(0.05)  # half way down
    assert rates[12] == pytest.approx(0)
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_stopping_early_changes_no_schedule(tmp_path):
    short = train(tiny(), CLIPS, replace(QUIET, max_steps=5))
    assert short.history.steps == 5
    assert (short.history["loss"] == train(tiny(), CLIPS, replace(QUIET, max_steps=9)).history["loss"][:5]).all()
    assert train(tiny(steps=3), CLIPS, replace(QUIET, max_steps=9)).history.steps == 3


def test_a_diverged_run_is_refused_and_not_kept(tmp_path):
    config = tiny(optimiser="sgd", learning_rate=1e30, warmup=0, schedule="steps")
    with pytest.raises(UserError, match=r"'(loss|gamma .)' became (nan|inf|-inf) at step \d+: training diverged"):
        train(config, CLIPS, replace(QUIET, out=tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def bad(value: float):
    waveforms = CLIPS.waveforms.clone()
    waveforms[3, 100] = value
    return replace(CLIPS, waveforms=waveforms)


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        (CLIPS.subset(CLIPS.labels == 1), "has only the class 'middle': at least two"),
        (CLIPS.subset([]), "has only the class 'none'"),
        (CLIPS.subset(CLIPS.labels != 2), "no clip of the class 'high' to train on"),
        (bad(float("nan")), "holds NaN or infinity"),
        (bad(float("inf")), "holds NaN or infinity"),
        (words_of(range(4), seconds=0.5), "clips of 8000 samples and the spotter is to hear 6400"),
        (
            Stream(CLIPS, tiny(features=FeatureConfig("mfcc"))),
            "other features than the spotter",
        ),
    ],
)
def test_clips_that_cannot_be_learnt_from_are_refused(clips, words, tmp_path):
    with pytest.raises(UserError, match=words):
        train(tiny(), clips, replace(QUIET, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_weights_are_taken_over_from_another_spotter(trained):
    at_once = replace(QUIET, seed=5, max_steps=1)
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "warmup": 0}
    two = CLIPS.subset(CLIPS.labels < 2)
    two = replace(two, class_names=("low", "middle"))  # another number of classes: only the last layer is new
    found, fresh = (weights(train(tiny(**still), two, at_once, start=start)) for start in (trained, None))
    parameters = {name for name, _ in trained.model.named_parameters()}
    for name in parameters:
        if "classifier" not in name:
            assert torch.allclose(found[name], weights(trained)[name], atol=1e-9), name
            assert fresh[name].equal(found[name]) == bool(not found[name].any()), name
    assert found["network.classifier.weight"].shape == (2, 16)
    assert found["normalise.mean"].equal(weights(trained)["normalise.mean"])


def test_a_graph_is_added_to_a_trained_network_and_left_out_again(trained):
    still = tiny(learning_rate=1e-12, weight_decay=0.0, warmup=0)
    once = replace(QUIET, max_steps=1)
    plain = train(replace(still, network=PLAIN_NETWORK), CLIPS, once, start=trained)
    assert not hasattr(plain.model.network, "graphs") or not plain.model.network.graphs
    graph = train(still, CLIPS, once, start=plain)
    assert all(abs(one.gamma.item()) < 1e-9 for one in graph.model.network.graphs.values())
    first = "network.initial.0.weight"
    assert torch.allclose(weights(graph)[first], weights(trained)[first], atol=1e-9)
    other = tiny(network=replace(still.network, graph=GraphConfig(adjacency="uniform")), steps=1)
    assert train(other, CLIPS, once, start=trained).history.steps == 1


@pytest.mark.parametrize(
    "other",
    [
        tiny(network=CENetConfig((0, 0, 0), (8, 8, 12, 24), (2, 2, 2))),
        tiny(network=CENetConfig((1, 0, 0), (8, 8, 12, 16), (2, 2, 2))),
        tiny(network=TCResNetConfig((8, 8, 12))),
        tiny(features=FeatureConfig("mfcc", window_seconds=0.03, hop_seconds=0.02)),
        tiny(features=replace(tiny().features, low_hz=100.0)),
    ],
)
def test_a_start_that_does_not_fit_is_refused(trained, other):
    with pytest.raises(UserError, match="other layers or features: start from one of the same"):
        train(replace(other, recipe=replace(other.recipe, steps=1)), CLIPS, QUIET, start=trained)


def test_a_run_is_resumed_from_its_own_start_only(tmp_path, trained):
    run = replace(QUIET, out=tmp_path / "run", max_steps=2)
    train(tiny(), CLIPS, run, start=trained)
    again = replace(run, resume=True, max_steps=4)
    for start in (None, train(tiny(), CLIPS, replace(QUIET, max_steps=1))):
        with pytest.raises(UserError, match="was started with source"):
            train(tiny(), CLIPS, again, start=start)
    assert train(tiny(), CLIPS, again, start=trained).history.steps == 4


@pytest.mark.parametrize("name", ["cenet-gcn-6", "tc-resnet8", "res15", "bc-resnet-1"])
def test_a_checkpoint_is_read_back(tmp_path, name):
    config = tiny(network=NETWORKS[name], steps=2, batch_size=8)
    spotter = train(config, CLIPS, replace(QUIET, out=tmp_path, seed=7))
    again = load_spotter(tmp_path)
    assert again.config == config
    assert (again.class_names, again.data, again.seed, again.task) == (CLIPS.class_names, "tones", 7, {})
    found = spotter.posteriors(FOREIGN.waveforms)
    assert found.equal(again.posteriors(FOREIGN.waveforms))
    assert torch.allclose(found.sum(1), torch.ones(len(FOREIGN)), atol=1e-5)
    in_pieces = again.logits(FOREIGN.waveforms, batch=7)
    assert torch.allclose(in_pieces, again.logits(FOREIGN.waveforms), atol=1e-4)
    assert again.logits(FOREIGN.waveforms[:0]).shape == (0, 3)


def test_sounds_of_another_length_are_refused(trained):
    for shape in ((2, 6401), (6400,), (1, 2, 6400)):
        with pytest.raises(UserError, match="6400 samples at once"):
            trained.posteriors(torch.zeros(shape))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(tiny(steps=1), CLIPS, replace(QUIET, out=folder))
    return folder


def _cut(folder):
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def _tensors(change):
    def apply(folder):
        path = folder / "checkpoint.safetensors"
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata)

    return apply


def _settings(change):
    def apply(folder):
        record = json.loads((folder / "config.json").read_text())
        change(record["config"])
        (folder / "config.json").write_text(json.dumps(record))

    return apply


FIRST = "module.model.network.initial.0.weight"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "damaged or truncated"),
        (_tensors(lambda tensors: tensors.pop(FIRST)), f"lacks '{FIRST}'"),
        (_tensors(lambda tensors: tensors[FIRST].fill_(float("nan"))), "NaN or infinity"),
        (_tensors(lambda tensors: tensors.update({FIRST: torch.zeros(2)})), "has shape"),
        (_settings(lambda config: config.pop("cenet")), "no keyword spotter"),
        (_settings(lambda config: config.update(cenet=3)), "no keyword spotter"),
        (_settings(lambda config: config.update(class_names="low")), "no keyword spotter"),
        (_settings(lambda config: config.update(class_names=["low"])), "no keyword spotter"),
        (_settings(lambda config: config.update(class_names=["a", "b"])), "has shape"),
        (_settings(lambda config: config.update(task=["a"])), "no keyword spotter"),
        (_settings(lambda config: config.update(seed="x")), "no keyword spotter"),
        (_settings(lambda config: config["cenet"].pop("network")), "network"),
        (_settings(lambda config: config["cenet"]["network"].update(family="rnn")), "network"),
        (_settings(lambda config: config["cenet"]["features"].update(kind="wavelet")), "wavelet"),
        (_settings(lambda config: config["cenet"]["features"].update(colour="red")), "colour"),
        (_settings(lambda config: config["cenet"]["recipe"].update(steps="many")), "recipe.steps"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "checkpoint.safetensors").unlink(), "holds no checkpoint"),
        (shutil.rmtree, "No checkpoint folder"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(run_folder, tmp_path, damage, words):
    shutil.copytree(run_folder, tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(UserError, match=words) as found:
        load_spotter(tmp_path / "run")
    assert "\n" not in str(found.value)


def test_the_checkpoint_of_another_system_is_refused(tmp_path):
    save_checkpoint(tmp_path, {"weight": torch.zeros(2)}, {"cud": {}}, "cud")
    with pytest.raises(UserError, match="holds a checkpoint of 'cud', not of 'cenet'"):
        load_spotter(tmp_path)
    with pytest.raises(UserError, match="cud"):
        train(tiny(steps=1), CLIPS, replace(QUIET, out=tmp_path, resume=True))


def _as_one_of_two(fabric: Fabric, folder: Path, accumulate: int) -> None:
    torch.set_num_threads(1)
    config = tiny(steps=6, warmup=2, augment=MASKED)
    run = Run(fabric=fabric, progress=False, accumulate=accumulate, out=folder / "parts")
    whole = train(config, CLIPS, replace(run, out=folder / "run"))
    train(config, CLIPS, replace(run, max_steps=2))
    parts = train(config, CLIPS, replace(run, resume=True))
    for name, spotter in (("whole", whole), ("parts", parts)):
        state = torch.cat([value.flatten() for value in weights(spotter).values() if value.is_floating_point()])
        np.savez(folder / f"{name}-{run.rank}.npz", state=state, **spotter.history.values)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_devices_end_with_the_same_spotter(tmp_path, accumulate):
    # Forked, so that the two need not import torch anew; the command line starts them afresh ("ddp").
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(_as_one_of_two, tmp_path, accumulate)
    whole, other, resumed, last = (
        dict(np.load(tmp_path / f"{name}-{rank}.npz")) for name in ("whole", "parts") for rank in (0, 1)
    )
    assert len(whole["loss"]) == 6
    for one in (other, resumed, last):
        assert one.keys() == whole.keys()
        for name in set(whole) - {"state"}:
            np.testing.assert_array_equal(one[name], whole[name])
    np.testing.assert_array_equal(whole["state"], resumed["state"])
    np.testing.assert_array_equal(other["state"], last["state"])
    learnt = {name for name, _ in KeywordModel(tiny(), 3).named_parameters()}
    spotter = load_spotter(tmp_path / "run")
    mine = torch.cat([value.flatten() for value in weights(spotter).values() if value.is_floating_point()]).numpy()
    np.testing.assert_array_equal(mine, whole["state"])
    assert load_checkpoint(tmp_path / "run", KIND)[1]["training"]["world_size"] == 2
    # what is learnt is the same on both, and so are the statistics of the features; those of batch normalisation are
    # each process's own until the next step
    for name, value in _by_name(spotter, other["state"]).items():
        if name in learnt or name.startswith("normalise"):
            assert value.equal(weights(spotter)[name]), name


def _by_name(spotter, flat: np.ndarray) -> dict[str, torch.Tensor]:
    """The state dict that was laid end to end."""
    found, rest = {}, torch.from_numpy(flat)
    for name, value in weights(spotter).items():
        if value.is_floating_point():
            found[name], rest = rest[: value.numel()].reshape(value.shape), rest[value.numel() :]
    return found
