"""Reads the answers that students give: ``tests/checks/STEM/NAME.py``.

Such a file holds many definitions of NAME, each below a comment that says what becomes of it: ``# right: how`` or
``# wrong in "CASE": why``, CASE being the first case it fails, and perhaps ``# says "part of the message"``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
HEADING = re.compile(r'^# (?:right|wrong in "(?P<case>[^"]+)"): (?P<what>.+)\n(?:# says "(?P<says>[^"]+)"\n)?', re.M)


@dataclass(frozen=True)
class Answer:
    """One answer: ``case`` is the first case it fails ("" for a right one), ``says`` a part of that case's message."""

    name: str
    case: str
    what: str
    says: str
    source: str

    def namespace(self) -> dict:
        """What the answer's cell leaves behind when it runs."""
        scope: dict = {}
        exec(compile(self.source, f"<{self.name}: {self.what}>", "exec"), scope)
        return scope


def read(stem: str, name: str) -> list[Answer]:
    """The answers to one exercise, in the order of its file."""
    text = (FOLDER / stem / f"{name}.py").read_text("utf-8")
    headings = list(HEADING.finditer(text))
    imports = text[: headings[0].start()]
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return [Answer(name, h["case"] or "", h["what"], h["says"] or "", imports + text[h.end():end])
            for h, end in zip(headings, ends)]
