"""Solutions of chapter 7's exercises. Each fills the holes of one stub and changes nothing else."""

import torch

# 1. One row of the graph by hand: the exponentials are 2^1, 2^0 and 2^2, in sum 7. The row weighs the places to
#    (10/7, 1); W makes (10, -1) of it, the ReLU (10, 0); then (1, 3) - (10, 0) / 2 = (-4, 3)
row = [2 / 7, 1 / 7, 4 / 7]
context = [10, 0]
output = [-4, 3]


# 2. The graph module for a batch
def graph_by_you(x, theta, phi, weight, gamma):
    """Nodes (batch, N, c) -> (batch, N, c); theta, phi, weight: linear layers."""
    scores = theta(x) @ phi(x).transpose(1, 2)
    adjacency = scores.softmax(dim=2)
    context = torch.relu(adjacency @ weight(x))
    return gamma * context + x


# 3. Count a block and a graph
parameters = 32 * 8 + 8 * 8 * 9 + 8 * 32 + 2 * (8 + 8 + 32)
multiplies = 25 * 10 * (32 * 8 + 8 * 8 * 9 + 8 * 32)
graph_by_weights = 250 * (32 * 32 + 32 * 8 + 32 * 8)
graph_by_activations = 250**2 * 8 + 250**2 * 32


# 4. How far does one place see?
def receptive_frames_by_you(repetitions, reach=0):
    """Frames that one place of the last map sees."""
    seen, jump = 4, 2  # behind the initial block
    for repeats in repetitions:
        seen += 2 * (repeats + 1) * jump
        jump = 2 * jump
        seen += 2 * reach * jump
    return seen


bridges = {"b", "c", "e"}

# 5. The same or not: one word of each class's own two; then the size of the difference, in two halves
pairs_weights = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
best_sum = 100 * 3 / 4
units = [[1, -1], [-1, 1]]
readout = [1, 1, -0.5]


# 6. A transposed softmax
def broken_adjacency(scores):
    """Scores (batch, N, N), receivers by senders -> A, with the wrong softmax."""
    return scores.softmax(dim=1)


def catches(adjacency):
    """True if the rows of A (batch, N, N) cannot be averages over the senders."""
    return bool((adjacency.sum(dim=2) - 1).abs().max() > 1e-4)


what_fails = {"a", "e"}


# 7. False alarms and false rejects
def rates_by_you(scores, is_keyword, threshold):
    """(false-alarm rate, false-reject rate); scores (n,), is_keyword bool (n,)."""
    accepted = scores >= threshold
    return accepted[~is_keyword].double().mean(), (~accepted)[is_keyword].double().mean()


def area_by_you(scores, is_keyword):
    """Area under the false rejects over the false alarms, 0 to 1."""
    ahead = scores[~is_keyword][:, None] - scores[is_keyword]
    return (ahead.sign().mean() + 1) / 2


# 8. Is the comparison fair?
more_weights = 100 * (27.6 - 16.2) / 16.2
more_multiplies = 100 * (2.55 - 1.95) / 1.95
objections = {"a", "b", "c", "f"}
controls = {"a": 1, "b": 2, "c": 3, "f": 4}


# 9. Fewer nodes
def latent_context(x, assign, theta, phi, weight):
    """Nodes x (batch, N, c) -> context (batch, N, c), by way of m latent nodes."""
    shares = assign(x).softmax(dim=1)  # (batch, N, m)
    latent = shares.transpose(1, 2) @ x  # (batch, m, c)
    adjacency = (theta(x) @ phi(latent).transpose(1, 2)).softmax(dim=2)  # (batch, N, m)
    return torch.relu(adjacency @ weight(latent))


def products_by_you(places, latents, channels):
    """Multiplications of activations with each other, for one sound."""
    return places * latents * (2 * channels + channels // 4)


# 10. Open project: one of many answers
def run_project(seeds=(0, 1), levels=(20.0, 10.0, 5.0, 0.0), steps=800, clips=240):
    """The report of your experiment: a dictionary with the keys of the task."""
    from dataclasses import replace

    from lib.cenet.clips import command_task
    from lib.cenet.comparison import GRAPH, MIDDLE, networks
    from lib.cenet.evaluate import evaluate
    from lib.cenet.model import build_network
    from lib.cenet.stream import Stream, noisy
    from lib.cenet.task import COMMANDS
    from lib.cenet.train import train
    from lib.speech.spoken import load
    from lib.training.multiplies import count_parameters
    from lib.training.run import Run

    corpus = replace(COMMANDS, clips_per_keyword=clips)
    words, clean = (command_task(load(corpus, split), corpus.keywords, 1.0) for split in ("train", "test"))
    streams = {seed: Stream(words, networks()[GRAPH], seed).keep(steps) for seed in seeds}
    tests = {(level, seed): noisy(clean, level, seed) for level in levels for seed in seeds}
    report = {"change": "the graph stands at stage 2 only, instead of at all three", "seeds": list(seeds)}
    report["weights"] = {}
    for name, label in (("baseline", GRAPH), ("changed", MIDDLE)):
        config = networks()[label]
        config = replace(config, recipe=replace(config.recipe, steps=steps, warmup=steps // 6))
        spotters = {seed: train(config, streams[seed], Run(seed, progress=False)) for seed in seeds}
        report["weights"][name] = count_parameters(build_network(config.network, len(words.class_names)))
        report[name] = {
            level: [evaluate(spotters[seed], tests[level, seed]).curves.area for seed in seeds] for level in levels
        }
    pairs = {n: list(zip(report["changed"][n], report["baseline"][n], strict=True)) for n in levels}
    report["wins"] = [n for n in levels if all(changed < base for changed, base in pairs[n])]
    report["loses"] = [n for n in levels if all(changed > base for changed, base in pairs[n])]
    report["conclusion"] = (
        "One graph of 65 nodes has a tenth of the products; whether it serves as well, two seeds cannot say alone."
    )
    return report


report = run_project()

OPEN = ("run_project", "report")  # has no one solution: not searched for in the book
QUICK = {"report": "run_project(steps=6, clips=12)"}  # what the tests run instead
