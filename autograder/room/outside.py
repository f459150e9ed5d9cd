"""The grader's end of the rooms: one warm parent, and from it a room for each submission.

>>> with Rooms() as rooms, rooms.open([("double", "def double(x): return 2 * x")]) as room:  # doctest: +SKIP
...     room.player("double").play(Step("call", "double", (4,))).fetch()
8
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autograder.exercise import Step
from autograder.room import bubble
from autograder.room.frames import Broken, Channel, Late
from autograder.room.player import EXCEPTIONS, RoomPlayer
from autograder.room.turns import Turns

START = 120.0  # seconds to wait for a warm parent: torch from a cold disk
PATIENCE = 30.0  # seconds for what a room does before and between the student's code
LOADS = 4  # how often a room is opened anew because a statement ended the process
REMARKS = 20


class GraderFault(Exception):
    """The grader itself could not do its work; nothing is known about the student."""


class NotIsolated(Exception):
    """Full isolation was required, and this machine does not give it."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use: CPU seconds per step or statement and in all, memory, processes, sizes of files."""

    cpu: float = 5.0
    total_cpu: float = 120.0
    memory_mb: int = 2048
    processes: int = 48
    file_mb: int = 16
    scratch_mb: int = 64

    def wall(self, cpu: float, alone: bool = False) -> float:
        """Seconds on the clock after which a step of ``cpu`` seconds is given up."""
        return 2 * cpu + 1 if alone else 4 * cpu + 2


class Rooms:
    """Rooms for submissions, all forked from one warm parent; start it where no other thread can end early.

    ``isolation`` says in one line each what is not isolated on this machine; with ``require_isolation`` anything but
    none raises :class:`NotIsolated`. ``workers`` bounds how many rooms are open at once. ``turns`` is a folder of locks
    that the processes of one class share.
    """

    def __init__(self, workers: int = 1, require_isolation: bool = False, limits: Limits | None = None,
                 turns: str | None = None, modes: Sequence[str] = bubble.MODES):
        self.limits = limits or Limits()
        self.turns = Turns(turns)
        self.isolation: tuple[str, ...] = ()
        self.seats = threading.BoundedSemaphore(workers)
        self.lock = threading.Lock()
        self.warm: Warm | None = None
        problems = []
        for self.mode in modes:
            if self.mode != "bare" and not shutil.which("bwrap"):
                continue
            try:
                with self._room([], []) as room:
                    self.isolation = (*self._parent().lines, *room.lines)
            except GraderFault as error:
                problems.append(f"{self.mode}: {error}")
            else:
                if not self.isolation or self.mode != "nested":
                    break
            self.close()
        if self.warm is None:
            raise GraderFault("No room could be opened for a student's code: " + "; ".join(problems))
        if require_isolation and self.isolation:
            self.close()
            raise NotIsolated("Full isolation is required, and here " + "; ".join(self.isolation) + ".")

    def open(self, cells: Sequence[Any], alone: bool = False) -> Room:
        """A room that has loaded ``cells`` ((name, source) pairs, or objects with these attributes).

        A statement that ends the process is left out, and the room opened anew. :class:`GraderFault` when there is none
        to be had.
        """
        pairs = [[cell.name, cell.source] if hasattr(cell, "source") else list(cell)[-2:] for cell in cells]
        skip: list[list[int]] = []
        lost: list[str] = []
        spent, waited = 0.0, False
        self.seats.acquire()
        try:
            for _ in range(LOADS):
                room = self._room(pairs, skip, alone)
                room.spent += spent
                if room.loaded:
                    break
                skip.append(room.at[:2])
                why = "it did not end" if room.late else "it ended the process"
                lost.append(f"{room.where()} was left out: {why}.")
                room.close()
                spent, waited = room.spent, waited or room.wall_only
        except BaseException:
            self.seats.release()
            raise
        room.report = (*lost, *room.report)[:REMARKS]
        room.wall_only = waited
        room.on_close = self.seats.release
        return room

    def _parent(self) -> Warm:
        """The warm parent, started again when it has ended."""
        with self.lock:
            if self.warm and self.warm.process.poll() is not None:
                self.warm.close()
                self.warm = None
            if self.warm is None:
                self.warm = Warm(self.mode, self.limits)
            return self.warm

    def _room(self, pairs: list, skip: list, alone: bool = False) -> Room:
        """A room; one that the warm parent did not live to give is asked for once more."""
        for attempt in (0, 1):
            try:
                return Room(self._parent(), self.limits, pairs, skip, alone)
            except GraderFault:
                with self.lock:
                    if self.warm:
                        self.warm.close()
                        self.warm = None
                if attempt:
                    raise
        raise AssertionError

    def close(self) -> None:
        """End the warm parent and every room."""
        with self.lock:
            if self.warm:
                self.warm.close()
                self.warm = None

    def __enter__(self) -> Rooms:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        self.turns.close()


class Warm:
    """A running warm parent."""

    def __init__(self, mode: str, limits: Limits):
        ours, theirs = socket.socketpair()
        plain = {**asdict(limits), "process_cpu": int(limits.total_cpu) + 10}
        try:
            self.process, self.lines, self.errors, self.folder = bubble.start(mode, theirs.fileno(), plain)
        except OSError as error:
            ours.close()
            raise GraderFault(f"the room's program could not be started: {error}") from None
        finally:
            theirs.close()
        self.control, self.lock = Channel(ours), threading.Lock()
        try:
            _, lines = self.control.receive(time.monotonic() + START)
        except (Broken, Late):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            self.errors.seek(0)
            said = self.errors.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
            self.close()
            raise GraderFault(f"the room's parent process did not start ({said[-1] if said else 'no reason given'})") \
                from None
        self.lines = [*self.lines, *lines]

    def close(self) -> None:
        """End the process and all it started."""
        self.control.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class Room:
    """One submission's room. ``report`` says which statements were left out; ``spent`` are its CPU seconds so far."""

    def __init__(self, warm: Warm, limits: Limits, pairs: list, skip: list, alone: bool = False):
        self.warm, self.limits, self.alone = warm, limits, alone
        self.names = [pair[0] for pair in pairs]
        self.loaded = self.late = self.wall_only = False
        self.report: tuple[str, ...] = ()
        self.at, self.spent, self.before = [0, -1, 1], 0.0, 0.0
        self.current: RoomPlayer | None = None
        self.on_close: Any = lambda: None
        ours, theirs = socket.socketpair()
        self.channel, (ours, keeper) = Channel(ours), socket.socketpair()
        self.keeper = Channel(ours)
        try:
            with warm.lock:
                warm.control.send_sockets(theirs, keeper)
            _, self.lines = self.keeper.receive(time.monotonic() + PATIENCE)
        except (Broken, Late):
            self.close()
            raise GraderFault("the room's parent process is gone") from None
        self._load(pairs, skip)

    def _load(self, pairs: list, skip: list) -> None:
        """Send the cells, and follow how far their loading gets."""
        wall = self.limits.wall(self.limits.cpu, self.alone)
        end = time.monotonic() + max(PATIENCE, wall) * 4
        try:
            self.channel.send(["load", pairs, skip], deadline=time.monotonic() + PATIENCE)
            for _ in range(100_000):
                match self.channel.receive(min(end, time.monotonic() + wall)):
                    case ["at", int(cell), int(statement), int(line)] if 0 <= cell < len(pairs):
                        self.at = [cell, statement, line]
                    case ["loaded", list(report)]:
                        self.loaded, self.report = True, tuple(self._said(entry) for entry in report[:REMARKS])
                        break
                    case _:
                        break
        except Late:
            self.late = True
        except Broken:
            pass
        self._sweep()
        self.wall_only = self.late and self.spent < 0.9 * self.limits.cpu

    def where(self) -> str:
        """The place that loading had reached, in words."""
        name = self.names[self.at[0]] if self.names else "the notebook"
        return f"The statement in line {self.at[2]} of {name}" if self.at[1] >= 0 else f"The whole of {name}"

    def _said(self, entry: Any) -> str:
        """One entry of a room's report in words, none of which it chose."""
        match entry:
            case [str(name), int(line), str(kind), str(error)] if name in self.names:
                why = ("it took too long" if error == "TooLong"
                       else f"it raised {error if error in EXCEPTIONS else 'an exception'}")
                if kind == "cell":
                    return f"{name} could not be read as Python (line {line}), so none of it ran."
                return f"The {STATEMENTS.get(kind, 'statement')} in line {line} of {name} was left out: {why}."
        return "Something was left out."

    def player(self, name: str = "", cpu: float | None = None) -> RoomPlayer:
        """A player for the exercise ``name``, in a process of its own; the one before it is ended."""
        if self.current:
            self.current.close()
        cpu = cpu or self.limits.cpu
        self.before = self.spent
        self.current = RoomPlayer(self, cpu, self.limits.wall(cpu, self.alone))
        return self.current

    def value(self, name: str) -> Any:
        """The plain data that the student's global ``name`` holds, or None."""
        with self.player(name) as player:
            reply = player.play(Step("get", name))
            try:
                return None if reply.fault else reply.fetch()
            except ValueError:
                return None

    def begin(self, end: socket.socket) -> bool:
        """Fork a process that plays on ``end``; whether the room did so."""
        try:
            if not self.loaded:
                raise Broken("there is no room")
            self.channel.send(["exercise"], deadline=time.monotonic() + PATIENCE)
            self.channel.send_sockets(end)
            return self.channel.receive(time.monotonic() + PATIENCE) == ["started"]
        except (Broken, Late):
            end.close()
            self.loaded = False
            return False

    def finish(self) -> tuple[int, float | None, float] | None:
        """End the current process: its signal, the CPU seconds of the room since it began, its memory in MB.

        None when the grader's own parent process has ended.
        """
        number, memory = 0, 0.0
        try:
            if self.loaded:
                self.channel.send(["end"], deadline=time.monotonic() + PATIENCE)
                match self.channel.receive(time.monotonic() + PATIENCE):
                    case ["ended", int(number), int() | float(), int(kilobytes)]:
                        memory = min(max(kilobytes, 0), 1 << 40) / 1024
                    case _:
                        raise Broken("an answer that is none")
        except (Broken, Late):
            self.loaded = False
        known = self._sweep()
        if not known and self.warm.process.poll() is not None:
            return None
        return number, self.spent - self.before if known else None, memory

    def _sweep(self) -> bool:
        """Have everything ended that runs beside the room's own process, and learn the CPU time; False if not known."""
        try:
            self.keeper.send(["sweep"], deadline=time.monotonic() + PATIENCE)
            _, left, spent = self.keeper.receive(time.monotonic() + PATIENCE)
        except (Broken, Late):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.warm.process.wait(0.2)
            return False
        self.loaded = self.loaded and not left
        self.spent = max(self.spent, spent or 0.0)
        return spent is not None

    def close(self) -> None:
        """End the room and all it started."""
        self.channel.close()
        self.keeper.close()
        self.loaded = False
        self.on_close()
        self.on_close = lambda: None

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


STATEMENTS = {"Import": "import", "ImportFrom": "import", "FunctionDef": "function", "AsyncFunctionDef": "function",
              "ClassDef": "class", "Assign": "assignment", "AnnAssign": "assignment", "AugAssign": "assignment",
              "Expr": "expression", "For": "loop", "While": "loop", "With": "block", "Try": "block", "If": "condition"}
