"""From measured numbers to verdicts: the claims of ``seeds/cenet.yml``, tested the same in the chapter and over seeds.

Accuracies are in percent. Over several seeds it is the mean that must keep the claim with the card's margin.
"""

from collections.abc import Iterator, Sequence

from lib import papers
from lib.cenet import comparison as names
from lib.cenet import study
from lib.cenet.config import NETWORKS, PAPER_FEATURES
from lib.cenet.model import build_network, network_multiplies
from lib.cenet.study import ByLabel, Study
from lib.papers import Finding, claim, number
from lib.training.multiplies import count_parameters

SYSTEM = "cenet"
COMMANDS = "twelve commands spoken by espeak-ng in noise"
PATIENT = "the same commands, four times the steps"
TWO_WORDS = "two words far apart, spoken by espeak-ng"
DIGITS = "Free Spoken Digits, one speaker left out"
WORDS = "bed, cat and happy of Speech Commands, by speaker"
NONE = "none needed"
PERCENT = "percent"


def compared(claim_id: str, found: ByLabel, first: str, second: str, shown: Sequence[str] = ()) -> Finding:
    """Whether the mean of ``first`` keeps the claim beside that of ``second``: ``lib.papers.compared``."""
    return papers.compared(SYSTEM, claim_id, found, first, second, shown)


def parameters(claim_id: str, network: str) -> Finding:
    """The number of weights beside the published one, in thousands."""
    figure = claim(SYSTEM, claim_id).figure
    count = count_parameters(build_network(NETWORKS[network], 12)) / 1000
    held = claim(SYSTEM, claim_id).test.holds([count, figure])
    summary = f"{network} has {1000 * count:,.0f} parameters here, {figure} thousand in the paper."
    value = {"label": network, "seed": 0, "value": count, "unit": "thousand parameters"}
    return Finding(claim_id, held, summary, [value])


def multiplies(claim_id: str = "multiplies-cenet-6", network: str = "cenet-6") -> Finding:
    """Multiplies by weights of one second at the paper's features, beside the published number, in millions."""
    figure = claim(SYSTEM, claim_id).figure
    frames = PAPER_FEATURES.frames(PAPER_FEATURES.sample_rate)
    count = network_multiplies(NETWORKS[network], frames, PAPER_FEATURES.width).by_weights / 1e6
    held = claim(SYSTEM, claim_id).test.holds([count, figure])
    summary = (
        f"{network} needs {number(count, 3)} million multiplies by our count, {figure} million in the paper, whose "
        "way of counting is not known."
    )
    value = {"label": network, "seed": 0, "value": count, "unit": "million multiplies"}
    return Finding(claim_id, held, summary, [value])


def counted() -> Iterator[Finding]:
    """The claims that need no training."""
    for network in ("cenet-6", "cenet-24", "cenet-40", "cenet-gcn-6", "cenet-gcn-24", "cenet-gcn-40"):
        yield parameters(f"parameters-{network.removeprefix('cenet-') if 'gcn' in network else network}", network)
    yield multiplies()


def of_commands(found: ByLabel) -> Iterator[Finding]:
    """The claims about the embedded commands, as far as the networks were trained."""
    pairs = {
        "graph-gain": (names.GRAPH, names.PLAIN, (names.MIDDLE,)),
        "graph-beats-equal-weights": (names.GRAPH, names.IDENTITY, ()),
        "graph-beats-mean": (names.GRAPH, names.UNIFORM, ()),
        "graph-beats-band": (names.GRAPH, names.BANDED, ()),
        "scaled-scores": (names.GRAPH, names.UNSCALED, ()),
        "as-good-as-bc-resnet": (names.GRAPH, names.BC, (names.TC, names.RES8)),
        "as-good-in-equal-time": (names.GRAPH, names.BC_IN_TIME, ()),
    }
    for claim_id, (first, second, shown) in pairs.items():
        if first in found and second in found:
            yield compared(claim_id, found, first, second, [label for label in shown if label in found])


def of_long_range(pairs: ByLabel, same: ByLabel) -> Iterator[Finding]:
    """The claims about two words far apart."""
    graph, none = names.LONG_RANGE["learned"], names.LONG_RANGE[None]
    yield compared("long-range", pairs, graph, none)
    yield compared("long-range-meeting", same, graph, none)
    yield compared("long-range-equal-weights", same, graph, names.IDENTITY)
    yield compared("long-range-band", same, graph, names.BANDED)
    yield compared("long-range-edges", same, graph, names.UNIFORM)


def findings(studies: Sequence[Study]) -> Iterator[tuple[Finding, str, str]]:
    """All claims over the seeds of a study: (finding, preset, data)."""
    for finding in counted():
        yield finding, "paper", NONE
    for finding in of_commands(study.embedded(studies) | study.graph_question(studies)):
        yield finding, "scaled", COMMANDS
    if found := study.longer(studies):
        rest = [label for label in found if label not in (names.GRAPH, names.PLAIN)]
        yield compared("graph-gain-with-patience", found, names.GRAPH, names.PLAIN, rest), "scaled", PATIENT
        yield compared("as-good-as-bc-resnet", found, names.GRAPH, names.BC), "scaled", PATIENT
    for finding in of_long_range(study.long_range(studies, names.PAIRS), study.long_range(studies, names.SAME)):
        yield finding, "scaled", TWO_WORDS
    for place, data in (("digits", DIGITS), ("words", WORDS)):
        if found := study.recordings(studies, place):
            yield compared("as-good-as-bc-resnet", found, names.GRAPH, names.BC, (names.PLAIN,)), "real", data
            yield compared("as-good-in-equal-time", found, names.GRAPH, names.BC_IN_TIME), "real", data
