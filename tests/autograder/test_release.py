"""nbgrader's own generate_assignment, with the course's one preprocessor behind ClearSolutions."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.preprocessors import ClearSolutions
from traitlets.config import Config

from autograder import gradebook, release, source_notebook
from autograder.release import ReleaseError, RestoreStubs

STUB = 'def f(x):\n    """Two  spaces, a tab\t, and é stay."""\n\n    raise NotImplementedError'


def source_cell(stub: str = STUB):
    facts = {"schema_version": 3, "grade_id": "f", "solution": True, "grade": False, "locked": False, "task": False}
    metadata = {"course": {"kind": "stub", "name": "f", "stub": stub}, "nbgrader": facts}
    source = "### BEGIN SOLUTION\ndef f(x):\n    return x\n### END SOLUTION"
    return new_code_cell(source, metadata=metadata, id="toy-stub-f")


def write(course, cells):
    notebook = new_notebook(cells=cells, metadata={"course": {"stem": "toy"}})
    notebook.metadata.course["release"] = source_notebook.digest(source_notebook.released(notebook))
    path = course / "source" / "toy" / "toy.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def test_restore_stubs_runs_right_behind_clear_solutions():
    config = Config()
    release.configure(config)
    steps = config.GenerateAssignment.preprocessors
    assert steps[steps.index(ClearSolutions) + 1] is RestoreStubs


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A course folder after its first release: making nbgrader's database takes seconds, so the others copy it."""
    course = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/bin:/bin")  # as when .venv/bin/python is called by its path
        write(course, [source_cell()])
        release.release(course, ["toy"])
    return course


@pytest.fixture
def course(first, tmp_path):
    shutil.copy(first / "gradebook.db", tmp_path / "gradebook.db")
    return tmp_path


def test_a_stub_comes_back_byte_for_byte(first):
    made = nbformat.read(first / "release" / "toy" / "toy.ipynb", as_version=4)
    assert made.cells[0].source == STUB
    assert made.cells[0].id == "toy-stub-f"
    assert "stub" not in made.cells[0].metadata.course


def test_nbgraders_programs_are_found_where_the_virtual_environment_is_not_on_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin")
    gradebook.find_programs()
    gradebook.find_programs()
    assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]


def test_a_failure_of_nbgrader_is_one_sentence(course):
    write(course, [source_cell(), source_cell()])
    with pytest.raises(ReleaseError, match="nbgrader could not release toy: ") as error:
        release.release(course, ["toy"])
    assert "\n" not in str(error.value)


def test_a_release_that_is_not_what_was_planned_is_refused(course):
    write(course, [source_cell()])
    path = course / "source" / "toy" / "toy.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("Two  spaces", "Two spaces"), encoding="utf-8")
    with pytest.raises(ReleaseError, match="should leave alone"):
        release.release(course, ["toy"])
