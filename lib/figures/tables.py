"""A small table of results as Markdown."""

from collections.abc import Mapping, Sequence

from lib.errors import UserError


def markdown_table(rows: Sequence[Mapping], *, best: Mapping[str, str] | None = None, digits: int = 3) -> str:
    """Rows of equal keys as a Markdown table; the best entry of a column is bold.

    Args:
        rows: one dict a row, all with the same keys. Numbers are rounded to `digits` significant digits, `None` is a
            dash (nobody measured it).
        best: column -> "low" or "high": which of its entries is bold.

    Raises:
        UserError: no row, keys that differ, or a `best` that is neither "low" nor "high".
    """
    if not rows:
        raise UserError("markdown_table: there is no row.")
    columns = list(rows[0])
    if any(list(row) != columns for row in rows):
        raise UserError("markdown_table: all rows need the same columns in the same order.")
    winners = {}
    for column, which in (best or {}).items():
        if which not in ("low", "high"):
            raise UserError(f'markdown_table: best[{column!r}] is "low" or "high", not {which!r}.')
        numbers = [row[column] for row in rows if isinstance(row[column], int | float)]
        if numbers:
            winners[column] = min(numbers) if which == "low" else max(numbers)

    def cell(column: str, value) -> str:
        if value is None:
            return "–"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        text = str(value) if isinstance(value, int) else f"{value:.{digits}g}"
        return f"**{text}**" if winners.get(column) == value else text

    numeric = {c for c in columns if all(isinstance(r[c], int | float | None) for r in rows)}
    lines = ["| " + " | ".join(columns) + " |"]
    lines.append("|" + "|".join("---:" if c in numeric else "---" for c in columns) + "|")
    lines += ["| " + " | ".join(cell(c, row[c]) for c in columns) + " |" for row in rows]
    return "\n".join(lines)
