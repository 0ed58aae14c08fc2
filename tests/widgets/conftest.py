"""Small models, data, walks and records to draw, and the browser."""

import math

import numpy as np
import pytest
import torch

from lib.cud.model import build_model
from lib.cud.networks.config import MLPConfig
from tests.browser import launched


def ring(count: int, generator: torch.Generator) -> torch.Tensor:
    angle = torch.randint(0, 8, (count,), generator=generator) * math.pi / 4
    centre = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + 0.1 * torch.randn(count, 2, generator=generator)


def lively(seed: int) -> torch.nn.Module:
    """An untrained network with larger weights: a curved field that moves particles a good way, in no time."""
    model = build_model(MLPConfig(width=128), heads=2, seed=seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.2)
    return model.eval()


@pytest.fixture(scope="session")
def models() -> dict[str, tuple[torch.nn.Module, int]]:
    return {"first model": (lively(0), 1), "second model": (lively(1), 2)}


@pytest.fixture(scope="session")
def data() -> torch.Tensor:
    return ring(300, torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def walks() -> dict:
    """Two methods, three budgets, eight samples: straight lines from noise to bars, the second method's darker."""
    random, out = np.random.default_rng(0), {}
    noise, bars = random.standard_normal((8, 1, 8, 8)), np.full((8, 1, 8, 8), -1.0)
    for i in range(8):
        bars[i, 0, :, i] = 1
    for name, level in (("first method", 1.0), ("second method", 0.5)):
        out[name] = {}
        for calls in (1, 2, 8):
            t = np.linspace(1, 0, calls + 1).reshape(-1, 1, 1, 1, 1)
            states = t * noise + (1 - t) * bars * level
            out[name][calls] = (states, states - t * (noise - bars * level))
    return out


@pytest.fixture(scope="session")
def records() -> list[dict]:
    out = []
    for dataset, scale in (("ring", 1.0), ("digits", 1000.0)):
        for method, values in (("alpha", [1.4, 0.5, 0.1]), ("beta", [1.2, 0.3, 0.2]), ("gamma", [0.2, 0.15])):
            value = [scale * v for v in values]
            spread = {"low": [0.9 * v for v in value], "high": [1.1 * v for v in value]}
            out.append(
                {"dataset": dataset, "method": method, "nfe": [1, 4, 16][: len(value)], "value": value, **spread}
            )
    return out


@pytest.fixture(scope="module")
def browser():
    with launched() as running:
        yield running
