"""The cases of every toy, played in this process: right answers are right, wrong ones fail as they should."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from toys import RIGHT, TOYS, WRONG

from autograder.casework import run_exercise
from autograder.exercise import Case, Exercise, Step, call
from autograder.steps import LocalPlayer

SEED = bytes(range(32))


def run(name: str, source: str, **kwargs):
    namespace = {"torch": torch, "__name__": "student"}
    exec(compile(source, "<student>", "exec"), namespace)
    player = LocalPlayer(namespace, limit=TOYS[name].cpu_seconds, quiet=True)
    return run_exercise(TOYS[name], player, SEED, **kwargs)


@pytest.mark.parametrize("name", TOYS)
def test_a_right_answer_written_another_way_earns_everything(name):
    verdict = run(name, RIGHT[name])
    assert [(case.case, case.message) for case in verdict.cases if case.status != "right"] == []
    assert (verdict.status, verdict.points) == ("right", TOYS[name].points)


@pytest.mark.parametrize(("name", "source", "status"),
                         [(name, *wrong) for name, wrongs in WRONG.items() for wrong in wrongs])
def test_a_wrong_answer_fails_in_the_way_it_is_wrong(name, source, status):
    verdict = run(name, source)
    assert next(case.status for case in verdict.cases if case.status != "right") == status
    assert verdict.status != "right"
    assert verdict.points < TOYS[name].points


def test_no_case_earns_anything_unless_the_ordinary_one_is_right():
    verdict = run("halves", "def halves(x):\n    return x.half() / 2\n")
    assert {case.case: case.status for case in verdict.cases}["half precision"] == "right"
    assert (verdict.points, verdict.status) == (0.0, "wrong")
    assert verdict.notes


def test_partial_points():
    verdict = run("halves", "def halves(x):\n    return x / 2\n")
    assert (verdict.points, verdict.status) == (2.0, "partial")


def test_a_verdict_is_plain_data():
    json.dumps(dataclasses.asdict(run("tally", RIGHT["tally"])), allow_nan=False)


@pytest.mark.parametrize(("source", "says"), [
    ("def halves(x):\n    x /= 2\n    return x\n", "changed its input x"),
    ("def halves(x):\n    y = x / 2\n    x.clamp_(max=-9)\n    return y\n", "changed its input x"),
    ("def halves(x):\n    x.copy_(x.sign())\n    return x / 2\n", "differs at [0, 0]"),
])
def test_a_changed_input_is_named(source, says):
    assert says in run("halves", source).cases[0].message


def test_an_input_changed_so_that_a_second_call_does_not_notice():
    def clip(x):
        return x.clamp(min=0)

    exercise = Exercise("clip", "toys", clip, (
        Case("ordinary", lambda rng: call("clip", torch.tensor(rng.normal(size=6))), "", 1.0, ordinary=True),))
    verdict = run_exercise(exercise, LocalPlayer({"clip": lambda x: x.clamp_(min=0)}), SEED)
    assert verdict.cases[0].message == "changed its input x"


def test_state_kept_between_calls_is_told_from_a_changed_input():
    assert "called again" in run("tally", WRONG["tally"][2][0]).cases[0].message


def test_messages_for_feedback_hold_no_number_of_the_drawn_inputs():
    leak = "def halves(x):\n    return torch.zeros(int(1000 * x.abs().max()), 77)\n"
    message = run("halves", leak).cases[0].message
    assert not any(character.isdigit() and character != "0" for character in message), message
    shown = run("halves", leak, show_inputs=True).cases[0].message
    assert "77" in shown
    assert "(3, 4)" in shown


def test_a_class_name_chosen_by_the_student_is_not_repeated():
    source = "class T:\n    pass\nT.__qualname__ = 'secret'\ndef halves(x):\n    return T()\n"
    for show in (True, False):
        assert "secret" not in run("halves", source, show_inputs=show).cases[0].message


def test_the_reference_is_asked_once_for_a_class():
    asked = []

    def double(x):
        asked.append(x)
        return 2 * x

    exercise = Exercise("double", "toys", double, (
        Case("ordinary", lambda rng: call("double", float(rng.normal())), "", 1.0, ordinary=True, draws=2),))
    expected = {}
    for _ in range(5):
        assert run_exercise(exercise, LocalPlayer({"double": lambda x: x + x}), SEED, expected).status == "right"
    assert len(asked) == 2 * 2 * 2  # draws, calls, and both precisions
    assert set(expected) == {("double", "ordinary", 0), ("double", "ordinary", 1)}


def test_both_answers_count_where_rounding_decides_a_discrete_question():
    def first_above(cdf, u):
        return int((cdf.cumsum(0) > u).float().argmax())

    step = Step("call", "first_above", (torch.full((10,), 0.1), torch.tensor(0.7)))
    exercise = Exercise("first_above", "toys", first_above,
                        (Case("ordinary", lambda rng: [step], "", 1.0, ordinary=True),))
    answers = {first_above(step.args[0], step.args[1]), first_above(step.args[0].double(), step.args[1].double())}
    assert len(answers) == 2
    for answer in answers:
        assert run_exercise(exercise, LocalPlayer({"first_above": lambda c, u, a=answer: a}), SEED).status == "right"
    assert run_exercise(exercise, LocalPlayer({"first_above": lambda c, u: 2}), SEED).status == "wrong"


def test_a_broken_reference_or_case_is_never_the_students_fault():
    def bad(x):
        raise RuntimeError("course bug")

    exercise = Exercise("bad", "toys", bad, (
        Case("ordinary", lambda rng: call("bad", 1), "", 1.0, ordinary=True), Case("next", lambda rng: [], "", 1.0)))
    verdict = run_exercise(exercise, LocalPlayer({"bad": lambda x: x}), SEED)
    assert (verdict.status, [case.status for case in verdict.cases]) == ("grader", ["grader", "skipped"])


def test_what_failed_is_kept_for_the_students_own_machine():
    failures = []
    run("halves", "def halves(x):\n    print('sum', x.sum())\n    return x / x\n", failures=failures)
    assert failures[0].case.name == "ordinary"
    assert failures[0].steps[0].args[0].shape == (3, 4)
    assert failures[0].printed.startswith("sum")


def test_an_ordinary_case_that_raises_not_implemented_stops_the_rest():
    verdict = run("halves", WRONG["halves"][0][0])
    assert {case.status for case in verdict.cases} == {"unwritten"}
