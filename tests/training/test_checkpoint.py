"""Checkpoints: they go round exactly, survive a stop at any point, and every damage is one clear sentence."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lib.errors import UserError
from lib.training import checkpoint as module
from lib.training.checkpoint import load_checkpoint, restore_module, save_checkpoint

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "half": torch.ones(3).bfloat16(), "step": torch.tensor(7)}
CONFIG = {"network": {"channels": 16}, "rate": 0.1, "names": ["a", "b"]}


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "run"
    save_checkpoint(folder, TENSORS, CONFIG, "cud")
    return folder


def test_a_checkpoint_goes_round_exactly(saved):
    tensors, config = load_checkpoint(saved, "cud")
    assert config == CONFIG
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)
    assert sorted(os.listdir(saved)) == ["checkpoint.safetensors", "config.json"]


def test_tied_weights_are_saved_as_two(tmp_path):
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "run", {"a": weight, "b": weight, "row": weight[1], "turned": weight.T}, {}, "cud")
    tensors, _ = load_checkpoint(tmp_path / "run", "cud")
    assert torch.equal(tensors["b"], weight)
    assert torch.equal(tensors["turned"], weight.T)


def test_other_files_of_the_folder_are_not_touched(saved):
    (saved / "samples.png").write_bytes(b"keep me")
    save_checkpoint(saved, {"weight": torch.zeros(1)}, {}, "cud")
    assert (saved / "samples.png").read_bytes() == b"keep me"
    assert load_checkpoint(saved, "cud")[0].keys() == {"weight"}


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_whenever_a_save_stops_a_whole_checkpoint_can_be_read(saved, monkeypatch, stop_at):
    """Stop before the first rename, between the two, and after both: old, new, new."""
    calls = []
    rename = os.replace

    def stopping(source, target):
        calls.append(target)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(module.os, "replace", stopping)
    new = {"weight": torch.ones(5)}
    try:
        save_checkpoint(saved, new, {"new": True}, "cud")
    except KeyboardInterrupt:
        assert stop_at < 3
    tensors, config = load_checkpoint(saved, "cud")
    if stop_at == 1:
        assert config == CONFIG
        assert torch.equal(tensors["weight"], TENSORS["weight"])
    else:
        assert config == {"new": True}
        assert torch.equal(tensors["weight"], new["weight"])


def test_a_full_disk_keeps_the_old_checkpoint(saved, monkeypatch):
    def no_space(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", no_space)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(saved, {"weight": torch.ones(1)}, {}, "cud")
    assert load_checkpoint(saved, "cud")[1] == CONFIG


def test_a_fault_between_the_two_renames_keeps_the_new_settings(saved, monkeypatch):
    rename = os.replace

    def failing(source, target):
        if str(target).endswith("config.json"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(module.os, "replace", failing)
    with pytest.raises(UserError, match="Input/output error"):
        save_checkpoint(saved, {"weight": torch.ones(5)}, {"new": True}, "cud")
    tensors, config = load_checkpoint(saved, "cud")
    assert config == {"new": True}
    assert torch.equal(tensors["weight"], torch.ones(5))


def test_a_failed_first_save_leaves_no_folder(tmp_path, monkeypatch):
    def no_space(*_args, **_keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", no_space)
    with pytest.raises(UserError):
        save_checkpoint(tmp_path / "run", TENSORS, CONFIG, "cud")
    assert not (tmp_path / "run").exists()


def test_truncation_at_any_byte_is_a_user_error(saved):
    path = saved / "checkpoint.safetensors"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            load_checkpoint(saved, "cud")


def test_a_changed_byte_in_the_header_never_escapes_as_another_error(saved):
    path = saved / "checkpoint.safetensors"
    whole = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in range(header):
        for value in (0x00, 0x22, 0x7D, 0xFF):
            damaged = whole.copy()
            damaged[position] = value
            path.write_bytes(damaged)
            try:
                load_checkpoint(saved, "cud")
            except UserError as fault:
                assert str(saved) in str(fault)  # noqa: PT017  (some bytes are names: those files stay readable)


def test_truncated_settings_are_a_user_error(saved):
    path = saved / "config.json"
    whole = path.read_text()
    for length in range(len(whole.rstrip())):
        path.write_text(whole[:length])
        with pytest.raises(UserError, match=r"config\.json"):
            load_checkpoint(saved, "cud")


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"config": 1}', "\udcff"])
def test_foreign_settings_are_a_user_error(saved, text):
    (saved / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=r"config\.json"):
        load_checkpoint(saved, "cud")


def test_what_is_no_checkpoint(tmp_path, saved):
    with pytest.raises(UserError, match="No checkpoint folder"):
        load_checkpoint(tmp_path / "nowhere", "cud")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        load_checkpoint(tmp_path / "empty", "cud")
    with pytest.raises(UserError, match="of 'cud', not of 'faqs'"):
        load_checkpoint(saved, "faqs")
    save_file({"weight": torch.zeros(2)}, saved / "checkpoint.safetensors")
    with pytest.raises(UserError, match="not a checkpoint of this book"):
        load_checkpoint(saved, "cud")


def test_the_two_files_must_be_of_one_save(saved, tmp_path):
    save_checkpoint(tmp_path / "other", TENSORS, {"other": 1}, "cud")
    (saved / "config.json").write_text((tmp_path / "other" / "config.json").read_text())
    with pytest.raises(UserError, match="of two runs"):
        load_checkpoint(saved, "cud")


def test_another_systems_checkpoint_is_not_overwritten(saved):
    with pytest.raises(UserError, match="of 'cud'; choose another folder"):
        save_checkpoint(saved, {"weight": torch.zeros(1)}, {}, "faqs")
    assert load_checkpoint(saved, "cud")[1] == CONFIG


def test_a_folder_that_is_a_file_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="Cannot write"):
        save_checkpoint(tmp_path / "file", TENSORS, CONFIG, "cud")


def test_nothing_but_json_goes_into_the_settings(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path / "run", TENSORS, {"rate": float("nan")}, "cud")
    assert not (tmp_path / "run").exists()


def test_restoring_names_the_tensor_that_does_not_fit(tmp_path):
    network = nn.Linear(2, 3)
    good = {f"module.net.{name}": value for name, value in network.state_dict().items()}
    other = nn.Linear(2, 3)
    restore_module(other, good, "module.net.", tmp_path)
    assert torch.equal(other.weight, network.weight)
    with pytest.raises(UserError, match=r"lacks 'module\.net\.bias'"):
        restore_module(other, {"module.net.weight": network.weight}, "module.net.", tmp_path)
    with pytest.raises(UserError, match=r"shape \(1, 2\), the network wants \(3, 2\)"):
        restore_module(other, good | {"module.net.weight": torch.zeros(1, 2)}, "module.net.", tmp_path)
    with pytest.raises(UserError, match="does not know"):
        restore_module(other, good | {"module.net.more": torch.zeros(1)}, "module.net.", tmp_path)


def test_settings_are_readable_json(saved):
    record = json.loads((saved / "config.json").read_text())
    assert record["kind"] == "cud"
    assert record["config"] == CONFIG
