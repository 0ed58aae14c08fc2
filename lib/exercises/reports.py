"""Open projects: the form of a report, and whether its verdicts follow from its own numbers. Nothing else is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.exercises.checks import NotYet, answered

KEYS = ("change", "seeds", "baseline", "changed", "wins", "loses", "conclusion")

Table = dict[float, list[float]]
"""Setting -> one number a seed; lower is better."""


@dataclass(frozen=True)
class Words:
    """How a project speaks of what it measures.

    Attributes:
        settings: the keys of a table: "numbers of calls". unit: after such a number: "calls".
        value: what stands in it: "distance". less, more: what a better and a worse one is called.
    """

    settings: str
    unit: str
    value: str
    less: str
    more: str


def seeds_of(report: Any, keys: tuple[str, ...] = KEYS) -> int:
    """How many seeds a report has, when it has all its keys."""
    answered(report)
    if not isinstance(report, Mapping):
        raise NotYet("The report is a dictionary; see the task for its keys.")
    for key in keys:
        if key not in report:
            raise NotYet(f'The report has no "{key}" yet.')
        answered(report[key])
    seeds = list(report["seeds"])
    if len(set(map(repr, seeds))) < 2 or len(set(map(repr, seeds))) < len(seeds):
        raise NotYet("Two different seeds or more: one run cannot tell a gain from luck.")
    return len(seeds)


def undecided(
    report: Mapping, read: Callable[[Any, str], Table], enough: Callable[[Table], str | None], words: Words
) -> str:
    """A sentence on the settings that the seeds leave open, when all the report's verdicts follow from its numbers.

    Args:
        read: makes a table of what stands under a name, or says what is wrong with it.
        enough: says what is missing in a table's settings, if anything is.
    """
    tables = {name: read(report[name], name) for name in ("baseline", "changed")}
    baseline, changed = tables["baseline"], tables["changed"]
    if set(baseline) != set(changed):
        raise NotYet(f"The baseline and your change are measured at different {words.settings}: use the same ones.")
    if missing := enough(baseline):
        raise NotYet(missing)
    if baseline == changed:
        raise NotYet("Baseline and change have the very same numbers: was the changed configuration really used?")
    for name, table in tables.items():
        if all(len(set(row)) == 1 for row in table.values()):
            raise NotYet(f'In "{name}" all seeds give the same numbers: does the seed reach the training?')
    better = {n for n in baseline if all(c < b for c, b in zip(changed[n], baseline[n], strict=True))}
    worse = {n for n in baseline if all(c > b for c, b in zip(changed[n], baseline[n], strict=True))}
    for key, right, word in (("wins", better, words.less), ("loses", worse, words.more)):
        listed = report[key]
        if not isinstance(listed, list | tuple | set | frozenset):
            raise NotYet(f'"{key}" should be a list of {words.settings}; an empty list is an answer, too.')
        extra, absent = set(listed) - right, right - set(listed)
        if extra:
            raise NotYet(f'"{key}" lists {_first(extra)}, but there the {words.value} is not {word} for every seed.')
        if absent:
            raise NotYet(f'"{key}" leaves out {_first(absent)}: there the {words.value} is {word} for every seed.')
    if not isinstance(report["conclusion"], str) or len(report["conclusion"].split()) < 10:
        raise NotYet("Write the conclusion as a sentence of ten words or more: where, how much, and your explanation.")
    if not isinstance(report["change"], str) or not report["change"].strip():
        raise NotYet('Say in "change" what you changed.')
    rest = sorted(set(baseline) - better - worse)
    return f" Undecided between the seeds: {', '.join(f'{n:g}' for n in rest)} {words.unit}." if rest else ""


def _first(numbers: set) -> str:
    return min(map(str, numbers), key=len)
