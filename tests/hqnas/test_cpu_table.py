"""Graphs compute what they should; times are kept and read back; 2, 4 and 8 bits cost the same."""

import json
import logging
import random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch.nn import functional

from lib.errors import UserError
from lib.hqnas.config import SpaceConfig, StageConfig, cifar10
from lib.hqnas.hardware import CPU, HARDWARE, cpu, latencies_of, latency_of, measure, measure_blocks, measure_network
from lib.hqnas.hardware.graphs import Piece, as_int8, as_onnx, block_piece, network_pieces, random_inputs
from lib.hqnas.space import Block, Choice, SearchSpace

TINY = SearchSpace(SpaceConfig(stem=4, stages=(StageConfig(4, 1, 1),)), (1, 4, 4), 3)
CHOICE = Choice(5, 3, (2, 4, 8))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_CACHE", str(tmp_path))
    return tmp_path / "hqnas-latency"


def outputs(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, random_inputs(model))[0]


def in_torch(model: bytes, piece: Piece) -> torch.Tensor:
    """The same block, with the weights of the graph, in torch."""
    graph = onnx.load_from_string(model).graph
    values = {one.name: torch.tensor(numpy_helper.to_array(one)) for one in graph.initializer}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    x = start = torch.tensor(random_inputs(model)["input"])
    for place, (node, conv) in enumerate(zip(convs, piece.convs, strict=True), 1):
        weights, bias = values[node.input[1]], values[node.input[2]]
        x = functional.conv2d(x, weights, bias, conv.stride, conv.kernel // 2, groups=conv.groups)
        x = x if place == len(piece.convs) else functional.relu6(x)
    return start + x if piece.residual else x


@pytest.mark.parametrize("block", [Block(4, 4, 1, 5, 5), Block(4, 6, 2, 5, 7)], ids=["residual", "stride 2"])
@pytest.mark.parametrize(("kernel", "expansion"), [(3, 1), (5, 3)])
def test_a_block_as_onnx_is_the_block(block, kernel, expansion):
    piece = block_piece(block, kernel, expansion)
    model = as_onnx([piece])
    found, expected = outputs(model), in_torch(model, piece).numpy()
    assert found.shape == (1, block.out_channels, *piece.convs[-1].out_size)
    assert np.abs(found - expected).max() < 1e-4
    assert piece.residual == block.skippable


def test_a_whole_network_as_onnx_has_its_layers_and_classes():
    space = SearchSpace(cifar10().space, (3, 16, 16), 7)
    choices = space.smallest()
    model = as_onnx(list(network_pieces(space, choices).values()))
    assert outputs(model).shape == (1, 7, 1, 1)
    kinds = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert kinds.count("Conv") == len(list(space.convs(choices)))
    assert kinds.count("GlobalAveragePool") == 1


def test_int8_is_int8_and_close():
    model = as_onnx([block_piece(Block(8, 8, 1, 6, 6), 3, 3)])
    small = as_int8(model)
    stored = {one.data_type for one in onnx.load_from_string(small).graph.initializer if len(one.dims) == 4}
    assert stored == {onnx.TensorProto.INT8}
    found, expected = outputs(small).ravel(), outputs(model).ravel()
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    assert not np.array_equal(found, expected)
    assert as_int8(model) == small  # the same random samples
    assert as_int8(model, [random_inputs(model, 7)]) != small


def test_quantizing_and_timing_leave_global_state_alone(caplog):
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.root.manager.disable, torch.get_num_threads()
    chance = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (read only)
    measure(TINY, rounds=1)
    assert (root.handlers, root.level, logging.root.manager.disable, torch.get_num_threads()) == before
    assert torch.equal(torch.get_rng_state(), chance[0])
    assert np.array_equal(np.random.get_state()[1], chance[1])  # noqa: NPY002
    assert not caplog.records


def test_measured_once_then_read(cache, monkeypatch):
    said = []
    table = measure(TINY, rounds=2, note=said.append)
    assert [words.startswith("Measuring 6 layers") for words in said] == [True]
    assert [(row.what, row.kernel, row.expansion) for row in table.rows] == [
        ("4 channels, 4x4", 3, 3),
        ("4 channels, 4x4", 5, 3),
        ("4 channels, 4x4", 3, 6),
        ("4 channels, 4x4", 5, 6),
        ("stem", None, None),
        ("classifier", None, None),
    ]
    assert all(row.fp32_us > 0 and row.int8_us > 0 for row in table.rows)
    assert table.call_us > 0
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["processor"] == table.processor == cpu.processor() != ""
    monkeypatch.setattr(cpu, "latencies_of", None)  # to measure is a TypeError now
    assert measure(TINY, rounds=2, note=said.append) == table == measure(TINY, rounds=1)
    assert len(said) == 1
    with pytest.raises(TypeError):
        measure(TINY, rounds=3)  # more than were kept
    with pytest.raises(TypeError):
        measure(SearchSpace(TINY.config, (1, 4, 4), 4), rounds=1)
    monkeypatch.setattr(cpu, "processor", lambda: "another")
    with pytest.raises(TypeError):
        measure(TINY, rounds=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "",
        lambda text: text.replace('"call_us": ', '"call_us": -'),
        lambda text: text.replace('"call_us"', '"call"'),
        lambda text: text.replace("hqnas-cpu-1", "hqnas-cpu-0"),
        lambda text: text.replace('"stem"', '"stalk"'),
        lambda text: json.dumps(json.loads(text) | {"rows": json.loads(text)["rows"][1:]}),
        lambda text: json.dumps(json.loads(text) | {"rows": [[1]] * 6}),
        lambda text: json.dumps(
            json.loads(text) | {"rows": [[*row[:4], float("nan")] for row in json.loads(text)["rows"]]}
        ),
    ],
)
def test_a_damaged_cache_is_measured_again(cache, damage):
    measure(TINY, rounds=1)
    (file,) = cache.iterdir()
    whole = json.loads(file.read_text())
    file.write_text(damage(file.read_text()))
    table = measure(TINY, rounds=1)
    again = json.loads(file.read_text())
    assert [row[:3] for row in again["rows"]] == [row[:3] for row in whole["rows"]]
    assert again["call_us"] == table.call_us > 0
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_the_readers_to_mend(cache):
    cache.write_text("a file where the folder would be")
    with pytest.raises(UserError, match=r"cannot be kept in .*: let BOOK_CACHE name a folder"):
        measure(TINY, rounds=1)


def test_fewer_than_8_bits_save_nothing_and_float32_is_never_mixed_in():
    measured = measure(TINY, rounds=1)
    table = measured.cost_table(TINY)
    assert table.table.shape == (1, 3, 2, 2, 3)
    assert not table.table[:, 1:].any()
    assert torch.equal(table.table[..., :1].expand_as(table.table), table.table)
    for e, expansion in enumerate((3, 6)):
        for k, kernel in enumerate((3, 5)):
            own = max(measured.row(TINY.blocks[0], kernel, expansion).int8_us - measured.call_us, 0)
            assert table.table[0, 0, e, k, 0] == pytest.approx(own)
    fixed = measured.fixed(TINY)
    assert table.constant == pytest.approx(
        measured.call_us + sum(max(row.int8_us - measured.call_us, 0) for row in fixed.values())
    )
    assert "fewer than 8 bits save nothing" in HARDWARE["cpu"].words


def test_layers_sum_to_the_table():
    space = SearchSpace(
        SpaceConfig(stem=4, first=4, stages=(StageConfig(4, 1, 2), StageConfig(8, 2, 1)), last=8, head=16), (1, 4, 4), 3
    )
    device, chance = CPU(rounds=1), random.Random(0)
    table = device.cost_table(space)
    assert (table.device, table.unit) == (device.name, device.unit) == ("cpu", "microseconds")
    assert len(measure(space, rounds=1).rows) == 8 + 5  # the two equal blocks are measured once
    for _ in range(5):
        choices = tuple(chance.choice(list(space.all_choices(block))) for block in space.blocks)
        layers = device.layers(space, choices)
        assert sum(cost for _, cost in layers) == pytest.approx(table.of(choices), rel=1e-6)
        there = [block.name for block, choice in zip(space.blocks, choices, strict=True) if choice]
        assert [name for name, _ in layers] == [
            "calling the runtime", "stem", "first block", *there, "last block", "head", "classifier"
        ]  # fmt: skip


def test_blocks_without_a_space():
    blocks = [Block(16, 16, 1, 7, 7), Block(4, 8, 2, 8, 8)]
    table = measure_blocks(blocks, rounds=1)
    assert len(table.rows) == 8
    assert table.row(blocks[1], 5, 6).what == "4 to 8 channels, 8x8, stride 2"


def test_a_large_block_takes_longer_than_a_small_one():
    small, large = Block(8, 8, 1, 4, 4), Block(64, 64, 1, 14, 14)
    table = measure_blocks([small, large], rounds=3)
    assert table.row(large, 5, 6).fp32_us > 2 * table.row(small, 5, 6).fp32_us
    assert table.row(large, 5, 6).int8_us > 2 * table.row(small, 5, 6).int8_us


def test_a_whole_network_is_timed():
    for latency in measure_network(TINY, (CHOICE,), rounds=2):
        assert 0 < latency.minimum_us <= latency.median_us


def test_one_model_and_several():
    model = as_onnx([block_piece(Block(4, 4, 1, 4, 4), 3, 3)])
    feeds = {"input": np.zeros((1, 4, 4, 4), np.float32)}
    assert latency_of(model, feeds, rounds=1).minimum_us > 0
    both = latencies_of({"with": model, "without": model}, {"with": feeds}, rounds=1)
    assert set(both) == {"with", "without"}
    with pytest.raises(ValueError, match="rounds"):
        latency_of(model, rounds=0)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        latency_of(content)


def test_the_slower_sums_are_asked_for_only_where_they_are_needed(tmp_path):
    from lib.hqnas.hardware.session import may_overflow

    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("flags : sse avx2\n")
    new.write_text("flags : sse avx2 avx512_vnni\n")
    assert may_overflow(old)
    assert not may_overflow(new)
    assert may_overflow(tmp_path / "none")
