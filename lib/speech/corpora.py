"""`load_speech`: a corpus by its name or by its folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.downloads import data_root, find
from lib.errors import UserError
from lib.files import at_home
from lib.speech import aishell, folders, fsdd, kaldi, librispeech, speech_commands, voxceleb
from lib.speech.data import SpeechSet
from lib.speech.download import REMOTE
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


def found_corpora() -> dict[str, Path | None]:
    """Each known corpus and the folder under BOOK_DATA where it lies, or None."""
    return find({name: corpus.folders for name, corpus in CORPORA.items()})


def find_corpus(name: str) -> Path | None:
    """The folder under BOOK_DATA where a known corpus lies, or None. Raises UserError when BOOK_DATA is not set."""
    data_root()
    return found_corpora()[name]


def _folder_of(name: str) -> Path:
    found = find_corpus(name)
    if found is None:
        corpus = CORPORA[name]
        mend = f"run `papers data get {name}`" if name in REMOTE else "put it there"
        raise UserError(f"No {corpus.title} under {data_root()} (looked in {', '.join(corpus.folders)}): {mend}.")
    return found


def _recognised(folder: Path) -> Callable[[Path, str, Choice], SpeechSet]:
    """How to read a folder, by what lies in it. A table of one's own comes before any known layout."""
    if (folder / "metadata.csv").is_file():
        return _load_folder
    return next((load for is_here, load in LAYOUTS if is_here(folder)), _load_folder)


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


def _without_classes(load: Callable[..., SpeechSet], title: str) -> Callable[[Path, str, Choice], SpeechSet]:
    """How to read a corpus of sentences or speakers, which has no words to choose."""

    def read(folder: Path, split: str, choice: Choice) -> SpeechSet:
        if _classes(choice) is not None:
            raise UserError(f"{title} has no words to choose: leave them out.")
        return load(folder, split, test_speakers=choice.test_speakers, seed=choice.seed)

    return read


def _load_folder(folder: Path, split: str, choice: Choice) -> SpeechSet:
    return folders.load(folder, split, _classes(choice), test_speakers=choice.test_speakers, seed=choice.seed)


def _classes(choice: Choice) -> Sequence[str] | None:
    """The chosen classes, for corpora without the classes that Speech Commands makes."""
    if choice.unknown:
        raise UserError("A class 'unknown' is made of Speech Commands only: leave it out here.")
    if isinstance(choice.words, str) and choice.words != "all":
        raise UserError(f"The words are a tuple of classes, 'all', or nothing, not '{choice.words}'.")
    return None if choice.words == "all" else choice.words


_load_aishell = _without_classes(aishell.load, "AISHELL-1")
_load_librispeech = _without_classes(librispeech.load, "LibriSpeech")
_load_voxceleb = _without_classes(voxceleb.load, "A corpus of speakers")
_load_kaldi = _without_classes(kaldi.load, "A data folder of Kaldi")

LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path, str, Choice], SpeechSet]], ...] = (
    (kaldi.is_here, _load_kaldi),
    (speech_commands.is_here, _load_speech_commands),
    (aishell.is_here, _load_aishell),
    (librispeech.is_here, _load_librispeech),
    (voxceleb.is_here, _load_voxceleb),
    (fsdd.is_here, _load_fsdd),
)

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
    "aishell1": Corpus("AISHELL-1", ("data_aishell", "aishell1", "aishell1/data_aishell"), _load_aishell),
    "aishell1_mini": Corpus("part of AISHELL-1", ("aishell1_mini",), _load_aishell),
    "librispeech": Corpus("LibriSpeech", ("LibriSpeech", "librispeech", "librispeech/LibriSpeech"), _load_librispeech),
    "librispeech_mini": Corpus("part of LibriSpeech", ("librispeech_mini",), _load_librispeech),
    "voxceleb1": Corpus("VoxCeleb1", ("voxceleb1", "VoxCeleb1", "voxceleb"), _load_voxceleb),
}
