"""Recordings from a folder: one sub-folder a class, or a table, or just recordings.

    words/yes/1.wav  words/no/deeper/2.flac          classes by sub-folder
    words/metadata.csv                               columns `file_name`, and `label`, `speaker`, `text` if known
    words/manifest.csv                               the same with `path` in the place of `file_name`
    words/1.wav  words/2.wav                         no classes

Any of these may lie in `words/train`, `words/valid` and `words/test`. Otherwise the folder is split by speaker. Who
speaks is read from the table, or from the file's name where it follows a known corpus: `<speaker>_nohash_<number>`
(Speech Commands), `<class>_<speaker>_<number>` (Free Spoken Digits).

Every recording is opened once. What cannot be used is left out and counted by its reason.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lib.errors import UserError
from lib.speech.audio import EmptyAudio, audio_faults, probe, read_audio
from lib.speech.data import SpeechSet, Utterance
from lib.speech.splits import require_split, split_utterances

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
SPLIT_FOLDERS = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}
TABLES = {"metadata.csv": "file_name", "manifest.csv": "path"}  # the table and its column of file names
SHORTEST = 0.05  # seconds; in less there is no word
DECODED = 5_000  # larger folders are judged by their headers, which takes a tenth of the time

SPEECH_COMMANDS_NAME = re.compile(r"(?P<speaker>.+?)_nohash_\d+")
DIGITS_NAME = re.compile(r"(?P<label>[^_]+)_(?P<speaker>.+)_\d+")


def load(
    folder: Path,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    test_speakers: Sequence[str] = (),
    seed: int = 0,
) -> SpeechSet:
    """One split of a folder: its own `train`, `valid`, `test`, or by speaker (see `lib.speech.splits`).

    classes         only these, numbered in this order; None: all, sorted
    test_speakers   the speakers of the test, for folders that are not split yet
    seed            of the split by speaker

    Raises UserError when the folder holds nothing that can be used, or no such class, speaker or split.
    """
    require_split(split)
    parts = _split_folders(folder)
    if not parts:
        listing = _usable(_list(folder), folder)
        names = _select(listing, classes, folder)
        chosen, notes = split_utterances(str(folder), listing.utterances, split, test_speakers, seed)
        return _speech_set(folder, split, chosen, names, listing, notes)
    if test_speakers:
        raise UserError(f"{folder} is split into folders already: take them together to choose test speakers.")
    train = _usable(_list(parts["train"]), parts["train"])
    names = _select(train, classes, folder)
    if split == "train":
        return _speech_set(folder, split, train.utterances, names, train)
    if split not in parts:
        if split == "test":
            raise UserError(f"{folder} has a folder 'train' but none called 'test': add one.")
        return _speech_set(folder, split, [], names, _Listing([]), ("there is no folder 'valid'",))
    other = _usable(_list(parts[split]), parts[split])
    _select(other, None, parts[split])
    if classes is not None:
        _leave_out_others(other, names)
    _require_known(other, names, parts[split], "the training classes")
    return _speech_set(folder, split, other.utterances, names, other)


def load_all(folder: Path, known_classes: Sequence[str] | None = None) -> SpeechSet:
    """Every recording of a folder that can be used, its splits together: to score them.

    known_classes   those that a system was trained on: they number the classes, and any other is a UserError
    """
    listing = _Listing([])
    for part in _split_folders(folder).values() or (folder,):
        one = _list(part)
        listing.utterances += one.utterances
        listing.skipped += one.skipped
        listing.class_folders |= one.class_folders
    listing = _usable(listing, folder)
    names = _select(listing, None, folder)
    if known_classes is not None:
        names = tuple(known_classes)
        _require_known(listing, names, folder, "the classes that the system was trained on")
    return _speech_set(folder, "all", listing.utterances, names, listing)


def require_classes(found: SpeechSet, number: int = 2) -> SpeechSet:
    """The set itself. Raises UserError when it has fewer than `number` classes."""
    if len(found.class_names) < number:
        have = f"only one, '{found.class_names[0]}'" if found.class_names else "none"
        raise UserError(
            f"{found.name} needs {number} or more classes and has {have}: put the recordings into one sub-folder a "
            "class, or name their classes in a metadata.csv."
        )
    return found


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names, each once and sorted; numbers in the order of numbers, before words."""
    return tuple(sorted(set(names), key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def walk(folder: Path) -> Iterator[Path]:
    """Every visible file below a folder, in sorted order. Linked folders are followed, each folder once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        stat = os.stat(place)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def is_audio(path: Path) -> bool:
    """True for a file whose name says that it is a recording."""
    return path.suffix.lower() in SUFFIXES


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a first line of column names; cells are stripped, missing ones are empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise UserError(f"{path} cannot be read as a UTF-8 table ({fault}): save it again.") from None
    return [{key: (value or "").strip() for key, value in row.items() if key is not None} for row in rows]


def read_keyed_lines(path: Path) -> list[tuple[str, str]]:
    """The lines `<key> <rest>` of a UTF-8 text, empty ones left out. Raises UserError when a key comes twice."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} cannot be read as UTF-8 text ({fault}): get it again.") from None
    found, seen = [], set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        if key in seen:
            raise UserError(f"{path}, line {number}: '{key}' comes a second time; keep one of them.")
        seen.add(key)
        found.append((key, rest.strip()))
    return found


@dataclass
class _Listing:
    """Recordings before and after they were opened, and what was left out."""

    utterances: list[Utterance]
    skipped: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    class_folders: set[str] = field(default_factory=set)


def _speech_set(
    folder: Path,
    split: str,
    utterances: Iterable[Utterance],
    class_names: tuple[str, ...],
    listing: _Listing,
    notes: Sequence[str] = (),
) -> SpeechSet:
    return SpeechSet(
        name=str(folder),
        split=split,
        utterances=tuple(utterances),
        class_names=class_names,
        skipped=dict(+listing.skipped),
        notes=(*listing.notes, *notes),
    )


def _split_folders(folder: Path) -> dict[str, Path]:
    """Split -> its folder, when there is one called `train` and no table beside it."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: correct the name.")
    if any((folder / table).is_file() for table in TABLES) or not (folder / "train").is_dir():
        return {}
    found = {split: [folder / name for name in names] for split, names in SPLIT_FOLDERS.items()}
    found = {split: [place for place in places if place.is_dir()] for split, places in found.items()}
    return {split: places[0] for split, places in found.items() if places}


def _list(folder: Path) -> _Listing:
    for table, column in TABLES.items():
        if (folder / table).is_file():
            return _list_table(folder / table, column)
    return _list_classes(folder)


def _list_classes(folder: Path) -> _Listing:
    listing = _Listing([])
    with os.scandir(folder) as entries:
        places = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "_")))
    inside = [(place, path) for place in places for path in walk(folder / place)]
    outside = [path for path in sorted(folder.iterdir()) if path.is_file() and is_audio(path)]
    if not any(is_audio(path) for _, path in inside):
        inside += [("", path) for path in outside]
    else:
        listing.skipped["outside the class folders"] += len(outside)
    for label, path in inside:
        if is_audio(path):
            listing.utterances.append(Utterance(path, label, _speaker_of(path, label)))
        else:
            listing.skipped["not an audio file"] += 1
    listing.class_folders = set(places)
    return listing


def _speaker_of(path: Path, label: str) -> str:
    """Who speaks, by the name of the file; "" when it does not say."""
    if found := SPEECH_COMMANDS_NAME.fullmatch(path.stem):
        return found["speaker"]
    found = DIGITS_NAME.fullmatch(path.stem)
    return found["speaker"] if found and found["label"] == label else ""


def _list_table(path: Path, column: str) -> _Listing:
    rows = read_table(path)
    if not rows or column not in rows[0]:
        raise UserError(f"{path} needs a first line with a column '{column}', and one line for each recording.")
    listing = _Listing([])
    listed = set()
    for line, row in enumerate(rows, start=2):
        name, label = row[column], row.get("label", "")
        if not name or ("label" in row and not label):
            raise UserError(f"{path}, row {line}: {column} and label must both be filled in.")
        file = path.parent / name
        if file in listed:
            listing.skipped["listed twice"] += 1
        elif not file.is_file():
            listing.skipped["listed but missing"] += 1
        else:
            speaker = row.get("speaker") or _speaker_of(file, label)
            listing.utterances.append(Utterance(file, label, speaker, row.get("text", "")))
        listed.add(file)
    unlisted = sum(is_audio(file) and file not in listed for file in walk(path.parent))
    listing.skipped[f"not listed in {path.name}"] += unlisted
    return listing


def _usable(listing: _Listing, folder: Path) -> _Listing:
    """The listing without the recordings that cannot be used. Raises UserError when none is left."""
    if not listing.utterances:
        raise UserError(
            f"{folder} holds no recordings: put them into one sub-folder a class, beside a metadata.csv, or straight "
            f"into it ({', '.join(SUFFIXES)})."
        )
    decode = len(listing.utterances) <= DECODED
    kept, faults, clipped, first = [], Counter(), 0, None
    for one in listing.utterances:
        verdict = _verdict(one.path, decode)
        if verdict in ("", "clipped"):
            kept.append(one)
            clipped += verdict == "clipped"
        else:
            faults[verdict] += 1
            first = first or one.path
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(faults.items()))
        raise UserError(f"None of the recordings in {folder} can be used ({reasons}): record or copy them again.")
    notes = list(listing.notes)
    if first is not None:
        notes.append(f"the first that was skipped: {first}")
    if clipped:
        notes.append(f"clipped recordings, which were kept: {clipped:,}")
    if not decode:
        notes.append(f"of more than {DECODED:,} recordings only the headers were checked")
    skipped = listing.skipped + faults
    lost = (listing.class_folders | {one.label for one in listing.utterances}) - {one.label for one in kept} - {""}
    if lost and any(one.label for one in kept):
        skipped["class without a recording that can be used"] += len(lost)
        notes.append(f"no class of {', '.join(sorted(lost))}: there is no recording that can be used")
    return _Listing(kept, skipped, notes)


def _verdict(path: Path, decode: bool) -> str:
    """Why a recording cannot be used; "" when nothing is wrong with it, "clipped" when it can be used nevertheless."""
    try:
        stat = path.stat()
    except OSError:
        return "unreadable"
    return _checked(str(path), decode, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=200_000)
def _checked(path: str, decode: bool, _size: int, _changed: int) -> str:
    """As `_verdict`; kept until the file changes, since three splits ask for it."""
    try:
        if probe(path).seconds < SHORTEST:
            return "too short"
        faults = audio_faults(read_audio(path, None)) if decode else ()
    except EmptyAudio:
        return "empty"
    except UserError:
        return "unreadable"
    return faults[0] if faults else ""


def _select(listing: _Listing, classes: Sequence[str] | None, folder: Path) -> tuple[str, ...]:
    """The class names of a listing, which keeps the recordings of the chosen classes only."""
    have = class_order(one.label for one in listing.utterances if one.label)
    if classes is None:
        if have and (nameless := sum(not one.label for one in listing.utterances)):
            listing.utterances = [one for one in listing.utterances if one.label]
            listing.skipped["without a class"] += nameless
        return have
    missing = [name for name in classes if name not in have]
    if missing:
        raise UserError(
            f"{folder} has no class '{missing[0]}': choose of {', '.join(have) or 'none; it has no classes'}."
        )
    _leave_out_others(listing, classes)
    return tuple(dict.fromkeys(classes))


def _leave_out_others(listing: _Listing, names: Sequence[str]) -> None:
    count = len(listing.utterances)
    listing.utterances = [one for one in listing.utterances if one.label in names]
    listing.skipped["of a class that was not chosen"] += count - len(listing.utterances)


def _require_known(listing: _Listing, names: tuple[str, ...], folder: Path, what: str) -> None:
    unseen = sorted({one.label for one in listing.utterances} - set(names or ("",)))
    if unseen == [""]:
        raise UserError(f"{folder} has no classes: put its recordings into sub-folders, one a class.")
    if unseen:
        raise UserError(f"{folder} has a class '{unseen[-1]}' that is not among {what}: rename or remove it.")
