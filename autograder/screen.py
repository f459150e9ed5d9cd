"""What grading shows: a progress bar while it runs, then the scores, what moved, and whatever needs a person's eye."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.gradebook import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from autograder.grade import Outcome, Submission

WIDE = 120
MOST_LINES = 40  # students shown one by one; of larger classes only the numbers


@contextmanager
def bar(total: int, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error; what is yielded is called after each submission."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[who]}", markup=False))
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("grading", total=total, who="")
        yield lambda who: progress.update(task, advance=1, who=who)


def printer() -> Console:
    """Where results are printed: a file or a pipe is taken to be wide."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=WIDE)


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The scores of one assignment: a line for each student, a column for each exercise, and the total."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    exercises = list(dict.fromkeys(row["exercise"] for row in rows))
    most = {row["exercise"]: row["max_points"] for row in rows}
    shown = Table(title=rows[0]["assignment"], title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    shown.add_column("student", no_wrap=True)
    for name in exercises:
        header = name.replace("_", "_\n") + ("" if name == "quiz" and not most[name] else f"\nof {number(most[name])}")
        shown.add_column(header, justify="right", overflow="fold", vertical="bottom")
    shown.add_column(f"total\nof {number(sum(most.values()))}", justify="right", style="bold")
    by_student: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_student.setdefault(row["student"], {})[row["exercise"]] = row
    for student, mine in by_student.items():
        cells = [Text(cell(mine[name]), style=colour(mine[name])) if name in mine else Text("") for name in exercises]
        total = sum(row["points"] or 0 for row in mine.values())
        shown.add_row(Text(student), *cells, str(number(total)))
    return shown


def cell(row: Mapping[str, Any]) -> str:
    """What stands in the table for one exercise of one student."""
    if row["exercise"] == "quiz":
        return row["status"].removeprefix("complete ").removeprefix("incomplete ").replace("missing", "–")
    return "?" if row["points"] is None else str(number(row["points"]))


def colour(row: Mapping[str, Any]) -> str:
    """The colour of one score."""
    words = {"right": "green", "partial": "yellow", "wrong": "red", "grader": "bold magenta"}
    return words.get(row["status"].split()[0], "green" if row["status"].startswith("complete") else "")


def show(outcome: Outcome, work: Sequence[Submission], out: Path) -> None:
    """Print what a run did."""
    console = printer()
    students = len({s.student for s in work})
    if students <= MOST_LINES:
        for stem in dict.fromkeys(s.stem for s in work):
            console.print(table([row for row in outcome.rows if row["assignment"] == stem]))
    for line in outcome.isolation:
        console.print(f"Not isolated: {line}")
    for line in outcome.moved:
        console.print(f"Moved: {line}")
    for (student, stem), why in outcome.failed.items():
        console.print(f"No verdict: {student} {stem}: {why}. Run the same command again.")
    console.print(f"{outcome.graded} graded, {outcome.reused} unchanged, {len(outcome.failed)} without a verdict; "
                  f"{out / 'grades.csv'}, {out / 'feedback'}")


def summary(outcome: Outcome, work: Sequence[Submission], out: Path, url: str) -> dict[str, Any]:
    """What a run did, for a program to read."""
    from autograder.gradebook import shown

    return {
        "submissions": len(work), "graded": outcome.graded, "unchanged": outcome.reused,
        "failed": [{"student": s, "assignment": a, "why": why} for (s, a), why in outcome.failed.items()],
        "moved": outcome.moved, "not_isolated": list(outcome.isolation), "gradebook": shown(url),
        "grades": str(out / "grades.csv"), "feedback": str(out / "feedback"), "rows": outcome.rows}
