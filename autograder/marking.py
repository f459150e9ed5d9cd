"""From the bytes of a submission to its verdict: what the fast road and nbgrader's road have in common.

An :class:`Assignment` is what the course released, an :class:`Examiner` what judges submissions of it. Nothing of a
student's runs in this process: it is rebuilt here and played in a room.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat

from autograder import chapterdata, received, settings
from autograder.exercise import Case, Exercise, Oracle, Prop, Ref, Step
from autograder.gradebook import grade_id, number
from autograder.room import wire

COURSE = settings.ROOT / "autograder" / "course"
MOST = 64 << 20  # bytes of a submitted notebook that are read


class MarkingError(RuntimeError):
    """Grading cannot begin; one sentence says why and what to do."""


@dataclass(frozen=True)
class Assignment:
    """One chapter as it was released; ``graded`` maps each graded cell's id to its points."""

    stem: str
    title: str
    url: str
    released: nbformat.NotebookNode
    exercises: tuple[Exercise, ...]
    graded: dict[str, float]


@dataclass(frozen=True)
class Examined:
    """A submission's verdict as plain data, with the student's code by exercise; ``key`` says what it hangs on."""

    key: str
    verdict: dict[str, Any] | None  # None: nothing changed since ``key`` was known
    sources: dict[str, str]
    fault: str = ""  # the grader's own, never the student's


def load(stem: str, course: Path = COURSE) -> Assignment:
    """The assignment ``stem`` of the course root ``course``. MarkingError when it was not released."""
    from autograder import checks

    facts = settings.load()
    if stem not in facts.stems:
        raise MarkingError(f"There is no assignment '{stem}'; the course has {', '.join(facts.stems)}.")
    places = [course / "release" / stem / f"{stem}.ipynb", facts.root / "_build" / "notebooks" / f"{stem}.ipynb"]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise MarkingError(f"'{stem}' was not released yet; run 'python -m autograder notebooks' first.")
    released = nbformat.read(path, as_version=4)
    graded = {cell.metadata.nbgrader.grade_id: float(cell.metadata.nbgrader.points) for cell in released.cells
              if cell.metadata.get("nbgrader", {}).get("grade")}
    if "quiz" in graded and not (chapterdata.load(stem) or {}).get("quiz"):
        raise MarkingError(f"The questions of '{stem}' were not built; run 'python -m autograder notebooks' first.")
    exercises = tuple(checks.load(stem).values())
    for exercise in exercises:
        if abs(graded.get(grade_id(exercise.name), -1.0) - exercise.points) > 1e-6:
            raise MarkingError(f"The released '{stem}' and its checks give '{exercise.name}' different points; "
                               "run 'python -m autograder notebooks' again.")
    return Assignment(stem, heading(released) or stem, facts.page_url(stem), released, exercises, graded)


def heading(notebook: nbformat.NotebookNode) -> str:
    """The first top heading of a notebook's Markdown, as plain text."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (match := re.search(r"^# +(.+)$", cell.source, re.MULTILINE)):
            return re.sub(r"[`*_]", "", match[1]).strip()
    return ""


def seed_from(path: Path) -> bytes:
    """The 32 secret bytes in ``path``, in hex; drawn and written, readable by its owner only, when there is no file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    try:
        seed = bytes.fromhex(path.read_text("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        seed = b""
    if len(seed) != 32:
        raise MarkingError(f"{path} holds no seed: 64 hex digits are expected. Remove it and a new one is drawn.")
    return seed


def read_submission(path: Path) -> tuple[bytes, list[str]]:
    """The bytes of a submitted notebook with valid strings, and remarks. No link is followed; OSError as usual."""
    if path.parent.is_symlink():
        raise OSError(errno.ELOOP, "its folder is a link", str(path))
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        return b"", [f"{path.name} is larger than {MOST >> 20} MB, so it was not read."]
    cleaned, _, remarks = received.clean(data)
    return cleaned, [f"{path.name} {remark}." for remark in remarks
                     if f"{remark}." != received.UNREADABLE]  # the rebuild says more


def code_by_exercise(cells: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """For each exercise the source of the last cell, given as (name, source), that defines it.

    >>> code_by_exercise([("f", "def f(): pass"), ("", "x = 1"), ("", "def f(): return 2")], ["f"])
    {'f': 'def f(): return 2'}
    """
    found: dict[str, str] = {}
    wanted = set(names)
    for name, source in cells:
        try:
            defined = {getattr(node, "name", "") for node in ast.parse(source).body} & wanted
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            defined = {name} & wanted
        found.update(dict.fromkeys(defined, source))
    return found


def intake_notes(submissions: Path) -> dict[str, dict[str, list[str]]]:
    """What intake found odd, by student and stem: the ``intake.json`` of a folder, if it has one."""
    try:
        return json.loads((submissions / "intake.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def absorb(digest: Any, value: Any) -> None:
    """Feed plain data, steps and answers into a hash, so that equal digests mean equal questions."""
    if isinstance(value, Step):
        absorb(digest, ["step", value.op, value.name, value.on, value.into, list(value.args), dict(value.kwargs)])
    elif isinstance(value, (Ref, Oracle, Prop)):
        digest.update(f"{type(value).__name__}:{getattr(value, 'source', '')}"
                      f":{getattr(value, 'handle', getattr(value, 'name', ''))}\x1e".encode())
    elif isinstance(value, (list, tuple)):
        digest.update(f"{type(value).__name__}{len(value)}\x1e".encode())
        for item in value:
            absorb(digest, item)
    elif isinstance(value, dict):
        absorb(digest, [list(pair) for pair in value.items()])
    else:
        digest.update(json.dumps(wire.describe(value)).encode() + b"\x1e")
        for blob in wire.blobs(value):
            digest.update(blob)


def question(case: Case) -> list[Any]:
    """What a case asks, beside its draws."""
    return [case.name, case.hint, case.points, case.ordinary, case.draws, case.raises, case.rtol, case.atol,
            case.judge.__code__.co_code.hex() if case.judge else ""]


def scores(verdict: Mapping[str, Any], assignment: Assignment) -> dict[str, float | None]:
    """Points by ``grade_id``; None where the grader itself failed, since nobody can say."""
    points: dict[str, float | None] = {
        grade_id(e["exercise"]): None if e["status"] == "grader" else e["points"] for e in verdict["exercises"]}
    quiz = verdict.get("quiz")
    points["quiz"] = assignment.graded.get("quiz", 0.0) * quiz["score"] / max(quiz["total"], 1) if quiz else 0.0
    return points


def quiz_status(quiz: Mapping[str, Any] | None) -> str:
    """The quiz in two words.

    >>> quiz_status({"score": 9, "total": 10, "complete": True}), quiz_status(None)
    ('complete 9/10', 'missing')
    """
    if not quiz:
        return "missing"
    return f"{'complete' if quiz['complete'] else 'incomplete'} {number(quiz['score'])}/{number(quiz['total'])}"


class Examiner:
    """Judges submissions of some assignments with one set of rooms; a context manager."""

    def __init__(self, assignments: Mapping[str, Assignment], seeds: Mapping[str, bytes],
                 require_isolation: bool = False, turns: str | None = None) -> None:
        from autograder.judge import Expected

        self.assignments, self.seeds = assignments, seeds
        self.expected = {stem: Expected() for stem in assignments}
        self.grounds: dict[str, str] = {}
        self.require_isolation, self.turns = require_isolation, turns

    def __enter__(self) -> Examiner:
        from autograder.room.outside import GraderFault, NotIsolated, Rooms

        try:
            self.rooms = Rooms(workers=1, require_isolation=self.require_isolation, turns=self.turns)
        except (GraderFault, NotIsolated) as error:
            raise MarkingError(str(error)) from error
        return self

    def __exit__(self, *exception: object) -> None:
        self.rooms.close()

    @property
    def isolation(self) -> tuple[str, ...]:
        """One line on each thing that is not isolated on this machine."""
        return tuple(self.rooms.isolation)

    def ground(self, stem: str) -> str:
        """The digest of what a verdict hangs on beside the submission: inputs, answers, tolerances, hints, points."""
        if stem not in self.grounds:
            from autograder.answers import reference_answers

            digest = hashlib.sha256()
            absorb(digest, ["judge 1", settings.load().version])
            for exercise in self.assignments[stem].exercises:
                for case in exercise.cases:
                    absorb(digest, [exercise.name, exercise.cpu_seconds, *question(case)])
                    for index in range(case.draws):
                        answers = reference_answers(exercise, case, self.seeds[stem], index)
                        self.expected[stem][exercise.name, case.name, index] = answers
                        absorb(digest, [list(answers.steps), list(answers.answers)])
            self.grounds[stem] = digest.hexdigest()
        return self.grounds[stem]

    def rebuild(self, stem: str, data: bytes) -> Any:
        """The canonical rebuild of a submission's bytes."""
        from autograder.rebuild import rebuild

        return rebuild(self.assignments[stem].released, data)

    def key(self, stem: str, rebuilt: Any, remarks: Sequence[str]) -> str:
        """What a verdict hangs on: the canonical sources, what is said of them, and the ground."""
        digest = hashlib.sha256(self.ground(stem).encode())
        absorb(digest, [[cell.kind, cell.name, cell.source] for cell in rebuilt.cells])
        absorb(digest, [*rebuilt.remarks, *remarks])
        return digest.hexdigest()

    def verdict(self, stem: str, rebuilt: Any, remarks: Sequence[str]) -> dict[str, Any]:
        """The verdict on a rebuilt submission, as plain data."""
        from autograder.judge import judge

        return judge(rebuilt.cells, (*remarks, *rebuilt.remarks), self.assignments[stem].exercises, self.seeds[stem],
                     self.rooms, self.expected[stem]).as_json()

    def examine(self, stem: str, path: Path | None, known: str = "") -> Examined:
        """The verdict on one file; None for a verdict when its key is ``known``. Never raises: a fault is told."""
        try:
            try:
                data, remarks = read_submission(path) if path else (b"", [f"No {stem}.ipynb was handed in."])
            except OSError as error:
                data, remarks = b"", [f"{path.name} cannot be read: {error.strerror or error}."]
            rebuilt = self.rebuild(stem, data)
            if not data and remarks:  # the remark says more than that nothing could be read
                rebuilt = replace(rebuilt, cells=(), remarks=())
            key = self.key(stem, rebuilt, remarks)
            sources = code_by_exercise([(cell.name, cell.source) for cell in rebuilt.cells],
                                       [e.name for e in self.assignments[stem].exercises])
            return Examined(key, None if key == known else self.verdict(stem, rebuilt, remarks), sources)
        except Exception as error:  # the class goes on; this submission is reported and tried again
            return Examined("", None, {}, f"{type(error).__name__}: {error}")
