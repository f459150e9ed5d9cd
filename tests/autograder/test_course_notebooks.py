"""The course's own notebooks, as ``make notebooks`` left them: empty they raise nowhere and score nothing, solved they
score everything, and no line of an answer is in what students get."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from autograder import chapter, checks, settings, setup_cell, source_notebook
from autograder.check import checked

FACTS = settings.load()
RUN = Path(__file__).parents[1] / "colab" / "run_notebook.py"


@pytest.fixture(scope="module", params=FACTS.stems)
def pair(request):
    """(source, release) of one chapter."""
    course = FACTS.root / "autograder" / "course"
    paths = [course / kind / request.param / f"{request.param}.ipynb" for kind in ("source", "release")]
    if not all(path.is_file() for path in paths):
        pytest.fail("the notebooks are not built; run 'make notebooks' first.")
    return [nbformat.read(path, as_version=4) for path in paths]


def of_kind(notebook, *kinds):
    return [cell for cell in notebook.cells if cell.metadata.course.kind in kinds]


def at_grading(notebook) -> dict:
    """What the cells that run at grading define."""
    namespace: dict = {"__name__": "notebook"}
    for cell in of_kind(notebook, "prelude", "stub", "quiz-answers"):
        exec(compile(cell.source, cell.id, "exec"), namespace)
    return namespace


def points(notebook) -> dict[str, float]:
    namespace = at_grading(notebook)
    return {name: checked(name, namespace)[0].points for name in checks.load(notebook.metadata.course.stem)}


def test_the_notebook_belongs_to_the_chapter_as_it_is_now(pair):
    stem = pair[1].metadata.course.stem
    now = chapter.read(FACTS.root / "chapters" / f"{stem}.md")
    stubs = {cell.metadata.course.name: cell.source for cell in of_kind(pair[1], "stub")}
    assert stubs == {name: cell.source for name, cell in now.stubs.items()}, "run 'make notebooks' again"


def test_untouched_it_scores_nothing(pair):
    assert set(points(pair[1]).values()) == {0.0}


def test_solved_it_scores_everything(pair):
    assert points(source_notebook.solve(pair[1], pair[0])) == {
        name: exercise.points for name, exercise in checks.load(pair[1].metadata.course.stem).items()
    }


def test_no_line_of_an_answer_is_in_it(pair):
    given = {line.strip() for cell in pair[1].cells for line in cell.source.splitlines()}
    for cell in of_kind(pair[0], "stub"):
        stub = {line.strip() for line in cell.metadata.course.stub.splitlines()}
        body = {line.strip() for line in cell.source.splitlines()} - stub
        # A line of a few characters, or a lone return, says nothing of an answer.
        telling = {line for line in body if len(line) > 12 and not re.match(r"#|return \w+$|\"\"\"", line)}
        assert telling
        assert not telling & given, f"the notebook holds a line of the answer to {cell.metadata.course.name}"


def test_markdown_is_plain(pair):
    for cell in pair[1].cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`\n]+`", "", cell.source, flags=re.DOTALL)
            assert not re.search(r":::|\{[a-z:-]+\}`|^\([\w-]+\)=$|\$\$[^$]*\{#", text, re.MULTILINE), cell.source


def test_the_set_up_cell_is_the_same_in_every_notebook(pair):
    assert pair[1].cells[0].source == setup_cell.source(FACTS)


@pytest.mark.slow
@pytest.mark.parametrize("solved", [False, True], ids=["empty", "solved"])
def test_the_whole_notebook_runs_from_top_to_bottom(pair, solved, tmp_path):
    notebook = source_notebook.solve(pair[1], pair[0]) if solved else pair[1]
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    environment = {k: v for k, v in os.environ.items() if k != "COURSE_BOOK"} | {"PYTHONPATH": str(FACTS.root)}
    command = [sys.executable, str(RUN), str(tmp_path / "notebook.ipynb"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["errors"] == []
    assert report["stderr"] == []
    assert report["set_up"] == ""
    assert all(got == (most if solved else 0) for got, most in report["points"].values()), report["points"]
    assert report["quiz"][0] == (report["quiz"][1] if solved else 0)
    assert report["figures"] > 0
