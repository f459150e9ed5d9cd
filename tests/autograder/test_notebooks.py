"""A chapter as a source notebook and as the notebook a student opens: what is in each, and what never is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
import small_book

from autograder import notebooks, setup_cell, source_notebook
from autograder.chapter import ChapterError
from autograder.exercise import Case, Exercise, call
from autograder.source_notebook import NotebookError

CASE = Case("ordinary", lambda rng: call("double", float(rng.random())), "Add it to itself.", points=2.5, ordinary=True)
EXERCISES = {"double": Exercise("double", "constructs", lambda x: x + x, (CASE,))}
STUB = 'def double(x: float) -> float:\n    """Twice ``x``."""\n    raise NotImplementedError'


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    facts = small_book.make(tmp_path_factory.mktemp("notebooks") / "book")
    paths = notebooks.build(facts, lambda stem: EXERCISES)
    return facts, paths


@pytest.fixture(scope="module")
def pair(built):
    """(source, release)."""
    course = built[0].root / "autograder" / "course"
    return tuple(
        nbformat.read(course / kind / "constructs" / "constructs.ipynb", as_version=4) for kind in ("source", "release")
    )


def cell_of(notebook, kind):
    return next(cell for cell in notebook.cells if cell.metadata.course.kind == kind)


def test_the_student_notebook_is_the_release_byte_for_byte(built):
    facts, paths = built
    assert paths == [facts.root / "_build" / "notebooks" / "constructs.ipynb"]
    release = facts.root / "autograder" / "course" / "release" / "constructs" / "constructs.ipynb"
    assert paths[0].read_bytes() == release.read_bytes()


def test_it_is_nbformat_4_5_and_asks_colab_for_a_gpu(pair):
    for notebook in pair:
        nbformat.validate(notebook)
        assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
        assert notebook.metadata.accelerator == "GPU"
        assert notebook.metadata.colab.gpuType == "T4"
        assert notebook.metadata.kernelspec.name == "python3"
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_cells_stand_in_the_chapters_order_and_the_set_up_is_first(built, pair):
    kinds = [cell.metadata.course.kind for cell in pair[1].cells if cell.cell_type == "code"]
    assert kinds == ["setup", "prelude", "stub", "check", "demo", "yours", "quiz-answers", "quiz-check"]
    assert pair[1].cells[0].source == setup_cell.source(built[0])
    assert pair[1].cells[1].source.startswith("# Every construct")
    assert built[0].page_url("constructs") in pair[1].cells[1].source


def test_a_stub_is_the_chapters_byte_for_byte_and_the_source_holds_the_answer(pair):
    source, release = (cell_of(notebook, "stub") for notebook in pair)
    assert release.source == STUB
    assert source.source.startswith("### BEGIN SOLUTION\n")
    assert "return x + x" in source.source
    assert "stub" not in release.metadata.course


def test_no_answer_is_anywhere_in_the_students_notebook(pair):
    text = json.dumps(pair[1])
    for secret in ("return x + x", "BEGIN SOLUTION", "0.693"):
        assert secret not in text
    namespace: dict = {}
    exec(cell_of(pair[1], "quiz-answers").source, namespace)
    assert namespace["answers"] == {"twice": "", "both": [], "half": None}


def test_nbgrader_sees_one_solution_and_one_locked_check_for_each_exercise(pair):
    stub, check = (cell_of(pair[1], kind).metadata.nbgrader for kind in ("stub", "check"))
    assert (stub.grade_id, stub.solution, stub.grade, stub.locked) == ("double", True, False, False)
    assert (check.grade_id, check.solution, check.grade, check.locked) == ("check-double", False, True, True)
    assert check.points == 2.5
    answers, quiz = (cell_of(pair[1], kind).metadata.nbgrader for kind in ("quiz-answers", "quiz-check"))
    assert (answers.grade_id, answers.solution, answers.grade) == ("quiz-answers", True, False)
    assert (quiz.grade_id, quiz.grade, quiz.points) == ("quiz", True, 0.0)


def test_hidden_input_is_hidden_in_jupyter_and_on_colab(pair):
    demo = cell_of(pair[1], "demo")
    assert demo.metadata.jupyter.source_hidden
    assert demo.metadata.cellView == "form"


def test_ids_are_unique_and_stay_when_a_cell_comes_before(built, pair, tmp_path):
    ids = [cell.id for cell in pair[1].cells]
    assert len(set(ids)) == len(ids)
    assert all(len(name) <= 64 for name in ids)
    chapter = (small_book.SNAPSHOTS / "constructs.md").read_text(encoding="utf-8")
    new = "## New\n\n```{code-cell} ipython3\nnew = 1\n```\n\n"
    more = chapter.replace("(code-section)=", f"{new}(code-section)=")
    facts = small_book.make(tmp_path / "book", chapter=more)
    course = Path("autograder", "course", "gradebook.db")
    (facts.root / course).parent.mkdir(parents=True)
    shutil.copy(built[0].root / course, facts.root / course)  # making nbgrader's database anew takes seconds
    again = nbformat.read(notebooks.build(facts, lambda stem: EXERCISES)[0], as_version=4)
    assert set(ids) <= {cell.id for cell in again.cells}
    assert again.metadata.course.release != pair[1].metadata.course.release


def test_a_second_build_gives_the_same_bytes(built):
    facts, paths = built
    before = paths[0].read_bytes()
    assert notebooks.build(facts, lambda stem: EXERCISES)[0].read_bytes() == before


def test_the_release_hash_stands_for_what_the_student_got(pair):
    for notebook in pair:
        assert notebook.metadata.course.release == source_notebook.digest(pair[1])
    pair[1].cells[1].source += " "
    assert source_notebook.digest(pair[1]) != pair[1].metadata.course.release
    pair[1].cells[1].source = pair[1].cells[1].source[:-1]


def test_a_solved_notebook_holds_every_answer(pair):
    solved = source_notebook.solve(pair[1], pair[0])
    namespace: dict = {}
    for kind in ("stub", "quiz-answers"):
        exec(cell_of(solved, kind).source, namespace)
    assert namespace["double"](2.0) == 4.0
    assert namespace["answers"] == {"twice": "b", "both": ["a", "b"], "half": 0.693}


def test_the_data_says_what_the_students_machine_must_know(built, pair):
    data = json.loads((built[0].root / "_build" / "data" / "constructs.json").read_text(encoding="utf-8"))
    assert data["stubs"] == ["double"]
    assert data["prelude_names"] == ["math", "torch"]
    assert data["demo_names"] == ["total"]
    assert data["release"] == pair[1].metadata.course.release
    assert data["page_url"] == built[0].page_url("constructs")
    question = data["quiz"]["questions"][0]
    assert "{ref}" not in question["prompt"]
    assert question["options"][1]["correct"]
    assert question["section_title"] == "A section"


@pytest.mark.parametrize(
    ("exercises", "sentence"),
    [
        ({}, "double has a stub but no cases"),
        (EXERCISES | {"triple": Exercise("triple", "constructs", abs, ())}, "triple has cases but no stub"),
    ],
)
def test_checks_and_chapter_must_name_the_same_exercises(tmp_path, exercises, sentence):
    facts = small_book.make(tmp_path / "book")
    with pytest.raises(NotebookError, match=sentence):
        notebooks.build(facts, lambda stem: exercises)


def test_a_cell_that_the_page_leaves_out_cannot_be_part_of_a_notebook(tmp_path):
    chapter = (small_book.SNAPSHOTS / "constructs.md").read_text(encoding="utf-8")
    facts = small_book.make(tmp_path / "book", chapter=chapter.replace("[hide-input]", "[remove-cell]"))
    with pytest.raises(NotebookError, match="use hide-input"):
        notebooks.build(facts, lambda stem: EXERCISES)


def test_the_command_says_one_sentence_for_a_mistake(monkeypatch, capsys):
    def broken(facts: object) -> list[Path]:
        raise ChapterError("chapters/toy.md:3: the stub of f has no check; add one.")

    monkeypatch.setattr(notebooks, "build", broken)
    assert notebooks.main([]) == 1
    assert capsys.readouterr().err == "chapters/toy.md:3: the stub of f has no check; add one.\n"
