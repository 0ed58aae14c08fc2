"""The velocity model: heads, time, labels, seeds, counts, precision, and that it learns."""

import doctest
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import lib.cud.model
import lib.cud.networks.config
import lib.cud.networks.shakedrop
from lib.cud.model import VelocityModel, build_encoder, build_model, count_multiplies
from lib.cud.networks import MLPConfig, UNetConfig, presets
from lib.errors import UserError
from lib.training.multiplies import count_parameters

ATTENTIVE = UNetConfig(
    resolution=8, in_channels=2, channels=8, multipliers=(1, 2), blocks=1, attention_resolutions=(8, 4),
    attention_in_all_decoder_blocks=True, attention_head_channels=4, scale_shift=True, classes=3, phi=0.75,
)  # fmt: skip
CONFIGS = [presets.toy_mlp(), presets.digits_unet(), UNetConfig(channels=8), ATTENTIVE]


def inputs(config, batch=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *config.input_shape, generator=draw)
    classes = getattr(config, "classes", 0)
    labels = torch.randint(classes, (batch,), generator=draw) if classes else None
    return x, torch.rand(batch, generator=draw), labels


def awake(model, seed=0):
    """The model with weights that matter everywhere: fresh ones are nearly silent."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return model


@pytest.mark.parametrize("config", CONFIGS)
def test_each_head_of_all_heads_is_forward_with_that_head(config):
    model = awake(build_model(config, heads=3))
    x, t, labels = inputs(config)
    together = model.all_heads(x, t, labels)
    assert len(together) == model.head_count == 3
    for number, velocity in enumerate(together, start=1):
        assert velocity.shape == x.shape
        torch.testing.assert_close(velocity, model(x, t, labels, head=number))
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("config", CONFIGS)
def test_one_time_is_that_time_for_all(config):
    model = awake(build_model(config))
    x, _, labels = inputs(config)
    expected = model(x, torch.full((3,), 0.3), labels)
    for t in (0.3, torch.tensor(0.3), torch.tensor(0.3, dtype=torch.float64)):
        torch.testing.assert_close(model(x, t, labels), expected)
    assert not torch.allclose(model(x, 0.9, labels), expected, atol=1e-4)
    torch.testing.assert_close(model(x, 1, labels), model(x, 1.0, labels))


@pytest.mark.parametrize("config", CONFIGS)
def test_points_of_a_batch_do_not_see_each_other(config):
    model = awake(build_model(config))
    x, t, labels = inputs(config)
    order = torch.tensor([2, 0, 1])
    shuffled = model(x[order], t[order], None if labels is None else labels[order])
    torch.testing.assert_close(shuffled, model(x, t, labels)[order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("module", [lib.cud.model, lib.cud.networks.shakedrop, lib.cud.networks.config])
def test_examples_in_the_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_labels_matter():
    model = awake(build_model(ATTENTIVE))
    x, t, labels = inputs(ATTENTIVE)
    assert not torch.allclose(model(x, t, labels), model(x, t, (labels + 1) % 3), atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_gradient_reaches_every_parameter(config):
    model = awake(build_model(config, heads=2))
    x, t, labels = inputs(config)
    sum(velocity.square().sum() for velocity in model.all_heads(x, t, labels)).backward()
    # A label that does not occur has no gradient; of the table only the rows in use are looked at.
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    if isinstance(config, UNetConfig):  # each residual block listens to its own part of the time embedding
        time = model.trunk.time
        assert all(part.abs().sum() > 0 for part in time.per_block.bias.grad.split(time.block_sizes))


def test_bad_calls_are_one_clear_sentence():
    points, images = build_model(MLPConfig()), build_model(ATTENTIVE, heads=2)
    x, t, labels = inputs(ATTENTIVE)
    cases = [
        (lambda: points(torch.zeros(4, 3), 0.5), r"\(batch, 2\).*\(4, 3\)"),
        (lambda: points(torch.zeros(2), 0.5), r"\(batch, 2\).*\(2,\)"),
        (lambda: points(torch.zeros(4, 2), torch.zeros(3)), r"time has shape \(3,\).*\(4,\)"),
        (lambda: points(torch.zeros(4, 2), torch.zeros(4, 1)), r"time has shape \(4, 1\)"),
        (lambda: points(torch.zeros(4, 2), 0.5, torch.zeros(4, dtype=torch.long)), "takes no labels"),
        (lambda: points(torch.zeros(4, 2, dtype=torch.uint8), 0.5), "floating-point"),
        (lambda: images(x[:, :1], t, labels), r"\(batch, 2, 8, 8\).*\(3, 1, 8, 8\)"),
        (lambda: images(x[..., :4], t, labels), r"\(3, 2, 8, 4\)"),
        (lambda: images(x, t), "needs labels from 0 to 2"),
        (lambda: images(x, t, labels[:2]), r"labels have shape \(2,\)"),
        (lambda: images(x, t, torch.tensor([0, 1, 3])), "from 0 to 2; got 0 to 3"),
        (lambda: images(x, t, labels, head=0), "Head 0.*heads 1 to 2"),
        (lambda: images(x, t, labels, head=3), "Head 3.*heads 1 to 2"),
        (lambda: build_model(MLPConfig(), heads=0), "heads is 0"),
        (lambda: build_model({"kind": "mlp"}), "not by dict"),
        (lambda: build_model(presets.mnist_encoder()), "Leave out_channels"),
        (lambda: build_encoder(presets.digits_unet()), "set out_channels.* to 2, not 1"),
    ]
    for call, says in cases:
        with pytest.raises(UserError, match=says) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [presets.toy_mlp(), presets.digits_unet()])
def test_a_seed_gives_the_weights_and_leaves_the_global_state(config):
    before = torch.random.get_rng_state()
    one, two, other = build_model(config, 2, seed=5), build_model(config, 2, seed=5), build_model(config, 2, seed=6)
    encoder = build_encoder(presets.toy_encoder(), seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(77)
    three = build_model(config, 2, seed=5)  # whatever the global state was
    torch.random.set_rng_state(before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
        assert torch.equal(value, three.state_dict()[name])
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert count_parameters(encoder) > 0


def test_more_heads_leave_the_trunk_as_it_was():
    one, three = build_model(presets.digits_unet(), 1, seed=2), build_model(presets.digits_unet(), 3, seed=2)
    for name, value in one.state_dict().items():
        assert torch.equal(value, three.state_dict()[name])


def flops(model, *arguments):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*arguments)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "config",
    [presets.toy_mlp(), presets.digits_unet(), UNetConfig(channels=8, bottleneck_attention=True), ATTENTIVE,
     presets.mnist_unet()],
)  # fmt: skip
def test_multiplies_against_torch(config):
    """PyTorch's own counter counts a multiplication and its addition as two."""
    model = build_model(config)
    x, t, labels = inputs(config, batch=2)
    assert 2 * count_multiplies(model, tuple(x.shape)) == flops(model, x, t, labels)


def test_multiplies_of_an_encoder_and_of_a_model_on_meta():
    encoder = build_encoder(presets.toy_encoder())
    assert count_multiplies(encoder, (5, 2)) == 5 * (2 * 128 + 128 * 128 + 128 * 4)
    with torch.device("meta"):
        meta = build_model(presets.mnist_unet())
    assert count_multiplies(meta, (1, 1, 28, 28)) == count_multiplies(build_model(presets.mnist_unet()), (1, 1, 28, 28))
    assert all(not module._forward_hooks for module in meta.modules())


@pytest.mark.parametrize("name", ["digits_encoder", "toy_encoder"])
def test_encoder_starts_as_the_independent_coupling(name):
    config = getattr(presets, name)()
    x, _, _ = inputs(config)
    mean, log_variance = build_encoder(config)(x)
    assert mean.shape == log_variance.shape == x.shape
    assert max(mean.abs().max(), log_variance.abs().max()) < 1e-3
    mean, log_variance = awake(build_encoder(config))(x)
    assert not torch.allclose(mean, log_variance)
    assert not torch.allclose(mean[0], mean[1])


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("config", [presets.digits_unet(), ATTENTIVE, presets.toy_mlp()])
def test_mixed_precision_agrees_with_full(config, precision):
    model = awake(build_model(config, heads=2))
    x, t, labels = inputs(config)
    full = model.all_heads(x, t, labels)
    with torch.autocast("cpu", dtype=precision):
        mixed = model.all_heads(x, t, labels)
        sum(velocity.float().square().mean() for velocity in mixed).backward()
    assert mixed[0].dtype == precision
    for one, other in zip(full, mixed, strict=True):
        assert (one - other.float()).norm() < 0.05 * one.norm()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_dropout_is_off_in_evaluation_and_on_in_training():
    model = awake(build_model(replace(presets.digits_unet(), dropout=0.5)))
    x, t, _ = inputs(presets.digits_unet())
    with torch.random.fork_rng(devices=[]):
        assert not torch.equal(model(x, t), model(x, t))
    model.eval()
    assert torch.equal(model(x, t), model(x, t))


def test_weights_survive_a_state_dict():
    model, other = awake(build_model(presets.digits_unet(), 2)), build_model(presets.digits_unet(), 2, seed=9)
    other.load_state_dict(model.state_dict())
    x, t, _ = inputs(presets.digits_unet())
    assert torch.equal(model(x, t, head=2), other(x, t, head=2))
    assert isinstance(other, VelocityModel)


def digits():
    from sklearn.datasets import load_digits

    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order[:1300]], images[order[1300:]]


def flow_matching_loss(model, x_0, t, draw):
    x_1 = torch.randn(x_0.shape, generator=draw)
    t_ = t.view(-1, 1, 1, 1)
    return (model((1 - t_) * x_0 + t_ * x_1, t) - (x_1 - x_0)).square().mean()


def test_small_unet_learns_the_velocity_of_digits():
    """150 steps, and the held-out loss is below 60 % of what the mean velocity, blind to x_t and t, gets."""
    train, held_out = digits()
    draw = torch.Generator().manual_seed(1)
    model = build_model(presets.digits_unet(), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, fused=True)
    for _ in range(150):
        x_0 = train[torch.randint(len(train), (64,), generator=draw)]
        loss = flow_matching_loss(model, x_0, torch.rand(64, generator=draw), draw)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # x_1 - x_0 with mean -E[x_0]: the error of the mean is the variance of noise plus that of the data.
    baseline = 1.0 + (held_out - train.mean(0)).square().mean()
    t = (torch.arange(len(held_out)) + 0.5) / len(held_out)
    with torch.no_grad():
        learnt = flow_matching_loss(model, held_out, t, torch.Generator().manual_seed(2))
    assert learnt < 0.6 * baseline


def test_small_unet_overfits_two_images():
    """With two images and fixed noise the loss can go to zero; it goes to under a twentieth."""
    train, _ = digits()
    model = build_model(presets.digits_unet(), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, fused=True)
    x_0, t = train[:2].repeat(4, 1, 1, 1), torch.linspace(0.05, 0.95, 8)
    losses = []
    for _ in range(200):
        loss = flow_matching_loss(model, x_0, t, torch.Generator().manual_seed(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
