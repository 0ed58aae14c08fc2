"""Training, validation and test parts that share no speaker.

A network that has heard a speaker in training recognises the voice and not only the word: a test on the same speakers
looks better than it is. So whole groups (speakers, sessions) go to one side.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from random import Random

from lib.errors import UserError
from lib.speech.data import SPLITS, Utterance

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
FEWEST_FOR_VALID = 5  # with fewer groups there is no validation part, so that training keeps what it can


def split_by_group(
    groups: Sequence[str],
    labels: Sequence[str],
    shares: dict[str, float] = SHARES,
    seed: int = 0,
    test_groups: Sequence[str] = (),
) -> dict[str, list[int]]:
    """Side -> indices of its clips in rising order; the sides are "train", "valid" and "test".

    groups        the group of each clip: no group is on two sides
    labels        the class of each clip; where it can be, every class keeps a clip in training
    shares        side -> share of the clips, met as nearly as whole groups allow, largest groups first
    seed          chooses among groups of equal size
    test_groups   exactly these are the test

    With two groups or more the test has one. With fewer than five, and when its share is 0, "valid" is empty.
    The same input gives the same split on every machine. Raises UserError for shares that cannot be met, and for
    test groups that are unknown or leave nothing to train with.
    """
    if set(shares) != set(SHARES) or min(shares.values()) < 0 or not shares["train"] or not shares["test"]:
        raise UserError(f"Shares are needed of train, valid and test, the first and last above 0, not {shares}.")
    if len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups and {len(labels)} labels")
    sizes = Counter(groups)
    fixed = set(test_groups)
    if unknown := sorted(fixed - sizes.keys()):
        known = sorted(sizes)
        listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        raise UserError(f"There is no speaker '{unknown[0]}' to test with: choose of {listed}.")
    if fixed and fixed == sizes.keys():
        raise UserError("All speakers were chosen for the test: leave some for training.")
    wanted = {side: share for side, share in shares.items() if share > 0}
    if len(sizes) < FEWEST_FOR_VALID:
        wanted.pop("valid", None)
    if fixed:
        del wanted["test"]
    order = [group for group in sorted(sizes) if group not in fixed]
    Random(seed).shuffle(order)
    order.sort(key=lambda group: -sizes[group])  # stable: those of equal size stay shuffled
    sides = _fill(order, sizes, wanted)
    _fill_empty_sides(order, sizes, wanted, sides)
    _keep_classes_in_training(groups, labels, sizes, sides)
    sides |= dict.fromkeys(fixed, "test")
    found: dict[str, list[int]] = {side: [] for side in SHARES}
    for index, group in enumerate(groups):
        found[sides[group]].append(index)
    return found


def _fill(order: list[str], sizes: Counter, wanted: dict[str, float]) -> dict[str, str]:
    """Group -> side. Each group goes where it adds least to the sum of (clips - target)² / target over the sides."""
    total = sum(sizes[group] for group in order) / sum(wanted.values())
    targets = {side: share * total for side, share in wanted.items()}
    filled = dict.fromkeys(wanted, 0)
    sides = {}
    for group in order:
        size = sizes[group]
        best = min(wanted, key=lambda side: size * (size + 2 * (filled[side] - targets[side])) / targets[side])
        sides[group] = best
        filled[best] += size
    return sides


def _fill_empty_sides(order: list[str], sizes: Counter, wanted: dict[str, float], sides: dict[str, str]) -> None:
    """Give the test, then the validation part, the smallest group of the fullest side when they have none."""
    for empty in ("train", "test", "valid"):
        count = Counter(sides.values())
        if empty not in wanted or count[empty] or len(order) < len(count) + 1:
            continue
        giver = max((side for side in count if count[side] > 1), key=count.__getitem__)
        sides[min((group for group in order if sides[group] == giver), key=sizes.__getitem__)] = empty


def _keep_classes_in_training(
    groups: Sequence[str], labels: Sequence[str], sizes: Counter, sides: dict[str, str]
) -> None:
    """Move the smallest group that has a class which training lacks, unless it is the last of its side.

    Then it changes places with a training group that training can spare.
    """
    classes = defaultdict(set)  # of each group
    for group, label in zip(groups, labels, strict=True):
        if group in sides:
            classes[group].add(label)

    def smallest(candidates: Iterable[str]) -> str | None:
        return min(candidates, key=lambda group: (sizes[group], group), default=None)

    have = Counter(label for group in sides if sides[group] == "train" for label in classes[group])
    for label in sorted(set().union(*classes.values()) - have.keys()):
        if have[label]:
            continue
        mover = smallest(group for group in sides if label in classes[group])
        side = sides[mover]
        if list(sides.values()).count(side) == 1:
            spared = smallest(
                group for group in sides if sides[group] == "train" and all(have[other] > 1 for other in classes[group])
            )
            if spared is None:
                continue
            sides[spared] = side
            have.subtract(classes[spared])
        sides[mover] = "train"
        have.update(classes[mover])


def split_by_class(labels: Sequence[str], shares: dict[str, float] = SHARES, seed: int = 0) -> dict[str, list[int]]:
    """Side -> indices in rising order, for clips that have no groups: every class is shared out by itself.

    A class of two clips or more has one in the test, and the rest in training before any is for validation.
    """
    found: dict[str, list[int]] = {side: [] for side in SHARES}
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        by_class[label].append(index)
    random = Random(seed)
    for label in sorted(by_class):
        clips = by_class[label]
        random.shuffle(clips)
        test = min(len(clips) - 1, max(1, round(shares["test"] * len(clips))))
        valid = min(len(clips) - test - 1, round(shares["valid"] * len(clips))) if len(clips) > test else 0
        found["test"] += clips[:test]
        found["valid"] += clips[test : test + max(0, valid)]
        found["train"] += clips[test + max(0, valid) :]
    return {side: sorted(indices) for side, indices in found.items()}


def require_split(split: str) -> None:
    """Raise UserError unless `split` is "train", "valid" or "test"."""
    if split not in SPLITS:
        raise UserError(f"Unknown split '{split}': choose one of {', '.join(SPLITS)}.")


def split_utterances(
    name: str,
    utterances: Sequence[Utterance],
    split: str,
    test_speakers: Sequence[str] = (),
    seed: int = 0,
) -> tuple[list[Utterance], tuple[str, ...]]:
    """One split of recordings that come without one, by speaker, and sentences on how it was made.

    A recording whose speaker is unknown is a group of its own. So is every recording when there is one speaker only.
    Raises UserError, naming the corpus by `name`, when there is nothing to train with or to test on.
    """
    require_split(split)
    speakers = {one.speaker for one in utterances}
    notes = []
    if len(speakers) == 1 and "" not in speakers and not test_speakers:
        notes.append("one speaker only, so it is split by recording: the test does not tell how other voices do")
        speakers = {""}
    single = len(speakers) == 1 and "" in speakers
    # Numbers for recordings without a speaker: no speaker's name begins with a NUL.
    groups = [f"\0{number:09}" if single or not one.speaker else one.speaker for number, one in enumerate(utterances)]
    unknown = sum(not one.speaker for one in utterances)
    if unknown:
        notes.append(
            f"the speaker of {unknown:,} recordings is unknown: they are split one by one, and a voice may be on "
            "both sides"
        )
    labels = [one.label for one in utterances]
    if single or unknown == len(utterances):
        sides = split_by_class(labels, seed=seed)
    else:
        sides = split_by_group(groups, labels, seed=seed, test_groups=test_speakers)
    if not unknown and not single:
        counts = (f"{side} {len({groups[index] for index in sides[side]})}" for side in SPLITS)
        notes.append(f"split by speaker: {', '.join(counts)}")
    chosen = [utterances[index] for index in sides[split]]
    if not chosen and split != "valid":
        raise UserError(f"{name} has too few recordings for a {split} split: add some, of two speakers or more.")
    if not chosen:
        notes.append("too few speakers for a validation part")
    return chosen, tuple(notes)
