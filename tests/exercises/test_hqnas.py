"""Chapter 2: every common mistake gets its own hint, and what the checks call right is right."""

import copy
import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib.exercises import hqnas as check
from lib.hqnas.config import scaled
from lib.hqnas.gates import Gates, hard_gate
from lib.hqnas.hardware.bitfusion import SMALL
from lib.hqnas.model import FixedBlock
from lib.hqnas.space import SearchSpace
from lib.training.multiplies import count_multiplies
from tests.exercises.answers import nothing_makes_it_stumble, refuse, solutions

NOT_SEARCHED = {
    "change": "clip shared", "seeds": [0, 1], "wins": [0.15], "loses": [0.5],
    "costs": {
        "baseline": {0.15: [0.15, 0.14], 0.25: [0.25, 0.25], 0.5: [0.5, 0.5]},
        "changed": {0.15: [0.15, 0.15], 0.25: [0.25, 0.24], 0.5: [0.5, 0.5]},
    },
    "baseline": {0.15: [0.10, 0.12], 0.25: [0.05, 0.06], 0.5: [0.02, 0.02]},
    "changed": {0.15: [0.08, 0.09], 0.25: [0.04, 0.07], 0.5: [0.03, 0.04]},
    "conclusion": "Tight budgets gain and wide ones lose, since a shared range wastes the levels of few bits.",
}  # fmt: skip


@pytest.fixture(scope="module")
def right():
    return solutions("hqnas")


# --- 1 -----------------------------------------------------------------------------------------------------------

HAND = {
    "q_2": [85, 0, 0], "r_4": [17, -34, 17], "r_8": [-2, -6, 3], "patterns": [85, 102, 85, 100], "values_of_r_4": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("q_2", [1, 0, 0], "multiply them by the step"), ("q_2", [127.5, -63.75, 0], "2m/4"),
        ("q_2", [85, -85, 0], "rounded down"), ("q_2", [102, -34, 17], "at 4 bits"), ("q_2", [127.5, 0, 0], "±m"),
        ("q_2", [85, 85, 0], "nearest?"), ("q_2", [85, 0], "list of 3"), ("q_2", ["85", 0, 0], "text"),
        ("r_4", [102, -34, 17], "These are q_4"), ("r_4", [-17, 34, -17], "ADDED"), ("r_4", [1, -2, 1], "s_4 = 17"),
        ("r_4", [15, -40, 20.3], "the whole rest"), ("r_4", [15, -40, 20], "one by one"), ("r_4", [0, 0, 0], "2m/15"),
        ("r_8", [100, -40, 20], "These are q_8"), ("r_8", [2, 6, -3], "q_8 - q_4"),
        ("r_8", [15, -40, 20], "in between"),
        ("r_8", [-2, -6, 3.3], "not rounded"), ("r_8", [0, 0, 0], "2m/255"),
        ("patterns", [85, 102, 83, 100], "INSIDE the bracket"), ("patterns", [85, 85, 102, 100], "another order"),
        ("patterns", [85, 102, 100, 100], "into the formula"), ("patterns", [85, 102, 100], "list of 4"),
        ("values_of_r_4", 3, "By symmetry"), ("values_of_r_4", 4, "half of 85"), ("values_of_r_4", 7, "both sides"),
    ],
)  # fmt: skip
def test_three_weights(name, value, words):
    assert check.three_weights(**HAND).passed
    refuse(check.three_weights(**{**HAND, name: value}), words)


@pytest.mark.parametrize("kind", [tuple, torch.tensor, np.array])
def test_numbers_come_in_any_list(kind):
    assert check.three_weights(*[kind(HAND[name]) for name in ("q_2", "r_4", "r_8", "patterns")], 5.0).passed


def test_every_correction_is_taken_by_some_weight_and_no_other():
    assert check.correction_codes() == {-2, -1, 0, 1, 2}
    for bits, codes in ((2, [85, 0, 0]), (4, [102, -34, 17]), (8, [100, -40, 20])):
        assert check.codes_of(bits) == pytest.approx(codes)


# --- 2 -----------------------------------------------------------------------------------------------------------


def through(x, value):
    return x + (value - x).detach()


def steps_of(m, bits=(2, 4, 8)):
    return [2 * m / (2**b - 1) for b in bits]


def parts(w, m, steps=None, near=1 - 1e-6, rule=torch.round):
    inside = w.detach().clamp(-m * near, m * near)
    return [rule(inside / s) * s for s in (steps or steps_of(m))]


def formula(q_2, q_4, q_8, g_4, g_8):
    return q_2 + g_4 * (q_4 - q_2 + g_8 * (q_8 - q_4))


def rest_of_rest(w, m, g_4, g_8, detach=False, clamped=False):
    """Quantizes the rest of the rest, as the released code does."""
    s_2, s_4, s_8 = steps_of(m)
    near = m * (1 - 1e-6)
    w = w.clamp(-near, near) if clamped else through(w, w.clamp(-near, near))
    q_2 = through(w, s_2 * (w / s_2).round())
    before = q_2.detach() if detach else q_2
    r_4 = through(w - before, s_4 * ((w - before) / s_4).round())
    both = before + (r_4.detach() if detach else r_4)
    r_8 = through(w - both, s_8 * ((w - both) / s_8).round())
    return q_2 + g_4 * (r_4 + g_8 * r_8)


class Assembled(torch.autograd.Function):
    """A slope written by hand."""

    @staticmethod
    def forward(ctx, w, m, g_4, g_8):
        q_2, q_4, q_8 = parts(w, m)
        ctx.save_for_backward(q_4 - q_2, q_8 - q_4, g_4, g_8)
        return formula(q_2, q_4, q_8, g_4, g_8)

    @staticmethod
    def backward(ctx, gradient):
        r_4, r_8, g_4, g_8 = ctx.saved_tensors
        return gradient, None, (gradient * (r_4 + g_8 * r_8)).sum(), (gradient * g_4 * r_8).sum()


def one_by_one(w, m, g_4, g_8):
    q_2, q_4, q_8 = (through(w, q) for q in parts(w, m))
    return (1 - g_4) * q_2 + g_4 * (1 - g_8) * q_4 + g_4 * g_8 * q_8


@pytest.mark.parametrize("answer", [rest_of_rest, Assembled.apply, one_by_one])
def test_other_ways_to_nest(answer):
    assert check.nested(answer, (1.0, 2.0, 3.0)).passed


NESTED = [
    ("q_2 + a * (q_4 - q_2) + b * (q_8 - q_4)", "inside the bracket"),
    ("formula(*parts(w, m, near=1), a, b)", "2 s_2"),
    ("formula(*parts(w, m, [m, m / 7, m / 127]), a, b)", "nothing nests"),
    ("formula(*parts(w, m, [m / 2, m / 8, m / 128]), a, b)", "2^b - 1"),
    ("formula(*parts(w, m, rule=torch.floor), a, b)", "round down"),
    ("q_8", "weight of 8 bits each"),
    ("q_2", "weight of 2 bits each"),
    ("w", "Nothing is quantized"),
    ("a * (q_4 - q_2 + b * (q_8 - q_4))", "q_2 itself"),
    ("q_2 + a * (q_8 - q_2)", "With g_4 = 1 and g_8 = 0"),
    ("w[0]", "shape"),
    ("[w]", "a list"),
    ("w / 0", "infinite"),
    ("w.data.mul_(2)", "in place"),
    ("formula(q_2, q_4, q_8, a.detach(), b.detach())", "no gradient comes back"),
    ("rest_of_rest(w, m, a, b, detach=True)", "1, 2 and 3"),
    ("formula(q_2, q_4, q_8, a, b) + 0 * w", "slope 0"),
    ("formula(q_2, q_4, q_8, a, b)", "slope 0"),
    ("formula(through(w, q_2), q_4, q_8, a, b) + (w - w.detach())", "on average 2, 1, 2, 1"),
    ("rest_of_rest(w, m, a, b, clamped=True)", "stands in the path"),
    ("through(w, formula(q_2, q_4, q_8, a, b))", "g_4 gets no gradient"),
    ("through(w, [q_2, q_4, q_2, q_8][int(a) + 2 * int(b)])", "g_4 gets no gradient"),
    ("formula(q_2, q_4, q_8, a, b.detach()) + (w - w.detach())", "g_8 gets no gradient"),
    ("formula(q_2, q_4, q_8, a, b) + (1 + a) * (w - w.detach())", "on average 1, 2, 1, 2"),
    ("formula(q_2, q_4, q_8, a, b) + (w - w.detach()) + (a - a.detach())", "The gradient of g_4"),
]


@pytest.mark.parametrize(("text", "words"), NESTED)
def test_nested(text, words):
    def answer(w, m, a, b):
        q_2, q_4, q_8 = parts(w, m)
        return eval(text, {**globals(), "w": w, "m": m, "a": a, "b": b, "q_2": q_2, "q_4": q_4, "q_8": q_8})

    refuse(check.nested(answer, [1, 2, 3]), words)


@pytest.mark.parametrize(
    ("slopes", "words"),
    [
        ([1, 1, 1], "a path of its own"), ([0, 1, 2], "q_2 is straight through"), ([1, 2, 2], "three terms"),
        ([3, 2, 1], "count the terms"), ([1, 2], "list of 3"), (1, "list of 3"),
    ],
)  # fmt: skip
def test_slopes(slopes, words, right):
    refuse(check.nested(right["nested_by_you"], slopes), words)


def test_the_slopes_of_the_bug_are_measured():
    assert check.detached_slopes() == pytest.approx([1, 2, 3])


# --- 3 -----------------------------------------------------------------------------------------------------------

DEAD, SLOPE = {240, 480, 576}, 0.111


def soft_of(norm, t, temperature):
    return torch.sigmoid((norm - t) / temperature)


GATES = [
    ("soft", "Forwards your gate is soft"),
    ("through(soft, (n > t).double())", ">= and not >"),
    ("through(soft, (n < t).double())", "wrong way round"),
    ("through(soft, (n <= t).double())", "wrong way round"),
    ("through(soft, n)", "Forwards your gate should be 1"),
    ("hard", "a comparison has no slope"),
    ("hard + 0 * n + 0 * t", "gradient is 0"),
    ("through(soft_of(n, t.detach(), T), hard)", "`t` gets no gradient"),
    ("through(soft_of(n.detach(), t, T), hard)", "`norm` gets no gradient"),
    ("through(n - t, hard)", "slope is 1 everywhere"),
    ("through(soft * T, hard)", "1/temperature"),
    ("through(soft_of(n, t, 1), hard)", "temperature is missing"),
    ("through(soft_of(t, n, T), hard)", "The sign is wrong"),
    ("through(soft.detach() * (n - t), hard)", "not its slope"),
    ("through(soft_of(n, -t + 2 * t.detach(), T), hard)", "HIGHER threshold"),
    ("through(soft_of(n, 2 * t - t.detach(), T), hard)", "with the other sign"),
    ("through(2 * soft, hard)", "Backwards the slope"),
    ("through(n.sub(t).div(T).exp() / (1 + n.sub(t).div(T).exp()), hard)", "fails 300 above"),
    ("hard[0]", "shape"),
]


@pytest.mark.parametrize(("text", "words"), GATES)
def test_gate(text, words):
    def answer(n, t, T):
        hard = (n >= t).to(n.dtype)
        return eval(text, {**globals(), "n": n, "t": t, "T": T, "hard": hard, "soft": soft_of(n, t, T)})

    refuse(check.hard_gate(answer, DEAD, SLOPE), words)


@pytest.mark.parametrize(
    "answer",
    [
        lambda norm, t, temperature: hard_gate(norm - t, temperature),
        lambda norm, t, temperature: torch.where(norm >= t, 1.0, 0.0) + soft_of(norm, t, temperature)
        - soft_of(norm, t, temperature).detach(),
        lambda norm, t, temperature: through(0.5 * (1 + torch.tanh((norm - t) / temperature / 2)), (norm >= t) * 1.0),
    ],
)  # fmt: skip
def test_other_ways_to_a_gate(answer):
    assert check.hard_gate(answer, [576, 480, 240], torch.tensor(0.11)).passed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dead": {480, 576}}, "240 channels, a norm of 17.5"), ({"dead": DEAD | {144}}, "slope 1.3e-06"),
        ({"dead": DEAD | {96}}, "96 channels the norm is 11.1"), ({"dead": set()}, "missing: 240"),
        ({"dead": {512}}, "some of 48, 96"), ({"dead": 240}, "a set of numbers"), ({"dead": {"240"}}, "text"),
        ({"slope": 0.0332}, "chain rule is missing"), ({"slope": 0.1966}, "temperature of 1"),
        ({"slope": 0.966}, "the sigmoid itself"), ({"slope": 0.833}, "AT the threshold"), ({"slope": 0.25}, "still 0"),
        ({"slope": 0.5}, "x = 1 - 0"), ({"slope": ...}, "dots"),
    ],
)  # fmt: skip
def test_dead_widths_and_slope(change, words, right):
    answers = {"dead": DEAD, "slope": SLOPE, **change}
    refuse(check.hard_gate(right["gate_by_you"], answers["dead"], answers["slope"]), words)


@pytest.mark.parametrize("width", check.WIDTHS)
def test_the_widths_are_dead_with_weights_drawn_as_the_book_draws_them(width):
    ring = 1 - F.pad(torch.ones(3, 3), (1, 1, 1, 1))
    for seed in range(5):
        source = torch.Generator().manual_seed(seed)
        weight = nn.init.kaiming_normal_(torch.empty(width, 1, 5, 5), generator=source)
        norm = (weight * ring).norm().requires_grad_()
        assert norm.item() == pytest.approx(check.ring_norm(width), rel=0.06)
        hard_gate(norm, 1.0).backward()
        assert (norm.grad == 0) == (width in DEAD)


# --- 4 -----------------------------------------------------------------------------------------------------------


def conv(x, kernel):
    return F.conv2d(x, kernel, padding=2, groups=len(kernel))


BROKEN = [
    ("F.relu6(norm(conv(x, kernel)) * m)", "Nothing leaks"),
    ("F.relu6(norm(conv(x, kernel))) * m", "Nothing leaks"),
    (
        "F.relu6(F.batch_norm(conv(x, kernel), None, None, norm.weight * mask, norm.bias, True))",
        "scale and not its shift",
    ),
    ("F.relu6(norm(conv(x, kernel)))", "does nothing yet"),
    ("norm(conv(x, kernel * k))", "ReLU6 is missing"),
    ("norm(conv(x, kernel * k)).relu()", "no end at 6"),
    ("conv(x, kernel * k)", "normalisation is missing"),
    ("F.relu6(norm(conv(x, -kernel * k)))", "Not the bug yet"),
    ("F.relu6(norm(F.conv2d(x, kernel * k, groups=len(kernel))))", "shape (5, 6, 3, 3)"),
    ("F.conv2d(x, kernel)", "RuntimeError"),
]


@pytest.mark.parametrize(("text", "words"), BROKEN)
def test_masked_before(text, words, right):
    def answer(x, kernel, norm, mask):
        names = {"x": x, "kernel": kernel, "norm": norm, "mask": mask, "m": mask[:, None, None]}
        return eval(text, {**globals(), **names, "k": mask[:, None, None, None]})

    refuse(check.wrong_mask(answer, right["leaks"], "acde"), words)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, kernel, norm, mask: F.relu6(norm(conv(x * mask[:, None, None], kernel))),
        lambda x, kernel, norm, mask: norm(conv(x, kernel) * mask[None, :, None, None]).clamp(0, 6),
    ],
)
def test_other_ways_to_mask_before(answer, right):
    assert check.wrong_mask(answer, right["leaks"], ["A", "C", "D", "E"]).passed


def tried(masked, *, shift=1.0, mask=(1.0, 0.0), training=True):
    norm = nn.BatchNorm2d(2).train(training)
    nn.init.constant_(norm.bias, shift)
    return masked(torch.randn(4, 2, 6, 6), torch.randn(2, 1, 5, 5), norm, torch.tensor(mask))


LEAKS = [
    ("(tried(f, mask=(1.0, 1.0))[:, 1] == 0).all()", "closes no channel"),
    ("(tried(f, shift=0.0)[:, 1] != 0).any()", "a shift above 0"),
    ("(tried(f, shift=-1.0)[:, 1] != 0).any()", "a shift above 0"),
    ("(tried(f)[:, 1] == 0).all()", "wrong way round"),
    ("tried(f)[:, 0].max() == 0", "the closed channels that you"),
    ("True", "accuses a sound one"),
    ("bool(tried(f).any())", "accuses a sound one"),
    ("tried(f)[:, 1] != 0", "one answer"),
    ("'yes'", "True or False"),
    ("f(1)", "TypeError"),
]


@pytest.mark.parametrize(("text", "words"), LEAKS)
def test_leaks(text, words, right):
    refuse(check.wrong_mask(right["masked_before"], lambda f: eval(text), "acde"), words)


@pytest.mark.parametrize(
    "leaks",
    [
        lambda f: tried(f)[:, 1].abs().sum() > 1e-6,
        lambda f: any(tried(f, training=mode)[:, 1].max().item() > 0 for mode in (True, False)),
        lambda f: not np.allclose(tried(f, mask=(0.0, 0.0)).detach().numpy(), 0),
    ],
)
def test_other_ways_to_catch_a_leak(leaks, right):
    assert check.wrong_mask(right["masked_before"], leaks, "a, c, d, e").passed


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ("cde", "your own test"), ("acd", "next convolution"), ("ade", "by 0.9"), ("ace", "the statistics"),
        ("abcde", "b still"), ("acdef", "f still"), ("g", "letters a to f"),
    ],
)  # fmt: skip
def test_what_fails(letters, words, right):
    refuse(check.wrong_mask(right["masked_before"], right["leaks"], letters), words)


@pytest.mark.parametrize(
    ("masked", "holds"), [(check.norm_masked, "abcdef"), (check.output_masked, "abcdef"), (check.kernel_masked, "bf")]
)
def test_which_sentences_the_bug_makes_false(masked, holds):
    """The letters that the check calls right, each tried out."""
    source = torch.Generator().manual_seed(0)
    x, kernel = (torch.randn(*shape, generator=source).double() for shape in ((8, 6, 7, 7), (6, 1, 5, 5)))
    project = torch.randn(4, 6, 1, 1, generator=source).double()
    half = torch.tensor([1.0, 1, 1, 0, 0, 0]).double()

    def fresh(channels=6):
        norm = check.trained_norm(6)
        if channels < 6:
            small = nn.BatchNorm2d(channels).double()
            small.load_state_dict({name: v[:channels] if v.ndim else v for name, v in norm.state_dict().items()})
            return small
        return norm

    norm, ordinary = fresh(), fresh()
    out = masked(x, kernel, norm, half)
    F.relu6(ordinary(conv(x, kernel)))
    gate = torch.ones((), dtype=torch.float64, requires_grad=True)
    mask = 1 - (1 - half) * (1 - gate)
    F.conv2d(masked(x, kernel, fresh(), mask), project).square().sum().backward()
    cut = F.relu6(fresh(3)(conv(x[:, :3], kernel[:3])))
    cost = torch.tensor(3.0, requires_grad=True)
    (1 + 2 * cost).backward()  # LAT is a formula of the gates alone
    statistics = ("running_mean", "running_var")
    found = {
        "a": bool((out[:, 3:] == 0).all()),
        "b": torch.allclose(masked(x, kernel, fresh(), torch.ones(6).double()), F.relu6(fresh()(conv(x, kernel)))),
        "c": gate.grad.abs().item() > 1,
        "d": all(torch.allclose(getattr(norm, one), getattr(ordinary, one)) for one in statistics),
        "e": torch.allclose(F.conv2d(out, project), F.conv2d(cut, project[:, :3])),
        "f": cost.grad.item() == 2,
    }
    assert "".join(letter for letter, value in found.items() if value) == holds
    if masked is check.kernel_masked:
        assert gate.grad.abs().item() < 1e-2


# --- 5 -----------------------------------------------------------------------------------------------------------

COUNTS = {
    "architectures": 2000, "policies": 15_105_218_256, "small": 38_400, "large": 125_952, "small_bytes": 348,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("architectures", 1024, "three of the five"), ("architectures", 3125, "leaves out every"),
        ("architectures", 23, "a sum"), ("architectures", 32, "four networks"), ("architectures", 7, "Four shapes"),
        ("architectures", 2, "up to its unit"),
        ("policies", 2000 * 27**5, "gives bits to blocks"), ("policies", 2000 * 3**5, "one bit-width for a block"),
        ("policies", 13**3 * 12**2, "one bit-width for a block"), ("policies", 108**5, "no block that is left out"),
        ("policies", 109**5, "two of them cannot be"), ("policies", 37**3 * 36**2, "27, not 9"),
        ("policies", 5, "For a block that stays"), ("policies", 15.1, "up to its unit"),
        ("small", 76_800, "additions"), ("small", 64 * (384 + 9 * 576), "sees only itself"),
        ("small", 600, "one place"),
        ("small", 26_112, "lacks the third"), ("small", 24_576, "lacks the depthwise"), ("small", 13_824, "alone"),
        ("small", 62_976, "this choice is 3x3"), ("small", 5, "64 places"), ("small", 38.4, "up to its unit"),
        ("large", 251_904, "additions"), ("large", 76_800, "alone. Or do you"), ("large", 5, "64 places"),
        ("small_bytes", 2784, "counts bits"), ("small_bytes", 600, "8 bits for every"),
        ("small_bytes", 2400, "32-bit floats"), ("small_bytes", 348 * 64, "stored once"),
        ("small_bytes", 38_400, "not about multiplications"), ("small_bytes", 5, "over 8"),
        ("small_bytes", 0.348, "up to its unit"),
    ],
)  # fmt: skip
def test_counts(name, value, words):
    assert check.counts(**COUNTS).passed
    refuse(check.counts(**{**COUNTS, name: value}), words)


def test_counts_may_be_rounded():
    assert check.counts(2e3, 1.51e10, 38.4e3, 1.26e5, 348.0).passed


def test_the_counts_are_those_of_the_book():
    space = check.FIVE_BLOCKS
    assert space == SearchSpace(scaled().space, (1, 8, 8), 10), "the text of exercise 5 tells the chapter's space"
    per_block = [len(set(space.all_choices(block))) for block in space.blocks]
    assert (math.prod(per_block), space.architectures) == (COUNTS["policies"], COUNTS["architectures"])
    for name, choice in (("small", check.SMALL_CHOICE), ("large", check.LARGE_CHOICE)):
        with torch.device("meta"):
            block, x = (
                FixedBlock(check.FIRST, choice.kernel, choice.expansion, (0, 0, 0), "shared").eval(),
                (1, 8, 8, 8),
            )
            found = count_multiplies(lambda block=block, x=x: block(torch.zeros(x), 0)).total
        assert found == check.multiplies_of(check.FIRST, choice) == COUNTS[name]
    assert check.bytes_of(check.FIRST, check.SMALL_CHOICE) == COUNTS["small_bytes"]


# --- 6 -----------------------------------------------------------------------------------------------------------

COSTS = [
    ("e(t, s, pe, pk, pb)", "constant is missing"),
    ("c + e(t, 1 + 0 * s, pe, pk, pb)", "g_s is missing"),
    ("c + e(t, s, pe.flip(1), pk, pb)", "expansions are turned"),
    ("c + e(t, s, pe, pk.flip(1), pb)", "kernels are turned"),
    ("c + e(t, s, pk, pe, pb)", "changed places"),
    ("c + e(t, s, pe, pk, pb.flip(2))", "bits are turned"),
    ("c + e(t, s, pe, pk, torch.stack([1 - a, a * (1 - b), b], 2))", "BOTH gates"),
    ("c + e(t, s, pe, pk, torch.stack([1 - a, a, b], 2))", "g_4 = g_8 = 1 counts"),
    ("c + e(t, s, pe, pk, torch.stack([1 - a, a, a * b], 2))", "4 bits are out"),
    ("c + e(t, s, pe, pk, torch.stack([(1 - a) * (1 - b), a * (1 - b), a * b], 2))", "is free"),
    ("c + e(t, s.round(), pe, pk, pb)", "straight line"),
    ("c + e(t, s, pe.square(), pk, pb)", "straight line"),
    ("c + 2 * e(t, s, pe, pk, pb)", "entries of what is there"),
    ("c + torch.einsum('lcekb,l,le,lk,lcb->l', t, s, pe, pk, pb)", "sum it"),
    ("(c + e(t, s, pe, pk, pb)).item()", "cut it off"),
    ("(c + e(t, s, pe, pk, pb)).detach()", "cut it off"),
    ("c + e(t, s, pe.detach(), pk, pb)", "gradient of g_e"),
    ("c + e(t, s, pe, pk, pb.detach())", "gradient of the bits"),
    ("t.mul_(2).sum()", "in place"),
    ("'7'", "text"),
]


@pytest.mark.parametrize(("text", "words"), COSTS)
def test_cost(text, words):
    def answer(table, constant, g_s, g_e, g_k, bits):
        a, b = bits.unbind(-1)
        pe, pk = (torch.stack([1 - g, g], 1) for g in (g_e, g_k))
        names = {"t": table, "c": constant, "s": g_s, "pe": pe, "pk": pk, "a": a, "b": b, "torch": torch}
        names["pb"] = torch.stack([1 - a, a * (1 - b), a * b], 2)
        return eval(text, {**names, "e": lambda *given: torch.einsum("lcekb,l,le,lk,lcb->", *given)})

    refuse(check.expected_cost(answer, "a", "abcd"), words)


def by_loops(table, constant, g_s, g_e, g_k, bits):
    total = constant
    for block, part, e, k, b in product(*map(range, table.shape)):
        g_4, g_8 = bits[block, part]
        share = (g_e[block] if e else 1 - g_e[block]) * (g_k[block] if k else 1 - g_k[block])
        share = share * (1 - g_4, g_4 * (1 - g_8), g_4 * g_8)[b]
        total = total + g_s[block] * share * table[block, part, e, k, b]
    return total


def by_folding(table, constant, g_s, g_e, g_k, bits):
    """Axis by axis, as straight lines between the two ends of each gate."""
    g_4, g_8 = bits.unbind(-1)
    rest = torch.lerp(table[:, :, 0], table[:, :, 1], g_e[:, None, None, None])
    rest = torch.lerp(rest[:, :, 0], rest[:, :, 1], g_k[:, None, None])
    rest = torch.lerp(rest[..., 0], torch.lerp(rest[..., 1], rest[..., 2], g_8), g_4)
    return constant + (g_s * rest.sum(1)).sum()


@pytest.mark.parametrize("answer", [by_loops, by_folding])
def test_other_ways_to_the_cost(answer):
    assert check.expected_cost(answer, ["A"], {"a", "b", "c", "d"}).passed


def test_the_solution_costs_what_the_book_s_table_says(right):
    space = check.FIVE_BLOCKS
    table = SMALL.cost_table(space)
    source = torch.Generator().manual_seed(0)
    for _ in range(20):
        choices = []
        for block in space.blocks:
            every = list(space.all_choices(block))
            choices.append(every[int(torch.randint(len(every), (), generator=source))])
        cost = right["cost_by_you"](table.table, table.constant, *Gates.of(tuple(choices)))
        assert float(cost) == pytest.approx(table.of(tuple(choices)), rel=1e-5)


@pytest.mark.parametrize(
    ("gone", "coarse", "words"),
    [
        ("ab", "abcd", "slope of g_e"), ("ae", "abcd", "slope of g_8"), ("b", "abcd", "opening g_s"),
        ("a", "abcde", "slope of g_8"), ("a", "abc", "opening g_4"), ("a", "bcd", "opening g_s"),
        ("a", "xyz", "letters a to e"), (..., "abcd", "dots"),
    ],
)  # fmt: skip
def test_which_gates_have_a_slope(gone, coarse, words, right):
    refuse(check.expected_cost(right["cost_by_you"], gone, coarse), words)


@pytest.mark.parametrize(("skip", "four", "alive"), [(0, 0.5, "a"), (1, 0, "abcd")])
def test_the_slopes_are_those_of_the_book_s_table(skip, four, alive):
    table = check._a_table()
    gates = [torch.full(shape, 0.5, dtype=torch.float64) for shape in ((4,), (4,), (4,), (4, 3, 2))]
    gates[0][1], gates[3][1, :, 0] = skip, four
    gates = [one.requires_grad_() for one in gates]
    s, e, k, bits = torch.autograd.grad(table.expected(Gates(*gates)), gates)
    slopes = {"a": s[1], "b": e[1], "c": k[1], "d": bits[1, :, 0], "e": bits[1, :, 1]}
    assert "".join(letter for letter, slope in slopes.items() if bool((slope != 0).any())) == alive


# --- 7 -----------------------------------------------------------------------------------------------------------

FUSION = {"three": [3072] * 3, "five": [6144, 3072, 3072], "best_bits": [8, 4, 2], "most_rows": 8}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"three": [64] * 3}, "groups are missing"), ({"three": [6144] * 3}, "outputs"),
        ({"three": [1728, 864, 432]}, "A cycle is whole"), ({"three": [0] * 3}, "rounded down"),
        ({"three": [48] * 3}, "places of the map"), ({"three": [1] * 3}, "Places and channels"),
        ({"three": [27648, 13824, 6912]}, "multiplications themselves"), ({"three": [5] * 3}, "⌈9 /"),
        ({"five": [128, 64, 64]}, "groups are missing"), ({"five": [3072, 3072, 6144]}, "wrong order"),
        ({"five": [6144] * 3}, "do not depend"), ({"five": [4800, 2400, 1200]}, "A cycle is whole"),
        ({"five": [5] * 3}, "⌈25 /"), ({"five": [5] * 2}, "list of 3"),
        ({"best_bits": [2, 2, 2]}, "not the best"), ({"best_bits": [8, 8, 2]}, "the 5x5 convolution takes more"),
        ({"best_bits": [8, 4, 4]}, "the 1x1 convolution takes more"),
        ({"best_bits": [4, 4, 2]}, "more bits for the 3x3"),
        ({"best_bits": [8, 2, 2]}, "more bits for the 5x5"), ({"best_bits": [8, 6, 2]}, "none of them"),
        ({"most_rows": 9}, "already at 8 bits"), ({"most_rows": 5}, "with more of them"),
        ({"most_rows": 16}, "at each number of rows"),
    ],
)  # fmt: skip
def test_cycles_by_hand(change, words, right):
    answers = {**FUSION, "cycles_by_you": right["cycles_by_you"]}
    assert check.bitfusion(**answers).passed
    refuse(check.bitfusion(**{**answers, **change}), words)


CYCLES = [
    ("P * up(o / 32) * up(n / (rows * (8 // b)))", "groups are missing"),
    ("G * P * up(o * G / 32) * up(n / (rows * (8 // b)))", "out_channels / groups"),
    ("G * P * up(o / 32) * n / (rows * (8 // b))", "A cycle is whole"),
    ("G * P * up(o / 32) * (n // (rows * (8 // b)))", "rounded down"),
    ("G * P * up(o / 32) * up(n / (rows * 8 / b))", "with 3 bits into 2"),
    ("G * P * up(o / 32) * up(n / rows)", "do not depend"),
    ("G * P * up(n / (rows * (8 // b)))", "32 of them"),
    ("G * up(o / 32) * up(n / (rows * (8 // b)))", "The places"),
    ("G * P * up(o / 32) * up(n / (16 * (8 // b)))", "use `rows`"),
    ("G * P * up(o / 32) * up(n / (rows * (8 // b))) + 1", "by hand"),
    ("'7'", "text"),
]


@pytest.mark.parametrize(("text", "words"), CYCLES)
def test_cycles(text, words):
    def answer(conv, bits, rows=16):
        names = {"G": conv.groups, "P": conv.positions, "o": conv.out_channels / conv.groups, "n": conv.taps}
        return eval(text, {**names, "b": bits, "rows": rows, "up": math.ceil})

    refuse(check.bitfusion(**FUSION, cycles_by_you=answer), words)


def test_other_ways_to_the_cycles():
    def counted(conv, bits, rows=16):
        """Fill the array step by step."""
        cycles = 0
        for _ in range(conv.groups):
            for _ in range(0, conv.out_channels // conv.groups, 32):
                cycles += len(range(0, conv.taps, rows * (8 // bits)))
        return cycles * conv.height // conv.stride * conv.width // conv.stride

    assert check.bitfusion((3072.0,) * 3, np.array([6144, 3072, 3072]), counted, (8, 4, 2), 8.0).passed


def test_the_memory_is_not_the_bottleneck_in_what_is_counted_by_hand():
    for conv, bits in product((*check.DEPTHWISE.values(), check.PROJECT), (2, 4, 8)):
        if conv.groups > 1:
            assert SMALL.cycles(conv, bits) == SMALL.compute_cycles(conv, bits)
    assert check.rows_with_a_gain(check.DEPTHWISE[3]) == 8
    assert SMALL.rows, SMALL.columns == (16, 32)
    block = check.FIRST.convs(3, 6)
    assert (check.DEPTHWISE[3], check.PROJECT) == block[1:], "they are those of the chapter's first block"


# --- 8 -----------------------------------------------------------------------------------------------------------

SLOPES = {"multiplicative": [0.5, 0.005, 0.02], "additive": [0.25, 0.25, 4], "hinge": [1, 1, 0], "absolute": [1, 1, -1]}
CHOOSE = {"a": "absolute", "b": "hinge", "c": "additive", "d": "multiplicative"}


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("multiplicative", [0.25, 0.0025, 0.04], "factor (LAT/T)^β"),
        ("multiplicative", [0.25, 0.25, 1], "CE is missing"),
        ("multiplicative", [4, 0.04, 0.01], "That is the loss"), ("multiplicative", [1, 0.01, 0.04], "β comes down"),
        ("multiplicative", [2, 0.02, 0.005], "exponent falls"), ("multiplicative", [0.5, 0.005, 0.2], "LAT = 0.25 T"),
        ("multiplicative", [-0.5, -0.005, -0.02], "wrong sign"),
        ("additive", [3.386, 1.406, -1.366], "That is the loss"), ("additive", [1.386, 1.386, -1.386], "the penalty"),
        ("additive", [0.5, 0.005, 0.08], "CE is added"), ("additive", [1, 1, 1], "slope of a logarithm"),
        ("additive", [0.25, 0.25, 0.25], "LAT = 0.25 T"),
        ("hinge", [3, 3, 0], "the penalty"), ("hinge", [1, 1, 1], "hinge is flat"),
        ("hinge", [1, 1, -1], "that is the absolute"), ("hinge", [2, 0.02, 0], "CE is added"),
        ("hinge", [1, 2, 0], "CE = 0.02"),
        ("absolute", [3, 3, 0.75], "the penalty"), ("absolute", [1, 1, 1], "mind the sign"),
        ("absolute", [1, 1, 0], "that is the hinge"), ("absolute", [2, 0.02, -0.02], "CE is added"),
        ("absolute", [-1, -1, 1], "wrong sign"), ("absolute", [1, 1], "list of 3"),
    ],
)  # fmt: skip
def test_slopes_on_lat(form, row, words):
    assert check.objectives(SLOPES, CHOOSE).passed
    refuse(check.objectives({**SLOPES, form: row}, CHOOSE), words)


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        ({**CHOOSE, "a": "hinge"}, "one of them twice"),
        ({**CHOOSE, "a": "hinge", "b": "absolute"}, "gates open again"),
        ({**CHOOSE, "b": "additive", "c": "hinge"}, "exactly 0"),
        ({**CHOOSE, "c": "multiplicative", "d": "additive"}, "per cent"),
        ({**CHOOSE, "a": "l1"}, "one of"), ({**CHOOSE, "a": 1}, "one of"), ({"a": "hinge"}, "each of a, b, c, d"),
        ({1: "hinge"}, "a dictionary"), ("hinge", "a dictionary"), ({**CHOOSE, "a": ...}, "dots"),
    ],
)  # fmt: skip
def test_choose(choose, words):
    refuse(check.objectives(SLOPES, choose), words)


def test_objectives_may_be_written_as_one_likes():
    rounded = {name.upper(): torch.tensor(row) for name, row in SLOPES.items()}
    assert check.objectives(rounded, {letter.upper(): f" {form.title()}" for letter, form in CHOOSE.items()}).passed


def test_each_form_serves_its_aim():
    """What the aims say, tried out on the book's objective."""

    def loss(form, ce, lat):
        objective = check.Objective(check.ObjectiveConfig(form, 0.5), 1.0).double()
        return float(objective(torch.tensor(ce).double(), torch.tensor(lat).double()))

    reopens = {form for form in CHOOSE.values() if loss(form, 1.0, 0.5) > loss(form, 1.0, 0.9)}
    flat = {form for form in CHOOSE.values() if loss(form, 1.0, 0.5) == loss(form, 1.0, 0.9)}
    halvings = [(ce, lat) for ce in (0.1, 2.0) for lat in (0.2, 1.0, 8.0)]
    amounts = {
        form: [loss(form, ce, lat) - loss(form, ce, lat / 2) for ce, lat in halvings] for form in CHOOSE.values()
    }
    shares = {form: [loss(form, ce, lat / 2) / loss(form, ce, lat) for ce, lat in halvings] for form in CHOOSE.values()}
    same = {form for form, found in amounts.items() if found == pytest.approx([found[0]] * 6)}
    relative = {form for form, found in shares.items() if found == pytest.approx([found[0]] * 6)}
    assert (reopens, flat, same, relative) == tuple({CHOOSE[letter]} for letter in "abcd")


# --- 9 -----------------------------------------------------------------------------------------------------------

FAIR = {
    "latency_left": 55.6, "bits_alone": 4.44, "objections": set("abceg"),
    "controls": {"a": 1, "b": 2, "c": 3, "e": 4, "g": 5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latency_left": 44.4}, "how much is LEFT"), ({"latency_left": 0.556}, "in percent"),
        ({"latency_left": 20}, "80 percent less"), ({"latency_left": 180}, "gets smaller"),
        ({"latency_left": 80}, "gets smaller"), ({"latency_left": 5}, "one part in 1.8"),
        ({"bits_alone": 14.4}, "divide"), ({"bits_alone": 3.56}, "are left"), ({"bits_alone": 17.8}, "had 8 bits"),
        ({"bits_alone": 1.8}, "the factor"), ({"bits_alone": 6}, "which were 8"),
        ({"objections": "abcdeg"}, "d does not hold"), ({"objections": "abcefg"}, "f does not hold"),
        ({"objections": "bceg"}, "the bits alone"), ({"objections": "aceg"}, "smaller network"),
        ({"objections": "abeg"}, "two runs"), ({"objections": "abcg"}, "Faster on what"),
        ({"objections": "abce"}, "A tenth of what"), ({"objections": "h"}, "letters a to g"),
        ({"controls": {"a": 1}}, "one entry"), ({"controls": {**FAIR["controls"], "d": 6}}, "one entry"),
        ({"controls": {**FAIR["controls"], "a": 6}}, "Control 6"),
        ({"controls": {**FAIR["controls"], "a": 5}}, "its bits"),
        ({"controls": {**FAIR["controls"], "b": 1}}, "more than one point"),
        ({"controls": {**FAIR["controls"], "c": 2}}, "by chance alone"),
        ({"controls": {**FAIR["controls"], "e": 3}}, "few bits mean nothing"),
        ({"controls": {**FAIR["controls"], "g": 1}}, "price of a search"),
        ({"controls": {**FAIR["controls"], "g": "5"}}, "text"),
        ({"controls": {**FAIR["controls"], "g": {5}}}, "a dictionary"),
        ({"controls": {1: "a"}}, "a dictionary"), ({"controls": [1, 2, 3, 4]}, "a dictionary"),
        ({"controls": {**FAIR["controls"], "g": ...}}, "dots"),
    ],
)  # fmt: skip
def test_fairness(change, words):
    assert check.fairness(**FAIR).passed
    refuse(check.fairness(**{**FAIR, **change}), words)


def test_fairness_may_be_written_as_one_likes():
    assert check.fairness(56, 4.4, "A, b C e G", {"A": 1.0, "B": 2, "c": 3, "E": 4, "g": 5}).passed


# --- 10 ----------------------------------------------------------------------------------------------------------

PROJECTS = [
    (lambda r: r.pop("wins"), 'no "wins"'),
    (lambda r: r.pop("costs"), 'no "costs"'),
    (lambda r: r.update(change=...), "dots"),
    (lambda r: r.update(seeds=[0]), "Two different seeds"),
    (lambda r: r.update(seeds=[3, 3]), "Two different seeds"),
    (lambda r: r.update(seeds=[0, 1, 2]), "for 3 seeds"),
    (lambda r: r.update(costs=0.15), '"costs" should be a dictionary'),
    (lambda r: r.update(costs={"baseline": {}}), '"costs" should be a dictionary'),
    (lambda r: r["costs"].update(baseline=0.15), "should be a dictionary: budget"),
    (lambda r: r["costs"]["changed"].pop(0.5), "other budgets"),
    (lambda r: r["costs"]["changed"].update({0.15: [0.15, 0.19]}), "0.19 at a budget of 0.15"),
    (lambda r: r["costs"]["changed"].update({0.15: [15, 14]}), "not percent"),
    (lambda r: r["changed"].pop(0.15), "different budgets"),
    (
        lambda r: (r["changed"].pop(0.15), r["baseline"].pop(0.15), r["changed"].pop(0.25), r["baseline"].pop(0.25)),
        "two",
    ),
    (lambda r: (r["changed"].pop(0.15), r["baseline"].pop(0.15), r.update(wins=[])), "other budgets"),
    (lambda r: r.update(changed=r["baseline"]), "very same numbers"),
    (lambda r: r.update(changed={n: [0.1, 0.1] for n in r["changed"]}), "does the seed reach"),
    (lambda r: r["changed"].update({0.15: [0.1, math.nan]}), "finite"),
    (lambda r: r["changed"].update({0.15: [8, 9]}), "not percent"),
    (lambda r: r["changed"].update({0.15: [-0.1, 0.0]}), "outside 0 to 1"),
    (lambda r: r["changed"].update({0.15: 0.1}), "list of errors"),
    (lambda r: r["changed"].update({15: [0.1, 0.2]}), "above 0 and at most 1"),
    (lambda r: r["changed"].update({"0.1": [0.1, 0.2]}), "above 0 and at most 1"),
    (lambda r: r.update(baseline=[1, 2]), "share of the full cost -> list"),
    (lambda r: r.update(wins=[0.15, 0.25]), '"wins" lists 0.25'),
    (lambda r: r.update(wins=[]), '"wins" leaves out 0.15'),
    (lambda r: r.update(loses=[]), '"loses" leaves out 0.5'),
    (lambda r: r.update(wins="all"), "an empty list"),
    (lambda r: r.update(conclusion="It wins."), "ten words"),
    (lambda r: r.update(change=" "), "what you changed"),
]


@pytest.mark.parametrize(("spoil", "words"), PROJECTS)
def test_project(spoil, words):
    report = copy.deepcopy(NOT_SEARCHED)
    assert check.project(report).passed
    assert "differ by 7 % of the budget at most. Undecided between the seeds: 0.25 of" in check.project(report).hint
    equal = {**report, "costs": dict.fromkeys(("baseline", "changed"), report["costs"]["baseline"])}
    assert "The costs are the same." in check.project(equal).hint
    spoil(report)
    refuse(check.project(report), words)
    refuse(check.project([report]), "a dictionary")


# --- all ---------------------------------------------------------------------------------------------------------

CHECKS = {
    "three_weights": ("q_2", "r_4", "r_8", "patterns", "values_of_r_4"),
    "nested": ("nested_by_you", "slopes"),
    "hard_gate": ("gate_by_you", "dead_widths", "ratio_slope"),
    "wrong_mask": ("masked_before", "leaks", "what_fails"),
    "counts": ("architectures", "policies", "small", "large", "small_bytes"),
    "expected_cost": ("cost_by_you", "block_gone", "only_2_bits"),
    "bitfusion": ("three", "five", "cycles_by_you", "best_bits", "most_rows"),
    "objectives": ("slopes_on_lat", "choose"),
    "fairness": ("latency_left", "bits_alone", "objections", "controls"),
    "project": ("report",),
}


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_makes_a_check_stumble(name, right):
    answers = [NOT_SEARCHED if key == "report" else right[key] for key in CHECKS[name]]
    more = [torch.zeros(4, 4).long(), lambda *given: given[0] * 2, lambda *given: given[0].sum(), {"a": "b"}]
    nothing_makes_it_stumble(getattr(check, name), answers, more)
