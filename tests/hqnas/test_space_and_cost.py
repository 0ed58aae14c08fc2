"""Spaces, policies and their files; costs that are exact for hard gates and multilinear between."""

import itertools
import json
import math
import re

import pytest
import torch

from lib.errors import UserError
from lib.hqnas.config import preset_named, scaled, with_settings
from lib.hqnas.cost import CostTable, conv_costs, table_of
from lib.hqnas.evaluate import mean_bits, size_bytes
from lib.hqnas.gates import Gates
from lib.hqnas.space import (
    BITS,
    Choice,
    SearchSpace,
    choices_from_list,
    choices_to_list,
    load_policy,
    save_policy,
)
from lib.training.seeding import generator
from tests.hqnas.tiny import TINY, WHOLE, products, some_choices, tiny_space


def test_a_space_is_counted_as_by_listing():
    space = tiny_space()
    assert [block.skippable for block in space.blocks] == [True, False, True]
    listed = [len(list(space.all_choices(block))) for block in space.blocks]
    assert listed == [109, 108, 109]
    assert space.policies == math.prod(listed)
    shapes = [
        {(None if one is None else (one.kernel, one.expansion)) for one in space.all_choices(b)} for b in space.blocks
    ]
    assert space.architectures == math.prod(map(len, shapes)) == 100


def test_shapes_follow_the_strides():
    space = SearchSpace(WHOLE, (3, 15, 15), 4)
    assert space.stem.out_size == (8, 8)
    assert space.blocks[-1].height == 4
    assert space.classifier.in_channels == 10
    assert list(space.fixed) == [
        "stem", "first depthwise", "first project", "last expand", "last depthwise", "last project", "head",
        "classifier",
    ]  # fmt: skip


@pytest.mark.parametrize("config", [TINY, WHOLE])
@pytest.mark.parametrize("seed", range(8))
def test_the_cost_of_hard_gates_is_the_sum_over_the_layers(seed, config):
    space = tiny_space(config)
    table, choices = products(space), some_choices(space, seed)
    layers = conv_costs(space, choices, lambda conv, bits: conv.macs * bits / 8000)
    total = sum(cost for _, cost in layers)
    assert table.of(choices) == pytest.approx(total, rel=1e-5)
    assert float(table.expected(Gates.of(choices))) == pytest.approx(total, rel=1e-5)


def test_between_hard_gates_the_cost_is_multilinear():
    """With every gate a coin, it is the mean over all outcomes, weighted by their chance: brute force on one block."""
    from lib.hqnas.config import SpaceConfig, StageConfig

    space = SearchSpace(SpaceConfig(stem=4, stages=(StageConfig(4, 1, 1),)), (1, 8, 8), 10)
    table = products(space)
    chances = torch.rand(9, generator=generator(0))
    soft = Gates(chances[:1], chances[1:2], chances[2:3], chances[3:].view(1, 3, 2))
    mean = 0.0
    for outcome in itertools.product((0.0, 1.0), repeat=9):
        coin = torch.tensor(outcome)
        weight = float(torch.where(coin > 0, chances, 1 - chances).prod())
        hard = Gates(coin[:1], coin[1:2], coin[2:3], coin[3:].view(1, 3, 2))
        mean += weight * table.of(hard.choices())
    assert float(table.expected(soft)) == pytest.approx(mean, rel=1e-4)


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        CostTable(torch.zeros(3, 3, 2, 2, 2), 0.0, "ms", "wrong")


def test_the_cheapest_network_is_found_in_the_table_by_brute_force():
    """On a measured device the smallest need not be the cheapest: here 5x5 costs less than 3x3."""
    space = tiny_space()
    table = table_of(space, "odd", "ms", lambda conv, bits: conv.macs / conv.kernel**4 * (10 - bits))
    cheapest = table.of(table.cheapest(space))
    every = [
        table.of(tuple(one if place == number else table.cheapest(space)[place] for place in range(len(space.blocks))))
        for number, block in enumerate(space.blocks)
        for one in space.all_choices(block)
    ]
    assert cheapest == pytest.approx(min(every))
    assert cheapest < table.of(space.smallest())


def test_an_impossible_budget_names_the_least_that_is_possible():
    space, table = tiny_space(), products(tiny_space())
    least = table.of(table.cheapest(space)) / table.full(space)
    with pytest.raises(
        UserError, match=rf"0\.001 of the full cost is impossible on products.* {least:.3f} of it.*ask for more"
    ):
        table.target(space, 0.001)
    assert table.target(space, 0.5) == pytest.approx(0.5 * table.full(space))


def test_bits_and_bytes_are_counted_over_what_is_left():
    space = tiny_space()
    assert mean_bits(space, space.uniform(4)) == 4
    choices = (None, Choice(3, 3, (2, 8, 4)), None)
    expand, depthwise, project = (conv.parameters for conv in space.blocks[1].convs(3, 3))
    mean = (2 * expand + 8 * depthwise + 4 * project) / (expand + depthwise + project)
    assert mean_bits(space, choices) == pytest.approx(mean)
    fixed = sum(conv.parameters for conv in space.fixed.values())
    assert size_bytes(space, choices) == pytest.approx((2 * expand + 8 * depthwise + 4 * project) / 8 + fixed)


@pytest.mark.parametrize("seed", range(4))
def test_a_policy_comes_back_from_its_file(seed, tmp_path):
    space = tiny_space()
    choices = some_choices(space, seed)
    path = tmp_path / "policy.json"
    save_policy(path, space, choices)
    assert load_policy(path, space) == choices
    assert products(space).of(load_policy(path, space)) == products(space).of(choices)
    assert choices_from_list(json.loads(json.dumps(choices_to_list(choices))), space) == choices


def test_a_policy_of_another_space_is_refused_with_the_difference(tmp_path):
    space = tiny_space()
    path = tmp_path / "policy.json"
    save_policy(path, space, space.smallest())
    with pytest.raises(UserError, match=r"policy.json is a policy of another space: its space differs"):
        load_policy(path, tiny_space(WHOLE))
    with pytest.raises(UserError, match="another space: its classes differs"):
        load_policy(path, SearchSpace(TINY, (1, 8, 8), 4))
    with pytest.raises(UserError, match="another space: its image shape differs"):
        load_policy(path, SearchSpace(TINY, (1, 9, 9), 10))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "truncated or not JSON"),
        ("[]", "is no policy"),
        ('{"format": "other"}', "is no policy"),
    ],
)
def test_a_file_that_is_no_policy_is_named(content, says, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(content)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}.*{says}"):
        load_policy(path, tiny_space())
    with pytest.raises(UserError, match="cannot be read"):
        load_policy(tmp_path / "none.json", tiny_space())


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([None, None, None], "leaves out stage 2, block 1"),
        ([None], "1 blocks and the space 3"),
        ([None, {"kernel": 7, "expansion": 3, "bits": [2, 2, 2]}, None], "kernel 7 in stage 2, block 1"),
        ([None, {"kernel": 5, "expansion": 4, "bits": [2, 2, 2]}, None], "expansion 4"),
        ([None, {"kernel": 5, "expansion": 3, "bits": [2, 3, 2]}, None], "bits 3"),
        ([None, {"kernel": 5, "expansion": 3, "bits": [2, 2]}, None], "2 bit-widths"),
        ([None, {"kernel": 5}, None], "block 2 is no choice"),
        ("nothing", "no list of blocks"),
    ],
)
def test_choices_that_the_space_does_not_have_are_refused(blocks, says):
    with pytest.raises(UserError, match=says):
        choices_from_list(blocks, tiny_space())


def test_settings_change_one_thing_and_unknown_ones_are_refused():
    changed = with_settings(scaled(), ["search.objective.target=0.4", "hardware=size"])
    assert changed.search.objective.target == 0.4
    assert changed.hardware == "size"
    assert changed.space == scaled().space
    with pytest.raises(UserError, match="no setting of preset 'scaled'"):
        with_settings(scaled(), ["search.goal=1"])
    with pytest.raises(UserError, match=r"search.objective.target"):
        with_settings(scaled(), ["search.objective.target=2"])
    with pytest.raises(UserError, match="warm and frozen"):
        with_settings(scaled(), ["search.warm=0.9"])
    with pytest.raises(UserError, match="scaled, real, cifar10, imagenet, or paper"):
        preset_named("huge")
    assert preset_named("paper").name == "imagenet"


@pytest.mark.parametrize("name", ["scaled", "real", "cifar10", "imagenet"])
def test_presets_come_back_from_json(name):
    from lib.hqnas.config import HQNASConfig

    config = preset_named(name)
    assert HQNASConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_bits_are_those_of_the_book():
    assert BITS == (2, 4, 8)
