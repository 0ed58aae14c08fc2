"""What all widgets share: the script and the style sheet beside this file, filled with the book's palette."""

from collections.abc import Sequence
from pathlib import Path

from lib.figures.palette import MARKS, mark_number, mark_numbers

_HERE = Path(__file__).parent

_LIGHT = {
    "bg": "#ffffff", "panel": "#f5f7f9", "ink": "#1b2127", "muted": "#525c67", "line": "#7d8793",
    "grid": "#e1e5ea", "faint": "#b3bcc6", "accent": "#0072b2", "accent2": "#d55e00",
}  # fmt: skip
_DARK = {
    "bg": "#14181f", "panel": "#1e242d", "ink": "#e9edf2", "muted": "#aab4c0", "line": "#8390a0",
    "grid": "#2b333e", "faint": "#566273", "accent": "#56b4e9", "accent2": "#ff8c4a",
}  # fmt: skip


def module(name: str) -> str:
    """The script `name`.js of this folder with the shared kit before it: one module without any import.

    A figure in the static page runs from a blob address, where an import could not be resolved.
    """
    return "\n".join((_HERE / f"{part}.js").read_text(encoding="utf-8") for part in ("kit", name))


def _variables(ground: str) -> str:
    colours = dict(_LIGHT if ground == "light" else _DARK)
    colours |= {f"mark{i}": getattr(mark, ground) for i, mark in enumerate(MARKS)}
    return "".join(f"--ptr-{name}:{value};" for name, value in colours.items()) + f"color-scheme:{ground};"


def style() -> str:
    """The style sheet: both sets of colours, chosen by the book's switch, by JupyterLab's, or by the system's."""
    dark = _variables("dark")
    return (
        f".ptr{{{_variables('light')}}}\n"
        f'html[data-theme="dark"] .ptr,body[data-jp-theme-light="false"] .ptr{{{dark}}}\n'
        "@media (prefers-color-scheme:dark){"
        f"html:not([data-theme]) body:not([data-jp-theme-light]) .ptr{{{dark}}}}}\n"
        + (_HERE / "kit.css").read_text(encoding="utf-8")
    )


def mark_states(names: Sequence[str], order: Sequence[str] | None = None) -> list[dict]:
    """For each name its colour variable, marker shape and dash, as the scripts expect them.

    Args:
        names: the methods of this figure.
        order: all methods of the chapter, so that each keeps its mark; names that it lacks follow after it.
    """
    return [
        {
            "name": name,
            "colour": f"var(--ptr-mark{number % len(MARKS)})",
            "shape": mark_number(number).shape,
            "dash": " ".join(map(str, mark_number(number).dash)),
        }
        for name, number in mark_numbers(names, order).items()
    ]


def still(picture: str) -> str:
    """A still SVG in the frame that the living figure will take."""
    return f'<div class="ptr ptr-still">{picture}</div>'
