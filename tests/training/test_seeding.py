"""Seeds: stable, apart from each other, and without a trace in the global generator."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.training.seeding import SEED_LIMIT, derive_seed, generator, isolated_seed


def test_a_derived_seed_never_changes():
    """Recorded once: another number here would change every figure of the book, on every machine."""
    assert derive_seed(7, "data", 3) == 1552058438817059799


@given(st.integers(0, SEED_LIMIT - 1), st.lists(st.one_of(st.text(), st.integers()), max_size=4))
def test_a_derived_seed_is_one_that_torch_takes(seed, names):
    derived = derive_seed(seed, *names)
    assert 0 <= derived < SEED_LIMIT
    generator(derived)


def test_names_are_kept_apart():
    seeds = [
        derive_seed(0),
        derive_seed(1),
        derive_seed(0, "ab", "c"),
        derive_seed(0, "a", "bc"),
        derive_seed(0, "1"),
        derive_seed(0, 1),
    ]
    assert len(set(seeds)) == len(seeds)


def test_isolated_seed_leaves_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    with isolated_seed(3):
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    with isolated_seed(3):
        assert torch.equal(torch.rand(4), first)


def test_isolated_seed_draws_what_torchs_own_seed_does():
    with isolated_seed(3):
        inside = torch.rand(4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        assert torch.equal(torch.rand(4), inside)


def test_isolated_seed_wakes_no_gpu(monkeypatch):
    def woken(*_):
        raise AssertionError("a GPU was looked at")

    for name in ("is_available", "current_device", "manual_seed", "manual_seed_all", "get_rng_state", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, woken)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    with isolated_seed(3):
        torch.rand(1)


def test_isolated_seed_touches_the_current_gpu_alone(monkeypatch):
    """Four GPUs that are not there: what is asked of each."""
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(("read", device)) or "state")
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: asked.append((state, device)))
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: asked.append(("seed", seed)))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: asked.append(("all", seed)))
    with isolated_seed(3):
        pass
    assert asked == [("read", 2), ("seed", 3), ("state", 2)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_isolated_seed_on_a_gpu():
    torch.rand(1, device="cuda")
    before = torch.cuda.get_rng_state()
    with isolated_seed(3):
        first = torch.rand(4, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    with isolated_seed(3):
        assert torch.equal(torch.rand(4, device="cuda"), first)


@pytest.mark.parametrize("seed", [-1, SEED_LIMIT])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        generator(seed)
