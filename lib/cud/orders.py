"""How precise a look-ahead point is: its order, measured on an equation whose answer is known."""

import math

import torch
from torch import Tensor

from lib.cud.catchup import look_ahead, scheme_named

START, TIME, STEPS = 0.7, 0.8, (0.0125, 0.00625)


def nonlinear(x: Tensor, t: Tensor | float) -> Tensor:
    """v(x, t) = sin(3x) + x cos(2t), for points (batch, 1) and times (batch,) or a number."""
    t = torch.as_tensor(t, dtype=x.dtype)
    return torch.sin(3 * x) + x * torch.cos(2 * t.reshape(-1, 1))


def exact(x: float, start: float, end: float) -> float:
    """Where the equation carries x from time ``start`` to ``end``: SciPy at tolerance 1e-13."""
    from scipy.integrate import solve_ivp

    walk = solve_ivp(
        lambda t, y: [math.sin(3 * y[0]) + y[0] * math.cos(2 * t)], (start, end), [x], rtol=1e-13, atol=1e-13
    )
    return float(walk.y[0, -1])


def look_ahead_order(scheme: str, point: int = 1, *, chained: bool = False) -> float:
    """The order p of look-ahead point number ``point``: its error falls with h^(p + 1) when h is halved.

    Args:
        scheme: a name in ``lib.cud.catchup.SCHEMES``.
        point: 1 for X_{t-h}, 2 for X_{t-2h}, and so on.
        chained: as in ``look_ahead``.
    """
    x, t = torch.tensor([[START]], dtype=torch.float64), torch.tensor([TIME], dtype=torch.float64)
    errors = []
    for h in STEPS:
        step = torch.tensor([h], dtype=torch.float64)
        points, _ = look_ahead(nonlinear, x, t, step, scheme_named(scheme), chained=chained)
        errors.append(abs(points[point - 1].item() - exact(START, TIME, TIME - point * h)))
    return math.log(errors[0] / errors[1]) / math.log(STEPS[0] / STEPS[1]) - 1
