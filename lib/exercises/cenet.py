"""Checks of chapter 7, CENet-GCN. In the adjacency A a row is the place that receives, a column the one it looks at."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lib.cenet.blocks import Bottleneck
from lib.cenet.config import CENetConfig, GraphConfig
from lib.cenet.graph import GraphModule
from lib.cenet.long_range import receptive_frames
from lib.exercises.answers import letters, near, numbered_controls, numbers, truth
from lib.exercises.checks import NotYet, answered, as_number, as_tensor, call, checked, close, compare
from lib.exercises.reports import KEYS, Table, Words, seeds_of, undecided
from lib.speech.metrics.detection import DetectionCurve
from lib.speech.metrics.trials import Trials
from lib.training.multiplies import count_parameters
from lib.training.seeding import derive_seed, generator, isolated_seed


def _random(name: str, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(derive_seed(0, "exercise", name))).to(dtype)


def _layers(name: str, *widths: tuple[int, int]) -> list[nn.Linear]:
    """Linear layers (inputs, outputs) in double precision, with biases."""
    with isolated_seed(derive_seed(0, "exercise", name)):
        return [nn.Linear(*width).double().requires_grad_(False) for width in widths]


def _tensor(value: Any, shape: torch.Size, name: str) -> Tensor:
    """As ``as_tensor``, for maps: shapes are named without advice on other chapters' points."""
    if isinstance(value, Tensor) and value.shape != shape:
        raise NotYet(f"{name} has shape {tuple(value.shape)} where {tuple(shape)} is wanted.")
    return as_tensor(value, shape, name)


def _table(value: Any, rows: int, columns: int, name: str) -> Tensor:
    """(rows, columns) in double precision, from nested lists, a tensor or an array."""
    answered(value)
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple) or len(value) != rows:
        raise NotYet(f"`{name}` should be a list of {rows} rows with {columns} numbers each.")
    return torch.tensor(
        [numbers(row, columns, f"{name}[{place}]") for place, row in enumerate(value)], dtype=torch.float64
    )


# --- 1 -----------------------------------------------------------------------------------------------------------


@checked("One row of the graph")
def one_row(row: Any, context: Any, output: Any) -> str:
    """A row of A, context and output of the first of three places.

    θ(x) is ln 2 times the first channel, φ(x) the first channel, W the matrix with 7 and -1 on its diagonal, γ = -1/2.
    """
    x = torch.tensor([[1.0, 3.0], [0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    weight, gamma = torch.diag(torch.tensor([7.0, -1.0], dtype=torch.float64)), -0.5
    scores = x[:, :1] * math.log(2) * x[:, 0]
    right = scores.softmax(1)

    row = numbers(row, 3, "row")
    for wrong, hint in (
        (scores[0].exp(), "These are the exponentials. Divide them by their sum."),
        (
            scores.softmax(0)[0],
            "You divided by the sum over the receivers. A row belongs to ONE receiver: its three entries sum to 1.",
        ),
        (scores[0] / scores[0].sum(), "These are shares of the scores themselves: take the exponentials first."),
        (x[:, 0].softmax(0), "You left the factor ln 2 out of θ: with it, the exponentials are powers of 2."),
        (right[1], "That is the row of another place: the receiver is the first, so its own θ meets every φ."),
        (right[2], "That is the row of another place: the receiver is the first, so its own θ meets every φ."),
    ):
        if near(row, wrong.tolist()):
            raise NotYet(hint)
    if not near(row, right[0].tolist()):
        total = sum(row)
        if abs(total - 1) > 0.02:
            raise NotYet(f"A row of A sums to 1, and yours to {total:.3g}.")
        raise NotYet("The row is not right yet. Three scores, θ of the first place times φ of each; then the softmax.")

    mixed = right[0] @ x
    before = mixed @ weight
    context = numbers(context, 2, "context")
    for wrong, hint in (
        (before, "The row and W are right. The ReLU is missing."),
        (mixed, "That is the average of the places. W is missing, and the ReLU."),
        ((x.mean(0) @ weight).relu(), "The places count alike there, or only one of them: weigh them by the row."),
        (gamma * before.relu(), "γ is already in it: the context itself comes before."),
    ):
        if near(context, wrong.tolist()):
            raise NotYet(hint)
    if not near(context, before.relu().tolist()):
        raise NotYet("The row is right, the context not yet: average the places by the row, then W, then ReLU.")

    output = numbers(output, 2, "output")
    for wrong, hint in (
        (x[0] + (gamma * before).relu(), "Your γ went through the ReLU: it multiplies what comes out of it."),
        (x[0] + gamma * before, "You went on with the numbers from before the ReLU."),
        (gamma * before.relu(), "The place itself is missing: the context is ADDED to it."),
        (x[0] + before.relu(), "γ is missing."),
        (x[0] - gamma * before.relu(), "γ is negative here: mind the sign."),
    ):
        if near(output, wrong.tolist()):
            raise NotYet(hint)
    if not near(output, (x[0] + gamma * before.relu()).tolist()):
        raise NotYet("The context is right. Multiply it by γ and add it to the first place.")
    return (
        "The place looks mostly at the third one, whose first channel is largest. And since γ is negative, what it "
        "sees is taken away from it: trained networks do that, too."
    )


# --- 2 -----------------------------------------------------------------------------------------------------------


@checked("The graph module for a batch")
def graph_module(graph_by_you: Callable) -> str:
    """X_a = γ ReLU(A X W) + X for nodes (batch, N, c), the paper's softmax without a scale."""
    for batch, nodes, channels in ((4, 6, 8), (1, 5, 12)):
        with isolated_seed(derive_seed(0, "exercise", "graph")):
            module = GraphModule(channels, GraphConfig()).double().requires_grad_(False)
        module.gamma.fill_(-0.6)
        x, gamma = _random("nodes", batch, nodes, channels).abs(), -0.6
        theta, phi, weight = module.theta, module.phi, module.weight
        value = _tensor(call(graph_by_you, x, theta, phi, weight, gamma), x.shape, "what your module returns")
        values, scores = weight(x), theta(x) @ phi(x).mT
        rows = scores.softmax(2)

        def added(mixed: Tensor, x: Tensor = x, gamma: float = gamma) -> Tensor:
            return x + gamma * mixed.relu()

        mixed = rows @ values
        mistakes = [
            (
                added(scores.softmax(1) @ values),
                "Your softmax runs over the receivers i. Each receiver shares out ONE attention: over the senders j.",
            ),
            (added(scores.softmax(0) @ values), "Your softmax runs over the batch: the sounds do not know each other."),
            (added(scores.flatten(1).softmax(1).view_as(scores) @ values), "Your softmax runs over all of A at once."),
            (added(scores.mT.softmax(2) @ values), "θ and φ changed places: θ belongs to the receiver i, φ to j."),
            (added(rows.mT @ values), "A is turned over when you mix: the row i holds what the receiver i looks at."),
            (added(scores @ values), "The softmax is missing."),
            (
                added((scores / theta.out_features**0.5).softmax(2) @ values),
                "You divide the scores by the root of their width. That is the book's variant; here, do as the paper.",
            ),
            (x + gamma * mixed, "The ReLU is missing."),
            (x + (gamma * mixed).relu(), "γ is inside the ReLU: a negative γ could then never take anything away."),
            ((x + gamma * mixed).relu(), "The ReLU belongs to the context alone, and you put the sum through it."),
            (x + gamma * rows @ values.relu(), "The ReLU comes too early: first mix, then ReLU."),
            (gamma * mixed.relu(), "The nodes themselves are missing: the context is ADDED to them."),
            (mixed.relu(), "That is the context. Scale it by γ and add the nodes."),
            (x + mixed.relu(), "γ is missing: with γ = 0 nothing may be added."),
            (added(rows @ x), "W is missing: the nodes go through it before, or after, they are mixed."),
        ]
        compare(value, module(x.mT.unsqueeze(3)).squeeze(3).mT, mistakes, "Not the module yet: check each line.")
    return (
        "Seven operations, and every place has seen every other. It does not know where they stand: shuffle the "
        "nodes, and the output is shuffled in the same way."
    )


# --- 3 -----------------------------------------------------------------------------------------------------------


def _count(value: Any, name: str, right: int, mistakes: Mapping[int, str], otherwise: str) -> None:
    number = as_number(value, name)
    if number == right:
        return
    if number in mistakes:
        raise NotYet(mistakes[number])
    if any(math.isclose(number * unit, right, rel_tol=0.01) for unit in (1e3, 1e6)):
        raise NotYet(f"`{name}` is right, up to its unit: write the number in full, not in thousands or millions.")
    raise NotYet(f"`{name}` is not right yet. {otherwise}")


@checked("Count a block and a graph")
def counts(parameters: Any, multiplies: Any, graph_by_weights: Any, graph_by_activations: Any) -> str:
    """A bottleneck block 32 -> 8 -> 32 on a map of 25 x 10, and a graph module of 32 channels on 250 nodes."""
    block, places = Bottleneck(32, 8, 32), 250
    weights = sum(part.weight.numel() for part in block.modules() if isinstance(part, nn.Conv2d))
    right, by_weights, by_activations = places * weights, *graph_multiplies(places, 32)
    twice = "You count additions as well. Here a multiplication and its addition are one."
    _count(
        parameters,
        "parameters",
        count_parameters(block),
        {
            weights: "`parameters` lacks the batch normalisations: a scale and a shift for each of their channels.",
            weights + 48: (
                "`parameters` has one number a channel beside the convolutions. A batch normalisation has a scale AND "
                "a shift, and these convolutions have no bias."
            ),
            weights + 144: "`parameters` has biases in the convolutions: here they have none.",
            weights - 8 * 64 + 96: "`parameters` takes the 3x3 convolution for a 1x1: it has nine weights a pair.",
            weights - 8 * 64: "`parameters` takes the 3x3 convolution for a 1x1, and lacks the batch normalisations.",
        },
        "Three convolutions, inputs times outputs times kernel; behind each a scale and a shift for every channel.",
    )
    _count(
        multiplies,
        "multiplies",
        right,
        {
            2 * right: twice,
            weights: "That is for one place of the map: the weights are used again at each of its places.",
            250 * (weights + 96): "Batch normalisation is not counted here: in use it melts into the convolutions.",
            4 * right: "That is the map of stage 1. This block works on one of 25 x 10.",
        },
        "Each weight of a convolution is used once at every place of the map; padding counts as places do.",
    )
    _count(
        graph_by_weights,
        "graph_by_weights",
        by_weights,
        {
            250 * 32 * 32: "`graph_by_weights` has W alone: θ and φ have weights, too.",
            250 * (32 * 32 + 32 * 8): "`graph_by_weights` has one of the two embeddings: there are θ and φ.",
            2 * by_weights: (
                "Twice too much: do you count the additions, or are your θ and φ as wide as W? They are c/4 wide."
            ),
            250 * (32 * 32 + 2 * 32 * 8 + 48): "Biases are added, not multiplied: leave them out.",
            by_activations: "That is the other number: these are products of activations with each other.",
        },
        "Three linear layers at each of the 250 nodes: θ and φ from 32 to 8 channels, W from 32 to 32.",
    )
    _count(
        graph_by_activations,
        "graph_by_activations",
        by_activations,
        {
            250 * 250 * 8: "These are the scores. A times X W is a product of activations, too.",
            250 * 250 * 32: "That is A times X W. The scores are products of activations as well: θ with φ.",
            2 * by_activations: twice,
            250 * 250 * 64: "θ and φ are 8 wide, a quarter of the channels.",
            250 * 40: "Every node meets EVERY node: the number of nodes goes in squared.",
        },
        "Two products: θ with φ for every pair of nodes, and A with X W.",
    )
    totals = [sum(kind) / 1e6 for kind in zip(*map(graph_multiplies, (250, 65, 21), (32, 48, 64)), strict=True)]
    return (
        f"At this graph the second kind is {by_activations / by_weights:.1f} times the first. All three graphs: "
        f"{totals[0]:.2f} million by weights, {totals[1]:.2f} by activations. The paper's tables differ by 0.60 "
        "million: its count cannot contain the second kind."
    )


def graph_multiplies(nodes: int, channels: int) -> tuple[int, int]:
    """Multiplications of one graph module: by weights, and of activations with each other."""
    narrow = channels // 4
    return nodes * channels * (channels + 2 * narrow), nodes * nodes * (channels + narrow)


# --- 4 -----------------------------------------------------------------------------------------------------------


def frames_seen(repetitions: tuple[int, int, int], reach: int = 0) -> int:
    """Frames that one place of CENet's last map sees, with a graph of near places only, or none (reach 0)."""
    spacing = (4, 8, 16)  # frames between neighbours at the end of each stage
    return receptive_frames(CENetConfig(repetitions)) + 2 * reach * sum(spacing)


def _tally(
    repetitions: tuple[int, ...],
    reach: int,
    *,
    seen: int = 4,
    apart: int = 2,
    closing: int = 1,
    per_block: int = 2,
    growth: int = 2,
    early: bool = False,
    late: bool = False,
    graph: bool = True,
) -> int:
    """The same count with one mistake or another."""
    for blocks in repetitions:
        seen += per_block * apart * blocks
        wider = apart * growth
        seen += per_block * (wider if early else apart) * closing
        seen += 2 * reach * graph * (apart if late else wider)
        apart = wider
    return seen


@checked("How far does one place see?")
def receptive_field(receptive_frames_by_you: Callable, bridges: Any) -> str:
    """The receptive field in frames, and which networks can bridge a pause of 0.7 seconds."""
    bridges = letters(bridges, "bridges", "abcde")
    depths = [(0, 0, 0), (1, 1, 1), (7, 7, 7), (2, 0, 1), (15, 15, 7)]
    plain = [(depth, 0) for depth in depths]
    banded = [((0, 0, 0), 1), ((1, 1, 1), 2), ((2, 0, 1), 1)]
    values = {
        case: as_number(call(receptive_frames_by_you, *case), f"receptive_frames_by_you{case}")
        for case in plain + banded
    }

    def same(cases: list, count: Callable[..., int]) -> bool:
        return all(values[case] == count(*case) for case in cases)

    if not same(plain, frames_seen):
        for wrong, hint in (
            (
                {"closing": 0},
                "One 3x3 convolution a stage is missing: the connection block that closes it has one, too.",
            ),
            ({"seen": 3}, "The pooling of the initial block looks at two places: that is one more frame."),
            ({"seen": 3, "apart": 1}, "The pooling of the initial block is missing: it sees more, and strides by two."),
            (
                {"apart": 1},
                "Half of it is missing: behind the pooling neighbours are two frames apart, and a 3x3 convolution sees "
                "one to the left AND one to the right.",
            ),
            (
                {"growth": 1},
                "Every connection block halves the frames: behind it neighbours lie wider apart.",
            ),
            (
                {"early": True},
                "The stride of a connection block acts BEHIND its 3x3: the convolution itself still sees close "
                "neighbours.",
            ),
            (
                {"per_block": 6},
                "You give every convolution of a block a width of three: the 1x1 convolutions see nothing new.",
            ),
            ({"seen": 5}, "The initial block sees 3 frames, and its pooling of two adds ONE more."),
        ):
            if same(plain, lambda depth, reach, wrong=wrong: _tally(depth, reach, **wrong)):
                raise NotYet(hint)
        shown = values[plain[0]]
        raise NotYet(
            f"Without any bottleneck block, (0, 0, 0), yours sees {shown:g} frames. Walk through it on paper: each 3x3 "
            "adds one neighbour on either side, and count how many frames apart neighbours are there."
        )
    if not same(banded, frames_seen):
        for wrong, hint in (
            ({"graph": False}, "Without a graph it is right. With one the reach must count."),
            (
                {"late": True},
                "Half of it is missing: the graph reaches to both sides, and it stands BEHIND the connection block, "
                "where neighbours are twice as far apart.",
            ),
        ):
            if same(banded, lambda depth, reach, wrong=wrong: _tally(depth, reach, **wrong)):
                raise NotYet(hint)
        raise NotYet(
            "Without a graph it is right. At the end of each stage a graph of near places lets every place see `reach` "
            "places further on either side."
        )

    options = {"a": (0, 0, 0, 0, 20), "b": (0, 0, 0, 1, 20), "c": (1, 1, 1, 0, 20), "d": (1, 1, 1, 0, 10)}
    options["e"] = (7, 7, 7, 0, 10)
    for letter, (*depth, reach, hop) in options.items():
        frames, pause = frames_seen(tuple(depth), reach), 700 // hop
        if letter in bridges and frames <= pause:
            raise NotYet(
                f"Your function is right. But {letter} sees {frames} frames, and at a hop of {hop} ms the pause alone "
                f"lasts {pause}."
            )
        if letter not in bridges and frames > pause:
            raise NotYet(
                f"Your function is right. But one bridge is missing: {letter} sees {frames} frames, and at a hop of "
                f"{hop} ms the pause lasts {pause}."
            )
    return (
        "The hop counts as much as the depth. And near places, three times in a row, are not so near: if that graph "
        "fails in section 1, it is not for want of reach. It has not learnt to hand a word on from place to place."
    )


# --- 5 -----------------------------------------------------------------------------------------------------------

PAIRS = ("go left", "go right", "stop left", "stop right")
WORDS = ("go", "stop", "left", "right")
TWO_WORDS = ("left left", "left right", "right left", "right right")


def mean_evidence(clips: Iterable[str], words: tuple[str, ...]) -> Tensor:
    """What the average over all places holds, ideally: the share of each word in each clip, (clips, words)."""
    return torch.tensor([[clip.split().count(word) / 2 for word in words] for clip in clips], dtype=torch.float64)


def best_line() -> float:
    """The most of the four clips that one linear layer on the mean gets right, measured over many: a share."""
    means = mean_evidence(TWO_WORDS, ("left", "right"))
    same = torch.tensor([True, False, False, True])
    angles = torch.linspace(0, 2 * math.pi, 73, dtype=torch.float64)[:-1]
    projected = torch.stack([angles.cos(), angles.sin()], 1) @ means.T
    thresholds = torch.linspace(-1.5, 1.5, 61, dtype=torch.float64)[:, None, None]
    return ((projected > thresholds) == same).double().mean(2).max().item()


@checked("The same or not")
def same_or_not(pairs_weights: Any, best_sum: Any, units: Any, readout: Any) -> str:
    """Weights for the pairs; the best accuracy of a sum on same/different; two ReLU units and a readout for it."""
    weights = _table(pairs_weights, 4, 4, "pairs_weights")
    scores = mean_evidence(PAIRS, WORDS) @ weights.T
    for clip, name, row in zip(range(4), PAIRS, scores, strict=True):
        others = row.clone()
        others[clip] = -math.inf
        rival = int(others.argmax())
        if abs(row[clip] - others[rival]) < 1e-6:
            raise NotYet(f"'{name}' gives the classes '{name}' and '{PAIRS[rival]}' the same score: a tie.")
        if row[clip] < others[rival]:
            raise NotYet(
                f"'{name}' is taken for '{PAIRS[rival]}'. Give each class the evidence for its own two words: one row "
                "a class, one column a word."
            )

    best = as_number(best_sum, "best_sum")
    measured = 100 * best_line()
    if abs(best - measured / 100) < 1e-6:
        raise NotYet("`best_sum` is right as a share: give it in percent.")
    if abs(best - 50) < 0.5:
        raise NotYet("More than a coin is possible: which of the four clips could one line set apart from the others?")
    if abs(best - 100) < 0.5:
        raise NotYet(
            "Draw the four means in the plane of left and right. Those of 'left right' and 'right left' coincide, "
            "half-way between the other two: what does a weighted sum do with three points on a line?"
        )
    if abs(best - measured) > 0.5:
        raise NotYet("`best_sum` is four clips, all as frequent: how many of them can one weighted sum get right?")

    units, readout = _table(units, 2, 2, "units"), numbers(readout, 3, "readout")
    means = mean_evidence(TWO_WORDS, ("left", "right"))
    before = means @ units.T
    score = before.relu() @ torch.tensor(readout[:2], dtype=torch.float64) + readout[2]
    if (score.abs() < 1e-6).any():
        clip = TWO_WORDS[int(score.abs().argmin())]
        raise NotYet(f"The score of '{clip}' is exactly 0: move the last number of `readout`, so that it is decided.")
    right = (score > 0) == torch.tensor([True, False, False, True])
    if not right.any():
        raise NotYet("Your units tell them apart, and the readout says it the wrong way round: above 0 means the same.")
    if not right.all():
        if all(bool((unit >= 0).all()) or bool((unit <= 0).all()) for unit in before.T):
            raise NotYet(
                "No ReLU of yours ever cuts anything off between these clips, so the whole is still linear. Give each "
                "unit one clip on which it is silent, by weights of different sign."
            )
        clip = TWO_WORDS[int((~right).nonzero()[0])]
        raise NotYet(
            f"'{clip}' comes out as {'different' if clip.split()[0] == clip.split()[1] else 'the same'}. What is large "
            "when one word has all the evidence, and small when both have half of it?"
        )
    return (
        f"Measured over {72 * 61} lines: {measured:.0f} % at best, so a network without context may well stand there, "
        "above the coin. Your two units need no edges, only the mean and a ReLU: the control 'plain mean' has them."
    )


# --- 6 -----------------------------------------------------------------------------------------------------------


@checked("A transposed softmax")
def transposed_softmax(broken_adjacency: Callable, catches: Callable, what_fails: Any) -> str:
    """The wrong axis, a test that catches it, and which of five properties it breaks."""
    chosen = letters(what_fails, "what_fails", "abcde")
    scores = 2 * _random("scores", 3, 65, 65, dtype=torch.float32)
    sound, broken = scores.softmax(2), scores.softmax(1)
    value = _tensor(call(broken_adjacency, scores), scores.shape, "what `broken_adjacency` returns")
    compare(
        value,
        broken,
        [
            (sound, "That is the sound adjacency: its rows sum to 1. Take the other axis."),
            (scores.softmax(0), "That is a softmax over the batch: no bug that one overlooks. Stay within a sound."),
            (
                scores.mT.softmax(2),
                "You turned the scores over and then took the right axis of that: rows still sum to 1.",
            ),
            (
                sound.mT,
                "That is the sound adjacency, turned over: who looks at whom has changed as well. Only the axis of the "
                "softmax is to be wrong.",
            ),
        ],
        "The columns of the broken adjacency sum to 1, each for itself.",
    )

    def says(adjacency: Tensor) -> bool:
        return truth(call(catches, adjacency), "catches", "one answer for the batch")

    even = torch.full((2, 6, 6), 1 / 6)
    if says(sound):
        first = torch.zeros(2, 4, 4)
        first[:, :, 0] = 1  # all look at one place: sums without rounding
        if not says(first):
            raise NotYet(
                "Your test is too strict: the softmax rounds, and a sum may come out as 0.9999999. Allow for that."
            )
        if says(broken):
            raise NotYet("Your test rejects sound and broken alike: which sums are to be 1, and which need not?")
        if says(even):
            raise NotYet("Your test says it the wrong way round: True means that something is broken.")
        raise NotYet("Your test sums over the receivers: so the broken adjacency passes, and the sound one does not.")
    if not says(broken):
        total = "" if says(2 * sound) else " Even one that is twice too large passes it."
        raise NotYet(
            "Your test lets the broken adjacency through. Shapes, signs and the total of A, which is N, are the same "
            f"in both.{total}"
        )
    late = torch.cat([sound[:2], broken[2:]])
    if not says(late):
        raise NotYet("Your test looks at some sounds of the batch only: one broken sound among others went through.")
    single = sound.clone()
    single[1, 40] *= 1.2
    if not says(single):
        raise NotYet("Your test overlooks a single row that sums to 1.2: ask for every row, not for their mean.")
    single[1, 40] *= 0.8 / 1.2
    if not says(single):
        raise NotYet("Your test overlooks a single row that sums to 0.8: a sum may be too small as well.")
    if says(even) or says(torch.eye(7)[None]):
        raise NotYet("Your test rejects a sound adjacency: that of the plain mean, or of each place alone.")

    if "a" not in chosen:
        raise NotYet("Adjacency and test are right. Of the sentences, the one that your own test asks is missing.")
    for letter, hint in {
        "b": "b still holds: with γ = 0 nothing is added, be it right or wrong. So a new network shows nothing.",
        "c": "c still holds: a softmax along either axis follows a shuffling of the places.",
        "d": "d still holds: if all scores are alike, both axes give 1/N. A test on a constant map sees nothing.",
    }.items():
        if letter in chosen:
            raise NotYet(hint)
    if "e" not in chosen:
        raise NotYet("One is missing: what can happen to a sum whose weights do not add up to 1?")
    sums = broken.sum(2)
    return (
        f"Here the broken rows sum to between {sums.min():.1f} and {sums.max():.1f}: some places shout, some fall "
        "silent. Nothing keeps such a network from training: only a test on the rows tells what is wrong."
    )


# --- 7 -----------------------------------------------------------------------------------------------------------


def _clips(name: str, count: int, keyword: int) -> tuple[Tensor, Tensor]:
    """Scores with many ties, and which clips are of the keyword."""
    is_keyword = torch.arange(count) < keyword
    scores = ((_random(name, count) + 1.2 * is_keyword) * 3).round() / 10 + 0.4
    mixed = torch.randperm(count, generator=generator(derive_seed(0, "exercise", name, "order")))
    return scores[mixed], is_keyword[mixed]


@checked("False alarms and false rejects")
def false_alarms(rates_by_you: Callable, area_by_you: Callable) -> str:
    """Both rates at a threshold, and the area under false rejects over false alarms; scores tie."""
    scores, is_keyword = _clips("detection", 40, 12)
    trials = Trials.of(scores, is_keyword)
    steps = sorted(set(scores.tolist()))
    thresholds = [-1.0, *steps[::2], 0.4321, 2.0]
    found = []
    for threshold in thresholds:
        answer = call(rates_by_you, scores, is_keyword, threshold)
        if isinstance(answer, Tensor | np.ndarray):
            answer = answer.tolist()
        if not isinstance(answer, list | tuple) or len(answer) != 2:
            raise NotYet("Return two numbers: the false-alarm rate, then the false-reject rate.")
        found.append([as_number(one, name) for one, name in zip(answer, ("false alarm", "false reject"), strict=True)])
    found = torch.tensor(found, dtype=torch.float64)
    keyword, other, n = scores[is_keyword], scores[~is_keyword], len(scores)

    def rates(rule: Callable) -> Tensor:
        return torch.tensor([list(map(float, rule(threshold))) for threshold in thresholds], dtype=torch.float64)

    right = torch.tensor(np.stack(trials.rates(thresholds), 1))
    alarms, rejects = right.T
    for wrong, hint in (
        (right.flip(1), "The two rates changed places: the false alarms come first."),
        (
            rates(lambda p: ((other > p).double().mean(), (keyword <= p).double().mean())),
            "A score AT the threshold is accepted: mind the ties.",
        ),
        (
            rates(lambda p: ((other > p).double().mean(), (keyword < p).double().mean())),
            "For a false reject the tie is right. Another clip AT the threshold is accepted, too: a false alarm.",
        ),
        (
            rates(lambda p: ((other >= p).double().mean(), (keyword <= p).double().mean())),
            "For a false alarm the tie is right. A clip of the keyword AT the threshold is accepted: no reject.",
        ),
        (
            rates(lambda p: ((other >= p).sum() / n, (keyword < p).sum() / n)),
            "You divide by all clips. Each rate is a share of its own kind: of the others, and of the keyword's clips.",
        ),
        (rates(lambda p: ((other >= p).sum(), (keyword < p).sum())), "These are numbers of clips: make them shares."),
        (100 * right, "These are percent: give shares, from 0 to 1."),
        (torch.stack([alarms, 1 - rejects], 1), "Your second rate is that of the hits: what was NOT accepted counts."),
        (torch.stack([1 - alarms, rejects], 1), "Your first rate is that of the clips rightly let pass."),
        (
            rates(lambda p: ((keyword >= p).double().mean(), (other < p).double().mean())),
            "The kinds changed places: a false alarm is another clip that was accepted.",
        ),
    ):
        if close(found, wrong) and not close(wrong, right):
            raise NotYet(hint)
    if not close(found, right):
        off = int((found - right).abs().amax(1).argmax())
        raise NotYet(
            f"At the threshold {thresholds[off]:.4g} the rates are not right yet: who is accepted, of which kind, and "
            "how many are there of that kind?"
        )

    curve = DetectionCurve.of(trials)
    above = (other[:, None] > keyword).double().mean().item()
    ties = (other[:, None] == keyword).double().mean().item()
    area = as_number(call(area_by_you, scores, is_keyword), "the area")
    without_end = float(np.trapezoid(curve.miss[-2::-1], curve.false_alarm[-2::-1]))
    for wrong, hint in (
        (1 - curve.area, "That is the area under the HITS, which is good when large. Ours is one minus that."),
        (-curve.area, "The area is negative: as the threshold rises, the false alarms fall. Turn the points round."),
        (above, "Ties count nothing in yours. Thrown by chance, half of them would be in the wrong order."),
        (above + ties, "Ties count in full in yours. Thrown by chance, half of them would be in the right order."),
        (curve.area * len(other) * len(keyword), "That is a number of pairs: divide by how many pairs there are."),
        (100 * curve.area, "That is in percent: give a share, from 0 to 1."),
        (without_end, "Your curve lacks its end: a threshold above every score, which accepts nothing."),
    ):
        if math.isclose(area, wrong, abs_tol=1e-6) and not math.isclose(wrong, curve.area, abs_tol=1e-6):
            raise NotYet(hint)
    if not math.isclose(area, curve.area, abs_tol=1e-4):
        raise NotYet(
            f"The rates are right; the area is {area:.4f} where {curve.area:.4f} is wanted. Take every pair of another "
            "clip and one of the keyword; or every distinct score as a threshold, and straight lines between."
        )
    for name, other_scores, kinds, wanted in (
        ("all scores are equal", torch.full((6,), 0.5).double(), torch.arange(6) < 2, 0.5),
        ("the keyword is always above", torch.arange(5).double(), torch.arange(5) > 2, 0.0),
    ):
        area = as_number(call(area_by_you, other_scores, kinds), "the area")
        if not math.isclose(area, wanted, abs_tol=1e-4):
            raise NotYet(f"The area fails where {name}: it should be {wanted:g}, and yours is {area:.4g}.")
    return (
        f"Area {curve.area:.3f}. As a curve or as pairs in the wrong order, it is one number, and no threshold enters "
        "it; accuracy cannot say that."
    )


# --- 8 -----------------------------------------------------------------------------------------------------------


@checked("Is the comparison fair?")
def fairness(more_weights: Any, more_multiplies: Any, objections: Any, controls: Any) -> str:
    """What the graph costs beside CENet-6, in percent; which objections hold; which control answers which."""
    for name, value, small, large in (
        ("more_weights", more_weights, 16.2, 27.6),
        ("more_multiplies", more_multiplies, 1.95, 2.55),
    ):
        number, right = as_number(value, name), 100 * (large / small - 1)
        if abs(number - right) <= 1:
            continue
        if abs(number - right - 100) <= 1:
            raise NotYet(f"`{name}` is the new number in percent of the old: how much MORE is it?")
        if abs(number - right / 100) <= 0.01 or abs(number - large / small) <= 0.01:
            raise NotYet(f"`{name}` is a factor or a share: give the increase in percent.")
        if abs(number - 100 * (1 - small / large)) <= 1:
            raise NotYet(f"`{name}` is a share of CENet-GCN-6: the increase is counted from CENet-6.")
        if abs(number - (large - small)) <= 0.02 * (large - small):
            raise NotYet(f"`{name}` is the difference: how much is that in percent of CENet-6?")
        raise NotYet(f"`{name}` is not right yet: the difference of the two, in percent of CENet-6.")

    chosen = letters(objections, "objections", "abcdef")
    if "d" in chosen:
        raise NotYet("Objection d does not hold: all layers learn from the same loss. The test clips are others.")
    if "e" in chosen:
        raise NotYet(
            "Objection e does not hold: a deep network sees far by itself, so that less is left to gain. That fits the "
            "idea, though it proves nothing."
        )
    for letter, hint in {
        "a": "One objection is missing. How much of the gain could come without any place seeing another?",
        "b": "One objection is missing. Suppose that places must see far: must they also choose whom to look at?",
        "c": "One objection is missing. How far do two trainings of the very same network lie apart?",
        "f": "One objection is missing. Is every multiplication in the published number? Exercise 3 counted them.",
    }.items():
        if letter not in chosen:
            raise NotYet(hint)

    given = numbered_controls(controls, "abcf")
    for letter, right, hint in (
        ("a", 1, "It takes a network with the same weights in which no place sees another."),
        ("b", 2, "It takes a network in which every place sees all others, and none chooses."),
        ("c", 3, "It takes the same comparison again, by chance alone different."),
        ("f", 4, "It is about the price, so accuracies do not answer it."),
    ):
        if given[letter] == 5:
            raise NotYet("Control 5 answers none of them: a longer training gives one more pair of numbers.")
        if given[letter] != right:
            raise NotYet(f"Control {given[letter]:g} does not answer objection {letter}. {hint}")
    return (
        f"{100 * (27.6 / 16.2 - 1):.0f} % more weights for 1.3 points: without the controls nobody can say what they "
        "were for. This chapter trains all of them; compare its verdicts with your guess."
    )


# --- 9 -----------------------------------------------------------------------------------------------------------


class _Watched(TorchFunctionMode):
    """Notes whether any result has an axis of so many places twice."""

    def __init__(self, places: int):
        super().__init__()
        self.places, self.seen = places, False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        self.seen |= isinstance(result, Tensor) and list(result.shape).count(self.places) > 1
        return result


@checked("Fewer nodes")
def fewer_nodes(latent_context: Callable, products_by_you: Callable) -> str:
    """A graph from N places to m latent nodes, and its products of activations with each other."""
    for batch, nodes, channels, latents in ((3, 10, 8, 4), (2, 250, 32, 8)):
        quarter = channels // 4
        x = _random("places", batch, nodes, channels).abs()
        assign, theta, phi, weight = _layers(
            "latent", (channels, latents), (channels, quarter), (channels, quarter), (channels, channels)
        )
        layers = (assign, theta, phi, weight)
        value = _tensor(call(latent_context, x, *layers), x.shape, "the context")

        def context(shares: Tensor, x=x, layers=layers, axis: int = 2) -> Tensor:
            _, theta, phi, weight = layers
            nodes = shares.mT @ x
            return (theta(x) @ phi(nodes).mT).softmax(axis) @ weight(nodes)

        raw = assign(x)
        shares = raw.softmax(1)
        found = shares.mT @ x
        right = context(shares).relu()
        mistakes = [
            (
                context(raw.softmax(2)).relu(),
                "Your shares sum to 1 for each place. A latent node is an AVERAGE of places: its own shares sum to 1.",
            ),
            (context(raw).relu(), "The shares of a latent node are not yet an average: they need a softmax, too."),
            (context(shares, axis=1).relu(), "The softmax of A runs over the receivers: each place's row sums to 1."),
            (context(shares), "The ReLU is missing."),
            (((theta(x) @ phi(found).mT) @ weight(found)).relu(), "The adjacency has no softmax yet."),
            (((theta(x) @ phi(found).mT).softmax(2) @ found).relu(), "W is missing."),
            (
                ((theta(x) @ phi(x).mT).softmax(2) @ weight(x)).relu(),
                "That is the full graph, place to place. The places should see the latent nodes only.",
            ),
            (
                ((phi(x) @ theta(found).mT).softmax(2) @ weight(found)).relu(),
                "θ and φ changed places: θ belongs to the receiver, a place; φ to the latent node.",
            ),
        ]
        compare(value, right, mistakes, "Not right yet: average the places into the latent nodes, then look at those.")
        with _Watched(nodes) as watched:
            call(latent_context, x, *layers)
        if watched.seen:
            raise NotYet(
                f"The context is right, but on the way to it stands a table of {nodes} places by {nodes} places. Let "
                "each place meet the latent nodes alone."
            )

    cases = [(250, 8, 32), (65, 4, 48), (21, 2, 64)]
    values = [as_number(call(products_by_you, *case), "products") for case in cases]

    def same(formula: Callable[[int, int, int], float]) -> bool:
        return all(math.isclose(v, formula(*case), rel_tol=1e-6) for v, case in zip(values, cases, strict=True))

    def products(n: int, m: int, c: int) -> float:
        pooled, scored = n * m * c, n * m * (c // 4)
        return pooled + scored + pooled

    for wrong, hint in (
        (lambda n, m, c: 2 * products(n, m, c), "You count the additions as well: a multiplication and its addition."),
        (lambda n, m, c: n * n * (c + c // 4), "That is the full graph: N times N. Now N meets m only."),
        (lambda n, m, c: n * m * (c + c // 4), "One product is missing: the averaging into latent nodes costs, too."),
        (lambda n, m, c: 2 * n * m * c, "The scores are missing: θ of each place with φ of each latent node."),
        (lambda n, m, c: 3 * n * m * c, "θ and φ are a quarter as wide as the map."),
        (
            lambda n, m, c: m * m * (c + c // 4),
            "The latent nodes do not look at each other: the places look at them.",
        ),
    ):
        if same(wrong):
            raise NotYet(hint)
    if not same(products):
        raise NotYet("Three products: shares with places, θ with φ, adjacency with the latent values. Add them up.")
    saved = 250 * 250 * (32 + 8) / products(250, 8, 32)
    return (
        f"At stage 1 of the paper, with 8 latent nodes for 250 places: {saved:.1f} times fewer products. And the cost "
        "grows with N, no longer with its square. What is lost: a place can no longer look at ONE other."
    )


# --- 10 ----------------------------------------------------------------------------------------------------------


@checked("Open project: change one thing")
def project(report: Any) -> str:
    """The form of a report, and whether its verdicts follow from its own numbers. No experiment is judged here."""
    seeds = seeds_of(report, (*KEYS[:2], "weights", *KEYS[2:]))
    weights = report["weights"]
    if not isinstance(weights, Mapping) or not {"baseline", "changed"} <= set(weights):
        raise NotYet('"weights" should be a dictionary: "baseline" and "changed" -> their numbers of weights.')
    before, after = (as_number(weights[name], f"weights[{name!r}]") for name in ("baseline", "changed"))
    if min(before, after) < 1000:
        raise NotYet('"weights" should be numbers of weights, written in full: not thousands, and not shares.')

    def enough(table: Table) -> str | None:
        if len(table) < 3 or min(table) > 5 or max(table) < 15:
            return "Measure at three levels of noise or more, from 5 decibels or fewer to 15 or more."
        return None

    note = undecided(report, lambda rows, name: _areas(rows, name, seeds), enough, LEVELS)
    cost = "as many weights as before" if after == before else f"{100 * (after / before - 1):+.0f} % weights"
    return f"Your verdicts follow from your numbers, with {cost}.{note} Which control would answer the next objection?"


LEVELS = Words("levels of noise", "decibels", "area", "smaller", "larger")


def _areas(rows: Any, name: str, seeds: int) -> dict[float, list[float]]:
    """{decibels: [area of each seed]}, or a hint."""
    if not isinstance(rows, Mapping):
        raise NotYet(f'"{name}" should be a dictionary: level of noise in decibels -> list of areas, one a seed.')
    table = {}
    for level, values in rows.items():
        if isinstance(level, bool) or not isinstance(level, int | float) or not math.isfinite(level):
            raise NotYet(f'The keys of "{name}" are levels of noise in decibels: numbers.')
        if not isinstance(values, list | tuple):
            raise NotYet(f'"{name}" at {level:g} decibels should be a list of areas, one a seed.')
        if len(values) != seeds:
            raise NotYet(f'"{name}" at {level:g} decibels has {len(values)} areas for {seeds} seeds.')
        table[level] = [as_number(value, f"{name}[{level:g}]") for value in values]
        if min(table[level]) < 0 or max(table[level]) > 1:
            raise NotYet(f'"{name}" at {level:g} decibels has an area outside 0 to 1: give shares, not percent.')
    return table
