"""The room itself: one process that has loaded the student's cells, and a further fork of it for each exercise.

From the first cell on, everything here is in the student's hands. What it says is therefore only ever a claim: the
judge bounds it, checks its form, and compares its values with those it worked out itself.
"""

from __future__ import annotations

import builtins
import contextlib
import signal
from os import WNOHANG, _exit, fork, getpid, kill, wait4, waitstatus_to_exitcode
from signal import setitimer
from signal import signal as on_signal
from time import monotonic, process_time, sleep
from typing import Any

import torch

from . import cell, confine, packing, wire
from .frames import CAP, Broken, Channel, dumps

TRUSTED = 1 << 30  # bytes of a message from the judge
set_default_dtype = torch.set_default_dtype

def room(channel: Channel, limits: dict[str, Any]) -> None:
    """Load the cells that the judge sends, then serve it until it hangs up. Never returns."""
    try:
        _, cells, skip = channel.receive(cap=TRUSTED)
        scope = cell.namespace()
        report = cell.load(cells, {tuple(pair) for pair in skip}, scope, limits["cpu"],
                           lambda *where: channel.send(["at", *where]))
        channel.send(["loaded", report])
        while True:
            message = channel.receive()
            if message[0] == "exercise":
                _exercise(channel, scope, limits)
    except Broken:
        pass
    finally:
        _exit(0)


def _exercise(channel: Channel, scope: dict[str, Any], limits: dict[str, Any]) -> None:
    """Fork a process that plays one exercise; when the judge has done with it, say how it ended."""
    (end,) = channel.receive_sockets(1)
    child = fork()
    if child == 0:
        try:
            confine.keep_only(end.fileno())
            Stage(Channel(end), scope, limits).serve()
        finally:
            _exit(0)
    end.close()
    channel.send(["started"])
    channel.receive()  # "end"
    until = monotonic() + 0.2  # a process that crashed closes its socket a moment before it can be waited for
    ended = 0
    while not ended and monotonic() < until:
        ended, status, usage = wait4(child, WNOHANG)
        if not ended:
            sleep(0.005)
    if not ended:
        kill(child, signal.SIGKILL)
        _, status, usage = wait4(child, 0)
    code = waitstatus_to_exitcode(status)
    channel.send(["ended", -code if code < 0 else 0, usage.ru_utime + usage.ru_stime, usage.ru_maxrss])


class Stage:
    """Plays the steps of one exercise: keeps the handles, calls the student's functions, answers with plain data."""

    def __init__(self, channel: Channel, scope: dict[str, Any], limits: dict[str, Any]):
        self.channel = channel
        self.scope = scope
        self.cpu = limits["cpu"]
        self.handles: dict[str, Any] = {}
        self.spoilt: list | None = None  # the fault of a put
        self.result: Any = None  # of the last step, until the judge has asked for its bytes
        self.process = getpid()

    def serve(self) -> None:
        """Answer the judge until it hangs up."""
        if hasattr(signal, "SIGPROF"):
            on_signal(signal.SIGPROF, signal.SIG_DFL)  # the kernel ends a step that takes too long
        while True:
            message = self.channel.receive(cap=TRUSTED)
            if message[0] == "reset":
                self.handles = {}
            elif message[0] == "fetch":
                self.channel.send(["bytes"], wire.blobs(self.result))
            elif message[0] == "step":
                _, step, cpu = message
                blobs = [self.channel.read(size) for size in packing.sizes(step["args"])]
                self.answer(step, iter(blobs), cpu)

    def answer(self, step: dict[str, Any], blobs: Any, cpu: float) -> None:
        """Play one step; the header goes out first, and the bytes when the judge asks for them."""
        self.result = None
        started = process_time()
        set_default_dtype(torch.float32)
        self._timer(cpu)
        try:
            self.result, answers = self.perform(step, blobs)
            header = wire.describe(self.result) if answers else None
            message = ["done", header]
            if len(dumps(message)) > CAP // 2:
                message = ["done", ["other", "too much"]]
        except Broken:
            raise
        except BaseException as error:
            message = ["fault", *fault(error)]
        finally:
            if getpid() != self.process:
                _exit(0)
        self._timer(0)
        if step["op"] == "put":  # nobody waits for an answer; what went wrong is told at the next step
            self.spoilt = self.spoilt or (message if message[0] == "fault" else None)
        else:
            self.channel.send([*(self.spoilt or message), process_time() - started])
            self.spoilt = None

    def perform(self, step: dict[str, Any], blobs: Any) -> tuple[Any, bool]:
        """The result of a step, and whether it is an answer."""
        args, kwargs = packing.unpack(step["args"], blobs, self._found)
        op, name, on, into = step["op"], step["name"], step["on"], step["into"]
        match op:
            case "put":
                self.handles[into] = args[0]
                return None, False
            case "call" | "new":
                result = self._named(name)(*args, **kwargs)
            case "method":
                result = getattr(self.handles[on], name)(*args, **kwargs)
            case "load":
                self.handles[on].load_state_dict(args[0])
                return None, False
            case "get":
                result = self.handles[on] if on else self._named(name)
            case _:
                raise Broken(f"no such step: {op}")
        if into:
            self.handles[into] = result
        return result, not (op == "new" or (op == "get" and into))

    def _named(self, name: str) -> Any:
        if name not in self.scope:
            raise Missing
        return self.scope[name]

    def _found(self, mark: list) -> Any:
        """The object that a place in the arguments stands for."""
        if mark[0] == "ref":
            return self.handles[mark[1]]
        if mark[0] == "prop":
            scope: dict[str, Any] = {"torch": torch}
            exec(compile(mark[2], f"<prop {mark[1]}>", "exec"), scope)
            return scope[mark[1]]

        def oracle(*args: Any, **kwargs: Any) -> Any:
            return self._ask(mark[1], [list(args), kwargs])

        oracle.__name__ = mark[1]
        return oracle

    def _ask(self, name: str, given: list) -> Any:
        """What the judge answers to a call of one of its functions."""
        self.channel.send(["oracle", name, wire.describe(given)])
        message = self.channel.receive(cap=TRUSTED)
        if message[0] == "fetch":
            self.channel.send(["bytes"], wire.blobs(given))
            message = self.channel.receive(cap=TRUSTED)
        if message[0] == "refused":
            raise getattr(builtins, message[1], RuntimeError)(f"{name} could not be called with these arguments")
        blobs = iter([self.channel.read(size) for size in packing.sizes(message[1])])
        return packing.unpack(message[1], blobs, self._found)

    def _timer(self, seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            setitimer(signal.ITIMER_PROF, seconds)


class Missing(Exception):
    """The student's cells define no such name."""


def fault(error: BaseException) -> list:
    """The kind of a fault, the class of the exception when it is a builtin one, and the student's line."""
    kind = "raised"
    if type(error) is Missing:
        return ["missing", "", None]
    if type(error) is NotImplementedError and not error.args:
        kind = "unwritten"
    elif type(error) is MemoryError:
        kind = "memory"
    elif type(error) is RuntimeError:
        with contextlib.suppress(Exception):
            kind = "memory" if "can't allocate memory" in str(error) else kind
    return [kind, cell.exception_name(error), cell.line_of(error)]
