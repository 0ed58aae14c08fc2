"""Folders of speakers as those of VoxCeleb, and lists of trials (Nagrani et al., arXiv 1706.08612).

    <speaker>/<session>/<utterance>.wav    a session is one video, or one call
    veri_test.txt                          a trial a line: `1 <enrol> <test>` for the same speaker, `0 ...` for two

A trial list in the folder says who is tested: its speakers are the test, all others are for training and validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.errors import UserError
from lib.speech.data import SpeechSet, Utterance
from lib.speech.folders import class_order, is_audio, walk
from lib.speech.splits import require_split, split_utterances

TRIAL_LISTS = ("veri_test2.txt", "veri_test.txt", "trials.txt")  # the first is the cleaned list of VoxCeleb1
AUDIO_FOLDERS = ("wav", "aac")  # the archives unpack into one of these


@dataclass(frozen=True)
class Trial:
    """A question to a system that recognises speakers: do these two recordings have the same one?

    enrol, test   recordings, as paths below the corpus
    target        True when the speaker is the same
    """

    enrol: str
    test: str
    target: bool


def load(
    folder: Path,
    split: str,
    *,
    trials: Sequence[Trial] | None = None,
    test_speakers: Sequence[str] = (),
    seed: int = 0,
) -> SpeechSet:
    """One split of a folder of speakers; the class of a recording is its speaker, and no speaker is in two splits.

    trials          their speakers are the test; None: those of a trial list in the folder, when there is one
    test_speakers   the speakers of the test, instead of those of the trials
    seed            of the split by speaker

    Raises UserError when there are no such folders.
    """
    require_split(split)
    utterances = _utterances(folder)
    if trials is None and (listed := _trial_list(folder)) is not None:
        trials = load_trials(listed)
    notes: tuple[str, ...] = ()
    if trials and not test_speakers:
        speakers = {one.speaker for one in utterances}
        test_speakers = sorted({speaker_of(path) for trial in trials for path in (trial.enrol, trial.test)} & speakers)
        if not test_speakers:
            raise UserError(
                f"None of the speakers of the {len(trials):,} trials is in {folder}: take the list of this set."
            )
        notes = ("the speakers of the trials are the test",)
    chosen, more = split_utterances(str(folder), utterances, split, test_speakers, seed)
    named = [Utterance(one.path, one.speaker, one.speaker) for one in chosen]
    return SpeechSet(
        name=str(folder),
        split=split,
        utterances=tuple(named),
        class_names=class_order(one.speaker for one in named),
        notes=(*notes, *more),
    )


def load_trials(path: Path | str) -> list[Trial]:
    """The trials of a list with lines `<0 or 1> <enrol> <test>`. Raises UserError naming the line that is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} cannot be read as a list of trials ({fault}): correct the name.") from None
    trials = []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            raise UserError(f"{path}, line {number}: a trial is '1 enrol test' (the same speaker) or '0 enrol test'.")
        trials.append(Trial(fields[1], fields[2], fields[0] == "1"))
    if not trials:
        raise UserError(f"{path} holds no trials: write one a line, '1 enrol test' or '0 enrol test'.")
    return trials


def speaker_of(recording: str) -> str:
    """Who speaks in the recording of a trial: the first folder of its path."""
    return recording.split("/", 1)[0]


def is_here(folder: Path) -> bool:
    """True when the folder has a trial list and folders of speakers; folders alone may be classes just as well."""
    return _trial_list(folder) is not None


def _trial_list(folder: Path) -> Path | None:
    return next((folder / name for name in TRIAL_LISTS if (folder / name).is_file()), None)


def _utterances(folder: Path) -> list[Utterance]:
    place = next((folder / name for name in AUDIO_FOLDERS if (folder / name).is_dir()), folder)
    found = []
    for path in walk(place):
        inside = path.relative_to(place).parts
        if is_audio(path) and len(inside) >= 2:  # a session's folder may be missing
            found.append(Utterance(path, "", inside[0]))
    if not found:
        raise UserError(f"{folder} has no files <speaker>/<session>/<utterance>.wav: correct the name.")
    return found
