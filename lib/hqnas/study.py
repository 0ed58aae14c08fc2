"""What ``papers reproduce hqnas`` keeps beside the verdicts: every number of every seed, as the chapter draws them."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

from lib import papers
from lib.hqnas.evaluate import agreement
from lib.hqnas.space import Choice, Choices
from lib.papers import RESULTS

FILE = "hqnas-study.json"

Study = papers.Study
"""One seed, in plain JSON types. A *network* is a dictionary: ``policy`` (as ``space.choices_to_list``), ``cost``
(share of the full cost), ``bits``, ``trained_on`` and ``from_scratch`` (shares of the test that were named rightly; one
may be missing).

``seed``; ``front``: device -> label -> budget -> network; ``headroom``: device -> factor -> network;
``variations``: label -> network; ``random``: list of networks; ``devices``: device -> network, with ``elsewhere``:
device -> cost there; ``lifelong``: change -> way -> share of a search's steps -> network; ``minutes``."""

ByLabel = dict[str, dict[int, float]]
"""Label -> seed -> number."""

TRAINED, SCRATCH = "trained_on", "from_scratch"
MIDDLE = "0.15"
"""The budget of the variations and of the random candidates, as it is written."""


def load_studies(folder: Path | str = RESULTS) -> list[Study]:
    """The studies of all seeds. Raises UserError when there are none, or they cannot be read."""
    return papers.load_studies("hqnas", FILE, folder)


def budgets(studies: Sequence[Study], device: str) -> list[str]:
    """The budgets of a device's front, as they are written, the largest first."""
    labels = studies[0]["front"][device].values()
    return sorted({budget for row in labels for budget in row}, key=float, reverse=True)


def over_front(studies: Sequence[Study], device: str, key: str, *labels: str) -> ByLabel:
    """Percent, or another number of a network, averaged over the budgets of a device that all of ``labels`` have.

    A label may lack a budget that nothing of its kind can keep; a seed without a common budget is left out.
    """
    found: ByLabel = {label: {} for label in labels}
    for one in studies:
        rows = one["front"][device]
        shared = [budget for budget in budgets(studies, device) if all(budget in rows[label] for label in labels)]
        for label in labels if shared else ():
            found[label][one["seed"]] = _percent(key) * mean(rows[label][budget][key] for budget in shared)
    return found


def at_budget(studies: Sequence[Study], device: str, budget: str, key: str) -> ByLabel:
    """Percent (or another number) of every label at one budget."""
    return {
        label: {one["seed"]: _percent(key) * one["front"][device][label][budget][key] for one in studies
                if budget in one["front"][device][label]}
        for label in studies[0]["front"][device]
    }  # fmt: skip


def over_budget(studies: Sequence[Study], device: str) -> ByLabel:
    """Cost in multiples of the budget, averaged over the budgets of a device."""
    return {
        label: {
            one["seed"]: mean(row["cost"] / float(budget) for budget, row in one["front"][device][label].items())
            for one in studies
            if one["front"][device][label]
        }
        for label in studies[0]["front"][device]
    }


def by_device(studies: Sequence[Study], key: str) -> ByLabel:
    """A number of the network that was searched for each device, at one budget for all."""
    return {
        device: {one["seed"]: _percent(key) * one["devices"][device][key] for one in studies}
        for device in studies[0]["devices"]
    }


def policy_of(network: dict[str, Any]) -> Choices:
    """The policy of a network in a study."""
    return tuple(
        None if one is None else Choice(one["kernel"], one["expansion"], tuple(one["bits"]))
        for one in network["policy"]
    )


OTHER_DEVICE, OTHER_SEED = "a pair of devices", "a pair of seeds on one device"


def agreements(studies: Sequence[Study], devices: Sequence[str]) -> ByLabel:
    """Percent of decisions that two searches have in common: each seed's mean over pairs of devices, and over pairs of
    seeds, itself and the others."""
    policies = {one["seed"]: {device: policy_of(one["devices"][device]) for device in devices} for one in studies}
    found: ByLabel = {OTHER_DEVICE: {}, OTHER_SEED: {}}
    for seed, own in policies.items():
        pairs = [agreement(own[a], own[b]) for a, b in combinations(devices, 2)]
        found[OTHER_DEVICE][seed] = 100 * mean(pairs)
        others = [other for number, other in policies.items() if number != seed]
        same = [agreement(own[device], other[device]) for other in others for device in devices]
        if same:
            found[OTHER_SEED][seed] = 100 * mean(same)
    return found


def lifelong(studies: Sequence[Study], change: str) -> tuple[dict[float, float], dict[float, float]]:
    """Share of a search's steps -> percent, mean over the seeds: going on, and from scratch."""
    ways = studies[0]["lifelong"][change]
    going_on, anew = (
        {
            float(share): 100 * mean(one["lifelong"][change][way][share][TRAINED] for one in studies)
            for share in ways[way]
        }
        for way in ("going on", "from scratch")
    )
    return going_on, anew


def variations(studies: Sequence[Study], key: str) -> ByLabel:
    """The joint search with one thing changed."""
    return {
        label: {one["seed"]: _percent(key) * one["variations"][label][key] for one in studies}
        for label in studies[0]["variations"]
    }


def _percent(key: str) -> float:
    return 100.0 if key in (TRAINED, SCRATCH) else 1.0
