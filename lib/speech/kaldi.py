"""Data folders of Kaldi: what many recipes for speech make first.

    wav.scp     `<recording> <file>`                           a file is relative to the folder, or absolute
    segments    `<utterance> <recording> <start> <end>`        seconds; without it each recording is an utterance
    utt2spk     `<utterance> <speaker>`
    text        `<utterance> <what is said>`
    utt2lang    `<utterance> <language>`                       becomes the class

All but `wav.scp` may be missing. `train`, `dev` (or `valid`) and `test` may be folders of their own.

A line of `wav.scp` may be a command, whose output is the sound. Opening data must not run commands: it is refused.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lib.errors import UserError
from lib.speech.data import SpeechSet, Utterance
from lib.speech.folders import class_order, read_keyed_lines
from lib.speech.splits import require_split, split_utterances

SPLIT_FOLDERS = {"train": ("train",), "valid": ("dev", "valid"), "test": ("test",)}


def load(folder: Path, split: str, *, test_speakers: Sequence[str] = (), seed: int = 0) -> SpeechSet:
    """One split: the folder's own `train`, `dev`, `test`, else by speaker.

    test_speakers   the speakers of the test, for a folder that is not split
    seed            of the split by speaker

    Utterances whose file is missing are left out and counted. Raises UserError for a line that cannot be understood,
    for a command in the place of a file, and when no utterance is left.
    """
    require_split(split)
    if (folder / "wav.scp").is_file():
        utterances, skipped = _utterances(folder)
        chosen, notes = split_utterances(str(folder), utterances, split, test_speakers, seed)
    else:
        if test_speakers:
            raise UserError(f"{folder} is split into folders already: take one of them to choose test speakers.")
        places = {
            side: next((folder / name for name in names if (folder / name / "wav.scp").is_file()), None)
            for side, names in SPLIT_FOLDERS.items()
        }
        if places["train"] is None or (places[split] is None and split != "valid"):
            raise UserError(f"{folder} has no wav.scp, nor a folder '{split}' with one: correct the name.")
        utterances, skipped = _utterances(places["train"])
        if split != "train":
            known = {one.label for one in utterances}
            chosen, skipped = _utterances(places[split]) if places[split] else ([], Counter())
            if unseen := sorted({one.label for one in chosen} - known):
                raise UserError(f"{places[split]} has a class '{unseen[0]}' that is not among the training classes.")
        else:
            chosen = utterances
        notes = () if places[split] else ("there is no folder 'dev'",)
    return SpeechSet(
        name=str(folder),
        split=split,
        utterances=tuple(chosen),
        class_names=class_order(one.label for one in utterances if one.label),
        skipped=dict(+skipped),
        notes=notes,
    )


def is_here(folder: Path) -> bool:
    """True when the folder, or its `train`, has a wav.scp."""
    return (folder / "wav.scp").is_file() or (folder / "train" / "wav.scp").is_file()


def _utterances(folder: Path) -> tuple[list[Utterance], Counter]:
    """The utterances of a data folder whose files are there, and why the others are not."""
    recordings = {name: _file(folder, name, place) for name, place in read_keyed_lines(folder / "wav.scp")}
    speakers, texts, classes = (_optional(folder / name) for name in ("utt2spk", "text", "utt2lang"))
    if (folder / "segments").is_file():
        parts = [
            (name, *_segment(folder / "segments", name, rest)) for name, rest in read_keyed_lines(folder / "segments")
        ]
    else:
        parts = [(name, name, 0.0, None) for name in recordings]
    found, skipped = [], Counter()
    for name, recording, start, end in parts:
        path = recordings.get(recording)
        if path is None:
            skipped["of a recording that is not in wav.scp"] += 1
        elif not path.is_file():
            skipped["of a file that is missing"] += 1
        elif classes and name not in classes:
            skipped["without a class"] += 1
        else:
            one = Utterance(path, classes.get(name, ""), speakers.get(name, ""), texts.get(name, ""), start, end)
            found.append(one)
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())) or "wav.scp is empty"
        raise UserError(f"{folder} has no utterance that can be used ({reasons}): correct the paths in wav.scp.")
    return found, skipped


def _file(folder: Path, name: str, place: str) -> Path:
    if place.startswith("|") or place.endswith("|"):
        raise UserError(
            f"{folder / 'wav.scp'}: {name} is a command, and data must not run commands: write its output to a file, "
            "and name the file."
        )
    if not place:
        raise UserError(f"{folder / 'wav.scp'}: {name} has no file; write one behind it.")
    if ".ark:" in place:
        raise UserError(f"{folder / 'wav.scp'}: {name} lies in an archive of Kaldi: write it to a file of its own.")
    return folder / place


def _segment(path: Path, name: str, rest: str) -> tuple[str, float, float | None]:
    """(recording, start, end) in seconds; a negative end is the end of the recording."""
    fields = rest.split()
    try:
        recording, start, end = fields[0], float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        raise UserError(f"{path}: {name} needs a recording, a start and an end in seconds.") from None
    if not (0 <= start < float("inf") and (end < 0 or end > start)):  # so that NaN is refused as well
        raise UserError(f"{path}: {name} starts at {start} s and ends at {end} s: correct the times.")
    return recording, start, end if end >= 0 else None


def _optional(path: Path) -> dict[str, str]:
    return dict(read_keyed_lines(path)) if path.is_file() else {}
