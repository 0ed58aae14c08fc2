"""Checks of chapter 2, HQNAS. A gate is 1 where its norm is at or above its threshold, else 0."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.exercises.answers import letters, near, numbered_controls, numbers, truth
from lib.exercises.checks import NotYet, answered, as_number, as_tensor, call, checked, close, compare
from lib.exercises.reports import KEYS, Table, Words, seeds_of, undecided
from lib.hqnas.config import ObjectiveConfig, SpaceConfig, StageConfig
from lib.hqnas.cost import CostTable
from lib.hqnas.gates import Gates
from lib.hqnas.hardware.bitfusion import SMALL
from lib.hqnas.objective import Objective
from lib.hqnas.quantizer import quantize
from lib.hqnas.space import BITS, PARTS, Block, Choice, Conv, SearchSpace
from lib.training.seeding import derive_seed, generator

PATTERNS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(g_4, g_8)."""


def _random(name: str, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(derive_seed(0, "exercise", "hqnas", name)), dtype=torch.float64)


def _even(name: str, *shape: int) -> Tensor:
    """Evenly spread between 0 and 1."""
    return torch.rand(shape, generator=generator(derive_seed(0, "exercise", "hqnas", name)), dtype=torch.float64)


def _tensor(value: Any, shape: torch.Size, name: str) -> Tensor:
    """As ``as_tensor``: shapes are named without advice on other chapters' points."""
    if isinstance(value, Tensor) and value.shape != shape:
        raise NotYet(f"{name} has shape {tuple(value.shape)} where {tuple(shape)} is wanted.")
    return as_tensor(value, shape, name)


def _named(value: Any, name: str, keys: Iterable[str], what: str) -> dict[str, Any]:
    """A dictionary with just these keys."""
    answered(value)
    if not isinstance(value, Mapping):
        raise NotYet(f"`{name}` should be a dictionary: {what}.")
    found = {}
    for key, one in value.items():
        answered(one)
        if not isinstance(key, str):
            raise NotYet(f"`{name}` should be a dictionary: {what}.")
        found[key.strip().lower()] = one
    if set(found) != set(keys):
        raise NotYet(f"`{name}` should have one entry for each of {', '.join(keys)}, and no other.")
    return found


# --- 1 -----------------------------------------------------------------------------------------------------------

WEIGHTS, LIMIT = (100.0, -40.0, 20.3), 127.5


def codes_of(bits: int) -> list[float]:
    """q_b of the three weights."""
    return quantize(torch.tensor(WEIGHTS, dtype=torch.float64), bits, torch.tensor(LIMIT)).tolist()


def correction_codes() -> set[int]:
    """Every r_4, in steps of s_4, that some weight of the range has."""
    weights = torch.linspace(-LIMIT, LIMIT, 5101, dtype=torch.float64)
    two, four = (quantize(weights, bits, torch.tensor(LIMIT)) for bits in (2, 4))
    return set(((four - two) / (2 * LIMIT / 15)).round().long().tolist())


@checked("Three weights on one range")
def three_weights(q_2: Any, r_4: Any, r_8: Any, patterns: Any, values_of_r_4: Any) -> str:
    """Codes and corrections of 100, -40 and 20.3 on the range -127.5 ... 127.5, by hand."""
    two, four, eight = (codes_of(bits) for bits in BITS)
    fine, finest = ([b - a for a, b in pair] for pair in (zip(two, four, strict=True), zip(four, eight, strict=True)))

    q_2 = numbers(q_2, 3, "q_2")
    quarter = LIMIT / 2  # 2 m / 2^2
    for wrong, hint in (
        ([one / 85 for one in two], "These are the whole numbers before `q_2` is made: multiply them by the step."),
        (
            [quarter * round(w / quarter) for w in WEIGHTS],
            "Your step at 2 bits is 2m/4. The levels lie evenly around 0, so one of the four codes is not used: "
            "three levels, and a step of 2m/3.",
        ),
        (
            [85 * math.floor(w / 85) for w in WEIGHTS],
            "You rounded down. `q_2` takes the NEAREST level, up or down.",
        ),
        (four, "These are the numbers at 4 bits: at 2 bits the step is 85."),
        ([127.5 * round(w / 127.5) for w in WEIGHTS], "Your outer levels stand at ±m. Between -m and m lie 3 steps."),
    ):
        if near(q_2, wrong) and not near(two, wrong):
            raise NotYet(hint)
    if not near(q_2, two):
        raise NotYet("`q_2` is not right yet. The step is 2m/3 = 85: which of -85, 0 and 85 is nearest?")

    r_4 = numbers(r_4, 3, "r_4")
    for wrong, hint in (
        (four, "These are q_4. The correction is what they add to q_2: take the difference."),
        ([-one for one in fine], "The sign is turned over: r_4 = q_4 - q_2 is what must be ADDED to q_2."),
        ([one / 17 for one in fine], "These are whole numbers of steps. Multiply them by s_4 = 17."),
        ([w - one for w, one in zip(WEIGHTS, two, strict=True)], "That is the whole rest. Round it to steps of 17."),
        ([b - a for a, b in zip(two, eight, strict=True)], "That is q_8 - q_2: the corrections come one by one."),
    ):
        if near(r_4, wrong):
            raise NotYet(hint)
    if not near(r_4, fine):
        raise NotYet("`q_2` is right, `r_4` not yet: q_4 on steps of 2m/15 = 17, less q_2.")

    r_8 = numbers(r_8, 3, "r_8")
    for wrong, hint in (
        (eight, "These are q_8. The correction is what they add to q_4: take the difference."),
        ([-one for one in finest], "The sign is turned over: r_8 = q_8 - q_4."),
        ([b - a for a, b in zip(two, eight, strict=True)], "That is q_8 - q_2. r_4 stands in between: q_8 - q_4."),
        (
            [w - one for w, one in zip(WEIGHTS, four, strict=True)],
            "One of them is not rounded: at 8 bits, too, there are only steps, of s_8 = 1.",
        ),
    ):
        if near(r_8, wrong):
            raise NotYet(hint)
    if not near(r_8, finest):
        raise NotYet("`q_2` and `r_4` are right, `r_8` not yet: q_8 on steps of 2m/255 = 1, less q_4.")

    patterns = numbers(patterns, 4, "patterns")
    first = [two[0] + g_4 * (fine[0] + g_8 * finest[0]) for g_4, g_8 in PATTERNS]
    flat = [two[0] + g_4 * fine[0] + g_8 * finest[0] for g_4, g_8 in PATTERNS]
    if near(patterns, flat):
        raise NotYet("With g_4 = 0 the finer correction must not count: g_8 stands INSIDE the bracket of g_4.")
    if near(sorted(patterns), sorted(first)) and not near(patterns, first):
        raise NotYet("The right numbers in another order: (0, 0), then (1, 0), (0, 1) and (1, 1) for (g_4, g_8).")
    if not near(patterns, first):
        raise NotYet("`patterns` is not right yet: put the first weight's q_2, r_4 and r_8 into the formula.")

    count = as_number(values_of_r_4, "values_of_r_4")
    right = len(correction_codes())
    if count == 3:
        raise NotYet("Your three weights show one step up and two down. By symmetry, what else is there? And 0 counts.")
    if count in (4, 15, 16):
        raise NotYet(
            f"Not {count:g}: r_4 bridges from a level at 2 bits to one at most half of 85 away, in steps of 17."
        )
    if count != right:
        raise NotYet("How far can q_4 be from the level at 2 bits, in steps of 17? Count both sides, and 0.")
    return (
        f"The nested sum is the plain quantization, to the digit. And r_4 has {right} values: they do not fit 2 bits. "
        "So a device stores the code of 4 bits as a whole, not one of 2 bits and a correction."
    )


# --- 2 -----------------------------------------------------------------------------------------------------------


def _assembled(parts: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """w_q for each pattern of gates, of (q_2, q_4, q_8)."""
    two, four, eight = parts
    return [two + g_4 * ((four - two) + g_8 * (eight - four)) for g_4, g_8 in PATTERNS]


def _rounded(weight: Tensor, limit: float, steps: Iterable[float], rule: Callable = torch.round) -> list[Tensor]:
    """The three parts with these steps and no care for the ends, put together."""
    return _assembled(tuple(rule(weight / (step * limit)) * step * limit for step in steps))


def detached_slopes() -> list[float]:
    """The slope of w_q, at (0, 0), (1, 0) and (1, 1), when each correction detaches what came before it; measured."""
    found = []
    for g_4, g_8 in ((0, 0), (1, 0), (1, 1)):
        w = _random("slopes", 9).requires_grad_()

        def through(x: Tensor, step: float) -> Tensor:
            return x + (step * (x / step).round() - x).detach()

        two = through(w, 0.85)
        four = through(w - two.detach(), 0.17)
        eight = through(w - two.detach() - four.detach(), 0.01)
        found.append(torch.autograd.grad((two + g_4 * (four + g_8 * eight)).sum(), w)[0].mean().item())
    return found


@checked("Nested, and straight through")
def nested(nested_by_you: Callable, slopes: Any) -> str:
    """The nested quantizer: values, slope 1 of the weight, and the gates' gradients, for every pattern of gates."""
    for name, shape in (("kernel", (6, 1, 5, 5)), ("matrix", (10, 7))):
        _nested_once(nested_by_you, 0.4 * _random(name, *shape))
    slopes = numbers(slopes, 3, "slopes")
    right = detached_slopes()
    if near(slopes, [1, 1, 1]):
        raise NotYet(
            "Your function is right, and has slope 1 throughout. `slopes` is about the other one, in which every "
            "correction is straight through from a DETACHED rest: each open gate then adds a path of its own."
        )
    if near(slopes, [right[0] - 1, right[1] - 1, right[2] - 1]):
        raise NotYet("You count the corrections only: q_2 is straight through, too.")
    if near(slopes, [right[0], right[1], right[1]]):
        raise NotYet("At (1, 1) three terms depend on w: q_2, r_4 and r_8. Nothing of that cancels if it is detached.")
    if not near(slopes, right):
        raise NotYet("`slopes` is not right yet: count the terms of w_q that are straight through and not detached.")
    return (
        "Slope 1, whatever the gates do. Detached, an open gate would double or treble the learning rate of its "
        "weights, and no value in the forward pass would tell."
    )


def _nested_once(nested_by_you: Callable, drawn: Tensor) -> None:
    """The function on one weight; its largest entry is the range itself."""
    limit = drawn.abs().max().item()
    plain = tuple(quantize(drawn, bits, drawn.new_tensor(limit)) for bits in BITS)
    right = _assembled(plain)
    two, four, eight = plain
    answers, inputs = [], []
    for pattern in PATTERNS:
        w = drawn.clone().requires_grad_()
        g_4, g_8 = (torch.tensor(float(gate), dtype=torch.float64, requires_grad=True) for gate in pattern)
        answers.append(call(nested_by_you, w, limit, g_4, g_8))
        inputs.append((w, g_4, g_8))
    values = [_tensor(one, drawn.shape, "w_q") for one in answers]

    def same(wrong: Iterable[Tensor]) -> bool:
        return all(close(value, one) for value, one in zip(values, wrong, strict=True))

    if not same(right):
        whole, half = [2 / (2**bits - 1) for bits in BITS], [1 / (2 ** (bits - 1) - 1) for bits in BITS]
        for wrong, hint in (
            (
                [two + g_4 * (four - two) + g_8 * (eight - four) for g_4, g_8 in PATTERNS],
                "With g_4 = 0 and g_8 = 1 your weight has the finest correction without the one before it: g_8 stands "
                "inside the bracket of g_4.",
            ),
            (
                _rounded(drawn, limit, whole),
                "All right but for the largest weight: w = m is rounded to 2 s_2, a level that does not exist. Keep w "
                "just inside of the range first, by a millionth.",
            ),
            (
                _rounded(drawn.clamp(-limit, limit) * (1 - 1e-9), limit, half),
                "Your steps are m / (2^(b-1) - 1): then no step divides the one before it, and nothing nests. Take "
                "2m / (2^b - 1).",
            ),
            (
                _rounded(drawn * (1 - 1e-9), limit, [2 / 2**bits for bits in BITS]),
                "Your steps are 2m / 2^b. The levels lie evenly around 0, one fewer than there are codes: 2^b - 1.",
            ),
            (_rounded(drawn * (1 - 1e-6), limit, whole, torch.floor), "You round down: take the nearest level."),
            ([eight] * 4, "Your gates do nothing: that is the weight of 8 bits each time."),
            ([drawn] * 4, "Nothing is quantized yet: that is the weight itself."),
            ([two] * 4, "Your gates do nothing: that is the weight of 2 bits each time."),
            (
                [g_4 * ((four - two) + g_8 * (eight - four)) for g_4, g_8 in PATTERNS],
                "q_2 itself is missing: the corrections are added to it.",
            ),
        ):
            if same(wrong):
                raise NotYet(hint)
        place = next(n for n, (value, one) in enumerate(zip(values, right, strict=True)) if not close(value, one))
        g_4, g_8 = PATTERNS[place]
        raise NotYet(
            f"With g_4 = {g_4} and g_8 = {g_8} the weight should be that of {(2, 4, 2, 8)[place]} bits on the range "
            "[-m, m], with steps of 2m / (2^b - 1). It is not yet."
        )
    _slopes_once(answers, inputs, plain)


def _slopes_once(answers: list[Tensor], inputs: list[tuple], plain: tuple[Tensor, Tensor, Tensor]) -> None:
    """The gradients of right values: of the weight first, then of the gates."""
    two, four, eight = plain
    direction = _random("direction", *two.shape)
    found = []
    for answer, given in zip(answers, inputs, strict=True):
        if not answer.requires_grad:
            raise NotYet(
                "The values are right, but no gradient comes back: everything is detached, or rounded. What has the "
                "value 0 and the slope 1?"
            )
        found.append(torch.autograd.grad((answer * direction).sum(), given, allow_unused=True))
    slopes = [torch.zeros_like(direction) if one[0] is None else one[0] / direction for one in found]
    for slope in slopes:
        off = ((slope - 1).abs() > 1e-3).double()
        if 0 < off.mean() < 0.2 and close(slope[off > 0], torch.zeros(int(off.sum()))):
            raise NotYet(
                "The slope is 1 but for the largest weight, which got 0: your clamp stands in the path of the "
                "gradient. Straight through means past the clamp as well."
            )
    means = [slope.mean().item() for slope in slopes]
    if near(means, [1, 2, 1, 3]):
        raise NotYet(
            "The values are right, but the slope is 1, 2 and 3 as the gates open: your corrections are straight "
            "through from a rest in which the terms before them are detached. Keep those in the graph, or let w in "
            "just once."
        )
    if near(means, [0, 0, 0, 0]):
        raise NotYet("The values are right, but w gets the slope 0: rounding is flat. What has value 0 and slope 1?")
    if any(not close(slope, torch.ones_like(slope)) for slope in slopes):
        raise NotYet(
            "The values are right. The slopes of w should be 1 for every pattern of gates, and yours are on average "
            f"{', '.join(f'{mean:.3g}' for mean in means)} for (g_4, g_8) = (0, 0), (1, 0), (0, 1) and (1, 1)."
        )
    for (_, of_4, of_8), (g_4, g_8) in zip(found, PATTERNS, strict=True):
        for name, own, wanted in (
            ("g_4", of_4, (direction * ((four - two) + g_8 * (eight - four))).sum()),
            ("g_8", of_8, (direction * g_4 * (eight - four)).sum()),
        ):
            if own is None or (own == 0 and wanted.abs() > 1e-6):
                raise NotYet(
                    f"Values and slope of w are right, but {name} gets no gradient: multiply by it. An `if` or a "
                    "`where` gives the same number and forgets the gate."
                )
            if not close(own, wanted):
                raise NotYet(
                    f"Values and slope of w are right. The gradient of {name} is not the formula's at g_4 = {g_4}, "
                    f"g_8 = {g_8}: does it multiply more, or less, than its corrections?"
                )


# --- 3 -----------------------------------------------------------------------------------------------------------

WIDTHS = (48, 96, 144, 240, 480, 576)


def ring_norm(channels: int) -> float:
    """What the L2 norm of the ring's 16 taps of so many channels is at the start, about: each tap has variance 2/25."""
    return math.sqrt(16 * channels * 2 / 25)


def slope_in_float32(margin: float, temperature: float = 1.0) -> float:
    """The slope of a hard gate as autograd computes it in single precision."""
    soft = torch.sigmoid(torch.tensor(margin / temperature, dtype=torch.float32))
    return (soft * (1 - soft) / temperature).item()


@checked("A hard gate with a soft slope")
def hard_gate(gate_by_you: Callable, dead_widths: Any, ratio_slope: Any) -> str:
    """The gate forwards and backwards; widths at which plain norms kill it; the slope with ratios."""
    norm = torch.tensor([0.2, 0.9, 1.0, 1.3, 2.5, 0.5], dtype=torch.float64)
    t = torch.tensor([0.5, 1.0, 1.0, 1.0, 0.0, 0.5], dtype=torch.float64)
    for temperature in (1.0, 0.3):
        _gate_once(gate_by_you, norm, t, temperature)
    far = torch.tensor([300.0, -300.0], requires_grad=True)
    answer = call(gate_by_you, far, torch.zeros(2, requires_grad=True), 1.0)
    slopes = torch.autograd.grad(answer.sum(), far)[0]
    if not close(answer.detach(), torch.tensor([1.0, 0.0])) or not slopes.isfinite().all():
        raise NotYet("Your gate fails 300 above and below the threshold: an exponential that is not `torch.sigmoid`?")

    answered(dead_widths)
    if isinstance(dead_widths, Tensor | np.ndarray):
        dead_widths = dead_widths.tolist()
    if not isinstance(dead_widths, set | frozenset | list | tuple):
        raise NotYet("`dead_widths` should be a set of numbers of channels, such as {48, 96}; set() if there are none.")
    chosen = {as_number(one, "dead_widths") for one in dead_widths}
    if not chosen <= set(WIDTHS):
        raise NotYet(f"`dead_widths` should name some of {', '.join(map(str, WIDTHS))}.")
    for width in WIDTHS:
        there, slope = ring_norm(width), slope_in_float32(ring_norm(width))
        if slope and width in chosen:
            raise NotYet(
                f"Your gate is right. But at {width} channels the norm is {there:.1f} and the slope {slope:.1e}: "
                "next to nothing, and yet not 0."
            )
        if not slope and width not in chosen:
            raise NotYet(
                f"Your gate is right. One dead width is missing: {width} channels, a norm of {there:.1f}. "
                "float32 knows no number between 0.99999994 and 1: what does it make of the sigmoid there?"
            )

    number, right = as_number(ratio_slope, "ratio_slope"), slope_in_float32(1.0, 0.3)
    for wrong, hint in (
        (right * 0.3, "The factor 1/temperature of the chain rule is missing."),
        (slope_in_float32(1.0), "That is with a temperature of 1: here it is 0.3."),
        (
            1 / (1 + math.exp(-1 / 0.3)),
            "That is the sigmoid itself: its slope is σ (1 - σ), and the chain rule's factor.",
        ),
        (0.25 / 0.3, "That is the slope AT the threshold. The ratio is 1, and the threshold still 0."),
        (0.25, "That is the slope at the threshold. The ratio is 1, and the threshold still 0."),
    ):
        if abs(number - wrong) <= 0.02 * wrong:
            raise NotYet(f"`ratio_slope` is not right yet. {hint}")
    if abs(number - right) > 0.02 * right:
        raise NotYet("`ratio_slope` is not right yet: σ'(x / temperature) / temperature at x = 1 - 0.")
    return (
        f"At 576 channels the slope would be {torch.sigmoid(torch.tensor(-ring_norm(576)).double()):.0e} in exact "
        f"numbers, and is 0 in float32. A ratio of root mean squares begins near 1 at every width, with {right:.2f}."
    )


def _gate_once(gate_by_you: Callable, norm: Tensor, t: Tensor, temperature: float) -> None:
    norm, t = norm.clone().requires_grad_(), t.clone().requires_grad_()
    answer = call(gate_by_you, norm, t, temperature)
    value = _tensor(answer, norm.shape, "what your gate returns")
    margin = (norm - t).detach()
    soft = torch.sigmoid(margin / temperature)
    hard = (margin >= 0).double()
    for wrong, hint in (
        (soft, "Forwards your gate is soft. It should be exactly 0 or 1, and have the sigmoid's slope only backwards."),
        (torch.sigmoid(margin), "Forwards your gate is soft: it should be exactly 0 or 1."),
        ((margin > 0).double(), "A norm AT its threshold is open: >= and not >."),
        (1 - hard, "Your gate is the wrong way round: open means that the norm is above."),
        ((margin <= 0).double(), "Your gate is the wrong way round: open means that the norm is above."),
    ):
        if close(value, wrong) and not close(hard, wrong):
            raise NotYet(hint)
    if not close(value, hard):
        raise NotYet("Forwards your gate should be 1 where norm >= t and else 0, for each element by itself.")

    direction = _random("gate", *norm.shape)
    if not answer.requires_grad:
        raise NotYet("Forwards it is right. But a comparison has no slope: no gradient comes back.")
    of_norm, of_t = torch.autograd.grad((answer * direction).sum(), (norm, t), allow_unused=True)
    right = soft * (1 - soft) / temperature
    if of_norm is None or of_t is None:
        missing = "norm" if of_norm is None else "t"
        raise NotYet(f"Forwards it is right. But `{missing}` gets no gradient: it was detached, or left out.")
    slope, plain = of_norm / direction, torch.sigmoid(margin)
    for wrong, hint in (
        (torch.zeros_like(right), "The gradient is 0: a comparison is flat. Add something of value 0 and slope σ'."),
        (
            torch.ones_like(right),
            "The slope is 1 everywhere, that of the plain straight-through trick: take the sigmoid's.",
        ),
        (soft * (1 - soft), "The factor 1/temperature is missing: sigmoid(x / temperature) has it by the chain rule."),
        (plain * (1 - plain), "The temperature is missing in the slope."),
        (soft, "That is the sigmoid, not its slope."),
        (-right, "The sign is wrong: a larger norm opens the gate."),
    ):
        if close(slope, wrong) and not close(right, wrong):
            raise NotYet(f"Forwards it is right. {hint}")
    if not close(slope, right):
        raise NotYet("Forwards it is right. Backwards the slope should be that of sigmoid((norm - t) / temperature).")
    if close(of_t, of_norm):
        raise NotYet("The norm's slope is right. A HIGHER threshold closes the gate: its slope has the other sign.")
    if not close(of_t, -of_norm):
        raise NotYet("The norm's slope is right. The threshold's should be the same with the other sign.")


# --- 4 -----------------------------------------------------------------------------------------------------------


def _depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=len(kernel))


def kernel_masked(x: Tensor, kernel: Tensor, norm: nn.BatchNorm2d, mask: Tensor) -> Tensor:
    """The bug: the mask stands in front of the normalisation."""
    return F.relu6(norm(_depthwise(x, kernel * mask.view(-1, 1, 1, 1))))


def norm_masked(x: Tensor, kernel: Tensor, norm: nn.BatchNorm2d, mask: Tensor, *, shift: bool = True) -> Tensor:
    """One that is sound: scale and shift of the normalisation are masked. ``shift``: False forgets the second."""
    return F.relu6(
        F.batch_norm(
            _depthwise(x, kernel), norm.running_mean, norm.running_var, norm.weight * mask,
            norm.bias * mask if shift else norm.bias, norm.training, norm.momentum or 0.0, norm.eps,
        )
    )  # fmt: skip


def output_masked(x: Tensor, kernel: Tensor, norm: nn.BatchNorm2d, mask: Tensor) -> Tensor:
    """Just as sound: everything is computed, and then masked. So does the book, on the weights that read it."""
    return F.relu6(norm(_depthwise(x, kernel))) * mask.view(-1, 1, 1)


def _shift_left(x: Tensor, kernel: Tensor, norm: nn.BatchNorm2d, mask: Tensor) -> Tensor:
    return norm_masked(x, kernel, norm, mask, shift=False)


def trained_norm(channels: int) -> nn.BatchNorm2d:
    """A normalisation with scales and shifts as training leaves them."""
    norm = nn.BatchNorm2d(channels).double()
    with torch.no_grad():
        norm.weight.copy_(2 + _even("scale", channels))
        norm.bias.copy_(0.4 + 0.5 * _even("shift", channels))
    return norm


class _Seen:
    """One way to mask, which notes what it was tested with."""

    def __init__(self, masked: Callable):
        self.masked, self.positive, self.closed = masked, False, False

    def __call__(self, x, kernel, norm, mask):
        shut = mask.detach().flatten() == 0
        self.closed |= bool(shut.any())
        if norm.bias is not None and norm.bias.shape == shut.shape:
            self.positive |= bool((norm.bias.detach()[shut] > 0).any())
        return self.masked(x, kernel, norm, mask)


@checked("The mask in the wrong place")
def wrong_mask(masked_before: Callable, leaks: Callable, what_fails: Any) -> str:
    """Masking the kernel in front of the normalisation; a test that catches it; what it makes false."""
    chosen = letters(what_fails, "what_fails", "abcdef")
    x, kernel = _random("maps", 5, 6, 7, 7), _random("depthwise", 6, 1, 5, 5)
    mask = torch.tensor([1.0, 1, 0.5, 0, 0, 0], dtype=torch.float64)
    broken = kernel_masked(x, kernel, trained_norm(6), mask).detach()
    value = _tensor(call(masked_before, x, kernel, trained_norm(6), mask), x.shape, "what `masked_before` returns")
    unclipped = trained_norm(6)(_depthwise(x, kernel * mask.view(-1, 1, 1, 1))).detach()
    behind = "Nothing leaks from yours: it is the sound one. The bug masks the KERNEL, before the normalisation."
    compare(
        value,
        broken,
        [
            (norm_masked(x, kernel, trained_norm(6), mask).detach(), behind),
            (output_masked(x, kernel, trained_norm(6), mask).detach(), behind),
            (
                _shift_left(x, kernel, trained_norm(6), mask).detach(),
                "You mask the normalisation's scale and not its shift. That leaks, too, but mask the kernel instead.",
            ),
            (F.relu6(trained_norm(6)(_depthwise(x, kernel))).detach(), "Your mask does nothing yet."),
            (unclipped, "The ReLU6 is missing."),
            (unclipped.relu(), "Your ReLU has no end at 6: the block has ReLU6."),
            (_depthwise(x, kernel * mask.view(-1, 1, 1, 1)), "The normalisation is missing, and ReLU6."),
        ],
        "Not the bug yet: the kernel times the mask, the depthwise convolution, `norm`, ReLU6.",
    )

    def says(masked: Callable) -> tuple[bool, _Seen]:
        watched = _Seen(masked)
        return truth(call(leaks, watched), "leaks"), watched

    found, watched = says(kernel_masked)
    if not found:
        if not watched.closed:
            raise NotYet("Your test closes no channel: give it a mask with a 0 in it.")
        if not watched.positive:
            raise NotYet(
                "Your test lets the bug through. The shift of a new normalisation is 0, and what leaks is the shift: "
                "before training nothing shows. Give the closed channels a shift above 0."
            )
        for other in (norm_masked, output_masked):
            if says(other)[0]:
                raise NotYet("Your test says it the wrong way round: True means that something leaks.")
        raise NotYet("Your test lets the bug through: is it the closed channels that you look at?")
    for other in (norm_masked, output_masked):
        if says(other)[0]:
            raise NotYet(
                "Your test accuses a sound one. Open channels may put out what they like: look at the closed ones "
                "only, and ask for more than 0."
            )

    for letter, hint in {
        "a": "Bug and test are right. Of the sentences, the one that your own test asks is missing.",
        "e": "One is missing: what does the next convolution get from a closed channel, and what without it?",
        "c": "One is missing: multiply a kernel by 0.9. What does the normalisation make of it?",
        "d": "One is missing: from which numbers are the statistics of a closed channel taken?",
    }.items():
        if letter not in chosen:
            raise NotYet(hint)
    for letter, hint in {
        "b": "b still holds: a mask of ones changes nothing, wherever it stands. So at the start nothing shows.",
        "f": "f still holds: the cost is a formula of the gates, and does not ask where the mask stands.",
    }.items():
        if letter in chosen:
            raise NotYet(hint)
    return (
        f"A closed channel of yours puts out {broken[:, 3:].mean():.2f} on average, at every place. While a "
        "gate is open, the normalisation undoes what a little less of it would change: its slope from the task is 0."
    )


# --- 5 -----------------------------------------------------------------------------------------------------------

FIVE_BLOCKS = SearchSpace(
    SpaceConfig(stem=8, stages=(StageConfig(8, 1, 1), StageConfig(12, 2, 2), StageConfig(16, 2, 2))), (1, 8, 8), 10
)
FIRST = FIVE_BLOCKS.blocks[0]
SMALL_CHOICE, LARGE_CHOICE = Choice(3, 3, (8, 4, 2)), Choice(5, 6, (8, 8, 8))


def multiplies_of(block: Block, choice: Choice) -> int:
    """Of one image, in the block's three convolutions."""
    return sum(conv.macs for conv in block.convs(choice.kernel, choice.expansion))


def bytes_of(block: Block, choice: Choice) -> float:
    """Of the block's weights."""
    convs = block.convs(choice.kernel, choice.expansion)
    return sum(conv.parameters * bits for conv, bits in zip(convs, choice.bits, strict=True)) / 8


def _count(value: Any, name: str, right: float, mistakes: Mapping[float, str], otherwise: str) -> None:
    """A number, by hand: a rounding to three digits is right."""
    number = as_number(value, name)
    for wrong, hint in mistakes.items():
        if math.isclose(number, wrong, rel_tol=1e-9):
            raise NotYet(hint)
    if math.isclose(number, right, rel_tol=1e-3):
        return
    if any(math.isclose(number * unit, right, rel_tol=0.01) for unit in (1e3, 1e6, 1e9)):
        raise NotYet(f"`{name}` is right, up to its unit: write the number in full, not in thousands or millions.")
    raise NotYet(f"`{name}` is not right yet. {otherwise}")


@checked("Count a space and a block")
def counts(architectures: Any, policies: Any, small: Any, large: Any, small_bytes: Any) -> str:
    """Architectures and policies of the chapter's five blocks; multiplications and bytes of its first one."""
    _count(
        architectures,
        "architectures",
        FIVE_BLOCKS.architectures,
        {
            4**5: "`architectures` has no block that is left out: three of the five may be.",
            5**5: "`architectures` leaves out every block: two of them change the shape, so nothing can pass through.",
            3 * 5 + 2 * 4: "`architectures` is a sum. The blocks are chosen independently: multiply.",
            2**5: "`architectures`: two kernels AND two expansions make four networks of each block.",
        },
        "Four shapes of each block; one more where the block may be left out; then the product over five blocks.",
    )
    options = 4 * 27
    _count(
        policies,
        "policies",
        FIVE_BLOCKS.policies,
        {
            FIVE_BLOCKS.architectures * 27**5: (
                "`policies` gives bits to blocks that are left out. They have none: count 4 x 27 + 1 there."
            ),
            FIVE_BLOCKS.architectures * 3**5: "`policies` has one bit-width for a block. It has three convolutions.",
            (4 * 3 + 1) ** 3 * (4 * 3) ** 2: "`policies` has one bit-width for a block. It has three convolutions.",
            options**5: "`policies` has no block that is left out.",
            (options + 1) ** 5: "`policies` leaves out every block: two of them cannot be.",
            (4 * 9 + 1) ** 3 * (4 * 9) ** 2: "Three bit-widths for each of THREE convolutions: 27, not 9.",
        },
        "For a block that stays: shapes times bit-widths of the first, second and third convolution.",
    )
    for name, value, choice in (("small", small, SMALL_CHOICE), ("large", large, LARGE_CHOICE)):
        right, middle = multiplies_of(FIRST, choice), 8 * choice.expansion
        taps = choice.kernel**2
        other = multiplies_of(FIRST, Choice(8 - choice.kernel, choice.expansion, choice.bits))
        mistakes = {
            2 * right: f"`{name}` counts additions as well. Here a multiplication and its addition are one.",
            64 * (2 * 8 * middle + taps * middle * middle): (
                f"`{name}` takes the depthwise convolution for a full one: there, each channel sees only itself."
            ),
            right // 64: f"`{name}` is for one place of the map: there are 8 x 8.",
            64 * 8 * middle + 64 * taps * middle: f"`{name}` lacks the third convolution, back down to 8 channels.",
            64 * 2 * 8 * middle: f"`{name}` lacks the depthwise convolution.",
            other: f"`{name}` has the other kernel: this choice is {choice.kernel}x{choice.kernel}.",
        }
        alone = 64 * taps * middle
        mistakes[alone] = f"`{name}` is the depthwise convolution alone." + (
            " Or do you have all three, with the other kernel?" if alone == other else ""
        )
        _count(value, name, right, mistakes, "Weights of the three convolutions, times the 64 places of the map.")
    right = bytes_of(FIRST, SMALL_CHOICE)
    weights = sum(conv.parameters for conv in FIRST.convs(3, 3))
    _count(
        small_bytes,
        "small_bytes",
        right,
        {
            8 * right: "`small_bytes` counts bits: eight of them make a byte.",
            weights: "`small_bytes` has 8 bits for every weight: the second convolution has 4, the third 2.",
            4 * weights: "`small_bytes` is that of 32-bit floats: the three convolutions have 8, 4 and 2 bits.",
            64 * right: "`small_bytes`: a weight is stored once, however many places it is used at.",
            8 * multiplies_of(FIRST, SMALL_CHOICE) / 8: "`small_bytes` is about weights, not about multiplications.",
        },
        "Weights of each convolution times its bits, the sum over 8.",
    )
    ratio = multiplies_of(FIRST, LARGE_CHOICE) / multiplies_of(FIRST, SMALL_CHOICE)
    share = bytes_of(FIRST, LARGE_CHOICE) / right
    years = FIVE_BLOCKS.policies * 10 / 3600 / 24 / 365
    return (
        f"{ratio:.1f} times the multiplications, {share:.1f} times the bytes. At ten seconds a policy, trying all of "
        f"them would take {years:,.0f} years. One supernet holds them all."
    )


# --- 6 -----------------------------------------------------------------------------------------------------------


def _a_table() -> CostTable:
    """Costs of four blocks without any order or sense in them."""
    return CostTable(1 + 9 * _even("costs", 4, len(PARTS), 2, 2, len(BITS)), 7.5, "cycles", "drawn at random")


def _gates(name: str, *, hard: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(g_s, g_e, g_k, bits) of four blocks."""
    found = [_even(f"{name} {place}", *shape) for place, shape in enumerate([(4,), (4,), (4,), (4, len(PARTS), 2)])]
    return tuple((one > 0.5).double() if hard else one for one in found)


def _one_hot(gate: Tensor) -> Tensor:
    return torch.stack([1 - gate, gate], -1)


def _cost_with(
    table: CostTable, gates: tuple, *, turn: str = "", nested: str = "right", constant: float = 1, kept: bool = True
) -> float:
    """The cost with one mistake or another."""
    skip, expansion, kernel, bits = gates
    expansion, kernel = (_one_hot(one) for one in (expansion, kernel))
    four, eight = bits.unbind(-1)
    options = {
        "right": (1 - four, four * (1 - eight), four * eight),
        "flat": (1 - four, four * (1 - eight), eight),
        "free": (1 - four, four, eight),
        "three": (1 - four, four, four * eight),
        "free eight": ((1 - four) * (1 - eight), four * (1 - eight), four * eight),
    }
    chosen = torch.stack(options[nested], -1)
    if turn == "e":
        expansion = expansion.flip(-1)
    if turn == "k":
        kernel = kernel.flip(-1)
    if turn == "b":
        chosen = chosen.flip(-1)
    if turn == "ek":
        expansion, kernel = kernel, expansion
    skip = skip if kept else torch.ones_like(skip)
    blocks = (
        table.table
        * skip.view(-1, 1, 1, 1, 1)
        * expansion[:, None, :, None, None]
        * kernel[:, None, None, :, None]
        * chosen[:, :, None, None, :]
    )
    return table.constant * constant + float(blocks.sum())


COST_MISTAKES = (
    ({"constant": 0}, "The constant is missing: stem and classifier cost something, too."),
    ({"kept": False}, "g_s is missing: a block that is left out costs nothing."),
    ({"turn": "e"}, "The expansions are turned round: the table has 3 first, and g_e = 1 means 6."),
    ({"turn": "k"}, "The kernels are turned round: the table has 3x3 first, and g_k = 1 means 5x5."),
    (
        {"turn": "ek"},
        "Expansions and kernels changed places: the table's axes are block, part, expansion, kernel, bits.",
    ),
    ({"turn": "b"}, "The bits are turned round: the table has 2 first."),
    ({"nested": "flat"}, "With g_4 = 0 there is no 8: p_b of 8 bits is a product of BOTH gates."),
    ({"nested": "free"}, "Your three bits do not sum to 1: g_4 = g_8 = 1 counts both 4 and 8."),
    ({"nested": "three"}, "Your three bits do not sum to 1: with g_8 open, 4 bits are out."),
    (
        {"nested": "free eight"},
        "With g_4 = 0 and g_8 = 1 your three bits are all 0, and the convolution is free. It has 2 bits then: g_8 "
        "counts for nothing there.",
    ),
)


@checked("Every cost in one contraction")
def expected_cost(cost_by_you: Callable, block_gone: Any, only_2_bits: Any) -> str:
    """LAT of hard and soft gates from a table; which gates have a slope where others are closed."""
    table = _a_table()

    def ask(gates: tuple) -> tuple[float, Any]:
        answer = call(cost_by_you, table.table, table.constant, *gates)
        if isinstance(answer, Tensor) and answer.numel() > 1:
            raise NotYet(f"LAT is one number for the whole network, and yours has shape {tuple(answer.shape)}: sum it.")
        return as_number(answer, "LAT"), answer

    hard = [_gates(f"hard {number}", hard=True) for number in range(6)]
    soft = [_gates(f"soft {number}", hard=False) for number in range(3)]
    found = {kind: [ask(gates)[0] for gates in cases] for kind, cases in (("hard", hard), ("soft", soft))}

    def same(kind: str, cases: list, cost: Callable[[tuple], float]) -> bool:
        return all(math.isclose(a, cost(gates), rel_tol=1e-5) for a, gates in zip(found[kind], cases, strict=True))

    def exact(gates: tuple) -> float:
        return table.expected(Gates(*gates)).item()

    for kind, cases in (("hard", hard), ("soft", soft)):
        for mistake, hint in COST_MISTAKES:
            wrong = [_cost_with(table, gates, **mistake) for gates in cases]
            if same(kind, cases, lambda gates, mistake=mistake: _cost_with(table, gates, **mistake)) and not all(
                math.isclose(a, exact(gates), rel_tol=1e-5) for a, gates in zip(wrong, cases, strict=True)
            ):
                raise NotYet(hint)
        if not same(kind, cases, exact):
            if kind == "soft":
                raise NotYet(
                    "With gates of 0 and 1 it is exact. Between them LAT should be a straight line in each gate: no "
                    "rounding, no `if`, no index, only products with g and 1 - g."
                )
            raise NotYet("With gates of 0 and 1, LAT should be the constant and the table's entries of what is there.")

    gates = tuple(one.clone().requires_grad_() for one in soft[0])
    answer = ask(gates)[1]
    if not isinstance(answer, Tensor) or not answer.requires_grad:
        raise NotYet("The numbers are right, but no gradient comes back to the gates: `float` or `item` cut it off.")
    slopes = torch.autograd.grad(answer.sum(), gates, allow_unused=True)
    wanted = torch.autograd.grad(table.expected(Gates(*gates)), gates)
    for name, slope, right in zip(("g_s", "g_e", "g_k", "the bits"), slopes, wanted, strict=True):
        if slope is None or not close(slope, right):
            raise NotYet(f"The numbers are right, but the gradient of {name} is not: is it cut off somewhere?")

    for name, value, right, about in (
        ("block_gone", block_gone, "a", "a block with g_s = 0"),
        ("only_2_bits", only_2_bits, "abcd", "a block that stays, all its g_4 closed"),
    ):
        chosen = letters(value, name, "abcde")
        for letter in "abcde":
            words = dict(zip("abcde", ("g_s", "g_e", "g_k", "g_4", "g_8"), strict=True))[letter]
            if letter in chosen and letter not in right:
                raise NotYet(
                    f"Your function is right. `{name}` is about {about}: by which factor is the slope of {words} "
                    "multiplied there?"
                )
            if letter not in chosen and letter in right:
                raise NotYet(f"Your function is right. `{name}`, {about}: opening {words} there would change LAT.")
    return (
        "Exact where gates are hard, and a straight line in each gate between. And what stands behind a closed gate "
        "has no slope: it comes to life only when that gate opens."
    )


# --- 7 -----------------------------------------------------------------------------------------------------------

DEPTHWISE = {kernel: Conv(48, 48, kernel, 1, 48, 8, 8) for kernel in (3, 5)}
PROJECT = Conv(48, 8, 1, 1, 1, 8, 8)
OTHERS = (
    Conv(8, 48, 1, 1, 1, 8, 8), Conv(1, 8, 3, 1, 1, 8, 8), Conv(72, 72, 5, 2, 72, 4, 4), Conv(96, 320, 1, 1, 1, 7, 7),
    Conv(64, 128, 3, 1, 4, 6, 6),
)  # fmt: skip


def cycles_of(conv: Conv, bits: int, rows: int = 16) -> int:
    """Of the book's BitFusion, with so many rows."""
    return replace(SMALL, rows=rows).compute_cycles(conv, bits)


def cheapest_bits(conv: Conv) -> int:
    """The most bits that take no cycle more than 2 bits do."""
    return max(bits for bits in BITS if cycles_of(conv, bits) == cycles_of(conv, 2))


def rows_with_a_gain(conv: Conv) -> int:
    """The most rows with which 4 bits take fewer cycles than 8."""
    return max(rows for rows in range(1, 65) if cycles_of(conv, 4, rows) < cycles_of(conv, 8, rows))


def _cycles_with(
    conv: Conv, bits: int, rows: int, *, groups: bool = True, whole: Callable = math.ceil, exact: bool = False,
    products: bool = True, outputs: bool = True, share: bool = True, places: bool = True,
) -> float:  # fmt: skip
    """The same count with one mistake or another."""
    at_once = (8 / bits if exact else 8 // bits) if products else 1
    columns = math.ceil(conv.out_channels / (conv.groups if share else 1) / 32) if outputs else 1
    taps = whole(conv.taps / (rows * at_once))
    return (conv.groups if groups else 1) * (conv.positions if places else 1) * columns * taps


CYCLE_MISTAKES = (
    ({"groups": False}, "The groups are missing: a depthwise convolution is computed channel by channel."),
    (
        {"share": False},
        "A group has `out_channels / groups` outputs: for a depthwise convolution, one.",
    ),
    ({"groups": False, "share": False}, "The groups are missing: each is a convolution of its own."),
    ({"whole": lambda share: share}, "A cycle is whole: what fills half of the rows takes a cycle all the same."),
    ({"whole": math.floor}, "You rounded down: what remains in a row that is not full takes a cycle, too."),
    (
        {"exact": True},
        "Right for 2, 4 and 8 bits. But a unit splits into whole parts: with 3 bits into 2, and with 6 into 1.",
    ),
    ({"products": False}, "Your cycles do not depend on the bits: narrow weights make several products at once."),
    ({"outputs": False}, "The outputs are missing: 32 of them at a time."),
    ({"places": False}, "The places of the map are missing."),
)


@checked("Why 5x5 is free at 4 bits")
def bitfusion(three: Any, five: Any, cycles_by_you: Callable, best_bits: Any, most_rows: Any) -> str:
    """Cycles at 8, 4 and 2 bits by hand; as a function; the best bits; an array with other rows."""
    for name, value, kernel in (("three", three, 3), ("five", five, 5)):
        given = numbers(value, 3, name)
        conv = DEPTHWISE[kernel]
        right = [cycles_of(conv, bits) for bits in (8, 4, 2)]
        for mistake, hint in (
            *CYCLE_MISTAKES,
            ({"groups": False, "places": False}, "Places and channels are missing."),
        ):
            wrong = [_cycles_with(conv, bits, 16, **mistake) for bits in (8, 4, 2)]
            if near(given, wrong) and not near(wrong, right):
                raise NotYet(f"`{name}` is not right yet. {hint}")
        if near(given, right[::-1]) and right[::-1] != right:
            raise NotYet(f"`{name}` is in the wrong order: 8 bits first, then 4 and 2.")
        if near(given, [conv.macs / at_once for at_once in (1, 2, 4)]):
            raise NotYet(f"`{name}` has the multiplications themselves: a row of the array makes 16 of them and more.")
        if not near(given, right):
            raise NotYet(
                f"`{name}` is not right yet: 48 channels, 64 places, and ⌈{kernel**2} / (16 · products)⌉ cycles."
            )

    cases = [(conv, bits, 16) for conv in (*DEPTHWISE.values(), PROJECT, *OTHERS) for bits in (2, 4, 8)]
    odd = [(conv, bits, 16) for conv in (*DEPTHWISE.values(), *OTHERS) for bits in (3, 6)]
    turned = [(conv, bits, rows) for conv in (*DEPTHWISE.values(), *OTHERS) for bits in BITS for rows in (7, 8, 32)]
    answers = {
        case: as_number(call(cycles_by_you, *case), "what your function returns") for case in cases + odd + turned
    }

    def same(chosen: list, cycles: Callable[..., float]) -> bool:
        return all(math.isclose(answers[case], cycles(*case), rel_tol=1e-9) for case in chosen)

    if not same(cases, cycles_of) or not same(odd, cycles_of):
        for mistake, hint in CYCLE_MISTAKES:
            if same(cases + odd, lambda *case, mistake=mistake: _cycles_with(*case, **mistake)):
                raise NotYet(f"Your function is not right yet. {hint}")
        case = next(case for case in cases + odd if not same([case], cycles_of))
        raise NotYet(
            f"Your function gives {answers[case]:g} cycles for {case[1]} bits and {case[0].groups} groups of "
            f"{case[0].taps} inputs and {case[0].out_channels // case[0].groups} outputs, at {case[0].positions} "
            "places. Put that into the formula by hand."
        )
    if not same(turned, cycles_of):
        raise NotYet("With 16 rows your function is right. With another number it is not: use `rows`.")

    best, right = numbers(best_bits, 3, "best_bits"), [cheapest_bits(conv) for conv in (*DEPTHWISE.values(), PROJECT)]
    if near(best, [2, 2, 2]):
        raise NotYet("`best_bits`: 2 bits are the cheapest, but not the best, where more bits cost no cycle more.")
    for number, wanted, what in zip(best, right, ("3x3", "5x5", "1x1"), strict=True):
        if number not in BITS:
            raise NotYet(f"`best_bits` should name 2, 4 or 8 for each convolution, and {number:g} is none of them.")
        if number > wanted:
            raise NotYet(f"`best_bits`: at {number:g} bits the {what} convolution takes more cycles than at 2.")
        if number < wanted:
            raise NotYet(f"`best_bits`: more bits for the {what} convolution would cost no cycle more. Why do without?")

    rows, right = as_number(most_rows, "most_rows"), rows_with_a_gain(DEPTHWISE[3])
    if rows == 9:
        raise NotYet("Nine rows hold all nine products already at 8 bits: nothing is left to save.")
    if rows in (4, 5):
        raise NotYet("There is a gain with so few rows, and with more of them too: try your function on each.")
    if rows != right:
        raise NotYet("`most_rows` is not right yet: ask your function for 8 and 4 bits at each number of rows.")
    return (
        f"So the best bits of a kernel depend on its size, and the best kernel on its bits: with 5x5 at 4 bits costing "
        f"{cycles_of(DEPTHWISE[5], 4):,} cycles like 3x3 at 8. Who settles one before the other cannot see that."
    )


# --- 8 -----------------------------------------------------------------------------------------------------------

FORMS = ("multiplicative", "additive", "hinge", "absolute")
PLACES = ((2.0, 4.0), (0.02, 4.0), (0.02, 0.25))
"""(CE, LAT in units of T)."""
STRENGTHS = {"multiplicative": 0.5}


def slope_on_cost(form: str, ce: float, cost: float) -> float:
    """d loss / d LAT of the book's own objective with T = 1, at its start; measured by autograd."""
    objective = Objective(ObjectiveConfig(form, STRENGTHS.get(form, 1.0)), 1.0).double()
    lat = torch.tensor(cost, dtype=torch.float64, requires_grad=True)
    loss = objective(torch.tensor(ce, dtype=torch.float64), lat)
    return torch.autograd.grad(loss, lat)[0].item()


SLOPE_MISTAKES: dict[str, tuple[tuple[Callable[[float, float], float], str], ...]] = {
    "multiplicative": (
        (lambda ce, lat: 0.5 * ce / lat, "The factor (LAT/T)^β is missing: only at LAT = T it is 1."),
        (lambda ce, lat: 0.5 / lat * lat**0.5, "CE is missing: it multiplies everything."),
        (lambda ce, lat: ce * lat**0.5, "That is the loss: its slope on LAT is wanted."),
        (lambda ce, lat: ce * lat**-0.5, "β comes down as a factor."),
        (lambda ce, lat: 0.5 * ce * lat**0.5, "The exponent falls by one: β (LAT/T)^(β - 1) / T."),
    ),
    "additive": (
        (lambda ce, lat: ce + math.log(lat), "That is the loss: its slope on LAT is wanted."),
        (lambda ce, lat: math.log(lat), "That is the penalty: its slope on LAT is wanted."),
        (lambda ce, lat: ce / lat, "CE is added here, not multiplied: the slope does not know it."),
        (lambda ce, lat: 1.0, "The slope of a logarithm falls: log LAT has 1/LAT."),
    ),
    "hinge": (
        (lambda ce, lat: max(lat - 1, 0), "That is the penalty: its slope on LAT is wanted."),
        (lambda ce, lat: 1.0, "Below the target a hinge is flat."),
        (lambda ce, lat: math.copysign(1.0, lat - 1), "Below the target a hinge is flat; that is the absolute form."),
        (lambda ce, lat: ce * (lat > 1), "CE is added here, not multiplied: the slope does not know it."),
    ),
    "absolute": (
        (lambda ce, lat: abs(lat - 1), "That is the penalty: its slope on LAT is wanted."),
        (lambda ce, lat: 1.0, "Below the target the absolute value falls as LAT rises: mind the sign."),
        (lambda ce, lat: float(lat > 1), "Below the target the absolute form is not flat; that is the hinge."),
        (lambda ce, lat: math.copysign(ce, lat - 1), "CE is added here, not multiplied: the slope does not know it."),
    ),
}


@checked("Which objective for which aim")
def objectives(slopes_on_lat: Any, choose: Any) -> str:
    """Slopes on LAT of four objectives at three places; which of them has which aim."""
    known = ", ".join(f'"{form}"' for form in FORMS)
    given = _named(slopes_on_lat, "slopes_on_lat", FORMS, f"{known} -> three numbers")
    rows = {form: numbers(given[form], 3, f"slopes_on_lat[{form!r}]") for form in FORMS}

    def same(row: list[float], others: Iterable[float]) -> bool:
        return all(math.isclose(a, b, rel_tol=0.02, abs_tol=1e-5) for a, b in zip(row, others, strict=True))

    for form, row in rows.items():
        right = [slope_on_cost(form, *place) for place in PLACES]
        for wrong, hint in SLOPE_MISTAKES[form]:
            if same(row, [wrong(*place) for place in PLACES]):
                raise NotYet(f"{form}: {hint}")
        if same(row, [-one for one in right]):
            raise NotYet(
                f"{form}: the slope has the wrong sign: a larger LAT makes the loss larger where it is above T."
            )
        if not same(row, right):
            off = next(place for place, (a, b) in enumerate(zip(row, right, strict=True)) if not same([a], [b]))
            ce, lat = PLACES[off]
            raise NotYet(
                f"{form}: not right yet at CE = {ce:g} and LAT = {lat:g} T. Differentiate by LAT, and put it in."
            )

    chosen = _named(choose, "choose", "abcd", 'letter of the aim -> name of the form, such as "hinge"')
    for letter, form in chosen.items():
        if not isinstance(form, str) or form.strip().lower() not in FORMS:
            raise NotYet(f"`choose`, aim {letter}: one of {known}.")
        chosen[letter] = form.strip().lower()
    if len(set(chosen.values())) < len(FORMS):
        raise NotYet("Your slopes are right. In `choose` each form serves one aim, and yours has one of them twice.")
    for letter, right, hint in (
        ("a", "absolute", "which slope is below 0 under the target, so that gates open again?"),
        ("b", "hinge", "which slope is exactly 0 under the target?"),
        ("d", "multiplicative", "which form asks for per cent of the loss, whatever the loss is?"),
        ("c", "additive", "which form takes off the same amount each time that LAT halves?"),
    ):
        if chosen[letter] != right:
            raise NotYet(f"Your slopes are right. Aim {letter} is not served by the form '{chosen[letter]}': {hint}")
    strong, weak = (slope_on_cost("multiplicative", *place) for place in PLACES[:2])
    return (
        f"From {strong:g} to {weak:g}: as a task is learnt, the multiplicative form lets go of the cost. Where CE "
        "stays large, as on ImageNet, that does no harm. Digits are learnt to almost 0: so the chapter takes another."
    )


# --- 9 -----------------------------------------------------------------------------------------------------------

SPEED_UP = 1.8


@checked("Is the comparison fair?")
def fairness(latency_left: Any, bits_alone: Any, objections: Any, controls: Any) -> str:
    """What 1.8 times means; which objections to the abstract hold; which control answers which."""
    left, right = as_number(latency_left, "latency_left"), 100 / SPEED_UP
    if abs(left - right) > 1:
        for wrong, tolerance, hint in (
            (100 - right, 1, "That is what is saved: how much is LEFT?"),
            (right / 100, 0.01, "That is a share: give it in percent."),
            (20, 1, "1.8 times faster is not 80 percent less: divide by 1.8."),
            (100 * SPEED_UP, 1, "Divide by 1.8: the latency gets smaller."),
            (80, 1, "Divide by 1.8: the latency gets smaller."),
        ):
            if abs(left - wrong) <= tolerance:
                raise NotYet(f"`latency_left` is not right yet. {hint}")
        raise NotYet("`latency_left` is not right yet: one part in 1.8, in percent.")
    bits, right = as_number(bits_alone, "bits_alone"), 8 / SPEED_UP
    if abs(bits - right) > 0.06:
        for wrong, hint in (
            (8 * SPEED_UP, "Fewer bits make it faster: divide."),
            (8 - right, "That many bits are saved: how many are left?"),
            (32 / SPEED_UP, "The weights had 8 bits before."),
            (SPEED_UP, "That is the factor: 8 bits, divided by it."),
        ):
            if abs(bits - wrong) <= 0.06:
                raise NotYet(f"`bits_alone` is not right yet. {hint}")
        raise NotYet("`bits_alone` is not right yet: the time follows the bits of the weights, which were 8.")

    chosen = letters(objections, "objections", "abcdefg")
    if "d" in chosen:
        raise NotYet(
            "Objection d does not hold: what a network takes on a device is known before any test image is seen. To "
            "aim at what counts is the point of the method."
        )
    if "f" in chosen:
        raise NotYet("Objection f does not hold: these are two data sets, and hours of one say nothing of the other.")
    for letter, hint in {
        "a": "One objection is missing. Your own second number: could the bits alone explain the gain?",
        "b": "One objection is missing. Faster AND worse: what does a smaller network of the other method do?",
        "c": "One objection is missing. How far do two runs of the very same search lie apart?",
        "e": "One objection is missing. Faster on what?",
        "g": "One objection is missing. A tenth of what?",
    }.items():
        if letter not in chosen:
            raise NotYet(hint)

    given = numbered_controls(controls, "abceg")
    for letter, right, hint in (
        ("a", 1, "It takes the other network, and no other change than its bits."),
        ("b", 2, "It takes more than one point of each method, so that one can compare at equal latency."),
        ("c", 3, "It takes the same comparison again, by chance alone different."),
        ("e", 4, "It takes a device to which few bits mean nothing."),
        ("g", 5, "It is about the price of a search, so it takes other searches and an account of what each used."),
    ):
        if given[letter] == 6:
            raise NotYet("Control 6 answers none of them: a longer training gives one more pair of numbers.")
        if given[letter] != right:
            raise NotYet(f"Control {given[letter]:g} does not answer objection {letter}. {hint}")
    return (
        f"Weights of {8 / SPEED_UP:.1f} bits on average would do it, without any search of the architecture. That does "
        "not make the claim false: it says which experiment would support it. The chapter runs those that fit a laptop."
    )


# --- 10 ----------------------------------------------------------------------------------------------------------


@checked("Open project: change one thing")
def project(report: Any) -> str:
    """The form of a report, and whether its verdicts follow from its own numbers. No experiment is judged here."""
    seeds = seeds_of(report, (*KEYS[:2], "costs", *KEYS[2:]))
    costs = report["costs"]
    if not isinstance(costs, Mapping) or not {"baseline", "changed"} <= set(costs):
        raise NotYet('"costs" should be a dictionary: "baseline" and "changed" -> a table as that of the errors.')
    paid = {name: _shares(costs[name], f'"costs" of "{name}"', seeds, "cost") for name in ("baseline", "changed")}

    def enough(table: Table) -> str | None:
        if len(table) < 2 or min(table) > 0.25:
            return "Search for two budgets or more, one of them 0.25 or less: where all is affordable nothing differs."
        return None

    tables = {}

    def read(rows: Any, name: str) -> Table:
        tables[name] = _shares(rows, f'"{name}"', seeds, "error")
        return tables[name]

    note = undecided(report, read, enough, BUDGETS)
    worst = 0.0
    for name, table in paid.items():
        if set(table) != set(tables[name]):
            raise NotYet(f'"costs" of "{name}" has other budgets than the errors: one list for each budget.')
        for budget, row in table.items():
            if max(row) > budget * 1.001:
                raise NotYet(
                    f'"costs" of "{name}" has {max(row):.3g} at a budget of {budget:g}: a network that costs more than '
                    "it may is no answer. Compare at equal cost, with an objective that keeps its target."
                )
    for budget, row in paid["baseline"].items():
        worst = max(worst, *(abs(a - b) / budget for a, b in zip(row, paid["changed"][budget], strict=True)))
    fair = f"The costs differ by {100 * worst:.0f} % of the budget at most" if worst else "The costs are the same"
    return (
        f"Your verdicts follow from your numbers. {fair}.{note} Would a budget that nobody has tried bear out your "
        "explanation?"
    )


BUDGETS = Words("budgets", "of the full cost", "error", "smaller", "larger")


def _shares(rows: Any, name: str, seeds: int, what: str) -> dict[float, list[float]]:
    """{budget: [share of each seed]}, or a hint."""
    if not isinstance(rows, Mapping):
        raise NotYet(
            f"{name} should be a dictionary: budget, as a share of the full cost -> list of {what}s, one a seed."
        )
    table = {}
    for budget, values in rows.items():
        if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget <= 1:
            raise NotYet(f"The keys of {name} are budgets: shares of the full cost, above 0 and at most 1.")
        if not isinstance(values, list | tuple):
            raise NotYet(f"{name} at {budget:g} should be a list of {what}s, one a seed.")
        if len(values) != seeds:
            raise NotYet(f"{name} at {budget:g} has {len(values)} {what}s for {seeds} seeds.")
        table[budget] = [as_number(value, f"{what} at {budget:g}") for value in values]
        if min(table[budget]) < 0 or max(table[budget]) > 1:
            raise NotYet(f"{name} at {budget:g} has a number outside 0 to 1: give shares, not percent.")
    return table
