"""The process in which ``python -m autograder check`` runs a student's cells: a task comes in, a line per exercise goes
out. Started by :mod:`autograder.check_file`; not meant to be typed.
"""

from __future__ import annotations

import ast
import json
import linecache
import sys
from dataclasses import asdict
from typing import Any

from autograder import checks, explain
from autograder.bounds import OutOfTime, time_limit
from autograder.check import checked
from autograder.exercise import Exercise, Verdict
from autograder.report import Report
from autograder.steps import fault_of

STATEMENT_SECONDS = 5.0


class Inert:
    """Stands for IPython's shell: every magic and every shell command does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def load(cells: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The names that a notebook's cells define, and a sentence on each statement that did not run.

    >>> names, remarks = load([{"kind": "added", "number": 3, "source": "%time x = 1\\ny = 2\\nz = 1 / 0"}])
    >>> names["y"], remarks
    (2, ['Cell 3, line 3 was left out: it raised ZeroDivisionError (division by zero).'])
    """
    namespace: dict[str, Any] = {"__name__": "__main__", "get_ipython": Inert}
    remarks: list[str] = []
    for cell in cells:
        filename = f"<cell {cell['number']}>"
        source = without_magics(cell["source"])
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        try:
            statements = ast.parse(source, filename).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", line {error.lineno}" if getattr(error, "lineno", None) else ""
            remarks.append(f"Cell {cell['number']}{line} is not Python, so that cell was left out "
                           f"({type(error).__name__}: {getattr(error, 'msg', error)}).")
            continue
        for statement in statements:
            problem = _run(statement, filename, namespace)
            if problem:
                remarks.append(f"Cell {cell['number']}, line {statement.lineno} was left out: it {problem}.")
    return namespace, remarks


def _run(statement: ast.stmt, filename: str, namespace: dict[str, Any]) -> str:
    """Runs one top-level statement; what went wrong, or an empty string."""
    try:
        code = compile(ast.Module([statement], []), filename, "exec")
        with time_limit(STATEMENT_SECONDS):
            exec(code, namespace)
    except OutOfTime:
        return f"did not finish in {STATEMENT_SECONDS:g} seconds"
    except (Exception, SystemExit) as error:
        fault = fault_of(error)
        return f"raised {fault.exception}" + (f" ({fault.message[:120]})" if fault.message else "")
    return ""


def without_magics(source: str) -> str:
    """The source with magics and shell commands made inert, line numbers kept where IPython is absent.

    >>> without_magics("x = 1\\n").strip()
    'x = 1'
    """
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError:
        if source.lstrip().startswith("%%"):
            return ""
        return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))
    try:
        return TransformerManager().transform_cell(source)
    except Exception:
        return source


def main(path: str) -> None:
    """Reads the task from standard input and writes what comes of it to ``path``, line by line."""
    task = json.load(sys.stdin)
    with open(path, "w", encoding="utf-8") as out:
        def say(**line: Any) -> None:
            out.write(json.dumps(line) + "\n")
            out.flush()

        namespace, remarks = load(task["cells"])
        say(remarks=remarks)
        exercises = checks.load(task["stem"])
        for name in task["exercises"]:
            verdict, report = check_one(exercises[name], namespace)
            say(verdict=asdict(verdict), text=str(report))


def check_one(exercise: Exercise, namespace: dict[str, Any]) -> tuple[Verdict, Report]:
    """Verdict and report on one exercise; a name that is not defined is missing."""
    if callable(namespace.get(exercise.name)):
        return checked(exercise.name, namespace)
    return Verdict(exercise.name, 0.0, exercise.points, "missing"), explain.not_defined(exercise.name)


if __name__ == "__main__":
    main(sys.argv[1])
