"""Checks of chapter 1, Catch-Up Distillation. Time runs from data (t = 0) to noise (t = 1)."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lib.cud.catchup import SCHEMES, near_data
from lib.cud.catchup import look_ahead as place_look_ahead
from lib.cud.flow import SMALLEST_TIME, expand_time
from lib.cud.orders import nonlinear
from lib.cud.samplers import dpm_solver_2, euler, rk4, uniform_times
from lib.cud.step_sizes import expected_lag, mean_step_size
from lib.exercises.checks import NotYet, answered, as_number, as_tensor, call, checked, close, compare
from lib.exercises.reports import Table, Words, seeds_of, undecided
from lib.training.seeding import derive_seed, generator


def _points(name: str, batch: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, 2, generator=generator(derive_seed(0, "exercise", name))).to(dtype)


def _swirl(x: Tensor, t: Tensor | float) -> Tensor:
    """A velocity that bends in place and in time, for points (batch, 2)."""
    t = torch.as_tensor(t, dtype=x.dtype)
    return torch.sin(2 * x) + t.reshape(-1, 1) * x.flip(1) + t.reshape(-1, 1).square()


class _Watched:
    """A velocity that notes the times it is asked for, and refuses points and times in the wrong order."""

    def __init__(self, velocity: Callable):
        self.velocity, self.times = velocity, []

    def __call__(self, x, t):
        if not isinstance(x, Tensor) or x.dim() != 2:
            raise TypeError("velocity(x, t) takes points of shape (batch, dimension) first, then the time")
        self.times.append(torch.as_tensor(t).detach().double())
        return self.velocity(x, t)


# --- 1 -----------------------------------------------------------------------------------------------------------


@checked("One look-ahead step by hand")
def by_hand(point: Any, target: Any) -> str:
    """The RK12 look-ahead point and the catch-up target for v(x, t) = 3x - 4t, x = 2, t = 1/2, h = 1/4."""
    x, t, h = 2.0, 0.5, 0.25

    def v(y: float, s: float) -> float:
        return 3 * y - 4 * s

    placed, asked = place_look_ahead(
        lambda y, s: v(y, s[:, None]), torch.tensor([[x]]), torch.tensor([t]), torch.tensor([h]), SCHEMES["rk12"]
    )
    right_point, right_target = placed[0].item(), asked[0].item()
    point, target = as_number(point, "point"), as_number(target, "target")
    if abs(point - right_target) < 1e-3 and abs(target - right_point) < 1e-3:
        raise NotYet("Both numbers are right, in the wrong order: first the point, then the velocity there.")
    if abs(point - (x + h * v(x, t))) < 1e-3:
        raise NotYet(
            "Your step goes towards the noise. The look-ahead walks as sampling does, from t = 1 down to t = 0: "
            "subtract h times the velocity."
        )
    if abs(point - (x - v(x, t))) < 1e-3:
        raise NotYet("Your point is a whole unit of time away: the step is h, a quarter.")
    if abs(point - right_point) > 1e-3:
        raise NotYet(
            "The point is not right yet. First the velocity at x = 2, t = 1/2; then one Euler step of h = 1/4 along it."
        )
    mistakes = {
        v(right_point, t): "You asked at the old time. The point has moved to t - h: put that into v as well.",
        v(x, t - h): "You asked at the old place. The target is the velocity at the look-ahead POINT.",
        v(x, t): "That is the velocity at the start. The target is the velocity one step further on.",
        v(right_point, t + h): "You asked at t + h, nearer to the noise. The look-ahead has the smaller time.",
    }
    for wrong, hint in mistakes.items():
        if abs(target - wrong) < 1e-3:
            raise NotYet(hint)
    if abs(target - right_target) > 1e-3:
        raise NotYet("The point is right. Now put the point, and the time t - h, into v.")
    return (
        f"The velocity falls from {v(x, t):g} to {right_target:g} on this step: that difference is what the catch-up "
        "term asks the network to see coming."
    )


# --- 2 -----------------------------------------------------------------------------------------------------------


@checked("A velocity from the other clock")
def other_clock(in_our_time: Callable) -> str:
    """Convert a velocity with noise at 0 and data at 1 into one with data at 0 and noise at 1."""
    x, t = _points("clock"), torch.tensor([0.1, 0.25, 0.4, 0.6, 0.8, 1.0])

    def theirs(y: Tensor, s: Tensor | float) -> Tensor:
        return _swirl(y, s) + 1

    ours = call(in_our_time, theirs)
    if isinstance(ours, Tensor) or not callable(ours):
        raise NotYet("`in_our_time` should return a function of x and t, not its value: return the inner function.")
    mirrored = theirs(x, 1 - t)
    value = as_tensor(call(ours, x, t), x.shape, "what your velocity returns")
    mistakes = [
        (theirs(x, t), "Nothing is turned round yet: the clock runs backwards, and so does the arrow."),
        (
            -theirs(x, t),
            "The arrow is turned round, the clock is not: when ours says t = 1 (noise), which time does theirs say?",
        ),
        (
            mirrored,
            "The clock is turned round, the arrow is not: theirs points at the data, ours at the noise.",
        ),
        (-theirs(-x, 1 - t), "The point itself stays where it is: only the time and the direction change."),
    ]
    compare(value, mirrored.neg(), mistakes, "Think of one straight path, from both ends: where is it at time t?")
    return "A mirrored clock and a sign: no more lies between this book and the libraries that put the noise at 0."


# --- 3 -----------------------------------------------------------------------------------------------------------


@checked("The look-ahead point of RK23")
def look_ahead(look_ahead_by_you: Callable) -> str:
    """X_{t-h} by Heun's slope: x (batch, 2), t and h (batch,)."""
    x, t, h = _points("heun"), torch.linspace(0.4, 1.0, 6), torch.linspace(0.3, 0.1, 6)
    velocity = _Watched(_swirl)
    answer = call(look_ahead_by_you, velocity, x, t, h)
    if isinstance(answer, tuple | list):
        raise NotYet(f"Return the one point at t - h, a tensor; your function returns {len(answer)} things.")
    value = as_tensor(answer, x.shape, "your look-ahead point")

    def step(slope: Tensor, size: float = 1.0) -> Tensor:
        return x - size * h[:, None] * slope

    first = _swirl(x, t)

    def heun_with(second: Tensor) -> Tensor:
        return step((first + second) / 2)

    placed, _ = place_look_ahead(_swirl, x, t, h, SCHEMES["rk23"])
    ahead, late = step(first), t - h
    backwards = "Your step goes towards the noise: sampling walks from t = 1 down to t = 0, so subtract."
    second = _swirl(ahead, late)
    mistakes = [
        (step(first), "That is RK12's point: it uses the first slope only. Average it with the slope at the far end."),
        (step(second), "You walk along the second slope alone: RK23 averages the two."),
        (2 * x - placed[0], backwards),
        (step(-(first + _swirl(step(-first), late)) / 2), backwards),
        (heun_with(_swirl(ahead, t)), "The second slope belongs to the time t - h, and you asked at t."),
        (
            heun_with(_swirl(ahead, t + h)),
            "You asked for the second slope at t + h: the far end is nearer to the data.",
        ),
        (heun_with(_swirl(x, late)), "The second slope is taken at x itself. Move to the far end of the step first."),
        (heun_with(_swirl(step(-first), late)), "The trial step goes towards the noise: subtract h times the slope."),
        (step(first + second), "The step is twice too long: are the slopes added, where they should be averaged?"),
        (
            step(_swirl(step(first, 0.5), t - h / 2)),
            "That is the midpoint rule: order 2 too, but RK23 goes the whole h.",
        ),
        ((first + second) / 2, "That is the slope. Now take the step along it, from x."),
    ]
    compare(value, placed[0], mistakes, "The point is not right yet: check the two slopes one by one.")
    if len(velocity.times) > 2:
        raise NotYet(
            f"The point is right, at the price of {len(velocity.times)} network calls. Keep the first slope in a name: "
            "two are enough."
        )
    return "Two network calls, and the error of the point falls with the third power of h. RK12 has the second."


# --- 4 -----------------------------------------------------------------------------------------------------------


@checked("The targets near the data end")
def masked_targets(masked_targets_by_you: Callable) -> str:
    """K targets, each (batch, 2), replaced by the ground truth where a look-ahead would step over the data end."""
    t = torch.tensor([0.03, 0.08, 0.12, 0.150005, 0.4, 0.7], dtype=torch.float64)
    h = torch.tensor([0.05, 0.05, 0.05, 0.05, 0.05, 0.0625], dtype=torch.float64)
    for heads in (3, 1):
        targets = [_points(f"target {i}", dtype=torch.float64) for i in range(1, heads + 1)]
        truth = _points("truth", dtype=torch.float64)
        answer = call(masked_targets_by_you, [target.clone() for target in targets], truth, t, h)
        if isinstance(answer, Tensor) and answer.dim() == 3:
            answer = list(answer)
        if not isinstance(answer, list | tuple):
            raise NotYet("Return a list with one target for each head.")
        if len(answer) != heads:
            raise NotYet(f"{heads} targets go in and {len(answer)} come out: one for each head is wanted.")
        value = torch.stack([as_tensor(a, truth.shape, f"target {i}") for i, a in enumerate(answer, 1)], dim=1)
        plain, true = torch.stack(targets, dim=1), torch.stack([truth] * heads, dim=1)

        def replaced(mask: Tensor, plain: Tensor = plain, true: Tensor = true) -> Tensor:
            return torch.where(mask.reshape(len(mask), -1, 1), true, plain)

        near, indices = near_data(t, h, heads), torch.arange(1, heads + 1)
        mistakes = [
            (plain, "No sample is masked: near the data end a look-ahead would step below t = 0."),
            (true, "Every sample is masked, and no catch-up is left: mask those near the data end alone."),
            (replaced(~near), "The mask is the wrong way round: the samples near the data end take the ground truth."),
            (replaced(near_data(t, h, 1)), "You looked one step ahead. The last of the K heads looks K times as far."),
            (
                replaced(t[:, None] < SMALLEST_TIME + indices * h[:, None]),
                "Each head has a mask of its own. The rule is per sample: if one target falls off, ALL K are replaced.",
            ),
            (
                replaced(t < heads * h),
                "A look-ahead must stay at or above the smallest time, 1e-5, not just above 0.",
            ),
            (torch.where(near.reshape(-1, 1, 1), 0.0, plain), "The masked targets are zero: they should be x1 - x0."),
        ]
        compare(value, replaced(near), mistakes, f"With {heads} heads the wrong samples are masked.")
    return "On a masked sample the catch-up term is the flow-matching term once more: the network learns from the data."


# --- 5 -----------------------------------------------------------------------------------------------------------

SPREAD = 0.5


def euler_error(lag: float, steps: int) -> float:
    """How far Euler's samples miss the spread of the data, 0.5, when the velocity looks ahead by ``lag``.

    Data and noise are Gaussian, of spread 0.5 and 1, so the flow is known: x_t = x_1 σ(t) with
    σ(t)² = (1-t)² 0.25 + t². The velocity that looks ahead by λ is the true one at time t - λ on the same path.
    """
    spread = 1.0
    for t, t_next in pairwise(uniform_times(steps)):
        ahead = max(t - lag, 0.0)
        slope = (ahead - (1 - ahead) * SPREAD**2) / _width(ahead)
        spread -= (t - t_next) * slope * spread / _width(t)
    return abs(spread - SPREAD)


def _width(t: float) -> float:
    return math.hypot((1 - t) * SPREAD, t)


@checked("Which head for six steps?")
def lag(head_for_6_steps: Any, lag_by_you: Callable) -> str:
    """A prediction (1, 2 or 3) and the lag λ of a head, for step sizes uniform in [0, 1/T_N] and w1 = 2 w2."""
    predicted = as_number(head_for_6_steps, "head_for_6_steps")
    if predicted not in (1, 2, 3):
        raise NotYet("RK34 has the heads 1, 2 and 3: predict one of them, as a whole number.")
    cases = [(head, grid) for grid in (16, 4) for head in (1, 2, 3)]
    values = [as_number(call(lag_by_you, head, grid), "lag(head, grid)") for head, grid in cases]

    def same(formula: Callable[[int, float], float]) -> bool:
        return all(
            math.isclose(value, formula(head, mean_step_size("uniform", grid)), rel_tol=1e-3)
            for value, (head, grid) in zip(values, cases, strict=True)
        )

    def right(head: int, step: float) -> float:
        return expected_lag("uniform", round(0.5 / step), head, ratio=2)

    if not same(right):
        for formula, hint in (
            (
                lambda i, e: (i + 1) / 2 * e,
                "That is the lag at equal weights. Here the catch-up loss counts twice: take the mean of both targets "
                "anew, first for head 1.",
            ),
            (
                lambda i, e: 2 * right(i, e),
                "Twice too long. Is the mean of h, drawn evenly from 0 to 1/T_N, really 1/T_N?",
            ),
            (
                lambda i, e: (i + 2) * e,
                "So far ahead the TARGET looks. But it has two thirds of the weight: the data hold the velocity back.",
            ),
            (
                lambda i, e: i * e,
                "So far ahead the head's target is ASKED. But that target, head 1, looks ahead itself, and it has only "
                "two thirds of the weight.",
            ),
            (lambda i, e: 2 * i * e / 3, "Right, if head 1 did not look ahead. It does: its own lag comes on top."),
            (
                lambda i, e: 2 * (i + 1) * e / 3,
                "Nearly. You gave head 1 the lag E[h], which it has at equal weights: with w1 = 2 w2 it is longer.",
            ),
            (lambda i, e: right(1, e), "That is the lag of head 1 for all of them: head i looks i steps ahead."),
            (lambda i, e: 1 / right(i, e), "Upside down: the lag is a time, smaller than 1."),
        ):
            if same(formula):
                raise NotYet(hint)
        if values[:3] == values[3:]:
            raise NotYet("Your lag is the same for T_N = 16 and T_N = 4: a smaller grid constant looks further ahead.")
        if min(values) < 0:
            raise NotYet("A lag is a length of time, counted towards the data: it is positive.")
        raise NotYet(
            "Start with head 1. Its velocity is one third the data's, lag 0, and two thirds its own, a step of mean "
            "size E[h] ahead: solve for its lag. Then head i, whose target is head 1."
        )
    wanted = 1 / (2 * 6)  # Euler reads the velocity at the start of a step, and the middle of it is best
    if predicted != min((1, 2, 3), key=lambda head: abs(values[head - 1] - wanted)):
        suited = round(1 / (2 * values[int(predicted) - 1]))
        raise NotYet(
            "Your formula is right, your prediction is not. Euler with N steps wants a lag of half a step, 1/(2N): "
            f"head {predicted:g} would suit about {suited} steps."
        )
    errors = {head: euler_error(values[head - 1], 6) for head in (1, 2, 3)}
    measured = ", ".join(f"head {head}: {error:.4f}" for head, error in errors.items())
    return (
        f"Measured with 6 Euler steps on a Gaussian whose flow is known, error of the spread: {measured}; no lag: "
        f"{euler_error(0, 6):.4f}. Try `check.euler_error(lag, steps)` with other numbers of steps."
    )


# --- 6 -----------------------------------------------------------------------------------------------------------


class _SmallNet(nn.Module):
    def __init__(self):
        super().__init__()
        chance = generator(derive_seed(0, "exercise", "net"))
        self.inner = nn.Parameter(torch.randn(3, 8, generator=chance, dtype=torch.float64))
        self.outer = nn.Parameter(torch.randn(8, 2, generator=chance, dtype=torch.float64))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(torch.cat([x, t.reshape(-1, 1)], dim=1) @ self.inner) @ self.outer


def _gradient(loss: Tensor, model: nn.Module) -> Tensor:
    parts = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, retain_graph=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(model.parameters(), parts)]  # noqa: B905
    )


@checked("A leak in the target")
def leak(leaky_loss: Callable, what_happens: Any) -> str:
    """The RK12 catch-up loss with the gradient running into its target, and which of three sentences is true."""
    model, x = _SmallNet(), _points("leak", dtype=torch.float64)
    t, h = torch.linspace(0.4, 1.0, 6, dtype=torch.float64), torch.linspace(0.3, 0.1, 6, dtype=torch.float64)
    answered(what_happens)
    loss = call(leaky_loss, model, x, t, h)
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        raise NotYet("Return the loss as one number in a tensor without dimensions: the mean over samples and axes.")
    if not loss.requires_grad:
        raise NotYet("Your loss has no gradient at all: no `.item()`, and no `torch.no_grad()` around the prediction.")

    step, prediction = expand_time(h, x), model(x, t)
    half = model(x - step * prediction.detach(), t - h)
    leaking = model(x - step * prediction, t - h)

    def distance(target: Tensor, start: Tensor = prediction) -> Tensor:
        return (start - target).square().mean()

    if not close(loss.detach(), distance(leaking).detach()):
        for wrong, hint in (
            (
                model(x + step * prediction, t - h),
                "The look-ahead goes towards the noise: subtract h times the velocity.",
            ),
            (model(x - step * prediction, t), "The target is asked at t: its time is t - h."),
            (model(x, t - h), "The target is asked at x: move to the look-ahead point first."),
        ):
            if close(loss.detach(), distance(wrong).detach()):
                raise NotYet(hint)
        raise NotYet(
            "The VALUE of the loss should be as ever: only its gradient is to be broken. Compare the point, the time "
            "and the mean."
        )

    yours, honest, broken = (_gradient(one, model) for one in (loss, distance(leaking.detach()), distance(leaking)))
    if close(yours, honest):
        raise NotYet("Your loss is still sound: its target is cut off. Remove the `no_grad` or `detach` around it.")
    if close(yours, _gradient(distance(half), model)):
        raise NotYet("Half a leak: the target lets the gradient in, but the step to the point is still cut off.")
    if close(yours, _gradient(distance(leaking, prediction.detach()), model)):
        raise NotYet("You cut off the prediction instead: then nothing learns from the target at all.")
    if not close(yours, broken):
        raise NotYet("The value is right, and the gradient is neither the sound nor the leaking one: cut nothing off.")
    choice = what_happens.strip().lower() if isinstance(what_happens, str) else None
    if choice not in ("a", "b", "c"):
        raise NotYet("The leak is there. Now choose `what_happens`: one of the letters a, b and c, in quotes.")
    if choice == "a":
        raise NotYet("The value is the same, but training follows the gradient: compare the two gradients.")
    if choice == "c":
        raise NotYet("They move together, but not alike: the gradient of your leaking loss is not zero. Print it.")
    cosine = torch.nn.functional.cosine_similarity(honest, broken, dim=0).item()
    return (
        f"Same value, another gradient: the cosine between the sound and the leaking one is {cosine:.2f}. No loss "
        "curve shows this; a test on gradients does."
    )


# --- 7 -----------------------------------------------------------------------------------------------------------


def _end(rule: Callable, x: Tensor, steps: int, velocity: Callable = nonlinear) -> Tensor:
    *_, (end, _) = rule(velocity, x, uniform_times(steps))
    return end


def _two_velocities(newest: float, last: float) -> Callable:
    """A walk along ``newest`` times the newest velocity plus ``last`` times the one before; Euler's first step."""

    def rule(velocity: Callable, x: Tensor, times: list[float]):
        before = None
        for t, t_next in pairwise(times):
            now = velocity(x, t)
            x = x - (t - t_next) * (now if before is None else newest * now + last * before)
            yield x, now
            before = now

    return rule


def _towards_noise(velocity: Callable, x: Tensor, times: list[float]):
    return dpm_solver_2(lambda y, t: -velocity(y, t), x, times)


def _stale(velocity: Callable, x: Tensor, times: list[float]):
    first = velocity(x, times[0])
    for t, t_next in pairwise(times):
        x = x - (t - t_next) * (1.5 * velocity(x, t) - 0.5 * first)
        yield x, first


@checked("A two-step sampler")
def sampler(sampler_by_you: Callable) -> str:
    """Adams-Bashforth 2 from t = 1 to t = 0: its cost in network calls, and its order on a nonlinear equation."""
    x = torch.tensor([[0.3], [-0.8], [1.1]], dtype=torch.float64)
    velocity, steps = _Watched(nonlinear), 16
    value = as_tensor(call(sampler_by_you, velocity, x, steps), x.shape, "what your sampler returns")
    times = [float(t.reshape(-1)[0]) for t in velocity.times]
    if not times:
        raise NotYet("Your sampler never asks for the velocity.")
    if len(times) != steps:
        price = (
            "twice as many: the last velocity is already known, so keep it instead of asking again"
            if len(times) in (2 * steps, 2 * steps - 1)
            else "one call a step is wanted"
        )
        raise NotYet(f"{steps} steps cost your sampler {len(times)} network calls, {price}.")
    if abs(times[0]) < 1e-6:
        raise NotYet("Your clock starts at t = 0, the data end: sampling starts at the noise, t = 1, and walks down.")
    if any(abs(a - b) > 1e-6 for a, b in zip(times, uniform_times(steps), strict=False)):
        first = ", ".join(f"{t:g}" for t in times[:3])
        raise NotYet(f"The velocities are asked at the wrong times, {first}, ...: step i starts at 1 - i h.")
    for rule, hint in (
        (euler, "That is Euler's walk: the velocity before has no say in it yet."),
        (_towards_noise, "Your steps go towards the noise: subtract h times the slope from x."),
        (
            _two_velocities(0.5, 0.5),
            "The mean of the last two velocities looks BACK. Extend the line through them over the coming step.",
        ),
        (_two_velocities(-0.5, 1.5), "The weights are the wrong way round: the newest velocity counts more."),
        (
            _two_velocities(2.0, -1.0),
            "You extended the line to the END of the coming step. Its mean over the step is its value in the middle.",
        ),
        (_stale, "The velocity before is always the first one: keep the newest at the end of each step."),
    ):
        if close(value, _end(rule, x, steps)) and not close(value, _end(dpm_solver_2, x, steps)):
            raise NotYet(hint)
    one = as_tensor(call(sampler_by_you, nonlinear, x, 1), x.shape, "with one step, what your sampler returns")
    if not close(one, _end(euler, x, 1)):
        raise NotYet("With one step there is no velocity before: the first step should be Euler's.")
    exact = _end(rk4, x, 400)
    errors = [
        (as_tensor(call(sampler_by_you, nonlinear, x, n), x.shape, "the result") - exact).abs().max().item()
        for n in (64, 128)
    ]
    order = math.log2(max(errors[0], 1e-15) / max(errors[1], 1e-15))
    if order < 1.7 or errors[1] > 0.01:
        raise NotYet(
            f"Twice the steps should divide the error by four. Yours goes from {errors[0]:.2g} (64 steps) to "
            f"{errors[1]:.2g} (128 steps): order {order:.1f}. Do the two weights sum to 1, and is the middle of the "
            "coming step where they look?"
        )
    rough = (_end(euler, x, 128) - exact).abs().max().item()
    return (
        f"Measured order {order:.2f}, at one network call a step. With 128 steps the error is {errors[1]:.1e}; Euler, "
        f"for the same money, has {rough:.1e}."
    )


# --- 8 -----------------------------------------------------------------------------------------------------------


@checked("A comparison in an abstract")
def images_seen(catch_up: Any, consistency: Any, ratio: Any, reasons: Any) -> str:
    """Training images of both methods, in millions; their ratio; and which of four objections hold."""
    for name, value, iterations, batch in (
        ("catch_up", catch_up, 620_000, 128),
        ("consistency", consistency, 2_100_000, 256),
    ):
        number, right = as_number(value, name), iterations * batch / 1e6
        if math.isclose(number, right, rel_tol=0.02):
            continue
        if math.isclose(number, right * 1e6, rel_tol=0.02):
            raise NotYet(f"`{name}` is right in images: give it in millions.")
        if math.isclose(number, right / 1e3, rel_tol=0.02) or math.isclose(number, right * 1e3, rel_tol=0.02):
            raise NotYet(
                f"`{name}` is off by a factor of a thousand: the k in the abstract means thousands of iterations."
            )
        if math.isclose(number, iterations / 1e6, rel_tol=0.02):
            raise NotYet(f"`{name}` counts iterations: each of them sees a whole batch of {batch} images.")
        if name == "catch_up" and math.isclose(number, 64.0, rel_tol=0.01):
            raise NotYet(
                "`catch_up` leaves out the second session: the one-step figure needs the total, 620k iterations."
            )
        raise NotYet(f"`{name}` is not right yet: images seen = iterations times batch size.")
    ratio, right = as_number(ratio, "ratio"), 2_100_000 * 256 / (620_000 * 128)
    if math.isclose(ratio, 1 / right, rel_tol=0.03):
        raise NotYet("`ratio` is upside down: how many times as many images did consistency distillation see?")
    if math.isclose(ratio, 2_100 / 620, rel_tol=0.03):
        raise NotYet("`ratio` compares iterations: the batches differ too.")
    if not math.isclose(ratio, right, rel_tol=0.03):
        raise NotYet("`ratio` should be the second number divided by the first.")
    answered(reasons)
    if isinstance(reasons, str):
        reasons = reasons.replace(",", " ").replace(" ", "")
    elif not isinstance(reasons, set | frozenset | list | tuple):
        raise NotYet('`reasons` should be a set of letters, such as {"a", "d"}.')
    chosen = {letter.strip().lower() if isinstance(letter, str) else "?" for letter in reasons}
    if not chosen or not chosen <= set("abcd"):
        raise NotYet('`reasons` should name some of the letters a, b, c and d, such as {"a", "d"}.')
    if "d" in chosen:
        raise NotYet("Objection d does not hold: images seen is iterations times batch, whatever the batch is.")
    for letter, hint in {
        "a": "One objection is missing. What does one iteration of catch-up cost beside one of plain flow matching?",
        "b": "One objection is missing. Is the other method's figure the same in every source?",
        "c": "One objection is missing. What had to be trained before consistency DISTILLATION could begin?",
    }.items():
        if letter not in chosen:
            raise NotYet(hint)
    other = 800_000 * 512
    return (
        f"With the other source the same comparison gives {other / 1e6:.0f} million images and a ratio of "
        f"{other / (620_000 * 128):.1f} instead of {right:.1f}. A number that depends on whom you ask is a claim, "
        "not a fact."
    )


# --- 9 -----------------------------------------------------------------------------------------------------------


@checked("Open project: a longer look-ahead")
def project(report: Any) -> str:
    """The form of a report, and whether its verdicts follow from its own numbers. No experiment is judged here."""
    seeds = seeds_of(report)

    def enough(table: Table) -> str | None:
        if len(table) < 4 or min(table) > 2 or max(table) < 16:
            return "Measure four numbers of network calls or more, from 2 or fewer to 16 or more."
        return None

    note = undecided(report, lambda rows, name: _table(rows, name, seeds), enough, CALLS)
    return (
        f"Your verdicts follow from your numbers.{note} Does your explanation predict what still longer steps would do?"
    )


CALLS = Words("numbers of calls", "calls", "distance", "lower", "higher")


def _table(rows: Any, name: str, seeds: int) -> dict[int, list[float]]:
    """{calls: [distance of each seed]}, or a hint."""
    if not isinstance(rows, Mapping):
        raise NotYet(f'"{name}" should be a dictionary: number of calls -> list of distances, one a seed.')
    table = {}
    for calls, values in rows.items():
        if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
            raise NotYet(f'The keys of "{name}" are numbers of network calls: whole numbers from 1.')
        if not isinstance(values, list | tuple):
            raise NotYet(f'"{name}" at {calls} calls should be a list of distances, one a seed.')
        if len(values) != seeds:
            raise NotYet(f'"{name}" at {calls} calls has {len(values)} distances for {seeds} seeds.')
        table[calls] = [as_number(value, f"{name}[{calls}]") for value in values]
        if min(table[calls]) <= 0:
            raise NotYet(f'"{name}" at {calls} calls has a distance that is not positive: nothing is that good.')
    return table
