"""Reads the exercises of a chapter from its notebook, and their solutions."""

import ast
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.exercises.checks import CheckResult

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = Path(__file__).parent / "solutions"


@dataclass(frozen=True)
class Exercise:
    """One exercise as the reader finds it: its text, and the cell with the stub and the call of the check."""

    text: str
    code: str

    @property
    def title(self) -> str:
        """The words of the heading."""
        return self.text.splitlines()[0].lstrip("# ")

    @property
    def check(self) -> str:
        """The name of the check that the cell calls."""
        return re.search(r"check\.(\w+)\([^\n]*\)\s*$", self.code).group(1)

    @property
    def stub(self) -> dict[str, ast.stmt]:
        """The statements that the reader completes, by the name they define."""
        return statements("\n".join(self.code.splitlines()[:-1]))


def notebook_path(system: str) -> Path:
    """The chapter of that system. The variable EXERCISES_NOTEBOOK names another notebook, for a draft."""
    draft = os.environ.get("EXERCISES_NOTEBOOK")
    found = [Path(draft)] if draft else list((ROOT / "chapters").glob(f"[0-9]-{system}.ipynb"))
    if not found:
        raise FileNotFoundError(f"chapters/ has no notebook of {system}")
    return found[0]


def notebook_cells(system: str) -> list[dict]:
    """All cells of the chapter, each source joined to one text."""
    cells = json.loads(notebook_path(system).read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def exercises(system: str) -> list[Exercise]:
    """The pairs of cells that carry the tag `exercise`."""
    tagged = [cell for cell in notebook_cells(system) if "exercise" in cell.get("metadata", {}).get("tags", [])]
    assert [cell["cell_type"] for cell in tagged] == ["markdown", "code"] * (len(tagged) // 2)
    return [Exercise(a["source"], b["source"]) for a, b in zip(tagged[::2], tagged[1::2], strict=True)]


def solution_source(system: str) -> str:
    """The module of solutions."""
    return (SOLUTIONS / f"{system}.py").read_text(encoding="utf-8")


def statements(source: str) -> dict[str, ast.stmt]:
    """Top-level assignments and functions, by name."""
    named = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            named[node.name] = node
        elif isinstance(node, ast.Assign):
            named[node.targets[0].id] = node
    return named


def fills(stub: Any, solution: Any) -> bool:
    """Whether the solution is the stub with its holes filled: `...` stands for any expression, or any statements."""
    if isinstance(stub, ast.Constant) and stub.value is ...:
        return isinstance(solution, ast.expr)
    if isinstance(stub, list):
        if not isinstance(solution, list):
            return False
        if stub and isinstance(stub[-1], ast.Expr) and _hole(stub[-1].value):
            return len(solution) >= len(stub) and all(map(fills, stub[:-1], solution))
        return len(stub) == len(solution) and all(map(fills, stub, solution))
    if not isinstance(stub, ast.AST):
        return stub == solution
    return type(stub) is type(solution) and all(
        fills(getattr(stub, field), getattr(solution, field)) for field in stub._fields
    )


def holes(node: ast.AST) -> int:
    """How many dots a stub has."""
    return sum(_hole(part) for part in ast.walk(node))


def _hole(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def answer(code: str, namespace: dict) -> CheckResult:
    """Run a cell and return what its last expression shows."""
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), "the last line of an exercise calls its check"
    exec(compile(tree, "cell", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


def solved(system: str, exercise: Exercise) -> str:
    """The exercise's cell with the solution in the place of the stub."""
    source = solution_source(system)
    found = statements(source)
    quick = ast.literal_eval(found["QUICK"].value) if "QUICK" in found else {}
    parts = [
        f"{name} = {quick[name]}" if name in quick else ast.get_source_segment(source, found[name])
        for name in exercise.stub
    ]
    return "\n\n".join([*parts, exercise.code.splitlines()[-1]])
