"""Google Speech Commands, version 0.01 (30 words) and 0.02 (35), and parts of them (Warden, arXiv 1804.03209).

    <word>/<speaker>_nohash_<number>.wav      one second, 16 kHz; FLAC serves as well
    testing_list.txt  validation_list.txt     the official split, a file a line
    _background_noise_/*.wav                  minutes of noise

The task of twelve classes: ten keywords, `unknown` for all other words, `silence` for noise without a word. There are
fifteen or twenty-five other words, so that `unknown` is cut down to the size of a keyword class.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

from lib.errors import UserError
from lib.speech.audio import probe
from lib.speech.data import SILENCE, UNKNOWN, SpeechSet, Utterance
from lib.speech.folders import SPEECH_COMMANDS_NAME, is_audio
from lib.speech.splits import require_split, split_utterances

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SIZES = {"0.01": 64_727, "0.02": 105_829}  # recordings of the whole sets
WORDS_OF_FIRST_VERSION = 30

NOISE_FOLDER = "_background_noise_"
LISTS = {"test": "testing_list.txt", "valid": "validation_list.txt"}
# Of each noise file the beginning is for training and the end for the test, so that no second is on both sides.
NOISE_PARTS = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "test": (0.9, 1.0)}
CLIP_SECONDS = 1.0

HASH_LIMIT = 2**27 - 1
VALID_PERCENT = TEST_PERCENT = 10.0


def load(
    folder: Path,
    split: str,
    words: Sequence[str] | str | None = None,
    *,
    unknown: bool = False,
    test_speakers: Sequence[str] = (),
    seed: int = 0,
) -> SpeechSet:
    """One split of Speech Commands.

    words           None: the task of twelve classes (of eleven where there is no background noise);
                    a tuple of words: these classes in this order; "all": every word
    unknown         with a tuple of words: the other words as one more class
    test_speakers   the speakers of the test; otherwise the split is the official one, by list or by hash
    seed            chooses the recordings of `unknown`, the seconds of `silence`, and a split where there is none

    Raises UserError when a word is not there, and when nothing is.
    """
    require_split(split)
    recordings = _recordings(folder)
    have = tuple(sorted({one.label for one in recordings}))
    keywords, unknown, silence = _classes(folder, have, words, unknown)
    chosen, notes = _split(folder, recordings, split, test_speakers, seed)
    found = [one for word in keywords for one in chosen if one.label == word]
    size = max(1, round(len(found) / len(keywords)))
    class_names = keywords
    if unknown:
        found += _unknown([one for one in chosen if one.label not in keywords], size, split, seed)
        class_names += (UNKNOWN,)
    if silence and (folder / NOISE_FOLDER).is_dir():
        found += _silence(folder / NOISE_FOLDER, size, split, seed)
        class_names += (SILENCE,)
    elif silence:
        notes += (f"there is no folder {NOISE_FOLDER}, so there is no class '{SILENCE}'",)
    return SpeechSet(
        name="Speech Commands",
        split=split,
        utterances=tuple(found),
        class_names=class_names,
        part=_part(folder, len(recordings), len(have)),
        notes=notes,
    )


def official_side(file_name: str) -> str:
    """The side of a recording by the published rule: a hash of its speaker, so that it never changes.

    SHA-1 of the name before `_nohash_`, modulo 2²⁷, as a percentage: the first ten are for validation, the next ten
    for the test (Warden, section 5.4).

    >>> official_side("00f0204f_nohash_0.wav")
    'train'
    """
    speaker = Path(file_name).name.split("_nohash_")[0]
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16)
    percent = number % (HASH_LIMIT + 1) * (100.0 / HASH_LIMIT)
    if percent < VALID_PERCENT:
        return "valid"
    return "test" if percent < VALID_PERCENT + TEST_PERCENT else "train"


def is_here(folder: Path) -> bool:
    """True when the folder looks like Speech Commands: by its lists, its noise, or all ten keywords with its names."""
    if (folder / NOISE_FOLDER).is_dir() or all((folder / name).is_file() for name in LISTS.values()):
        return True
    # A few words with such names are a folder of somebody's own, where bad files are counted and not refused.
    return all(any(is_audio(path) for path in folder.glob(f"{word}/*_nohash_*")) for word in KEYWORDS)


def _recordings(folder: Path) -> list[Utterance]:
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))):
        for path in sorted(place.iterdir()):
            if is_audio(path) and (name := SPEECH_COMMANDS_NAME.fullmatch(path.stem)):
                found.append(Utterance(path, place.name, name["speaker"], place.name))
    if not found:
        raise UserError(f"{folder} has no files <word>/<speaker>_nohash_<number>.wav: unpack Speech Commands there.")
    return found


def _classes(
    folder: Path, have: tuple[str, ...], words: Sequence[str] | str | None, unknown: bool
) -> tuple[tuple[str, ...], bool, bool]:
    """(words that are classes of their own, is there a class `unknown`, is there a class `silence`)."""
    if words is None:
        keywords, unknown, silence = KEYWORDS, True, True
    elif words == "all":
        keywords, silence = have, False
    elif isinstance(words, str):
        raise UserError(f"The words of Speech Commands are a tuple of words, 'all', or nothing, not '{words}'.")
    else:
        keywords, silence = tuple(dict.fromkeys(words)), False
    missing = [word for word in keywords if word not in have]
    if missing:
        raise UserError(f"{folder} has no word '{missing[0]}': choose of {', '.join(have)}.")
    if not keywords:
        raise UserError("No word was chosen: name one or more, or 'all'.")
    if unknown and len(keywords) == len(have):
        raise UserError(f"All words of {folder} are classes, so that none is left for '{UNKNOWN}': choose fewer.")
    return keywords, unknown, silence


def _split(
    folder: Path, recordings: list[Utterance], split: str, test_speakers: Sequence[str], seed: int
) -> tuple[list[Utterance], tuple[str, ...]]:
    """The recordings of all words on one side, and how the sides were found."""
    if test_speakers:
        return split_utterances(str(folder), recordings, split, test_speakers, seed)
    if all((folder / name).is_file() for name in LISTS.values()):
        sides, how = _listed_sides(folder, recordings), "the official split, by its lists"
    else:
        sides, how = [official_side(one.path.name) for one in recordings], "the official split, by its hash of speakers"
    if len(set(sides)) < len(NOISE_PARTS):
        chosen, notes = split_utterances(str(folder), recordings, split, seed=seed)
        return chosen, ("a side of the official split is empty here, so the split is ours", *notes)
    return [one for one, side in zip(recordings, sides, strict=True) if side == split], (how,)


def _listed_sides(folder: Path, recordings: list[Utterance]) -> list[str]:
    listed = {}
    for side, name in LISTS.items():
        try:
            lines = (folder / name).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as fault:
            raise UserError(f"{folder / name} cannot be read ({fault}): unpack Speech Commands again.") from None
        listed |= {line.rsplit(".", 1)[0]: side for line in lines}
    return [listed.get(f"{one.label}/{one.path.stem}", "train") for one in recordings]


def _unknown(others: list[Utterance], size: int, split: str, seed: int) -> list[Utterance]:
    chosen = Random(f"unknown {split} {seed}").sample(range(len(others)), min(size, len(others)))
    return [Utterance(one.path, UNKNOWN, one.speaker, one.text) for one in (others[index] for index in sorted(chosen))]


def _silence(folder: Path, size: int, split: str, seed: int) -> list[Utterance]:
    """`size` seconds of the noise files, of the part of each that belongs to the split."""
    low, high = NOISE_PARTS[split]
    parts = []
    for path in sorted(filter(is_audio, folder.iterdir())):
        seconds = probe(path).seconds
        if (high - low) * seconds >= CLIP_SECONDS:
            parts.append((path, low * seconds, high * seconds - CLIP_SECONDS))
    if not parts:
        raise UserError(f"{folder} has no noise of ten seconds or more: unpack Speech Commands again.")
    random = Random(f"silence {split} {seed}")
    starts = [(path, random.uniform(first, last)) for path, first, last in random.choices(parts, k=size)]
    return [Utterance(path, SILENCE, start=start, end=start + CLIP_SECONDS) for path, start in starts]


def _part(folder: Path, count: int, words: int) -> str | None:
    version = "0.02" if words > WORDS_OF_FIRST_VERSION or folder.name.endswith("0.02") else "0.01"
    whole = SIZES[version]
    return f"a part: {count:,} of the {whole:,} recordings of version {version}" if count < whole else None
