"""What every embedded corpus is planned from: speakers, their split, and the lines that they are to say.

A speaker is a voice: a language or accent, a variant of the synthesiser, a pitch and a rate. Splits are by speaker,
and no variant is in two splits.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from lib.errors import UserError
from lib.speech.espeak import PITCHES, RATES
from lib.speech.vocabulary import VARIANTS, Grammar

SPLITS = ("train", "valid", "test")
RATE_JITTER, PITCH_JITTER = 10, 4  # a speaker's utterances differ by so many words a minute, and so much pitch


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
    language: str  # a voice's identifier
    variant: str
    rate: float
    pitch: float

    def line(self, text: str, label: str, rng: random.Random, language: str = "", session: str = "") -> Line:
        """`text`, as this speaker says it this time, in their own language or another."""
        rate = _within(RATES, self.rate + rng.uniform(-RATE_JITTER, RATE_JITTER))
        pitch = _within(PITCHES, self.pitch + rng.uniform(-PITCH_JITTER, PITCH_JITTER))
        voice = f"{language or self.language}+{self.variant}"
        return Line(text, label, self.name, self.split, voice, rate, pitch, session)


def _within(limits: tuple[int, int], value: float) -> int:
    low, high = limits
    return min(max(round(value), low), high)


@dataclass(frozen=True, kw_only=True)
class SpokenCorpus:
    """The base of all descriptions: a frozen dataclass whose `lines` are every utterance, drawn from one seed.

    voices    number of speakers, over all splits
    shares    of the speakers and the utterances: train, valid, test; they sum to 1
    rates     the slowest and the fastest speaker, in words a minute
    pitches   the lowest and the highest speaker, 0 ... 100
    seed      another seed, another corpus: other speakers, though of the same variants, in another split
    """

    voices: int = 100
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    rates: tuple[int, int] = (130, 230)
    pitches: tuple[int, int] = (20, 80)
    seed: int = 0

    def __post_init__(self) -> None:
        self._at_least(1, "voices")
        if len(self.shares) != 3 or min(self.shares) < 0 or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise UserError(
                f"shares are three parts of one (train, valid, test), not {self.shares}: let them sum to 1."
            )
        for name, (least, most) in (("rates", RATES), ("pitches", PITCHES)):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise UserError(f"{name} go from low to high within {least} ... {most}, not {(low, high)}.")

    @property
    def name(self) -> str:
        """A short name for folders and messages."""
        return type(self).__name__.removesuffix("Corpus").lower()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels in the order of their numbers; empty where nothing is to be classified."""
        raise NotImplementedError

    def classes(self, split: str) -> tuple[str, ...]:
        """The classes of one split: the same for all, but for speakers."""
        return self.class_names

    def lines(self) -> list[Line]:
        """Every utterance, in the order in which it is to be spoken.

        Raises UserError when a split that has a share gets no speaker, or when there are not enough sentences.
        """
        raise NotImplementedError

    def own_variants(self) -> dict[str, str]:
        """Variants that the synthesiser does not have: name -> its file's content."""
        return {}

    def _languages(self) -> tuple[str, ...]:
        """The identifiers among which the speakers are divided."""
        raise NotImplementedError

    def _variant_names(self, rng: random.Random) -> list[str]:
        """The variants among which the speakers are divided, in a random order."""
        names = list(VARIANTS)
        rng.shuffle(names)
        return names

    def speakers(self) -> dict[str, list[Speaker]]:
        """The speakers of each split. A split whose share is 0 has none. Raises UserError as `lines` does."""
        rng = self._rng("speakers")
        variants, languages = self._variant_names(rng), self._languages()
        counts, pools = divide(self.voices, self.shares), divide(len(variants), self.shares)
        found, number = {}, 0
        for place, (split, share) in enumerate(zip(SPLITS, self.shares, strict=True)):
            if share and not (counts[place] and pools[place]):
                raise UserError(
                    f"{self.voices} voices leave none for {split} with a share of {share:g}: ask for more voices, or "
                    "give it a larger share."
                )
            pool = variants[sum(pools[:place]) :][: pools[place]]
            found[split] = []
            for turn in range(counts[place]):
                # Who shares a variant has another language or accent, as far as there are enough.
                language = languages[(turn + turn // len(pool)) % len(languages)]
                rate, pitch = rng.uniform(*self.rates), rng.uniform(*self.pitches)
                name = f"voice{self.seed}-{number:03d}"
                found[split].append(Speaker(name, split, language, pool[turn % len(pool)], rate, pitch))
                number += 1
        return found

    def _rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.name} {purpose} {self.seed}")  # a text seeds alike in every Python

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UserError(f"{name} is {value}: set it to a whole number of {least} or more.")

    def _known(self, name: str, known: tuple[str, ...]) -> None:
        values = getattr(self, name)
        unknown = [value for value in values if value not in known]
        if unknown:
            raise UserError(f"{name} has '{unknown[0]}', which is none of {', '.join(known)}.")
        if not values or len(set(values)) < len(values):
            raise UserError(f"{name} is empty or names one twice: {values}.")


def take_turns(
    speakers: dict[str, list[Speaker]], counts: list[int], rng: random.Random
) -> Iterator[tuple[str, Speaker]]:
    """So many turns in train, valid and test: each split's speakers in a random order, again and again."""
    for split, count in zip(SPLITS, counts, strict=True):
        order = list(speakers[split])
        rng.shuffle(order)
        for turn in range(count):
            yield split, order[turn % len(order)]


def draw_sentences(grammar: Grammar, count: int, joiner: str, rng: random.Random) -> list[str]:
    """`count` different sentences, each one as likely. Raises UserError when the grammar has not so many."""
    total = math.prod(len(slot) for slot in grammar)
    if count > total:
        raise UserError(f"{count:,} different sentences are wanted, and the grammar makes {total:,}: ask for fewer.")
    found = []
    for number in rng.sample(range(total), count):
        phrases = []
        for slot in grammar:
            number, place = divmod(number, len(slot))
            phrases.append(slot[place])
        found.append(joiner.join(phrases))
    return found


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
