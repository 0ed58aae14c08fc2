"""Randomness that is always asked for by name: seeds and generators, never the global state."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SEED_LIMIT = 2**63


def derive_seed(seed: int, *names: object) -> int:
    """A seed for one purpose, from the run's seed and the purpose's name.

    `derive_seed(0, "data", 3)` is the same number on every machine and in every Python, and has nothing
    to do with `derive_seed(0, "noise", 3)`. Adding a new purpose later therefore changes no old one.

    >>> derive_seed(0, "data") == derive_seed(0, "data"), derive_seed(0, "data") == derive_seed(0, "noise")
    (True, False)
    """
    # repr keeps 1 and "1" apart, and the separator keeps ("ab", "c") and ("a", "bc") apart.
    text = "\x1f".join([repr(int(seed)), *(repr(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") % SEED_LIMIT


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator on `device`, started at `seed` (0 <= seed < 2**63)."""
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"a seed lies in 0 ... 2**63 - 1, this is {seed}")
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def isolated_seed(seed: int) -> Iterator[None]:
    """Inside the block torch's global generators start at `seed`; afterwards they are as before.

    For code that can only draw from the global generator, as the initialisation of torch's layers. Meant are the
    processor's generator and, once this process uses CUDA, that of the current GPU; other GPUs are left alone.
    """
    # A look at a GPU that is not in use would set it up and take some of its memory.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed: it would start the generators of all GPUs anew.
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(seed)
        yield
