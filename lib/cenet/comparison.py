"""What is compared with what: the networks of the chapter at one budget, on the same clips in the same order."""

from dataclasses import replace

from lib.cenet.clips import Clips, command_task
from lib.cenet.config import GraphConfig, KeywordConfig, scaled, with_network
from lib.cenet.long_range import long_range_clips, shallow
from lib.cenet.spotter import Spotter
from lib.cenet.stream import Stream, noisy
from lib.cenet.task import COMMANDS, TEST_DRAWS, TEST_SNR
from lib.cenet.train import train
from lib.speech.spoken import load
from lib.training.run import Run
from lib.training.seeding import derive_seed

PLAIN, GRAPH = "CENet-6", "CENet-GCN-6"
UNSCALED = "CENet-GCN-6, scores as published"
IDENTITY, UNIFORM, BANDED = "each place sees itself", "plain mean of all places", "near places only"
MIDDLE = "graph at stage 2 only"
TC, RES8, BC = "TC-ResNet8", "res8-narrow", "BC-ResNet-1"
BC_IN_TIME = "BC-ResNet-1 in equal time"
TIME_OF_GRAPH = 0.55
"""A training step of CENet-GCN-6 takes so much of one of BC-ResNet-1 (a processor took 22 s and 39 s for 800)."""

CONTROLS = {IDENTITY: "identity", UNIFORM: "uniform", BANDED: "banded"}
"""The graph module with other edges, at equal weights."""

PAIRS, SAME = "pairs", "same"
LONG_RANGE = {None: "no graph", "learned": "graph"} | {kind: label for label, kind in CONTROLS.items()}
LONG_RANGE_CLIPS, LONG_RANGE_TESTS = 2000, 600
LONG_STEPS = 350


def networks(config: KeywordConfig | None = None) -> dict[str, KeywordConfig]:
    """Every network that is trained on the embedded commands, by its label; all else is ``config``'s, or scaled's."""
    base = config or scaled()

    def graph(**settings) -> KeywordConfig:
        named = with_network(base, "cenet-gcn-6")
        return replace(named, network=replace(named.network, graph=GraphConfig(**{"scaled": True} | settings)))

    return {
        TC: with_network(base, "tc-resnet8"),
        RES8: with_network(base, "res8-narrow"),
        BC: with_network(base, "bc-resnet-1"),
        BC_IN_TIME: shortened(with_network(base, "bc-resnet-1")),
        PLAIN: with_network(base, "cenet-6"),
        GRAPH: graph(),
        UNSCALED: graph(scaled=False),
        **{label: graph(adjacency=kind) for label, kind in CONTROLS.items()},
        MIDDLE: graph(stages=(2,)),
    }


def shortened(config: KeywordConfig, share: float = TIME_OF_GRAPH) -> KeywordConfig:
    """The same run with this share of its steps, the whole learning-rate curve in them."""
    recipe = config.recipe
    steps, warmup = round(share * recipe.steps), round(share * recipe.warmup)
    return replace(config, recipe=replace(recipe, steps=steps, warmup=warmup))


def commands(split: str, seconds: float = 1.0) -> Clips:
    """The embedded commands without noise: ten keywords, unknown and silence."""
    return command_task(load(COMMANDS, split), COMMANDS.keywords, seconds)


def commands_in_noise(seconds: float = 1.0, seed: int = 0) -> Clips:
    """The test: unseen voices, every clip three times in noise of its own."""
    clips = commands("test", seconds)
    return noisy(clips.subset(list(range(len(clips))) * TEST_DRAWS), TEST_SNR, seed)


def long_range_trained(
    adjacency: str | None, stream: Stream, run: Run, start: Spotter | None = None, steps: int = LONG_STEPS
) -> Spotter:
    """The shallow network on two words far apart, with a graph of that kind or none."""
    return train(shallow(adjacency, steps=steps), stream, run, start=start)


def long_range_stream(question: str, seed: int, clips: int = LONG_RANGE_CLIPS, steps: int = LONG_STEPS) -> Stream:
    """The training batches of a question, the same for every network."""
    heard = long_range_clips(load(COMMANDS, "train"), question, clips, derive_seed(seed, "train"))
    return Stream(heard, shallow(None, steps=steps), seed).keep(steps)


def long_range_test(question: str, seed: int) -> Clips:
    """Other voices, in noise."""
    clips = long_range_clips(load(COMMANDS, "test"), question, LONG_RANGE_TESTS, derive_seed(seed, "test"))
    return noisy(clips, TEST_SNR, seed)
