"""``python -m autograder.demo_class``: a small class, graded from its uploads to its feedback, into ``_build/class``.

Eight students hand in what students do (:mod:`autograder.demo_students`), by way of Canvas, Moodle, nbgrader's exchange
and plain folders. Exits with 1 when any of them gets other points than they deserve.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from autograder import grade, gradebook, intake, marking, owners, screen, settings
from autograder.demo_students import NOTHING, STUDENTS, Student
from autograder.exercise import Exercise
from autograder.source_notebook import solve

STEM = "bigrams"
STAMP = "2026-03-02 09:41:07.250000 UTC"


def write_uploads(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """The uploads as an instructor downloads them, one folder or archive for each way they came."""
    folder.mkdir(parents=True)
    canvas, moodle = folder / "canvas.zip", folder / "moodle.zip"
    with zipfile.ZipFile(canvas, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("lovelaceada_1815_90001_bigrams.ipynb", files["lovelaceada"])
        pack.writestr("quietquentin_LATE_1816_90002_bigrams-1.ipynb", files["quietquentin"])
    with zipfile.ZipFile(moodle, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("Zoë O'Brien/Jr_2001_assignsubmission_file_/bigrams (1).ipynb", files["Zoe-O-Brien-Jr"])
    inbound = folder / "exchange" / f"dora+{STEM}+{STAMP}+0a1b2c"
    inbound.mkdir(parents=True)
    (inbound / f"{STEM}.ipynb").write_bytes(files["dora"])
    (inbound / "timestamp.txt").write_text(STAMP)
    mail = folder / "mail"
    for name in ("emil", "frank", "nina"):
        (mail / name).mkdir(parents=True)
    (mail / "emil" / "Copy of bigrams.ipynb").write_bytes(files["emil"])
    (mail / "frank" / "bigrams.ipynb").write_bytes(files["frank"])
    with tarfile.open(mail / "mallory.tar.gz", "w:gz") as pack:
        member = tarfile.TarInfo("../../../outside.ipynb")
        pack.addfile(member, io.BytesIO())
        member = tarfile.TarInfo("grades.ipynb")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        pack.addfile(member)
        member = tarfile.TarInfo("work/bigrams.ipynb")
        member.size, member.mtime = len(files["mallory"]), 1_772_000_000
        pack.addfile(member, io.BytesIO(files["mallory"]))
    return [canvas, moodle, folder / "exchange", mail]


def deserved(student: Student, exercises: Iterable[Exercise]) -> dict[str, float]:
    """The points a student deserves by exercise: of the cases they do not fail, and none without the ordinary ones."""
    points = {}
    for exercise in exercises:
        fails = student.fails.get(exercise.name, frozenset())
        unknown = fails - NOTHING - {case.name for case in exercise.cases}
        if unknown:
            raise ValueError(f"{exercise.name} has no case {', '.join(sorted(unknown))}")
        lost = fails == NOTHING or any(case.ordinary for case in exercise.cases if case.name in fails)
        points[exercise.name] = 0.0 if lost else sum(c.points for c in exercise.cases if c.name not in fails)
    return points


def wrongly_graded(rows: Iterable[Mapping[str, Any]], exercises: Iterable[Exercise]) -> list[str]:
    """One sentence for each score that is not what its student deserves."""
    found = {(row["student"], row["exercise"]): row for row in rows}
    exercises, wrong = list(exercises), []
    for student in STUDENTS:
        for name, points in deserved(student, exercises).items():
            got = found.pop((student.id, name), {"points": None})["points"]
            if got is None or abs(got - points) > 1e-9:
                wrong.append(f"{student.id} ({student.story}) deserves {points:g} for {name} and got {got}.")
        quiz = found.pop((student.id, "quiz"), None)
        if quiz and not quiz["status"].split()[-1].startswith(f"{student.quiz}/"):
            wrong.append(f"{student.id} ({student.story}) has {student.quiz} questions right, not: {quiz['status']}.")
    return wrong + [f"Nobody expected a score of {student} for {name}." for student, name in found]


def remarks(out: Path) -> list[tuple[str, str]]:
    """What was said about each student's notebook, from the journal."""
    said = []
    for (student, _), entry in sorted(grade.Journal(out / "journal.jsonl").last.items()):
        said += [(student, remark) for remark in entry["verdict"]["remarks"]]
    return said


def run(out: Path, course: Path = marking.COURSE) -> list[str]:
    """Make the class and grade it into ``out``; what is not as deserved, one sentence each."""
    console = screen.printer()
    assignment = marking.load(STEM, course)
    source = course / "source" / STEM / f"{STEM}.ipynb"
    solved = solve(assignment.released, nbformat.read(source, as_version=4))
    shutil.rmtree(out, ignore_errors=True)
    files = {student.id: student.make(assignment.released, solved) for student in STUDENTS}
    uploads = write_uploads(files, out / "uploads")
    report = intake.intake(uploads, out / "submitted", settings.load().stems)
    for name, sentence in report.odd:
        console.print(f"intake: {owners.readable(name)}: {owners.readable(sentence)}")
    work = list(grade.find(out / "submitted", [STEM]))
    seeds = {STEM: marking.seed_from(out / "seeds" / f"{STEM}.seed")}
    with screen.bar(len(work)) as step:
        outcome = grade.grade(work, {STEM: assignment}, seeds, out, url=f"sqlite:///{(out / 'gradebook.db').resolve()}",
                              step=step, course=course)
    stories = {student.id: student.story for student in STUDENTS}
    for student, remark in remarks(out):
        console.print(f"{student}, who {stories[student]}: {remark}")
    screen.show(outcome, work, out)
    return wrongly_graded(outcome.rows, assignment.exercises)


def main(argv: list[str]) -> int:
    """0 when every student of the demo class got exactly what they deserve."""
    argparse.ArgumentParser(prog="python -m autograder.demo_class", description=(
        "Make and grade the demo class in _build/class.")).parse_args(argv)
    try:
        wrong = run(settings.ROOT / "_build" / "class")
    except (marking.MarkingError, gradebook.GradebookError, settings.SettingsError) as error:
        print(f"demo_class: {error}", file=sys.stderr)
        return 2
    for sentence in wrong:
        print(f"demo_class: {sentence}", file=sys.stderr)
    print("demo_class: every score is what its student deserves." if not wrong else "demo_class: not as deserved.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
