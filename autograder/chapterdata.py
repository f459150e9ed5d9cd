"""What a chapter knows about itself on a student's machine: its names, its release and its quiz, as one JSON file.

``python -m autograder notebooks`` writes the files; the wheel carries them. A checkout that was never built has none,
and then ``check`` works all the same, and the quiz says what is missing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PACKAGED = Path(__file__).parent / "data"
BUILT = Path(__file__).parents[1] / "_build" / "data"


def load(stem: str) -> dict[str, Any] | None:
    """The data of a chapter, or None where there is none: ``stem``, ``version``, ``release``, ``prelude_names``,
    ``demo_names``, ``stubs``, ``quiz``, and ``page_url`` where the book's address is known.

    >>> load("no such chapter") is None
    True
    """
    if not isinstance(stem, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", stem):
        return None
    for folder in (PACKAGED, BUILT):
        try:
            data = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            return data
    return None


def names(stem: str, key: str) -> frozenset[str]:
    """The names a chapter lists under ``key`` (``demo_names``, ``prelude_names``, ``stubs``); empty without data.

    >>> names("no such chapter", "stubs")
    frozenset()
    """
    return frozenset((load(stem) or {}).get(key) or ())
