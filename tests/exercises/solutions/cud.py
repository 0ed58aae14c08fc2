"""Solutions of chapter 1's exercises. Each fills the holes of one stub and changes nothing else."""

import torch

# 1. One look-ahead step by hand: k1 = v(2, 1/2) = 6 - 2 = 4, X = 2 - 4/4 = 1, target = v(1, 1/4) = 3 - 1 = 2
point = 2 - (3 * 2 - 4 * 0.5) / 4
target = 3 * point - 4 * (0.5 - 0.25)


# 2. A velocity from the other clock: the same path, walked the other way round
def in_our_time(theirs):
    """theirs(x, s) has noise at s = 0 and data at s = 1; returns a velocity of ours."""

    def ours(x, t):
        return -theirs(x, 1 - t)

    return ours


# 3. The look-ahead point of RK23
def look_ahead_by_you(velocity, x, t, h):
    """X at t - h, (batch, 2), for points x (batch, 2), times t and steps h (batch,)."""
    step = h[:, None]
    k1 = velocity(x, t)
    k2 = velocity(x - step * k1, t - h)
    slope = (k1 + k2) / 2
    return x - step * slope


# 4. The targets near the data end: the furthest head decides for all
def masked_targets_by_you(targets, ground_truth, t, h):
    """K targets in, K targets out, each (batch, 2); t and h are (batch,)."""
    smallest_time, heads = 1e-5, len(targets)
    near_data = t < smallest_time + heads * h
    return [torch.where(near_data[:, None], ground_truth, target) for target in targets]


# 5. Which head for six steps? E[h] = 1/(2 T_N). Head 1: λ = 2/3 (λ + E[h]), so λ = 2 E[h].
#    Head i: λ_i = 2/3 (2 E[h] + i E[h]). Six steps want 1/12 = 2/3 (i + 2) / 32, so i = 2.
head_for_6_steps = 2


def lag_by_you(head, grid):
    """λ of one head, for steps h drawn evenly between 0 and 1/grid, and w1 = 2 w2."""
    return (head + 2) / (3 * grid)


# 6. A leak in the target
def leaky_loss(model, x, t, h):
    """The RK12 catch-up loss of one head, with the gradient running into the target, too."""
    prediction = model(x, t)
    point = x - h[:, None] * prediction
    target = model(point, t - h)
    return torch.nn.functional.mse_loss(prediction, target)


what_happens = "b"


# 7. A two-step sampler: the line through the last two velocities, read in the middle of the coming step
def sampler_by_you(velocity, x, steps):
    """Carry x from t = 1 to t = 0 in equal steps, with one call of velocity(x, t) a step."""
    h, before = 1 / steps, None
    for i in range(steps):
        now = velocity(x, 1 - i * h)
        slope = now if before is None else now + (now - before) / 2
        x, before = x - h * slope, now
    return x


# 8. A comparison in an abstract
catch_up = 620_000 * 128 / 1e6
consistency = 2_100_000 * 256 / 1e6
ratio = consistency / catch_up
reasons = {"a", "b", "c"}


# 9. Open project: one of many answers
def run_project(seeds=(0, 1), calls=(1, 2, 4, 8, 16, 64), steps=3000):
    """The report of your experiment: a dictionary with the keys of the task."""
    from dataclasses import replace

    from lib.cud.config import CatchUpConfig, toy
    from lib.cud.evaluate import make_judge, quality
    from lib.cud.fit import Run
    from lib.cud.train import load_data, train

    points = load_data("ring")
    judge = make_judge(points, load_data("ring", "test")[:4000])
    config = replace(toy(), optimiser=replace(toy().optimiser, steps=steps))
    methods = {
        "baseline": config,
        "changed": replace(config, catch_up=CatchUpConfig(grid=2, step_size="fixed")),
    }
    report = {"change": "T_N = 2 and a fixed step, instead of T_N = 16 and uniform steps", "seeds": list(seeds)}
    for name, method in methods.items():
        flows = [train(method, points, Run(seed=seed, progress=False)) for seed in seeds]
        runs = [quality(flow, judge, calls, samples=2000, seed=seed) for flow, seed in zip(flows, seeds, strict=True)]
        report[name] = {n: [run[n] for run in runs] for n in calls}
    pairs = {n: list(zip(report["changed"][n], report["baseline"][n], strict=True)) for n in calls}
    report["wins"] = [n for n in calls if all(changed < base for changed, base in pairs[n])]
    report["loses"] = [n for n in calls if all(changed > base for changed, base in pairs[n])]
    report["conclusion"] = (
        "The lag is now half a unit of time: that suits one or two steps, and with many small steps it is a plain "
        "error."
    )
    return report


report = run_project()

OPEN = ("run_project", "report")  # has no one solution: not searched for in the book
QUICK = {"report": "run_project(calls=(1, 2, 4, 16), steps=20)"}  # what the tests run instead
