"""A verdict or a quiz result in the student's words: what is right, what differs first and where, and what to try."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from autograder.casework import AGAIN, CHANGED, Failure, argument
from autograder.exercise import Exercise, Oracle, Prop, Ref, Step, Verdict
from autograder.quiz import QuizResult, shown
from autograder.report import Block, Report, Row

WHOLE = 1500  # characters in which, indents aside, all inputs are shown in full: they can be run again
WIDTH = 280  # characters that one drawn input may take where that is not enough
ENTRIES = 64  # of a tensor that is shown in full; twice as many where all fits
LINES = 12  # of what a function printed


def sentence(text: str) -> Report:
    """One quiet line."""
    return Report("", text)


def verdict(exercise: Exercise, result: Verdict, failures: Sequence[Failure], device: str,
            missing: tuple[Sequence[str], Sequence[str]] = ((), ())) -> Report:
    """The table for one exercise: every case, and the first failure in full, with its inputs."""
    if result.status == "unwritten":
        return Report(exercise.name, "not written yet. Fill in its cell and run it, then run this one again.")
    right = sum(case.status == "right" for case in result.cases)
    total = len(result.cases)
    where = ", on the GPU" if device == "cuda" else ""
    summary = (f"all {total} cases are right{where}" if right == total and total > 1
               else f"{right} of {total} case{'s' * (total > 1)} right{where}")
    first = failures[0] if failures else None
    rows = tuple(Row(case.status, case.case,
                     "" if first is None or case.case == first.case.name else quoted(case.message.split(":")[0]
                                                                                    if case.status == "raised"
                                                                                    else case.message))
                 for case in result.cases)
    notes = [*_warnings(*missing)]
    if result.status == "grader":
        notes.append("Something is wrong with the course here, not with your code. Please report it, with this table.")
    return Report(exercise.name, summary, rows=rows, blocks=(_failure(exercise, first),) if first else (),
                  notes=tuple(notes))


def _failure(exercise: Exercise, failure: Failure) -> Block:
    """The first failure: what differed, for which inputs, what the code printed, and the hint."""
    fault = failure.fault
    twice = failure.message.startswith((AGAIN, CHANGED))
    pieces: list[tuple[str, str]] = []
    if fault and fault.kind in ("raised", "memory", "unwritten"):
        pieces.append(("text", f"It raised `{fault.exception}`" + (
            f" in line {fault.line} of its cell." if fault.line else ".")))
        said = f"{fault.exception}: {fault.message}" if fault.message else fault.exception
        pieces.append(("code", "\n".join([*fault.trace, said])))
    elif fault and fault.kind == "timeout":
        pieces.append(("text", f"It {fault.message}. Is there a loop that never ends?"))
    else:
        message = f"it {failure.message}" if twice else failure.message
        pieces.append(("text", quoted(f"{message[:1].upper()}{message[1:]}.")))
    if fault and fault.kind != "timeout":
        pieces.append(("text", "It was called like this:"))
    pieces.append(("code", script(exercise, failure.steps, failure.step, twice)))
    if failure.printed.strip():
        lines = failure.printed.rstrip().splitlines()
        more = [f"... ({len(lines) - LINES} more lines)"] if len(lines) > LINES else []
        pieces += [("text", "What it printed:"), ("code", "\n".join(lines[:LINES] + more))]
    if failure.case.hint:
        pieces.append(("text", f"**Hint:** {failure.case.hint}"))
    return Block(f"First to mend: {failure.case.name}", tuple(pieces))


def _warnings(names: Sequence[str], packages: Sequence[str]) -> Iterable[str]:
    if names:
        them = "it" if len(names) == 1 else "them"
        yield (f"It reads {_listed(names)}, which demonstration cells of the chapter make. The grader does not run "
               f"those cells: take {them} as an argument, or make sure that a cell of your own defines {them}.")
    if packages:
        yield f"It uses {_listed(packages)}. The grader has torch, numpy and Python's standard library only."


def _listed(names: Sequence[str]) -> str:
    marked = [f"`{name}`" for name in names]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} and {marked[-1]}"


def quoted(text: str) -> str:
    """Text that came from elsewhere, with the marks of :func:`autograder.report.rich` taken out of it.

    >>> quoted("a * b * c costs $5")
    'a ∗ b ∗ c costs ＄5'
    """
    return text.replace("*", "∗").replace("$", "＄").replace("`", "'")


def script(exercise: Exercise, steps: Sequence[Step], last: Step, twice: bool = False) -> str:
    """What was done up to the step ``last``, as a student would type it; what it does not rest on is left out.

    ``twice`` shows a call that was made again.

    >>> from autograder.exercise import call
    >>> steps = call("halves", torch.tensor([1.0, 3.0]))
    >>> print(script(Exercise("halves", "toys", lambda x: x / 2, ()), steps, steps[1]))
    x = tensor([1., 3.])
    halves(x)
    """
    whole = _script(exercise, steps, last, twice, WHOLE)
    return whole if len(re.sub(r"\n +", "\n", whole)) <= WHOLE else _script(exercise, steps, last, twice, WIDTH)


def _script(exercise: Exercise, steps: Sequence[Step], last: Step, twice: bool, width: int) -> str:
    """:func:`script` with each input in at most about ``width`` characters."""
    handles = {step.into for step in steps if step.into}
    known = {handle: argument(exercise, steps, handle).replace("number ", "argument_") for handle in handles}

    def name(handle: str) -> str:
        if known.get(handle, handle) != handle:
            return known[handle]
        prefix = max((h for h in known if known[h] != h and handle.startswith(h)), key=len, default="")
        return f"{known[prefix]}{handle[len(prefix):]}" if prefix else handle

    def value(item: Any) -> str:
        if isinstance(item, Ref):
            return name(item.handle)
        if isinstance(item, (list, tuple)) and any(isinstance(part, Ref) for part in item):
            return f"[{_joined([value(part) for part in item])}]"
        return compact(item, width)

    lines: list[str] = []
    for step in _needed(steps, last):
        inner = ", ".join([*map(value, step.args), *(f"{key}={value(item)}" for key, item in step.kwargs.items())])
        kept = f"{name(step.into)} = " if step.into else ""
        match step.op:
            case "put" if isinstance(step.args[0], Prop):
                lines.append(step.args[0].source.rstrip())
            case "put":
                lines.append(kept + inner.replace("\n", "\n" + " " * len(kept)))
            case "call" | "new":
                lines.append(f"{kept}{step.name}({inner})")
            case "method":
                called = name(step.on) if step.name == "__call__" else f"{name(step.on)}.{step.name}"
                lines.append(f"{kept}{called}({inner})")
            case "load":
                lines.append(f"{step.on}.load_state_dict({inner})")
            case "get" if step.into:
                lines.append(f"{kept}{step.name}")
    if len(lines) > 1 and lines[-1] == lines[-2]:
        lines[-1:] = [f"{lines[-1]}  # once more, with the same objects"] if twice else []
    return "\n".join(lines)


def _needed(steps: Sequence[Step], last: Step) -> list[Step]:
    """The steps that ``last`` rests on, in order, and ``last``."""
    position = next(i for i, step in enumerate(steps) if step is last)
    made = {step.into for step in steps if step.op == "new"}
    needed, kept = _handles(last), []
    for number, step in reversed(list(enumerate(steps[:position + 1]))):
        looked_at = last.op == "get" and step.op in ("call", "method") and last.on in _handles(step)
        same_question = _refs_only(last) and step.op == "call" and (step.name, step.args) == (last.name, last.args)
        if number == position or step.into in needed or (step.on in made & needed) or looked_at or same_question:
            kept.append(step)
            needed = needed | _handles(step)
    return kept[::-1]


def _handles(step: Step) -> set[str]:
    """The handles that a step reads."""
    items = [*step.args, *step.kwargs.values()]
    items += [part for item in items if isinstance(item, (list, tuple)) for part in item]
    return {item.handle for item in items if isinstance(item, Ref)} | ({step.on} if step.on else set())


def _refs_only(step: Step) -> bool:
    return all(isinstance(item, Ref) for item in (*step.args, *step.kwargs.values()))


def compact(value: Any, width: int = WIDTH) -> str:
    """A drawn input in a line or two, or as many lines as its tensors take; longer lists than ``width`` are cut.

    >>> compact([1, 0.123456789, "hub"]), compact(torch.zeros(64, 64))
    ("[1, 0.1235, 'hub']", 'a float32 tensor of shape (64, 64), from 0 to 0')
    """
    if torch.is_tensor(value):
        return _tensor(value, ENTRIES * (2 if width > WIDTH else 1))
    if isinstance(value, Prop):
        return value.name
    if isinstance(value, Oracle):
        return value.name
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        inner = _joined([compact(item, width) for item in value])
        text = f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    elif isinstance(value, dict):
        inner = ", ".join(f"{compact(key, width)}: {compact(item, width)}" for key, item in value.items())
        text = "{" + inner + "}"
    else:
        text = repr(value)
    return text if len(text) <= width else f"{text[:width - 30]} ... (cut; {len(value)} items)"


def _joined(items: Sequence[str]) -> str:
    """The inside of a list: on one line, or one item below the other where one takes several lines itself."""
    return (",\n" if any("\n" in item for item in items) else ", ").join(items).replace("\n", "\n ")


def _float(value: float) -> str:
    """Four digits, or as many as it takes not to look like a whole number that it is not.

    >>> _float(0.123456), _float(0.99999), _float(1 - 2 ** -24), _float(1.0)
    ('0.1235', '0.99999', '0.9999999', '1')
    """
    texts = (f"{value:.{digits}g}" for digits in range(4, 17))
    return next((text for text in texts if float(text) == value or not float(text).is_integer()), repr(value))


def _tensor(value: torch.Tensor, entries: int) -> str:
    dtype = str(value.dtype).removeprefix("torch.")
    if value.numel() > entries:
        shape = f"a {dtype} tensor of shape {tuple(value.shape)}"
        if value.dtype == torch.bool:
            return shape
        low, high = (float(value.double().nan_to_num(0.0, math.inf, -math.inf).aminmax()[i]) for i in (0, 1))
        return f"{shape}, from {_float(low)} to {_float(high)}"
    text = repr(value.detach().cpu())
    return " ".join(text.split()) if value.dim() < 2 else re.sub(r"\n+", "\n", text)


def quiz(result: QuizResult, data: Mapping[str, Any]) -> Report:
    """The table for a quiz: each question, the explanation of what was chosen, and what to read again."""
    if all(question.status == "unanswered" for question in result.questions) and not result.remarks:
        return sentence("No question is answered yet. Write your choices into `answers`, run that cell, then this one.")
    needed = next(n for n in range(result.total + 2) if 4 * n > 3 * result.total)
    summary = f"{result.score} of {result.total} right" + (
        ": the chapter is complete" if result.complete else f"; the chapter is complete with {needed}")
    rows = tuple(Row({"wrong": "mistaken"}.get(question.status, question.status), f"{number}. {question.id}",
                     question.why) for number, question in enumerate(result.questions, start=1))
    page, titles = data.get("page_url") or "", data.get("sections") or {}
    links = []
    for section in result.read_again:
        title = titles.get(section) or section.removeprefix(f"{result.stem}-").replace("-", " ")
        links.append((quoted(title), f"{page}#{section}" if page else ""))
    return Report("Quiz", summary, ("Result", "Question"), rows, notes=tuple(map(quoted, result.remarks)),
                  links=tuple(links),
                  links_title="Worth reading again:" if links else "")


def no_quiz(stem: Any) -> Report:
    """The questions are not on this machine."""
    return sentence(f"The questions of the quiz {quoted(shown(stem))} are not on this machine. Run the set-up cell at "
                    "the top of the notebook again; in a checkout of the course, `make notebooks` makes them.")


def no_exercise(target: Any, why: str) -> Report:
    """Something was checked that is no exercise."""
    if isinstance(target, str) or getattr(target, "__name__", "").isidentifier():
        return sentence(quoted(f"{why[:1].upper()}{why[1:]}"))
    return sentence(f"`check` takes a function of an exercise, or its name in quotes; this is {_kind(target)}. "
                    "Leave the parentheses after the function's name out.")


def not_defined(name: str) -> Report:
    """An exercise was named whose cell has not run."""
    return sentence(f"Nothing is called `{name}` here yet: run the cell that defines it, then this one again.")


def not_callable(name: str, target: Any) -> Report:
    """The exercise's name stands for something that cannot be called."""
    return sentence(f"`{name}` is {_kind(target)} here, not a function: run the cell that defines it, then this one "
                    "again.")


def _kind(target: Any) -> str:
    if target is None:
        return "None"
    name = type(target).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {shown(name)[1:-1]}"
