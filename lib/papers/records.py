"""What was measured for a claim: in a chapter's own outputs, and over several seeds in `results/`.

A chapter calls `record_claim`; the object that comes back shows itself as text and as a table, and carries
the measurement in an output type of its own. So the stored notebook is the record and nothing lies beside it.
`papers reproduce` writes `results/<system>.json` with `save_results`.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from lib.errors import UserError
from lib.files import write_whole
from lib.papers.cards import SEEDS, Identifier, Items, Sentence, Strict, first_problem, load_card

CLAIM_MIME = "application/vnd.papers-that-run.claim+json"
RESULTS = SEEDS.parent / "results"
FORMAT = 1

Verdict = Literal["held", "failed", "not measured"]
Setting = int | FiniteFloat | bool | str | None
VERDICT_WORDS = {"held": "Held", "failed": "Failed", "not measured": "Not measured"}


class Value(Strict):
    """One measured number: what it is, from which seed, in which setting (for example {"nfe": 4})."""

    label: Sentence
    seed: Annotated[int, Field(ge=0)]
    setting: dict[Sentence, Setting] = Field(default_factory=dict)
    value: FiniteFloat
    unit: Sentence


class Measurement(Strict):
    """All that was measured for one claim in one place.

    `source` is "chapter" (one run, in the notebook) or "reproduce" (several seeds, by the command line).
    `minutes` is the computing time; chapters leave it out, for their outputs must not change from run to run.
    """

    system: Identifier
    claim: Identifier
    source: Literal["chapter", "reproduce"]
    verdict: Verdict
    summary: Sentence
    values: Items[Value]
    seeds: Items[Annotated[int, Field(ge=0)]]
    preset: Identifier
    data: Sentence
    minutes: Annotated[FiniteFloat, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _values_and_verdict_agree(self) -> Measurement:
        if self.verdict == "not measured" and self.values:
            raise ValueError("verdict is 'not measured' though values are given")
        if self.verdict != "not measured" and not self.values:
            raise ValueError(f"verdict is '{self.verdict}' though values are empty")
        if sorted(self.seeds) != sorted({value.seed for value in self.values}):
            raise ValueError("seeds must name each seed of values once, and no other")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a measurement one of its kind within a source: claim, preset, data."""
        return self.claim, self.preset, self.data


FEW = 4
"""A longer table of a claim's numbers is folded: the sentence above it has the decisive ones."""


class ClaimRecord:
    """A measurement that shows itself: text, an accessible table, and the typed record for the scoreboard."""

    def __init__(self, measurement: Measurement, sentence: str):
        self.measurement = measurement
        self.sentence = sentence

    def __repr__(self) -> str:
        found = self.measurement
        lines = [f"{VERDICT_WORDS[found.verdict]}: {self.sentence}", found.summary]
        lines += [
            f"  {one.label}{_in_words(one.setting)}, seed {one.seed}: {number(one.value)} {one.unit}"
            for one in found.values
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        found = self.measurement
        look = 'style="text-align:left;vertical-align:top;padding:0.1em 0.8em 0.1em 0"'
        rows = ""
        for one in found.values:
            cells = (str(one.seed), number(one.value), one.unit)
            rows += f'<tr><th scope="row" {look}>{escape(one.label + _in_words(one.setting))}</th>'
            rows += "".join(f"<td {look}>{escape(cell)}</td>" for cell in cells) + "</tr>"
        columns = ("What was measured", "Seed", "Value", "Unit")
        head = "".join(f'<th scope="col" {look}>{name}</th>' for name in columns)
        verdict = (
            f"<strong>{VERDICT_WORDS[found.verdict]}.</strong> {escape(self.sentence)} <em>{escape(found.summary)}</em>"
        )
        body = f'<p style="margin:0;color:inherit">{verdict}</p>'
        # Where nobody measured there is no table: a head over nothing would puzzle a reader.
        if rows:
            count, opened = len(found.values), ' open=""' if len(found.values) <= FEW else ""
            summary = "The number behind it" if count == 1 else f"The {count} numbers behind it"
            body += (
                # JupyterLab's style sheet takes the triangle away.
                f'<details{opened}><summary style="list-style:revert;cursor:pointer">{summary}</summary>'
                '<table aria-label="The numbers behind the verdict" '
                'style="color:inherit;background:transparent;margin-left:0">'
                f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
            )
        # Colours are the page's own (currentColor), so light and dark need nothing from here.
        return (
            '<div class="claim-record" role="region" tabindex="0" '
            f'aria-label="{escape(f"Claim {found.claim}: {VERDICT_WORDS[found.verdict]}")}" '
            'style="overflow-x:auto;color:inherit;border-left:0.3em solid currentColor;padding-left:0.8em">'
            f"{body}</div>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        record = self.measurement.model_dump(mode="json", exclude={"minutes"})
        return {"text/plain": repr(self), "text/html": self._repr_html_(), CLAIM_MIME: record}


def record_claim(
    system: str,
    claim_id: str,
    *,
    verdict: Verdict,
    summary: str,
    values: Sequence[Mapping[str, Any] | Value],
    preset: str,
    data: str,
    seeds_folder: Path | str | None = None,
) -> ClaimRecord:
    """The record of one claim, made in a chapter: the last expression of a cell.

    `values`: one mapping a number, with label, seed, setting (a mapping, may be left out), value and unit.
    Numbers are kept to six significant digits. Raises UserError when the card has no such claim or preset, or
    when a field is missing, unknown or not finite.
    """
    card = load_card(system, seeds_folder)
    sentence = card.claim(claim_id).sentence
    if preset not in card.presets:
        raise UserError(f"The card '{system}' has no preset '{preset}'; it has {', '.join(card.presets)}.")
    found = measurement(
        system=system,
        claim=claim_id,
        source="chapter",
        verdict=verdict,
        summary=summary,
        values=values,
        preset=preset,
        data=data,
    )
    return ClaimRecord(found, sentence)


def measurement(
    *,
    system: str,
    claim: str,
    source: Literal["chapter", "reproduce"],
    verdict: Verdict,
    summary: str,
    values: Sequence[Mapping[str, Any] | Value],
    preset: str,
    data: str,
    minutes: float | None = None,
) -> Measurement:
    """A checked Measurement from plain values; the seeds are read from them. UserError on a bad field."""
    plain = [_plain(value.model_dump() if isinstance(value, Value) else value) for value in values]
    seeds = tuple(dict.fromkeys(value["seed"] for value in plain if isinstance(value.get("seed"), int)))
    fields = {
        "system": system,
        "claim": claim,
        "source": source,
        "verdict": verdict,
        "summary": summary,
        "values": tuple(plain),
        "seeds": seeds,
        "preset": preset,
        "data": data,
        "minutes": None if minutes is None else round(float(minutes), 2),
    }
    try:
        return Measurement.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"The measurement of {system}/{claim}: {first_problem(error)}; correct this field.") from None


def save_results(system: str, measurements: Iterable[Measurement], folder: Path | str | None = None) -> Path:
    """Write `<folder>/<system>.json` (beside, then renamed) and return its path.

    The file is replaced whole. Raises UserError when a measurement is of another system or given twice.
    """
    folder = RESULTS if folder is None else Path(folder)
    measurements = tuple(measurements)
    _check_set(system, measurements, f"The results of {system}")
    content = {
        "format": FORMAT,
        "system": system,
        "measurements": [found.model_dump(mode="json") for found in measurements],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return write_whole(folder / f"{system}.json", text)


def load_results(system: str, folder: Path | str | None = None) -> tuple[Measurement, ...]:
    """The measurements of `<folder>/<system>.json`; empty when nobody has written that file yet.

    Raises UserError when the file is truncated, is of another kind or system, or holds a bad measurement.
    """
    path = (RESULTS if folder is None else Path(folder)) / f"{system}.json"
    if not path.is_file():
        return ()
    content = _read_json(path, "run `papers reproduce` again")
    if not isinstance(content, dict) or set(content) != {"format", "system", "measurements"}:
        raise UserError(f"{path} is not a results file of this book; run `papers reproduce` again.")
    if content["format"] != FORMAT:
        raise UserError(
            f"{path} has format {content['format']}, this version reads {FORMAT}; run `papers reproduce` again."
        )
    if content["system"] != system or not isinstance(content["measurements"], list):
        raise UserError(f"{path} does not hold the results of '{system}'; run `papers reproduce` again.")
    found = tuple(
        _checked(fields, f"{path}: measurements[{index}]") for index, fields in enumerate(content["measurements"])
    )
    _check_set(system, found, str(path))
    return found


def chapter_records(notebook: Path | str) -> tuple[Measurement, ...]:
    """The measurements in the stored outputs of a notebook, in the order of its cells.

    A record that is shown twice counts once. Raises UserError when the notebook is missing or unreadable,
    when a record in it is bad, or when two records of one claim, preset and data differ.
    """
    path = Path(notebook)
    if not path.is_file():
        raise UserError(f"There is no notebook {path}; check the name of the chapter.")
    content = _read_json(path, "run the chapter again")
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise UserError(f"{path} is not a notebook of format 4; save it anew in JupyterLab.")
    found: dict[tuple[str, str, str, str], Measurement] = {}
    for index, cell in enumerate(cells):
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else []:
            bundle = output.get("data") if isinstance(output, dict) else None
            if not isinstance(bundle, dict) or CLAIM_MIME not in bundle:
                continue
            record = _checked(bundle[CLAIM_MIME], f"{path}, cell {index}")
            known = found.setdefault((record.system, *record.key), record)
            if known != record:
                raise UserError(
                    f"{path}, cell {index}: the claim '{record.claim}' is recorded twice with different "
                    "values; record it once."
                )
    return tuple(found.values())


def number(value: float, digits: int = 4) -> str:
    """A number for readers: so many significant digits, whole numbers whole, no exponent in the usual range."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e4:
        return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return f"{value:.{digits}g}" if abs(value) < 1e-4 or abs(value) >= 1e15 else f"{value:,.0f}"


def setting_words(setting: Mapping[str, Any]) -> str:
    """A setting as plain words, in its own order: "nfe 4, solver heun"."""
    return ", ".join(f"{name} {number(v) if type(v) in (int, float) else v}" for name, v in setting.items())


def _in_words(setting: Mapping[str, Any]) -> str:
    return f" ({setting_words(setting)})" if setting else ""


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with NumPy's numbers made Python's, and the value kept to six significant digits."""
    fields = {name: _python_number(value) for name, value in fields.items()}
    if isinstance(fields.get("setting"), Mapping):
        fields["setting"] = {name: _python_number(value) for name, value in fields["setting"].items()}
    if type(fields.get("value")) in (int, float):
        fields["value"] = float(f"{float(fields['value']):.6g}")
    return fields


def _python_number(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def _checked(fields: Any, where: str) -> Measurement:
    try:
        return Measurement.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{where}: {first_problem(error)}; measure it again.") from None


def _check_set(system: str, measurements: tuple[Measurement, ...], where: str) -> None:
    seen = set()
    for found in measurements:
        if found.system != system:
            raise UserError(f"{where}: a measurement is of the system '{found.system}', not of '{system}'.")
        if found.key in seen:
            raise UserError(
                f"{where}: the claim '{found.claim}' is given twice for preset '{found.preset}' "
                f"and data '{found.data}'; keep one."
            )
        seen.add(found.key)


def _read_json(path: Path, mend: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are both ValueErrors
        raise UserError(f"{path} is truncated or not JSON; {mend}.") from None
