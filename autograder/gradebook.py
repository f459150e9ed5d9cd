"""Verdicts into nbgrader's gradebook, through its own API, and out of it again as ``grades.csv``.

There is one writer, and a submission is one commit. What a person graded stays as it is: it is flagged for another look
only when the automatic score under it moved.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from nbgrader.api import Grade, Gradebook

COLUMNS = ("student", "assignment", "exercise", "points", "max_points", "status")
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet takes for the start of a formula


class GradebookError(RuntimeError):
    """The gradebook cannot take these verdicts; one sentence says why."""


@dataclass(frozen=True)
class Standing:
    """What the gradebook says of one exercise of one student; a manual score and extra credit count."""

    points: float | None  # None: nobody could say yet
    max_points: float
    automatic: float | None = None
    by_hand: bool = False
    flagged: bool = False


@dataclass(frozen=True)
class Record:
    """What the gradebook says of one submission: by ``grade_id``, with what a person wrote beside it."""

    standings: dict[str, Standing] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    penalty: float = 0.0


def grade_id(exercise: str) -> str:
    """The id of the cell that carries an exercise's points.

    >>> grade_id("normalize"), grade_id("quiz")
    ('check-normalize', 'quiz')
    """
    return exercise if exercise == "quiz" else f"check-{exercise}"


def find_programs() -> None:
    """Put this environment's programs on PATH: nbgrader starts ``alembic`` by its bare name for a new database."""
    here = str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if here not in paths:
        os.environ["PATH"] = os.pathsep.join([here, *paths])


@contextmanager
def connect(url: str) -> Iterator[Gradebook]:
    """nbgrader's gradebook at a SQLAlchemy URL; GradebookError when it cannot be opened."""
    from nbgrader.api import Gradebook
    from sqlalchemy.exc import SQLAlchemyError

    find_programs()
    logging.getLogger("tornado.application").addHandler(logging.NullHandler())  # nbgrader logs what it raises as well
    try:
        book = Gradebook(url)
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise GradebookError(f"The gradebook {shown(url)} cannot be opened: {reason(error)}.") from error
    with book:
        yield book


def shown(url: str) -> str:
    """A database URL without its password.

    >>> shown("postgresql://ada:secret@db/course")
    'postgresql://ada:***@db/course'
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no SQLAlchemy URL)"


@contextmanager
def one_commit(book: Gradebook) -> Iterator[None]:
    """Everything inside becomes one commit, or none: nbgrader's own methods commit after every step.

    GradebookError when the database does not take it.
    """
    from nbgrader.api import InvalidEntry
    from sqlalchemy.exc import SQLAlchemyError

    book.db.commit = book.db.flush
    try:
        yield
        del book.db.commit
        book.db.commit()
    except BaseException as error:
        vars(book.db).pop("commit", None)
        book.db.rollback()
        if isinstance(error, (SQLAlchemyError, InvalidEntry)):
            raise GradebookError(f"The gradebook cannot be written: {reason(error)}.") from error
        raise


def reason(error: Exception) -> str:
    """What a database says of an error, in one line."""
    return re.sub(r"^\(\S+\) ", "", str(getattr(error, "orig", None) or error).splitlines()[0])


def ensure_assignment(url: str, stem: str, released: NotebookNode) -> None:
    """Write the assignment, its notebook and its cells as ``nbgrader generate_assignment`` would.

    GradebookError when the gradebook holds submissions of a ``stem`` with other graded cells.
    """
    from copy import deepcopy

    from nbgrader.api import InvalidEntry
    from nbgrader.preprocessors import SaveCells
    from sqlalchemy.exc import SQLAlchemyError

    with connect(url) as book, one_commit(book):
        book.update_or_create_assignment(stem)
    resources = {"nbgrader": {"notebook": stem, "assignment": stem, "db_url": url}}
    try:
        SaveCells().preprocess(deepcopy(released), resources)
    except RuntimeError as error:
        raise GradebookError(
            f"The gradebook {shown(url)} holds submissions of an older '{stem}' with other graded cells; "
            "grade into a new --out or --db.") from error
    except (SQLAlchemyError, InvalidEntry) as error:
        raise GradebookError(f"The gradebook {shown(url)} cannot be written: {reason(error)}.") from error


def put_score(grade: Grade, points: float | None) -> None:
    """Set the automatic score of one nbgrader grade. None means that the grader could not say: a person is asked."""
    if points is None:
        grade.needs_manual_grade = True
        return
    moved = grade.auto_score is not None and abs(grade.auto_score - points) > 1e-9
    grade.auto_score = float(points)
    if grade.manual_score is None:
        grade.needs_manual_grade = False
    elif moved:
        grade.needs_manual_grade = True


def save(book: Gradebook, stem: str, student: str, scores: Mapping[str, float | None],
         timestamp: str | None = None) -> None:
    """Write one submission's points, by ``grade_id``, as one commit; a graded cell that is not named gets 0."""
    when = {"timestamp": timestamp} if timestamp else {}
    with one_commit(book), book.db.no_autoflush:
        book.update_or_create_student(student)
        book.update_or_create_submission(stem, student, **when)
        for grade in book.find_submission_notebook(stem, stem, student).grades:
            put_score(grade, scores.get(grade.name, 0.0))


def read(book: Gradebook, stem: str, student: str) -> Record:
    """What the gradebook now says of one submission; empty when it knows of none."""
    from nbgrader.api import MissingEntry

    try:
        notebook = book.find_submission_notebook(stem, stem, student)
    except MissingEntry:
        return Record()
    standings = {}
    for grade in notebook.grades:
        by_hand = grade.manual_score is not None or bool(grade.extra_credit)
        unknown = grade.auto_score is None and grade.manual_score is None
        standings[grade.name] = Standing(
            points=None if unknown else float(grade.score), max_points=float(grade.max_score),
            automatic=grade.auto_score, by_hand=by_hand, flagged=bool(grade.needs_manual_grade))
    comments = {c.name: c.manual_comment for c in notebook.comments if c.manual_comment}
    return Record(standings, comments, float(notebook.late_submission_penalty or 0.0))


def safe(text: str) -> str:
    """``text`` as a spreadsheet may hold it: what would be read as a formula gets an apostrophe before it.

    >>> safe("=1+1"), safe("ada")
    ("'=1+1", 'ada')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def number(points: float) -> float | int:
    """Points as a table shows them: no trailing zero, no rounding noise.

    >>> number(2.0), number(0.1 + 0.2)
    (2, 0.3)
    """
    rounded = round(points, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``grades.csv``: every text quoted, points as numbers (empty where nobody could say), UTF-8."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            values = [row[column] for column in COLUMNS]
            writer.writerow(["" if v is None else safe(v) if isinstance(v, str) else number(v) for v in values])
    part.replace(path)


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``grades.csv`` that :func:`write_csv` wrote; none when there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    for row in rows:
        for column in ("points", "max_points"):
            row[column] = float(row[column]) if row[column] else None
    return rows
