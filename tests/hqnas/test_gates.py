"""Gates: hard forwards, a sigmoid's slope backwards; norms whose slope does not vanish with the width."""

import pytest
import torch

from lib.hqnas.gates import ROW, Gates, hard_gate
from lib.hqnas.model import Supernet
from lib.hqnas.super_kernel import half_of_channels, kernel_norms, kernel_sums
from lib.training.seeding import generator
from tests.hqnas.tiny import some_choices, tiny_space


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
def test_backwards_it_is_the_sigmoid(temperature):
    margin = torch.tensor([-2.0, -0.1, 0.0, 0.3, 1.0], dtype=torch.double)
    hard = margin.clone().requires_grad_()
    soft = margin.clone().requires_grad_()
    gates = hard_gate(hard, temperature)
    assert gates.tolist() == [0, 0, 1, 1, 1]
    gates.sum().backward()
    torch.sigmoid(soft / temperature).sum().backward()
    assert torch.allclose(hard.grad, soft.grad)


@pytest.mark.parametrize("seed", range(6))
def test_choices_and_gates_are_each_other_s_inverse(seed):
    space = tiny_space()
    choices = some_choices(space, seed)
    gates = Gates.of(choices)
    assert gates.choices() == choices
    assert gates.flat().shape == (len(space.blocks), len(ROW))


def test_an_open_8_bit_gate_behind_a_closed_4_bit_gate_means_2_bits():
    space = tiny_space()
    gates = Gates.of(space.uniform(8))
    bits = gates.bits.clone()
    bits[0, 1, 0] = 0
    assert gates._replace(bits=bits).choices()[0].bits == (8, 2, 8)


@pytest.mark.parametrize("channels", [24, 96, 576])
def test_plain_norms_lose_their_slope_with_the_width_and_ratios_do_not(channels):
    """The dossier's trap: sigmoid slopes of 4.5e-3, 2.2e-5 and 1.1e-12 for these widths."""
    kernel = torch.randn(channels, 1, 5, 5, generator=generator(0)) * (2 / 25) ** 0.5
    core = kernel[:, :, 1:-1, 1:-1]
    ring = (kernel.square().sum() - core.square().sum()).sqrt()
    soft = torch.sigmoid(ring)
    plain = float(soft * (1 - soft))
    expected = {24: 4.5e-3, 96: 2.2e-5, 576: 0.0}[channels]  # in float32 the last one is exactly 0
    assert plain == pytest.approx(expected, rel=0.9, abs=1e-12)
    sums = kernel_sums(kernel, half_of_channels([channels]))[0]
    ratios = kernel_norms(sums, sums[0, 0])
    soft = torch.sigmoid(ratios / 0.3)
    assert (soft * (1 - soft)).min() > 0.015


def test_norms_are_the_ratios_of_root_mean_squares():
    kernel = torch.randn(10, 1, 5, 5, generator=generator(0))
    halves = half_of_channels([10, 4])
    other = torch.randn(4, 1, 5, 5, generator=generator(1))
    start = kernel_sums(torch.cat([0.5 * kernel, other]), halves)[:, 0, 0]
    ratios = kernel_norms(kernel_sums(torch.cat([kernel, other]), halves), start)[0]

    def rms(x):
        return x.square().mean().sqrt()

    inner = torch.zeros(5, 5, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    assert torch.allclose(ratios[0], torch.tensor(2.0))
    assert torch.allclose(ratios[1], rms(kernel[5:]) / rms(kernel[:5]))
    assert torch.allclose(ratios[2], rms(kernel[..., ~inner]) / rms(kernel[..., inner]))


@pytest.mark.parametrize("form", ["task", "cost"])
def test_every_threshold_has_a_gradient_at_step_one(form):
    """At every width of three spaces, from the task and from the cost."""
    from lib.hqnas.config import SpaceConfig, StageConfig
    from lib.hqnas.space import SearchSpace
    from tests.hqnas.tiny import products

    for width in (4, 16, 48):
        config = SpaceConfig(stem=width, stages=(StageConfig(width, 1, 1), StageConfig(2 * width, 2, 2)))
        space = SearchSpace(config, (1, 8, 8), 10)
        supernet = Supernet(space)
        x = torch.randn(8, 1, 8, 8, generator=generator(0))
        logits, decision = supernet(x)
        labels = torch.arange(8)
        loss = (
            torch.nn.functional.cross_entropy(logits, labels)
            if form == "task"
            else products(space).expected(decision.gates)
        )
        loss.backward()
        found = supernet.thresholds.levels.grad
        free = torch.ones_like(found, dtype=torch.bool)
        free[:, 0] = supernet.thresholds.skippable
        assert (found[free] != 0).all()
        assert not found[~free].any()
        if form == "cost":  # a higher threshold closes gates, and that is cheaper
            assert (found[free] < 0).all()


@pytest.mark.parametrize("clip", ["shared", "per_width"])
def test_all_norms_begin_near_one_so_that_no_gate_is_asked_first(clip):
    """Bits, too: begun at half of it, where the sigmoid is steeper, they were given up long before shapes."""
    from lib.hqnas.config import GateConfig, scaled
    from lib.hqnas.space import SearchSpace

    space = SearchSpace(scaled().space, (1, 8, 8), 10)
    norms = Supernet(space, GateConfig(clip=clip)).decision().norms
    assert (norms[:, :3] - 1).abs().max() < 0.15
    assert (norms[:, 3:].mean() - 1).abs() < 0.15
    assert norms[:, 3:].min() > 0.6
