"""The exercises of every chapter: one module a chapter with its ``EXERCISES``, imported when somebody asks for it."""

from __future__ import annotations

import difflib
import importlib
import pkgutil

from autograder.exercise import Exercise


def stems() -> list[str]:
    """The chapters that have exercises, in alphabetical order; imports none of them.

    >>> "bigrams" in stems()
    True
    """
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(stem: str) -> dict[str, Exercise]:
    """The exercises of one chapter by name, in the chapter's order. Raises LookupError for an unknown chapter.

    >>> list(load("bigrams"))[:2]
    ['count_ngrams', 'normalize']
    """
    if stem not in stems():
        raise LookupError(f"no chapter with exercises is called {stem!r}{_closest(stem, stems())}.")
    exercises = importlib.import_module(f"{__name__}.{stem}").EXERCISES
    return {exercise.name: exercise for exercise in exercises}


def find(name: str) -> Exercise:
    """The exercise called ``name``, in whatever chapter. Raises LookupError, one sentence, when there is none.

    >>> find("normalize").stem
    'bigrams'
    >>> find("normalise")
    Traceback (most recent call last):
    LookupError: no exercise is called 'normalise'; did you mean 'normalize'?
    """
    known: dict[str, Exercise] = {}
    for stem in stems():
        known.update(load(stem))
    if name not in known:
        raise LookupError(f"no exercise is called {name!r}{_closest(name, list(known)) or '.'}")
    return known[name]


def _closest(name: str, names: list[str]) -> str:
    """What the writer of ``name`` may have meant, as the end of a sentence."""
    folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(str(name).lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else f"; there are {', '.join(names)}."
