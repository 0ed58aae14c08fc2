"""Formulas by hand-computed cases; layers sum to the table; a table file is whole or refused with the place."""

import json
import random
from dataclasses import replace

import pytest
import torch

from lib.errors import UserError
from lib.hqnas.config import SpaceConfig, StageConfig, cifar10, imagenet, scaled
from lib.hqnas.hardware import (
    HARDWARE,
    BitFusionEnergy,
    hardware_named,
    load_table,
    save_table,
)
from lib.hqnas.hardware.bitfusion import LARGE, SMALL
from lib.hqnas.hardware.roofline import COMPUTE_BOUND, MEMORY_BOUND
from lib.hqnas.space import Conv, SearchSpace

FORMULAS = [name for name in HARDWARE if name != "cpu"]
SCALED = SearchSpace(scaled().space, (1, 8, 8), 10)
CIFAR = SearchSpace(cifar10().space, (3, 32, 32), 10)
WIDE = Conv(8, 48, 1, 1, 1, 8, 8)
THREE, FIVE = (Conv(48, 48, kernel, 1, 48, 8, 8) for kernel in (3, 5))


def policies(space: SearchSpace, count: int = 10):
    """Random ones, the same each time."""
    chance = random.Random(0)
    return [tuple(chance.choice(list(space.all_choices(block))) for block in space.blocks) for _ in range(count)]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("space", [SCALED, CIFAR], ids=["scaled", "cifar10"])
def test_layers_sum_to_the_table(name, space):
    device = hardware_named(name)
    table = device.cost_table(space)
    assert (table.device, table.unit) == (device.name, device.unit)
    for choices in (*policies(space), space.smallest(), space.uniform(8)):
        layers = device.layers(space, choices)
        assert [layer for layer, _ in layers] == [layer for layer, _, _ in space.convs(choices)]
        assert sum(cost for _, cost in layers) == pytest.approx(table.of(choices), rel=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_device_says_what_it_is_and_larger_choices_never_cost_less(name):
    device = hardware_named(name)
    assert device.name == name
    assert device.words.index(".") == len(device.words) - 1
    table = device.cost_table(CIFAR)
    assert (table.table > 0).all()
    assert table.constant > 0
    for axis in (2, 3, 4):
        assert (table.table.diff(dim=axis) >= 0).all()


def test_bitfusion_cycles_by_hand():
    # 64 positions, 48 outputs in 2 rounds of 32, 8 inputs in one row of 16: 64 * 2 * 1
    assert [SMALL.compute_cycles(WIDE, bits) for bits in (2, 4, 8)] == [128, 128, 128]
    # (8 + 48) * 64 numbers of 8 bits and 384 weights: 31,744 bits
    assert [SMALL.memory_cycles(WIDE, bits) for bits in (8, 2)] == [166, 154]
    assert [LARGE.memory_cycles(WIDE, bits) for bits in (8, 2)] == [8, 8]
    assert SMALL.cost(WIDE, 8) == 166 / 500
    assert LARGE.cost(WIDE, 8) == 128 / 980
    # 9 positions, 33 outputs in 2 rounds, 100 inputs in 7 rounds of 16, 4 of 32 (two products a unit) or 2 of 64
    full = Conv(100, 33, 1, 2, 1, 5, 5)
    assert [SMALL.compute_cycles(full, bits) for bits in (8, 4, 2)] == [9 * 2 * 7, 9 * 2 * 4, 9 * 2 * 2]


def test_bitfusion_splits_in_whole_parts():
    assert [SMALL.products(bits) for bits in (1, 2, 3, 4, 5, 6, 7, 8)] == [4, 4, 2, 2, 1, 1, 1, 1]
    assert replace(SMALL, activation_bits=2).products(2) == 16


def test_at_4_bits_a_5x5_depthwise_kernel_costs_what_a_3x3_does():
    """On 16 rows: 25 products take two cycles at 8 bits and one at 4, 9 products one cycle at any width."""
    assert [SMALL.cycles(FIVE, bits) for bits in (8, 4, 2)] == [48 * 64 * 2, 48 * 64, 48 * 64]
    assert [SMALL.cycles(THREE, bits) for bits in (8, 4, 2)] == [48 * 64] * 3
    assert SMALL.cost(FIVE, 4) == SMALL.cost(THREE, 4) == SMALL.cost(THREE, 8) == SMALL.cost(FIVE, 8) / 2


def test_bitfusion_lies_within_a_factor_of_about_two_of_the_table_that_apq_published():
    published = {(96, 456, 1, 1): 0.0741, (488, 488, 3, 488): 0.2279, (488, 488, 5, 488): 0.6248}  # ms, 8 bits
    ours = {key: SMALL.cost(Conv(*key[:3], 1, key[3], 14, 14), 8) / 1000 for key in published}
    assert list(ours.values()) == pytest.approx([0.0353, 0.1913, 0.3826], abs=1e-4)  # as the module says
    assert all(1 < published[key] / ours[key] < 2.2 for key in published)


def test_energy_by_hand():
    energy = BitFusionEnergy(SMALL)
    picojoule = 0.4591875  # 3.6735 mW / 500 MHz / 16 units
    assert energy.cost(WIDE, 8) == pytest.approx((64 * 384 * picojoule + 31744 * 15) / 1000)
    assert energy.cost(WIDE, 2) == pytest.approx((64 * 384 * picojoule / 4 + (31744 - 384 * 6) * 15) / 1000)
    assert BitFusionEnergy(LARGE).cost(WIDE, 8) < energy.cost(WIDE, 8) / 3


def test_bit_serial_cycles_by_hand():
    assert COMPUTE_BOUND.compute_cycles(WIDE, 8) == 64 * 384 / 16
    assert COMPUTE_BOUND.compute_cycles(WIDE, 2) == 64 * 384 / 16 / 4
    assert COMPUTE_BOUND.compute_cycles(THREE, 8) == 2.5 * 64 * 432 / 16
    assert COMPUTE_BOUND.memory_cycles(WIDE, 4) == (64 * 56 + 384 / 2) / 16
    assert COMPUTE_BOUND.cost(WIDE, 8) == 1.536
    assert MEMORY_BOUND.memory_cycles(WIDE, 8) == (64 * 56 + 384 / 4) / 4
    assert MEMORY_BOUND.cost(WIDE, 8) == MEMORY_BOUND.memory_cycles(WIDE, 8) / 1000
    single = Conv(1, 8, 3, 1, 1, 8, 8)  # one channel in, but no depthwise convolution
    assert COMPUTE_BOUND.compute_cycles(single, 8) == 64 * 72 / 16


def test_without_the_penalty_the_dossiers_device_is_met():
    """It had 18.3, 9.5 and 5.1 kilocycles for the full network at 8, 4 and 2 bits."""
    table = replace(COMPUTE_BOUND, depthwise_penalty=1).cost_table(SCALED)
    assert [table.of(SCALED.uniform(bits)) for bits in (8, 4, 2)] == pytest.approx([18.3, 9.5, 5.1], rel=0.08)


def test_on_the_scaled_space_bits_count_where_computing_is_slow_and_hardly_where_memory_is():
    costs = {}
    for device in (COMPUTE_BOUND, MEMORY_BOUND):
        table = device.cost_table(SCALED)
        costs[device.name] = [table.of(SCALED.uniform(bits)) for bits in (8, 2)]
    assert costs["compute-bound"][0] > 2 * costs["compute-bound"][1]
    assert costs["memory-bound"][0] < 1.15 * costs["memory-bound"][1]


def test_the_two_devices_are_bound_by_what_they_are_named_after():
    convs = [conv for _, conv, _ in SCALED.convs(SCALED.uniform(8))]
    assert sum(COMPUTE_BOUND.compute_cycles(conv, 8) > COMPUTE_BOUND.memory_cycles(conv, 8) for conv in convs) >= (
        len(convs) - 1  # all but the classifier
    )
    assert all(MEMORY_BOUND.memory_cycles(conv, 8) > MEMORY_BOUND.compute_cycles(conv, 8) for conv in convs)


def test_size_is_bits_times_parameters():
    space = SearchSpace(SpaceConfig(stem=2, stages=(StageConfig(2, 1, 1),)), (1, 4, 4), 3)
    layers = hardware_named("size").layers(space, space.uniform(4, 3, 3))
    # stem 18 and classifier 6 at 8 bits; 2 to 6 channels, 3x3 of 6, 6 to 2 channels at 4
    assert [cost for _, cost in layers] == [18, 12 / 2, 54 / 2, 12 / 2, 6]


@pytest.mark.parametrize("preset", [scaled, cifar10, imagenet])
def test_every_preset_names_hardware_that_is_known(preset):
    assert hardware_named(preset().hardware).name == preset().hardware


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(UserError, match=r"hardware 'abacus' is not known: choose one of bitfusion-small, .*, cpu, or"):
        hardware_named("abacus")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "phone.json"
    save_table(path, SCALED, replace(HARDWARE["compute-bound"].cost_table(SCALED), device="my phone"))
    return path


def test_a_saved_table_comes_back(saved):
    table, again = HARDWARE["compute-bound"].cost_table(SCALED), load_table(saved, SCALED)
    assert torch.equal(table.table, again.table)
    assert (again.constant, again.unit, again.device) == (table.constant, "kilocycles", "my phone")


def test_the_device_of_a_file(saved, monkeypatch):
    device = hardware_named(str(saved))
    assert (device.name, device.unit) == ("my phone", "kilocycles")
    assert str(saved) in device.words
    table = device.cost_table(SCALED)
    for choices in (*policies(SCALED), SCALED.smallest()):
        layers = device.layers(SCALED, choices)
        assert len(layers) == 1 + 3 * sum(choice is not None for choice in choices)
        assert sum(cost for _, cost in layers) == pytest.approx(table.of(choices), rel=1e-6)
    other = saved.with_name("phone")
    other.write_bytes(saved.read_bytes())
    monkeypatch.chdir(other.parent)
    assert hardware_named("phone").name == "my phone"


def test_blocks_that_were_measured_whole_are_one_layer(saved):
    table = load_table(saved, SCALED)
    table.table[:, 1:] = 0
    save_table(saved, SCALED, table)
    layers = hardware_named(str(saved)).layers(SCALED, SCALED.uniform(4))
    assert [name for name, _ in layers] == ["fixed layers", *(block.name for block in SCALED.blocks)]


def test_a_table_of_another_space_is_refused(saved):
    with pytest.raises(
        UserError, match=r"another space, with image_shape \[1, 8, 8\] where this run has \[1, 16, 16\]"
    ):
        hardware_named(str(saved)).cost_table(SearchSpace(scaled().space, (1, 16, 16), 10))
    with pytest.raises(UserError, match=r"another space, with space\.stem 8 where this run has 32: measure for this"):
        load_table(saved, SearchSpace(cifar10().space, (1, 8, 8), 10))


PLACE = "stage 2, block 1, expand, expansion 3, kernel 5, 4 bits"


def damaged(record: dict, change: str, value=None) -> None:
    rows = record["rows"]
    names = ("block", "convolution", "expansion", "kernel", "bits")
    wanted = ("stage 2, block 1", "expand", 3, 5, 4)
    (row,) = (row for row in rows if tuple(row[name] for name in names) == wanted)
    if change == "hole":
        rows.remove(row)
    elif change == "twice":
        rows.append(row)
    elif change == "column":
        del row["kernel"]
    elif change == "row":
        rows[2] = value
    elif change in row:
        row[change] = value
    elif value is None:
        del record[change]
    else:
        record[change] = value


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        ("hole", None, f"has no row for {PLACE}: measure it"),
        ("twice", None, f"row 181 is the second for {PLACE}"),
        ("cost", None, f"the cost of {PLACE} is missing"),
        ("cost", float("nan"), f"the cost of {PLACE} is not a number"),
        ("cost", float("inf"), f"the cost of {PLACE} is too large"),
        ("cost", 10**400, f"the cost of {PLACE} is too large"),
        ("cost", -1, f"the cost of {PLACE} is negative"),
        ("cost", "fast", f"the cost of {PLACE} is not a number"),
        ("cost", True, f"the cost of {PLACE} is not a number"),
        ("column", None, "has no kernel"),
        ("row", [1, 2], "row 3 is no object"),
        ("kernel", 7, "has kernel 7, which is none of 3, 5"),
        ("block", "stage 9", "has block 'stage 9', which is none of stage 1, stage 2, block 1"),
        ("bits", [2], "has bits [2], which is none of 2, 4, 8"),
        ("rows", None, "has no list of rows"),
        ("rows", {}, "has no list of rows"),
        ("constant", None, "the constant is missing"),
        ("constant", -3, "the constant is negative"),
        ("space", None, "with space null where this run has"),
        ("unit", None, "does not name its unit"),
        ("device", 3, "does not name its device"),
        ("format", "hqnas-policy", 'is no table of costs: it needs "format": "hqnas-cost-table"'),
    ],
)
def test_a_damaged_table_is_refused_in_one_sentence_with_the_place(saved, change, value, words):
    record = json.loads(saved.read_text())
    damaged(record, change, value)
    saved.write_text(json.dumps(record))
    with pytest.raises(UserError) as caught:
        hardware_named(str(saved)).cost_table(SCALED)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(saved))
    assert message.endswith(".")
    assert "\n" not in message


def test_what_is_no_file_of_ours_is_refused(saved, tmp_path):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(UserError, match="truncated or not JSON"):
        hardware_named(str(saved))
    saved.write_text("[]")
    with pytest.raises(UserError, match="is no table of costs"):
        hardware_named(str(saved))
    with pytest.raises(UserError, match=r"missing\.json cannot be read \(No such file"):
        hardware_named(str(tmp_path / "missing.json"))
    with pytest.raises(UserError, match="cannot be written"):
        save_table(saved / "inside.json", SCALED, HARDWARE["size"].cost_table(SCALED))
