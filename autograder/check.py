"""What a student calls: ``check`` for an exercise, ``yours`` for the pictures after it, ``check_quiz`` at the end.

Needs torch, numpy and the standard library only. Nothing here decides a grade, and nothing here raises for a mistake of
the student's: whatever happens, one table or one sentence is shown and the notebook goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import types
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import numpy as np
import torch

from autograder import chapterdata, checks, explain, quiz
from autograder.casework import Failure, run_exercise
from autograder.exercise import Exercise, Verdict
from autograder.needed_names import missing_at_grading
from autograder.report import Report, show
from autograder.steps import LocalPlayer
from reference_impl.device import pick_device

_RIGHT: dict[str, Callable[..., Any]] = {}  # what passed its last check in this session


def check(target: Callable[..., Any] | str) -> None:
    """Shows how ``target`` (a function or its name) does on fresh inputs. Never raises for what the student wrote."""
    show(checked(target, _callers_names())[1])


def checked(target: Any, namespace: MutableMapping[str, Any]) -> tuple[Verdict | None, Report]:
    """The verdict on ``target`` (None when it is no exercise) and what to show of it."""
    name = target if isinstance(target, str) else _name(target, namespace)
    try:
        exercise = checks.find(name)
    except LookupError as none:
        return None, explain.no_exercise(target, str(none))
    if isinstance(target, str):
        if target not in namespace:
            return None, explain.not_defined(target)
        target = namespace[target]
    if not callable(target):
        return None, explain.not_callable(name, target)
    verdict, failures, device = run(exercise, target, namespace)
    if verdict.status == "right":
        _RIGHT[name] = target
    else:
        _RIGHT.pop(name, None)
    demo_names = chapterdata.names(exercise.stem, "demo_names") - chapterdata.names(exercise.stem, "prelude_names")
    missing = missing_at_grading(target, namespace, demo_names - chapterdata.names(exercise.stem, "stubs"))
    return verdict, explain.verdict(exercise, verdict, failures, device, missing)


def run(exercise: Exercise, target: Callable[..., Any], namespace: MutableMapping[str, Any] | None = None,
        seed: bytes | None = None) -> tuple[Verdict, list[Failure], str]:
    """The verdict on ``target`` in this process, what failed (with its inputs) and the device it ran on.

    Inputs are drawn anew unless a ``seed`` is given, and move to the GPU when there is one.
    """
    device = pick_device().type
    limit = 2 * exercise.cpu_seconds  # of wall time, on a machine that also does other things
    player = LocalPlayer({**(namespace or {}), exercise.name: target}, device, limit=limit, quiet=True)
    failures: list[Failure] = []
    with untouched():
        if device == "cuda":
            torch.zeros(1, device=device)  # the first use of a GPU takes seconds, which are not the student's
        verdict = run_exercise(exercise, player, seed or os.urandom(32), show_inputs=True, failures=failures)
    return verdict, failures, device


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Gradients on in the block; random states, the gradient mode and the default device come back as they were."""
    mode, states = torch.is_grad_enabled(), (random.getstate(), np.random.get_state(), torch.get_rng_state())
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    device = torch.get_default_device()
    if device.type != "cpu":
        torch.set_default_device("cpu")
    torch.set_grad_enabled(True)
    try:
        yield
    finally:
        torch.set_grad_enabled(mode)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if torch.get_default_device() != device:
            torch.set_default_device(device)


def yours(target: Callable[..., Any] | str) -> Callable[..., Any]:
    """The student's own function once its last ``check`` was all right in this session, else the reference.

    ``target`` is the name of an exercise or its reference; one quiet line says which function is used. LookupError for
    a name that is no exercise.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    if name in _RIGHT:
        show(explain.sentence(f"Made with your own `{name}`."))
        return _RIGHT[name]
    reference = target if callable(target) else checks.find(name).reference
    show(explain.sentence(f"Made with the course's `{name}`; yours takes its place once `check({name})` is all right."))
    return reference


def check_quiz(stem: str, answers: Any) -> None:
    """Shows which answers of a chapter's quiz are right, and why the others are not."""
    data = chapterdata.load(stem)
    if not data or not data.get("quiz"):
        show(explain.no_quiz(stem))
    else:
        show(explain.quiz(quiz.score(data["quiz"], answers), data))


def _name(target: Any, namespace: MutableMapping[str, Any]) -> str:
    """The exercise that ``target`` answers: by its own name, or by the one it goes by (``normalize = attempt_3``)."""
    own = getattr(target, "__name__", "")
    own = own if isinstance(own, str) else ""
    known = [name for stem in checks.stems() for name in checks.load(stem)]
    if own in known and namespace.get(own, target) is target:
        return own
    return next((name for name in known if namespace.get(name) is target), own)


def _callers_names() -> MutableMapping[str, Any]:
    """The names a notebook's cells have made, or those of whoever called ``check``."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell.user_ns if shell is not None else sys._getframe(2).f_globals


class _Called(types.ModuleType):
    """This module, for whoever imported it first and then says ``from autograder import check``: it can be called."""

    __call__ = staticmethod(check)


sys.modules[__name__].__class__ = _Called
