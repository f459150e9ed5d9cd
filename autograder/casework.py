"""One exercise, case after case: the steps are drawn, the reference answers, the student's code answers, and the two
are compared. A student's own check and the grader share this file; only the player differs.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autograder import compare
from autograder.answers import Answers, draw, has_oracle, reference_answers
from autograder.exercise import Case, CaseVerdict, Exercise, Prop, Ref, Step, Verdict
from autograder.room import wire
from autograder.steps import Fault, Player, Reply

MAX_BYTES = 1 << 28  # of one answer that only a property is asked of
STOPPING = ("timeout", "crash", "grader")  # after these the other cases are not run
EXACTLY = Case("exactly", lambda rng: [], "", rtol=0.0, atol=0.0)
AGAIN = ("was right, but not when called again with the same arguments: it keeps something between calls, or draws at "
         "random")
CHANGED = "changed its input"
EARNED_TOGETHER = "Points are given only when the ordinary cases are right."


@dataclass(frozen=True)
class Failure:
    """Where a case first failed, with the drawn inputs: for the student's own machine, never for feedback."""

    case: Case
    steps: tuple[Step, ...]
    step: Step
    message: str
    fault: Fault | None = None
    printed: str = ""


def run_exercise(exercise: Exercise, player: Player, seed: bytes,
                 expected: MutableMapping[tuple[str, str, int], Answers] | None = None, *,
                 show_inputs: bool = False, failures: list[Failure] | None = None) -> Verdict:
    """The verdict on one exercise: every draw of every case, played by ``player`` and held against the reference.

    ``seed`` (16 to 64 bytes) decides every draw. ``expected`` keeps what the reference answers, keyed by exercise, case
    and draw: pass one mapping for a whole class (one seed, one device). ``show_inputs`` puts numbers into the messages,
    and ``failures`` collects what failed with its inputs: on the student's own machine only.
    """
    verdicts: list[CaseVerdict] = []
    expected = {} if expected is None else expected
    stop = ""
    for case in exercise.cases:
        if stop:
            verdicts.append(CaseVerdict(case.name, stop, 0.0, case.points))
            continue
        verdict = _run_case(exercise, case, player, seed, expected, show_inputs, failures)
        verdicts.append(verdict)
        if verdict.status in STOPPING:
            stop = "skipped"
        elif verdict.status == "missing" or (verdict.status == "unwritten" and case.ordinary):
            stop = verdict.status
    return _sum_up(exercise, verdicts)


def _sum_up(exercise: Exercise, verdicts: list[CaseVerdict]) -> Verdict:
    """Points stand only where every ordinary case is right."""
    statuses = [verdict.status for verdict in verdicts]
    solid = all(v.status == "right" for v, case in zip(verdicts, exercise.cases) if case.ordinary)
    notes = ()
    if not solid:
        if any(verdict.points for verdict in verdicts):
            notes = (EARNED_TOGETHER,)
        verdicts = [replace(verdict, points=0.0) for verdict in verdicts]
    points = sum(verdict.points for verdict in verdicts)
    if "grader" in statuses:
        status = "grader"
    elif "missing" in statuses:
        status = "missing"
    elif all(status == "right" for status in statuses):
        status = "right"
    elif any(v.status == "unwritten" and case.ordinary for v, case in zip(verdicts, exercise.cases)):
        status = "unwritten"
    else:
        status = "partial" if points > 0 else "wrong"
    return Verdict(exercise.name, points, exercise.points, status, tuple(verdicts), notes,
                   sum(verdict.seconds for verdict in verdicts))


def _run_case(exercise: Exercise, case: Case, player: Player, seed: bytes, expected: MutableMapping, show: bool,
              failures: list[Failure] | None) -> CaseVerdict:
    seconds = 0.0
    for index in range(case.draws):
        key = (exercise.name, case.name, index)
        if key not in expected:
            expected[key] = reference_answers(exercise, case, seed, index, player.device)
        answers = expected[key]
        if (answers.fault is not None) != case.raises:
            fault = answers.fault or Fault("raised", message="nothing was raised")
            return CaseVerdict(case.name, "grader", 0.0, case.points, f"the reference failed: {fault.exception} "
                               f"{fault.message}".strip(), seconds=seconds)
        # An oracle remembers what it was asked, so every player gets its own.
        steps = draw(exercise, case, seed, index) if has_oracle(answers.steps) else answers.steps
        player.reset()
        status, message, fault, step, took = _play(exercise, case, player, steps, answers, show)
        seconds += took
        if status != "right":
            if failures is not None:
                failures.append(Failure(case, steps, step, message, fault, getattr(player, "printed", "")))
            hint = case.hint if status in ("wrong", "raised", "timeout", "memory", "crash") else ""
            return CaseVerdict(case.name, status, 0.0, case.points, message, hint, fault and fault.line, seconds)
    return CaseVerdict(case.name, "right", case.points, case.points, seconds=seconds)


def _play(exercise: Exercise, case: Case, player: Player, steps: Sequence[Step], answers: Answers, show: bool,
          ) -> tuple[str, str, Fault | None, Step, float]:
    """Status, message, fault, the step it happened in, and seconds: of one draw."""
    seconds, values = 0.0, []
    for number, step in enumerate(steps):
        reply = player.play(step)
        seconds += reply.seconds
        if reply.fault:
            status, message = _fault(case, reply.fault)
            return status, message, reply.fault, step, seconds
        if case.raises or reply.header is None:
            continue
        wanted = answers.answers[number]
        if case.judge and not _looks_again(steps, step):
            message, value = _read_property(wanted, reply, show)
            values.append(value)
        else:
            message = _hold_against(case, wanted, reply, show, subject(steps, step))
            if message:
                message = _changed(exercise, player, steps, number, answers) or message
        if message:
            return "wrong", message, None, step, seconds
    if case.raises:
        return "wrong", "nothing was raised, and an exception was expected", None, steps[-1], seconds
    if case.judge:
        try:
            message = case.judge(values, steps)
        except Exception:  # the values are the student's: whatever they break in a judge, they are no answer
            message = "the result does not have the form that was asked for"
        if message:
            return "wrong", message, None, steps[-1], seconds
    return "right", "", None, steps[-1], seconds


def _fault(case: Case, fault: Fault) -> tuple[str, str]:
    if fault.kind == "raised" and fault.exception == "NotImplementedError" and not fault.message and case.ordinary:
        return "unwritten", ""
    if case.raises and fault.kind in ("raised", "unwritten"):
        return "right", ""
    said = f": {fault.message}" if fault.message else ""
    return fault.kind, {
        "raised": f"raised {fault.exception or 'an exception'}{said}",
        "timeout": fault.message or "took too long",
        "memory": "needed too much memory",
        "crash": "ended the process it ran in",
        "missing": "there is no such function",
        "grader": f"the grader itself failed{said}",
    }.get(fault.kind, "")


def _hold_against(case: Case, wanted: list[tuple[list, Any]], reply: Reply, show: bool, what: str) -> str | None:
    """The first difference from the best of the wanted answers; the payload is read only after its header fits."""
    first = None
    for header, value in wanted:
        if header[0] == "other":  # an object kept under a handle: nothing to compare
            return None
        try:
            wire.sizes(reply.header)
            message = (compare.check_header(header, reply.header, show=show, what=what)
                       or compare.check_value(value, reply.fetch(), rtol=case.rtol, atol=case.atol,
                                              show=show, what=what))
        except (ValueError, RecursionError):
            message = f"{what} could not be read"
        if not message:
            return None
        first = first or message
    return first


def _read_property(wanted: list[tuple[list, Any]], reply: Reply, show: bool) -> tuple[str | None, Any]:
    """A value for a judge: plain data of the expected kind and of a bounded size."""
    try:
        size = sum(wire.sizes(reply.header))
        header = wanted[0][0]
        if compare.family(header) != compare.family(reply.header) and (
                message := compare.check_header(header, reply.header, show=show)):
            return message, None
        if size > MAX_BYTES:
            return "the result is far too large", None
        return None, None if reply.header[0] == "other" else reply.fetch()
    except (ValueError, RecursionError):
        return "the result could not be read", None


def _looks_again(steps: Sequence[Step], step: Step) -> bool:
    """Whether a step reads an input back."""
    return step.op == "get" and bool(step.on) and any(s.op == "put" and s.into == step.on for s in steps)


def subject(steps: Sequence[Step], step: Step) -> str:
    """What a step answers, in words.

    >>> probe = Step("put", args=(Prop("gradient", "..."),), into="probe")
    >>> subject([probe], Step("method", "__call__", on="probe"))
    'the gradient'
    """
    if step.op == "method":
        for put in steps:
            if put.op == "put" and put.into == step.on and isinstance(put.args[0], Prop):
                return f"the {put.args[0].name.replace('_', ' ')}"
        return f"the result of {step.name}"
    return step.name if step.op == "get" and step.name else "the result"


def _changed(exercise: Exercise, player: Player, steps: Sequence[Step], number: int, answers: Answers) -> str | None:
    """The sentence for a wrong answer that only came because an input was changed, or a call left something behind."""
    step = steps[number]
    if _looks_again(steps, step):
        return f"{CHANGED} {argument(exercise, steps, step.on)}"
    if not any(_repeats(earlier, step) for earlier in steps[:number]):
        return None
    given = {arg.handle for arg in (*step.args, *step.kwargs.values()) if isinstance(arg, Ref)}
    for later, look in enumerate(steps):
        if later > number and look.on in given and _looks_again(steps, look):
            reply = player.play(look)
            if reply.header and _hold_against(EXACTLY, answers.answers[later], reply, False, ""):
                return f"{CHANGED} {argument(exercise, steps, look.on)}"
    return AGAIN


def _repeats(earlier: Step, step: Step) -> bool:
    """Whether a step asks the same of the same objects."""
    def same(a: Any, b: Any) -> bool:
        return a is b or (isinstance(a, Ref) and isinstance(b, Ref) and a == b)

    return (step.op == "call" and (earlier.op, earlier.name) == (step.op, step.name)
            and len(earlier.args) == len(step.args) and all(map(same, earlier.args, step.args))
            and earlier.kwargs.keys() == step.kwargs.keys()
            and all(same(earlier.kwargs[key], value) for key, value in step.kwargs.items()))


def argument(exercise: Exercise, steps: Sequence[Step], handle: str) -> str:
    """What the student calls the argument that stands under ``handle``."""
    for step in steps:
        if step.op in ("call", "new") and step.name == exercise.name:
            for key, value in step.kwargs.items():
                if value == Ref(handle) and isinstance(value, Ref):
                    return key
            for position, value in enumerate(step.args):
                if isinstance(value, Ref) and value.handle == handle:
                    with contextlib.suppress(TypeError, ValueError, IndexError):
                        return list(inspect.signature(exercise.reference).parameters)[position]
                    return f"number {position + 1}"
    return handle
