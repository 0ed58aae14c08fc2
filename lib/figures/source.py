"""Lines of the library, shown in a chapter as they stand: never retyped, so never out of date."""

import ast
import inspect
import textwrap
from collections.abc import Callable

from IPython.display import Markdown


def show_source(*objects: Callable | type, docstrings: bool = False) -> Markdown:
    """The source of functions or classes as one highlighted block, each under the name of its module.

    Args:
        docstrings: keep them; by default only the code is shown, and the text around it explains.
    """
    blocks = []
    for thing in objects:
        source = textwrap.dedent(inspect.getsource(thing)).rstrip()
        module = inspect.getmodule(thing).__name__
        blocks.append(f"# {module}\n{source if docstrings else without_docstring(source)}")
    text = "\n\n\n".join(blocks)
    return Markdown(f"```python\n{text}\n```")


def without_docstring(source: str) -> str:
    """The source of one function or class without its own docstring; comments stay."""
    node = ast.parse(source).body[0]
    first = node.body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    if not is_text or len(node.body) == 1:
        return source
    lines = source.splitlines()
    return "\n".join(lines[: first.lineno - 1] + lines[first.end_lineno :]).replace("\n\n\n", "\n\n")
