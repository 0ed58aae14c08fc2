"""The whole objective: weight 0 is flow matching to the bit, and each switch does what it says."""

from dataclasses import replace

import pytest
import torch

from lib.cud.config import (
    CatchUpConfig,
    CouplingConfig,
    CUDConfig,
    OptimiserConfig,
    encoder_for,
    imagenet64,
    scaled,
    toy,
    with_method,
)
from lib.cud.model import build_encoder, build_model
from lib.cud.networks.config import MLPConfig, UNetConfig
from lib.cud.objective import Objective, Randomness

TINY = UNetConfig(resolution=8, channels=8, multipliers=(1, 2))


def config(**changes) -> CUDConfig:
    base = CUDConfig(
        name="tiny",
        network=MLPConfig(width=16, depth=2),
        optimiser=OptimiserConfig(steps=10, batch_size=32, learning_rate=1e-3),
        data="ring",
    )
    return replace(base, **changes)


def randomness(seed: int = 0) -> Randomness:
    return Randomness(torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))


def loss_and_gradient(settings: CUDConfig, x0: torch.Tensor, **call):
    model = build_model(settings.network, settings.heads, seed=3)
    parts = Objective(settings, model)(x0, randomness(), **call)
    parts["loss"].backward()
    return parts, torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("scheme", ["rk12", "rk23", "rk34", "rk34_exact"])
def test_at_weight_zero_it_is_flow_matching_to_the_bit(scheme):
    x0 = torch.randn(32, 2, generator=torch.Generator().manual_seed(9))
    silent = config(catch_up=CatchUpConfig(scheme=scheme, catch_up_weight=0.0))
    parts, gradient = loss_and_gradient(silent, x0)
    assert torch.equal(parts["loss"], parts["flow"])

    # The same heads under plain flow matching: only the term is missing.
    model = build_model(silent.network, silent.heads, seed=3)
    plain = Objective(replace(silent, catch_up=None), model)(x0, randomness())
    plain["loss"].backward()
    assert torch.equal(plain["loss"], parts["loss"])
    assert torch.equal(torch.cat([p.grad.flatten() for p in model.parameters()]), gradient)


def test_catch_up_changes_the_loss_and_nothing_that_was_drawn():
    x0 = torch.randn(32, 2)
    parts, _ = loss_and_gradient(config(catch_up=CatchUpConfig()), x0)
    plain, _ = loss_and_gradient(config(), x0)
    assert torch.equal(parts["flow"], plain["flow"])
    assert parts["loss"] == parts["flow"] + parts["catch_up"]


def test_reusing_the_first_slope_changes_no_number(monkeypatch):
    x0 = torch.randn(32, 2)
    settings = config(catch_up=CatchUpConfig(scheme="rk34"))
    reused, gradient = loss_and_gradient(settings, x0)
    monkeypatch.setattr(CUDConfig, "network_has_dropout", property(lambda self: True))
    called, again = loss_and_gradient(settings, x0)
    assert torch.allclose(reused["catch_up"], called["catch_up"], atol=1e-7)
    assert torch.allclose(gradient, again, atol=1e-6)


def test_the_teacher_may_be_another_network():
    settings = config(catch_up=CatchUpConfig(teacher="ema"))
    model, teacher = build_model(settings.network, 1, seed=3), build_model(settings.network, 1, seed=4)
    x0 = torch.randn(32, 2)
    own = Objective(settings, model)(x0, randomness())
    other = Objective(settings, model, teacher)(x0, randomness())
    assert torch.equal(own["flow"], other["flow"])
    assert not torch.equal(own["catch_up"], other["catch_up"])
    other["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_the_ramp_hands_over_from_data_to_catch_up():
    x0 = torch.randn(32, 2)
    settings = config(catch_up=CatchUpConfig(weights="ramp"))
    start, _ = loss_and_gradient(settings, x0, progress=0.0)
    end, _ = loss_and_gradient(settings, x0, progress=1.0)
    assert start["loss"] == 2 * start["flow"]
    assert end["loss"] == 2 * end["catch_up"]


def test_learned_coupling_trains_its_encoder_through_point_and_target():
    network = MLPConfig(width=16, depth=2)
    settings = config(coupling=CouplingConfig("learned", beta=5.0, encoder=encoder_for(network)))
    model, encoder = build_model(network, 1), build_encoder(settings.coupling.encoder)
    parts = Objective(settings, model, encoder=encoder)(torch.randn(64, 2), randomness())
    assert parts["loss"].item() == pytest.approx((parts["flow"] + 5 * parts["divergence"]).item())
    parts["flow"].backward()
    assert sum(p.grad.abs().sum() for p in encoder.parameters()) > 0


def test_wavelet_term_is_added_for_images():
    settings = replace(scaled(), network=TINY, catch_up=None, wavelet_weight=0.5)
    x0 = torch.rand(4, 1, 8, 8) * 2 - 1
    parts = Objective(settings, build_model(TINY, 1))(x0, randomness())
    assert parts["loss"].item() == pytest.approx((parts["flow"] + 0.5 * parts["wavelet"]).item())


def test_discrete_time_stays_on_the_grid():
    seen = []

    class Spy(torch.nn.Module):
        def all_heads(self, x, t, labels=None):
            seen.append(t)
            return (x.clone().requires_grad_(),)

        def forward(self, x, t, labels=None, head=1):
            seen.append(t)
            return x

    settings = config(catch_up=CatchUpConfig(discrete_time=True))
    Objective(settings, Spy())(torch.randn(64, 2), randomness())
    for t in seen:
        on_grid = (t * 16).round() / 16
        assert ((t - on_grid).abs() < 2e-5).all()


@pytest.mark.parametrize("method", ["flow_matching", "rk12", "rk23", "rk34", "rk34_exact", "minibatch_ot",
                                    "catch_up_ot", "learned_coupling", "catch_up_learned"])  # fmt: skip
def test_every_method_goes_to_json_and_back(method):
    settings = with_method(toy(), method)
    assert CUDConfig.from_dict(settings.to_dict()) == settings


def test_an_encoder_sees_data_alone():
    network = encoder_for(imagenet64().network)
    assert (network.classes, network.phi, network.out_channels) == (0, None, 6)
