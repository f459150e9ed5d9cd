"""The fast road: what it leaves, what it goes on from, and that one submission never stops the class."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import dying_crew
import pytest
import small_course
from test_intake import as_nobody

from autograder import crew, grade, gradebook, marking
from autograder.journal import Journal
from autograder.marking import Examiner

SEED = b"s" * 32


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A course root and a gradebook that knows its assignment: both cost seconds to make."""
    folder = tmp_path_factory.mktemp("grade")
    small_course.make(folder / "course")
    assignment = marking.load("bigrams", folder / "course")
    gradebook.ensure_assignment(f"sqlite:///{folder / 'gradebook.db'}", "bigrams", assignment.released)
    return folder


@pytest.fixture
def place(base, tmp_path, monkeypatch):
    monkeypatch.setattr(marking, "COURSE", base / "course")
    (tmp_path / "out").mkdir()
    shutil.copy(base / "gradebook.db", tmp_path / "out")
    (tmp_path / "in").mkdir()
    return tmp_path


def hand_in(place, student: str, answers: dict[str, str] | bytes, layout: str = "{0}/bigrams/bigrams.ipynb") -> None:
    blank, _ = small_course.notebooks(marking.COURSE)
    path = place / "in" / layout.format(student)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(answers, dict):
        for cell in blank.cells:
            if cell.metadata.course.kind == "stub":
                cell.source = answers.get(cell.metadata.course.name, cell.source)
        answers = json.dumps(blank).encode()
    path.write_bytes(answers)


def solved(*names: str) -> dict[str, str]:
    _, full = small_course.notebooks(marking.COURSE)
    return {cell.metadata.course.name: cell.source for cell in full.cells
            if cell.metadata.course.kind == "stub" and cell.metadata.course.name in names}


def run(place, *more: str, stem: str = "bigrams") -> int:
    return grade.main([stem, "--submissions", str(place / "in"), "--out", str(place / "out"), *more])


def points(place) -> dict[str, float]:
    totals: dict[str, float] = {}
    for row in csv.DictReader((place / "out/grades.csv").open(encoding="utf-8")):
        totals[row["student"]] = totals.get(row["student"], 0.0) + float(row["points"] or 0)
    return totals


def test_a_class_from_start_to_rerun(place, capsys):
    hand_in(place, "ada", solved("normalize", "additive"))
    square = {"normalize": "def normalize(counts):\n    return counts / counts.sum(-1)"}
    hand_in(place, "bob", square, "{0}/bigrams.ipynb")
    hand_in(place, "cut", b'{"cells": [')
    hand_in(place, "Zoë / x".replace("/", "∕"), solved("normalize"))
    (place / "in/eve/bigrams").mkdir(parents=True)
    (place / "in/eve/bigrams/bigrams.ipynb").symlink_to(place / "in/ada/bigrams/bigrams.ipynb")
    (place / "in/fay").mkdir()
    (place / "in/fay/bigrams").symlink_to(place / "in/ada/bigrams")
    (place / "in/nina").mkdir()
    (place / "in/names.csv").write_text("id,name,key\nada,Ada L,ada\n")
    assert run(place) == 0
    zoe = next(name for name in points(place) if name.startswith("Zoe"))
    assert points(place) == {"ada": 6, "bob": 0, "cut": 0, "eve": 0, "fay": 0, "nina": 0, zoe: 3}
    text = (place / "out/feedback/ada/bigrams.html").read_text("utf-8")
    assert "Ada L" in text
    assert "cannot be read" in (place / "out/feedback/eve/bigrams.html").read_text("utf-8")
    assert "No bigrams.ipynb was handed in" in (place / "out/feedback/nina/bigrams.html").read_text("utf-8")
    assert "7 graded, 0 unchanged" in capsys.readouterr().out

    with (place / "out/journal.jsonl").open("ab") as file:
        file.write(b'{"student": "ada", "assignm')  # a crash in the middle of a line
    hand_in(place, "bob", solved("normalize"), "{0}/bigrams.ipynb")
    assert run(place, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["graded"], told["unchanged"], told["failed"]) == (1, 6, [])
    assert told["moved"] == ["bob bigrams: normalize 0 -> 3"]
    assert points(place)["bob"] == 3
    assert len(Journal(place / "out/journal.jsonl").last) == 7

    with gradebook.connect(f"sqlite:///{place / 'out/gradebook.db'}") as book:
        book.find_grade("check-normalize", "bigrams", "bigrams", "bob").manual_score = 2.5
        book.db.commit()
    rows = gradebook.read_csv(place / "out/grades.csv")
    gradebook.write_csv(place / "out/grades.csv", [*rows, {**rows[0], "assignment": "sampling"}])
    assert run(place, stem="all") == 0
    by_hand = [row for row in gradebook.read_csv(place / "out/grades.csv") if row["status"] == "by hand"]
    assert [(row["student"], row["points"]) for row in by_hand] == [("bob", 2.5)]
    assert sum(row["assignment"] == "sampling" for row in gradebook.read_csv(place / "out/grades.csv")) == 1


def test_several_processes_give_the_same_points(place, capsys):
    hand_in(place, "ada", solved("normalize", "additive"))
    hand_in(place, "bob", solved("additive"))
    hand_in(place, "cut", b"\xff\xfe")
    assert run(place, "--workers", "2", "--json") == 0
    assert points(place) == {"ada": 6, "bob": 3, "cut": 0}
    assert json.loads(capsys.readouterr().out)["graded"] == 3


def test_where_the_grader_fails_nobody_loses_points_and_the_class_goes_on(place, monkeypatch, capsys):
    hand_in(place, "ada", solved("additive"))
    hand_in(place, "bob", solved("additive"))
    plain, tried = Examiner.verdict, []

    def verdict(self, stem, rebuilt, remarks):
        if len(tried) < 2:  # ada comes first, and is tried twice
            tried.append(1)
            raise MemoryError("no more")
        return plain(self, stem, rebuilt, remarks)

    monkeypatch.setattr(Examiner, "verdict", verdict)
    assert run(place) == 1
    shown = capsys.readouterr().out
    assert "No verdict: ada bigrams: MemoryError: no more." in shown
    rows = gradebook.read_csv(place / "out/grades.csv")
    assert {row["status"] for row in rows if row["student"] == "ada"} == {"grader"}
    assert {row["points"] for row in rows if row["student"] == "ada"} == {None}
    assert points(place)["bob"] == 3
    assert "That is no fault of yours" in (place / "out/feedback/ada/bigrams.html").read_text("utf-8")
    assert run(place) == 0
    assert points(place) == {"ada": 3, "bob": 3}
    assert "1 graded, 1 unchanged" in capsys.readouterr().out


def test_the_key_moves_with_all_that_a_verdict_hangs_on(base):
    assignment = marking.load("bigrams", base / "course")
    first = assignment.exercises[1]

    def ground(seed=SEED, **change) -> str:
        case = dataclasses.replace(first.cases[0], **change)
        changed = dataclasses.replace(first, cases=(case, *first.cases[1:]))
        one = dataclasses.replace(assignment, exercises=(changed,))
        return Examiner({"bigrams": one}, {"bigrams": seed}).ground("bigrams")

    assert ground() == ground()
    others = [ground(hint="x"), ground(rtol=0.1), ground(points=2.0), ground(draws=3), ground(seed=b"t" * 32)]
    assert len({ground(), *others}) == 6


def test_a_submission_that_ends_processes_costs_no_other_its_verdict(monkeypatch):
    monkeypatch.setattr(crew, "_start", dying_crew.start)
    monkeypatch.setattr(crew, "_work", dying_crew.work)
    jobs = [(name, None, "") for name in ("a", "dies", "b", "c")]
    found = dict(crew.together((), jobs, 2))
    assert {number: examined.key for number, examined in found.items()} == {0: "a", 1: "", 2: "b", 3: "c"}
    assert "ended, twice" in found[1].fault


def refused(place, capsys, *more: str, stem: str = "bigrams") -> str:
    assert run(place, *more, stem=stem) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_bad_arguments_are_one_sentence_each(place, capsys, monkeypatch):
    assert "holds no submission" in refused(place, capsys)
    hand_in(place, "ada", {})
    assert "There is no assignment 'bigram'; the course has bigrams" in refused(place, capsys, stem="bigram")
    assert "--workers is 0" in refused(place, capsys, "--workers", "0")
    assert "There is no folder" in refused(place, capsys, "--submissions", str(place / "none"))
    (place / "seed").write_text("short")
    assert "holds no seed" in refused(place, capsys, "--seed-file", str(place / "seed"))
    assert "cannot be opened" in refused(place, capsys, "--db", "sqlite:////none/x.db")
    monkeypatch.setattr(marking, "COURSE", place / "nowhere")
    monkeypatch.setattr(marking.settings, "load", lambda: dataclasses.replace(LOADED, root=place))
    assert "was not released yet; run 'python -m autograder notebooks'" in refused(place, capsys)


LOADED = marking.settings.load()


def test_no_write_permission(place):
    hand_in(place, "ada", {})
    (place / "locked").mkdir(mode=0o555)
    for folder in (place, *place.parents):  # pytest's own are open to their owner alone
        folder.chmod(folder.stat().st_mode | 0o055)
        if folder.name.startswith("pytest-of-"):
            break
    argv = ["bigrams", "--submissions", str(place / "in"), "--out", str(place / "locked/out")]
    code, text = as_nobody(grade.main, argv)
    assert (code, text.count("\n")) == (2, 1), text
    assert "ermission denied" in text


def test_a_machine_that_isolates_nothing_is_refused_when_isolation_is_required(place, capsys, monkeypatch):
    from autograder.room import outside

    class Bare(outside.Rooms):
        def __init__(self, **more):
            super().__init__(**more, modes=("bare",))

    monkeypatch.setattr(outside, "Rooms", Bare)
    hand_in(place, "ada", {})
    assert "isolation is required" in refused(place, capsys, "--require-isolation").lower()


def test_seeds_are_drawn_once_and_kept_secret(tmp_path):
    path = tmp_path / "seeds/bigrams.seed"
    seed = marking.seed_from(path)
    assert (len(seed), marking.seed_from(path), path.stat().st_mode & 0o777) == (32, seed, 0o600)


def test_a_large_notebook_is_read_without_its_outputs(tmp_path):
    output = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * (9 << 20)}}
    cell = {"cell_type": "code", "metadata": {}, "source": "x", "outputs": [output], "execution_count": None}
    path = tmp_path / "bigrams.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    data, remarks = marking.read_submission(path)
    assert len(data) < 1000
    assert "its outputs" in remarks[0]
    path.write_bytes(b" " * (marking.MOST + 1))
    assert marking.read_submission(path) == (b"", ["bigrams.ipynb is larger than 64 MB, so it was not read."])
