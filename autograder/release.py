"""Makes the student's notebook with nbgrader's own ``generate_assignment``.

nbgrader's ClearSolutions takes a worked answer out and leaves a line of its own; :class:`RestoreStubs` runs behind it
and puts the chapter's stub back, byte for byte. This module and ``nbgrader_config.py`` both use :func:`configure`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.converters.generate_assignment import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor
from nbgrader.utils import capture_log
from traitlets.config import Config

from autograder.gradebook import find_programs
from autograder.source_notebook import NotebookError, digest, restore


class ReleaseError(NotebookError):
    """One sentence on why nbgrader did not make an assignment."""


class RestoreStubs(NbGraderPreprocessor):
    """Puts the stub that a cell's metadata holds in place of what ClearSolutions left."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        """The cell with its stub; a cell that has none is unchanged."""
        return restore(cell), resources


def configure(config: Config) -> None:
    """Add to nbgrader's configuration what releasing needs: RestoreStubs behind ClearSolutions."""
    steps = list(GenerateAssignment.preprocessors.default_args[0])
    steps.insert(steps.index(ClearSolutions) + 1, RestoreStubs)
    config.GenerateAssignment.preprocessors = steps


def release(course: Path, stems: Iterable[str]) -> list[Path]:
    """The students' notebooks, ``COURSE/release/STEM/STEM.ipynb``, made from ``COURSE/source/STEM/STEM.ipynb``.

    Raises :class:`ReleaseError` when nbgrader fails, or when what it made is not what the release hash stands for.
    """
    find_programs()
    config = Config()
    config.CourseDirectory.root = str(course)
    configure(config)
    made = []
    for stem in stems:
        shutil.rmtree(course / "release" / stem, ignore_errors=True)
        folder = CourseDirectory(config=config, assignment_id=stem)
        result = capture_log(GenerateAssignment(coursedir=folder, config=config, force=True))
        path = course / "release" / stem / f"{stem}.ipynb"
        if not result["success"] or not path.is_file():
            raise ReleaseError(f"nbgrader could not release {stem}: {_reason(result.get('log') or '')}")
        notebook = nbformat.read(path, as_version=4)
        if digest(notebook) != notebook.metadata.course["release"]:
            raise ReleaseError(f"nbgrader changed cells of {stem} that it should leave alone; it is not usable.")
        made.append(path)
    return made


def _reason(log: str) -> str:
    """The last exception in nbgrader's log that says something, or its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Invalid)\b.*:", line)]
    return (errors or lines or ["it gave no reason"])[-1]
