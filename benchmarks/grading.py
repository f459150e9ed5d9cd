"""What a class costs on the fast road, against nbgrader's own command over the very same parts.

Both go from submissions to gradebook and judge every case of every exercise of ``bigrams`` in rooms of their own; the
peer also writes nbgrader's autograded notebooks, the fast road also writes a feedback page for each student.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from autograder.source_notebook import solve

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "autograder" / "course"
STEM = "bigrams"
CLASS = 100  # submissions on the fast road
SAMPLE = 10  # submissions on nbgrader's road, which takes longer


def hand_in(folder: Path, students: int) -> None:
    """The solved notebook of ``students`` students, in nbgrader's layout; each differs by a comment."""
    read = [nbformat.read(COURSE / part / STEM / f"{STEM}.ipynb", as_version=4) for part in ("release", "source")]
    solved = solve(*read)
    stub = next(cell for cell in solved.cells if cell.metadata.get("course", {}).get("kind") == "stub")
    source = stub.source
    for number in range(students):
        stub.source = f"{source}\n# student {number}"
        path = folder / f"student{number:03}" / STEM / f"{STEM}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(solved, path)


def timed(*command: str, cwd: Path) -> float:
    """Seconds of one command, which must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command[1:4])} failed: {(done.stderr or done.stdout)[-2000:]}")
    return time.perf_counter() - started


def run() -> list[dict]:
    """One row: seconds for each submission on both roads."""
    if not (COURSE / "release" / STEM).is_dir():
        raise SystemExit("bench: the notebooks are not there yet; run 'make notebooks' first.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        hand_in(folder / "fast", CLASS)
        fast = timed(sys.executable, "-m", "autograder", "grade", STEM, "--submissions", str(folder / "fast"),
                     "--out", str(folder / "out"), "--workers", "2", cwd=ROOT) / CLASS
        root = folder / "course"
        for part in ("source", "release"):
            shutil.copytree(COURSE / part, root / part)
        # The copy of the configuration finds the course's package through the folder it came from.
        config = (COURSE / "nbgrader_config.py").read_text("utf-8")
        (root / "nbgrader_config.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{config}")
        hand_in(root / "submitted", SAMPLE)
        nbgrader = str(Path(sys.executable).with_name("nbgrader"))
        timed(nbgrader, "generate_assignment", STEM, "--force", cwd=root)
        slow = timed(nbgrader, "autograde", STEM, cwd=root) / SAMPLE
    return [{"what": f"grade one of {CLASS} submissions (peer: one of {SAMPLE} with nbgrader autograde)",
             "ours": f"{fast:.2f} s", "peer": f"{slow:.2f} s", "ratio": slow / fast, "seconds": [fast, slow]}]
