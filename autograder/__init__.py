"""The course's autograder. On a student's machine: ``from autograder import check, yours, check_quiz``.

Everything an instructor needs (nbgrader, Jupyter, Sphinx) is imported by the modules that use it, never from here, so
that Colab needs torch and numpy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autograder.check import check, check_quiz, yours

__all__ = ["check", "check_quiz", "yours"]


def __getattr__(name: str) -> object:
    if name in __all__:
        import importlib

        module = importlib.import_module("autograder.check")
        globals().update({each: getattr(module, each) for each in __all__})
        return globals()[name]
    raise AttributeError(f"module 'autograder' has no attribute {name!r}")
