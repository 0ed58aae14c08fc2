"""Character and word error rate: how many edits turn what was heard into what was said.

    rate = (substitutions + deletions + insertions) / length of the references

summed over all utterances before dividing, so it may exceed 1. The sum of the three is the Levenshtein distance of each
pair, least possible. Several sets of edits may be that short: the distance is unique, its split into three is not.

A character is a Unicode code point after normalisation; a word is what white space parts.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from lib.errors import UserError

NORMALISATIONS = ("NFKC", "NFC", "none")


@dataclass(frozen=True)
class ErrorCounts:
    """Edits over a number of utterances.

    substitutions    a reference unit that came out as another
    deletions        a reference unit that did not come out
    insertions       a unit that came out and is not in the reference
    length           characters or words of the references
    """

    substitutions: int
    deletions: int
    insertions: int
    length: int

    @property
    def errors(self) -> int:
        """All three kinds."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors for each reference unit. Raises UserError when there is none to divide by."""
        if not self.length:
            raise UserError("All references are empty, so there is no error rate: give the texts that were said.")
        return self.errors / self.length

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.length + other.length,
        )


def character_errors(
    references: Sequence[str], hypotheses: Sequence[str], *, normalisation: str = "NFKC", spaces: bool = False
) -> ErrorCounts:
    """Errors in characters, over all utterances. `.rate` is the character error rate.

    `normalisation` is the Unicode form that both texts take first: NFKC makes full-width letters and digits equal to
    plain ones, NFC only composes accents, "none" leaves all as it is. Case and punctuation stay. White space is
    dropped unless `spaces` are to count, as is usual for Mandarin. An empty hypothesis is all deletions; for an empty
    reference all characters are insertions. Raises UserError when the numbers of texts differ or there is none.
    """
    normalised = _pairs(references, hypotheses, normalisation)
    if not spaces:
        normalised = [("".join(said.split()), "".join(heard.split())) for said, heard in normalised]
    return _total(normalised)


def word_errors(references: Sequence[str], hypotheses: Sequence[str], *, normalisation: str = "NFKC") -> ErrorCounts:
    """Errors in words, over all utterances. `.rate` is the word error rate. Else as `character_errors`."""
    return _total([(said.split(), heard.split()) for said, heard in _pairs(references, hypotheses, normalisation)])


def _pairs(references: Sequence[str], hypotheses: Sequence[str], normalisation: str) -> list[tuple[str, str]]:
    if normalisation not in NORMALISATIONS:
        raise UserError(f"Unknown normalisation '{normalisation}': choose one of {', '.join(NORMALISATIONS)}.")
    for texts in (references, hypotheses):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise UserError("References and hypotheses are lists of texts, one text for each utterance.")
    if len(references) != len(hypotheses):
        raise UserError(f"Here are {len(references)} references and {len(hypotheses)} hypotheses: one each is needed.")
    if not len(references):
        raise UserError("There are no texts: an error rate needs one utterance or more.")
    pairs = list(zip(references, hypotheses, strict=True))
    if normalisation == "none":
        return pairs
    return [tuple(unicodedata.normalize(normalisation, text) for text in pair) for pair in pairs]


def _total(pairs: list[tuple[str, str]] | list[tuple[list[str], list[str]]]) -> ErrorCounts:
    kinds = {"replace": 0, "delete": 0, "insert": 0}
    for said, heard in pairs:
        for edit in Levenshtein.editops(said, heard):
            kinds[edit.tag] += 1
    return ErrorCounts(kinds["replace"], kinds["delete"], kinds["insert"], sum(len(said) for said, _ in pairs))
