"""From the cells of one submission to its verdict, formed here, where nothing of the student's ever runs.

Steps and seeds stay on this side; a room plays the student's functions and sends plain data, which
:mod:`autograder.casework` holds against the reference. No evidence, no points; and what the grader itself could not do
is tried again, and then said, never scored zero.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from autograder import chapterdata, quiz
from autograder.casework import run_exercise
from autograder.exercise import CaseVerdict, Exercise, Verdict
from autograder.room.outside import GraderFault, Room, Rooms

ATTEMPTS = 3  # at an exercise, when it was the grader that failed
ROOMS = 6  # opened for one submission: whatever breaks its room again and again has had its chance
WAITS = 3  # exercises that may use up their time on the clock before the others are not run any more


class Expected(dict):
    """What the reference answers, computed once: pass the same object for every submission judged with one seed."""


@dataclass(frozen=True)
class SubmissionVerdict:
    """What became of one submission; plain data all through.

    ``quiz`` is None without a bank, else a dict with ``score``, ``total``, ``complete`` and the ``questions``.
    """

    stem: str
    exercises: tuple[Verdict, ...]
    quiz: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def points(self) -> float:
        """What the exercises earned, the quiz not counted."""
        return sum(verdict.points for verdict in self.exercises)

    @property
    def max_points(self) -> float:
        """The most that the exercises can earn."""
        return sum(verdict.max_points for verdict in self.exercises)

    @property
    def failed(self) -> bool:
        """Whether the grader failed on any exercise: then no grade may be written."""
        return any(verdict.status == "grader" for verdict in self.exercises)

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON carries it."""
        return {**asdict(self), "points": self.points, "max_points": self.max_points}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SubmissionVerdict:
        """The verdict that :meth:`as_json` wrote.

        >>> verdict = SubmissionVerdict("toys", (_blank(Exercise("f", "toys", abs, ()), "missing"),), seconds=0.5)
        >>> SubmissionVerdict.from_json(verdict.as_json()) == verdict
        True
        """
        exercises = tuple(Verdict(**{**entry, "cases": tuple(CaseVerdict(**case) for case in entry["cases"]),
                                     "notes": tuple(entry["notes"])}) for entry in data["exercises"])
        return cls(data["stem"], exercises, data["quiz"], tuple(data["remarks"]), data["seconds"])


def judge(cells: Sequence[Any], remarks: Iterable[str], exercises: Iterable[Exercise] | Mapping[str, Exercise],
          seed: bytes, rooms: Rooms, expected: Expected | None = None,
          bank: Mapping[str, Any] | None = None) -> SubmissionVerdict:
    """The verdict on one submission: ``cells`` as :func:`autograder.rebuild.rebuild` gives them.

    ``bank`` is the chapter's question bank (without it, the one that was built with the notebooks). Never raises for
    anything a student did; an exercise that the grader could not judge has the status ``grader``.
    """
    started = time.monotonic()
    exercises = tuple(exercises.values() if isinstance(exercises, Mapping) else exercises)
    stem = exercises[0].stem if exercises else ""
    bank = bank if bank is not None else (chapterdata.load(stem) or {}).get("quiz")
    expected = Expected() if expected is None else expected
    sitting = _Sitting(cells, seed, rooms, expected)
    answers = None
    if cells:
        with rooms.turns.shared():
            if bank:  # first, while nothing that was drawn has entered the room and could come out among the answers
                answers = sitting.answers()
            verdicts = {exercise.name: sitting.judge(exercise) for exercise in exercises}
            sitting.close()
        again = [exercise for exercise in exercises if exercise.name in sitting.waited]
        if again:  # only the clock said so: once more, with the machine to itself
            with rooms.turns.alone():
                second = _Sitting(cells, seed, rooms, expected, alone=True)
                verdicts |= {exercise.name: second.judge(exercise) for exercise in again}
                second.close()
    else:
        verdicts = {exercise.name: _blank(exercise, "missing") for exercise in exercises}
    return SubmissionVerdict(stem, tuple(verdicts.values()), _quiz(bank, answers) if bank else None,
                             (*remarks, *sitting.remarks), time.monotonic() - started)


def _quiz(bank: Mapping[str, Any], answers: Any) -> dict[str, Any]:
    """The quiz's result as plain data; without answers, nothing is right."""
    return asdict(quiz.score(bank, {} if answers is None else answers))


@dataclass
class _Sitting:
    """The rooms of one submission, one after the other, and what it has used so far."""

    cells: Sequence[Any]
    seed: bytes
    rooms: Rooms
    expected: Expected
    alone: bool = False
    room: Room | None = None
    opened: int = 0
    spent: float = 0.0  # CPU seconds in rooms that are closed
    remarks: tuple[str, ...] = ()
    waited: list[str] = field(default_factory=list)

    def judge(self, exercise: Exercise) -> Verdict:
        """The verdict on one exercise, in a process of its own."""
        why = ""
        for _ in range(ATTEMPTS):
            if len(self.waited) >= WAITS and not self.alone:
                self.waited.append(exercise.name)
                return _blank(exercise, "grader")
            if self.used() > self.rooms.limits.total_cpu:
                return _blank(exercise, "wrong", "Not run: the functions before it used all the time a notebook has.")
            try:
                room = self._open()
                with room.player(exercise.name, exercise.cpu_seconds) as player:
                    verdict = run_exercise(exercise, player, self.seed, self.expected)
            except GraderFault as error:
                why = str(error)
                self.close()
                continue
            except Exception as error:  # nobody thought of this answer: a person has to look, and the class goes on
                why = f"The grader itself failed on this exercise ({type(error).__name__})."
                self.close()
                continue
            verdict = replace(verdict, memory_mb=round(player.memory_mb, 1))
            if verdict.status != "grader" or not (player.dead and player.dead.kind == "grader"):
                if (player.wall_only or room.wall_only) and not self.alone:
                    self.waited.append(exercise.name)
                return verdict
            self.close()
        return _blank(exercise, "grader", why or "The grader itself failed on this exercise.")

    def answers(self) -> Any:
        """What the quiz's cell holds."""
        try:
            return self._open().value("answers")
        except GraderFault:
            return None

    def used(self) -> float:
        """CPU seconds so far."""
        return self.spent + (self.room.spent if self.room else 0.0)

    def _open(self) -> Room:
        """The room that is open, or another where that one is broken."""
        if self.room and not self.room.loaded and self.opened < ROOMS:
            self.close()
        if self.room is None:
            self.room = self.rooms.open(self.cells, self.alone)
            self.opened += 1
            self.remarks = self.remarks or self.room.report
        return self.room

    def close(self) -> None:
        """Close the room."""
        if self.room:
            self.spent += self.room.spent
            self.room.close()
            self.room = None


def _blank(exercise: Exercise, status: str, note: str = "") -> Verdict:
    """A verdict on an exercise whose cases were not run."""
    case_status = status if status in ("missing", "grader") else "skipped"
    cases = tuple(CaseVerdict(case.name, case_status, 0.0, case.points) for case in exercise.cases)
    return Verdict(exercise.name, 0.0, exercise.points, status, cases, (note,) if note else ())
