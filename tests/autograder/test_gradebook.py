"""Verdicts in nbgrader's gradebook: fractions, one commit a submission, and a person's grade stays a person's."""

from __future__ import annotations

import csv
import shutil
from contextlib import contextmanager

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from sqlalchemy import text

from autograder import gradebook


def released(points: dict[str, float]):
    cells = []
    for name, most in points.items():
        for grade_id, grade in ((name, False), (gradebook.grade_id(name), True)):
            meta = {"nbgrader": {"grade_id": grade_id, "grade": grade, "solution": not grade, "locked": grade,
                                 "task": False, "schema_version": 3, "cell_type": "code", "checksum": "0"}}
            if grade:
                meta["nbgrader"]["points"] = most
            cells.append(new_code_cell(f"# {grade_id}", metadata=meta))
    return new_notebook(cells=cells)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    path = tmp_path_factory.mktemp("fresh") / "gradebook.db"  # nbgrader takes seconds to make one
    gradebook.ensure_assignment(f"sqlite:///{path}", "toys", released({"add": 2, "mul": 1.5}))
    return path


@pytest.fixture
def url(tmp_path, fresh):
    shutil.copy(fresh, tmp_path / "gradebook.db")
    return f"sqlite:///{tmp_path / 'gradebook.db'}"


def test_points_are_fractions_and_a_rerun_replaces_them(url):
    with gradebook.connect(url) as book:
        gradebook.save(book, "toys", "ada", {"check-add": 0.5, "check-mul": 1.25}, "2026-01-02 03:04:05 UTC")
        gradebook.save(book, "toys", "ada", {"check-add": 1.75, "check-mul": 1.25})
        record = gradebook.read(book, "toys", "ada")
        submission = book.find_submission("toys", "ada")
        assert (submission.score, submission.max_score, submission.needs_manual_grade) == (3.0, 3.5, False)
        assert submission.timestamp.year == 2026
    assert record.standings["check-add"] == gradebook.Standing(1.75, 2.0, 1.75)


def test_a_submission_is_one_commit(url, monkeypatch):
    from sqlalchemy.orm import Session

    commits = []
    plain = Session.commit
    monkeypatch.setattr(Session, "commit", lambda self: (commits.append(1), plain(self)))
    with gradebook.connect(url) as book:
        commits.clear()
        gradebook.save(book, "toys", "ada", {"check-add": 1})
        assert len(commits) == 1
        commits.clear()
        gradebook.save(book, "toys", "ada", {"check-add": 2})
        assert len(commits) == 1


def test_what_fails_half_way_leaves_nothing(url):
    class Odd(dict):
        def get(self, name, default=None):
            raise RuntimeError

    with gradebook.connect(url) as book:
        with pytest.raises(RuntimeError):
            gradebook.save(book, "toys", "ada", Odd())
        gradebook.save(book, "toys", "bob", {})
        assert [student.id for student in book.students] == ["bob"]


@contextmanager
def graded_by_hand(url, score):
    with gradebook.connect(url) as book:
        gradebook.save(book, "toys", "ada", {"check-add": 1, "check-mul": 1})
        grade = book.find_grade("check-add", "toys", "toys", "ada")
        grade.manual_score, grade.needs_manual_grade = score, False
        book.find_comment("add", "toys", "toys", "ada").manual_comment = "Nice try."
        book.db.commit()
        yield book


def test_a_manual_grade_stays_and_is_flagged_only_when_the_score_under_it_moved(url):
    with graded_by_hand(url, 2.0) as book:
        gradebook.save(book, "toys", "ada", {"check-add": 1, "check-mul": 0.5})
        record = gradebook.read(book, "toys", "ada")
        assert record.standings["check-add"] == gradebook.Standing(2.0, 2.0, 1.0, by_hand=True, flagged=False)
        assert record.comments == {"add": "Nice try."}
        gradebook.save(book, "toys", "ada", {"check-add": 0, "check-mul": 0.5})
        standing = gradebook.read(book, "toys", "ada").standings["check-add"]
        assert (standing.points, standing.automatic, standing.flagged) == (2.0, 0.0, True)
        gradebook.save(book, "toys", "ada", {"check-add": 0, "check-mul": 0.5})
        assert gradebook.read(book, "toys", "ada").standings["check-add"].flagged, "nobody has looked at it yet"


def test_what_the_grader_could_not_say_is_no_zero(url):
    with gradebook.connect(url) as book:
        gradebook.save(book, "toys", "ada", {"check-add": None, "check-mul": 1})
        standing = gradebook.read(book, "toys", "ada").standings["check-add"]
        assert (standing.points, standing.flagged) == (None, True)
        gradebook.save(book, "toys", "ada", {"check-add": 2, "check-mul": 1})
        gradebook.save(book, "toys", "ada", {"check-add": None, "check-mul": 1})
        assert gradebook.read(book, "toys", "ada").standings["check-add"].points == 2.0


def test_another_release_under_submissions_is_refused_in_one_sentence(url):
    with gradebook.connect(url) as book:
        gradebook.save(book, "toys", "ada", {})
    gradebook.ensure_assignment(url, "toys", released({"add": 3, "mul": 1.5}))  # other points are no other cells
    with pytest.raises(gradebook.GradebookError, match="other graded cells"):
        gradebook.ensure_assignment(url, "toys", released({"add": 2}))


def test_a_gradebook_that_takes_nothing_is_one_sentence(url):
    with gradebook.connect(url) as book:
        book.db.execute(text("PRAGMA query_only = ON"))
        with pytest.raises(gradebook.GradebookError, match="cannot be written: attempt to write a readonly database"):
            gradebook.save(book, "toys", "ada", {})


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/x.db", "postgresql://ada:secret@db/x"])
def test_a_gradebook_that_cannot_be_opened_is_one_sentence(url):
    with pytest.raises(gradebook.GradebookError, match=r"cannot be opened") as caught, gradebook.connect(url):
        pass
    assert "secret" not in str(caught.value)


def test_grades_csv_is_quoted_and_no_cell_is_a_formula(tmp_path):
    path = tmp_path / "grades.csv"
    points = {"=1+1": 0.1 + 0.2, "+a": 2.0, "-b": None, "@c": 0, "\td": 1}
    rows = [{"student": name, "assignment": "toys", "exercise": 'a "b", c', "points": points[name], "max_points": 2.0,
             "status": "right"} for name in points]
    gradebook.write_csv(path, rows)
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == '"student","assignment","exercise","points","max_points","status"'
    assert lines[1].startswith('"\'=1+1","toys","a ""b"", c",0.3,2,"right"')
    assert all(row["student"].startswith("'") for row in csv.DictReader(lines))
    gradebook.write_csv(path, gradebook.read_csv(path))
    assert path.read_text("utf-8").splitlines() == lines
