"""What holds for the exercises of every chapter: stub fails, solution passes, nothing leaks."""

import ast
import importlib
import re

import pytest

from lib.exercises.checks import EMPTY, CheckResult
from tests.exercises.cells import (
    ROOT,
    SOLUTIONS,
    answer,
    exercises,
    fills,
    holes,
    notebook_cells,
    notebook_path,
    solution_source,
    solved,
    statements,
)

SYSTEMS = sorted(path.stem for path in SOLUTIONS.glob("*.py") if path.stem != "__init__")
LONGEST_STUB = 15
DISTINCTIVE = 15


def namespace(system: str) -> dict:
    """What the cells before the exercises have imported."""
    return {"torch": importlib.import_module("torch"), "check": importlib.import_module(f"lib.exercises.{system}")}


def pairs():
    """Every exercise of every chapter, under its own name."""
    for system in SYSTEMS:
        try:
            found = exercises(system)
        except OSError:
            continue  # test_five_or_more_exercises says that the chapter is missing
        for number, exercise in enumerate(found, 1):
            yield pytest.param(system, exercise, id=f"{system}-{number}-{exercise.check}")


PAIRS = list(pairs())


@pytest.mark.parametrize("system", SYSTEMS)
def test_five_or_more_exercises_each_with_its_own_check(system):
    found = exercises(system)
    assert len(found) >= 5
    assert len({exercise.check for exercise in found}) == len(found)
    checks = namespace(system)["check"]
    own = {name: value for name, value in vars(checks).items() if getattr(value, "__module__", "") == checks.__name__}
    public = {name for name, value in own.items() if hasattr(value, "__wrapped__")}
    assert {exercise.check for exercise in found} == public, "a check that no exercise calls, or the reverse"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_checks_are_imported_before_the_first_exercise(system):
    sources = []
    for cell in notebook_cells(system):
        if "exercise" in cell.get("metadata", {}).get("tags", []):
            break
        if cell["cell_type"] == "code":
            sources.append(cell["source"])
    assert f"from lib.exercises import {system} as check" in "\n".join(sources)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_kinds_are_several(system):
    kinds = {exercise.text.splitlines()[2].strip("*").split(" · ")[0] for exercise in exercises(system)}
    assert len(kinds) >= 4, kinds


@pytest.mark.parametrize(("system", "exercise"), PAIRS)
def test_the_text_says_kind_minutes_and_difficulty(system, exercise):
    heading, _, facts = exercise.text.splitlines()[:3]
    assert re.fullmatch(r"### Exercise \d+: \S.*", heading)
    assert re.fullmatch(r"\*\S[^·]* · \d+ minutes · (easy|medium|hard|open)\*", facts)


@pytest.mark.parametrize(("system", "exercise"), PAIRS)
def test_the_stub_is_short_and_has_holes(system, exercise):
    assert len(exercise.code.splitlines()) <= LONGEST_STUB
    assert sum(map(holes, exercise.stub.values())) >= 1


@pytest.mark.parametrize(("system", "exercise"), PAIRS)
def test_the_stub_does_not_pass_and_says_what_to_do(system, exercise):
    verdict = answer(exercise.code, namespace(system))
    assert isinstance(verdict, CheckResult)
    assert not verdict.passed
    assert verdict.hint == EMPTY


@pytest.mark.parametrize(("system", "exercise"), PAIRS)
def test_the_solution_passes(system, exercise):
    verdict = answer(solved(system, exercise), namespace(system))
    assert verdict.passed, verdict
    assert len(verdict.hint.split()) >= 8, "a right answer deserves a closing remark"


@pytest.mark.parametrize(("system", "exercise"), PAIRS)
def test_the_stub_is_the_solution_with_holes(system, exercise):
    solution = statements(solution_source(system))
    for name, stub in exercise.stub.items():
        assert name in solution, f"{name} has no solution"
        assert fills(stub, solution[name]), f"the solution of {name} changes more than the holes of its stub"
        assert holes(solution[name]) == 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_nothing_leaks(system):
    """No line of a solution stands in a chapter, sources and outputs, or in the checks that a reader may open."""
    source = solution_source(system)
    found = statements(source)
    still_open = ast.literal_eval(found["OPEN"].value) if "OPEN" in found else ()
    known = {line.strip() for exercise in exercises(system) for line in exercise.code.splitlines()}
    secret = set()
    for exercise in exercises(system):
        for name in exercise.stub:
            if name not in still_open:
                secret |= {line.strip() for line in ast.get_source_segment(source, found[name]).splitlines()}
    secret |= {line.strip() for line in source.splitlines() if line.startswith("#") and "=" in line}
    secret = {line for line in secret if len(line) >= DISTINCTIVE and line not in known}
    assert len(secret) >= len(exercises(system)), "the search has too little to look for"

    places = [notebook_path(system), *(ROOT / "lib" / "exercises").glob("*.py")]
    places += [path for path in (ROOT / "chapters").rglob("*") if path.suffix in (".md", ".ipynb")]
    for path in set(places):
        text = path.read_text(encoding="utf-8").replace('\\"', '"')
        leaked = [line for line in secret if line in text]
        assert not leaked, f"{path}: {leaked}"


def test_holes_take_expressions_and_statements_and_nothing_else():
    def same(stub, solution):
        return fills(ast.parse(stub).body, ast.parse(solution).body)

    assert same("a = ...", "a = f(1) + 2")
    assert same("def f(x):\n    ...", "def f(x):\n    y = x\n    return y")
    assert same("return_ = [... for t in ts]", "return_ = [t + 1 for t in ts]")
    assert not same("def f(x):\n    ...", "def f(x, y):\n    return y")
    assert not same("a = g(...)", "a = f(1)")
    assert not same("a = ...\nb = 2", "a = 1\nb = 3")
    assert not same("a = ...", "a = 1\nc = 2")
