"""The catch-up term: orders on a nonlinear equation, fixed cases by hand, and where the gradient goes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.cud.catchup import SCHEMES, catch_up_loss, look_ahead, loss_weights, near_data, scheme_named
from lib.cud.flow import SMALLEST_TIME
from lib.cud.orders import look_ahead_order
from lib.errors import UserError


# The later points of a released scheme lie on a straight line: Euler's order.
@pytest.mark.parametrize(
    ("scheme", "point", "chained", "expected"),
    [
        ("rk12", 1, False, 1),
        ("rk23", 1, False, 2),
        ("rk34", 1, False, 2),
        ("rk34_exact", 1, False, 3),
        ("rk23", 2, False, 1),
        ("rk34", 3, False, 1),
        ("rk23", 2, True, 2),
        ("rk34", 3, True, 2),
        ("rk34_exact", 3, True, 3),
    ],
)
def test_order_of_the_look_ahead_points(scheme, point, chained, expected):
    assert look_ahead_order(scheme, point, chained=chained) == pytest.approx(expected, abs=0.15)
    if point == 1:
        assert SCHEMES[scheme].order == expected


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_is_consistent(name):
    scheme = SCHEMES[name]
    assert sum(scheme.weights) == pytest.approx(1)
    for node, row in zip(scheme.nodes[1:], scheme.stages, strict=True):
        assert sum(row) == pytest.approx(node)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("given_slope", [False, True])
def test_network_calls_of_a_step(name, chained, given_slope):
    calls = []

    def velocity(x, t):
        calls.append(t)
        return -x

    x, t, h = torch.randn(5, 2), torch.full((5,), 0.5), torch.full((5,), 0.01)
    look_ahead(velocity, x, t, h, SCHEMES[name], k1=-x if given_slope else None, chained=chained)
    slopes, heads = len(SCHEMES[name].weights), SCHEMES[name].heads
    # Chained: each later step has its first slope already, the target before it.
    expected = slopes + heads + (heads - 1) * (slopes - 1) * chained
    assert len(calls) == expected - given_slope


def test_rk12_by_hand():
    x, t, h = torch.tensor([[2.0]]), torch.tensor([0.5]), torch.tensor([0.1])
    points, targets = look_ahead(lambda x, t: x * t[:, None], x, t, h, SCHEMES["rk12"])
    assert points[0].item() == pytest.approx(2 - 0.1 * (2 * 0.5))
    assert targets[0].item() == pytest.approx(1.9 * 0.4)


def test_near_the_data_end_the_target_is_the_ground_truth():
    model = torch.nn.Linear(1, 1)
    x, h = torch.randn(4, 1), torch.full((4,), 0.1)
    t = torch.tensor([0.05, 0.1, 0.1 + 2 * SMALLEST_TIME, 0.9])
    assert near_data(t, h, heads=1).tolist() == [True, True, False, False]
    truth = torch.randn(4, 1)
    prediction = model(x)
    inside = catch_up_loss(
        (prediction[:2],), lambda x, t: model(x) + 5, x[:2], t[:2], h[:2], truth[:2], SCHEMES["rk12"]
    )
    assert torch.equal(inside, torch.nn.functional.mse_loss(prediction[:2], truth[:2]))
    outside = catch_up_loss(
        (prediction[2:],), lambda x, t: model(x) + 5, x[2:], t[2:], h[2:], truth[2:], SCHEMES["rk12"]
    )
    assert not torch.allclose(outside, torch.nn.functional.mse_loss(prediction[2:], truth[2:]))


def test_later_heads_are_masked_with_all_the_others():
    t, h = torch.tensor([0.25]), torch.tensor([0.1])
    assert not near_data(t, h, heads=2).item()
    assert near_data(t, h, heads=3).item()


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("reuse", [False, True])
def test_gradient_flows_through_the_student_alone(name, reuse):
    student, teacher = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    scheme = SCHEMES[name]
    x = torch.randn(8, 2, requires_grad=True)
    truth = torch.randn(8, 2, requires_grad=True)
    predictions = tuple(student(x.detach()) for _ in range(scheme.heads))
    loss = catch_up_loss(
        predictions, lambda x, t: teacher(x), x, torch.linspace(0.01, 1, 8), torch.full((8,), 0.05), truth, scheme,
        reuse_first_slope=reuse,
    )  # fmt: skip
    loss.backward()
    assert student.weight.grad.abs().sum() > 0
    assert teacher.weight.grad is None
    assert x.grad is None
    assert truth.grad is None


@given(st.floats(0, 1), st.floats(0, 3), st.floats(0, 3))
def test_weights(progress, w1, w2):
    assert loss_weights("constant", progress, w1, w2) == (w1, w2)
    ramp = loss_weights("ramp", progress)
    assert sum(ramp) == pytest.approx(2)
    assert ramp[0] == pytest.approx(2 * progress)


def test_unknown_names_are_told_what_is_known():
    with pytest.raises(UserError, match="rk12, rk23, rk34, rk34_exact"):
        scheme_named("rk45")
    with pytest.raises(UserError, match="constant or ramp"):
        loss_weights("cosine", 0.5)
