"""Free Spoken Digit Dataset: ten digits, 50 recordings of each by a few speakers, 8 kHz.

    recordings/<digit>_<speaker>_<number>.wav            as published
    <speaker>/<digit>/<digit>_<speaker>_<number>.flac    a folder a speaker

The published split tests on recordings 0 ... 4 of every speaker, so that the test knows all voices. Ours, unless the
published one is asked for, keeps speakers apart.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from lib.errors import UserError
from lib.speech.data import SpeechSet, Utterance
from lib.speech.folders import is_audio, walk
from lib.speech.splits import require_split, split_utterances

NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<number>\d+)")
SPEAKERS, SIZE = 6, 3_000  # of the whole set
OFFICIAL_TEST = range(5)  # the numbers of the recordings that the published split tests on


def load(
    folder: Path,
    split: str,
    digits: Sequence[str] | None = None,
    *,
    test_speakers: Sequence[str] = (),
    seed: int = 0,
    official: bool = False,
) -> SpeechSet:
    """One split of the digits; with fewer than five speakers "valid" is empty.

    digits          only these; None: all ten
    test_speakers   the speakers of the test; otherwise `seed` chooses them
    official        the published split instead: by the number of the recording, without "valid"

    Raises UserError when the folder holds no digits, or not these.
    """
    require_split(split)
    place = folder / "recordings" if (folder / "recordings").is_dir() else folder
    names = [(path, NAME.fullmatch(path.stem)) for path in walk(place) if is_audio(path)]
    recordings = [
        (Utterance(path, name["digit"], name["speaker"], name["digit"]), name) for path, name in names if name
    ]
    if not recordings:
        raise UserError(f"{folder} has no files <digit>_<speaker>_<number>.wav: run `papers data get fsdd`.")
    if official and test_speakers:
        raise UserError("The published split has its own test: choose test speakers, or the published split.")
    if official:
        test = [int(name["number"]) in OFFICIAL_TEST for _, name in recordings]
        wanted = {"train": False, "test": True}.get(split)
        chosen = [one for (one, _), tested in zip(recordings, test, strict=True) if tested == wanted]
        notes = ("the published split: the test knows all voices",)
    else:
        chosen, notes = split_utterances(str(folder), [one for one, _ in recordings], split, test_speakers, seed)
    class_names = tuple(sorted({one.label for one, _ in recordings}))
    if digits is not None:
        if unknown := [digit for digit in digits if digit not in class_names]:
            raise UserError(f"{folder} has no digit '{unknown[0]}': choose of {', '.join(class_names)}.")
        class_names = tuple(dict.fromkeys(digits))
        chosen = [one for one in chosen if one.label in class_names]
    return SpeechSet(
        name="Free Spoken Digits",
        split=split,
        utterances=tuple(chosen),
        class_names=class_names,
        part=f"a part: {len(recordings):,} of the {SIZE:,} recordings" if len(recordings) < SIZE else None,
        skipped={"of another name": count} if (count := len(names) - len(recordings)) else {},
        notes=notes,
    )


def is_here(folder: Path) -> bool:
    """True when the folder looks like the set: flat recordings, or folders of speakers with folders of digits."""
    flat = next((path for path in sorted(folder.glob("recordings/*_*_*")) if is_audio(path)), None)
    deep = next((path for path in sorted(folder.glob("*/0/0_*_*")) if is_audio(path)), None)
    first = flat or deep
    return first is not None and NAME.fullmatch(first.stem) is not None
