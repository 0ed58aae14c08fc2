"""LibriSpeech: English read aloud, 16 kHz, in parts that share no speaker (Panayotov et al., ICASSP 2015).

    <part>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac    with
    <part>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt        `<utterance> <TEXT>` a line

The parts are train-clean-100, train-clean-360, train-other-500, dev-clean, dev-other, test-clean and test-other; those
that are there are used. Transcripts may be missing, as in sets for recognising speakers.
"""

from collections.abc import Sequence
from pathlib import Path

from lib.errors import UserError
from lib.speech.data import SpeechSet, Utterance
from lib.speech.folders import is_audio, read_keyed_lines, walk
from lib.speech.splits import require_split, split_utterances

PREFIXES = {"train": "train-", "valid": "dev-", "test": "test-"}
SIZES = {  # utterances of each part
    "train-clean-100": 28_539,
    "train-clean-360": 104_014,
    "train-other-500": 148_688,
    "dev-clean": 2_703,
    "dev-other": 2_864,
    "test-clean": 2_620,
    "test-other": 2_939,
}


def load(folder: Path, split: str, *, test_speakers: Sequence[str] = (), seed: int = 0) -> SpeechSet:
    """One split: the parts `train-*`, `dev-*` or `test-*` together.

    test_speakers   the speakers of the test, instead of the parts; `seed` then divides the others

    The split "valid" is empty when there is no part `dev-*`. Raises UserError when what is asked for is not there.
    """
    require_split(split)
    parts = [part for part in SIZES if (folder / part).is_dir()]
    wanted = parts if test_speakers else [part for part in parts if part.startswith(PREFIXES[split])]
    if not parts or (not wanted and split != "valid"):
        raise UserError(
            f"{folder} has no part {PREFIXES.get(split if parts else '', '')}*: run `papers data get librispeech`, or "
            f"put one of {', '.join(SIZES)} there."
        )
    utterances = [one for part in wanted for one in _utterances(folder / part)]
    empty = next((part for part in wanted if not any((folder / part) in one.path.parents for one in utterances)), None)
    if empty:
        raise UserError(f"{folder / empty} holds no recordings: run `papers data get librispeech` again.")
    notes: tuple[str, ...] = (f"the parts {', '.join(wanted)}" if wanted else "there is no part dev-*",)
    chosen = utterances
    if test_speakers:
        chosen, more = split_utterances(str(folder), utterances, split, test_speakers, seed)
        notes += more
    if silent := sum(not one.text for one in chosen):
        notes += (f"{silent:,} recordings have no transcript",)
    whole = sum(SIZES[part] for part in wanted)
    return SpeechSet(
        name="LibriSpeech",
        split=split,
        utterances=tuple(chosen),
        part=f"a part: {len(utterances):,} of the {whole:,} recordings" if len(utterances) < whole else None,
        notes=notes,
    )


def is_here(folder: Path) -> bool:
    """True when the folder has a part of LibriSpeech in it."""
    return any((folder / part).is_dir() for part in SIZES)


def _utterances(part: Path) -> list[Utterance]:
    files = list(walk(part))
    texts = dict(line for path in files if path.name.endswith(".trans.txt") for line in read_keyed_lines(path))
    return [Utterance(path, "", path.stem.split("-")[0], texts.get(path.stem, "")) for path in files if is_audio(path)]
