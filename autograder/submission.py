"""Reading what was handed in: bytes become a list of cells, bounded at every step, and nothing is run or rendered.

Metadata, outputs and attachments are passed over; what is left is valid text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 24 << 20  # of a file
MAX_ITEMS = 2_000_000  # brackets and braces in it: each becomes an object
MAX_CELLS = 2_000
MAX_SOURCE = 200_000  # characters of one cell


class Unreadable(Exception):
    """What was handed in is no notebook of this assignment; the message is one sentence for the student."""


def parse(submitted: bytes | str, remarks: list[str]) -> dict:
    """The JSON object in a file, bounded before it is parsed."""
    if len(submitted) > MAX_BYTES:
        raise Unreadable(f"The file has {len(submitted) / 1e6:.0f} MB, and at most {MAX_BYTES / 1e6:.0f} MB are read: "
                         "clear all outputs and hand it in again.")
    text = submitted if isinstance(submitted, str) else decode(submitted, remarks)
    if not text.strip():
        raise Unreadable("The file is empty.")
    if text.count("[") + text.count("{") > MAX_ITEMS:
        raise Unreadable("The file holds far too many items for a notebook: clear all outputs and hand it in again.")
    try:
        document = json.loads(text)
    except RecursionError:
        raise Unreadable("The file is nested far too deeply for a notebook.") from None
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"The file is no notebook: it is not valid JSON{where}.") from None
    if not isinstance(document, dict):
        raise Unreadable("The file is JSON, but no notebook: it has no list of cells.")
    return document


def decode(data: bytes, remarks: list[str]) -> str:
    """The text of a file: UTF-8, with or without a mark, or what its byte order mark says.

    >>> decode(b"\\xef\\xbb\\xbf{}", []), decode("{}".encode("utf-16"), []), decode(b"caf\\xe9", said := [])
    ('{}', '{}', 'caf\\ufffd')
    >>> said
    ['The file is not UTF-8, so some characters were replaced.']
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        remarks.append("The file is not UTF-8, so some characters were replaced.")
        return data.decode(encoding, "replace")


def valid(text: str) -> str:
    """The text without what UTF-8, Python or a database cannot hold; surrogate pairs are joined.

    >>> valid("a\\ud800b\\x00\\r\\n"), valid("\\ud83d\\ude00") == "\\U0001f600"
    ('a\\ufffdb\\ufffd\\n', True)
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\x00", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")


@dataclass
class Found:
    """A cell of a submission: its type, everything it may be recognised by, and its source."""

    code: bool
    ids: tuple[str, ...]
    grade_id: str
    source: str


@dataclass
class Submission:
    """What was handed in: the chapter and the release that the notebook names, and its cells."""

    stem: str
    release: str
    cells: list[Found]


def read(submitted: bytes | str, remarks: list[str]) -> Submission:
    """The cells of a submission; :class:`Unreadable` when there are none to be had. Remarks are added to the list.

    >>> read('{"cells": [{"cell_type": "code", "source": ["x = ", "1"]}]}', []).cells[0].source
    'x = 1'
    """
    document = parse(submitted, remarks)
    cells = _cells(document)
    if len(cells) > MAX_CELLS:
        remarks.append(f"Only the first {MAX_CELLS} cells were read.")
    found = []
    for number, cell in enumerate(cells[:MAX_CELLS], 1):
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input", ""))  # notebooks of format 3 say input
        if isinstance(source, list):
            source = "".join(part for part in source if isinstance(part, str))
        code = cell.get("cell_type") == "code"
        if code and (not isinstance(source, str) or len(source) > MAX_SOURCE):
            remarks.append(f"Cell {number} was left out: it holds no text, or more than {MAX_SOURCE} characters.")
            source = ""
        metadata = mapping(cell, "metadata")
        found.append(Found(code, (*texts(cell, "id"), *texts(metadata, "id")),  # Colab keeps a copy of the id there
                           "".join(texts(mapping(metadata, "nbgrader"), "grade_id")),
                           valid(source) if isinstance(source, str) and len(source) <= MAX_SOURCE else ""))
    course = mapping(mapping(document, "metadata"), "course")
    return Submission("".join(texts(course, "stem"))[:60], "".join(texts(course, "release")), found)


def _cells(document: dict) -> list:
    cells = document.get("cells")
    if cells is None and isinstance(document.get("worksheets"), list):
        cells = [cell for sheet in document["worksheets"] if isinstance(sheet, dict)
                 for cell in (sheet.get("cells") if isinstance(sheet.get("cells"), list) else [])]
    if not isinstance(cells, list):
        raise Unreadable("The file is JSON, but no notebook: it has no list of cells.")
    return cells


def mapping(value: Any, key: str) -> dict:
    """The dict under ``key``, empty where there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def texts(value: dict, key: str) -> tuple[str, ...]:
    """The text under ``key`` as the only item, or nothing."""
    found = value.get(key)
    return (valid(found),) if isinstance(found, str) else ()
