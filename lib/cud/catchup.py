"""The catch-up term: the output at t must match what the same network says a little nearer to the data.

Three Runge-Kutta schemes place the look-ahead points. All slopes come from the main head v_1, without gradient, and
head i learns the velocity that the main head has i steps of size h later. Equations: method figure of the
official repository and official code (``flows.py``); the paper's own section could not be retrieved.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.cud.flow import SMALLEST_TIME, expand_time, total
from lib.errors import UserError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""v(x, t): points (batch, ...) and times (batch,) to velocities (batch, ...)."""


@dataclass(frozen=True)
class Scheme:
    """An explicit Runge-Kutta step, in the notation of its Butcher tableau.

    Attributes:
        nodes: c, the times of the slopes in units of h; the first is 0.
        stages: a, one row for each slope after the first.
        weights: b, which blend the slopes into the step's slope S.
        heads: K, how many future moments are aligned, hence how many output heads the network needs.
        order: the order of X_{t-h} as an integrator. RK34 as released has order 2, not 3: its a_32 = 1/4 where a
            third-order step needs -2.
    """

    name: str
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    heads: int
    order: int


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("rk12", (0,), (), (1,), heads=1, order=1),
        Scheme("rk23", (0, 1), ((1,),), (1 / 2, 1 / 2), heads=2, order=2),
        Scheme("rk34", (0, 1, 2), ((1,), (7 / 4, 1 / 4)), (5 / 12, 2 / 3, -1 / 12), heads=3, order=2),
        Scheme("rk34_exact", (0, 1, 2), ((1,), (4, -2)), (5 / 12, 2 / 3, -1 / 12), heads=3, order=3),
    )
}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name, or a UserError that lists the names."""
    if name not in SCHEMES:
        raise UserError(f"catch-up scheme '{name}' is not known: choose one of {', '.join(SCHEMES)}.")
    return SCHEMES[name]


def step_slope(velocity: Velocity, x: Tensor, t: Tensor, h: Tensor, scheme: Scheme, k1: Tensor) -> Tensor:
    """S = Σ_j b_j k_j with k_j = v(x - h Σ_l a_jl k_l, t - c_j h): the slope of one backward step of size h.

    Shapes: x and k1 (batch, ...), t and h (batch,).
    """
    step, slopes = expand_time(h, x), [k1]
    for node, row in zip(scheme.nodes[1:], scheme.stages, strict=True):
        point = x - step * blend(row, slopes)
        slopes.append(velocity(point, (t - node * h).clamp_min(SMALLEST_TIME)))
    return blend(scheme.weights, slopes)


def blend(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """Σ_j w_j k_j, without work for a lone weight of 1."""
    if weights == (1,):
        return slopes[0]
    return total([w * k for w, k in zip(weights, slopes, strict=True)])


@torch.no_grad()
def look_ahead(
    velocity: Velocity,
    x: Tensor,
    t: Tensor,
    h: Tensor,
    scheme: Scheme,
    *,
    k1: Tensor | None = None,
    chained: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """The points X_{t-ih}, i = 1..K, and the main head's velocities there: the catch-up targets.

    Args:
        velocity: v_1 of the teacher.
        x, t, h: points (batch, ...), times and steps (batch,).
        k1: v_1(x, t) where the caller has it already; it saves one network call.
        chained: False, as released: X_{t-ih} = x - i h S, a straight line along the slope of the FIRST step. True: each
            point is a fresh Runge-Kutta step from the one before it, so that all K points have the scheme's order.

    Returns:
        The K points and the K targets, each (batch, ...), without gradient.
    """
    step, k = expand_time(h, x), velocity(x, t) if k1 is None else k1.detach()
    point, now, points, targets = x, t, [], []
    slope = step_slope(velocity, x, t, h, scheme, k)
    for i in range(1, scheme.heads + 1):
        if chained:
            if i > 1:  # the last target is the first slope of the next step: no call is made twice
                slope = step_slope(velocity, point, now, h, scheme, targets[-1])
            point = point - step * slope
        else:
            point = x - i * step * slope
        now = (t - i * h).clamp_min(SMALLEST_TIME)
        points.append(point)
        targets.append(velocity(point, now))
    return points, targets


def near_data(t: Tensor, h: Tensor, heads: int) -> Tensor:
    """True where t < ε + K h: a look-ahead would step over the data end (official code, ``flows.py``)."""
    return t < SMALLEST_TIME + heads * h


def catch_up_loss(
    predictions: tuple[Tensor, ...],
    velocity: Velocity,
    x: Tensor,
    t: Tensor,
    h: Tensor,
    ground_truth: Tensor,
    scheme: Scheme,
    *,
    reuse_first_slope: bool = True,
    chained: bool = False,
) -> Tensor:
    """L_kd = Σ_i mean (v_i(x_t, t) - sg[v_1(X_{t-ih}, t - ih)])².

    Gradient flows through ``predictions`` alone. Near the data end all K targets of a sample are the ground truth
    x_1 - x_0 instead, so that the term falls back to flow matching there.

    Args:
        predictions: v_i(x_t, t), i = 1..K, each (batch, ...), with gradient.
        velocity: the teacher's main head: the network itself, or its moving average.
        reuse_first_slope: take k_1 from ``predictions[0]`` instead of a call of its own. The same number where the
            teacher is the network itself and has no dropout.
    """
    k1 = predictions[0] if reuse_first_slope else None
    _, targets = look_ahead(velocity, x.detach(), t, h, scheme, k1=k1, chained=chained)
    masked = expand_time(near_data(t, h, scheme.heads), x)
    truth = ground_truth.detach()
    return total(
        [
            torch.nn.functional.mse_loss(v, torch.where(masked, truth, target))
            for v, target in zip(predictions, targets, strict=True)
        ]
    )


def loss_weights(schedule: str, progress: float, w1: float = 1.0, w2: float = 1.0) -> tuple[float, float]:
    """(w1, w2), the weights of the catch-up and the flow-matching loss, at ``progress`` = iteration / iterations.

    ``constant``: as given (1 and 1 in every published command). ``ramp``: w1 = 2 i/I and w2 = 2 (1 - i/I), a linear
    hand-over from data to catch-up that the official code offers for one head.
    """
    if schedule == "constant":
        return w1, w2
    if schedule == "ramp":
        return 2 * progress, 2 * (1 - progress)
    raise UserError(f"weight schedule '{schedule}' is not known: choose constant or ramp.")
