"""The embedded corpora: what is said, by whom, in which split. Nothing is spoken here.

A description is a frozen dataclass. Its `lines()` are every utterance of the corpus, drawn from one seed: the same
description gives the same lines on every machine. `lib.speech.spoken` speaks them, keeps them and loads them.

A speaker is a voice: an accent, a variant of the synthesiser, a pitch and a rate. No variant is in two splits.
"""

import dataclasses
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from lib.errors import UserError
from lib.speech.vocabulary import ACCENTS, COMMANDS, DIGITS, OTHER_WORDS, VARIANTS

SPLITS = ("train", "valid", "test")
RATE_JITTER, PITCH_JITTER = 10, 4  # a voice's utterances differ by so many words a minute, and so much pitch


@dataclass(frozen=True)
class Line:
    """One utterance to be: what is said, what it is an example of, and how it is to be spoken."""

    text: str
    label: str
    speaker: str
    split: str
    voice: str  # as espeak.say wants it
    rate: int  # words a minute
    pitch: int  # 0 ... 100
    session: str = ""


@dataclass(frozen=True)
class Speaker:
    """Somebody who speaks: the base from which the utterances' rate and pitch differ a little."""

    name: str
    split: str
    accent: str
    variant: str
    rate: float
    pitch: float

    def line(self, text: str, label: str, rng: random.Random) -> Line:
        """`text`, as this speaker says it this time."""
        rate = round(self.rate + rng.uniform(-RATE_JITTER, RATE_JITTER))
        pitch = round(self.pitch + rng.uniform(-PITCH_JITTER, PITCH_JITTER))
        voice = f"{ACCENTS[self.accent]}+{self.variant}"
        return Line(text, label, self.name, self.split, voice, rate, min(max(pitch, 0), 100))


@dataclass(frozen=True, kw_only=True)
class SpokenCorpus:
    """What all embedded corpora share.

    voices    number of speakers, over all splits
    shares    of the speakers: train, valid, test; they sum to 1
    accents   keys of `lib.speech.vocabulary.ACCENTS`
    rates     the speakers' slowest and fastest, in words a minute
    pitches   the speakers' lowest and highest, 0 ... 100
    seed      another seed, another corpus
    """

    voices: int = 100
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    accents: tuple[str, ...] = tuple(ACCENTS)
    rates: tuple[int, int] = (130, 230)
    pitches: tuple[int, int] = (20, 80)
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least("voices", 1)
        if len(self.shares) != 3 or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(
                f"shares are three parts of one (train, valid, test), not {self.shares}: let them sum to 1."
            )
        self._known("accents", tuple(ACCENTS))
        for name, (least, most) in (("rates", (100, 400)), ("pitches", (0, 100))):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise UserError(f"{name} go from low to high within {least} ... {most}, not {(low, high)}.")

    @property
    def name(self) -> str:
        """A short name for folders and messages."""
        return type(self).__name__.removesuffix("Corpus").lower()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels in the order of their numbers."""
        raise NotImplementedError

    def lines(self) -> list[Line]:
        """Every utterance, in the order in which it is to be spoken. Raises UserError if the counts do not work out."""
        raise NotImplementedError

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise UserError(f"{name} is {getattr(self, name)}: set it to {least} or more.")

    def _known(self, name: str, known: tuple[str, ...]) -> None:
        values = getattr(self, name)
        unknown = [value for value in values if value not in known]
        if unknown:
            raise UserError(f"{name} has '{unknown[0]}', which is none of {', '.join(known)}.")
        if not values or len(set(values)) < len(values):
            raise UserError(f"{name} is empty or names one twice: {values}.")

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.name} {purpose} {self.seed}")  # a text seeds alike in every Python

    def speakers(self) -> dict[str, list[Speaker]]:
        """The speakers of each split. A split whose share is 0 has none.

        Raises UserError when a split with a share gets no speaker, or none of the variants.
        """
        rng = self._rng("speakers")
        variants = list(VARIANTS)
        rng.shuffle(variants)
        counts = dict(zip(SPLITS, divide(self.voices, self.shares), strict=True))
        pools = dict(zip(SPLITS, divide(len(variants), self.shares), strict=True))
        found, first, number = {}, 0, 0
        for split, share in zip(SPLITS, self.shares, strict=True):
            if share and not (counts[split] and pools[split]):
                raise UserError(
                    f"{self.voices} voices leave none for {split} with a share of {share:g}: ask for more voices, or "
                    "a larger share."
                )
            pool = variants[first : first + pools[split]]
            first += pools[split]
            found[split] = []
            for place in range(counts[split]):
                # Who shares a variant has another accent, as far as there are enough.
                accent = self.accents[(place + place // len(pool)) % len(self.accents)]
                rate, pitch = rng.uniform(*self.rates), rng.uniform(*self.pitches)
                variant = pool[place % len(pool)]
                found[split].append(Speaker(f"voice{number:03d}", split, accent, variant, rate, pitch))
                number += 1
        return found


@dataclass(frozen=True, kw_only=True)
class KeywordCorpus(SpokenCorpus):
    """Single words: keywords, and others that a keyword spotter must let pass. The label is the word.

    clips_per_keyword, clips_per_other   of each word, over all splits, which get their shares of it
    unseen_words    those of `others` that only the test split has: as many test clips as of any other
    """

    keywords: tuple[str, ...] = COMMANDS
    others: tuple[str, ...] = OTHER_WORDS
    unseen_words: tuple[str, ...] = ("marvin", "tree", "wow")
    clips_per_keyword: int = 200
    clips_per_other: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("clips_per_keyword", 1)
        if self.others:
            self._at_least("clips_per_other", 1)
        words = self.class_names
        if not self.keywords or len(set(words)) < len(words):
            raise UserError("keywords and others are one word or more, each once: some word is there twice, or none.")
        strange = [word for word in words if not (word.isascii() and word.isalpha() and word.islower())]
        if strange:
            raise UserError(f"'{strange[0]}' is not a word in small letters a ... z: an English voice is to read it.")
        unknown = [word for word in self.unseen_words if word not in self.others]
        if unknown:
            raise UserError(f"unseen_words has '{unknown[0]}', which is not among others: add it there.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The keywords, then the others."""
        return (*self.keywords, *self.others)

    def lines(self) -> list[Line]:
        rng, speakers = self._rng("words"), self.speakers()
        return [
            line
            for word in self.class_names
            for line in say_word(
                word,
                self.clips_per_keyword if word in self.keywords else self.clips_per_other,
                self.shares,
                speakers,
                rng,
                splits=("test",) if word in self.unseen_words else SPLITS,
            )
        ]


@dataclass(frozen=True, kw_only=True)
class DigitCorpus(SpokenCorpus):
    """The ten digits, one to a clip. The label is the word."""

    voices: int = 60
    clips_per_digit: int = 120

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least("clips_per_digit", 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """zero ... nine."""
        return DIGITS

    def lines(self) -> list[Line]:
        rng, speakers = self._rng("digits"), self.speakers()
        return [
            line for word in DIGITS for line in say_word(word, self.clips_per_digit, self.shares, speakers, rng, SPLITS)
        ]


def say_word(
    word: str,
    count: int,
    shares: tuple[float, float, float],
    speakers: dict[str, list[Speaker]],
    rng: random.Random,
    splits: tuple[str, ...],
) -> Iterator[Line]:
    """`count` clips of a word over all splits, those of `splits` only; in each the speakers take turns."""
    for split, share in zip(SPLITS, divide(count, shares), strict=True):
        turns = list(speakers[split])
        rng.shuffle(turns)
        if split in splits:
            for place in range(share):
                yield turns[place % len(turns)].line(word, word, rng)


def divide(count: int, shares: tuple[float, ...]) -> list[int]:
    """`count` things in parts of these shares, whole, summing to `count`; the largest remainders are rounded up.

    >>> divide(10, (0.7, 0.1, 0.2)), divide(4, (0.7, 0.1, 0.2))
    ([7, 1, 2], [3, 0, 1])
    """
    exact = [count * share / sum(shares) for share in shares]
    parts = [int(part + 1e-9) for part in exact]
    by_remainder = sorted(range(len(shares)), key=lambda place: parts[place] - exact[place])
    for place in by_remainder[: count - sum(parts)]:
        parts[place] += 1
    return parts


KINDS = {kind.__name__: kind for kind in (KeywordCorpus, DigitCorpus)}


def to_json(description: SpokenCorpus) -> str:
    """The description as text, for a key and for another process."""
    return json.dumps({"kind": type(description).__name__, **dataclasses.asdict(description)}, sort_keys=True)


def from_json(text: str) -> SpokenCorpus:
    """What `to_json` wrote."""
    fields = json.loads(text)
    kind = KINDS[fields.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
