"""The papers: their cards, and the record of what was measured.

- `cards`: reads and checks `seeds/*.yml` (`load_card`, `load_cards`, `claim`);
- `records`: what was measured for a claim, in a chapter's outputs (`record_claim`) and in `results/`;
- `findings`: a verdict with its numbers, for both;
- `studies`: every number of every seed, kept beside the verdicts;
- `scoreboard`: both joined with the paper's own figures (`scoreboard_rows`, `scoreboard_html`).
"""

from lib.papers.cards import (
    SEEDS,
    Card,
    Claim,
    ClaimTest,
    DataSet,
    Margin,
    PaperIdentifier,
    claim,
    load_card,
    load_cards,
)
from lib.papers.findings import Finding, compared
from lib.papers.records import (
    CLAIM_MIME,
    RESULTS,
    ClaimRecord,
    Measurement,
    Value,
    chapter_records,
    load_results,
    measurement,
    number,
    record_claim,
    save_results,
)
from lib.papers.scoreboard import CHAPTERS, Line, Row, paper_figure, scoreboard_html, scoreboard_rows
from lib.papers.studies import Study, load_studies, study_json

__all__ = [
    "CHAPTERS",
    "CLAIM_MIME",
    "RESULTS",
    "SEEDS",
    "Card",
    "Claim",
    "ClaimRecord",
    "ClaimTest",
    "DataSet",
    "Finding",
    "Line",
    "Margin",
    "Measurement",
    "PaperIdentifier",
    "Row",
    "Study",
    "Value",
    "chapter_records",
    "claim",
    "compared",
    "load_card",
    "load_cards",
    "load_results",
    "load_studies",
    "measurement",
    "number",
    "paper_figure",
    "record_claim",
    "save_results",
    "scoreboard_html",
    "scoreboard_rows",
    "study_json",
]
