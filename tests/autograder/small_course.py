"""A course root for ``bigrams`` with nothing but its stubs: what grading needs, made in a moment from the checks.

The worked answer of every stub is the first right one of ``tests/checks``, so that these tests hang on no chapter.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder import checks
from autograder.source_notebook import BEGIN, END, digest, released, solve

sys.path.append(str(Path(__file__).parents[1] / "checks"))
import answer_sheets

STEM = "bigrams"


def _cell(kind: str, name: str, source: str, **nbgrader):
    make = new_markdown_cell if kind == "text" else new_code_cell
    made = make(source, metadata={"course": {"kind": kind, "name": name}})
    made.id = f"{STEM}-{kind}" + (f"-{name}" if name else "")
    if nbgrader:
        made.metadata["nbgrader"] = {"schema_version": 3, "task": False, **nbgrader}
    return made


def stub(function) -> str:
    signature = inspect.signature(function)
    bare = signature.replace(return_annotation=inspect.Signature.empty, parameters=[
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()])
    return f'def {function.__name__}{bare}:\n    """Fill me in."""\n    raise NotImplementedError'


def source_notebook():
    cells = [_cell("text", "", "# Counting\n\nA chapter."), _cell("prelude", "", "import torch")]
    for name, exercise in checks.load(STEM).items():
        answer = next(sheet.source for sheet in answer_sheets.read(STEM, name) if not sheet.case)
        cell = _cell("stub", name, f"{BEGIN}\n{answer}\n{END}", grade_id=name, solution=True, grade=False, locked=False)
        cell.metadata.course["stub"] = stub(exercise.reference)
        cells += [cell, _cell("check", name, f"check({name})", grade_id=f"check-{name}", solution=False, grade=True,
                              locked=True, points=exercise.points)]
    notebook = new_notebook(cells=cells, metadata={
        "course": {"stem": STEM, "version": "0"}, "language_info": {"name": "python"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}})
    notebook.metadata.course["release"] = digest(released(notebook))
    nbformat.validate(notebook)
    return notebook


def make(root: Path) -> Path:
    """Write ``source`` and ``release`` below ``root``; ``root`` again."""
    source = source_notebook()
    for name, notebook in (("source", source), ("release", released(source))):
        path = root / name / STEM / f"{STEM}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    return root


def notebooks(root: Path):
    """The released and the solved notebook of a course root."""
    blank, source = (nbformat.read(root / name / STEM / f"{STEM}.ipynb", as_version=4)
                     for name in ("release", "source"))
    return blank, solve(blank, source)
