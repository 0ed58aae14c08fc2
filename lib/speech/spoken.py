"""The embedded corpora, spoken once by espeak-ng and kept on disk as 16 kHz FLAC files.

`load(KeywordCorpus(), "train")` speaks the corpus if it is not there yet, in a process of its own, and reads its
manifest. It is kept under the folder that BOOK_CACHE names, else under $XDG_CACHE_HOME/papers-that-run, else under
~/.cache/papers-that-run, in `spoken/<name>-<key>`; the key stands for the description, the layout of the files and
the version of the synthesiser. A folder that lacks a file, or has a cut one, is made anew.
"""

import contextlib
import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lib
from lib.errors import UserError
from lib.files import cache_root
from lib.speech.data import SPLITS, SpeechSet, Utterance
from lib.speech.espeak import library_version
from lib.speech.spoken_corpora import (
    AccentCorpus,
    DigitCorpus,
    KeywordCorpus,
    MandarinCorpus,
    SpeakerCorpus,
    to_json,
)
from lib.speech.spoken_maker import MANIFEST, SEAL
from lib.speech.spoken_plan import SpokenCorpus

__all__ = [
    "AccentCorpus",
    "DigitCorpus",
    "KeywordCorpus",
    "MandarinCorpus",
    "SpeakerCorpus",
    "SpokenCorpus",
    "cache_root",
    "details",
    "folder_of",
    "is_whole",
    "load",
    "make",
    "manifest",
]

FORMAT = 2  # of the files: another number, another key
ABANDONED = 3600  # seconds after which an unfinished folder has surely no maker any more
NOTE = (
    "synthetic speech (espeak-ng {version}): every voice is a setting of one synthesiser, so figures measured on it "
    "do not carry over to people"
)


def folder_of(description: SpokenCorpus) -> Path:
    """Where the corpus lies, or will lie. Raises UserError without the synthesiser."""
    text = f"{FORMAT} {library_version()} {to_json(description)}"
    return cache_root() / "spoken" / f"{description.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def load(description: SpokenCorpus, split: str = "train") -> SpeechSet:
    """One split of the corpus, made first if need be.

    Raises UserError for an unknown split, a split without speakers, no synthesiser, or a cache that cannot be written.
    """
    if split not in SPLITS:
        raise UserError(f"No split called '{split}': choose one of {', '.join(SPLITS)}.")
    if not description.shares[SPLITS.index(split)]:
        raise UserError(f"The {split} split of this {description.name} corpus has a share of 0: give it a part.")
    folder = make(description)
    utterances = tuple(
        Utterance(folder / row["path"], row["label"], row["speaker"], row["text"])
        for row in manifest(folder)
        if row["split"] == split
    )
    if not utterances:
        raise UserError(f"The {split} split of this {description.name} corpus is empty: ask for more utterances.")
    return SpeechSet(
        name=f"embedded {description.name}",
        split=split,
        utterances=utterances,
        class_names=description.classes(split),
        notes=(NOTE.format(version=library_version()),),
    )


def make(description: SpokenCorpus) -> Path:
    """The corpus's folder, spoken now if it is not there whole. Raises UserError as `load` does.

    Two processes may make the same corpus at once: both get one that is whole.
    """
    folder = folder_of(description)
    if is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        # Beside its place, so that the last step is a rename on one disk.
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True
        ) as beside:
            _speak(description, Path(beside))
            _put(Path(beside) / "made", folder, Path(beside))
    except OSError as fault:
        raise UserError(
            f"The speech cannot be kept in {folder.parent} ({fault.strerror or fault}): let BOOK_CACHE name a folder "
            "with room that you may write to."
        ) from None
    return folder


def manifest(folder: Path) -> list[dict[str, str]]:
    """The rows of a corpus's table: path (within the folder), label, text, speaker, split, session, voice, rate, …"""
    with (folder / MANIFEST).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def details(speech_set: SpeechSet) -> list[dict[str, str]]:
    """The manifest's rows of these utterances, in their order: voice, rate, pitch, session and seconds of each.

    Raises UserError for a set that is no embedded corpus.
    """
    rows: dict[Path, dict[str, str]] = {}
    try:
        # A file lies in <corpus>/<split>/<label>.
        for folder in {one.path.parents[2] for one in speech_set.utterances}:
            rows |= {folder / row["path"]: row for row in manifest(folder)}
        return [rows[one.path] for one in speech_set.utterances]
    except (OSError, KeyError, IndexError):
        raise UserError(f"{speech_set.name} is no embedded corpus: only those keep how they were spoken.") from None


def is_whole(folder: Path) -> bool:
    """Whether the manifest is the one that was written, and each of its files is there in full length."""
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        if hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() != seal["manifest"]:
            return False
        return all((folder / row["path"]).stat().st_size == int(row["bytes"]) for row in manifest(folder))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _speak(description: SpokenCorpus, work: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lib.speech.spoken_maker", str(work)],
        input=to_json(description),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=Path(lib.__file__).parents[1],  # so that the child finds the same `lib`
        check=False,
    )
    if done.returncode == 2:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [""]
        reason = signal.Signals(-done.returncode).name if done.returncode < 0 else lines[-1]
        raise UserError(
            f"Speaking the {description.name} corpus was broken off ({reason}): nothing was kept; try again."
        )


def _put(made: Path, folder: Path, beside: Path) -> None:
    """Rename `made` to `folder`. What is damaged there goes; what another process has put there whole, stays."""
    for attempt in range(10):
        try:
            made.rename(folder)
            return
        except OSError:
            if not folder.exists() and attempt:
                raise
        if is_whole(folder):
            return
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            folder.rename(beside / f"damaged{attempt}")
    raise UserError(f"{folder} cannot be replaced: delete it by hand.")


def _sweep(parent: Path) -> None:
    """Delete the unfinished folders of makers that were killed long ago."""
    for path in parent.glob(".*"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # another process sweeps too
