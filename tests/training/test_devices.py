"""Device flags: the right object, or one clear sentence."""

import subprocess
import sys
import time

import pytest
import torch

from lib.errors import UserError
from lib.training import devices
from lib.training.devices import device_named, fastest_threads, make_fabric, set_threads, unwrapped


def test_a_fabric_for_one_processor():
    fabric = make_fabric("cpu", precision="bf16-mixed")
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
    network = fabric.setup(torch.nn.Linear(2, 2))
    assert network(torch.zeros(1, 2)).dtype == torch.float32


def test_the_wrapper_of_fabric_comes_off():
    network = torch.nn.Linear(2, 2)
    assert unwrapped(network) is network
    assert unwrapped(make_fabric("cpu").setup(network)) is network


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"accelerator": "tpuu"}, "Unknown accelerator 'tpuu': choose one of auto, cpu"),
        ({"strategy": "fsdp"}, "Unknown strategy 'fsdp'"),
        ({"precision": "16-mixed"}, "Unknown precision '16-mixed'"),
        ({"precision": "bf16-true"}, "Unknown precision 'bf16-true'"),
        ({"accelerator": "cpu", "devices": 0}, "Cannot train on accelerator 'cpu' with 0"),
        ({"accelerator": "cpu", "devices": "many"}, "Cannot train on accelerator 'cpu' with many"),
    ],
)
def test_impossible_flags_are_one_sentence(flags, message):
    with pytest.raises(UserError, match=message):
        make_fabric(**flags)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that must be missing")
def test_a_missing_gpu_is_one_sentence():
    with pytest.raises(UserError, match="Cannot train on accelerator 'cuda'"):
        make_fabric("cuda")
    for name in ("cuda", "gpu"):
        with pytest.raises(UserError, match=f"no accelerator '{name}'"):
            device_named(name)
    assert device_named() == device_named("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("seconds", "fastest"), [({1: 0.001, 4: 0.01}, 1), ({1: 0.01, 4: 0.001}, 4)])
def test_the_faster_number_of_threads_wins_and_the_setting_stays(monkeypatch, seconds, fastest):
    """The work sleeps as long as the table says for the number of threads that is set."""
    before = torch.get_num_threads()
    now = {"threads": before}
    monkeypatch.setattr(devices.torch.multiprocessing, "cpu_count", lambda: 4)
    monkeypatch.setattr(devices.torch, "set_num_threads", lambda count: now.update(threads=count))
    assert fastest_threads(lambda: time.sleep(seconds[now["threads"]]), repeats=3) == fastest
    assert now["threads"] == before


def test_equal_times_go_to_one_thread(monkeypatch):
    monkeypatch.setattr(devices.torch.multiprocessing, "cpu_count", lambda: 2)
    monkeypatch.setattr(devices, "_seconds", lambda work: 1.0)
    assert fastest_threads(lambda: None) == 1


def test_threads_can_be_set():
    before = torch.get_num_threads()
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(before)
    with pytest.raises(UserError, match="1 or more"):
        set_threads(0)


@pytest.mark.parametrize(("sparingly", "mebibytes"), [(False, 64), (True, 16)])
def test_freed_memory_is_kept_and_used_again(sparingly, mebibytes):
    # In a process of its own: the request cannot be taken back.
    script = f"""
import resource, torch
from lib.training.devices import keep_freed_memory
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones({mebibytes} * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
usual = faults()
kept = keep_freed_memory({sparingly})
faults()
print(kept, usual, faults())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kept, usual, after = done.stdout.split()
    # Where the C library refuses, nothing changes and nothing breaks.
    assert kept == "False" or int(after) < 0.2 * int(usual)
