"""Bounds around a piece of somebody else's code: how long it may take, and torch's default dtype while it runs."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch


class OutOfTime(BaseException):
    """Raised in the middle of a step that takes too long; no ``except Exception`` swallows it."""


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Torch's default dtype in the block; what it was before comes back after it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises :class:`OutOfTime` in the block after ``seconds``; does nothing where signals cannot do that.

    They are seconds of the processor, so that a busy machine costs nobody anything; code that only waits has six times
    as many by the clock. Whatever alarm was set before is set again afterwards.
    """
    if seconds is None or not hasattr(signal, "setitimer") or (
            threading.current_thread() is not threading.main_thread()):
        yield
        return
    inside = True
    worked, started = time.thread_time(), time.monotonic()

    def ring(number: int, frame: Any) -> None:
        if inside and (time.thread_time() - worked >= seconds or time.monotonic() - started >= 6 * seconds):
            raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    old = signal.setitimer(signal.ITIMER_REAL, seconds, min(0.5, seconds))  # again: a bare `except:` may swallow one
    try:
        try:
            yield
        finally:
            inside = False
    finally:  # of its own, for the alarm that rings as the first one ends
        signal.setitimer(signal.ITIMER_REAL, *old)
        signal.signal(signal.SIGALRM, before)
