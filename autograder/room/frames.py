"""Messages over a socket: a length, a JSON value, and then only the bytes that the message announced.

Whatever arrives from a room is hostile until shown otherwise: every frame is bounded before it is read, every wait ends
at a deadline, and a frame that is no JSON list is :class:`Broken`. This file runs on both sides of the wall.
"""

from __future__ import annotations

import socket
import time
from json import dumps, loads
from struct import Struct

LENGTH = Struct(">Q")
CAP = 4 << 20  # bytes of JSON in one frame


class Broken(Exception):
    """The other side is gone, or does not keep to the protocol."""


class Late(Exception):
    """The other side did not answer before the deadline."""


def no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


class Channel:
    """One end of a stream socket that carries messages.

    >>> ours, theirs = map(Channel, socket.socketpair())
    >>> ours.send(["step", 1], [b"abc"])
    >>> theirs.receive(), theirs.read(3)
    (['step', 1], b'abc')
    >>> ours.close()
    >>> theirs.receive()
    Traceback (most recent call last):
    ...
    autograder.room.frames.Broken: the connection is closed
    """

    def __init__(self, sock: socket.socket):
        self.sock = sock

    def send(self, message: list, blobs: list[bytes] | None = None, deadline: float | None = None) -> None:
        """Send a message, and behind it the raw bytes that it announces."""
        body = dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
        try:
            self.sock.settimeout(_left(deadline))
            self.sock.sendall(LENGTH.pack(len(body)) + body)
            for blob in blobs or ():
                self.sock.settimeout(_left(deadline))
                self.sock.sendall(blob)
        except TimeoutError:
            raise Late("nobody reads") from None
        except OSError as error:
            raise Broken("the connection is closed") from error

    def receive(self, deadline: float | None = None, cap: int = CAP) -> list:
        """The next message, a list; :class:`Broken` or :class:`Late` when there is none."""
        (size,) = LENGTH.unpack(self.read(LENGTH.size, deadline))
        if size > cap:
            raise Broken(f"a message of {size} bytes; at most {cap} are read")
        try:
            message = loads(self.read(size, deadline), parse_constant=no_constant)
        except (ValueError, RecursionError, MemoryError) as error:
            raise Broken("a message that is no JSON") from error
        if type(message) is not list or not message or type(message[0]) is not str:
            raise Broken("a message that is no list")
        return message

    def read(self, size: int, deadline: float | None = None) -> bytes:
        """Exactly ``size`` raw bytes."""
        parts = bytearray()
        while len(parts) < size:
            try:
                self.sock.settimeout(_left(deadline))
                part = self.sock.recv(min(size - len(parts), 1 << 20))
            except TimeoutError:
                raise Late("no answer") from None
            except OSError as error:
                raise Broken("the connection is closed") from error
            if not part:
                raise Broken("the connection is closed")
            parts += part
        return bytes(parts)

    def send_sockets(self, *ends: socket.socket) -> None:
        """Hand sockets over to the other side; they are closed here."""
        try:
            self.sock.settimeout(5)
            socket.send_fds(self.sock, [b"+"], [end.fileno() for end in ends])
        except OSError as error:
            raise Broken("the connection is closed") from error
        finally:
            for end in ends:
                end.close()

    def receive_sockets(self, count: int) -> list[socket.socket]:
        """The sockets that the other side hands over; :class:`Broken` at the end of the connection."""
        try:
            self.sock.settimeout(None)
            mark, numbers, _, _ = socket.recv_fds(self.sock, 1, count)
        except OSError as error:
            raise Broken("the connection is closed") from error
        if mark != b"+" or len(numbers) != count:
            raise Broken("the connection is closed")
        return [socket.socket(fileno=number) for number in numbers]

    def close(self) -> None:
        """Close this end."""
        self.sock.close()


def _left(deadline: float | None) -> float | None:
    """Seconds until a deadline, for settimeout; never 0, which would mean not to wait at all."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late("the deadline has passed")
    return left
