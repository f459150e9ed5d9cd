"""The page a student reads after grading: one HTML file, no script, no request, everything escaped.

Nothing of the student's is rendered. The only text of theirs is the lines around the one that raised, as plain text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autograder.gradebook import Record, grade_id, number

WORDS = {  # of an exercise: sign, words
    "right": ("✓", "all right"), "partial": ("◐", "partly right"), "wrong": ("✗", "not right yet"),
    "unwritten": ("○", "not written"), "missing": ("○", "missing"), "grader": ("…", "not graded yet"),
    "complete": ("✓", "complete"), "incomplete": ("◐", "not complete yet")}
CASE_WORDS = {
    "right": "right", "wrong": "another result", "raised": "raised an exception", "timeout": "took too long",
    "memory": "used too much memory", "crash": "ended the process", "unwritten": "not written",
    "skipped": "not tried", "grader": "the grader failed here"}
ADVICE = {  # by what a case's message names
    "ModuleNotFoundError": "When this is graded there are torch, numpy and Python's standard library, nothing else.",
    "FileNotFoundError": "When this is graded there are no files: a function gets all it needs as its arguments.",
    "NameError": "When this is graded only the notebook's first cells, your stubs and the cells you added have run.",
    "took too long": "Look for a loop that does not end, or for one that a single tensor operation would replace.",
    "ended the process": "A function returns its result; nothing in it may end Python."}
AROUND = 2  # lines shown before and after the one that raised
LONGEST = 160  # characters of a line of code


@dataclass(frozen=True)
class Line:
    """One line of a student's cell."""

    number: int
    text: str
    here: bool


def plain(text: Any, limit: int = 4000) -> str:
    r"""``text`` as one may show it: valid UTF-8, no control character, no character that turns the writing around.

    >>> plain("a\x1b[31mb\udcff\u202ec\n")
    'a[31mb�c\n'
    """
    valid = str(text)[:limit].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c for c in valid if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def excerpt(source: str, line: int | None) -> list[Line]:
    """The lines of a cell around ``line`` (counted from 1); none when there is no such line.

    >>> [(l.number, l.here) for l in excerpt("a\\nb\\nc\\nd\\ne", 2)]
    [(1, False), (2, True), (3, False), (4, False)]
    """
    lines = source.split("\n")
    if line is None or not 1 <= line <= len(lines):
        return []
    first = max(1, line - AROUND)
    return [Line(n, plain(lines[n - 1], LONGEST), n == line) for n in range(first, min(len(lines), line + AROUND) + 1)]


def exercise_view(verdict: Mapping[str, Any], source: str, record: Record) -> dict[str, Any]:
    """One exercise as the page shows it: what was right, the first thing that was wrong, the rest, a person's say."""
    cases = [{**case, "words": CASE_WORDS.get(case["status"], case["status"]), "case": plain(case["case"]),
              "message": plain(case["message"]), "hint": plain(case["hint"])} for case in verdict["cases"]]
    right = [case for case in cases if case["status"] == "right"]
    wrong = [case for case in cases if case["status"] not in ("right", "unwritten", "missing", "skipped")]
    first = wrong[0] if wrong else None
    standing = record.standings.get(grade_id(verdict["exercise"]))
    points = standing.points if standing else verdict["points"]
    sign, words = WORDS.get(verdict["status"], ("", verdict["status"]))
    return {
        "name": verdict["exercise"], "status": verdict["status"], "sign": sign, "words": words,
        "points": None if points is None else number(points), "max_points": number(verdict["max_points"]),
        "right": right, "first": first, "others": wrong[1:],
        "advice": next((text for sign, text in ADVICE.items() if first and sign in first["message"]), ""),
        "skipped": [case for case in cases if case["status"] == "skipped"],
        "code": excerpt(source, first["line"]) if first else [],
        "notes": [plain(note) for note in verdict["notes"]],
        "automatic": number(verdict["points"]) if standing and standing.by_hand else None,
        "comment": plain(record.comments.get(verdict["exercise"], "")),
        "seconds": verdict["seconds"], "memory_mb": verdict["memory_mb"]}


def quiz_view(quiz: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The quiz as the page shows it: how many were right, what is missing to complete it, and what to read again.

    Which option was right is not told: the quiz may be taken again in the notebook, where each option explains itself.
    """
    if not quiz:
        return None
    status = "complete" if quiz["complete"] else "incomplete"
    sign, words = WORDS[status]
    wrong = [q for q in quiz.get("questions", ()) if q["status"] == "wrong"]
    left = sum(q["status"] == "unanswered" for q in quiz.get("questions", ()))
    if left == quiz["total"]:
        status, sign, words = "unwritten", "○", "not taken"
    sentence = f"{quiz['score']} of {quiz['total']} questions {'is' if quiz['score'] == 1 else 'are'} right."
    if left:
        sentence += f" {left} {'was' if left == 1 else 'were'} not answered."
    if not quiz["complete"]:
        sentence += " The chapter is complete above three quarters."
    return {"status": status, "sign": sign, "words": words, "sentence": sentence,
            "score": quiz["score"], "total": quiz["total"],
            "wrong": [plain(q["id"]) for q in wrong], "remarks": [plain(remark) for remark in quiz.get("remarks", ())]}


def opening(exercises: Sequence[Mapping[str, Any]]) -> str:
    """One or two sentences that say where the student stands and where to go on.

    >>> opening([{"name": "a", "status": "right"}, {"name": "b", "status": "wrong"}])
    '1 of 2 exercises is all right. Go on with b.'
    """
    done = [e for e in exercises if e["status"] == "right"]
    if len(done) == len(exercises):
        return "Every exercise is all right. Well done."
    if all(e["status"] == "missing" for e in exercises):
        return ("None of the exercises could be found in what you handed in. Download your notebook once more "
                "(File, Download, .ipynb), open it to see that it is whole, and hand it in again.")
    if all(e["status"] in ("unwritten", "missing") for e in exercises):
        return f"Nothing has been written yet. Start with {exercises[0]['name']}."
    order = {"partial": 0, "wrong": 1, "unwritten": 2, "missing": 3, "grader": 4}
    after = min((e for e in exercises if e["status"] != "right"), key=lambda e: order.get(e["status"], 5))
    partly = sum(e["status"] == "partial" for e in exercises)
    if not done:
        part = f"; {partly} of {len(exercises)} {'is' if partly == 1 else 'are'} partly right" if partly else ""
        return f"No exercise is all right yet{part}. Go on with {after['name']}."
    verb = "is" if len(done) == 1 else "are"
    return f"{len(done)} of {len(exercises)} exercises {verb} all right. Go on with {after['name']}."


@cache
def template() -> Any:
    """The page's template; whatever is put into it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(autoescape=True, undefined=StrictUndefined, loader=loader, trim_blocks=True,
                       lstrip_blocks=True).get_template("feedback.html")


def page(verdict: Mapping[str, Any], *, student: str, shown: str = "", title: str = "", url: str = "",
         sources: Mapping[str, str] | None = None, record: Record | None = None, remarks: Sequence[str] = ()) -> str:
    """The HTML of one student's page.

    ``verdict`` is a submission's verdict as plain data, ``sources`` the student's code by exercise, ``record`` what the
    gradebook says (scores and comments of a person included), ``remarks`` what intake repaired; ``title`` and ``url``
    name the chapter.
    """
    record = record or Record()
    sources = sources or {}
    exercises = [exercise_view(e, sources.get(e["exercise"], ""), record) for e in verdict["exercises"]]
    worth = [e for e in exercises if e["max_points"]]
    quiz = quiz_view(verdict.get("quiz"))
    standing = record.standings.get("quiz")
    extra = standing if standing and standing.max_points else None
    total = sum(e["points"] or 0 for e in exercises) + (extra.points or 0 if extra else 0)
    most = sum(e["max_points"] for e in exercises) + (extra.max_points if extra else 0)
    return template().render(
        student=plain(shown or student, 200), stem=verdict["stem"], title=plain(title or verdict["stem"], 200), url=url,
        exercises=exercises, detailed=any(e["status"] != "missing" for e in exercises), quiz=quiz,
        quiz_points=extra and number(extra.points or 0),
        quiz_most=extra and number(extra.max_points), opening=opening(worth or exercises) if exercises else "",
        total=number(max(0.0, total - record.penalty)), most=number(most), penalty=number(record.penalty),
        share=round(100 * total / most) if most else 0,
        remarks=[plain(r, 600) for r in (*remarks, *verdict["remarks"])], seconds=verdict["seconds"])
