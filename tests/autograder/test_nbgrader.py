"""nbgrader's own commands, run in a copy of the course root: same points, same pages, nothing of a student's taken."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import gradebook

pytest_plugins = ("graded_class",)
pytestmark = pytest.mark.xdist_group("demo")
ROOT = Path(__file__).resolve().parents[2]
NBGRADER = Path(sys.executable).with_name("nbgrader")


def run(course: Path, *argv: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(course)}
    return subprocess.run([NBGRADER, *argv], cwd=course, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def course(graded, tmp_path_factory):
    """A course root on which generate_assignment, autograde and generate_feedback were run."""
    root = tmp_path_factory.mktemp("nbgrader") / "course"
    shutil.copytree(graded.course / "source", root / "source")
    shutil.copytree(graded.out / "submitted", root / "submitted")
    shutil.copytree(graded.out / "seeds", root / "seeds")
    shutil.copy(ROOT / "autograder/course/nbgrader_config.py", root)
    mallory = root / "submitted/mallory/bigrams"
    (mallory / "side.py").write_text("raise SystemExit")
    (mallory / "link.txt").symlink_to("/etc/passwd")
    (mallory / "timestamp.txt").unlink()
    (mallory / "timestamp.txt").symlink_to("/etc/passwd")
    for command in ("generate_assignment", "autograde", "generate_feedback"):
        done = run(root, command, "bigrams")
        assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return root


def totals_in(root: Path) -> dict[tuple[str, str], float]:
    with gradebook.connect(f"sqlite:///{root / 'gradebook.db'}") as book:
        return {(s.student.id, grade.name): grade.score for s in book.find_assignment("bigrams").submissions
                for notebook in s.notebooks for grade in notebook.grades}


def test_both_roads_give_the_same_points(graded, course):
    slow, fast = totals_in(course), totals_in(graded.out)
    missing = {key: points for key, points in fast.items() if key not in slow}
    assert {student for student, _ in missing} == {"nina"}, "an empty folder is no submission to nbgrader"
    assert set(missing.values()) == {0.0}
    assert slow == {key: fast[key] for key in slow}
    assert slow["dora", "check-interpolate"] == 2.5


def test_both_roads_write_the_same_page(graded, course):
    def timeless(path: Path) -> str:
        return re.sub(r"Time: .*?</p>", "", path.read_text("utf-8"))

    for student in ("dora", "emil", "mallory", "frank"):
        fast = graded.out / "feedback" / student / "bigrams.html"
        assert timeless(course / "feedback" / student / "bigrams" / "bigrams.html") == timeless(fast)


def test_a_students_side_files_and_links_go_nowhere(course):
    for step in ("autograded", "feedback"):
        names = {path.name for path in (course / step / "mallory" / "bigrams").iterdir()}
        assert names <= {"bigrams.ipynb", "bigrams.html", "timestamp.txt"}
        assert not any(b"root:" in path.read_bytes() for path in (course / step).rglob("*") if path.is_file())


def test_the_autograded_notebook_is_the_released_one_with_code_and_plain_text(course):
    released = json.loads((course / "release/bigrams/bigrams.ipynb").read_text("utf-8"))
    texts = {"".join(cell["source"]) for cell in released["cells"] if cell["cell_type"] == "markdown"}
    for path in (course / "autograded").glob("*/bigrams/bigrams.ipynb"):
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                assert "".join(cell["source"]) in texts
            else:
                assert "skip-execution" not in cell["metadata"].get("tags", [])
                assert all(output["output_type"] == "stream" for output in cell["outputs"])
        points = [cell["metadata"]["nbgrader"]["points"] for cell in notebook["cells"]
                  if cell["metadata"].get("nbgrader", {}).get("grade")]
        assert sum(points) == 30
    assert "onerror" not in (course / "autograded/mallory/bigrams/bigrams.ipynb").read_text("utf-8")


def test_a_manual_grade_reaches_the_page_and_survives_a_changed_submission(graded, course):
    url = f"sqlite:///{course / 'gradebook.db'}"
    with gradebook.connect(url) as book:
        for student in ("dora", "emil"):
            grade = book.find_grade("check-normalize", "bigrams", "bigrams", student)
            grade.manual_score, grade.needs_manual_grade = 1.5, False
        book.find_comment("normalize", "bigrams", "bigrams", "dora").manual_comment = "<b>Nearly</b>: keep the dim."
        book.db.commit()
    path = course / "submitted/emil/bigrams/bigrams.ipynb"
    shutil.copy(course / "release/bigrams/bigrams.ipynb", path)
    done = run(course, "autograde", "bigrams", "--student", "[de]*")
    assert done.returncode == 0, done.stderr[-3000:]
    with gradebook.connect(url) as book:
        unmoved = gradebook.read(book, "bigrams", "dora").standings["check-normalize"]
        moved = gradebook.read(book, "bigrams", "emil").standings
    assert unmoved == gradebook.Standing(1.5, 3.0, 0.0, by_hand=True, flagged=False)
    assert moved["check-normalize"] == gradebook.Standing(1.5, 3.0, 0.0, by_hand=True, flagged=True)
    assert moved["check-additive"].points == 0.0, "a changed submission is graded anew"
    assert run(course, "generate_feedback", "bigrams", "--student", "dora").returncode == 0
    page = (course / "feedback/dora/bigrams/bigrams.html").read_text("utf-8")
    assert "&lt;b&gt;Nearly&lt;/b&gt;: keep the dim." in page
    assert "the automatic grader had given 0" in page
    assert ">20<" in page


def test_export_lists_the_class(course):
    assert run(course, "export").returncode == 0
    rows = {row["student_id"]: row for row in csv.DictReader((course / "grades.csv").open(encoding="utf-8"))}
    assert (rows["lovelaceada"]["score"], rows["lovelaceada"]["max_score"]) == ("30.0", "30.0")
    assert rows["mallory"]["score"] == "3.0"
