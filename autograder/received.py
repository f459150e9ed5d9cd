"""One notebook as it was received: valid text, the assignment it belongs to, the time it came.

Strings are made valid here, once; whatever comes after may rely on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from autograder import owners, uploads

CELL_ID = re.compile(r"([a-z_]+)-(?:setup|prelude|stub|check|yours|demo|text|quiz)\b")  # as releases name cells
UNREADABLE = "is no notebook that can be read."
HEAVY = 2 << 20  # a notebook above this is stored without its outputs, which grading does not read


def as_text(data: bytes) -> tuple[str, list[str]]:
    """The text of a notebook's bytes, and what had to be done to read it.

    >>> as_text("é".encode("cp1252"))
    ('é', ['was not written in UTF-8; it was read as Windows-1252'])
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), ["was not written in UTF-8; it was read as UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), ["was not written in UTF-8; it was read as Windows-1252"]


def mended(value: Any) -> Any:
    """JSON data whose strings are all valid: half a surrogate pair becomes U+FFFD.

    >>> mended({"a": ["\\ud83d"]})
    {'a': ['�']}
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    return value


def clean(data: bytes) -> tuple[bytes, str, list[str]]:
    """A notebook's bytes as they are stored, the stem its content names (else ""), and remarks.

    Never raises: what is no notebook is stored as it came, as text, so that grading can say so.
    """
    text, remarks = as_text(data)
    try:
        notebook = json.loads(text)
        if not isinstance(notebook, dict):
            raise ValueError
        stem = content_stem(notebook)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            whole = mended(notebook)
            remarks += ["held broken characters, which were replaced"] if whole != notebook else []
            text, notebook = json.dumps(whole, ensure_ascii=False), whole
        if len(data) > HEAVY:
            for cell in notebook["cells"]:
                cell.pop("attachments", None)
                if "outputs" in cell:
                    cell["outputs"] = []
            text = json.dumps(notebook, ensure_ascii=False)
            size = uploads.mb(len(data))
            remarks.append(f"is large ({size}); its outputs, which grading does not read, were left out")
    except (ValueError, RecursionError, MemoryError, KeyError, TypeError, AttributeError):
        remarks.append(UNREADABLE.rstrip("."))
        return text.encode("utf-8", "replace"), "", remarks
    return text.encode("utf-8", "replace"), stem, remarks


def content_stem(notebook: dict[str, Any]) -> str:
    """The assignment that a notebook's metadata names, or the ids of its cells; "" when neither does."""
    meta = notebook.get("metadata")
    course = meta.get("course") if isinstance(meta, dict) else None
    if isinstance(course, dict) and isinstance(course.get("stem"), str):
        return course["stem"]
    cells = notebook.get("cells")
    ids = [cell.get("id") for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
    found = {m[1] for i in ids if isinstance(i, str) and (m := CELL_ID.match(i))}
    return found.pop() if len(found) == 1 else ""


def stem_of(inside: str, name: str, stems: Collection[str]) -> tuple[str, str]:
    """The assignment of a notebook and what is odd about it; ("", why) when it is none of ``stems``.

    >>> stem_of("", "bigrams (1).ipynb", ["bigrams"])
    ('bigrams', '')
    """
    named = owners.base_name(name)
    by_name = next((stem for stem in stems if re.search(rf"(^|[^A-Za-z0-9]){stem}($|[^A-Za-z0-9])", named, re.I)), "")
    if inside in stems:
        return inside, f"is a notebook of '{inside}', not of '{by_name}'" if by_name not in ("", inside) else ""
    if inside:
        return "", f"is a notebook of '{inside[:60]}', which is no assignment of this course"
    if by_name:
        return by_name, ""
    return "", "could be of any assignment: neither its name nor its content says which"


def moment(text: str) -> datetime | None:
    """The time that a ``timestamp.txt`` or a folder of the exchange gives, in UTC; None when it is none.

    >>> moment("2026-03-01 10:00:00.5 UTC").isoformat()
    '2026-03-01T10:00:00.500000+00:00'
    """
    from dateutil import parser

    try:
        found = parser.parse(text.strip()[:100])
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError):
        return None
