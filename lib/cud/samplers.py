"""From noise to data: every solver behind one interface, with its network calls counted.

A solver is a generator: given the velocity, a start and a grid of falling times, it yields the state after each
interval. ``sample`` keeps the last state, ``trajectory`` keeps all. Rules: official code, with its
slips in ``dpm_solver_3`` mended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from lib.errors import UserError

Step = tuple[Tensor, Tensor]
"""The state after an interval, and the velocity at the interval's start."""


def euler(velocity: Callable, x: Tensor, times: list[float]) -> Iterator[Step]:
    """x - h v. Order 1, one call an interval."""
    for t, t_next in pairwise(times):
        v = velocity(x, t)
        x = torch.sub(x, v, alpha=t - t_next)  # one operation: with a small network it shows
        yield x, v


def heun(velocity: Callable, x: Tensor, times: list[float]) -> Iterator[Step]:
    """Trapezoid: two calls an interval, but the last interval is Euler's, so 2 N - 1 calls. Order 2."""
    for t, t_next in pairwise(times):
        h, v = t - t_next, velocity(x, t)
        proposal = x - h * v
        x = proposal if t_next == times[-1] else x - h / 2 * (v + velocity(proposal, t_next))
        yield x, v


def rk4(velocity: Callable, x: Tensor, times: list[float]) -> Iterator[Step]:
    """The classical Runge-Kutta step. Order 4, four calls an interval."""
    for t, t_next in pairwise(times):
        h, middle = t - t_next, (t + t_next) / 2
        k1 = velocity(x, t)
        k2 = velocity(x - h / 2 * k1, middle)
        k3 = velocity(x - h / 2 * k2, middle)
        k4 = velocity(x - h * k3, t_next)
        x = x - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        yield x, k1


ADAMS_BASHFORTH = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12)}
"""Weights of the newest, the last and the last but one velocity, on a uniform grid."""


def _multistep(velocity: Callable, x: Tensor, times: list[float], orders: tuple[int, ...]) -> Iterator[Step]:
    past: list[Tensor] = []
    for n, (t, t_next) in enumerate(pairwise(times)):
        past = [velocity(x, t), *past[:2]]
        weights = ADAMS_BASHFORTH[orders[min(n, len(orders) - 1)]]
        x = x - (t - t_next) * sum(w * v for w, v in zip(weights, past, strict=False))
        yield x, past[0]


def dpm_solver_2(velocity: Callable, x: Tensor, times: list[float]) -> Iterator[Step]:
    """Adams-Bashforth 2 after one Euler step: what the official ``dpm_solver_2`` is on a uniform grid. Order 2."""
    return _multistep(velocity, x, times, (1, 2))


def dpm_solver_3(velocity: Callable, x: Tensor, times: list[float]) -> Iterator[Step]:
    """Adams-Bashforth 3 after an Euler and a second-order step. One call an interval.

    The official code means this but has two slips (the sign of its warm-up correction, and /6 where /3 belongs).
    These are the right coefficients. The Euler start still holds the global order at 2.
    """
    return _multistep(velocity, x, times, (1, 2, 3))


def deis_2(velocity: Callable, x: Tensor, times: list[float]) -> Iterator[Step]:
    """Two Euler steps, then quadratic extrapolation of the velocity, in closed form: Adams-Bashforth 3 again.

    The official code integrates the same Lagrange polynomial with 1,000 points. Global order 2, for the Euler start.
    """
    return _multistep(velocity, x, times, (1, 1, 3))


@dataclass(frozen=True)
class Solver:
    """A fixed-step rule and its price: ``calls(N)`` network calls for N intervals."""

    name: str
    rule: Callable[[Callable, Tensor, list[float]], Iterator[Step]]
    calls: Callable[[int], int]
    order: int


SOLVERS = {
    solver.name: solver
    for solver in (
        Solver("euler", euler, lambda n: n, order=1),
        Solver("heun", heun, lambda n: 2 * n - 1, order=2),
        Solver("rk4", rk4, lambda n: 4 * n, order=4),
        Solver("dpm_solver_2", dpm_solver_2, lambda n: n, order=2),
        Solver("dpm_solver_3", dpm_solver_3, lambda n: n, order=2),
        Solver("deis_2", deis_2, lambda n: n, order=2),
    )
}
SOLVER_NAMES = (*SOLVERS, "adaptive")


@dataclass(frozen=True)
class SampleResult:
    """Samples (batch, ...) and the network calls that they cost (NFE: each call serves the whole batch)."""

    samples: Tensor
    nfe: int


@dataclass(frozen=True)
class Trajectory:
    """A whole walk from noise to data.

    Attributes:
        times: (N + 1,), falling from 1 to 0.
        points: (N + 1, batch, ...), the state at each time.
        velocities: (N, batch, ...), the velocity at the start of each interval.
        nfe: network calls.
    """

    times: Tensor
    points: Tensor
    velocities: Tensor
    nfe: int

    @property
    def clean_estimates(self) -> Tensor:
        """x̂_0 = x - t v at the start of each interval: (N, batch, ...)."""
        t = self.times[:-1].to(self.points).reshape(-1, *([1] * (self.points.dim() - 1)))
        return self.points[:-1] - t * self.velocities


@dataclass
class CountedVelocity:
    """v(x, t) of one head, counting its calls. The callable that every solver sees."""

    model: torch.nn.Module
    head: int
    labels: Tensor | None = None
    calls: int = field(default=0, init=False)

    def __call__(self, x: Tensor, t: float | Tensor) -> Tensor:
        self.calls += 1
        return self.model(x, t, labels=self.labels, head=self.head)


def uniform_times(steps: int) -> list[float]:
    """The grid 1, (N-1)/N, ..., 0."""
    if steps < 1:
        raise UserError(f"the number of steps must be at least 1, not {steps}.")
    return [i / steps for i in range(steps, -1, -1)]


def steps_for(solver: str, nfe: int) -> int:
    """How many intervals the solver makes of ``nfe`` network calls.

    Raises:
        UserError: an nfe below 1, or one that the solver cannot spend exactly (Heun's is odd, RK4's a multiple of 4).
    """
    if nfe < 1:
        raise UserError(f"nfe must be at least 1, not {nfe}: a sample needs one network call or more.")
    rule = solver_named(solver)
    steps = next((n for n in range(1, nfe + 1) if rule.calls(n) >= nfe), None)
    if steps is None or rule.calls(steps) != nfe:
        raise UserError(f"solver '{solver}' cannot spend exactly {nfe} network calls: heun needs an odd number, rk4 a "
                        "multiple of 4.")  # fmt: skip
    return steps


def solver_named(name: str) -> Solver:
    """The fixed-step solver of that name, or a UserError that lists the names."""
    if name not in SOLVERS:
        raise UserError(f"solver '{name}' is not known: choose one of {', '.join(SOLVER_NAMES)}.")
    return SOLVERS[name]


def _start(model: torch.nn.Module, head: int | None, labels: Tensor | None) -> CountedVelocity:
    # The look-ahead head is the one that the published commands sample with: the last.
    return CountedVelocity(model, len(model.heads) if head is None else head, labels)


@torch.no_grad()
def sample(
    model: torch.nn.Module,
    noise: Tensor,
    steps: int,
    solver: str = "euler",
    *,
    head: int | None = None,
    labels: Tensor | None = None,
) -> SampleResult:
    """Carry ``noise`` (batch, ...) from t = 1 to t = 0 in ``steps`` intervals.

    Args:
        head: which output head's velocity is followed, from 1; None takes the last, as the published commands do.
        labels: classes (batch,) of a class-conditional network.
        solver: a name in ``SOLVER_NAMES``; ``adaptive`` chooses its own steps and ignores ``steps``.

    Raises:
        UserError: an unknown solver or fewer than one step.
    """
    if solver == "adaptive":
        walk = adaptive(model, noise, head=head, labels=labels)
        return SampleResult(walk.points[-1], walk.nfe)
    times, rule, velocity = uniform_times(steps), solver_named(solver).rule, _start(model, head, labels)
    for state, _ in rule(velocity, noise, times):
        samples = state
    return SampleResult(samples, velocity.calls)


@torch.no_grad()
def trajectory(
    model: torch.nn.Module,
    noise: Tensor,
    steps: int,
    solver: str = "euler",
    *,
    head: int | None = None,
    labels: Tensor | None = None,
) -> Trajectory:
    """As ``sample``, with every state kept. A pure function of its arguments: for plots and measures."""
    if solver == "adaptive":
        return adaptive(model, noise, steps=steps, head=head, labels=labels)
    times, rule, velocity = uniform_times(steps), solver_named(solver).rule, _start(model, head, labels)
    walk = list(rule(velocity, noise, times))
    points = torch.stack([noise, *(x for x, _ in walk)])
    return Trajectory(torch.tensor(times), points, torch.stack([v for _, v in walk]), velocity.calls)


@torch.no_grad()
def adaptive(
    model: torch.nn.Module,
    noise: Tensor,
    *,
    steps: int = 1,
    tolerance: float = 1e-3,
    head: int | None = None,
    labels: Tensor | None = None,
) -> Trajectory:
    """The reference: Dormand-Prince 5(4) of torchdiffeq, read out at N + 1 times.

    ``tolerance`` is both the relative and the absolute one; 1e-3 is the official code's.
    The velocities are asked for after the walk, for the read-out only; those calls are not part of the NFE.
    """
    from torchdiffeq import odeint

    velocity = _start(model, head, labels)
    times = torch.tensor(uniform_times(steps), dtype=noise.dtype, device=noise.device)
    points = odeint(lambda t, x: velocity(x, t), noise, times, rtol=tolerance, atol=tolerance, method="dopri5")
    nfe = velocity.calls
    velocities = torch.stack([velocity(x, t) for x, t in zip(points[:-1], times[:-1], strict=True)])
    return Trajectory(times.cpu(), points, velocities, nfe)
