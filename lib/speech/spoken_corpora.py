"""The embedded corpora, each described by a frozen dataclass: what is said, by whom, in which split.

Nothing is spoken here: `lib.speech.spoken` does that, keeps the recordings and loads them. The same description gives
the same lines on every machine.
"""

import dataclasses
import json
import random
from dataclasses import dataclass

from lib.errors import UserError
from lib.speech.spoken_plan import (
    SPLITS,
    Line,
    Speaker,
    SpokenCorpus,
    divide,
    draw_sentences,
    take_turns,
)
from lib.speech.spoken_speakers import variant_text
from lib.speech.vocabulary import (
    ACCENTS,
    COMMANDS,
    DIGITS,
    ENGLISH,
    MANDARIN,
    MANDARIN_SENTENCES,
    OTHER_WORDS,
    SPANISH,
)

LANGUAGES = {"english": ("gmw/en-US", ENGLISH), "spanish": ("roa/es-419", SPANISH)}
SESSION_RATE, SESSION_PITCH = 20, 8  # a speaker's sessions differ by so many words a minute, and so much pitch


@dataclass(frozen=True, kw_only=True)
class KeywordCorpus(SpokenCorpus):
    """Single words: keywords, and others that a keyword spotter must let pass. The label is the word.

    accents         of the speakers: keys of `lib.speech.vocabulary.ACCENTS`
    clips_per_keyword, clips_per_other   of each word, over all splits, which get their shares of it
    unseen_words    those of `others` that only the test split has: as many test clips as of any other
    """

    accents: tuple[str, ...] = tuple(ACCENTS)
    keywords: tuple[str, ...] = COMMANDS
    others: tuple[str, ...] = OTHER_WORDS
    unseen_words: tuple[str, ...] = ("marvin", "tree", "wow")
    clips_per_keyword: int = 200
    clips_per_other: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        self._known("accents", tuple(ACCENTS))
        self._at_least(1, "clips_per_keyword", "clips_per_other")
        words = self.class_names
        if not self.keywords or len(set(words)) < len(words):
            raise UserError("keywords and others are one word or more, each once: some word is there twice, or none.")
        strange = [word for word in words if not (word.isascii() and word.isalpha() and word.islower())]
        if strange:
            raise UserError(f"'{strange[0]}' is not a word in small letters a ... z: an English voice is to read it.")
        unknown = [word for word in self.unseen_words if word not in self.others]
        if unknown:
            raise UserError(f"unseen_words has '{unknown[0]}', which is not among others: add it there.")
        if self.unseen_words and not self.shares[SPLITS.index("test")]:
            raise UserError(
                "unseen_words are for the test split, which has a share of 0: give it a part, or name none."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The keywords, then the others."""
        return (*self.keywords, *self.others)

    def lines(self) -> list[Line]:
        rng, speakers = self._rng("words"), self.speakers()
        found = []
        for word in self.class_names:
            counts = divide(self.clips_per_keyword if word in self.keywords else self.clips_per_other, self.shares)
            if word in self.unseen_words:
                counts = [0, 0, counts[SPLITS.index("test")]]
            found += [speaker.line(word, word, rng) for _, speaker in take_turns(speakers, counts, rng)]
        return found

    def _languages(self) -> tuple[str, ...]:
        return tuple(ACCENTS[accent] for accent in self.accents)


@dataclass(frozen=True, kw_only=True)
class DigitCorpus(SpokenCorpus):
    """The ten digits, one to a clip. The label is the word.

    accents           of the speakers: keys of `lib.speech.vocabulary.ACCENTS`
    clips_per_digit   over all splits
    """

    voices: int = 60
    accents: tuple[str, ...] = tuple(ACCENTS)
    clips_per_digit: int = 120

    def __post_init__(self) -> None:
        super().__post_init__()
        self._known("accents", tuple(ACCENTS))
        self._at_least(1, "clips_per_digit")

    @property
    def class_names(self) -> tuple[str, ...]:
        """zero ... nine."""
        return DIGITS

    def lines(self) -> list[Line]:
        rng, speakers, counts = self._rng("digits"), self.speakers(), divide(self.clips_per_digit, self.shares)
        return [speaker.line(word, word, rng) for word in DIGITS for _, speaker in take_turns(speakers, counts, rng)]

    def _languages(self) -> tuple[str, ...]:
        return tuple(ACCENTS[accent] for accent in self.accents)


@dataclass(frozen=True, kw_only=True)
class AccentCorpus(SpokenCorpus):
    """English sentences in several accents. The label is the accent.

    Every sentence is said in every accent, and every speaker speaks every accent: neither what is said nor who says
    it gives the accent away. Splits share no speaker and no sentence.

    accents     keys of `lib.speech.vocabulary.ACCENTS`, two or more
    sentences   different ones, over all splits; there are so many utterances of each accent
    """

    voices: int = 64
    accents: tuple[str, ...] = tuple(ACCENTS)
    sentences: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        self._known("accents", tuple(ACCENTS))
        self._at_least(1, "sentences")
        if len(self.accents) < 2:
            raise UserError(f"accents has only '{self.accents[0]}': name two or more to tell apart.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The accents."""
        return self.accents

    def lines(self) -> list[Line]:
        rng, speakers = self._rng("sentences"), self.speakers()
        texts = draw_sentences(ENGLISH, self.sentences, " ", rng)
        counts = divide(self.sentences, self.shares)
        return [
            speaker.line(text, accent, rng, language=ACCENTS[accent])
            for accent in self.accents
            for text, (_, speaker) in zip(texts, take_turns(speakers, counts, rng), strict=True)
        ]

    def _languages(self) -> tuple[str, ...]:
        return tuple(ACCENTS[accent] for accent in self.accents)


@dataclass(frozen=True, kw_only=True)
class MandarinCorpus(SpokenCorpus):
    """Mandarin sentences of five to ten characters; the text has no spaces, and there are no classes.

    Every sentence is said once. Splits share no speaker and no sentence.

    sentences   different ones, over all splits
    """

    voices: int = 64
    sentences: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "sentences")

    @property
    def class_names(self) -> tuple[str, ...]:
        """None: what is wanted is the text."""
        return ()

    def lines(self) -> list[Line]:
        rng, speakers = self._rng("sentences"), self.speakers()
        texts = draw_sentences(MANDARIN_SENTENCES, self.sentences, "", rng)
        turns = take_turns(speakers, divide(self.sentences, self.shares), rng)
        return [speaker.line(text, "", rng) for text, (_, speaker) in zip(texts, turns, strict=True)]

    def _languages(self) -> tuple[str, ...]:
        return (MANDARIN,)


@dataclass(frozen=True, kw_only=True)
class SpeakerCorpus(SpokenCorpus):
    """Many speakers, each in several sessions, with short sentences. The label is the speaker.

    The speakers are our own, drawn at random (`lib.speech.spoken_speakers`); corpora of different seeds have
    others. Within a session, rate and pitch stay nearer to each other than across sessions.

    languages                "english" or "spanish" in train, valid and test: a shift of domain where they differ
    sessions                 of each speaker
    utterances_per_session   each with a sentence of its own
    """

    voices: int = 240
    shares: tuple[float, float, float] = (2 / 3, 1 / 6, 1 / 6)
    rates: tuple[int, int] = (150, 210)
    pitches: tuple[int, int] = (35, 65)
    languages: tuple[str, str, str] = ("english", "english", "english")
    sessions: int = 4
    utterances_per_session: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "sessions", "utterances_per_session")
        for language in self.languages:
            if language not in LANGUAGES:
                raise UserError(f"languages has '{language}', which is none of {', '.join(LANGUAGES)}.")
        if len(self.languages) != len(SPLITS):
            raise UserError(f"languages are three (train, valid, test), not {self.languages}.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Everybody: train, then valid, then test."""
        return tuple(speaker.name for split in self.speakers().values() for speaker in split)

    def classes(self, split: str) -> tuple[str, ...]:
        """The speakers of the split."""
        return tuple(speaker.name for speaker in self.speakers()[split])

    def lines(self) -> list[Line]:
        rng = self._rng("sentences")
        found = []
        for split, speakers in self.speakers().items():
            identifier, grammar = LANGUAGES[self.languages[SPLITS.index(split)]]
            for speaker in speakers:
                texts = iter(draw_sentences(grammar, self.sessions * self.utterances_per_session, " ", rng))
                for session in range(self.sessions):
                    today = _in_session(speaker, rng)
                    for _ in range(self.utterances_per_session):
                        found.append(today.line(next(texts), speaker.name, rng, identifier, f"session{session}"))
        return found

    def own_variants(self) -> dict[str, str]:
        names = self._variant_names(self._rng("order"))
        return {name: variant_text(name, self._rng(f"variant {name}")) for name in names}

    def _variant_names(self, rng: random.Random) -> list[str]:
        return [f"own{number:04d}" for number in range(self.voices)]

    def _languages(self) -> tuple[str, ...]:
        return ("gmw/en-US",)


def _in_session(speaker: Speaker, rng: random.Random) -> Speaker:
    """The speaker as they are this time: faster or slower, higher or lower than usual."""
    return dataclasses.replace(
        speaker,
        rate=speaker.rate + rng.uniform(-SESSION_RATE, SESSION_RATE),
        pitch=speaker.pitch + rng.uniform(-SESSION_PITCH, SESSION_PITCH),
    )


KINDS = {kind.__name__: kind for kind in (KeywordCorpus, DigitCorpus, AccentCorpus, MandarinCorpus, SpeakerCorpus)}


def to_json(description: SpokenCorpus) -> str:
    """The description as text, for a key and for another process."""
    return json.dumps({"kind": type(description).__name__, **dataclasses.asdict(description)}, sort_keys=True)


def from_json(text: str) -> SpokenCorpus:
    """What `to_json` wrote."""
    fields = json.loads(text)
    kind = KINDS[fields.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
