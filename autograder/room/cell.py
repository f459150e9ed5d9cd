"""Loading a student's cells: IPython's transformation, then one top-level statement after the other.

A statement that raises or takes too long is left out and reported; the others run. Magics do nothing. This file runs
behind the wall.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import re
import resource
import signal
import sys
import traceback
import types
from collections.abc import Callable
from os import _exit, getpid  # by name: a student's cell may put anything in their place
from resource import getrlimit, setrlimit
from signal import setitimer
from signal import signal as on_signal
from time import process_time
from typing import Any

BODY_MAGICS = re.compile(r"\A%%(time|timeit|capture|prun|python3?|py)\b[^\n]*")
RINGS = 4


class TooLong(BaseException):
    """Raised in the middle of a statement that takes too long; no ``except Exception`` swallows it."""


class Inert:
    """Stands for IPython's shell: every magic, and everything else that is asked of it, does nothing.

    >>> Inert().run_line_magic("pip", "install torch")
    >>> Inert().run_cell_magic("bash", "", "rm -r .")
    """

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def namespace() -> dict[str, Any]:
    """A fresh ``__main__`` for the student's cells."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    shell = Inert()
    module.__dict__["get_ipython"] = lambda: shell
    module.__dict__["display"] = lambda *args, **kwargs: None
    return module.__dict__


def transform(source: str) -> str:
    """What IPython makes of a cell, line for line; ``%%time`` and its like give their body.

    >>> transform("\\n%%time\\nx = 1\\n")
    '\\n#\\nx = 1\\n'
    >>> transform("%matplotlib inline\\n")
    "get_ipython().run_line_magic('matplotlib', 'inline')\\n"
    """
    from IPython.core.inputtransformer2 import TransformerManager

    body = source.lstrip("\r\n")
    blank = source[:len(source) - len(body)].count("\n")  # IPython drops these, and every line number would be wrong
    return "\n" * blank + TransformerManager().transform_cell(BODY_MAGICS.sub("#", body))


def load(cells: list[list[str]], skip: set[tuple[int, int]], scope: dict[str, Any], seconds: float,
         at: Callable[[int, int, int], None]) -> list[list]:
    """What was left out of ``cells`` (pairs of name and source): ``[cell name, line, statement, exception]`` each.

    ``skip`` holds (cell, statement) pairs not to run; statement -1 is the cell as a whole. ``at(cell, statement,
    line)`` is called before each, so that somebody knows where the process was when it died.

    >>> load([["double", "1 / 0\\ndef double(x):\\n    return 2 * x"]], set(), scope := {}, 5.0, lambda *where: None)
    [['double', 1, 'Expr', 'ZeroDivisionError']]
    >>> scope["double"](2)
    4
    """
    report: list[list] = []
    flags = 0
    for number, (name, source) in enumerate(cells):
        if (number, -1) in skip:
            continue
        at(number, -1, 1)
        filename = f"<cell {name}>"
        try:
            tree = _limited(seconds, lambda: ast.parse(transform(source), filename))  # noqa: B023
        except BaseException as error:
            report.append([name, getattr(error, "lineno", None) or 1, "cell", exception_name(error)])
            continue
        for index, statement in enumerate(tree.body):
            if (number, index) in skip:
                continue
            at(number, index, statement.lineno)
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
                for alias in statement.names:
                    flags |= getattr(getattr(__future__, alias.name, None), "compiler_flag", 0)
            try:
                _limited(seconds, lambda: _run(statement, filename, scope, flags))  # noqa: B023
            except BaseException as error:
                line = line_of(error) or statement.lineno
                report.append([name, line, type(statement).__name__, exception_name(error)])
    return report


def _run(statement: ast.stmt, filename: str, scope: dict[str, Any], flags: int) -> None:
    code = compile(ast.Module([statement], []), filename, "exec", flags=flags, dont_inherit=True)
    exec(code, scope)


def _limited(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of ``work``, which may take ``seconds`` of CPU time; a copy of the process that it made ends here."""
    process, rings = getpid(), 0

    def ring(number: int, frame: Any) -> None:
        nonlocal rings
        rings += 1
        if rings > RINGS:  # something swallows the exception again and again
            _exit(1)
        raise TooLong

    if hasattr(signal, "SIGPROF"):
        on_signal(signal.SIGPROF, ring)
        setitimer(signal.ITIMER_PROF, seconds, 0.25)
    _kernel_limit(int(process_time() + seconds) + 3)  # for one long call of C, which no Python handler ends
    try:
        return work()
    finally:
        if getpid() != process:
            _exit(0)
        if hasattr(signal, "SIGPROF"):
            setitimer(signal.ITIMER_PROF, 0)
        _kernel_limit(None)


def _kernel_limit(seconds: int | None) -> None:
    """Let the kernel end this process after ``seconds`` of CPU time in all; None takes that back."""
    hard = getrlimit(resource.RLIMIT_CPU)[1]
    soft = hard if seconds is None or (hard != resource.RLIM_INFINITY and seconds > hard) else seconds
    setrlimit(resource.RLIMIT_CPU, (soft, hard))


def line_of(error: BaseException) -> int | None:
    """The line of the student's own code that an exception came from: the last frame that is in a cell."""
    try:
        frames = [line for frame, line in traceback.walk_tb(error.__traceback__)
                  if frame.f_code.co_filename.startswith("<cell ")]
    except BaseException:
        return None
    return frames[-1] if frames else None


def exception_name(error: BaseException) -> str:
    """The name of an exception's class when it is a builtin one; other names are the student's own words.

    >>> exception_name(ValueError("secret"))
    'ValueError'
    >>> exception_name(type("Secret", (ValueError,), {})())
    ''
    """
    kind = type(error)
    if kind is TooLong:
        return "TooLong"
    name = type.__getattribute__(kind, "__name__")
    return name if builtins.__dict__.get(name) is kind else ""
