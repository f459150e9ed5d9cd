"""How many of a quiz's questions are right, and what each chosen option deserves to hear.

Answers come from anybody: whatever they hold, :func:`score` answers with a result and never raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class QuestionResult:
    """One question: ``status`` is right, wrong or unanswered; ``why`` explains what was chosen, a line for each."""

    id: str
    status: str
    prompt: str
    why: str = ""
    section: str = ""


@dataclass(frozen=True)
class QuizResult:
    """A scored quiz. ``complete`` is strictly above the bank's threshold; ``remarks`` name what could not be read."""

    stem: str
    score: int
    total: int
    complete: bool
    questions: tuple[QuestionResult, ...]
    remarks: tuple[str, ...] = ()

    @property
    def read_again(self) -> tuple[str, ...]:
        """The sections of the chapter behind what was wrong, each once, in the order of the quiz."""
        return tuple(dict.fromkeys(q.section for q in self.questions if q.status == "wrong" and q.section))


def score(bank: Mapping[str, Any], answers: Any) -> QuizResult:
    """The result of ``answers`` (question id -> option id, list of option ids, or number) on a question bank.

    >>> bank = {"chapter": "toys", "questions": [
    ...     {"id": "half", "type": "numeric", "prompt": "1/2?", "answer": 0.5, "tolerance": 0.01, "why": "Halved."}]}
    >>> score(bank, {"half": 0.501}).complete, score(bank, {"half": "a lot"}).score
    (True, 0)
    """
    questions = list(bank["questions"])
    remarks: list[str] = []
    if not isinstance(answers, dict):
        remarks.append("The answers are no dict of question ids and choices, so nothing could be read.")
        answers = {}
    known = [question["id"] for question in questions]
    for key in answers:
        if not isinstance(key, str) or key not in known:
            remarks.append(f"No question is called {shown(key)}; the questions are {', '.join(known)}.")
    results = tuple(_question(question, answers.get(question["id"]), remarks) for question in questions)
    right = sum(result.status == "right" for result in results)
    complete = right > Fraction(str(bank.get("pass_above", 0.75))) * len(results)
    return QuizResult(str(bank.get("chapter", "")), right, len(results), complete, results, tuple(remarks[:20]))


def shown(value: Any) -> str:
    """A value of the student's in quotes, short and on one line.

    >>> shown("row\\nsum")
    '"row sum"'
    """
    text = value if isinstance(value, str) else type(value).__name__
    text = re.sub(r"[^\w .,:;+*/()\[\]{}<>=!?'-]+", " ", text).strip()
    return f'"{text[:37]}..."' if len(text) > 40 else f'"{text}"'


def _question(question: Mapping[str, Any], answer: Any, remarks: list[str]) -> QuestionResult:
    status, why = "unanswered", ""
    if answer is not None and not (isinstance(answer, (str, list, tuple)) and len(answer) == 0):
        check = _numeric if question["type"] == "numeric" else _choice
        right, why, remark = check(question, answer)
        status = "right" if right else "wrong"
        if remark:
            remarks.append(f"{question['id']}: {remark}")
    return QuestionResult(question["id"], status, question.get("prompt", ""), why, question.get("section", ""))


def _numeric(question: Mapping[str, Any], answer: Any) -> tuple[bool, str, str]:
    number = _as_number(answer)
    if number is None:
        return False, "", f"a number is asked for, and {shown(answer)} is none."
    slack = float(question.get("tolerance", 0)) * (1 + 1e-9) + 1e-12
    if abs(number - float(question["answer"])) <= slack:
        return True, question.get("why", ""), ""
    for mistake in question.get("wrong", ()):
        if abs(number - float(mistake["value"])) <= slack:
            return False, mistake["why"], ""
    unit = f" (in {question['unit']})" if question.get("unit") else ""
    return False, f"{_nearness(number, question)}{unit}.", ""


def _nearness(number: float, question: Mapping[str, Any]) -> str:
    """What a wrong number is told, without the full stop: that it was rounded too far, or that it is elsewhere.

    >>> _nearness(0.1, {"answer": 0.1308, "tolerance": 0.002})
    'Near, but rounded too far: give at least 3 decimals, so as to be within 0.002 of the answer'
    >>> _nearness(0.7, {"answer": 0.1308, "tolerance": 0.002})
    'That is not within 0.002 of the answer'
    """
    answer, tolerance = float(question["answer"]), float(question.get("tolerance", 0))
    given = max(0, -int(Decimal(repr(number)).normalize().as_tuple().exponent))
    last_digit = 10.0 ** -given
    if number and 0 < tolerance < abs(number - answer) < last_digit * (1 if given else 0.5):
        decimals = max(1, math.ceil(-math.log10(2 * tolerance) - 1e-9))
        digits = f"at least {decimals} decimal{'s' * (decimals > 1)}"
        return f"Near, but rounded too far: give {digits}, so as to be within {tolerance:g} of the answer"
    return f"That is not within {tolerance:g} of the answer"


def _as_number(answer: Any) -> float | None:
    if isinstance(answer, bool) or not isinstance(answer, (int, float, str)):
        return None
    try:
        number = float(answer) if not isinstance(answer, str) or len(answer) <= 40 else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _choice(question: Mapping[str, Any], answer: Any) -> tuple[bool, str, str]:
    options = {option["id"]: option for option in question["options"]}
    several = question["type"] == "multiple"
    chosen = _as_ids(answer)
    if several and chosen and len(chosen) == 1 and not chosen <= options.keys() and set(*chosen) <= options.keys():
        chosen = frozenset(*chosen)  # "ace"
    if chosen is None or not chosen <= options.keys():
        wrong = answer if chosen is None else next(iter(sorted(chosen - options.keys())))
        return False, "", f"there is no option {shown(wrong)}; the options are {', '.join(options)}."
    right = {key for key, option in options.items() if option.get("correct")}
    if chosen == right:
        return True, _whys(options, sorted(chosen), several), ""
    if question["type"] == "single" and len(chosen) > 1:
        return False, "Only one option can be chosen here.", ""
    why = _whys(options, sorted(chosen - right), several)
    if several and right - chosen:
        why = f"{why}\nA right option is missing.".strip()
    return False, why, ""


def _as_ids(answer: Any) -> frozenset[str] | None:
    """The option ids that an answer names: "a", "a, c" or a collection of them."""
    if isinstance(answer, str):
        answer = re.split(r"[,\s]+", answer.strip()[:400])
    if not isinstance(answer, (list, tuple, set, frozenset)) or not all(isinstance(item, str) for item in answer):
        return None
    return frozenset(item.strip().lower() for item in answer)


def _whys(options: Mapping[str, Mapping[str, Any]], chosen: Iterable[str], several: bool) -> str:
    """The explanations of the chosen options, one a line; where there may be several, each begins with its letter.

    >>> print(_whys({"a": {"why": "Yes."}, "c": {"why": "No,\\n  too far."}}, ["a", "c"], True))
    **a:** Yes.
    **c:** No, too far.
    """
    whys = {key: " ".join(options[key].get("why", "").split()) for key in chosen}
    return "\n".join(f"**{key}:** {why}" if several else why for key, why in whys.items() if why)
