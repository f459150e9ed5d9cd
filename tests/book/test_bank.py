"""Question banks: a good one passes, and each fault is one sentence that names the file and the question."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import quiz

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "chapter": "toy",
    "objectives": {"o": "to know"},
    "questions": [
        {
            "id": "one",
            "type": "single",
            "objective": "o",
            "section": "s",
            "prompt": "?",
            "options": [
                {"id": "a", "text": "no", "why": "because"},
                {"id": "b", "text": "yes", "why": "because", "correct": True},
                {"id": "c", "text": "perhaps", "why": "because"},
            ],
        },
        {"id": "two", "type": "numeric", "objective": "o", "section": "s", "prompt": "?"}
        | {"answer": 0.5, "tolerance": 0.01, "why": "because", "wrong": [{"value": 1, "why": "bits"}]},
    ],
}


def spoiled(change):
    bank = copy.deepcopy(GOOD)
    change(bank, bank["questions"][0], bank["questions"][1])
    return bank


def test_a_good_bank_passes():
    bank = copy.deepcopy(GOOD)
    quiz.check_bank(bank, Path("toy.yml"))
    assert bank["pass_above"] == 0.75


@pytest.mark.parametrize("path", sorted((ROOT / "chapters/quizzes").glob("*.yml")), ids=lambda path: path.stem)
def test_every_bank_of_the_course(path):
    bank = quiz.load(path)
    assert len(bank["questions"]) == 10


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda b, q, n: q.pop("section"), "toy.yml, question 'one': 'section' is missing."),
        (lambda b, q, n: q.update(id="One!"), "toy.yml, question 'One!': an id holds small letters"),
        (lambda b, q, n: n.update(id="one"), "toy.yml, question 'one': this id is used twice."),
        (lambda b, q, n: q.update(type="essay"), "question 'one': 'type' must be single, multiple or numeric."),
        (lambda b, q, n: q.update(objective="x"), "question 'one': objective 'x' is not listed"),
        (lambda b, q, n: q["options"][0].pop("why"), "question 'one', an option: 'why' is missing."),
        (lambda b, q, n: q["options"][0].update(correct=True), "exactly one correct option, this one has 2."),
        (lambda b, q, n: q["options"][0].update(hint="x"), "'hint' is not a known key"),
        (lambda b, q, n: q["options"].pop(), "at least three options"),
        (lambda b, q, n: q["options"][0].update(id="b"), "two options have the same id"),
        (lambda b, q, n: n.update(answer="half"), "question 'two': 'answer' and 'tolerance' must be numbers"),
        (lambda b, q, n: n["wrong"][0].update(value=0.505), "question 'two': the wrong value 0.505"),
        (lambda b, q, n: b.update(chapter="other"), "'chapter' is 'other' but the file is named after 'toy'."),
        (lambda b, q, n: b["objectives"].update(p="more"), "no question serves the objective 'p'."),
        (lambda b, q, n: b.update(pass_above=2), "'pass_above' must be"),
    ],
)
def test_faults_are_named(change, sentence):
    with pytest.raises(quiz.BankError) as caught:
        quiz.check_bank(spoiled(change), Path("toy.yml"))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("at", "what"), [(0, "first"), (2, "longest")])
def test_guessing_by_place_or_length_does_not_pay(at, what):
    bank = copy.deepcopy(GOOD)
    questions = []
    for name in ("one", "three", "four"):
        question = copy.deepcopy(GOOD["questions"][0]) | {"id": name}
        for place, option in enumerate(question["options"]):
            option["correct"] = place == at
        questions.append(question)
    bank["questions"] = questions
    with pytest.raises(quiz.BankError, match=f"the {what} one in 3 of 3"):
        quiz.check_bank(bank, Path("toy.yml"))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(quiz.BankError, match="no such question bank"):
        quiz.load(tmp_path / "absent.yml")
    (tmp_path / "toy.yml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(quiz.BankError, match="not valid YAML"):
        quiz.load(tmp_path / "toy.yml")
    (tmp_path / "toy.yml").write_text("- 1", encoding="utf-8")
    with pytest.raises(quiz.BankError, match="found list"):
        quiz.load(tmp_path / "toy.yml")
