"""What the reference makes of a case: the steps of one draw, and for each of them the answers that are right.

Headers (type, shape, dtype, device) come from the inputs as they are drawn; values are computed in float64 from the
same inputs, so that nobody is held to the rounding of somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autograder import compare
from autograder.exercise import Case, Exercise, Oracle, Ref, Step, rng_for
from autograder.room import wire
from autograder.steps import Fault, LocalPlayer


@dataclass(frozen=True)
class Answers:
    """What the reference makes of one draw: for each step a list of (header, value), one of which must be met.

    There are two where float32 and float64 decide a discrete question differently. ``fault`` is the reference's own.
    """

    steps: tuple[Step, ...]
    answers: tuple[list[tuple[list, Any]], ...]
    fault: Fault | None = None


def draw(exercise: Exercise, case: Case, seed: bytes, index: int) -> tuple[Step, ...]:
    """The steps of one draw; after them, every input that could have been changed is looked at again."""
    steps = tuple(case.draw(rng_for(seed, exercise.name, case.name, index)))
    if case.raises:
        return steps
    used = {arg.handle for step in steps if step.op != "put" for arg in (*step.args, *step.kwargs.values())
            if isinstance(arg, Ref)} | {step.on for step in steps}
    changeable = (step.into for step in steps
                  if step.op == "put" and step.into in used and _changeable(step.args[0]))
    return (*steps, *(Step("get", on=handle) for handle in changeable))


def _changeable(value: Any) -> bool:
    kind = wire.describe(value)[0]
    return kind in ("tensor", "list", "dict") and not has_oracle((Step("put", args=(value,)),))


def has_oracle(steps: Sequence[Step]) -> bool:
    def inside(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return any(map(inside, value))
        if isinstance(value, dict):
            return any(map(inside, value.values()))
        return isinstance(value, Oracle)

    return any(inside([step.args, step.kwargs]) for step in steps)


def reference_answers(exercise: Exercise, case: Case, seed: bytes, index: int, device: str = "cpu") -> Answers:
    """What the reference makes of one draw: headers as computed, values in float64 (from the same inputs)."""
    name, reference = exercise.name, exercise.reference
    runs = []
    for double in (False, True):
        steps = draw(exercise, case, seed, index)
        player = LocalPlayer({name: reference}, device, double=double)
        run = []
        for step in steps:
            reply = player.play(step)
            if reply.fault:
                if not double:
                    return Answers(steps, (), reply.fault)
                break
            run.append(None if reply.header is None else (
                reply.header, None if reply.header[0] == "other" else reply.fetch()))
        runs.append(run)
    return Answers(steps, tuple(_merge(plain, exact) for plain, exact in zip(
        runs[0], runs[1] + [None] * len(runs[0]))))


def _merge(plain: tuple[list, Any] | None, exact: tuple[list, Any] | None) -> list[tuple[list, Any]]:
    if plain is None:
        return []
    if exact is None or plain[0][0] == "other":
        return [plain]
    alike = _without_precision(plain[0]) == _without_precision(exact[0])
    merged = [(plain[0], exact[1] if alike else plain[1])]
    if not alike:
        merged.append(exact)
    elif _discrete(plain[1]) != _discrete(exact[1]):
        merged.append(plain)
    return merged


def _without_precision(header: list) -> list:
    """A header with its values dropped and every float dtype called the same."""
    match header:
        case ["tensor", dtype, shape, device]:
            return ["tensor", "float" if dtype in compare.FLOATS else dtype, shape, device]
        case ["list" | "tuple" as kind, items]:
            return [kind, [_without_precision(item) for item in items]]
        case ["dict", pairs]:
            return ["dict", [[key, _without_precision(value)] for key, value in pairs]]
    return header[:1]


def _discrete(value: Any) -> list:
    """The integers, booleans and strings of a value, in order."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _discrete(item)]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _discrete(item)]
    if hasattr(value, "tolist"):
        return [] if value.is_floating_point() else [value.tolist()]
    return [] if isinstance(value, float) else [value]
