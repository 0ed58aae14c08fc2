"""The scoreboard: each claim of the cards beside what was measured here, failures as plain as successes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from pydantic import FiniteFloat

from lib.errors import UserError
from lib.papers.cards import Card, Claim, Items, Sentence, Strict, load_cards
from lib.papers.records import (
    RESULTS,
    VERDICT_WORDS,
    Measurement,
    Setting,
    Verdict,
    chapter_records,
    load_results,
    number,
    setting_words,
)

CHAPTERS = RESULTS.parent / "chapters"


class Line(Strict):
    """One measured quantity of a claim: the chapter's value, and mean and spread over the seeds.

    `spread` is the sample standard deviation; it is empty for fewer than two seeds. An empty figure was not
    measured.
    """

    label: Sentence
    setting: dict[Sentence, Setting]
    unit: Sentence
    chapter: FiniteFloat | None
    mean: FiniteFloat | None
    spread: FiniteFloat | None
    seeds: int


class Row(Strict):
    """One claim with everything that is known of it.

    `verdict` is the one over seeds where there is one, for it weighs more than the chapter's single run.
    """

    system: Sentence
    short_name: Sentence
    chapter: int
    claim: Claim
    chapter_verdict: Verdict
    seeds_verdict: Verdict
    verdict: Verdict
    lines: Items[Line]
    remarks: Items[Sentence]


def scoreboard_rows(
    seeds: Path | str | None = None,
    chapters_folder: Path | str | None = None,
    results_folder: Path | str | None = None,
) -> tuple[Row, ...]:
    """Join cards, stored chapters and results; one row for each claim, in the order of the book.

    A chapter is looked for as `<chapters_folder>/<number>-<system>.ipynb`; a missing chapter or results file
    means "not measured". Raises UserError when a card, a stored record or a results file is bad, or when a
    record names a claim that its card does not have.
    """
    chapters = CHAPTERS if chapters_folder is None else Path(chapters_folder)
    rows = []
    for card in load_cards(seeds):
        notebook = chapters / f"{card.chapter}-{card.id}.ipynb"
        recorded = chapter_records(notebook) if notebook.is_file() else ()
        reproduced = load_results(card.id, results_folder)
        _refuse_strangers(card, recorded, str(notebook))
        _refuse_strangers(card, reproduced, f"The results of {card.id}")
        rows += [_row(card, claim, recorded, reproduced) for claim in card.claims]
    return tuple(rows)


def scoreboard_html(
    seeds: Path | str | None = None,
    chapters_folder: Path | str | None = None,
    results_folder: Path | str | None = None,
) -> str:
    """The scoreboard as HTML without scripts: a count for each system, then a block for each claim.

    Blocks stack on a phone and a wide table scrolls inside its own frame. Verdicts are words; colours are the
    page's own. Raises UserError as `scoreboard_rows` does.
    """
    rows = scoreboard_rows(seeds, chapters_folder, results_folder)
    systems = list(dict.fromkeys((row.chapter, row.system, row.short_name) for row in rows))
    parts = [f"<style>{_CSS}</style>", _counts(rows, systems)]
    for chapter, system, short_name in systems:
        parts.append(f'<h2 id="scoreboard-{escape(system)}">{chapter}. {escape(short_name)}</h2>')
        parts += [_block(row) for row in rows if row.system == system]
    return f'<div class="scoreboard">{"".join(parts)}</div>'


def _row(card: Card, claim: Claim, recorded: Iterable[Measurement], reproduced: Iterable[Measurement]) -> Row:
    in_chapter = [found for found in recorded if found.system == card.id and found.claim == claim.id]
    over_seeds = [found for found in reproduced if found.claim == claim.id]
    chapter_verdict, seeds_verdict = _together(in_chapter), _together(over_seeds)
    places: dict[tuple, tuple[list[float], list[float]]] = {}
    settings: dict[tuple, dict] = {}
    # One table for both sources: quantities with the same label, setting, unit and data share a line.
    several_data = len({found.data for found in [*in_chapter, *over_seeds]}) > 1
    for which, group in enumerate((in_chapter, over_seeds)):
        for found in group:
            for value in found.values:
                label = f"{value.label}, {found.data}" if several_data else value.label
                ordered = tuple(sorted((name, repr(v)) for name, v in value.setting.items()))
                key = (label, ordered, value.unit)
                places.setdefault(key, ([], []))[which].append(value.value)
                settings.setdefault(key, dict(value.setting))
    lines = tuple(
        Line(
            label=key[0],
            setting=settings[key],
            unit=key[2],
            chapter=statistics.fmean(once) if once else None,
            mean=statistics.fmean(many) if many else None,
            spread=statistics.stdev(many) if len(many) > 1 else None,
            seeds=len(many),
        )
        for key, (once, many) in places.items()
    )
    remarks = [f"In the chapter: {found.summary}" for found in in_chapter]
    for found in over_seeds:
        spent = f", {number(found.minutes)} minutes of computing" if found.minutes is not None else ""
        count = f"{len(found.seeds)} seed" + ("" if len(found.seeds) == 1 else "s")
        remarks.append(f"Over {count} (preset {found.preset}, {found.data}{spent}): {found.summary}")
    return Row(
        system=card.id,
        short_name=card.short_name,
        chapter=card.chapter,
        claim=claim,
        chapter_verdict=chapter_verdict,
        seeds_verdict=seeds_verdict,
        verdict=seeds_verdict if seeds_verdict != "not measured" else chapter_verdict,
        lines=lines,
        remarks=tuple(remarks),
    )


def _refuse_strangers(card: Card, found: Iterable[Measurement], where: str) -> None:
    """A record that no claim of the card asks for is stale; leaving it out in silence would hide it."""
    known = {claim.id for claim in card.claims}
    for one in found:
        if one.system != card.id or one.claim not in known:
            raise UserError(
                f"{where}: the record {one.system}/{one.claim} belongs to no claim of the card '{card.id}'; "
                "measure again."
            )


def _together(found: Sequence[Measurement]) -> Verdict:
    """One verdict for several measurements of a claim: a single failure is a failure."""
    verdicts = {one.verdict for one in found}
    for verdict in ("failed", "held"):
        if verdict in verdicts:
            return verdict
    return "not measured"


def _counts(rows: Sequence[Row], systems: Sequence[tuple[int, str, str]]) -> str:
    body = ""
    for chapter, system, short_name in systems:
        verdicts = [row.verdict for row in rows if row.system == system]
        cells = "".join(f"<td>{verdicts.count(verdict)}</td>" for verdict in VERDICT_WORDS)
        link = f'<a href="#scoreboard-{escape(system)}">{chapter}. {escape(short_name)}</a>'
        body += f'<tr><th scope="row">{link}</th>{cells}<td>{len(verdicts)}</td></tr>'
    head = "".join(f'<th scope="col">{words}</th>' for words in VERDICT_WORDS.values())
    return _scrolling(
        "Claims of each chapter by verdict",
        '<table class="scoreboard-counts"><caption>How many claims held, failed, were not measured</caption>'
        f'<thead><tr><th scope="col">Chapter</th>{head}<th scope="col">Claims</th></tr></thead>'
        f"<tbody>{body}</tbody></table>",
    )


def _block(row: Row) -> str:
    claim, test = row.claim, row.claim.test
    unknown = "not in the paper" if claim.evidence == "derived" else "place not known"
    between = ", then " if test.direction == "falling" else " against "
    ident = f"claim-{escape(row.system)}-{escape(claim.id)}"
    facts = [
        ("The paper's figure", paper_figure(claim)),
        ("Where it stands", f"{claim.place or unknown}; evidence: {claim.evidence}"),
        ("How it is tested", f"{test.metric}: {between.join(test.comparison)}; {test.data}"),
        ("It holds when", test.margin.words),
        ("In the chapter", VERDICT_WORDS[row.chapter_verdict]),
        ("Over seeds", VERDICT_WORDS[row.seeds_verdict]),
    ]
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in row.remarks)
    return (
        f'<section class="scoreboard-claim" id="{ident}" aria-labelledby="{ident}-name">'
        f'<h3 id="{ident}-name"><span class="scoreboard-verdict">{VERDICT_WORDS[row.verdict]}</span> '
        f"{escape(claim.sentence)}</h3><dl>{listed}</dl>{_measured(row)}{remarks}</section>"
    )


def _measured(row: Row) -> str:
    if not row.lines:
        return ""
    body = ""
    for line in row.lines:
        setting = f" ({setting_words(line.setting)})" if line.setting else ""
        mean = "" if line.mean is None else number(line.mean)
        if line.mean is not None:
            mean += f" ± {number(line.spread, 2)}" if line.spread is not None else " (one seed)"
        cells = ("" if line.chapter is None else number(line.chapter), mean, str(line.seeds), line.unit)
        body += f'<tr><th scope="row">{escape(line.label + setting)}</th>'
        body += "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    columns = ("What was measured", "In the chapter", "Mean ± standard deviation", "Seeds", "Unit")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return _scrolling(
        f"Measured values of {row.claim.id}",
        f"<table><caption>Measured here: {escape(row.claim.test.metric)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
    )


def paper_figure(claim: Claim) -> str:
    """The paper's figure with its unit, in the digits of the card, or words that say there is none."""
    if claim.figure is not None:
        form = "," if claim.decimals is None else f",.{claim.decimals}f"
        return f"{claim.figure:{form}} {claim.unit}"
    return "none: the claim is derived here" if claim.evidence == "derived" else "none that could be read"


def _scrolling(name: str, table: str) -> str:
    # A region that scrolls must take the keyboard's focus, or readers without a mouse miss its right side.
    return f'<div class="scoreboard-scroll" role="region" tabindex="0" aria-label="{escape(name)}">{table}</div>'


_CSS = (
    ".scoreboard{color:inherit}"
    ".scoreboard-scroll{overflow-x:auto;max-width:100%}"
    ".scoreboard table{border-collapse:collapse;color:inherit;background:transparent;width:auto}"
    ".scoreboard caption{caption-side:top;text-align:left;color:inherit;font-style:italic}"
    ".scoreboard th,.scoreboard td{padding:.2em .7em .2em 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--pst-color-border,currentColor)}"
    ".scoreboard-claim{border-left:.3em solid currentColor;padding-left:.9em;margin:1.6em 0}"
    ".scoreboard-claim h3{margin-top:0;font-size:1.05em;overflow-wrap:anywhere}"
    ".scoreboard-verdict{border:2px solid currentColor;border-radius:.3em;padding:0 .4em;white-space:nowrap}"
    ".scoreboard-claim dl{margin:.4em 0}"
    ".scoreboard-claim dl>div{display:flex;flex-wrap:wrap;gap:0 .6em}"
    ".scoreboard-claim dt{font-weight:600;min-width:10em}"
    ".scoreboard-claim dd{margin:0;flex:1 1 14em}"
)
