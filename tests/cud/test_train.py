"""Sessions learn, resume and are read back; the peers learn too."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from lib.cud import comparison
from lib.cud.baselines import (
    consistency_distillation,
    consistency_training,
    grid_size,
    progressive_distillation,
    pseudo_huber,
    reflow,
)
from lib.cud.config import CatchUpConfig, CUDConfig, SecondSessionConfig, preset_named, toy, with_method, with_settings
from lib.cud.evaluate import equal_compute_steps, flow_straightness, make_judge, passes_per_step, quality
from lib.cud.fit import Run
from lib.cud.samplers import sample
from lib.cud.second_session import distillation_targets, one_step_loss, second_session
from lib.cud.train import TrainedFlow, check_shape, load_data, load_trained, train
from lib.errors import UserError
from lib.training.checkpoint import load_checkpoint
from lib.vision.data import ImageSet, load_images

RUN = Run(seed=0, progress=False)


def small(method: str = "rk12", steps: int = 500, **changes) -> CUDConfig:
    config = with_method(replace(toy(), data="checkerboard"), method)
    return replace(comparison.with_steps(config, steps), **changes)


@pytest.fixture(scope="module")
def points():
    return load_data("checkerboard")


@pytest.fixture(scope="module")
def judge(points):
    return make_judge(points, load_data("checkerboard", "test"))


@pytest.fixture(scope="module")
def plain(points):
    return train(small("flow_matching", 700), points, RUN)


@pytest.fixture(scope="module")
def catch_up(points):
    return train(small(catch_up=CatchUpConfig(step_size="fixed", grid=4)), points, RUN)


def test_a_session_learns_and_catch_up_wins_at_few_steps(plain, catch_up, judge):
    # Equal compute: 700 steps of 3 passes against 500 of 4. The untrained network is the baseline.
    untrained = judge(plain.noise(2000, 1))
    few, many = quality(plain, judge, (2, 16)).values()
    assert many < 0.6 * untrained
    assert many < few
    assert quality(catch_up, judge, (2,))[2] < 0.7 * few
    assert flow_straightness(catch_up) < 0.8 * flow_straightness(plain)


def test_second_session_makes_one_step_enough(catch_up, judge):
    session = SecondSessionConfig(pairs=4000, steps=150, batch_size=256, learning_rate=1e-3, cosine=True)
    done = second_session(catch_up, RUN, session)
    before, after = quality(catch_up, judge, (1,))[1], quality(done, judge, (1,))[1]
    assert after < 0.6 * before
    assert done.session == 2
    with pytest.raises(UserError, match="second session already"):
        second_session(done, RUN, session)


def test_second_session_targets_are_the_walks_clean_estimates(catch_up, monkeypatch):
    monkeypatch.setattr("lib.cud.second_session.piece_size", lambda shape: 4)
    session = SecondSessionConfig(pairs=10, steps=1, batch_size=5, learning_rate=1e-3, stages=(0, 14))
    noise = catch_up.noise(10, 0)
    targets = distillation_targets(catch_up, noise, session)
    assert targets.shape == (10, 2, 2)
    one_step = sample(catch_up.model, noise, 1).samples  # the estimate at m = 0 IS the one-step sample
    assert torch.allclose(targets[:, 0], one_step, atol=1e-5)


def test_one_step_loss_by_hand(plain):
    class Constant(torch.nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = torch.nn.Parameter(torch.tensor(value))

        def forward(self, x, t, labels=None, head=1):
            return torch.zeros_like(x) + self.value

    noise, target = torch.zeros(3, 2), torch.ones(3, 2)
    student, average = Constant(1.0), Constant(0.5)
    parts = one_step_loss(student, average, noise, target, head=1, anchor=0.1)
    assert parts["loss"].item() == pytest.approx(4 + 0.1 * 0.25)  # out = -1, so (−1 − 1)² = 4
    parts["loss"].backward()
    assert average.value.grad is None
    assert student.value.grad.item() != 0


def test_a_resumed_run_equals_an_unbroken_one(tmp_path, points):
    config = small("rk23", 30)
    whole = train(config, points, replace(RUN, out=tmp_path / "whole"))
    train(config, points, replace(RUN, out=tmp_path / "parts", max_steps=13))
    parts = train(config, points, replace(RUN, out=tmp_path / "parts", resume=True))
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (whole.history["loss"] == parts.history["loss"]).all()
    one, two = (load_checkpoint(tmp_path / name, "cud")[0] for name in ("whole", "parts"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_resumed_second_session_equals_an_unbroken_one(tmp_path, plain):
    session = SecondSessionConfig(pairs=64, steps=5, batch_size=16, learning_rate=1e-3)
    whole = second_session(plain, replace(RUN, out=tmp_path / "whole"), session)
    second_session(plain, replace(RUN, out=tmp_path / "parts", max_steps=7), session)
    parts = second_session(plain, replace(RUN, out=tmp_path / "parts", resume=True), session)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True))


def _reflow(flow, points, run):
    return {1: reflow(flow, run, pairs=64, steps=10)}


def _progressive(flow, points, run):
    return progressive_distillation(flow, run, data=points, steps=12, start=4)


def _consistency(flow, points, run):
    return {1: consistency_training(comparison.with_steps(flow.config, 12), points, run)}


def _distilled(flow, points, run):
    return {1: consistency_distillation(_for(flow, 12), points, run)}


@pytest.mark.parametrize("start", [_reflow, _progressive, _consistency, _distilled])
@pytest.mark.parametrize("broken_off", [4, 8])
def test_a_resumed_peer_equals_an_unbroken_one(tmp_path, plain, points, start, broken_off):
    # Eight of progressive distillation's steps end in its second round.
    whole = start(plain, points, replace(RUN, out=tmp_path / "whole"))
    start(plain, points, replace(RUN, out=tmp_path / "parts", max_steps=broken_off))
    parts = start(plain, points, replace(RUN, out=tmp_path / "parts", resume=True))
    assert parts.keys() == whole.keys()
    for number, flow in whole.items():
        assert (flow.history["loss"] == parts[number].history["loss"]).all()
        pairs = zip(flow.model.parameters(), parts[number].model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_the_steps_of_progressive_distillation_are_counted_over_its_rounds(tmp_path, plain, points):
    students = progressive_distillation(plain, replace(RUN, max_steps=5), data=points, steps=12, start=8)
    assert {grid: student.history.steps for grid, student in students.items()} == {4: 4, 2: 1}


def test_a_run_from_another_flow_is_not_resumed(tmp_path, plain, points):
    other = replace(plain, model=copy.deepcopy(plain.model))
    with torch.no_grad():
        next(other.model.parameters())[0] += 1e-6
    session = SecondSessionConfig(pairs=32, steps=2, batch_size=16, learning_rate=1e-3)
    for name, start in (
        ("second", lambda flow, run: second_session(flow, run, session)),
        ("reflow", lambda flow, run: reflow(flow, run, pairs=32, steps=6)),
        ("rounds", lambda flow, run: progressive_distillation(flow, run, data=points, steps=6, start=2)[1]),
        ("distilled", lambda flow, run: consistency_distillation(_for(flow, 6), points, run)),
    ):
        start(plain, replace(RUN, out=tmp_path / name, max_steps=3))
        with pytest.raises(UserError, match=r"started with source\.weights"):
            start(other, replace(RUN, out=tmp_path / name, resume=True))
        again = replace(plain, model=copy.deepcopy(plain.model))
        assert start(again, replace(RUN, out=tmp_path / name, resume=True)).history.steps == 6


def _for(flow: TrainedFlow, steps: int) -> TrainedFlow:
    return replace(flow, config=comparison.with_steps(flow.config, steps))


def test_a_trained_flow_is_read_back(tmp_path, points):
    config = small("catch_up_learned", 5)
    flow = train(config, points, replace(RUN, out=tmp_path / "run"))
    again = load_trained(tmp_path / "run")
    assert again.config == config
    assert again.data == "checkerboard"
    assert torch.equal(flow.sample(16, 4, seed=3).samples, again.sample(16, 4, seed=3).samples)
    assert not torch.equal(flow.sample(16, 4, seed=3).samples, again.sample(16, 4, seed=4).samples)


def test_same_seed_same_run_and_no_global_state(points):
    before = torch.random.get_rng_state()
    one, two = (train(small(steps=5), points, RUN).history["loss"] for _ in range(2))
    assert (one == two).all()
    assert torch.equal(before, torch.random.get_rng_state())
    other = train(small(steps=5), points, replace(RUN, seed=1)).history["loss"]
    assert (one != other).any()


def test_methods_that_differ_in_the_look_ahead_alone_see_the_same_batches(points):
    plain = train(small("flow_matching", 1), points, RUN).history
    ahead = train(small("rk12", 1), points, RUN).history
    assert plain["flow"][0] == ahead["flow"][0]


def test_images_train_through_the_same_code():
    config = comparison.with_steps(preset_named("scaled"), 3)
    flow = train(config, load_images("embedded"), RUN)
    assert flow.sample(4, 2).samples.shape == (4, 1, 8, 8)
    assert flow.sample(4, 3, solver="heun").nfe == 3


def test_peers_learn(plain, points, judge):
    one_step = quality(plain, judge, (1,))[1]
    straight = reflow(plain, RUN, pairs=5000, steps=300)
    assert quality(straight, judge, (1,))[1] < 0.5 * one_step
    assert flow_straightness(straight) < 0.2 * flow_straightness(plain)

    students = progressive_distillation(plain, RUN, data=points, steps=600, start=4)
    assert list(students) == [2, 1]
    assert quality(students[1], judge, (1,))[1] < 0.7 * one_step

    distilled = consistency_distillation(_for(plain, 400), points, RUN)
    assert judge(distilled.sample(4000, 1).samples) < 0.7 * one_step


def test_budget_of_the_peers_is_that_of_one_session(points, judge):
    peers = comparison.train_peers(small(steps=600), points, RUN)
    assert set(peers.progressive) == {8, 4, 2, 1}
    first_session = judge(train(small(steps=600), points, RUN).sample(4000, 1).samples)
    assert judge(peers.consistency.sample(4000, 1).samples) < 0.6 * first_session
    # 2,400 passes: 400 steps of the teacher, and 200 that cost 6 each.
    assert peers.distilled.history.steps == 200


def test_peers_are_kept_apart_and_resumed(tmp_path, points):
    run = replace(RUN, out=tmp_path / "peers")
    peers = comparison.train_peers(small(steps=20), points, run)
    assert len(list((tmp_path / "peers").iterdir())) == 5
    again = comparison.train_peers(small(steps=20), points, replace(run, resume=True))
    for one, other in ((peers.reflow, again.reflow), (peers.distilled, again.distilled)):
        assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_only_what_walks_freely_is_a_teacher(plain, points):
    student = progressive_distillation(plain, replace(RUN, max_steps=1), data=points, steps=8, start=4)[2]
    once = replace(plain, session=2)
    for flow, words in ((student, "one number of steps"), (once, "second session already")):
        for start in (
            lambda flow: reflow(flow, RUN, pairs=8, steps=1),
            lambda flow: progressive_distillation(flow, RUN, data=points, steps=1),
            lambda flow: consistency_distillation(flow, points, RUN),
            lambda flow: second_session(flow, RUN),
        ):
            with pytest.raises(UserError, match=words):
                start(flow)


def test_peers_say_what_data_they_saw_and_refuse_what_does_not_fit(tmp_path, plain, points):
    run = replace(RUN, out=tmp_path, max_steps=1)
    named = replace(plain, data="another", config=replace(plain.config, data="ring"))
    progressive_distillation(named, run, data=points, steps=8, start=2)
    assert load_trained(tmp_path / "1-steps").data == "ring"
    with pytest.raises(UserError, match="samples of shape"):
        progressive_distillation(plain, RUN, data=torch.zeros(4, 3), steps=1)


@pytest.mark.parametrize("start", [consistency_training, None])
def test_peers_mirror_images_where_the_preset_does(start):
    config, images = comparison.with_steps(preset_named("scaled"), 2), load_images("embedded")
    flow = train(with_method(config, "flow_matching"), images, RUN)

    def losses(flip):
        mirrored = replace(flow.config, horizontal_flip=flip)
        if start is not None:
            return start(mirrored, images, RUN).history["loss"]
        teacher = replace(flow, config=mirrored)
        return progressive_distillation(teacher, RUN, data=images, steps=3, start=8)[4].history["loss"]

    assert (losses(True) != losses(False)).any()


def test_a_consistency_model_passes_its_samples_in_pieces(plain, points, monkeypatch):
    model = consistency_training(comparison.with_steps(plain.config, 2), points, RUN)
    whole = model.sample(50, 3, seed=4).samples
    monkeypatch.setattr("lib.cud.baselines.piece_size", lambda shape: 7)
    assert torch.allclose(model.sample(50, 3, seed=4).samples, whole, atol=1e-6)


def test_a_single_image_cannot_be_compared_with():
    train_set, pixels = load_images("embedded"), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    alone = ImageSet("alone", "test", torch.zeros(1, dtype=torch.long), train_set.class_names, (1, 8, 8), pixels)
    with pytest.raises(UserError, match=r"1 image\(s\)"):
        make_judge(train_set, alone)


@pytest.mark.parametrize("preset", ["scaled", "mnist", "cifar10"])
def test_no_two_methods_of_a_comparison_are_one(preset):
    runs = comparison.first_sessions(preset_named(preset))
    assert runs[comparison.FLOW].coupling.kind == "independent"
    assert runs[comparison.RK12].coupling.kind == "independent"
    assert runs[comparison.LEARNED_CATCH_UP].coupling.kind == "learned"
    assert len({json.dumps(run.to_dict()) for run in runs.values()}) == len(runs)


@pytest.mark.parametrize(
    ("name", "decay", "rate", "batch"),
    [("mnist", 0.9999, 3e-4, 256), ("cifar10", 0.9999, 2e-4, 128), ("imagenet64", 0.99994322, 4e-4, 1024)],
)
def test_paper_presets_step_and_average_as_the_official_runs(name, decay, rate, batch):
    config = preset_named(name)
    stages = [config.optimiser] + [config.second_session] * (name != "imagenet64")
    for stage in stages:
        assert (stage.learning_rate, stage.batch_size, stage.cosine) == (rate, batch, False)
    # The average of random first weights would be random for ten thousand steps; that of trained ones is not.
    assert [stage.ema_start for stage in stages] == ["unbiased", "plain"][: len(stages)]
    assert config.optimiser.ema_decay == decay
    assert config.optimiser.warmup == 5000
    assert config.second_session is None or config.second_session.ema_decay == 0.9999


def test_network_work():
    assert passes_per_step(small("flow_matching")) == 3
    assert [passes_per_step(small(s)) for s in ("rk12", "rk23", "rk34")] == [4, 6, 8]
    ema = replace(small(), catch_up=CatchUpConfig(teacher="ema"))
    assert passes_per_step(ema) == 5
    assert equal_compute_steps(small("rk12"), small("flow_matching"), 300) == 400


def test_pseudo_huber_and_grid():
    d = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    c = 0.00054 * 2**0.5
    assert pseudo_huber(d).tolist() == pytest.approx([(25 + c * c) ** 0.5 - c, 0.0])
    assert [grid_size(p) for p in (0, 0.24, 0.26, 0.51, 0.76, 0.999)] == [8, 8, 16, 32, 64, 64]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: preset_named("huge"), "toy, scaled, mnist, cifar10, imagenet64"),
        (lambda: with_method(toy(), "ddpm"), "flow_matching, minibatch_ot"),
        (lambda: CUDConfig.from_dict({**toy().to_dict(), "speed": 3}), "speed"),
        (lambda: with_settings(toy(), ["second_session.anchor=Infinity"]), "anchor"),
        (lambda: CUDConfig.from_dict({**toy().to_dict(), "optimiser": {"steps": 0}}), "optimiser"),
        (lambda: CUDConfig.from_dict({**toy().to_dict(), "network": {"kind": "mlp", "widht": 3}}), "widht"),
        (lambda: check_shape(toy(), load_images("embedded")), "preset that fits"),
        (lambda: load_data("spiral"), "spiral"),
        (lambda: replace(toy(), wavelet_weight=1.0), "wavelet"),
    ],
)
def test_bad_settings(call, words):
    with pytest.raises((UserError, ValueError), match=words):
        call()


def test_bad_requests(plain):
    assert isinstance(plain, TrainedFlow)
    for call, words in (
        (lambda: plain.sample(0, 4), "at least 1"),
        (lambda: plain.sample(4, 0), "nfe must be at least 1"),
        (lambda: plain.sample(4, 4, solver="rk5"), "solver 'rk5'"),
        (lambda: progressive_distillation(plain, data=torch.zeros(4, 2), steps=8, start=6), "power of two"),
    ):
        with pytest.raises(UserError, match=words):
            call()
