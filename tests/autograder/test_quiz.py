"""Scoring a quiz: exact sets, tolerances, strictly above the threshold, and answers that are anything at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.quiz import score

BANK = {"chapter": "toys", "pass_above": 0.75, "questions": [
    {"id": "one", "type": "single", "prompt": "?", "section": "first", "options": [
        {"id": "a", "text": "A", "correct": True, "why": "Yes."}, {"id": "b", "text": "B", "why": "No, since b."}]},
    {"id": "some", "type": "multiple", "prompt": "?", "section": "second", "options": [
        {"id": "a", "text": "A", "correct": True, "why": "Yes a."},
        {"id": "b", "text": "B", "correct": True, "why": "Yes b."},
        {"id": "c", "text": "C", "why": "No, since c."}]},
    {"id": "half", "type": "numeric", "prompt": "?", "section": "first", "answer": 0.5, "tolerance": 0.01,
     "why": "Half.", "unit": "nats", "wrong": [{"value": 0.72, "why": "That is in bits."}]},
    {"id": "four", "type": "numeric", "prompt": "?", "section": "third", "answer": 4, "why": "Four."},
]}
RIGHT = {"one": "a", "some": ["b", "a"], "half": 0.5, "four": 4}


def result(**answers):
    return score(BANK, {**RIGHT, **answers})


def status(question, answer):
    return next(q for q in result(**{question: answer}).questions if q.id == question).status


def test_all_right():
    all_right = score(BANK, RIGHT)
    assert (all_right.score, all_right.total, all_right.complete, all_right.remarks) == (4, 4, True, ())
    assert all_right.questions[2].why == "Half."


def test_the_threshold_is_strict():
    assert not result(four=5).complete  # 3 of 4 is not above 75 %
    ten = {"chapter": "t", "questions": [{**BANK["questions"][3], "id": f"q{i}"} for i in range(10)]}
    for right in range(11):
        done = score(ten, {f"q{i}": 4 for i in range(right)})
        assert done.complete == (4 * right > 3 * 10) == (right >= 8)


@pytest.mark.parametrize(("question", "answer", "expected"), [
    ("one", "a", "right"), ("one", " A ", "right"), ("one", ["a"], "right"), ("one", "b", "wrong"),
    ("one", ["a", "b"], "wrong"), ("one", "", "unanswered"), ("one", None, "unanswered"), ("one", 3, "wrong"),
    ("some", ["a", "b"], "right"), ("some", ("b", "a"), "right"), ("some", {"a", "b"}, "right"),
    ("some", "a, b", "right"), ("some", "ba", "right"), ("some", " AB ", "right"), ("some", "abc", "wrong"),
    ("some", ["a"], "wrong"), ("some", ["a", "b", "c"], "wrong"), ("some", "c", "wrong"), ("some", [], "unanswered"),
    ("some", ["a", ["b"]], "wrong"), ("some", ["a", "a", "b"], "right"),
    ("half", 0.5, "right"), ("half", 0.51, "right"), ("half", 0.511, "wrong"), ("half", "0.5", "right"),
    ("half", math.nan, "wrong"), ("half", math.inf, "wrong"), ("half", True, "wrong"), ("half", "half", "wrong"),
    ("half", 10 ** 400, "wrong"), ("half", [0.5], "wrong"), ("half", {}, "wrong"), ("four", 4.0, "right"),
    ("four", 4.001, "wrong"), ("four", "9" * 10_000, "wrong"),
])
def test_answers_of_every_kind(question, answer, expected):
    assert status(question, answer) == expected


def test_the_option_chosen_is_explained():
    questions = {q.id: q for q in score(BANK, {"one": "b", "some": ["a", "c"], "half": 0.72, "four": 5}).questions}
    assert questions["one"].why == "No, since b."
    assert questions["some"].why == "**c:** No, since c.\nA right option is missing."
    assert next(q.why for q in result(some="ab").questions if q.id == "some") == "**a:** Yes a.\n**b:** Yes b."
    assert questions["half"].why == "That is in bits."
    assert "not within" in questions["four"].why


@pytest.mark.parametrize(("answer", "tolerance", "near"), [
    (0.1, 0.002, True), (0.2, 0.002, True), (0.13, 0.0001, True), ("0.13", 0.0001, True), (0.131, 0.00001, True),
    (0, 0.002, False), (0.3, 0.002, False), (0.1408, 0.002, False), (1, 0.002, False), (-0.1, 0.002, False),
])
def test_a_number_rounded_too_far_is_told_so(answer, tolerance, near):
    bank = {"questions": [{"id": "q", "type": "numeric", "answer": 0.1308, "tolerance": tolerance, "why": ""}]}
    (question,) = score(bank, {"q": answer}).questions
    assert question.status == "wrong"
    assert question.why.startswith("Near, but rounded too far: give at least" if near else "That is not within")


def test_what_to_read_again_once_each_and_not_for_what_was_left_out():
    assert score(BANK, {"one": "b", "half": 9, "four": 1}).read_again == ("first", "third")


def test_unknown_ids_get_a_sentence():
    remarks = score(BANK, {"typo": 1, 3: "a", "one": "z", "half": "much"}).remarks
    assert remarks == (
        'No question is called "typo"; the questions are one, some, half, four.',
        'No question is called "int"; the questions are one, some, half, four.',
        'one: there is no option "z"; the options are a, b.',
        'half: a number is asked for, and "much" is none.')
    assert score(BANK, ["a"]).remarks
    assert score(BANK, None).score == 0


anything = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
                        lambda inner: st.one_of(st.lists(inner), st.tuples(inner, inner), st.dictionaries(
                            st.one_of(st.text(), st.integers()), inner)), max_leaves=8)


@settings(max_examples=80, deadline=None)
@given(st.one_of(anything, st.dictionaries(st.sampled_from(["one", "some", "half", "four", "x"]), anything)))
def test_no_answer_breaks_it(answers):
    done = score(BANK, answers)
    assert 0 <= done.score <= done.total == 4
    assert all(len(remark) < 200 for remark in done.remarks)
