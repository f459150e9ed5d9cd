"""Answers that students write: right ones get every point, wrong ones fail where, and with the hint, they should."""

from __future__ import annotations

from functools import cache

import answer_sheets
import pytest

from autograder import checks
from autograder.casework import run_exercise
from autograder.exercise import rng_for
from autograder.steps import LocalPlayer

EXERCISES = [exercise for stem in checks.stems() for exercise in checks.load(stem).values()]
ANSWERS = [(exercise, answer) for exercise in EXERCISES for answer in answer_sheets.read(exercise.stem, exercise.name)]
WRONG = [pair for pair in ANSWERS if pair[1].case]


def named(exercise):
    return exercise.name


def told(value):
    return f"{value.name}: {value.what}" if isinstance(value, answer_sheets.Answer) else ""


def seed(number: int) -> bytes:
    return number.to_bytes(32, "big")


@cache
def expected(name: str, number: int) -> dict:
    """What the reference answers to one exercise under one seed, filled in by the first run and kept for the others."""
    return {}


@pytest.mark.parametrize("exercise", EXERCISES, ids=named)
def test_there_are_enough_answers_to_trust_a_check(exercise):
    answers = [answer for other, answer in ANSWERS if other is exercise]
    wrong = [answer for answer in answers if answer.case]
    assert len(wrong) >= 5
    assert len(answers) - len(wrong) >= 2
    every = {case.name for case in exercise.cases}
    assert {answer.case for answer in wrong} == every, "every case needs a wrong answer that it catches, and no other"
    assert len({answer.what for answer in answers}) == len(answers)


@pytest.mark.parametrize("exercise", EXERCISES, ids=named)
def test_right_answers_get_every_point_on_every_seed(exercise):
    right = [answer.namespace() for other, answer in ANSWERS if other is exercise and not answer.case]
    right.append({exercise.name: exercise.reference})
    for number in range(30):
        for namespace in right:
            verdict = run_exercise(exercise, LocalPlayer(namespace), seed(number), expected(exercise.name, number))
            assert verdict.status == "right", (number, verdict.cases)
            assert verdict.points == exercise.points


@pytest.mark.parametrize(("exercise", "answer"), WRONG, ids=told)
def test_a_wrong_answer_fails_with_the_hint_meant_for_it(exercise, answer):
    player = LocalPlayer(answer.namespace(), quiet=True)
    for number in range(3):
        verdict = run_exercise(exercise, player, seed(number), expected(exercise.name, number), show_inputs=True)
        failed = [case for case in verdict.cases if case.status != "right"]
        assert failed, number
        assert failed[0].case == answer.case, (number, failed)
        case = next(case for case in exercise.cases if case.name == answer.case)
        assert failed[0].hint == case.hint
        assert answer.says in failed[0].message
        assert verdict.points == (0 if case.ordinary else exercise.points - sum(c.max_points for c in failed))
        assert verdict.points < exercise.points


@pytest.mark.parametrize("exercise", EXERCISES, ids=named)
def test_points_hints_and_draws_keep_the_rules(exercise):
    assert [case for case in exercise.cases if case.ordinary]
    assert exercise.points == int(exercise.points)
    assert len({case.name for case in exercise.cases}) == len(exercise.cases)
    for case in exercise.cases:
        assert case.points > 0
        assert len(case.hint) > 40
        drawn = [repr(case.draw(rng_for(seed(number), exercise.name, case.name, 0))) for number in (0, 0, 1, 2, 3)]
        assert len(set(drawn)) == 4, f"{case.name} does not draw its inputs, or draws from something but its seed"


def test_an_unfilled_stub_scores_nothing_and_is_no_mistake():
    for exercise in EXERCISES:
        def unfilled(*_):
            raise NotImplementedError

        verdict = run_exercise(exercise, LocalPlayer({exercise.name: unfilled}), seed(1))
        assert (verdict.status, verdict.points) == ("unwritten", 0)


def test_exercises_have_one_name_each_and_are_found_by_it():
    names = [exercise.name for exercise in EXERCISES]
    assert len(set(names)) == len(names)
    assert all(checks.find(exercise.name) is exercise for exercise in EXERCISES)
    with pytest.raises(LookupError, match=r"did you mean 'kneser_ney'\?"):
        checks.find("Kneser_Nay")
    with pytest.raises(LookupError, match="no chapter with exercises is called 'bigram'; did you mean 'bigrams'"):
        checks.load("bigram")
    with pytest.raises(LookupError, match="there are"):
        checks.find("zzz")
