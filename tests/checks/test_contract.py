"""Stub, solution and reference agree on every ``def`` line, and the solutions get every point."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from autograder import chapter, checks
from autograder.casework import run_exercise
from autograder.steps import LocalPlayer

ROOT = Path(__file__).resolve().parents[2]
STEMS = checks.stems()


def parts(stem: str) -> tuple[chapter.Chapter, dict[str, chapter.Solution]]:
    read = chapter.read(ROOT / "chapters" / f"{stem}.md")
    return read, chapter.read_solutions(ROOT / "solutions" / f"{stem}.md", read)


@pytest.mark.parametrize("stem", STEMS)
def test_stub_solution_and_reference_have_the_same_def_line(stem):
    read, solutions = parts(stem)
    exercises = checks.load(stem)
    assert list(read.stubs) == list(solutions) == list(exercises), "the same exercises in the same order everywhere"
    for name, stub in read.stubs.items():
        reference = chapter.signatures(inspect.getsource(exercises[name].reference), name)
        assert chapter.signatures(stub.source, name) == chapter.signatures(solutions[name].source, name) == reference


@pytest.mark.parametrize("stem", STEMS)
def test_a_stub_says_what_is_wanted_and_does_nothing(stem):
    for name, stub in parts(stem)[0].stubs.items():
        body = ast.parse(stub.source).body[0].body
        assert len(body) == 2, f"{name}: a docstring and a raise, nothing else"
        assert len(ast.get_docstring(ast.parse(stub.source).body[0])) > 200
        assert ast.unparse(body[1]) == "raise NotImplementedError"


@pytest.mark.parametrize("stem", STEMS)
def test_solutions_with_the_prelude_alone_get_every_point(stem):
    read, solutions = parts(stem)
    for name, exercise in checks.load(stem).items():
        namespace: dict = {}
        for cell in [*read.of("prelude"), solutions[name]]:
            exec(compile(cell.source, f"<{name}>", "exec"), namespace)
        for number in range(5):
            verdict = run_exercise(exercise, LocalPlayer(namespace), number.to_bytes(32, "big"))
            assert verdict.points == exercise.points, [case for case in verdict.cases if case.status != "right"]


@pytest.mark.parametrize("stem", STEMS)
def test_the_page_of_solutions_imports_torch_and_numpy_only(stem):
    import jupytext

    for cell in jupytext.read(ROOT / "solutions" / f"{stem}.md").cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                    [node.module] if isinstance(node, ast.ImportFrom) else [])
                assert {name.split(".")[0] for name in names} <= {"torch", "numpy", "math"}
