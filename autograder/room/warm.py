"""The warm parent: a process that has torch imported, sees no more than a room may see, and forks rooms.

It never reads anything that a student made. A room is three forks away: one takes namespaces of its own, its child is
the first process in them and keeps the room (the *keeper*; the judge can ask it for the CPU time used, and whatever was
started ends with it), and the keeper's child loads the student's cells (:mod:`~autograder.room.inside`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from typing import Any

import numpy as np
import torch

from . import cell, confine, inside
from .frames import Broken, Channel

SWEEP = 2.0  # seconds to end what runs beside a room's own process; what starts anew for longer costs the room


def main(number: int, limits: dict[str, Any]) -> None:
    """Serve the judge on the socket with file descriptor ``number`` until it hangs up."""
    control = Channel(socket.socket(fileno=number))
    lines = []
    if limits["uid"]:
        try:
            confine.become(limits["uid"])
        except OSError as error:
            lines.append(f"a student's code runs as root: user id {limits['uid']} cannot be had ({error.strerror})")
    elif hasattr(os, "getuid") and os.getuid() == 0:
        lines.append("a student's code runs as root, so limits on processes do not hold")
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    cell.transform("%time 1\n")  # imports IPython's transformation once, for every room
    importlib.import_module("torch._dynamo")  # 3 s that torch.func and torch.optim would take out of a student's step
    torch.ones(2, 2).matmul(torch.ones(2, 2)).softmax(-1).tolist(), np.ones(2).sum()
    confine.keep_only(control.sock.fileno())  # not before: until now, the error stream says what went wrong
    sys.path[:] = [entry for entry in sys.path if entry != limits["code"]]
    mapped = confine.virtual_memory()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    control.send(["ready", lines])
    while True:
        try:
            ends = control.receive_sockets(2)
        except Broken:
            os._exit(0)
        if os.fork() == 0:
            try:
                control.close()
                _separate(*ends, limits, mapped)
            finally:
                os._exit(1)
        for end in ends:
            end.close()


def _separate(room: socket.socket, keeper: socket.socket, limits: dict[str, Any], mapped: tuple[int, int]) -> None:
    """Take namespaces, and fork the first process in them."""
    confine.keep_only(room.fileno(), keeper.fileno())
    lines = confine.own_namespaces()
    if os.fork() == 0:
        try:
            _keep(room, Channel(keeper), limits, mapped, lines)
        finally:
            os._exit(1)


def _keep(room: socket.socket, judge: Channel, limits: dict[str, Any], mapped: tuple[int, int],
          lines: list[str]) -> None:
    """Shut the room, start the process that loads the cells, and answer the judge until one of the two ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    alone = os.getpid() == 1
    with contextlib.suppress(OSError):
        os.setsid()
    if alone:
        lines += confine.fresh_mounts(limits["scratch_mb"])
    with contextlib.suppress(OSError):
        os.chdir("/tmp")
    lines += confine.drop_everything()
    lines += confine.set_limits(mapped, limits["memory_mb"], limits["process_cpu"],
                                limits["processes"] if alone else None, limits["file_mb"])
    judge.send(["shut", lines])
    child = os.fork()
    if child == 0:
        try:
            if not alone:
                os.setpgid(0, 0)
                confine.die_with_parent()
            confine.keep_only(room.fileno())
            inside.room(Channel(room), limits)
        finally:
            os._exit(1)
    room.close()
    try:
        while True:
            ready, _, _ = select.select([judge.sock], [], [], 0.5)
            if ready:
                message = judge.receive()
                judge.send(_sweep(child) if message[0] == "sweep" and alone else ["swept", 0, None])
            if _reap(child):
                break
    except Broken:
        pass
    finally:
        if not alone:  # without a pid namespace, the group is the best that can be had
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGKILL)
        os._exit(0)


def _sweep(child: int) -> list:
    """End whatever runs beside the room's own process; how much was left, and the CPU seconds of the whole room."""
    keep = {1, child}
    left: list[int] = []
    until = time.monotonic() + SWEEP
    while time.monotonic() < until:
        left = [process for process, (runs, _) in confine.others(keep).items() if runs]
        if not left:
            break
        for process in left:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.001)
        _reap(child)
    usage = os.times()
    spent = sum(seconds for _, seconds in confine.others({1}).values()) + usage.children_user + usage.children_system
    return ["swept", len(left), spent]


def _reap(child: int) -> bool:
    """Wait for whatever has ended; whether the room's own process has."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            if ended == child:
                return True
        return False
    return True
