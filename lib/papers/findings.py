"""A claim's verdict with the numbers behind it, made the same way in a chapter and over several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from lib.papers.cards import claim
from lib.papers.records import ClaimRecord, Measurement, measurement, number, record_claim


@dataclass(frozen=True)
class Finding:
    """A verdict, in the shape that the records have.

    Attributes:
        claim: its id on the card.
        held: whether the means over the seeds keep the claim with the card's margin.
        summary: one sentence with the decisive numbers.
        values: one mapping a number: label, seed, setting, value, unit.
    """

    claim: str
    held: bool
    summary: str
    values: list[dict[str, Any]]

    @property
    def verdict(self) -> str:
        """``held`` or ``failed``, as the records spell it."""
        return "held" if self.held else "failed"

    def in_chapter(self, system: str, *, preset: str, data: str) -> ClaimRecord:
        """As the chapter's record: the last expression of a cell."""
        return record_claim(
            system,
            self.claim,
            verdict=self.verdict,
            summary=self.summary,
            values=self.values,
            preset=preset,
            data=data,
        )

    def measured(self, system: str, *, preset: str, data: str, minutes: float) -> Measurement:
        """As a result of ``papers reproduce``."""
        return measurement(
            system=system,
            claim=self.claim,
            source="reproduce",
            verdict=self.verdict,
            summary=self.summary,
            values=self.values,
            preset=preset,
            data=data,
            minutes=minutes,
        )


def compared(
    system: str,
    claim_id: str,
    found: Mapping[str, Mapping[int, float]],
    first: str,
    second: str,
    shown: Sequence[str] = (),
    *,
    unit: str = "percent",
) -> Finding:
    """Whether the mean of ``first`` keeps the claim beside that of ``second``, over the seeds that both have.

    Args:
        found: label -> seed -> value. shown: further labels whose values are shown with these two.
        unit: of the values; percent is written as %, and differences of it as points.
    """
    seeds = [seed for seed in found[first] if seed in found[second]]
    a, b = (mean(found[label][seed] for seed in seeds) for label in (first, second))
    sign, difference = (" %", " points") if unit == "percent" else (f" {unit}", "")
    summary = f"{first[0].upper()}{first[1:]} has {number(a, 3)}{sign}, {second} {number(b, 3)}{sign}"
    if len(seeds) > 1:
        gap = [found[first][seed] - found[second][seed] for seed in seeds]
        error = stdev(gap) / len(gap) ** 0.5
        digits = 1 if unit == "percent" else 3
        summary += (
            f"; the difference is {mean(gap):+.{digits}f}{difference} with a standard error of {error:.{digits}f}, and "
            f"goes from {min(gap):+.{digits}f} to {max(gap):+.{digits}f} over {len(gap)} seeds"
        )
    values = [
        {"label": label, "seed": seed, "value": value, "unit": unit}
        for label in dict.fromkeys((first, second, *shown))
        for seed, value in found[label].items()
        if label in shown or seed in seeds
    ]
    held = claim(system, claim_id).test.holds([a, b])
    return Finding(claim_id, held, summary + ".", values)
