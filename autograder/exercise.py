"""What an exercise is: named cases, the inputs each one draws, and the points it earns.

A case says nothing about *where* the student's function runs. It draws plain steps; a *player* plays them, in this
process (:mod:`autograder.steps`, when a student runs ``check``) or in a room of its own (:mod:`autograder.room`, when a
grade is at stake), and :mod:`autograder.casework` compares what came back with the reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ref:
    """Stands in a step's arguments for the object kept under ``handle``."""

    handle: str


@dataclass(frozen=True)
class Oracle:
    """A callable argument that stays with the judge: every call of the student's crosses to it and is counted.

    ``fn`` takes and returns plain data; ``name`` tells several oracles of one case apart.
    """

    name: str
    fn: Callable[..., Any]


@dataclass(frozen=True)
class Prop:
    """A callable argument whose few lines of source travel with the case, where gradients must flow through it.

    ``source`` defines ``name`` and may use ``torch`` only.
    """

    name: str
    source: str


@dataclass(frozen=True)
class Step:
    """One thing asked of the student's code.

    ========  ==========================================================================
    ``op``    what the player does
    ========  ==========================================================================
    put       keep ``args[0]`` under the handle ``into``; answers nothing
    call      call the student's ``name`` with ``args``, ``kwargs``; answers the result
    new       the same, but keep the result (an object) under ``into``; answers nothing
    method    call method ``name`` of the object under ``on``; answers the result
    load      ``load_state_dict(args[0])`` on the object under ``on``; answers nothing
    get       answer the value of the student's global ``name`` (or of the handle ``on``)
    ========  ==========================================================================

    ``into`` on a call or method keeps the result as a handle as well.
    """

    op: str
    name: str = ""
    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    on: str = ""
    into: str = ""


def call(name: str, *args: Any, **kwargs: Any) -> list[Step]:
    """The steps of nearly every case: call ``name`` twice with *the same objects*.

    The second call shows whether the first one changed its inputs.

    >>> [step.op for step in call("normalize", 3)]
    ['put', 'call', 'call']
    """
    puts = [Step("put", args=(value,), into=f"arg{i}") for i, value in enumerate(args)]
    puts += [Step("put", args=(value,), into=f"kw_{key}") for key, value in kwargs.items()]
    refs = tuple(Ref(f"arg{i}") for i in range(len(args)))
    kwrefs = {key: Ref(f"kw_{key}") for key in kwargs}
    return [*puts, Step("call", name, refs, kwrefs), Step("call", name, refs, kwrefs)]


@dataclass(frozen=True)
class Case:
    """One named question to a student's function.

    ``draw(rng)`` returns the steps; it must draw its inputs from ``rng`` (``rng`` is the only source of randomness).
    ``points`` are earned when all ``draws`` of the case are right *and* every ``ordinary`` case of the exercise is.
    ``raises`` asks for an exception in place of a result. ``judge(values, steps)`` replaces the comparison with the
    reference where only a property can be asked: it returns None, or one sentence on what is wrong.
    ``hint`` is read by the student whose answer fails here: it teaches, and never shows the drawn values.
    ``rtol``/``atol`` are those of :func:`torch.testing.assert_close`; integers are compared exactly.
    """

    name: str
    draw: Callable[[np.random.Generator], Sequence[Step]]
    hint: str
    points: float = 0.0
    ordinary: bool = False
    draws: int = 1
    raises: bool = False
    rtol: float = 1e-5
    atol: float = 1e-6
    judge: Callable[[list[Any], Sequence[Step]], str | None] | None = None


@dataclass(frozen=True)
class Exercise:
    """A stub of the course: its name, the chapter it stands in, the reference and the cases.

    ``reference`` is what the answer is held against (:mod:`reference_impl`); ``cpu_seconds`` bounds one step.
    """

    name: str
    stem: str
    reference: Callable[..., Any]
    cases: tuple[Case, ...]
    cpu_seconds: float = 5.0

    @property
    def points(self) -> float:
        """The most that can be earned."""
        return sum(case.points for case in self.cases)


@dataclass(frozen=True)
class CaseVerdict:
    """What became of one case.

    ``status`` is right, wrong, raised, timeout, memory, crash, unwritten, skipped or grader.
    """

    case: str
    status: str
    points: float
    max_points: float
    message: str = ""  # what was compared, where the first difference is; never a drawn value
    hint: str = ""
    line: int | None = None  # of the student's cell, for an exception
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What became of one exercise; plain data all through (``dataclasses.asdict`` gives JSON)."""

    exercise: str
    points: float
    max_points: float
    status: str  # right, partial, wrong, unwritten, missing, grader
    cases: tuple[CaseVerdict, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    memory_mb: float = 0.0


def rng_for(seed: bytes, exercise: str, case: str, index: int) -> np.random.Generator:
    """The generator that draws the ``index``-th inputs of a case: a keyed hash, so no case tells anything of another.

    >>> a = rng_for(b"k" * 32, "normalize", "ordinary", 0).integers(1 << 30)
    >>> b = rng_for(b"k" * 32, "normalize", "ordinary", 1).integers(1 << 30)
    >>> a == b
    np.False_
    """
    label = f"{exercise}\x1f{case}\x1f{index}".encode()
    digest = hashlib.blake2b(label, key=seed, digest_size=32).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
