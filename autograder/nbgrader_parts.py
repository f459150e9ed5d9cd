"""What nbgrader runs in place of its own parts, so that its commands keep the course's rule: no evidence, no points.

``nbgrader autograde`` reads a submission with :class:`CanonicalExporter`, which rebuilds it from the released notebook;
:class:`Judge` has it judged in a room and writes the verdict as plain text, :class:`SaveVerdicts` writes the points.
``nbgrader generate_feedback`` writes the course's page with :class:`FeedbackExporter`. A student's code runs neither in
nbgrader's process nor in a Jupyter kernel.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import Exporter, NotebookExporter
from nbformat.v4 import new_output
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor, SaveAutoGrades
from traitlets.config import Config

from autograder import feedback, gradebook, marking, owners, settings
from autograder.received import moment

Notebook = nbformat.NotebookNode


def configure(config: Config, root: Path, stems: Collection[str]) -> None:
    """Put the course's parts into nbgrader's configuration; ``root`` is the course root."""
    from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata

    gradebook.find_programs()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.ignore = all_but(["timestamp.txt", *stems, *(f"{stem}.ipynb" for stem in stems)])
    config.Autograde.exporter_class = CanonicalExporter
    config.Autograde.sanitize_preprocessors = []
    config.Autograde.autograde_preprocessors = [Judge, SaveVerdicts, AssignLatePenalties, CheckCellMetadata]
    config.Autograde.force = True  # without it a changed submission is skipped silently
    config.Autograde.pre_convert_hook = set_aside
    config.GenerateFeedback.exporter_class = FeedbackExporter
    config.GenerateFeedback.preprocessors = []
    config.GenerateFeedback.force = True


def all_but(names: Collection[str]) -> list[str]:
    """Globs that match every file name except ``names``: what a student adds beside the notebook goes nowhere.

    >>> from fnmatch import fnmatchcase
    >>> globs = all_but(["ab", "abc.x"])
    >>> [name for name in ("ab", "abc.x", "a", "abc", "zz", ".hidden", "abc.xy") if not any(
    ...     fnmatchcase(name, glob) for glob in globs)]
    ['ab', 'abc.x']
    """
    globs = [".*"]
    for prefix in sorted({name[:n] for name in names for n in range(len(max(names, key=len)) + 1)}):
        after = "".join(sorted({name[len(prefix)] for name in names
                                if name.startswith(prefix) and len(name) > len(prefix)}))
        globs.append(f"{prefix}[!{after}]*" if after else f"{prefix}?*")
        if prefix and prefix not in names:
            globs.append(prefix)
    return globs


def set_aside(assignment: str, student: str, notebooks: Sequence[str]) -> None:
    """nbgrader's hook before a submission: a ``timestamp.txt`` that is a link or no time must not stop it."""
    for folder in {Path(name).parent for name in notebooks}:
        stamp = folder / "timestamp.txt"
        if stamp.is_symlink() or (stamp.is_file() and moment(stamp.read_text("utf-8", "replace")[:100]) is None):
            stamp.rename(folder / ".timestamp.refused")


class CanonicalExporter(NotebookExporter):
    """Reads a submission as what the canonical rebuild makes of it; nothing a student hands in makes it fail."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._examiners: dict[str, marking.Examiner] = {}
        self._last: tuple[tuple[str, ...], Any, tuple[str, ...]] | None = None

    def examiner(self, stem: str) -> marking.Examiner:
        """The examiner of one assignment, with its rooms open until this process ends."""
        if stem not in self._examiners:
            import atexit

            course = Path(self.parent.coursedir.root)
            try:
                seeds = {stem: marking.seed_from(course / "seeds" / f"{stem}.seed")}
                made = marking.Examiner({stem: marking.load(stem, course)}, seeds).__enter__()
            except marking.MarkingError as error:
                raise NbGraderException(str(error)) from error
            atexit.register(made.__exit__, None, None, None)
            for line in made.isolation:
                self.log.warning("Not isolated: %s", line)
            self._examiners[stem] = made
        return self._examiners[stem]

    def from_filename(self, filename: str, resources: dict | None = None, **kwargs: Any) -> tuple[str, dict]:
        """The rebuilt notebook as JSON; nbgrader calls this twice, before and after its sanitizing."""
        resources = resources or {}
        info = resources["nbgrader"]
        who = (info["student"], info["assignment"], info["notebook"])
        examiner = self.examiner(info["assignment"])
        if self._last is None or self._last[0] != who or self.parent._sanitizing:
            try:
                data, remarks = marking.read_submission(Path(filename))
            except OSError as error:
                data, remarks = b"", [f"{Path(filename).name} cannot be read: {error.strerror or error}."]
            rebuilt = examiner.rebuild(info["assignment"], data)
            if not data and remarks:
                rebuilt = replace(rebuilt, cells=(), remarks=())
            self._last = (who, rebuilt, tuple(remarks))
        return super().from_notebook_node(nbformat.from_dict(self._last[1].notebook), resources=resources, **kwargs)

    def judged(self) -> dict[str, Any]:
        """The verdict on the submission read last; tried once more where the grader itself failed."""
        (_, stem, _), rebuilt, remarks = self._last
        for _ in range(2):
            verdict = self.examiner(stem).verdict(stem, rebuilt, remarks)
            if all(e["status"] != "grader" for e in verdict["exercises"]):
                break
        return verdict


class Judge(NbGraderPreprocessor):
    """Has the submission judged, and leaves the verdict as text in each exercise's check cell and in the metadata."""

    def preprocess(self, nb: Notebook, resources: dict) -> tuple[Notebook, dict]:
        """The notebook with its verdict; ``resources["course_scores"]`` holds the points."""
        info = resources["nbgrader"]
        verdict = self.parent.judged()
        nb.metadata.setdefault("course", {})["verdict"] = json.loads(json.dumps(verdict))
        said = {gradebook.grade_id(e["exercise"]): in_words(e) for e in verdict["exercises"]}
        said["quiz"] = marking.quiz_status(verdict.get("quiz"))
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            cell.outputs, cell.execution_count = [], None
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if cell.metadata.get("nbgrader", {}).get("grade") and name in said:
                cell.outputs = [new_output("stream", name="stdout", text=feedback.plain(said[name]) + "\n")]
        stem = info["assignment"]
        resources["course_scores"] = marking.scores(verdict, self.parent.examiner(stem).assignments[stem])
        for name, points in resources["course_scores"].items():
            if points is None:
                self.log.error("The grader itself failed on %s of student %s: no points were given or taken; "
                               "run nbgrader autograde again.", name, info["student"])
        return nb, resources


def in_words(exercise: dict[str, Any]) -> str:
    """One exercise's verdict as plain text, for the cell that nbgrader's formgrader shows."""
    lines = [f"{exercise['exercise']}: {exercise['points']:g} of {exercise['max_points']:g} ({exercise['status']})"]
    for case in exercise["cases"]:
        words = feedback.CASE_WORDS.get(case["status"], case["status"])
        where = f", line {case['line']}" if case["line"] else ""
        lines.append(f"  {case['case']}: {case['message'] or words}{where}")
    return "\n".join([*lines, *exercise["notes"]])


class SaveVerdicts(SaveAutoGrades):
    """Writes the points that the judge gave, fractions included, as one commit; no cell's output is ever read."""

    def preprocess(self, nb: Notebook, resources: dict) -> tuple[Notebook, dict]:
        """The notebook as it came, its points in the gradebook."""
        info = resources["nbgrader"]
        self.notebook_id, self.assignment_id, self.student_id = info["notebook"], info["assignment"], info["student"]
        with gradebook.connect(info["db_url"]) as self.gradebook, gradebook.one_commit(self.gradebook):
            return NbGraderPreprocessor.preprocess(self, nb, resources)

    def _add_score(self, cell: Notebook, resources: dict) -> None:
        name = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(name, self.notebook_id, self.assignment_id, self.student_id)
        gradebook.put_score(grade, resources["course_scores"].get(name, 0.0))


class FeedbackExporter(Exporter):
    """Writes the page a student reads, from the verdict in the autograded notebook and what the gradebook says now."""

    file_extension = ".html"
    output_mimetype = "text/html"

    def from_filename(self, filename: str, resources: dict | None = None, **kwargs: Any) -> tuple[str, dict]:
        """The HTML of one student's page."""
        resources = self._init_resources(resources or {})
        info, coursedir = resources["nbgrader"], self.parent.coursedir
        stem, student = info["assignment"], info["student"]
        nb = nbformat.read(filename, as_version=4)
        verdict = nb.metadata.get("course", {}).get("verdict")
        if verdict is None:
            raise NbGraderException(f"{filename} holds no verdict; run 'nbgrader autograde {stem}' first.")
        submitted = Path(coursedir.root, coursedir.submitted_directory)
        with gradebook.connect(info["db_url"]) as book:
            record = gradebook.read(book, stem, student)
        html = feedback.page(
            verdict, student=student, shown=owners.Roster(submitted / "names.csv").shown.get(student, ""),
            title=marking.heading(nb), url=settings.load().page_url(stem), sources=sources_in(nb), record=record,
            remarks=marking.intake_notes(submitted).get(student, {}).get(stem, ()))
        return html, resources


def sources_in(nb: Notebook) -> dict[str, str]:
    """The student's code by exercise, from an autograded notebook."""
    mine = [(cell.metadata["course"]["name"], cell.source) for cell in nb.cells
            if cell.metadata.get("course", {}).get("kind") in ("stub", "added")]
    return marking.code_by_exercise(mine, [e["exercise"] for e in nb.metadata["course"]["verdict"]["exercises"]])
