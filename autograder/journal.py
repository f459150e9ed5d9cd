"""What was graded, one line of JSON a submission: a run that was cut off goes on from here.

The journal holds verdicts, keys and the digest of the seed; never the seed, a drawn value or a student's code.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Journal:
    """The last entry of each submission, by (student, stem); new ones are added at the end of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: dict[tuple[str, str], dict[str, Any]] = {}
        self.whole = True  # whether the file ends with its last line
        if not path.exists():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                self.whole = line.endswith("\n")
                try:
                    entry = json.loads(line)
                    self.last[entry["student"], entry["assignment"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a crash cut off; its submission is graded again

    def known(self, student: str, stem: str) -> dict[str, Any]:
        """The last entry of a submission; empty when there is none."""
        return self.last.get((student, stem), {})

    def add(self, student: str, stem: str, key: str, seed: bytes, verdict: dict[str, Any]) -> None:
        """Add an entry and write it out at once."""
        entry = {
            "student": student, "assignment": stem, "key": key, "seed": hashlib.sha256(seed).hexdigest()[:16],
            "at": datetime.now(UTC).isoformat(timespec="seconds"), "verdict": verdict}
        with self.path.open("ab") as file:
            file.write(b"" if self.whole else b"\n")
            file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        self.whole = True
        self.last[student, stem] = entry


def moved(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed between two verdicts of one submission, exercise by exercise.

    >>> moved({"exercises": [{"exercise": "normalize", "points": 1.0}]},
    ...       {"exercises": [{"exercise": "normalize", "points": 2.0}]})
    ['normalize 1 -> 2']
    """
    old = {e["exercise"]: e["points"] for e in before.get("exercises", ())}
    return [f"{e['exercise']} {old[e['exercise']]:g} -> {e['points']:g}" for e in now["exercises"]
            if e["exercise"] in old and abs(old[e["exercise"]] - e["points"]) > 1e-9]
