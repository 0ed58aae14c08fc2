"""The cards in `seeds/`: what each paper is, what it claims, and how the claim is tested here.

A card is one YAML file a paper. Everything in it is checked on reading: a field that is missing, unknown or
of the wrong type stops the reader with one sentence that names the file and the field.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
    model_validator,
)

from lib.errors import UserError

SEEDS = Path(__file__).resolve().parents[2] / "seeds"
"""The seeds folder of this repository (`lib` is installed editable, so the file knows its root)."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Number = int | FiniteFloat

Item = TypeVar("Item")


def _as_tuple(value: Any) -> Any:
    """Strict models refuse a list for a tuple, but YAML and JSON know lists only."""
    return tuple(value) if isinstance(value, list) else value


Items = Annotated[tuple[Item, ...], BeforeValidator(_as_tuple)]


class Strict(BaseModel):
    """Frozen, no unknown fields, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Evidence = Literal[
    "abstract",  # the paper's own abstract or first pages, read
    "official code",  # read in code that the authors released
    "table",  # read in a table of the paper
    "third party",  # a summary or table by others
    "recollection",  # somebody's memory of the paper, not checked again
    "derived",  # follows from the method or from other figures; not the paper's sentence
]


class Margin(Strict):
    """How far two measured values may lie apart for a claim to hold.

    `kind` "ratio": the bound is `value` times the second value. "difference": the second value plus `value`.
    """

    kind: Literal["ratio", "difference"]
    value: Number
    words: Sentence

    def bound(self, reference: float) -> float:
        """The largest (or smallest) value that still counts, beside `reference`."""
        return reference * self.value if self.kind == "ratio" else reference + self.value


class ClaimTest(Strict):
    """How a claim is tested here.

    `direction` says what makes the claim hold, for the values of `comparison` in their order:

    - "lower": the first is at most the margin's bound beside the second;
    - "higher": the first is at least that bound;
    - "equal": the first lies within the margin of the second, on either side;
    - "falling": each is at most the bound beside the one before it.
    """

    metric: Sentence
    comparison: Items[Sentence]
    data: Sentence
    preset: Identifier
    direction: Literal["lower", "higher", "equal", "falling"]
    margin: Margin

    @model_validator(mode="after")
    def _enough_to_compare(self) -> ClaimTest:
        count = len(self.comparison)
        if count < 2 or (self.direction != "falling" and count != 2):
            needed = "two or more" if self.direction == "falling" else "exactly two"
            raise ValueError(f"comparison names {count} thing(s), direction '{self.direction}' needs {needed}")
        return self

    def holds(self, values: Iterable[float]) -> bool:
        """True when measured `values`, one for each name in `comparison`, keep the claim with its margin.

        A value that is not a number keeps no claim. Raises UserError when the count of values is wrong.
        """
        values = [float(value) for value in values]
        if len(values) != len(self.comparison):
            raise UserError(
                f"The test compares {len(self.comparison)} things ({', '.join(self.comparison)}), "
                f"but {len(values)} value(s) were given; give one for each, in this order."
            )
        if not all(math.isfinite(value) for value in values):
            return False
        if self.direction == "falling":
            return all(later <= self.margin.bound(earlier) for earlier, later in itertools.pairwise(values))
        first, second = values
        bound = self.margin.bound(second)
        if self.direction == "lower":
            return first <= bound
        if self.direction == "higher":
            return first >= bound
        return abs(first - second) <= abs(bound - second)


class Claim(Strict):
    """One claim: our sentence, the paper's figure with its place, and the test.

    `decimals` is for a figure that the paper prints with closing zeros (2.80), which a YAML number loses.
    """

    id: Identifier
    sentence: Sentence
    figure: Number | None
    decimals: Annotated[int, Field(ge=0, le=6)] | None = None
    unit: Sentence | None
    place: Sentence | None
    evidence: Evidence
    test: ClaimTest

    @model_validator(mode="after")
    def _figure_has_a_unit(self) -> Claim:
        if self.figure is not None and self.unit is None:
            raise ValueError("unit is missing though figure is given")
        return self


class PaperIdentifier(Strict):
    """Where to find the paper. `note` is required when there is neither an arXiv number nor a DOI."""

    arxiv: Annotated[str, StringConstraints(pattern=r"^\d{4}\.\d{4,5}$")] | None
    doi: Annotated[str, StringConstraints(pattern=r"^10\.\d{4,9}/\S+$")] | None
    note: Sentence | None

    @model_validator(mode="after")
    def _found_somewhere(self) -> PaperIdentifier:
        if self.arxiv is None and self.doi is None and self.note is None:
            raise ValueError("note must say why there is neither an arXiv number nor a DOI")
        return self


class DataSet(Strict):
    """A data set that the chapter or its paper-size run uses."""

    name: Sentence
    kind: Literal["embedded", "real"]
    source: Sentence
    licence: Sentence | None


class Card(Strict):
    """One paper. `id` is the system's name everywhere: the card's file, the package, the command line."""

    id: Identifier
    chapter: Annotated[int, Field(ge=1, le=7)]
    title: Sentence
    short_name: Sentence
    authors: Annotated[Items[Sentence], Field(min_length=1)]
    year: Annotated[int, Field(ge=1900, le=2100)]
    venue: Sentence
    identifier: PaperIdentifier
    problem: Sentence
    package: Annotated[str, StringConstraints(pattern=r"^lib\.[a-z]+$")]
    claims: Annotated[Items[Claim], Field(min_length=1)]
    data_sets: Annotated[Items[DataSet], Field(min_length=1)]
    presets: Annotated[dict[Identifier, Sentence], Field(min_length=1)]
    notes: Annotated[Items[Sentence], Field(min_length=1)]

    @model_validator(mode="after")
    def _claims_agree(self) -> Card:
        seen = set()
        for claim in self.claims:
            if claim.id in seen:
                raise ValueError(f"claims has the id '{claim.id}' twice")
            seen.add(claim.id)
            if claim.test.preset not in self.presets:
                raise ValueError(
                    f"claims: '{claim.id}' is tested with the preset '{claim.test.preset}', which presets does not name"
                )
        if self.package != f"lib.{self.id}":
            raise ValueError(f"package is '{self.package}', it must be 'lib.{self.id}'")
        return self

    def claim(self, claim_id: str) -> Claim:
        """The claim of that id; UserError with the known ids when there is none."""
        for claim in self.claims:
            if claim.id == claim_id:
                return claim
        known = ", ".join(claim.id for claim in self.claims)
        raise UserError(f"The card '{self.id}' has no claim '{claim_id}'; it has {known}.")


def load_card(system: str, folder: Path | str | None = None) -> Card:
    """Read and check `<folder>/<system>.yml`.

    `folder` is the repository's `seeds/` unless given. Raises UserError, one sentence naming file and field,
    when the file is missing, is not readable YAML, or does not keep to the card's fields.
    """
    folder = SEEDS if folder is None else Path(folder)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", system):
        raise UserError(f"'{system}' is not the name of a system; the cards are {_names(folder)}.")
    path = folder / f"{system}.yml"
    if not path.is_file():
        raise UserError(f"There is no card {_shown(path)}; the cards are {_names(folder)}.")
    fields = _read_yaml(path)
    try:
        card = Card.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{_shown(path)}: {first_problem(error)}; correct this field.") from None
    if card.id != path.stem:
        raise UserError(f"{_shown(path)}: id is '{card.id}', but the file name asks for '{path.stem}'.")
    return card


def load_cards(folder: Path | str | None = None) -> tuple[Card, ...]:
    """All cards of the folder in the order of their chapters. Raises UserError as `load_card` does,
    and when two cards claim the same chapter or the folder holds none.
    """
    folder = SEEDS if folder is None else Path(folder)
    paths = sorted(folder.glob("*.yml"))
    if not paths:
        raise UserError(f"The folder {_shown(folder)} holds no card (*.yml); point to the book's seeds.")
    by_chapter: dict[int, Card] = {}
    for path in paths:
        card = load_card(path.stem, folder)
        if card.chapter in by_chapter:
            other = by_chapter[card.chapter].id
            raise UserError(f"{_shown(path)}: chapter is {card.chapter}, but {other}.yml has this chapter already.")
        by_chapter[card.chapter] = card
    return tuple(by_chapter[chapter] for chapter in sorted(by_chapter))


def claim(system: str, claim_id: str, folder: Path | str | None = None) -> Claim:
    """One claim of one card. Raises UserError when card or claim is unknown."""
    return load_card(system, folder).claim(claim_id)


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error as half a sentence: the field's path and what is wrong."""
    problem = error.errors(include_url=False, include_context=False)[0]
    path = ""
    for part in problem["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in ("int", "float", "finite-float", "[key]") and not part.startswith("constrained-"):
            path += f".{part}" if path else part
    if problem["type"] == "missing":
        return f"{path} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{path} is not a field that is known here"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:].rstrip(".")
    return f"{path}: {message}" if path else message


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        return yaml.safe_load(text)
    except UnicodeDecodeError:
        raise UserError(f"{_shown(path)} is not UTF-8 text; save it as UTF-8.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).split("\n")[0] or type(error).__name__
        raise UserError(f"{_shown(path)} is not readable YAML{line}: {what}; correct the file.") from None


def _refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """YAML keeps the last of two equal keys without a word: half of a card would be lost unseen."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                line = key.start_mark.line + 1
                raise UserError(f"{_shown(path)}: {key.value} is given twice (line {line}); keep one of them.")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            _refuse_repeated_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, path)


def _shown(path: Path) -> str:
    """The path as the reader knows it: from the repository's root when it lies inside."""
    try:
        return str(path.resolve().relative_to(SEEDS.parent))
    except ValueError:
        return str(path)


def _names(folder: Path) -> str:
    return ", ".join(path.stem for path in sorted(folder.glob("*.yml"))) or f"none (in {_shown(folder)})"
