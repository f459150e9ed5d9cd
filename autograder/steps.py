"""How a step is played: what a player is, what it answers, and the player that works in this process.

A :class:`Player` gets one :class:`~autograder.exercise.Step` after the other and answers each with a :class:`Reply`:
the header of the result first, its value only when somebody asks. :class:`LocalPlayer` plays on the student's own
machine and for the reference; the room has one that speaks over a pipe.

Two things a case may build from steps: ``put`` of a :class:`~autograder.exercise.Prop` keeps the function that its
source defines, so that ``method`` ``__call__`` on that handle runs it where the student's code is; and ``get`` of a
name with ``into`` keeps the student's function itself and answers nothing (:func:`gradient` uses both).
"""

from __future__ import annotations

import contextlib
import io
import sysconfig
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from autograder.bounds import OutOfTime, default_dtype, time_limit
from autograder.exercise import Oracle, Prop, Ref, Step
from autograder.room import wire

PRINT_LIMIT = 4000  # characters kept of what a function prints


@dataclass(frozen=True)
class Fault:
    """Why there is no result.

    ``kind`` is raised, timeout, memory, crash, unwritten (a stub as it was released), missing (no such name) or
    grader (not the student's fault). ``exception`` is the class name; a room gives it for builtin classes only.
    ``message`` and ``trace`` hold the student's own words: they are for their own machine and stay empty in a room.
    """

    kind: str
    exception: str = ""
    line: int | None = None
    message: str = ""
    trace: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """The answer to one step: ``header`` is :func:`autograder.room.wire.describe` of the result.

    ``header`` is None where a step answers nothing (put, new, load) and where there is a ``fault``.
    """

    header: list | None = None
    fault: Fault | None = None
    seconds: float = 0.0
    read: Callable[[], Any] | None = field(default=None, repr=False)

    def fetch(self) -> Any:
        """The value, with its tensors on the CPU. Call it only when the header is the expected one.

        >>> Reply(["int", 3], read=lambda: 3).fetch()
        3
        """
        return self.read() if self.read else None


class Player(Protocol):
    """Whoever can play steps: the student's code in this process or in a room, and the reference."""

    device: str

    def play(self, step: Step) -> Reply:
        """What came of one step; never raises for anything the student's code does."""

    def reset(self) -> None:
        """Forget every handle: the next step belongs to another draw."""


class LocalPlayer:
    """Plays steps with the functions of ``namespace``, in this process.

    Every drawn input is copied and moved to ``device``, so that no two players ever share one. ``limit`` bounds one
    step in seconds (:func:`autograder.bounds.time_limit`), where the platform can do that: the main thread of a POSIX
    system. ``double`` computes in float64: it is how the reference finds the values that others are held against.
    ``quiet`` keeps what the code prints in ``printed`` and off the screen.

    >>> player = LocalPlayer({"double": lambda x: 2 * x})
    >>> player.play(Step("call", "double", (4,))).fetch()
    8
    >>> player.play(Step("call", "halve", (4,))).fault.kind
    'missing'
    """

    def __init__(self, namespace: dict[str, Any], device: str = "cpu", *, limit: float | None = None,
                 double: bool = False, quiet: bool = False):
        self.namespace = namespace
        self.device = device
        self.limit = limit
        self.double = double
        self.quiet = quiet
        self.printed = ""
        self.handles: dict[str, Any] = {}

    def reset(self) -> None:
        """Forget every handle and everything printed."""
        self.handles = {}
        self.printed = ""

    def play(self, step: Step) -> Reply:
        """What came of one step."""
        output = _Bounded()
        silence = contextlib.redirect_stdout(output) if self.quiet else contextlib.nullcontext()
        started = time.perf_counter()
        try:
            with silence, time_limit(self.limit), default_dtype(torch.float64 if self.double else torch.float32):
                result, answers = self._perform(step)
            fault = None
        except OutOfTime:
            fault = Fault("timeout", message=f"did not finish in {self.limit:g} seconds")
        except _Missing as missing:
            fault = Fault("missing", message=str(missing))
        except (Exception, SystemExit) as error:
            fault = fault_of(error)
        finally:
            seconds = time.perf_counter() - started
            self.printed = (self.printed + output.getvalue())[:PRINT_LIMIT]
        if fault or not answers:
            return Reply(fault=fault, seconds=seconds)
        header = wire.describe(result)
        return Reply(header, seconds=seconds, read=lambda: wire.build(header, wire.blobs(result)))

    def _perform(self, step: Step) -> tuple[Any, bool]:
        """The result of a step, and whether it is an answer."""
        args = tuple(self._arrive(value) for value in step.args)
        kwargs = {key: self._arrive(value) for key, value in step.kwargs.items()}
        match step.op:
            case "put":
                self.handles[step.into] = args[0]
                return None, False
            case "call" | "new":
                result = self._named(step.name)(*args, **kwargs)
                if step.op == "new" and self.double and isinstance(result, torch.nn.Module):
                    result = result.double()
            case "method":
                result = getattr(self._held(step.on), step.name)(*args, **kwargs)
            case "load":
                self._held(step.on).load_state_dict(args[0])
                return None, False
            case "get":
                result = self._held(step.on) if step.on else self._named(step.name)
            case _:
                raise ValueError(f"no such step: {step.op}")
        if step.into:
            self.handles[step.into] = result
        return result, not (step.op == "new" or (step.op == "get" and step.into))

    def _named(self, name: str) -> Any:
        if name not in self.namespace:
            raise _Missing(f"nothing is called {name}")
        return self.namespace[name]

    def _held(self, handle: str) -> Any:
        if handle not in self.handles:
            raise ValueError(f"nothing is kept under the handle {handle}")
        return self.handles[handle]

    def _arrive(self, value: Any) -> Any:
        """A drawn value as the student's code gets it: a copy on the device, oracles and props made callable."""
        match value:
            case Ref(handle):
                return self._held(handle)
            case Oracle():
                return self._oracle(value)
            case Prop(name, source):
                scope: dict[str, Any] = {"torch": torch}
                exec(compile(source, f"<prop {name}>", "exec"), scope)
                return scope[name]
            case list() | tuple():
                return type(value)(self._arrive(item) for item in value)
            case dict():
                return {key: self._arrive(item) for key, item in value.items()}
        copy = wire.build(wire.describe(value), wire.blobs(value), self.device)
        return copy.double() if self.double and torch.is_tensor(copy) and copy.is_floating_point() else copy

    def _oracle(self, oracle: Oracle) -> Callable[..., Any]:
        """The callable that stands for ``oracle``: plain data in, plain data out, nothing shared."""

        def ask(*args: Any, **kwargs: Any) -> Any:
            given = [list(args), kwargs]
            if _holds_other(wire.describe(given)):
                raise TypeError(f"{oracle.name} takes numbers, strings, lists and tensors only")
            args, kwargs = wire.build(wire.describe(given), wire.blobs(given))
            return self._arrive(oracle.fn(*args, **kwargs))

        ask.__name__ = oracle.name
        return ask


class _Missing(LookupError):
    pass


class _Bounded(io.StringIO):
    """Keeps the first characters written and drops the rest."""

    def write(self, text: str) -> int:
        room = PRINT_LIMIT - self.tell()
        if room > 0:
            super().write(text[:room])
        return len(text)


def _holds_other(header: list) -> bool:
    """Whether something in a header is no plain data."""
    if header[0] == "other":
        return True
    if header[0] in ("list", "tuple"):
        return any(map(_holds_other, header[1]))
    if header[0] == "dict":
        return any(_holds_other(item) for pair in header[1] for item in pair)
    return False


def gradient(name: str, *args: Any, wrt: int = 0) -> list[Step]:
    """The steps that ask for the gradient of the sum of ``name(*args)`` with respect to argument number ``wrt``.

    >>> player = LocalPlayer({"square": lambda x: x * x})
    >>> [player.play(step) for step in gradient("square", torch.tensor([3.0, 4.0]))][-1].fetch()
    tensor([6., 8.])
    """
    source = f"""def gradient(function, *args):
    args = list(args)
    args[{wrt}] = args[{wrt}].detach().clone().requires_grad_()
    return torch.autograd.grad(function(*args).sum(), args[{wrt}])[0]
"""
    puts = [Step("put", args=(value,), into=f"arg{i}") for i, value in enumerate(args)]
    return [*puts, Step("put", args=(Prop("gradient", source),), into="gradient"),
            Step("get", name, into="function"),
            Step("method", "__call__", (Ref("function"), *(Ref(f"arg{i}") for i in range(len(args)))), on="gradient")]


_LIBRARIES = tuple({*(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")),
                    str(Path(torch.__file__).parent), str(Path(__file__).parent)})


def fault_of(error: BaseException) -> Fault:
    """The fault that an exception of the student's code is, with the line of their own code where it came from.

    >>> fault_of(ValueError("no")).exception
    'ValueError'
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith((*_LIBRARIES, "<prop ", "<frozen "))]
    trace = tuple(f"line {frame.lineno}: {frame.line}" if frame.line else f"line {frame.lineno}"
                  for frame in frames[-3:])
    try:
        message = "" if isinstance(error, SystemExit) else str(error)[:400]
    except Exception:
        message = ""
    kind = "raised"
    if type(error) is NotImplementedError and not error.args:
        kind = "unwritten"
    elif isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        kind = "memory"
    return Fault(kind, type(error).__name__, frames[-1].lineno if frames else None, message, trace)
