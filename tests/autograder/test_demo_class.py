"""The demo class: every student gets exactly what they deserve, whatever the one beside them does."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import pytest

from autograder import checks, demo_class
from autograder.demo_students import NOTHING, STUDENTS

pytest_plugins = ("graded_class",)
pytestmark = pytest.mark.xdist_group("demo")


def test_every_score_is_what_its_student_deserves(graded):
    assert graded.wrong == []


def test_the_totals_that_a_reader_can_add_up_by_hand(graded):
    totals = defaultdict(float)
    for row in csv.DictReader((graded.out / "grades.csv").open(encoding="utf-8")):
        totals[row["student"]] += float(row["points"])
    assert dict(totals) == {"lovelaceada": 30, "Zoe-O-Brien-Jr": 12, "quietquentin": 0, "dora": 18.5, "emil": 24,
                            "mallory": 3, "frank": 0, "nina": 0}


def test_it_leaves_what_an_instructor_looks_for(graded):
    assert (graded.out / "gradebook.db").is_file()
    pages = {path.parent.name for path in (graded.out / "feedback").glob("*/bigrams.html")}
    assert pages == {student.id for student in STUDENTS}
    assert oct((graded.out / "seeds/bigrams.seed").stat().st_mode)[-3:] == "600"


def test_the_notes_say_what_was_repaired(graded):
    said = {json.loads(line)["student"]: json.loads(line)["verdict"]["remarks"]
            for line in (graded.out / "journal.jsonl").read_text("utf-8").splitlines()}
    assert any("normalize" in remark and "2 cells" in remark for remark in said["emil"])
    assert any("left out" in remark for remark in said["mallory"])
    assert any("not valid JSON" in remark for remark in said["frank"])
    assert said["nina"] == ["No bigrams.ipynb was handed in."]


def test_neither_seed_nor_drawn_values_nor_the_cheaters_prints_are_in_what_students_read(graded):
    seed = (graded.out / "seeds/bigrams.seed").read_text().strip()
    for path in [*(graded.out / "feedback").glob("*/*.html"), graded.out / "journal.jsonl"]:
        text = path.read_text("utf-8")
        assert seed not in text
        assert "4 of 4 points" not in text or "mallory" not in str(path)
        assert "example.org" not in text


def test_a_wrong_score_is_noticed():
    exercises = list(checks.load("bigrams").values())
    rows = [{"student": student.id, "exercise": name, "points": points} for student in STUDENTS
            for name, points in demo_class.deserved(student, exercises).items()]
    assert demo_class.wrongly_graded(rows, exercises) == []
    rows[0]["points"] -= 0.5
    assert "deserves 4 for count_ngrams and got 3.5" in demo_class.wrongly_graded(rows, exercises)[0]
    assert len(demo_class.wrongly_graded(rows[1:], exercises)) == 1
    extra = {"student": "ghost", "exercise": "normalize", "points": 3.0}
    assert "ghost" in demo_class.wrongly_graded([*rows, extra], exercises)[-1]


def test_who_deserves_nothing_fails_everything():
    assert {"everything"} == NOTHING
    honest = {s.id: sum(demo_class.deserved(s, checks.load("bigrams").values()).values()) for s in STUDENTS}
    assert (honest["lovelaceada"], honest["mallory"], honest["quietquentin"]) == (30, 3, 0)
