"""What the tests of the autograder share: a small released notebook, and one set of rooms for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import nbformat
import pytest
from nbformat import NotebookNode
from toys import RIGHT, STUBS, TOYS

from autograder.room.outside import Limits, Rooms

BANK = {"chapter": "toys", "pass_above": 0.75, "questions": [
    {"id": "half", "type": "numeric", "prompt": "1/2?", "answer": 0.5, "tolerance": 0.01, "why": "Halved."},
    {"id": "pick", "type": "single", "prompt": "a?", "options": [
        {"id": "a", "text": "a", "correct": True, "why": "Yes."}, {"id": "b", "text": "b", "why": "No."}]}]}
ANSWERS = 'answers = {"half": None, "pick": ""}'


def cell(number: int, kind: str, source: str, name: str = "", grade_id: str = "") -> NotebookNode:
    """A cell of a released notebook, with the metadata that the course and nbgrader give it."""
    made = nbformat.v4.new_markdown_cell(source) if kind == "text" else nbformat.v4.new_code_cell(source)
    made["id"] = f"toys-{number:02}-{kind}" + (f"-{name}" if name else "")
    made.metadata["course"] = {"kind": kind, "name": name}
    if grade_id:
        graded = kind in ("check", "quiz-check")
        made.metadata["nbgrader"] = {"schema_version": 3, "grade_id": grade_id, "grade": graded, "locked": graded,
                                     "solution": not graded, "task": False, **({"points": 1} if graded else {})}
    return made


def build_notebook() -> NotebookNode:
    """The released notebook of the toy exercises: imports, a demonstration, a stub and a check each, and a quiz."""
    cells = [cell(0, "text", "# Toys"), cell(1, "setup", "import sys  # the set-up cell"),
             cell(2, "prelude", "import math\n\nimport torch"), cell(3, "demo", "from autograder import check")]
    for name in TOYS:
        cells += [cell(len(cells), "text", f"Write {name}.", name),
                  cell(len(cells) + 1, "stub", STUBS[name], name, name),
                  cell(len(cells) + 2, "check", f"check({name})", name, f"check-{name}"),
                  cell(len(cells) + 3, "demo", f"print({name})  # a demonstration", name)]
    cells += [cell(len(cells), "quiz-answers", ANSWERS, "", "quiz-answers"),
              cell(len(cells) + 1, "quiz-check", 'check_quiz("toys", answers)', "", "quiz")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.nbformat_minor = 5
    notebook.metadata["course"] = {"stem": "toys", "version": "1", "release": "5e" * 32}
    return notebook


def fill(notebook: NotebookNode, sources: dict[str, str]) -> NotebookNode:
    """The notebook with sources in the stub cells of those names (and ``quiz`` in the cell of the answers)."""
    for item in notebook.cells:
        course = item.metadata.get("course", {})
        if course.get("kind") == "stub" and course["name"] in sources:
            item.source = sources[course["name"]]
        elif course.get("kind") == "quiz-answers" and "quiz" in sources:
            item.source = sources["quiz"]
    return notebook


@pytest.fixture
def released_notebook() -> Callable[..., NotebookNode]:
    """A function that makes the released notebook of the toys, with whatever sources are given filled in."""
    return lambda **sources: fill(build_notebook(), sources)


@pytest.fixture
def solved() -> dict[str, str]:
    """A right answer to each toy."""
    return dict(RIGHT)


@pytest.fixture(scope="session")
def rooms() -> Iterator[Rooms]:
    """Rooms with short limits, from one warm parent."""
    with Rooms(workers=2, limits=Limits(cpu=1.0, total_cpu=30.0, memory_mb=400, processes=24)) as made:
        yield made
