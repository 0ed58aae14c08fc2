"""Chapter 1: every common mistake gets its own hint, and what the checks call right is right."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from lib.exercises import cud as check
from tests.exercises.answers import nothing_makes_it_stumble, refuse, solutions

NOT_TRAINED = {
    "change": "T_N = 2", "seeds": [0, 1], "wins": [1], "loses": [16],
    "baseline": {1: [2.0, 2.1], 2: [1.0, 1.1], 4: [0.5, 0.6], 16: [0.1, 0.2]},
    "changed": {1: [1.0, 1.1], 2: [0.9, 1.2], 4: [0.6, 0.5], 16: [0.3, 0.4]},
    "conclusion": "Few calls gain and many calls lose, because the lag is longer now.",
}  # fmt: skip


@pytest.fixture(scope="module")
def right():
    return solutions("cud")


@pytest.mark.parametrize(
    ("point", "target", "words"),
    [
        (3, 2, "towards the noise"), (-2, 2, "step is h"), (1.5, 2, "not right yet"), (1, 1, "old time"),
        (1, 5, "old place"), (1, 4, "at the start"), (1, 0, "t + h"), (1, 7, "put the point"), (2, 1, "wrong order"),
        ("1", 2, "text"), (1, [2], "`target` should be one number"),
    ],
)  # fmt: skip
def test_by_hand(point, target, words):
    refuse(check.by_hand(point, target), words)


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        (lambda v: v, "Nothing is turned round"),
        (lambda v: lambda x, t: -v(x, t), "the clock is not"),
        (lambda v: lambda x, t: v(x, 1 - t), "the arrow is not"),
        (lambda v: lambda x, t: -v(-x, 1 - t), "point itself"),
        (lambda v: lambda x, t: x, "one straight path"),
        (lambda v: v(torch.ones(1, 2), 0.5), "return a function"),
        (lambda v: lambda x, t: -v(x, 1 - t).sum(), "shape ()"),
    ],
)
def test_other_clock(ours, words):
    refuse(check.other_clock(ours), words)


HEUN = [
    ("x - s * k1", "RK12's point"),
    ("x - s * v(x - s * k1, t - h)", "second slope alone"),
    ("x + s * (k1 + v(x - s * k1, t - h)) / 2", "towards the noise"),
    ("x + s * (k1 + v(x + s * k1, t - h)) / 2", "towards the noise"),
    ("x - s * (k1 + v(x - s * k1, t)) / 2", "belongs to the time t - h"),
    ("x - s * (k1 + v(x - s * k1, t + h)) / 2", "at t + h"),
    ("x - s * (k1 + v(x, t - h)) / 2", "at x itself"),
    ("x - s * (k1 + v(x + s * k1, t - h)) / 2", "trial step"),
    ("x - s * (k1 + v(x - s * k1, t - h))", "twice too long"),
    ("x - s * v(x - s / 2 * k1, t - h / 2)", "midpoint rule"),
    ("(k1 + v(x - s * k1, t - h)) / 2", "That is the slope"),
    ("x - s * (v(x, t) + v(x - s * k1, t - h)) / 2", "3 network calls"),
    ("x - h * (k1 + v(x - s * k1, t - h)) / 2", "RuntimeError"),
    ("x - s * (k1 + v(t - h, x)) / 2", "points of shape"),
    ("[x]", "returns 1 things"),
    ("x * 0", "slopes one by one"),
    ("x[:3]", "shape (3, 2)"),
    ("x / 0", "infinite"),
]


@pytest.mark.parametrize(("formula", "words"), HEUN)
def test_look_ahead(formula, words):
    def answer(velocity, x, t, h):
        return eval(formula, {"x": x, "t": t, "h": h, "s": h[:, None], "k1": velocity(x, t), "v": velocity})

    refuse(check.look_ahead(answer), words)


MASKS = [
    ("list(targets)", "No sample is masked"),
    ("[u for _ in targets]", "Every sample"),
    ("[where(near, y, u) for y in targets]", "wrong way round"),
    ("[where((t < e + h)[:, None], u, y) for y in targets]", "one step ahead"),
    ("[where((t < e + i * h)[:, None], u, y) for i, y in enumerate(targets, 1)]", "mask of its own"),
    ("[where((t < K * h)[:, None], u, y) for y in targets]", "1e-5"),
    ("[where(near, 0 * u, y) for y in targets]", "are zero"),
    ("[where(near, 2 * u, y) for y in targets]", "wrong samples"),
    ("[where(t < e + K * h, u, y) for y in targets]", "RuntimeError"),
    ("where(near, u, targets[0])", "a list"),
    ("targets[:1]", "1 come out"),
    ("[y[0] for y in targets]", "shape (2,)"),
]


@pytest.mark.parametrize(("formula", "words"), MASKS)
def test_masked_targets(formula, words):
    def answer(targets, u, t, h):
        near = (t < 1e-5 + len(targets) * h)[:, None]
        names = {"targets": targets, "u": u, "t": t, "h": h, "e": 1e-5, "K": len(targets), "near": near}
        return eval(formula, {**names, "where": torch.where})

    refuse(check.masked_targets(answer), words)


def test_masked_targets_may_be_one_stacked_tensor(right):
    assert check.masked_targets(lambda *given: torch.stack(right["masked_targets_by_you"](*given))).passed


LAGS = [
    (1, lambda i, n: (i + 2) / (3 * n), "suit about 8 steps"),
    (3, lambda i, n: (i + 2) / (3 * n), "suit about 5 steps"),
    (4, lambda i, n: (i + 2) / (3 * n), "heads 1, 2 and 3"),
    (2, lambda i, n: (i + 1) / (4 * n), "equal weights"),
    (2, lambda i, n: 2 * (i + 2) / (3 * n), "Twice too long"),
    (2, lambda i, n: (i + 2) / (2 * n), "two thirds of the weight: the data"),
    (2, lambda i, n: i / (2 * n), "looks ahead itself"),
    (2, lambda i, n: i / (3 * n), "its own lag comes on top"),
    (2, lambda i, n: (i + 1) / (3 * n), "Nearly"),
    (2, lambda i, n: 1 / n, "lag of head 1 for all"),
    (2, lambda i, n: 3 * n / (i + 2), "Upside down"),
    (2, lambda i, n: (i + 2) / 48, "same for T_N"),
    (2, lambda i, n: -(i + 2) / (3 * n), "positive"),
    (2, lambda i, n: i * i / n, "Start with head 1"),
    (2, lambda i, n: "1/12", "text"),
]


@pytest.mark.parametrize(("head", "formula", "words"), LAGS)
def test_lag(head, formula, words):
    refuse(check.lag(head, formula), words)


LEAKS = [
    ("mse(p, cut(model(x - s * p, t - h)))", "b", "still sound"),
    ("mse(p, model(x - s * cut(p), t - h))", "b", "Half a leak"),
    ("mse(cut(p), model(x - s * p, t - h))", "b", "cut off the prediction"),
    ("mse(p, model(x + s * p, t - h))", "b", "towards the noise"),
    ("mse(p, model(x - s * p, t))", "b", "asked at t"),
    ("mse(p, model(x, t - h))", "b", "asked at x"),
    ("mse(p, model(x - s * p, t - h)) * 2", "b", "VALUE"),
    ("mse(p, model(x - s * p, t - h)).item()", "b", "one number in a tensor"),
    ("mse(p, model(x - s * p, t - h)).detach()", "b", "no gradient at all"),
    ("mse(p, model(x - s * cut(p), t - h)) + 0 * p.sum() + (p - cut(p)).sum()", "b", "neither the sound"),
    ("(p - model(x - s * p, t - h)) ** 2", "b", "mean over samples"),
    ("mse(p, model(x - s * p, t - h))", "a", "follows the gradient"),
    ("mse(p, model(x - s * p, t - h))", "c", "is not zero"),
    ("mse(p, model(x - s * p, t - h))", "d", "letters"),
    ("mse(p, model(x - s * p, t - h))", 2, "letters"),
    ("mse(p, model(x - s * p, t - h))", ..., "dots"),
]


@pytest.mark.parametrize(("formula", "choice", "words"), LEAKS)
def test_leak(formula, choice, words):
    def answer(model, x, t, h):
        names = {"model": model, "x": x, "t": t, "h": h, "s": h[:, None], "p": model(x, t)}
        return eval(formula, {**names, "mse": torch.nn.functional.mse_loss, "cut": torch.Tensor.detach})

    refuse(check.leak(answer, choice), words)


def test_the_leak_does_cancel_the_look_ahead():
    """The letter that the check calls right, on a table of velocities v(t): minimise both losses and find the lag."""
    times, shift = np.linspace(0, 2 * math.pi, 400, endpoint=False), 8
    u, eye = np.sin(times), np.eye(400)
    ahead = np.roll(eye, -shift, axis=1)  # (ahead v)(t) = v(t - shift), on a circle
    sound = np.linalg.solve(2 * eye - ahead, u)  # each v(t) is the mean of u(t) and the target v(t - h)
    difference = eye - ahead
    leaking = np.linalg.solve(eye + difference.T @ difference, u)  # the minimum of |v - u|² + |v - v(t - h)|²

    def lag(v):
        return -(v @ np.cos(times)) / (v @ np.sin(times)) / (times[1] * shift)  # in steps h, for a sine

    assert lag(sound) == pytest.approx(1, abs=0.05)
    assert lag(leaking) == pytest.approx(0, abs=1e-9)


def walk(newest, last, sign=1.0, clock=lambda t, h: t, stale=False):
    """A two-step sampler with these weights."""

    def sampler(velocity, x, steps):
        h, before = 1 / steps, None
        for i in range(steps):
            now = velocity(x, clock(1 - i * h, h))
            slope = now if before is None else newest * now + last * before
            x = x - sign * h * slope
            before = before if stale and before is not None else now
        return x

    return sampler


def heun(velocity, x, steps):
    h = 1 / steps
    for i in range(steps):
        v = velocity(x, 1 - i * h)
        x = x - h / 2 * (v + velocity(x - h * v, 1 - i * h - h))
    return x


def needs_two_steps(velocity, x, steps):
    return x if steps == 1 else walk(1.5, -0.5)(velocity, x, steps)


SAMPLERS = [
    (walk(1, 0), "Euler's walk"),
    (walk(0.5, 0.5), "looks BACK"),
    (walk(-0.5, 1.5), "wrong way round"),
    (walk(2, -1), "END of the coming step"),
    (walk(1.5, -0.5, sign=-1), "towards the noise"),
    (walk(1.5, -0.5, stale=True), "always the first one"),
    (walk(1.5, -0.5, clock=lambda t, h: 1 - t), "starts at t = 0"),
    (walk(1.5, -0.5, clock=lambda t, h: t - h), "wrong times"),
    (walk(1.5, 0.5), "sum to 1"),
    (walk(1.2, -0.2), "order 1."),
    (heun, "32 network calls, twice as many"),
    (lambda v, x, n: walk(1.5, -0.5)(v, x, n + 1), "17 network calls, one call a step"),
    (lambda v, x, n: x, "never asks"),
    (lambda v, x, n: [walk(1.5, -0.5)(v, x, n)], "a list"),
    (needs_two_steps, "With one step"),
    (lambda v, x, n: x.sub_(walk(1.5, -0.5)(v, x, n)), "in place"),
]


@pytest.mark.parametrize(("sampler", "words"), SAMPLERS)
def test_sampler(sampler, words):
    refuse(check.sampler(sampler), words)


GOOD = {"catch_up": 79.36, "consistency": 537.6, "ratio": 6.77, "reasons": {"a", "b", "c"}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"catch_up": 79.36e6}, "in millions"),
        ({"catch_up": 0.07936}, "thousand"),
        ({"catch_up": 0.62}, "whole batch"),
        ({"catch_up": 64}, "second session"),
        ({"consistency": 2.1}, "whole batch"),
        ({"consistency": 100}, "times batch"),
        ({"ratio": 1 / 6.77}, "upside down"),
        ({"ratio": 3.387}, "the batches differ"),
        ({"ratio": 2}, "divided by"),
        ({"reasons": {"b", "c"}}, "What does one iteration"),
        ({"reasons": {"a", "c"}}, "every source"),
        ({"reasons": ["a", "b"]}, "DISTILLATION"),
        ({"reasons": "abcd"}, "d does not hold"),
        ({"reasons": 5}, "set of letters"),
        ({"reasons": set()}, "some of the letters"),
        ({"reasons": {"e", 1}}, "some of the letters"),
        ({"reasons": None}, "dots"),
    ],
)
def test_images_seen(change, words):
    assert check.images_seen(**GOOD).passed
    refuse(check.images_seen(**{**GOOD, **change}), words)


@pytest.mark.parametrize("letters", ["a, b, c", "ABC", ["c", "b", "a"]])
def test_letters_may_be_written_as_one_likes(letters):
    assert check.images_seen(**{**GOOD, "reasons": letters}).passed


PROJECTS = [
    (lambda r: r.pop("wins"), 'no "wins"'),
    (lambda r: r.update(change=...), "dots"),
    (lambda r: r.update(seeds=[0]), "Two different seeds"),
    (lambda r: r.update(seeds=[3, 3]), "Two different seeds"),
    (lambda r: r.update(seeds=[0, 1, 2]), "2 distances for 3 seeds"),
    (lambda r: r["changed"].pop(4), "different numbers of calls"),
    (lambda r: (r["changed"].pop(4), r["baseline"].pop(4)), "four numbers"),
    (lambda r: r.update(changed=r["baseline"]), "very same numbers"),
    (lambda r: r.update(changed={n: [1.0, 1.0] for n in r["changed"]}), "does the seed reach"),
    (lambda r: r["changed"].update({4: [0.1, math.nan]}), "finite"),
    (lambda r: r["changed"].update({4: [0.1, 0.0]}), "not positive"),
    (lambda r: r["changed"].update({4: 0.1}), "list of distances"),
    (lambda r: r["changed"].update({"4": [0.1, 0.2]}), "whole numbers"),
    (lambda r: r.update(baseline=[1, 2]), "number of calls -> list"),
    (lambda r: r.update(wins=[1, 2]), '"wins" lists 2'),
    (lambda r: r.update(wins=[]), '"wins" leaves out 1'),
    (lambda r: r.update(loses=[]), '"loses" leaves out 16'),
    (lambda r: r.update(wins="all"), "an empty list"),
    (lambda r: r.update(conclusion="It wins."), "ten words"),
    (lambda r: r.update(change=" "), "what you changed"),
]


@pytest.mark.parametrize(("spoil", "words"), PROJECTS)
def test_project(spoil, words):
    report = copy.deepcopy(NOT_TRAINED)
    assert check.project(report).passed
    assert "Undecided between the seeds: 2, 4 calls" in check.project(report).hint
    spoil(report)
    refuse(check.project(report), words)
    refuse(check.project([report]), "a dictionary")


CHECKS = {
    "by_hand": ("point", "target"),
    "other_clock": ("in_our_time",),
    "look_ahead": ("look_ahead_by_you",),
    "masked_targets": ("masked_targets_by_you",),
    "lag": ("head_for_6_steps", "lag_by_you"),
    "leak": ("leaky_loss", "what_happens"),
    "sampler": ("sampler_by_you",),
    "images_seen": ("catch_up", "consistency", "ratio", "reasons"),
    "project": ("report",),
}


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_makes_a_check_stumble(name, right):
    answers = [NOT_TRAINED if key == "report" else right[key] for key in CHECKS[name]]
    nothing_makes_it_stumble(getattr(check, name), answers, [0])


def test_the_error_of_a_lag_is_what_brute_force_finds():
    """Gaussian data of spread 1/2: the marginal velocity by its formula, the path by SciPy, then Euler by hand."""

    def velocity(x, t):
        return (t - (1 - t) * 0.25) / ((1 - t) ** 2 * 0.25 + t * t) * x  # E[x1 - x0 | x_t = x]

    def along(x, start, end):
        if start == end:
            return x
        return solve_ivp(lambda t, y: velocity(y, t), (start, end), [x], rtol=1e-11, atol=1e-12).y[0, -1]

    assert along(1.0, 1.0, 0.0) == pytest.approx(0.5, abs=1e-8)
    for lag, steps in ((0.0, 4), (1 / 16, 8), (0.1, 5)):
        x = 1.0
        for i in range(steps):
            t = 1 - i / steps
            x -= velocity(along(x, t, max(t - lag, 0)), max(t - lag, 0)) / steps
        assert check.euler_error(lag, steps) == pytest.approx(abs(x - 0.5), abs=1e-7)


@pytest.mark.parametrize(("steps", "best"), [(6, 2), (8, 1)])
def test_the_head_that_the_check_calls_best_is_best(steps, best, right):
    errors = {head: check.euler_error(right["lag_by_you"](head, 16), steps) for head in (1, 2, 3)}
    assert min(errors, key=errors.get) == best
    assert errors[best] < 0.2 * check.euler_error(0, steps)


def test_the_reference_of_the_sampler_is_the_exact_answer():
    start = [0.3, -0.8, 1.1]
    exact = solve_ivp(
        lambda t, x: np.sin(3 * x) + np.cos(2 * t) * x, (1, 0), start, rtol=1e-12, atol=1e-12, method="DOP853"
    )
    end = check._end(check.rk4, torch.tensor(start, dtype=torch.float64)[:, None], 400)
    assert end.flatten().tolist() == pytest.approx(exact.y[:, -1].tolist(), abs=1e-8)
