"""AISHELL-1: Mandarin read aloud, 400 speakers, 165 hours, 16 kHz (Bu et al., arXiv 1709.05522).

    wav/{train,dev,test}/<speaker>/<utterance>.wav    as published, with
    transcript/aishell_transcript_v0.8.txt            `<utterance> <text>` a line

    <speaker>/<utterance>.flac  transcripts.txt       a part of it

Texts lose the spaces between their words: characters are what is recognised.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from lib.errors import UserError
from lib.speech.data import SpeechSet, Utterance
from lib.speech.folders import is_audio, read_keyed_lines, walk
from lib.speech.splits import require_split, split_utterances

SIZE = 141_600  # transcripts of the whole set
SPLIT_FOLDERS = {"train": "train", "valid": "dev", "test": "test"}
TRANSCRIPTS = ("transcript/aishell_transcript_v0.8.txt", "transcripts.txt")
NAME = re.compile(r"BAC009(?P<speaker>S\d{4})W\d{4}")


def load(folder: Path, split: str, *, test_speakers: Sequence[str] = (), seed: int = 0) -> SpeechSet:
    """One split of AISHELL-1: the published one, else by speaker, or by recording when there is one speaker.

    test_speakers   the speakers of the test, instead of the published split
    seed            of a split that is not the published one

    Recordings without a transcript (the whole set has a few hundred) are left out and counted. Raises UserError when
    transcripts or recordings are missing.
    """
    require_split(split)
    texts = read_transcripts(_transcript_file(folder))
    published = (folder / "wav" / "train").is_dir()
    if not published and any((folder / "wav").glob("*.tar.gz")):
        raise UserError(f"{folder / 'wav'} holds one archive a speaker: unpack them there.")
    place = folder / "wav" / SPLIT_FOLDERS[split] if published and not test_speakers else folder
    paths = [path for path in walk(place) if is_audio(path)] if place.is_dir() else []
    utterances = [Utterance(path, "", _speaker(path), texts[path.stem]) for path in paths if path.stem in texts]
    if not utterances:
        raise UserError(
            f"{place} holds no recordings that {_transcript_file(folder).name} has a text for: get them again."
        )
    if published and not test_speakers:
        chosen, notes = utterances, ("the published split",)
    else:
        chosen, notes = split_utterances(str(folder), utterances, split, test_speakers, seed)
    skipped = len(paths) - len(utterances)
    return SpeechSet(
        name="AISHELL-1",
        split=split,
        utterances=tuple(chosen),
        part=f"a part: {len(texts):,} of the {SIZE:,} sentences" if len(texts) < SIZE else None,
        skipped={"without a transcript": skipped} if skipped else {},
        notes=notes,
    )


def is_here(folder: Path) -> bool:
    """True when the folder has the published transcripts, or transcripts beside folders of speakers."""
    return (folder / TRANSCRIPTS[0]).is_file() or (
        (folder / TRANSCRIPTS[1]).is_file() and any(folder.glob("S[0-9][0-9][0-9][0-9]"))
    )


def read_transcripts(path: Path) -> dict[str, str]:
    """Utterance -> text without spaces, of a file with a line `<utterance> <text>` for each."""
    texts = {}
    for name, text in read_keyed_lines(path):
        text = "".join(text.split())
        if not text:
            raise UserError(f"{path}: the utterance {name} has no text; get the file again.")
        texts[name] = text
    return texts


def _transcript_file(folder: Path) -> Path:
    for name in TRANSCRIPTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder} has neither {TRANSCRIPTS[0]} nor {TRANSCRIPTS[1]}: run `papers data get aishell1`.")


def _speaker(path: Path) -> str:
    found = NAME.fullmatch(path.stem)
    return found["speaker"] if found else path.parent.name
