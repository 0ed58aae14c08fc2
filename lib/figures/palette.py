"""One colour, marker and dash per method, shared by the still figures and the moving ones.

The colours descend from the colour-blind-safe set of Okabe and Ito, darkened for a white page and lightened for a
dark one until each has a contrast of at least 3.5 : 1 with its ground. A colour never stands alone: the marker and the
dash carry the same meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lib.errors import UserError


@dataclass(frozen=True)
class Mark:
    """How one method is drawn: colours for both grounds, a Matplotlib marker, a dash pattern in pixels."""

    light: str
    dark: str
    marker: str
    shape: str
    dash: tuple[int, ...]


MARKS: tuple[Mark, ...] = (
    Mark("#0072b2", "#56b4e9", "o", "circle", ()),
    Mark("#d55e00", "#ff8c4a", "s", "square", (7, 3)),
    Mark("#008a63", "#3ecf9f", "^", "triangle", (2, 2)),
    Mark("#b0518a", "#e39ac4", "D", "diamond", (8, 3, 2, 3)),
    Mark("#a97800", "#f0c04a", "v", "triangle-down", (5, 2)),
    Mark("#555f6b", "#b8c2cc", "P", "plus", (3, 3)),
    Mark("#3b8ea5", "#8fdcec", "X", "cross", (10, 3)),
    Mark("#7a4a2b", "#d9a47c", "*", "star", (2, 4)),
    Mark("#3f51a3", "#a6b3ff", "p", "pentagon", (6, 2, 2, 2, 2, 2)),
    Mark("#8a1c4a", "#ff9bb5", "h", "hexagon", (1, 2)),
)


def marks(names: Sequence[str], order: Sequence[str] | None = None) -> dict[str, Mark]:
    """A mark for each name.

    Args:
        names: the methods of this figure.
        order: all methods of the chapter. With it, a method keeps its mark from figure to figure, also where some
            others are left out. Names that it lacks follow after it.

    Raises:
        UserError: more than ten methods (the marks would repeat and no longer tell them apart).
    """
    numbers = mark_numbers(names, order)
    if max(numbers.values(), default=0) >= len(MARKS):
        raise UserError(f"Too many methods in one figure, there are only {len(MARKS)} marks: split the figure.")
    return {name: MARKS[number] for name, number in numbers.items()}


def mark_numbers(names: Sequence[str], order: Sequence[str] | None = None) -> dict[str, int]:
    """The place of each name among all methods of the chapter, from 0; those that ``order`` lacks follow after it."""
    ranked = list(dict.fromkeys([*(order or ()), *names]))
    return {name: ranked.index(name) for name in names}


def mark_number(number: int) -> Mark:
    """The mark of method ``number``, counted from 0, without an end: for figures in which the reader ticks the lines.

    From the eleventh on the colours come again, each with another marker and dash than before (up to a hundred).
    """
    turn, colour = divmod(number, len(MARKS))
    other = MARKS[(colour + 3 * turn) % len(MARKS)]  # 3 and 10 share no divisor: all ten markers take their turn
    return replace(MARKS[colour], marker=other.marker, shape=other.shape, dash=other.dash)
