"""The judge's end of an exercise: steps go in, claims come out, and nothing is believed before it was looked at."""

from __future__ import annotations

import builtins
import contextlib
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from autograder.exercise import Oracle, Prop, Ref, Step
from autograder.room import packing, wire
from autograder.room.frames import Broken, Channel, Late
from autograder.steps import Fault, Reply

if TYPE_CHECKING:
    from autograder.room.opened import Room

CLAIMS = ("raised", "memory", "unwritten", "missing")  # the faults that a room may report of itself
EXCEPTIONS = {name for name, value in vars(builtins).items()
              if isinstance(value, type) and issubclass(value, BaseException)}
ORACLE_CALLS = 20_000  # in one step
ORACLE_BYTES = 64 << 20  # in one call
ANSWER_BYTES = 256 << 20


class Unread(ValueError):
    """A value whose bytes did not come as its header announced them."""


class RoomPlayer:
    """Plays steps with the student's functions, in a process forked for this exercise alone.

    ``cpu`` bounds one step in CPU seconds. ``wall_only`` is set when a step ran out of time on the clock without having
    had that much of a processor: then it deserves a second look. ``memory_mb`` is known once the player is closed.
    """

    device = "cpu"

    def __init__(self, room: Room, cpu: float, wall: float):
        self.room = room
        self.cpu = cpu
        self.wall = wall
        self.wall_only = False
        self.memory_mb = 0.0
        self.dead: Fault | None = None
        self.claimed = 0.0  # CPU seconds that finished steps say they took
        self.oracles: dict[str, Oracle] = {}
        self.turn = 0
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        if not room.begin(theirs):
            self._end(Fault("crash"))

    def reset(self) -> None:
        """Forget every handle."""
        self.oracles = {}
        if not self.dead:
            with self._watched(time.monotonic() + self.wall):
                self.channel.send(["reset"], deadline=time.monotonic() + self.wall)

    def play(self, step: Step) -> Reply:
        """What came of one step."""
        self.turn += 1
        if self.dead:
            return Reply(fault=self.dead)
        blobs: list[bytes] = []
        header = packing.pack([list(step.args), step.kwargs], self._place, blobs)
        plain = {"op": step.op, "name": step.name, "on": step.on, "into": step.into, "args": header}
        started, deadline = time.monotonic(), time.monotonic() + self.wall
        reply = None
        with self._watched(deadline):
            self.channel.send(["step", plain, self.cpu], blobs, deadline)
            reply = self._listen(step, deadline) if step.op != "put" else Reply()
        seconds = time.monotonic() - started
        if reply is None:
            return Reply(fault=self.dead, seconds=seconds)
        return Reply(reply.header, reply.fault, seconds, reply.read)

    def close(self) -> None:
        """End the process; safe to call again."""
        if not self.dead:
            self._end(Fault("crash"))

    def __enter__(self) -> RoomPlayer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _place(self, item: Any) -> list | None:
        """The mark that travels for an argument that is an object."""
        match item:
            case Ref(handle):
                return ["ref", handle]
            case Oracle():
                self.oracles[item.name] = item
                return ["oracle", item.name]
            case Prop(name, source):
                return ["prop", name, source]
        return None

    def _listen(self, step: Step, deadline: float) -> Reply:
        """The first message that answers the step; the student's calls of oracles are served on the way."""
        calls = 0
        while True:
            message = self.channel.receive(deadline)
            match message:
                case ["oracle", str(name), list(given)] if name in self.oracles and calls < ORACLE_CALLS:
                    calls += 1
                    before = time.monotonic()
                    self._serve(self.oracles[name], given, deadline)
                    deadline += time.monotonic() - before
                case ["done", header, int() | float() as seconds] if (header is not None) == answers(step):
                    self.claimed += max(0.0, seconds)
                    if header is None:
                        return Reply()
                    _sizes(header)
                    return Reply(header, read=self._reader(header))
                case ["fault", str(kind), str(name), line, int() | float() as seconds] if kind in CLAIMS:
                    self.claimed += max(0.0, seconds)
                    return Reply(fault=Fault(kind, name if name in EXCEPTIONS else "", _line(line)))
                case _:
                    raise Broken("an answer that is none")

    def _serve(self, oracle: Oracle, given: list, deadline: float) -> None:
        """Answer a call of an oracle; what it cannot take raises in the student's code."""
        sizes = _sizes(given)
        if sum(sizes) > ORACLE_BYTES:
            raise Broken("an oracle was sent far too much")
        blobs = []
        if sizes:
            self.channel.send(["fetch"], deadline=deadline)
            if self.channel.receive(deadline) != ["bytes"]:
                raise Broken("an answer that is none")
            blobs = [self.channel.read(size, deadline) for size in sizes]
        try:
            args, kwargs = build(given, blobs)
            out: list[bytes] = []
            header = packing.pack(oracle.fn(*args, **kwargs), self._place, out)
        except Exception as error:  # it was called with whatever the student's code made up
            name = type(error).__name__
            self.channel.send(["refused", name if name in EXCEPTIONS else "ValueError"], deadline=deadline)
            return
        self.channel.send(["answer", header], out, deadline)

    def _reader(self, header: list) -> Any:
        """A function that reads the value of a header; once, and only until the next step."""
        turn, kept = self.turn, []

        def read() -> Any:
            if not kept:
                kept.append(self._read(header, turn))
            return kept[0]

        return read

    def _read(self, header: list, turn: int) -> Any:
        sizes, blobs = _sizes(header), None
        if sizes and (self.dead or turn != self.turn or sum(sizes) > ANSWER_BYTES):
            raise Unread("the result is gone")
        if sizes:
            deadline = time.monotonic() + self.wall
            with self._watched(deadline):
                self.channel.send(["fetch"], deadline=deadline)
                if self.channel.receive(deadline) != ["bytes"]:
                    raise Broken("an answer that is none")
                blobs = [self.channel.read(size, deadline) for size in sizes]
            if blobs is None:
                raise Unread("the result did not come")
        try:
            return build(header, blobs or [])
        except Exception as error:  # whatever a made-up header breaks, it is no value
            raise Unread("the result is malformed") from error

    @contextlib.contextmanager
    def _watched(self, deadline: float) -> Any:
        """Turn silence and nonsense into the fault that this player will answer with from now on."""
        try:
            yield
        except Late:
            self._end(Fault("timeout"))
        except (Broken, ValueError, TypeError, RecursionError, OverflowError):
            self._end(Fault("crash"))

    def _end(self, fault: Fault) -> None:
        """Have the process ended, and work out from how it went what to call the fault."""
        self.dead = fault
        self.channel.close()
        ended = self.room.finish()
        if ended is None:
            self.dead = Fault("grader")
            return
        number, spent, self.memory_mb = ended
        if fault.kind == "crash" and number in (signal.SIGPROF, signal.SIGXCPU):
            self.dead = Fault("timeout")
        elif fault.kind == "timeout":
            self.wall_only = spent is None or spent - self.claimed < 0.9 * self.cpu


def answers(step: Step) -> bool:
    """Whether a step answers something.

    >>> answers(Step("call", "normalize")), answers(Step("put", args=(1,), into="x"))
    (True, False)
    """
    return step.op in ("call", "method") or (step.op == "get" and not step.into)


def build(header: list, blobs: list[bytes]) -> Any:
    """The value of a header from a room; ValueError for a bool tensor whose bytes are not all 0 and 1."""
    _check_bools(header, iter(blobs))
    return wire.build(header, blobs)


def _check_bools(header: list, blobs: Any) -> None:
    if header[0] in ("list", "tuple"):
        for item in header[1]:
            _check_bools(item, blobs)
    elif header[0] == "dict":
        for pair in header[1]:
            for item in pair:
                _check_bools(item, blobs)
    elif header[0] == "tensor":
        blob = next(blobs)
        if header[1] == "bool" and blob.strip(b"\x00\x01"):
            raise ValueError("a bool that is neither True nor False")


def _sizes(header: Any) -> list[int]:
    """How many bytes each blob of a header from a room has; numbers that nobody could multiply are refused first."""
    if type(header) is not list or not header:
        raise Broken("a header that is no list")
    _check_shapes(header)
    return wire.sizes(header)


def _check_shapes(header: Any) -> None:
    match header:
        case ["tensor", str(), list(shape), str()]:
            if len(shape) > 64 or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
                raise Broken("a shape that no tensor has")
        case ["list" | "tuple" | "dict", list(items)]:
            for item in items:
                for part in item if header[0] == "dict" and type(item) is list else [item]:
                    _check_shapes(part)


def _line(line: Any) -> int | None:
    return line if type(line) is int and 0 < line < 100_000 else None
