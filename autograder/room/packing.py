"""The arguments of a step on their way into a room: plain data, with the places marked where an object belongs.

A place is ``["ref", handle]``, ``["oracle", name]`` or ``["prop", name, source]``; all else is what
:mod:`~autograder.room.wire` describes. This file runs on both sides of the wall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import wire


def pack(value: Any, place: Callable[[Any], list | None], blobs: list[bytes]) -> list:
    """The header of ``value``; its bytes are added to ``blobs``. ``place(item)`` gives the mark of an item, or None.

    >>> pack([1, "here"], lambda item: ["ref", "arg0"] if item == "here" else None, [])
    ['list', [['int', 1], ['ref', 'arg0']]]
    """
    mark = place(value)
    if mark is not None:
        return mark
    kind = type(value)
    if kind in (list, tuple):
        return [kind.__name__, [pack(item, place, blobs) for item in value]]
    if kind is dict:
        return ["dict", [[pack(k, place, blobs), pack(v, place, blobs)] for k, v in value.items()]]
    blobs.extend(wire.blobs(value))
    return wire.describe(value)


def sizes(header: list) -> list[int]:
    """How many bytes each blob of a packed value has."""
    if header[0] in ("list", "tuple"):
        return [size for item in header[1] for size in sizes(item)]
    if header[0] == "dict":
        return [size for pair in header[1] for item in pair for size in sizes(item)]
    return [] if header[0] in ("ref", "oracle", "prop") else wire.sizes(header)


def unpack(header: list, blobs: Iterator[bytes], found: Callable[[list], Any]) -> Any:
    """The value that a header and its blobs describe; ``found(mark)`` gives the object for a place.

    >>> unpack(["list", [["int", 1], ["ref", "arg0"]]], iter([]), lambda mark: mark[1])
    [1, 'arg0']
    """
    if header[0] in ("ref", "oracle", "prop"):
        return found(header)
    if header[0] in ("list", "tuple"):
        items = [unpack(item, blobs, found) for item in header[1]]
        return items if header[0] == "list" else tuple(items)
    if header[0] == "dict":
        return {unpack(k, blobs, found): unpack(v, blobs, found) for k, v in header[1]}
    return wire.build(header, [next(blobs) for _ in wire.sizes(header)])
