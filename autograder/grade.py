"""``python -m autograder grade STEM --submissions DIR --out DIR``: the fast road from submissions to grades.

Same parts, same points as ``nbgrader autograde``; many submissions at once, with a journal it goes on from. It exits
with 0 when every submission got a verdict, 1 when the grader itself failed on any, 2 when it could not begin.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder import crew, feedback, gradebook, marking, owners, screen, settings
from autograder.journal import Journal, moved
from autograder.marking import Assignment, Examined, Examiner, MarkingError
from autograder.settings import SettingsError

FEW = 8  # submissions that one process has done before a second one has started


@dataclass(frozen=True)
class Submission:
    """One student's notebook of one assignment; ``path`` is None when there is none."""

    student: str
    stem: str
    path: Path | None
    timestamp: str | None
    shown: str
    remarks: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a run did. ``failed`` maps (student, stem) to the grader's own fault."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    graded: int = 0
    reused: int = 0
    isolation: tuple[str, ...] = ()


def find(submissions: Path, stems: Iterable[str]) -> Iterator[Submission]:
    """Every student's submission of every stem; a folder without one counts, so that nobody drops out silently."""
    names = owners.Roster(submissions / "names.csv").shown
    notes = marking.intake_notes(submissions)
    for folder in sorted(submissions.iterdir()):
        if folder.is_symlink() or not folder.is_dir() or folder.name.startswith("."):
            continue
        shown = owners.readable(os.fsencode(folder.name).decode("utf-8", "replace"))
        student = folder.name if owners.ID.fullmatch(folder.name) else f"{owners.slug(shown)}-{owners.mark(shown)}"
        for stem in stems:
            places = (folder / stem / f"{stem}.ipynb", folder / f"{stem}.ipynb")
            path = next((place for place in places if os.path.lexists(place)), None)
            stamp = folder / stem / "timestamp.txt"
            when = stamp.read_text("utf-8", "replace")[:100].strip() if stamp.is_file() and path else None
            yield Submission(student, stem, path, when if when and marking.received.moment(when) else None,
                             names.get(student, shown), tuple(notes.get(student, {}).get(stem, ())))


def rows_of(verdict: Mapping[str, Any], record: gradebook.Record, assignment: Assignment, student: str) -> list[dict]:
    """One row of ``grades.csv`` for each exercise, and one for the quiz."""
    rows = []
    items = [(e["exercise"], e["status"], e["points"], e["max_points"]) for e in verdict["exercises"]]
    if "quiz" in assignment.graded:
        items.append(("quiz", marking.quiz_status(verdict.get("quiz")), 0.0, assignment.graded["quiz"]))
    for name, status, points, most in items:
        standing = record.standings.get(gradebook.grade_id(name))
        if standing:
            points = standing.points
            if standing.by_hand:
                status = "by hand, automatic score moved" if standing.flagged else "by hand"
        rows.append({"student": student, "assignment": assignment.stem, "exercise": name,
                     "points": None if status == "grader" else points, "max_points": most, "status": status})
    return rows


def failed_verdict(assignment: Assignment) -> dict[str, Any]:
    """The verdict of a submission on which the grader itself failed: no points given, none taken."""
    return {"stem": assignment.stem, "quiz": None, "remarks": [], "seconds": 0.0, "exercises": [
        {"exercise": e.name, "points": 0.0, "max_points": e.points, "status": "grader", "cases": [], "notes": [],
         "seconds": 0.0, "memory_mb": 0.0} for e in assignment.exercises]}


def settle(submission: Submission, examined: Examined, journal: Journal, seed: bytes, outcome: Outcome,
           assignment: Assignment) -> dict[str, Any]:
    """The verdict that counts: the new one, the journal's when nothing changed, or none of the grader's own faults."""
    who = (submission.student, submission.stem)
    before = journal.known(*who)
    if examined.fault:
        outcome.failed[who] = examined.fault
        return failed_verdict(assignment)
    if examined.verdict is None:
        outcome.reused += 1
        return before["verdict"]
    outcome.graded += 1
    unknown = [e["exercise"] for e in examined.verdict["exercises"] if e["status"] == "grader"]
    if unknown:
        outcome.failed[who] = f"no verdict on {', '.join(unknown)}"
        return examined.verdict
    if before:
        outcome.moved += [f"{submission.student} {submission.stem}: {what}"
                          for what in moved(before["verdict"], examined.verdict)]
    journal.add(*who, examined.key, seed, examined.verdict)
    return examined.verdict


def write_page(out: Path, submission: Submission, assignment: Assignment, verdict: Mapping[str, Any],
               sources: Mapping[str, str], record: gradebook.Record) -> None:
    """Write ``OUT/feedback/STUDENT/STEM.html``."""
    folder = out / "feedback" / submission.student
    folder.mkdir(parents=True, exist_ok=True)
    html = feedback.page(verdict, student=submission.student, shown=submission.shown, title=assignment.title,
                         url=assignment.url, sources=sources, record=record, remarks=submission.remarks)
    (folder / f"{submission.stem}.html").write_text(html, "utf-8")


def grade(work: Sequence[Submission], assignments: Mapping[str, Assignment], seeds: Mapping[str, bytes], out: Path, *,
          url: str, workers: int = 1, require_isolation: bool = False, course: Path = marking.COURSE,
          step: Callable[[str], None] = lambda name: None) -> Outcome:
    """Grade ``work`` into the gradebook at ``url`` and the files of ``out``; one writer, this process."""
    outcome, journal = Outcome(), Journal(out / "journal.jsonl")
    for assignment in assignments.values():
        gradebook.ensure_assignment(url, assignment.stem, assignment.released)
    jobs = [(s.stem, s.path, journal.known(s.student, s.stem).get("key", "")) for s in work]
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in gradebook.read_csv(out / "grades.csv"):  # other assignments, graded into this folder before
        if row["assignment"] not in assignments:
            rows.setdefault((row["student"], row["assignment"]), []).append(row)
    with ExitStack() as stack:
        book = stack.enter_context(gradebook.connect(url))
        examiner = stack.enter_context(Examiner(assignments, seeds, require_isolation))
        outcome.isolation = examiner.isolation
        if workers > 1:
            turns = stack.enter_context(tempfile.TemporaryDirectory(prefix="turns-"))
            results = crew.together((list(assignments), course, seeds, require_isolation, turns), jobs, workers)
        else:
            results = crew.alone(examiner, jobs)
        for number, examined in results:
            submission, assignment = work[number], assignments[work[number].stem]
            verdict = settle(submission, examined, journal, seeds[submission.stem], outcome, assignment)
            gradebook.save(book, submission.stem, submission.student, marking.scores(verdict, assignment),
                           submission.timestamp)
            record = gradebook.read(book, submission.stem, submission.student)
            rows[submission.student, submission.stem] = rows_of(verdict, record, assignment, submission.student)
            write_page(out, submission, assignment, verdict, examined.sources, record)
            step(submission.student)
    outcome.rows = [row for who in sorted(rows) for row in rows[who]]
    gradebook.write_csv(out / "grades.csv", outcome.rows)
    return outcome


def arguments(argv: list[str]) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m autograder grade", description="Grade a class.")
    add = parser.add_argument
    add("stem", metavar="STEM", help="the assignment, or 'all' for each that somebody handed in")
    add("--submissions", required=True, type=Path, metavar="DIR", help="STUDENT/STEM.ipynb or STUDENT/STEM/STEM.ipynb")
    add("--out", required=True, type=Path, metavar="DIR", help="for gradebook.db, grades.csv, feedback/, journal.jsonl")
    add("--workers", type=int, metavar="N", help="processes that grade at once (default: by the size of the class)")
    add("--db", metavar="URL", help="a gradebook elsewhere, as a SQLAlchemy URL (default: OUT/gradebook.db)")
    add("--seed-file", type=Path, metavar="F", help="the secret that draws the inputs (default: OUT/seeds/STEM.seed)")
    add("--json", action="store_true", help="print the result as JSON")
    add("--require-isolation", action="store_true", help="do not grade when anything is not isolated")
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> tuple[list[Submission], dict[str, Assignment], dict[str, bytes]]:
    """The submissions, assignments and seeds that the arguments name; MarkingError or OSError when there are none."""
    if args.workers is not None and args.workers < 1:
        raise MarkingError(f"--workers is {args.workers}; at least one process is needed.")
    known = settings.load().stems
    if args.stem not in (*known, "all"):
        raise MarkingError(f"There is no assignment '{args.stem}'; the course has {', '.join(known)} (or say all).")
    if not args.submissions.is_dir():
        raise MarkingError(f"There is no folder {args.submissions}; --submissions names the one that intake wrote.")
    work = list(find(args.submissions, known if args.stem == "all" else [args.stem]))
    if args.stem == "all":
        handed_in = {s.stem for s in work if s.path}
        work = [s for s in work if s.stem in handed_in]
    if not work:
        raise MarkingError(f"{args.submissions} holds no submission; STUDENT/STEM/STEM.ipynb is looked for.")
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=args.out):
        pass  # the folder can be written
    stems = sorted({s.stem for s in work}, key=known.index)
    seeds = {stem: marking.seed_from(args.seed_file or args.out / "seeds" / f"{stem}.seed") for stem in stems}
    return work, {stem: marking.load(stem, marking.COURSE) for stem in stems}, seeds


def main(argv: list[str]) -> int:
    """The exit code of ``grade``: 0 when every submission got a verdict, 1 when not, 2 when it could not begin."""
    args = arguments(argv)
    try:
        work, assignments, seeds = prepare(args)
        url = args.db or f"sqlite:///{(args.out / 'gradebook.db').resolve()}"
        workers = args.workers or (1 if len(work) <= FEW else min(os.cpu_count() or 1, -(-len(work) // FEW)))
        with screen.bar(len(work), quiet=args.json) as step:
            outcome = grade(work, assignments, seeds, args.out, url=url, workers=workers, course=marking.COURSE,
                            require_isolation=args.require_isolation, step=step)
    except (MarkingError, SettingsError, gradebook.GradebookError) as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"grade: {error.filename or args.out}: {error.strerror or error}.", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(screen.summary(outcome, work, args.out, url), ensure_ascii=False, indent=1))
    else:
        screen.show(outcome, work, args.out)
    return 1 if outcome.failed else 0
