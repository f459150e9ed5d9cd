"""One open room: the judge's end of the process that has loaded a submission's cells."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from autograder.exercise import Step
from autograder.room import wire
from autograder.room.frames import Broken, Channel, Late
from autograder.room.player import EXCEPTIONS, RoomPlayer

PATIENCE = 30.0  # seconds for what a room does before and between the student's code
REMARKS = 20
VALUE_BYTES = 1 << 20
STATEMENTS = {"Import": "import", "ImportFrom": "import", "FunctionDef": "function", "AsyncFunctionDef": "function",
              "ClassDef": "class", "Assign": "assignment", "AnnAssign": "assignment", "AugAssign": "assignment",
              "Expr": "expression", "For": "loop", "While": "loop", "With": "block", "Try": "block", "If": "condition"}


class GraderFault(Exception):
    """The grader itself could not do its work; nothing is known about the student."""


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


class Room:
    """One submission's room. ``report`` says which statements were left out; ``spent`` are its CPU seconds so far."""

    def __init__(self, warm: Any, limits: Limits, pairs: list, skip: list, alone: bool = False):
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
                small = not reply.fault and sum(wire.sizes(reply.header)) <= VALUE_BYTES
                return reply.fetch() if small else None
            except (ValueError, RecursionError):
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
