"""The loop: a killed run goes on to the same weights and the same curve; nothing bad is ever written."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.errors import UserError
from lib.training.checkpoint import TENSORS_FILE, load_checkpoint
from lib.training.loop import History, LoopSettings, train_loop
from lib.training.state import TrainingState
from tests.training.small_run import SmallRun

STEPS = 40
SCRIPT = Path(__file__).with_name("small_run.py")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The run that nobody disturbs: its folder and its history."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    return folder, SmallRun().train(folder, STEPS)


def assert_same_run(folder, other):
    """Every tensor (weights, Adam, average, generators, history) is equal bit for bit, and so are the settings."""
    mine, config = load_checkpoint(folder, "small")
    theirs, other_config = load_checkpoint(other, "small")
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name
    for record in (config, other_config):
        record["training"].pop("seconds")
        record["training"].pop("cpu_seconds")
    assert config == other_config


def test_a_killed_run_resumes_to_the_same_weights_and_curve(tmp_path, unbroken):
    folder = tmp_path / "run"
    killed = subprocess.run([sys.executable, SCRIPT, folder, str(STEPS), "17"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert load_checkpoint(folder, "small")[1]["training"]["step"] == 14
    SmallRun().train(folder, STEPS, resume=True)
    assert_same_run(folder, unbroken[0])


def test_the_resumed_history_is_the_whole_one(tmp_path, unbroken):
    folder = tmp_path / "run"
    SmallRun().train(folder, 18)
    torch.manual_seed(999)  # a resumed run must not depend on what the process drew before
    torch.rand(3)
    history = SmallRun().train(folder, STEPS, resume=True)
    assert history.steps == STEPS
    np.testing.assert_array_equal(history["loss"], unbroken[1]["loss"])
    np.testing.assert_array_equal(history["twice"], unbroken[1]["twice"])
    assert_same_run(folder, unbroken[0])


def test_a_run_without_a_folder_gives_the_same_curve(unbroken):
    np.testing.assert_array_equal(SmallRun().train(None, STEPS)["loss"], unbroken[1]["loss"])


def test_the_history_has_the_value_of_each_step():
    run = SmallRun()
    seen = []

    def step(index):
        values = run.step(index)
        seen.append(values["loss"].item())
        return values

    history = train_loop(step, state=run.state, settings=LoopSettings(11, log_every=4), progress=False)
    np.testing.assert_array_equal(history["loss"], np.array(seen, dtype=np.float32))
    with pytest.raises(KeyError, match="only loss, twice"):
        history["los"]


def test_a_finished_run_is_not_trained_further(unbroken):
    history = SmallRun(kill_at=0).train(unbroken[0], STEPS, resume=True)
    np.testing.assert_array_equal(history["loss"], unbroken[1]["loss"])


def test_interrupt_ends_the_step_saves_and_raises(tmp_path, unbroken):
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        SmallRun(kill_at=10, signal_number=signal.SIGINT).train(folder, STEPS)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(folder, "small")[1]["training"]["step"] == 11
    SmallRun().train(folder, STEPS, resume=True)
    assert_same_run(folder, unbroken[0])


def test_an_interrupt_in_the_last_step_is_not_swallowed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        SmallRun(kill_at=4, signal_number=signal.SIGINT).train(tmp_path / "run", 5)
    assert load_checkpoint(tmp_path / "run", "small")[1]["training"]["step"] == 5


def test_nan_names_its_step_and_nothing_is_overwritten(tmp_path):
    run = SmallRun()

    def step(index):
        values = run.step(index)
        return values if index != 16 else values | {"loss": values["loss"] * float("nan")}

    settings = LoopSettings(STEPS, checkpoint_every=7, out=tmp_path / "run", log_every=100)
    with pytest.raises(UserError, match=r"'loss' became nan at step 16: .*learning rate"):
        train_loop(step, state=run.state, settings=settings, progress=False)
    assert load_checkpoint(tmp_path / "run", "small")[1]["training"]["step"] == 14


def test_broken_weights_are_not_saved_even_when_the_loss_is_finite(tmp_path):
    run = SmallRun()

    def step(index):
        values = run.step(index)
        if index == 9:
            run.network[0].weight.data[0, 0] = float("inf")
        return values

    settings = LoopSettings(10, checkpoint_every=7, out=tmp_path / "run")
    with pytest.raises(UserError, match=r"module\.net\.0\.weight"):
        train_loop(step, state=run.state, settings=settings, progress=False)
    assert load_checkpoint(tmp_path / "run", "small")[1]["training"]["step"] == 7


def test_an_old_run_is_not_overwritten_by_a_new_one(unbroken):
    with pytest.raises(UserError, match="already holds a checkpoint"):
        SmallRun().train(unbroken[0], STEPS)


def test_resuming_with_other_settings_names_the_setting(unbroken):
    with pytest.raises(UserError, match="width = 16, now it is 32"):
        SmallRun(config={"width": 32, "betas": (0.9, 0.999)}).train(unbroken[0], STEPS, resume=True)


def test_resume_without_a_checkpoint_says_so_and_starts(tmp_path, capsys, unbroken):
    history = SmallRun().train(tmp_path / "run", STEPS, resume=True)
    assert "starting at step 0" in capsys.readouterr().err
    np.testing.assert_array_equal(history["loss"], unbroken[1]["loss"])


def test_a_damaged_checkpoint_is_a_user_error_wherever_it_is_cut(tmp_path):
    folder = tmp_path / "run"
    SmallRun().train(folder, 8)
    path = folder / TENSORS_FILE
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            SmallRun().train(folder, STEPS, resume=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda training: training.pop("step"),
        lambda training: training.update(step=3),
        lambda training: training.update(step="x"),
        lambda training: training.update(optimizers={}),
        lambda training: training["optimizers"]["main"].append({}),
        lambda training: training["optimizers"].update(main=7),
        lambda training: training.update(world_size=2),
        lambda training: training.pop("seconds"),
    ],
)
def test_a_damaged_training_record_is_a_user_error(tmp_path, damage):
    folder = tmp_path / "run"
    SmallRun().train(folder, 8)
    record = json.loads((folder / "config.json").read_text())
    damage(record["config"]["training"])
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(UserError):
        SmallRun().train(folder, STEPS, resume=True)


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match="steps must be 1 or more"):
        LoopSettings(0)
    with pytest.raises(UserError, match="name the folder"):
        LoopSettings(5, resume=True)
    with pytest.raises(UserError, match="log_every"):
        LoopSettings(5, log_every=0)


def test_steps_that_return_other_names_are_refused():
    history = History()
    history.append({"a": np.zeros(2)})
    with pytest.raises(ValueError, match="earlier ones"):
        history.append({"b": np.zeros(2)})


def test_the_loops_own_key_is_reserved():
    with pytest.raises(ValueError, match="training"):
        TrainingState("small", {"training": {}}, {})


def test_fabric_changes_nothing_on_one_device(tmp_path, unbroken):
    from lib.training.devices import make_fabric

    fabric = make_fabric("cpu")
    SmallRun(fabric=fabric).train(tmp_path / "run", 18)
    SmallRun(fabric=fabric).train(tmp_path / "run", STEPS, resume=True)
    assert_same_run(tmp_path / "run", unbroken[0])


def _train_as_one_of_two(fabric, folder):
    SmallRun(fabric=fabric, random=False).train(folder, 10)


def test_two_processes_train_as_one(tmp_path):
    """They share each batch and average their gradients; one writes, for both. (Equal up to the order of sums.)"""
    from lightning_fabric import Fabric

    # Forked, so that the two need not import torch anew; the command line starts them afresh ("ddp").
    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(_train_as_one_of_two, tmp_path / "two")
    SmallRun(random=False).train(tmp_path / "one", 10)
    two, config = load_checkpoint(tmp_path / "two", "small")
    one, _ = load_checkpoint(tmp_path / "one", "small")
    assert config["training"]["world_size"] == 2
    assert {"random.cpu.0", "random.cpu.1", "generator.noise.1"} < two.keys()
    for name in one:
        if one[name].is_floating_point():
            torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6, msg=name)
    with pytest.raises(UserError, match=r"used 2 device\(s\), this one has 1"):
        SmallRun(random=False).train(tmp_path / "two", 20, resume=True)


class Overtaken(SmallRun):
    """Another run writes into the same folder before this one's first checkpoint."""

    def step(self, index):
        if index == 3:
            SmallRun().train(self.folder, 1)
        return super().step(index)


def test_a_run_does_not_replace_that_of_another_which_ran_beside_it(tmp_path):
    late = Overtaken()
    late.folder = tmp_path / "run"
    with pytest.raises(UserError, match="Another run wrote"):
        late.train(tmp_path / "run", STEPS)
    assert load_checkpoint(tmp_path / "run", "small")[1]["training"]["step"] == 1
