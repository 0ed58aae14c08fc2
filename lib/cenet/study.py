"""What ``papers reproduce cenet`` keeps beside the verdicts: every number of every seed, as the chapter draws them."""

from collections.abc import Sequence
from pathlib import Path

from lib import papers
from lib.cenet import comparison as names
from lib.papers import RESULTS

FILE = "cenet-study.json"
GRAPH_QUESTION = (names.PLAIN, names.GRAPH, names.IDENTITY, names.UNIFORM, names.BANDED)
"""The graph, and all that it has to be better than."""

Study = papers.Study
"""One seed, in plain JSON types: ``seed``, ``embedded`` (label -> accuracy, area, cpu_seconds, gammas, noise),
``long_range`` (question -> label -> accuracy), ``digits`` and ``words`` (label -> accuracy; with the left-out speaker),
``longer`` (label -> accuracy, cpu_seconds; the first seeds only), ``minutes``. What a machine without the recordings
cannot measure is not there. Accuracies are shares. Further seeds have ``graph`` alone: like ``embedded``, of those in
``GRAPH_QUESTION``."""

ByLabel = dict[str, dict[int, float]]
"""Label -> seed -> percent."""


def load_studies(folder: Path | str = RESULTS) -> list[Study]:
    """The studies of all seeds. Raises UserError when there are none, or they cannot be read."""
    return papers.load_studies("cenet", FILE, folder)


def embedded(studies: Sequence[Study], key: str = "accuracy") -> ByLabel:
    """The embedded commands: accuracy in percent, or another number as it stands."""
    factor = 100 if key == "accuracy" else 1
    whole = _whole(studies)
    return {
        label: {one["seed"]: factor * one["embedded"][label][key] for one in whole} for label in whole[0]["embedded"]
    }


def graph_question(studies: Sequence[Study]) -> ByLabel:
    """The graph and its controls on the embedded commands, over all seeds: percent."""
    found = [(one["seed"], one.get("embedded") or one["graph"]) for one in studies]
    return {label: {seed: 100 * one[label]["accuracy"] for seed, one in found} for label in GRAPH_QUESTION}


def _whole(studies: Sequence[Study]) -> list[Study]:
    return [one for one in studies if "embedded" in one]


def longer(studies: Sequence[Study]) -> ByLabel:
    """The embedded commands with several times the steps, for the seeds that were trained so long: percent."""
    patient = [one for one in studies if "longer" in one]
    labels = patient[0]["longer"] if patient else ()
    return {label: {one["seed"]: 100 * one["longer"][label]["accuracy"] for one in patient} for label in labels}


def long_range(studies: Sequence[Study], question: str) -> ByLabel:
    """Two words far apart: accuracy in percent."""
    whole = _whole(studies)
    return {
        label: {one["seed"]: 100 * one["long_range"][question][label] for one in whole}
        for label in whole[0]["long_range"][question]
    }


def recordings(studies: Sequence[Study], place: str) -> ByLabel:
    """``digits`` or ``words``: accuracy in percent on people; empty where they were not measured."""
    whole = _whole(studies)
    if not all(place in one for one in whole):
        return {}
    labels = [label for label in whole[0][place] if label != "left_out"]
    return {label: {one["seed"]: 100 * one[place][label] for one in whole} for label in labels}


def noise(studies: Sequence[Study]) -> dict[str, dict[float, list[float]]]:
    """Accuracy in percent at each level of noise, one value a seed: {label: {decibels: values}}."""
    whole = _whole(studies)
    swept = [label for label, found in whole[0]["embedded"].items() if "noise" in found]
    return {
        label: {
            row["snr"]: [100 * one["embedded"][label]["noise"][place]["accuracy"] for one in whole]
            for place, row in enumerate(whole[0]["embedded"][label]["noise"])
        }
        for label in swept
    }
