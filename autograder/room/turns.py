"""Who may run at once: rooms share the machine, and a second look at a step that only the clock saw late has it alone.

The locks are files, so that they hold between the processes of one class.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


class Turns:
    """A lock that many may share or one may have alone; who wants it alone is let in before later sharers.

    >>> turns = Turns()
    >>> with turns.shared(), turns.shared():
    ...     pass
    >>> with turns.alone():
    ...     pass
    >>> turns.close()
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self._own = tempfile.TemporaryDirectory(prefix="turns-") if folder is None else None
        self.folder = Path(self._own.name if self._own else folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _hold(self, name: str, kind: int) -> Iterator[None]:
        with open(self.folder / name, "a") as file:
            fcntl.flock(file, kind)
            yield

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others."""
        with contextlib.ExitStack() as stack:
            with self._hold("door.lock", fcntl.LOCK_EX):
                stack.enter_context(self._hold("room.lock", fcntl.LOCK_SH))
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Run when all others have ended, and before any other starts."""
        with self._hold("door.lock", fcntl.LOCK_EX), self._hold("room.lock", fcntl.LOCK_EX):
            yield

    def close(self) -> None:
        """Remove the lock files, where they are this object's own."""
        if self._own:
            self._own.cleanup()
