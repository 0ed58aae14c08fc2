"""Threads and parts of a batch by the size of the network: nothing is tried out where the answer is known."""

import pytest
import torch

from lib.cud import processor
from lib.cud.config import preset_named, with_method, with_settings
from lib.cud.processor import suited_parts, suited_threads


def refuse(*_):
    raise AssertionError("nothing was to be measured")


@pytest.mark.parametrize("name", ["toy", "scaled"])
@pytest.mark.parametrize("method", ["rk34", "catch_up_learned"])
def test_small_networks_take_one_thread(name, method, monkeypatch):
    monkeypatch.setattr(processor, "fastest_threads", refuse)
    config = with_settings(with_method(preset_named(name), method), ["network.in_channels=3"] * (name == "scaled"))
    assert suited_threads(config) == (1, "a small network")


def test_the_largest_network_takes_all_cores_without_being_built(monkeypatch):
    monkeypatch.setattr(processor, "fastest_threads", refuse)
    monkeypatch.setattr(torch.multiprocessing, "cpu_count", lambda: 24)
    assert suited_threads(preset_named("imagenet64"))[0] == 24


@pytest.mark.parametrize("classes", [0, 5])
def test_others_are_measured_forward_and_backward_on_the_network_itself(classes, monkeypatch):
    seen = []

    def measured(work, repeats):
        seen.append(repeats)
        work()
        return 7

    real = processor.build_model

    def built(*arguments):
        model = real(*arguments)
        if model.heads[0][2].weight.is_meta:
            return model
        next(model.parameters()).register_hook(lambda gradient: seen.append(tuple(gradient.shape)))
        return model

    monkeypatch.setattr(processor, "fastest_threads", measured)
    monkeypatch.setattr(processor, "build_model", built)
    config = with_settings(preset_named("mnist"), [f"network.classes={classes}"])
    assert suited_threads(config) == (7, "measured to be the fastest")
    assert seen == [5, tuple(next(real(config.network).parameters()).shape)]  # tried out, and a gradient came through


@pytest.mark.parametrize(
    ("name", "method", "batch", "parts"),
    [
        ("toy", "rk34", 256, 1),
        ("scaled", "rk12", 64, 1),
        ("mnist", "catch_up_learned", 256, 8),
        ("mnist", "catch_up_learned", 100, 4),
        ("mnist", "catch_up_learned", 37, 37),
        ("mnist", "minibatch_ot", 256, 1),  # the assignment needs the batch whole
        ("imagenet64", "rk12", 1024, 32),
    ],
)
def test_large_networks_go_through_a_batch_in_equal_parts_of_32_at_most(name, method, batch, parts):
    assert suited_parts(with_method(preset_named(name), method), batch) == parts
