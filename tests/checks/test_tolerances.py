"""How far right answers are from the reference, and wrong ones, in units of the tolerance that a case allows.

An error of 1 is the most that passes. The house rule: right answers stay below 1/8, wrong ones above 8, on every draw.
"""

from __future__ import annotations

import math

import answer_sheets
import pytest
import torch

from autograder import checks, compare
from autograder.answers import reference_answers
from autograder.exercise import Case, Exercise
from autograder.room import wire
from autograder.steps import LocalPlayer

EXERCISES = [exercise for stem in checks.stems() for exercise in checks.load(stem).values()]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def distance(case: Case, wanted: list, got: object) -> float:
    """The largest |got - expected| / (atol + rtol |expected|); inf where no number can say it."""
    if isinstance(got, (list, tuple)):
        return max((distance(case, a, b) for a, b in zip(wanted, got)), default=0.0)
    if not (isinstance(got, float) or (torch.is_tensor(got) and got.is_floating_point())):
        return math.inf if compare.check_value(wanted, got) else 0.0
    a, b = torch.as_tensor(wanted, dtype=torch.float64), torch.as_tensor(got, dtype=torch.float64)
    same = (a == b) | (a.isnan() & b.isnan())
    far = (a - b).abs() / (case.atol + case.rtol * a.abs())
    return float(torch.where(same, 0.0, far.nan_to_num(nan=math.inf)).max()) if a.numel() else 0.0


def error(exercise: Exercise, case: Case, namespace: dict, number: int, device: str, known: dict) -> float:
    """The largest error of one answer over all draws of one case under one seed."""
    worst = 0.0
    for index in range(case.draws):
        key = (case.name, number, index, device)
        if key not in known:
            known[key] = reference_answers(exercise, case, number.to_bytes(32, "big"), index, device)
        player = LocalPlayer(namespace, device, quiet=True)
        for step, answers in zip(known[key].steps, known[key].answers or [()] * 99):
            reply = player.play(step)
            if case.raises:
                worst = max(worst, 0.0 if step.op == "put" else math.inf)
                if reply.fault:
                    worst = 0.0
            elif reply.fault or (reply.header and compare.check_header(answers[0][0], reply.header)):
                return math.inf
            elif reply.header and answers[0][0] == reply.header and not wire.sizes(reply.header):
                continue  # numbers and lists of them stand in the header itself
            elif reply.header and answers[0][0][0] != "other":
                worst = max(worst, min(distance(case, value, reply.fetch()) for _, value in answers))
    return worst


def measure(exercise: Exercise, draws: int, device: str) -> tuple[float, float, str]:
    """The largest error of a right answer, the smallest of a wrong one in the case meant for it, and which that is."""
    answers = [(answer, answer.namespace()) for answer in answer_sheets.read(exercise.stem, exercise.name)]
    right, wrong, closest = 0.0, math.inf, ""
    for number in range(draws):
        known: dict = {}
        for answer, namespace in answers:
            for case in exercise.cases:
                if not answer.case:
                    right = max(right, error(exercise, case, namespace, number, device, known))
                elif case.name == answer.case:
                    found = error(exercise, case, namespace, number, device, known)
                    if found < wrong:
                        wrong, closest = found, f"{answer.what} (seed {number})"
    return right, wrong, closest


def hold(exercise: Exercise, draws: int, device: str) -> None:
    assert wire.describe(torch.zeros(1, device=device))[3] == device
    right, wrong, closest = measure(exercise, draws, device)
    print(f"\n{exercise.name} on {device}, {draws} draws, in tolerances: right answers at most {right:.3g}, "
          f"wrong ones at least {wrong:.3g}{f': {closest}' if closest else ''}")
    assert right <= 1 / 8
    assert wrong >= 8, closest


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_tolerances_part_right_from_wrong(exercise, device):
    hold(exercise, 50, device)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_tolerances_part_right_from_wrong_a_thousand_times(exercise, device):
    hold(exercise, 1000, device)
