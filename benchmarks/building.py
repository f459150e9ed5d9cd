"""How long the book takes when nothing is cached, and when every cell's output still is."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(out: str) -> float:
    """Seconds of one build of the book into ``out``."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "autograder.book", "--out", out], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def run() -> list[dict]:
    """One row: a build that finds its cells in the execution cache, against one that runs them all."""
    with tempfile.TemporaryDirectory() as out:
        cold, warm = build(out), build(out)
    return [{"what": "build the book, cells cached (peer: every cell run)", "ours": f"{warm:.0f} s",
             "peer": f"{cold:.0f} s", "ratio": cold / warm, "seconds": [warm, cold]}]
