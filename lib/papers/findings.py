"""A claim's verdict with the numbers behind it, made the same way in a chapter and over several seeds."""

from dataclasses import dataclass
from typing import Any

from lib.papers.records import ClaimRecord, Measurement, measurement, record_claim


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
