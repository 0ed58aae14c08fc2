"""Chapter 7: every common mistake gets its own hint, and what the checks call right is right."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lib.cenet.blocks import Bottleneck
from lib.cenet.config import CENetConfig, GraphConfig
from lib.cenet.graph import GraphModule
from lib.cenet.model import CENet
from lib.exercises import cenet as check
from lib.training.multiplies import count_multiplies
from tests.exercises.answers import nothing_makes_it_stumble, refuse, solutions

NOT_TRAINED = {
    "change": "reach 3", "seeds": [0, 1], "wins": [20.0], "loses": [0.0],
    "weights": {"baseline": 27595, "changed": 19769},
    "baseline": {20.0: [0.010, 0.011], 5.0: [0.05, 0.06], 0.0: [0.1, 0.2]},
    "changed": {20.0: [0.008, 0.009], 5.0: [0.04, 0.07], 0.0: [0.3, 0.4]},
    "conclusion": "Quiet clips gain and noisy ones lose, since near places are all as noisy.",
}  # fmt: skip


@pytest.fixture(scope="module")
def right():
    return solutions("cenet")


# --- 1 -----------------------------------------------------------------------------------------------------------

ROW, CONTEXT, OUTPUT = [2 / 7, 1 / 7, 4 / 7], [10, 0], [-4, 3]
ROWS = [
    ([2, 1, 4], CONTEXT, OUTPUT, "Divide them"),
    ([2 / 7, 1 / 3, 4 / 21], CONTEXT, OUTPUT, "over the receivers"),
    ([1 / 3, 0, 2 / 3], CONTEXT, OUTPUT, "exponentials first"),
    ([0.245, 0.090, 0.665], CONTEXT, OUTPUT, "ln 2"),
    ([1 / 3] * 3, CONTEXT, OUTPUT, "row of another place"),
    ([4 / 21, 1 / 21, 16 / 21], CONTEXT, OUTPUT, "row of another place"),
    ([0.2, 0.2, 0.2], CONTEXT, OUTPUT, "and yours to 0.6"),
    ([0.5, 0.25, 0.25], CONTEXT, OUTPUT, "Three scores"),
    ([2 / 7, 1 / 7], CONTEXT, OUTPUT, "list of 3"),
    (["a", 1, 2], CONTEXT, OUTPUT, "text"),
    (ROW, [10, -1], OUTPUT, "The ReLU is missing"),
    (ROW, [10 / 7, 1], OUTPUT, "W is missing"),
    (ROW, [7, 0], OUTPUT, "count alike"),
    (ROW, [-5, 0], OUTPUT, "γ is already in it"),
    (ROW, [1, 1], OUTPUT, "the context not yet"),
    (ROW, CONTEXT, [1, 3.5], "through the ReLU"),
    (ROW, CONTEXT, [-4, 3.5], "before the ReLU"),
    (ROW, CONTEXT, [-5, 0], "ADDED"),
    (ROW, CONTEXT, [11, 3], "γ is missing"),
    (ROW, CONTEXT, [6, 3], "mind the sign"),
    (ROW, CONTEXT, [0, 0], "Multiply it"),
]


@pytest.mark.parametrize(("row", "context", "output", "words"), ROWS)
def test_one_row(row, context, output, words):
    refuse(check.one_row(row, context, output), words)


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor, np.array])
def test_numbers_come_in_any_list_and_may_be_rounded(kind):
    assert check.one_row(kind([0.29, 0.14, 0.57]), kind([10.0, 0.0]), kind([-4.0, 3.0])).passed


# --- 2 -----------------------------------------------------------------------------------------------------------

GRAPHS = [
    ("x + g * (s.softmax(1) @ v).relu()", "over the receivers"),
    ("x + g * (s.softmax(0) @ v).relu()", "over the batch"),
    ("x + g * (s.flatten(1).softmax(1).view_as(s) @ v).relu()", "all of A at once"),
    ("x + g * ((f(x) @ t(x).mT).softmax(2) @ v).relu()", "changed places"),
    ("x + g * (s.softmax(2).mT @ v).relu()", "turned over"),
    ("x + g * (s @ v).relu()", "softmax is missing"),
    ("x + g * ((s / t(x).shape[2] ** 0.5).softmax(2) @ v).relu()", "as the paper"),
    ("x + g * (s.softmax(2) @ v)", "ReLU is missing"),
    ("x + (g * (s.softmax(2) @ v)).relu()", "inside the ReLU"),
    ("(x + g * (s.softmax(2) @ v)).relu()", "context alone"),
    ("x + g * (s.softmax(2) @ v.relu())", "too early"),
    ("g * (s.softmax(2) @ v).relu()", "nodes themselves"),
    ("(s.softmax(2) @ v).relu()", "That is the context"),
    ("x + (s.softmax(2) @ v).relu()", "γ is missing"),
    ("x + g * (s.softmax(2) @ x).relu()", "W is missing"),
    ("x - g * (s.softmax(2) @ v).relu()", "check each line"),
    ("x.add_(1)", "in place"),
    ("x[0]", "shape (6, 8) where (4, 6, 8) is wanted"),
    ("s", "shape (4, 6, 6)"),
    ("(x / 0)", "infinite"),
    ("[x]", "a list"),
    ("s @ x[0, 0, 0, 0]", "IndexError"),
]


@pytest.mark.parametrize(("formula", "words"), GRAPHS)
def test_graph_module(formula, words):
    def answer(x, theta, phi, weight, gamma):
        names = {"x": x, "t": theta, "f": phi, "v": weight(x), "g": gamma, "s": theta(x) @ phi(x).transpose(1, 2)}
        return eval(formula, names)

    refuse(check.graph_module(answer), words)


def by_loops(x, theta, phi, weight, gamma):
    out = torch.zeros_like(x)
    for b in range(len(x)):
        for i in range(x.shape[1]):
            shares = [math.exp(float(theta(x[b, i]) @ phi(x[b, j]))) for j in range(x.shape[1])]
            mixed = sum(a * weight(x[b, j]) for j, a in enumerate(shares)) / sum(shares)
            out[b, i] = x[b, i] + gamma * mixed.clamp(min=0)
    return out


def by_functions(x, theta, phi, weight, gamma):
    mixed = torch.nn.functional.scaled_dot_product_attention(theta(x), phi(x), weight(x), scale=1.0)
    return x + gamma * torch.nn.functional.relu(mixed)


@pytest.mark.parametrize("answer", [by_loops, by_functions])
def test_other_ways_to_the_graph_module(answer):
    assert check.graph_module(answer).passed


# --- 3 -----------------------------------------------------------------------------------------------------------

COUNTS = {"parameters": 1184, "multiplies": 272_000, "graph_by_weights": 384_000, "graph_by_activations": 2_500_000}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("parameters", 1088, "lacks the batch"), ("parameters", 1136, "AND a shift"), ("parameters", 1232, "biases"),
        ("parameters", 672, "for a 1x1: it"), ("parameters", 576, "for a 1x1, and"), ("parameters", 5, "Three conv"),
        ("parameters", 1.184, "up to its unit"), ("multiplies", 544_000, "additions"),
        ("multiplies", 1088, "one place"),
        ("multiplies", 296_000, "melts"), ("multiplies", 1_088_000, "map of stage 1"),
        ("multiplies", 5, "at every place"),
        ("multiplies", 0.272, "up to its unit"), ("multiplies", 272, "up to its unit"),
        ("graph_by_weights", 256_000, "W alone"), ("graph_by_weights", 320_000, "one of the two"),
        ("graph_by_weights", 768_000, "Twice too much"), ("graph_by_weights", 396_000, "Biases"),
        ("graph_by_weights", 2_500_000, "the other number"), ("graph_by_weights", 5, "Three linear"),
        ("graph_by_activations", 500_000, "These are the scores"), ("graph_by_activations", 2_000_000, "θ with φ"),
        ("graph_by_activations", 5_000_000, "additions"), ("graph_by_activations", 4_000_000, "8 wide"),
        ("graph_by_activations", 10_000, "squared"), ("graph_by_activations", 5, "Two products"),
        ("graph_by_activations", 2.5, "up to its unit"),
    ],
)  # fmt: skip
def test_counts(name, value, words):
    assert check.counts(**COUNTS).passed
    refuse(check.counts(**{**COUNTS, name: value}), words)


@pytest.mark.parametrize(("nodes", "channels"), [((25, 10), 32), ((13, 5), 48), ((7, 3), 64)])
def test_the_counts_are_those_of_the_book_s_counter(nodes, channels):
    with torch.device("meta"):
        graph, block = GraphModule(channels, GraphConfig()), Bottleneck(32, 8, 32).eval()
        x, y = torch.zeros(1, channels, *nodes), torch.zeros(1, 32, 25, 10)
    found = count_multiplies(lambda: graph(x))
    assert check.graph_multiplies(math.prod(nodes), channels) == (found.by_weights, found.by_activations)
    assert count_multiplies(lambda: block(y)).total == COUNTS["multiplies"]


# --- 4 -----------------------------------------------------------------------------------------------------------


def walk(repetitions, reach=0, seen=4, jump=2, ones=0, sides=2, closing=1, growth=2, early=False, late=False):
    for repeats in repetitions:
        seen += (sides + ones) * jump * repeats
        after = growth * jump
        seen += (sides + ones) * (after if early else jump) * closing
        seen += late * 2 * reach * jump + (not late) * 2 * reach * after
        jump = after
    return seen


FIELDS = [
    ({"closing": 0}, "connection block that closes"),
    ({"seen": 3}, "pooling of the initial block looks"),
    ({"seen": 3, "jump": 1}, "pooling of the initial block is missing"),
    ({"jump": 1}, "two frames apart"),
    ({"growth": 1}, "halves the frames"),
    ({"early": True}, "BEHIND its 3x3"),
    ({"ones": 4}, "1x1 convolutions"),
    ({"sides": 1}, "to the left AND one"),
    ({"seen": 5}, "ONE more"),
    ({"seen": 9}, "yours sees 37 frames"),
    ({"late": True}, "twice as far apart"),
]


@pytest.mark.parametrize(("mistake", "words"), FIELDS)
def test_receptive_field(mistake, words):
    refuse(check.receptive_field(lambda repetitions, reach=0: walk(repetitions, reach, **mistake), "bce"), words)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda repetitions, reach=0: walk(repetitions), "the reach must count"),
        (lambda repetitions, reach=0: walk(repetitions) + reach * (4 + 8 + 16), "both sides"),
        (lambda repetitions, reach=0: walk(repetitions) + reach, "`reach` places further"),
        (lambda repetitions: walk(repetitions), "takes 1 positional"),
        (lambda repetitions, reach=0: [32], "one number"),
    ],
)
def test_receptive_field_with_a_graph(answer, words):
    refuse(check.receptive_field(answer, "bce"), words)


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ("abce", "a sees 32 frames, and at a hop of 20 ms the pause alone lasts 35"), ("ce", "b sees 88 frames"),
        ("be", "c sees 60"), ("bcde", "d sees 60 frames, and at a hop of 10 ms"), ("bc", "e sees 228"),
        ("bcf", "letters a to e"), (..., "dots"),
    ],
)  # fmt: skip
def test_bridges(letters, words):
    refuse(check.receptive_field(walk, letters), words)


@pytest.mark.parametrize(("repetitions", "reach"), [((0, 0, 0), 0), ((1, 1, 1), 0), ((2, 0, 1), 0), ((0, 0, 0), 1)])
def test_the_frames_seen_are_those_with_a_gradient(repetitions, reach):
    """All weights positive, so that no path is cut by a ReLU or cancels: count the frames that one place depends on."""
    graph = GraphConfig(adjacency="banded", reach=reach) if reach else None
    network = CENet(CENetConfig(repetitions, (4, 4, 4, 4), (1, 1, 1), graph), 2).double().eval()
    for weight in network.parameters():
        torch.nn.init.constant_(weight, 0.1)
    features = torch.ones(1, 400, 16, dtype=torch.float64, requires_grad=True)
    x = network.initial(features.unsqueeze(1))
    for stage, blocks in enumerate(network.stages, start=1):
        x = blocks(x)
        x = network.graphs[str(stage)](x) if graph else x
    x[0, :, x.shape[2] // 2].sum().backward()
    assert int((features.grad[0].abs().sum(1) > 0).sum()) == check.frames_seen(repetitions, reach)


# --- 5 -----------------------------------------------------------------------------------------------------------

SAME = {
    "pairs_weights": [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]],
    "best_sum": 75, "units": [[1, -1], [-1, 1]], "readout": [1, 1, -0.5],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs_weights": [[0] * 4] * 4}, "a tie"),
        (
            {"pairs_weights": [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]},
            "'go left' and 'go right' the same",
        ),
        ({"pairs_weights": [[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]}, "'go right' is taken for"),
        ({"pairs_weights": [[1, 0, 1, 0]] * 3}, "4 rows"),
        ({"pairs_weights": [[1, 0, 1]] * 4}, "list of 4"),
        ({"pairs_weights": 1}, "4 rows"),
        ({"best_sum": 0.75}, "in percent"),
        ({"best_sum": 50}, "More than a coin"),
        ({"best_sum": 100}, "three points on a line"),
        ({"best_sum": 25}, "how many of them"),
        ({"units": [[1, 1], [2, 2]]}, "still linear"),
        ({"units": [[-1, -1], [1, 0]], "readout": [1, 1, -0.4]}, "still linear"),
        ({"units": [[1, -1], [1, -1]]}, "'right right' comes out as different"),
        ({"readout": [1, 1, 0.5]}, "'left right' comes out as the same"),
        ({"readout": [1, 1, 0]}, "exactly 0"),
        ({"readout": [-1, -1, 0.5]}, "wrong way round"),
        ({"readout": [1, 1]}, "list of 3"),
    ],
)
def test_same_or_not(change, words):
    assert check.same_or_not(**SAME).passed
    refuse(check.same_or_not(**{**SAME, **change}), words)


@pytest.mark.parametrize(
    "change",
    [
        {"units": [[3, -1], [-1, 3]], "readout": [1, 1, -2.5]},
        {"units": [[1, -1], [0, 1]], "readout": [2, 2, -1.5]},
        {"units": torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), "readout": np.array([5, 5, -1])},
        {"pairs_weights": [[2, 0, 1, 0], [2, 0, 0, 1], [0, 2, 1, 0], [0, 2, 0, 1]]},
        {"pairs_weights": [[1, -1, 1, -1], [1, -1, -1, 1], [-1, 1, 1, -1], [-1, 1, -1, 1]]},
    ],
)
def test_other_weights_do_as_well(change):
    assert check.same_or_not(**{**SAME, **change}).passed


def test_no_sum_of_evidence_does_better():
    """Exact, by linear programming on the four clips: no weights and threshold separate them; three can be."""
    from scipy.optimize import linprog

    means = check.mean_evidence(check.TWO_WORDS, ("left", "right")).numpy()
    same = np.array([1, -1, -1, 1])

    def separable(clips):
        rows = -same[clips, None] * np.c_[means[clips], np.ones(len(clips))]
        return linprog(np.zeros(3), rows, -np.ones(len(clips)), bounds=[(None, None)] * 3).status == 0

    assert not separable([0, 1, 2, 3])
    assert separable([0, 1, 2])
    assert check.best_line() == 0.75


# --- 6 -----------------------------------------------------------------------------------------------------------


def rows_off(adjacency):
    return not torch.allclose(adjacency.sum(-1), torch.ones(adjacency.shape[:2]), atol=1e-4)


BROKEN = [
    (lambda s: s.softmax(2), "Take the other axis"),
    (lambda s: s.softmax(0), "over the batch"),
    (lambda s: s.mT.softmax(2), "took the right axis"),
    (lambda s: s.softmax(2).mT, "turned over"),
    (lambda s: s.softmax(1) * 2, "columns of the broken"),
    (lambda s: s[0].softmax(0), "shape (65, 65)"),
]


@pytest.mark.parametrize(("broken", "words"), BROKEN)
def test_broken_adjacency(broken, words):
    refuse(check.transposed_softmax(broken, rows_off, "ae"), words)


CATCHES = [
    ("(a.sum(2) != 1).any()", "too strict"),
    ("True", "sound and broken alike"),
    ("(a.sum(1) - 1).abs().max() > 1e-4 or (a.sum(2) - 1).abs().max() > 1e-4", "sound and broken alike"),
    ("len(a) < 4", "sound and broken alike"),
    ("(a.sum(2) - 1).abs().max() < 1e-4", "wrong way round"),
    ("(a.sum(1) - 1).abs().max() > 1e-4", "over the receivers"),
    ("False", "Even one that is twice too large"),
    ("(a.sum((1, 2)) - a.shape[1]).abs().max() > 1e-2", "lets the broken adjacency through"),
    ("(a[0].sum(1) - 1).abs().max() > 1e-4", "some sounds"),
    ("(a.sum(2) - 1).abs().mean() > 0.01", "a single row that sums to 1.2"),
    ("a.sum(2).max() > 1.0001", "0.8"),
    ("(a.sum(2) - 1).abs().max() > 1e-4 or a.shape[1] < 10", "the plain mean, or of each place"),
    ("(a.sum(2) - 1).abs() > 1e-4", "one answer for the batch"),
    ("'yes'", "True or False"),
]


@pytest.mark.parametrize(("formula", "words"), CATCHES)
def test_catches(formula, words):
    refuse(check.transposed_softmax(lambda s: s.softmax(1), lambda a: eval(formula), "ae"), words)


@pytest.mark.parametrize(
    ("letters", "words"),
    [("e", "your own test"), ("abe", "b still"), ("ace", "c still"), ("ade", "d still"), ("a", "One is missing")],
)
def test_what_fails(letters, words):
    refuse(check.transposed_softmax(lambda s: s.softmax(1), rows_off, letters), words)


def by_hand_softmax(scores):
    weights = scores.exp()
    return weights / weights.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("broken", "catches"),
    [
        (by_hand_softmax, rows_off),
        (lambda s: s.mT.softmax(2).mT, lambda a: ((a.sum(2) - 1).abs() > 1e-3).any()),
        (lambda s: s.softmax(-2), lambda a: any(abs(float(row.sum()) - 1) > 1e-3 for one in a for row in one)),
        (lambda s: s.softmax(-2), lambda a: not np.allclose(a.numpy().sum(2), 1)),
    ],
)
def test_other_ways_to_break_and_to_catch(broken, catches):
    assert check.transposed_softmax(broken, catches, ["A", "E"]).passed


@pytest.mark.parametrize(("axis", "holds"), [(2, "abcde"), (1, "bcd")])
def test_which_properties_a_softmax_keeps(axis, holds):
    """The letters that the check calls right, each tried out."""
    source = torch.Generator().manual_seed(0)
    x, w = (torch.randn(*shape, generator=source, dtype=torch.float64) for shape in ((5, 3), (3, 3)))
    theta, phi = (torch.randn(3, 2, generator=source, dtype=torch.float64) for _ in range(2))

    def adjacency(nodes):
        return ((nodes @ theta) @ (nodes @ phi).T).softmax(axis - 1)

    def mixed(nodes):
        return adjacency(nodes) @ nodes @ w

    order, alike = torch.tensor([3, 1, 4, 0, 2]), x[:1].expand(5, -1)
    low, high = (x @ w).amin(0) - 1e-9, (x @ w).amax(0) + 1e-9
    found = {
        "a": torch.allclose(adjacency(x).sum(1), torch.ones(5, dtype=torch.float64)),
        "b": torch.equal(x + 0 * mixed(x).relu(), x),
        "c": torch.allclose(mixed(x[order]), mixed(x)[order]),
        "d": torch.allclose(mixed(alike), alike @ w),
        "e": bool(((mixed(x) >= low) & (mixed(x) <= high)).all()),
    }
    assert "".join(letter for letter, value in found.items() if value) == holds


# --- 7 -----------------------------------------------------------------------------------------------------------

RATES = [
    ("fr(s < p), fa(s >= p)", "changed places: the false"),
    ("fa(s > p), fr(s <= p)", "mind the ties"),
    ("fa(s > p), fr(s < p)", "Another clip AT"),
    ("fa(s >= p), fr(s <= p)", "clip of the keyword AT"),
    ("((s >= p) & ~k).double().mean(), ((s < p) & k).double().mean()", "divide by all clips"),
    ("((s >= p) & ~k).sum(), ((s < p) & k).sum()", "numbers of clips"),
    ("100 * fa(s >= p), 100 * fr(s < p)", "percent"),
    ("fa(s >= p), fr(s >= p)", "that of the hits"),
    ("fa(s < p), fr(s < p)", "rightly let pass"),
    ("fr(s >= p), fa(s < p)", "kinds changed places"),
    ("fa(s >= p), 0.5", "At the threshold"),
    ("fa(s >= p)", "Return two numbers"),
    ("fa(s >= p), k", "one number"),
]


@pytest.mark.parametrize(("formula", "words"), RATES)
def test_rates(formula, words, right):
    def answer(s, k, p):
        names = {"s": s, "k": k, "p": p, "fa": lambda m: m[~k].double().mean(), "fr": lambda m: m[k].double().mean()}
        return eval(formula, names)

    refuse(check.false_alarms(answer, right["area_by_you"]), words)


def walked(scores, is_keyword, end=True):
    """Trapezes under the curve, threshold by threshold."""
    thresholds = sorted(set(scores.tolist())) + [math.inf] * end
    alarms = [float((scores[~is_keyword] >= p).double().mean()) for p in thresholds]
    rejects = [float((scores[is_keyword] < p).double().mean()) for p in thresholds]
    return sum((alarms[i] - alarms[i + 1]) * (rejects[i] + rejects[i + 1]) / 2 for i in range(len(thresholds) - 1))


AREAS = [
    (lambda s, k: 1 - walked(s, k), "under the HITS"),
    (lambda s, k: -walked(s, k), "negative"),
    (lambda s, k: (s[~k][:, None] > s[k]).double().mean(), "Ties count nothing"),
    (lambda s, k: (s[~k][:, None] >= s[k]).double().mean(), "Ties count in full"),
    (lambda s, k: walked(s, k) * (~k).sum() * k.sum(), "number of pairs"),
    (lambda s, k: 100 * walked(s, k), "in percent"),
    (lambda s, k: walked(s, k, end=False), "lacks its end"),
    (lambda s, k: 0.3, "every pair"),
    (lambda s, k: walked(s, k) if len(s) != 6 else 0.0, "all scores are equal"),
    (lambda s, k: walked(s, k) if len(s) != 5 else 0.1, "always above"),
    (lambda s, k: s, "one number"),
]


@pytest.mark.parametrize(("area", "words"), AREAS)
def test_area(area, words, right):
    refuse(check.false_alarms(right["rates_by_you"], area), words)


@pytest.mark.parametrize("area", [walked, lambda s, k: 1 - roc_auc_score(k.numpy(), s.numpy())])
def test_other_ways_to_the_area(area):
    def rates(scores, is_keyword, threshold):
        kinds = list(zip(scores.tolist(), is_keyword.tolist(), strict=True))
        alarms = [score >= threshold for score, keyword in kinds if not keyword]
        rejects = [score < threshold for score, keyword in kinds if keyword]
        return [sum(alarms) / len(alarms), sum(rejects) / len(rejects)]

    assert check.false_alarms(rates, area).passed


# --- 8 -----------------------------------------------------------------------------------------------------------

FAIR = {
    "more_weights": 70, "more_multiplies": 31, "objections": {"a", "b", "c", "f"},
    "controls": {"a": 1, "b": 2, "c": 3, "f": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more_weights": 170}, "how much MORE"),
        ({"more_weights": 0.7}, "in percent"),
        ({"more_weights": 1.7}, "in percent"),
        ({"more_weights": 41.3}, "share of CENet-GCN-6"),
        ({"more_weights": 11.4}, "is the difference"),
        ({"more_weights": 5}, "not right yet"),
        ({"more_multiplies": 131}, "how much MORE"),
        ({"more_multiplies": 0.6}, "is the difference"),
        ({"more_multiplies": 23.5}, "share of CENet-GCN-6"),
        ({"objections": "abcdf"}, "d does not hold"),
        ({"objections": "abcef"}, "e does not hold"),
        ({"objections": "bcf"}, "without any place"),
        ({"objections": "acf"}, "choose whom"),
        ({"objections": "abf"}, "very same network"),
        ({"objections": "abc"}, "Exercise 3"),
        ({"objections": "xyz"}, "letters a to f"),
        ({"controls": {"a": 1}}, "one entry"),
        ({"controls": {**FAIR["controls"], "d": 5}}, "one entry"),
        ({"controls": {**FAIR["controls"], "a": 5}}, "Control 5"),
        ({"controls": {**FAIR["controls"], "a": 2}}, "no place sees another"),
        ({"controls": {**FAIR["controls"], "b": 1}}, "none chooses"),
        ({"controls": {**FAIR["controls"], "c": 2}}, "by chance alone"),
        ({"controls": {**FAIR["controls"], "f": 3}}, "about the price"),
        ({"controls": {**FAIR["controls"], "f": "4"}}, "text"),
        ({"controls": {**FAIR["controls"], "f": {4}}}, "a dictionary"),
        ({"controls": {1: "a"}}, "a dictionary"),
        ({"controls": [1, 2, 3, 4]}, "a dictionary"),
        ({"controls": {**FAIR["controls"], "f": ...}}, "dots"),
    ],
)
def test_fairness(change, words):
    assert check.fairness(**FAIR).passed
    refuse(check.fairness(**{**FAIR, **change}), words)


def test_fairness_may_be_written_as_one_likes():
    assert check.fairness(69.9, 30.77, "A, b C f", {"A": 1.0, "B": 2, "c": 3, "f": 4}).passed


# --- 9 -----------------------------------------------------------------------------------------------------------

LATENT = [
    ("ctx(raw.softmax(2)).relu()", "for each place"),
    ("ctx(raw).relu()", "not yet an average"),
    ("ctx(sh, axis=1).relu()", "over the receivers"),
    ("ctx(sh)", "ReLU is missing"),
    ("((t(x) @ f(z).mT) @ w(z)).relu()", "no softmax yet"),
    ("((t(x) @ f(z).mT).softmax(2) @ z).relu()", "W is missing"),
    ("((t(x) @ f(x).mT).softmax(2) @ w(x)).relu()", "the full graph"),
    ("((f(x) @ t(z).mT).softmax(2) @ w(z)).relu()", "changed places"),
    ("(((t(x) @ f(z).mT).softmax(2) @ sh.mT) @ w(x)).relu()", "10 places by 10 places"),
    ("ctx(sh).relu() + 1", "Not right yet"),
    ("z", "shape (3, 4, 8)"),
]


@pytest.mark.parametrize(("formula", "words"), LATENT)
def test_latent_context(formula, words, right):
    def answer(x, assign, theta, phi, weight):
        raw = assign(x)

        def ctx(shares, axis=2):
            nodes = shares.mT @ x
            return (theta(x) @ phi(nodes).mT).softmax(axis) @ weight(nodes)

        shares = raw.softmax(1)
        names = {"x": x, "t": theta, "f": phi, "w": weight, "raw": raw, "sh": shares, "z": shares.mT @ x, "ctx": ctx}
        return eval(formula, names)

    refuse(check.fewer_nodes(answer, right["products_by_you"]), words)


def test_other_ways_to_the_latent_context(right):
    def summed(x, assign, theta, phi, weight):
        shares = torch.nn.functional.softmax(assign(x), dim=-2)
        nodes = (shares[..., None] * x[:, :, None]).sum(1)
        scores = torch.einsum("bnk,bmk->bnm", theta(x), phi(nodes))
        return torch.relu(weight(torch.einsum("bnm,bmc->bnc", scores.softmax(-1), nodes)))

    def attended(x, assign, theta, phi, weight):
        shares = assign(x).softmax(1)
        values, keys = shares.mT @ weight(x), shares.mT @ phi(x)
        return torch.nn.functional.scaled_dot_product_attention(theta(x), keys, values, scale=1.0).relu()

    for answer in (summed, attended):
        assert check.fewer_nodes(answer, lambda n, m, c: n * m * 2.25 * c).passed


@pytest.mark.parametrize(
    ("products", "words"),
    [
        (lambda n, m, c: n * m * 4.5 * c, "additions"),
        (lambda n, m, c: n * n * 1.25 * c, "N times N"),
        (lambda n, m, c: n * m * 1.25 * c, "the averaging"),
        (lambda n, m, c: n * m * 2 * c, "The scores are missing"),
        (lambda n, m, c: n * m * 3 * c, "a quarter as wide"),
        (lambda n, m, c: m * m * 1.25 * c, "do not look at each other"),
        (lambda n, m, c: 1, "Three products"),
        (lambda n, m, c: "1", "text"),
        (lambda n, m: 1, "TypeError"),
    ],
)
def test_products(products, words, right):
    refuse(check.fewer_nodes(right["latent_context"], products), words)


def test_the_products_are_those_of_the_book_s_counter(right):
    layers = [torch.nn.Linear(32, width) for width in (8, 8, 8, 32)]
    x = torch.zeros(1, 250, 32)
    found = count_multiplies(lambda: right["latent_context"](x, *layers)).by_activations
    assert found == right["products_by_you"](250, 8, 32)


# --- 10 ----------------------------------------------------------------------------------------------------------

PROJECTS = [
    (lambda r: r.pop("wins"), 'no "wins"'),
    (lambda r: r.update(change=...), "dots"),
    (lambda r: r.update(seeds=[0]), "Two different seeds"),
    (lambda r: r.update(seeds=[3, 3]), "Two different seeds"),
    (lambda r: r.update(seeds=[0, 1, 2]), "2 areas for 3 seeds"),
    (lambda r: r.update(weights=27595), '"weights" should be a dictionary'),
    (lambda r: r.update(weights={"baseline": 27595}), '"weights" should be a dictionary'),
    (lambda r: r.update(weights={"baseline": 27.6, "changed": 19.8}), "written in full"),
    (lambda r: r["changed"].pop(5.0), "different levels"),
    (lambda r: (r["changed"].pop(5.0), r["baseline"].pop(5.0)), "three levels"),
    (lambda r: r.update(changed=r["baseline"]), "very same numbers"),
    (lambda r: r.update(changed={n: [0.1, 0.1] for n in r["changed"]}), "does the seed reach"),
    (lambda r: r["changed"].update({5.0: [0.1, math.nan]}), "finite"),
    (lambda r: r["changed"].update({5.0: [1.5, 2.0]}), "not percent"),
    (lambda r: r["changed"].update({5.0: [-0.1, 0.0]}), "outside 0 to 1"),
    (lambda r: r["changed"].update({5.0: 0.1}), "list of areas"),
    (lambda r: r["changed"].update({"5": [0.1, 0.2]}), "in decibels: numbers"),
    (lambda r: r.update(baseline=[1, 2]), "level of noise in decibels -> list"),
    (lambda r: r.update(wins=[20, 5]), '"wins" lists 5'),
    (lambda r: r.update(wins=[]), '"wins" leaves out 20'),
    (lambda r: r.update(loses=[]), '"loses" leaves out 0'),
    (lambda r: r.update(wins="all"), "an empty list"),
    (lambda r: r.update(conclusion="It wins."), "ten words"),
    (lambda r: r.update(change=" "), "what you changed"),
]


@pytest.mark.parametrize(("spoil", "words"), PROJECTS)
def test_project(spoil, words):
    report = copy.deepcopy(NOT_TRAINED)
    assert check.project(report).passed
    assert "-28 % weights. Undecided between the seeds: 5 decibels" in check.project(report).hint
    assert "as many weights as before" in check.project({**report, "weights": {"baseline": 5000, "changed": 5000}}).hint
    spoil(report)
    refuse(check.project(report), words)
    refuse(check.project([report]), "a dictionary")


# --- all ---------------------------------------------------------------------------------------------------------

CHECKS = {
    "one_row": ("row", "context", "output"),
    "graph_module": ("graph_by_you",),
    "counts": ("parameters", "multiplies", "graph_by_weights", "graph_by_activations"),
    "receptive_field": ("receptive_frames_by_you", "bridges"),
    "same_or_not": ("pairs_weights", "best_sum", "units", "readout"),
    "transposed_softmax": ("broken_adjacency", "catches", "what_fails"),
    "false_alarms": ("rates_by_you", "area_by_you"),
    "fairness": ("more_weights", "more_multiplies", "objections", "controls"),
    "fewer_nodes": ("latent_context", "products_by_you"),
    "project": ("report",),
}


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_makes_a_check_stumble(name, right):
    answers = [NOT_TRAINED if key == "report" else right[key] for key in CHECKS[name]]
    nothing_makes_it_stumble(getattr(check, name), answers, [torch.zeros(4, 4).long(), torch.full((4, 4), math.inf)])
