"""The grader's end of the rooms: one warm parent, and from it a room for each submission.

``Rooms().open([("double", "def double(x): return 2 * x")])`` is a room, ``room.player("double")`` plays steps in it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autograder.room import bubble
from autograder.room.frames import Broken, Channel, Late
from autograder.room.opened import REMARKS, GraderFault, Limits, Room
from autograder.room.turns import Turns

__all__ = ["GraderFault", "Limits", "NotIsolated", "Room", "Rooms"]

START = 120.0  # seconds to wait for a warm parent: torch from a cold disk
LOADS = 4  # how often a room is opened anew because a statement ended the process


class NotIsolated(Exception):
    """Full isolation was required, and this machine does not give it."""


class Rooms:
    """Rooms for submissions, all forked from one warm parent; start it where no other thread can end early.

    ``isolation`` says in one line each what is not isolated on this machine; with ``require_isolation`` anything but
    none raises :class:`NotIsolated`. ``workers`` bounds how many rooms are open at once: one more waits until another
    is closed. ``turns`` is a folder of locks that the processes of one class share.
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
                    self.isolation = (*problems, *self._parent().lines, *room.lines)
            except GraderFault as error:
                problems.append(f"no room of the kind '{self.mode}' can be had: {error}")
            else:
                if not self.isolation or self.mode != "nested":
                    break
            self.close()
        if self.warm is None:
            raise GraderFault("No room could be opened for a student's code: " + "; ".join(problems) + ".")
        if require_isolation:
            self.demand_isolation()

    def demand_isolation(self) -> None:
        """Close the rooms and raise :class:`NotIsolated`, if anything is not isolated."""
        if self.isolation:
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
