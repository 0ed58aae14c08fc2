"""`load_speech`: a corpus by its name or by its folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.downloads import data_root
from lib.errors import UserError
from lib.files import at_home
from lib.speech import folders, fsdd, speech_commands
from lib.speech.data import SpeechSet
from lib.speech.splits import require_split


@dataclass(frozen=True)
class Choice:
    """What of a corpus is wanted; see `load_speech`."""

    words: Sequence[str] | str | None = None
    unknown: bool = False
    test_speakers: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Corpus:
    """A known corpus: its title, the folders under BOOK_DATA where it may lie, and how a split of it is read."""

    title: str
    folders: tuple[str, ...]
    load: Callable[[Path, str, Choice], SpeechSet]


def load_speech(
    data: str | Path,
    split: str = "train",
    *,
    words: Sequence[str] | str | None = None,
    unknown: bool = False,
    test_speakers: Sequence[str] | None = None,
    seed: int = 0,
) -> SpeechSet:
    """One split of recorded speech.

    data            a name of `CORPORA`: files under the folder that BOOK_DATA names;
                    a folder: one of these corpora, or of any layout of `lib.speech.folders`
    split           "train", "valid" or "test"; no speaker is in two of them
    words           only these classes, in this order; None: all of them (of Speech Commands the task of twelve
                    classes, and "all" is every word)
    unknown         Speech Commands: with `words`, the other words as one more class
    test_speakers   exactly these speakers are the test; None: the corpus's own split, else one by `seed`
    seed            of everything that is chosen at random

    Raises UserError when something is missing or cannot be used, in one sentence with the mend.
    """
    require_split(split)
    choice = Choice(words if isinstance(words, str | None) else tuple(words), unknown, tuple(test_speakers or ()), seed)
    name = str(data)
    if name in CORPORA:
        return CORPORA[name].load(_folder_of(name), split, choice)
    path = at_home(data)
    if path.is_dir():
        return _recognised(path)(path, split, choice)
    raise UserError(
        f"No speech data called '{name}': it is no folder, and none of the known corpora ({', '.join(CORPORA)})."
    )


def find_corpus(name: str) -> Path | None:
    """The folder under BOOK_DATA where a known corpus lies, or None. Raises UserError when BOOK_DATA is not set."""
    root = data_root()
    return next((root / folder for folder in CORPORA[name].folders if (root / folder).is_dir()), None)


def _folder_of(name: str) -> Path:
    found = find_corpus(name)
    if found is None:
        corpus = CORPORA[name]
        raise UserError(
            f"No {corpus.title} under {data_root()} (looked in {', '.join(corpus.folders)}): "
            f"run `papers data get {name}`, or put it there."
        )
    return found


def _recognised(folder: Path) -> Callable[[Path, str, Choice], SpeechSet]:
    """How to read a folder, by what lies in it. A table of one's own comes before any known layout."""
    if not (folder / "metadata.csv").is_file():
        if speech_commands.is_here(folder):
            return _load_speech_commands
        if fsdd.is_here(folder):
            return _load_fsdd
    return _load_folder


def _load_speech_commands(folder: Path, split: str, choice: Choice) -> SpeechSet:
    return speech_commands.load(
        folder,
        split,
        choice.words,
        unknown=choice.unknown,
        test_speakers=choice.test_speakers,
        seed=choice.seed,
    )


def _load_fsdd(folder: Path, split: str, choice: Choice) -> SpeechSet:
    digits = _classes(choice)
    return fsdd.load(folder, split, digits, test_speakers=choice.test_speakers, seed=choice.seed)


def _load_folder(folder: Path, split: str, choice: Choice) -> SpeechSet:
    return folders.load(folder, split, _classes(choice), test_speakers=choice.test_speakers, seed=choice.seed)


def _classes(choice: Choice) -> Sequence[str] | None:
    """The chosen classes, for corpora without the classes that Speech Commands makes."""
    if choice.unknown:
        raise UserError("A class 'unknown' is made of Speech Commands only: leave it out here.")
    if isinstance(choice.words, str) and choice.words != "all":
        raise UserError(f"The words are a tuple of classes, 'all', or nothing, not '{choice.words}'.")
    return None if choice.words == "all" else choice.words


_VERSIONS = ("speech_commands_v0.01", "speech_commands_v0.02")

CORPORA: dict[str, Corpus] = {
    "speech_commands": Corpus(
        "Speech Commands",
        ("speech_commands", *(f"SpeechCommands/{version}" for version in _VERSIONS), *_VERSIONS),
        _load_speech_commands,
    ),
    **{
        version: Corpus(
            f"Speech Commands {version[-4:]}", (f"SpeechCommands/{version}", version), _load_speech_commands
        )
        for version in _VERSIONS
    },
    "fsdd": Corpus("Free Spoken Digits", ("fsdd", "free-spoken-digit-dataset"), _load_fsdd),
    "wake_words": Corpus("wake words", ("wake_words",), _load_folder),
}
