"""Several devices, by two processes on this one: both sessions run, and both processes end with the same weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from lib.cud.config import CUDConfig, SecondSessionConfig, preset_named, with_method
from lib.cud.fit import Run
from lib.cud.model import build_model
from lib.cud.second_session import second_session
from lib.cud.train import load_trained, train
from lib.training.checkpoint import load_checkpoint
from lib.training.seeding import derive_seed

SESSION = SecondSessionConfig(pairs=32, steps=2, batch_size=8, learning_rate=1e-3)


def small(preset: str) -> CUDConfig:
    """Two heads, and the encoder of the learnt coupling: three networks that wait for one another's gradients."""
    config = with_method(with_method(preset_named(preset), "rk23"), "catch_up_learned")
    return replace(config, optimiser=replace(config.optimiser, steps=6, batch_size=8, warmup=1))


def _as_one_of_two(fabric: Fabric, preset: str, accumulate: int, folder: Path) -> None:
    torch.set_num_threads(1)
    run = Run(fabric=fabric, progress=False, accumulate=accumulate)
    first = train(small(preset), None, replace(run, out=folder / "first"))
    second = second_session(first, replace(run, out=folder / "second"), SESSION)
    for name, flow in (("first", first), ("second", second)):
        weights = torch.cat([weight.detach().flatten() for weight in flow.model.parameters()])
        np.savez(folder / f"{name}-{run.rank}.npz", weights=weights, loss=flow.history["loss"])


@pytest.mark.parametrize(("preset", "accumulate"), [("toy", 1), ("scaled", 1), ("toy", 4)])
def test_both_sessions_train_on_two_devices(preset, accumulate, tmp_path):
    # Forked, so that the two need not import torch anew; the command line starts them afresh ("ddp").
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(_as_one_of_two, preset, accumulate, tmp_path)
    config = small(preset)
    before = build_model(config.network, config.heads, derive_seed(0, "model")).state_dict()
    for name in ("first", "second"):
        mine, other = (np.load(tmp_path / f"{name}-{rank}.npz") for rank in (0, 1))
        np.testing.assert_array_equal(mine["weights"], other["weights"])
        np.testing.assert_array_equal(mine["loss"], other["loss"])
        assert len(mine["loss"]) == 6
        assert np.isfinite(mine["loss"]).all()
        after = load_trained(tmp_path / name).model.state_dict()
        for key, value in after.items():
            assert torch.isfinite(value).all(), key
        # The second session learns with its last head alone.
        changed = {key for key in after if not torch.equal(before[key], after[key])}
        assert {key for key in changed if key.startswith("heads.1")} == {k for k in after if k.startswith("heads.1")}
        assert any(key.startswith("trunk") for key in changed)
        before = after
    tensors, settings = load_checkpoint(tmp_path / "first", "cud")
    assert settings["training"]["world_size"] == 2
    assert any(key.startswith("module.encoder.") for key in tensors)
    assert not torch.equal(tensors["generator.pairs.0"], tensors["generator.pairs.1"])  # each draws its own noise
