"""``python -m autograder check FILE.ipynb``: what a student would see in the notebook, outside Jupyter.

Only the prelude, the stubs and the cells that the student added run, as in grading, and they run in a process of their
own: whatever they do to it, a table comes out. Exit code 0 when everything is right, 1 when not, 2 for a file that is
no notebook of the course.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autograder import checks
from autograder.exercise import Exercise
from autograder.report import Report, Row

LOADING = 60.0  # seconds for the student's cells to load, torch included
OURS = re.compile(r"^\s*(?:check|yours|check_quiz)\s*\(", re.MULTILINE)


class BadInput(Exception):
    """One sentence on why a file cannot be checked."""


@dataclass(frozen=True)
class Cell:
    """A code cell that runs: ``kind`` is prelude, stub or added; ``number`` counts the notebook's cells from 1."""

    kind: str
    source: str
    number: int


def main(argv: list[str]) -> int:
    """The exit code of ``python -m autograder check``."""
    parser = argparse.ArgumentParser(prog="python -m autograder check", description=__doc__.split("\n\n")[0])
    parser.add_argument("file", metavar="FILE.ipynb", type=Path, help="a notebook of the course")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    options = parser.parse_args(argv)
    try:
        notebook = read(options.file)
        stem = chapter(notebook, options.file)
        cells = runnable(notebook, checks.load(stem))
    except BadInput as bad:
        print(f"check: {bad}", file=sys.stderr)
        return 2
    results, remarks = run(stem, cells)
    right = all(result["verdict"]["status"] == "right" for result in results)
    if options.json:
        print(json.dumps({"stem": stem, "exercises": [result["verdict"] for result in results], "remarks": remarks}))
    else:
        for result in results:
            if result["verdict"]["status"] not in ("right", "unwritten"):
                print(f"{result['text']}\n")
        print(overview(stem, results, remarks))
    return 0 if right else 1


def overview(stem: str, results: list[dict], remarks: list[str]) -> Report:
    """One row an exercise."""
    right = sum(result["verdict"]["status"] == "right" for result in results)
    rows = []
    for verdict in (result["verdict"] for result in results):
        good = sum(case["status"] == "right" for case in verdict["cases"])
        status = verdict["status"] if verdict["status"] not in ("partial", "grader") else "wrong"
        detail = f" ({good} of {len(verdict['cases'])} cases)" if verdict["status"] in ("partial", "wrong") else ""
        rows.append(Row(status, verdict["exercise"] + detail))
    return Report(stem, f"{right} of {len(results)} exercises right", ("Result", "Exercise"), tuple(rows),
                  notes=tuple(remarks))


def read(path: Path) -> dict[str, Any]:
    """The notebook in a file, as plain data. BadInput, one sentence, for anything else."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder; name the notebook in it.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text, so it is no notebook; download it again as .ipynb.") from None
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput(f"{path} is not JSON, so it is no notebook; download it again as .ipynb.") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise BadInput(f"{path} is no Jupyter notebook of format 4: it has no list of cells.")
    return notebook


def chapter(notebook: dict[str, Any], path: Path) -> str:
    """The chapter a notebook belongs to: by its metadata, else by its name, else by what it defines."""
    stem = _plain(_plain(notebook.get("metadata")).get("course")).get("stem")
    if isinstance(stem, str) and stem not in checks.stems():
        raise BadInput(f"{path} belongs to a chapter {stem[:40]!r} that this version of the course does not have; the "
                       f"chapters are {', '.join(checks.stems())}.")
    if isinstance(stem, str):
        return stem
    named = re.match(r"[a-z_]+[a-z]", path.name)
    if named and named[0] in checks.stems():
        return named[0]
    defined = {name for _, source, _ in _code_cells(notebook) for name in _defines(source)}
    for stem in checks.stems():
        if defined & checks.load(stem).keys():
            return stem
    raise BadInput(f"{path} is no notebook of this course: its metadata names no chapter, and it defines none of the "
                   "exercises.")


def runnable(notebook: dict[str, Any], exercises: dict[str, Exercise]) -> list[Cell]:
    """The code cells that run, preludes first: never a demonstration, a check or the quiz."""
    marked = any(_kind(cell) for cell, _, _ in _code_cells(notebook))
    cells = []
    for cell, source, number in _code_cells(notebook):
        kind = _kind(cell)
        if not kind and _defines(source) & exercises.keys():
            kind = "stub"
        if not kind and (marked or not OURS.search(source)):
            kind = "added"
        if kind in ("prelude", "stub", "added"):
            cells.append(Cell(kind, source, number))
    if not any(cell.kind == "prelude" for cell in cells):
        cells.append(Cell("prelude", "import math\n\nimport torch\n", 0))
    return sorted(cells, key=lambda cell: cell.kind != "prelude")


def run(stem: str, cells: list[Cell]) -> tuple[list[dict], list[str]]:
    """Verdict and text for each exercise of a chapter, and remarks on what did not load.

    When an exercise takes the process down with it, the next ones run in a new process.
    """
    exercises = checks.load(stem)
    waiting = list(exercises)
    results: list[dict] = []
    remarks: list[str] = []
    while waiting:
        time = LOADING + sum(4 * exercises[name].cpu_seconds + 10 for name in waiting)
        done, remarks_now, fault = _in_a_process({"stem": stem, "cells": [asdict(cell) for cell in cells],
                                                  "exercises": waiting}, time)
        results += done
        remarks = remarks_now or remarks
        waiting = waiting[len(done):]
        if waiting and fault:
            told = f"{fault} while `{waiting[0]}` was checked" if remarks_now is not None else (
                f"{fault} while the cells were loaded, so nothing could be checked")
            stopped = waiting[:1] if remarks_now is not None else waiting
            for name in stopped:
                exercise = exercises[name]
                results.append({"text": str(Report(name, told)), "verdict": {
                    "exercise": name, "points": 0.0, "max_points": exercise.points, "status": "crash", "cases": [
                        {"case": case.name, "status": "crash" if i == 0 else "skipped", "points": 0.0,
                         "max_points": case.points, "message": told if i == 0 else "", "hint": "", "line": None,
                         "seconds": 0.0} for i, case in enumerate(exercise.cases)], "notes": [], "seconds": 0.0,
                    "memory_mb": 0.0}})
            waiting = waiting[len(stopped):]
    return results, remarks


def _in_a_process(task: dict, seconds: float) -> tuple[list[dict], list[str] | None, str]:
    """What one process said: finished exercises, remarks (None when it never got that far), and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.jsonl"
        package = str(Path(__file__).parents[1])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-m", "autograder.check_cells", str(said)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        try:
            process.communicate(json.dumps(task).encode(), timeout=seconds)
            ended = (f"The code was ended by signal {-process.returncode} (a crash)" if process.returncode < 0
                     else f"The code ended Python itself (exit code {process.returncode})")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ended = "The code did not finish in time"
        try:
            lines = [json.loads(line) for line in said.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        except (OSError, ValueError):
            lines = []
    remarks = next((line["remarks"] for line in lines if "remarks" in line), None)
    return [line for line in lines if "verdict" in line], remarks, ended


def _plain(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _code_cells(notebook: dict[str, Any]) -> list[tuple[dict[str, Any], str, int]]:
    """Every code cell with its source and number, whatever else the notebook holds."""
    found = []
    for number, cell in enumerate(notebook["cells"], start=1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", "")
            if isinstance(source, list):
                source = "".join(part for part in source if isinstance(part, str))
            if isinstance(source, str) and source.strip():
                found.append((cell, source, number))
    return found


def _kind(cell: dict[str, Any]) -> str:
    """What a released cell is for; "" for a cell that the student added."""
    metadata = _plain(cell.get("metadata"))
    kind = _plain(metadata.get("course")).get("kind")
    if isinstance(kind, str):
        return kind
    nbgrader = _plain(metadata.get("nbgrader"))
    if not nbgrader:
        return ""
    return "stub" if nbgrader.get("solution") and nbgrader.get("grade_id") != "quiz-answers" else "check"


def _defines(source: str) -> set[str]:
    """The functions and classes that a cell defines at its top level."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(re.findall(r"^(?:def|class)\s+(\w+)", source, re.MULTILINE))
    return {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
