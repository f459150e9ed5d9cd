"""Quizzes: the directive ``{quiz} bigrams`` shows the bank ``chapters/quizzes/bigrams.yml`` as an accessible form.

Prompts, options and explanations are MyST, parsed here into the page, so that math, code and references work in them.
The page reads without JavaScript (answers in ``<details>``); ``quiz.js``, only on pages with a quiz, checks them.
"""

from __future__ import annotations

import numbers
import re
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CHOICE = ("single", "multiple")
BANK_KEYS = {"chapter": True, "questions": True, "objectives": True, "pass_above": False}
QUESTION_KEYS = {"id": True, "type": True, "objective": True, "section": True, "prompt": True}
CHOICE_KEYS = QUESTION_KEYS | {"options": True}
NUMERIC_KEYS = QUESTION_KEYS | {"answer": True, "tolerance": True, "why": True, "unit": False, "wrong": False}
OPTION_KEYS = {"id": True, "text": True, "why": True, "correct": False}


class BankError(Exception):
    """A fault in a question bank: one sentence that names the file and the question."""


def load(path: Path) -> dict:
    """The bank in a YAML file, checked. Raises BankError with one sentence."""
    try:
        bank = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BankError(f"{path.name}: there is no such question bank in {path.parent.name}/.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BankError(f"{path.name}: this is not valid YAML: {' '.join(str(error).split())}") from None
    check_bank(bank, path)
    return bank


def check_keys(entry: object, keys: dict[str, bool], where: str) -> None:
    """Raise BankError unless ``entry`` is a mapping with all required keys and no others."""
    if not isinstance(entry, dict):
        raise BankError(f"{where}: expected 'key: value' lines, found {type(entry).__name__}.")
    missing = [key for key, required in keys.items() if required and entry.get(key) in (None, "")]
    unknown = [str(key) for key in entry if key not in keys]
    if missing:
        raise BankError(f"{where}: '{missing[0]}' is missing.")
    if unknown:
        raise BankError(f"{where}: '{unknown[0]}' is not a known key; known are {', '.join(keys)}.")


def is_number(value: object) -> bool:
    """True for an int or a float, not for a bool or a string."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_bank(bank: object, path: Path) -> None:
    """Raise BankError where the bank breaks a rule of shape or of good questions."""
    check_keys(bank, BANK_KEYS, path.name)
    if bank["chapter"] != path.stem:
        raise BankError(f"{path.name}: 'chapter' is '{bank['chapter']}' but the file is named after '{path.stem}'.")
    if not is_number(bank.setdefault("pass_above", 0.75)) or not 0 <= bank["pass_above"] < 1:
        raise BankError(f"{path.name}: 'pass_above' must be a number from 0 up to, not including, 1.")
    if not isinstance(bank["questions"], list) or not isinstance(bank["objectives"], dict):
        raise BankError(f"{path.name}: 'questions' must be a list and 'objectives' a mapping.")
    seen: set[str] = set()
    for position, question in enumerate(bank["questions"], 1):
        name = question.get("id") if isinstance(question, dict) else None
        where = f"{path.name}, question '{name}'" if name else f"{path.name}, question {position}"
        check_question(question, bank["objectives"], where)
        if name in seen:
            raise BankError(f"{where}: this id is used twice.")
        seen.add(name)
    unserved = set(bank["objectives"]) - {question["objective"] for question in bank["questions"]}
    if unserved:
        raise BankError(f"{path.name}: no question serves the objective '{sorted(unserved)[0]}'.")
    check_guessing(bank["questions"], path.name)


def check_question(question: dict, objectives: dict, where: str) -> None:
    """Raise BankError where one question is not well formed."""
    kind = question.get("type") if isinstance(question, dict) else None
    if isinstance(question, dict) and kind not in (*CHOICE, "numeric"):
        raise BankError(f"{where}: 'type' must be single, multiple or numeric.")
    check_keys(question, CHOICE_KEYS if kind in CHOICE else NUMERIC_KEYS, where)
    if not re.fullmatch(r"[a-z0-9-]+", str(question["id"])):
        raise BankError(f"{where}: an id holds small letters, digits and hyphens only.")
    if question["objective"] not in objectives:
        raise BankError(f"{where}: objective '{question['objective']}' is not listed under 'objectives'.")
    if kind == "numeric":
        if not is_number(question["answer"]) or not is_number(question["tolerance"]) or question["tolerance"] < 0:
            raise BankError(f"{where}: 'answer' and 'tolerance' must be numbers, the tolerance not negative.")
        for wrong in question.get("wrong") or []:
            check_keys(wrong, {"value": True, "why": True}, where)
            if not is_number(wrong["value"]) or abs(wrong["value"] - question["answer"]) <= question["tolerance"]:
                raise BankError(f"{where}: the wrong value {wrong['value']} must be a number outside the tolerance.")
        return
    options = question["options"]
    if not isinstance(options, list) or len(options) < 3:
        raise BankError(f"{where}: at least three options are needed.")
    for option in options:
        check_keys(option, OPTION_KEYS, f"{where}, an option")
        if not isinstance(option.setdefault("correct", False), bool):
            raise BankError(f"{where}, option '{option['id']}': 'correct' must be true or false.")
        if not re.fullmatch(r"[a-z0-9]+", str(option["id"])):
            raise BankError(f"{where}, option '{option['id']}': an option's id is a letter such as a.")
        if "\n\n" in str(option["text"]).strip():
            raise BankError(f"{where}, option '{option['id']}': one paragraph only; put code blocks in the prompt.")
    if len({option["id"] for option in options}) < len(options):
        raise BankError(f"{where}: two options have the same id.")
    right = sum(option["correct"] for option in options)
    if kind == "single" and right != 1:
        raise BankError(f"{where}: a single-choice question has exactly one correct option, this one has {right}.")
    if kind == "multiple" and not 0 < right < len(options):
        raise BankError(f"{where}: some options must be correct and some wrong.")


def check_guessing(questions: list[dict], where: str) -> None:
    """Raise BankError where 'always the first' or 'always the longest' would be a good guess."""
    single = [question["options"] for question in questions if question["type"] == "single"]
    first = sum(options[0]["correct"] for options in single)
    longest = sum(max(options, key=lambda option: len(option["text"]))["correct"] for options in single)
    for count, what in ((first, "first"), (longest, "longest")):
        if len(single) > 2 and count > len(single) / 2:
            raise BankError(
                f"{where}: the correct option is the {what} one in {count} of {len(single)} questions; "
                "at most half may be."
            )


class quiz(nodes.General, nodes.Element):
    """A whole quiz. Attributes: chapter, pass_above, total. Children: quiz_question."""


class quiz_question(nodes.General, nodes.Element):
    """Attributes: number, total, question (id), kind, and for numeric ones answer, tolerance, unit.

    Children, in this order: quiz_prompt, quiz_option (choice only), quiz_answer for each option or value, quiz_section.
    """


class quiz_prompt(nodes.General, nodes.Element):
    """The prompt's paragraphs."""


class quiz_option(nodes.General, nodes.TextElement):
    """One option's text (inline nodes). Attributes: option (id), question, kind."""


class quiz_answer(nodes.General, nodes.Element):
    """One explanation. Attributes: option (its id, or the value it explains, or ''), correct."""


class quiz_section(nodes.General, nodes.TextElement):
    """One reference to the section to read again."""


class QuizDirective(SphinxDirective):
    """The directive: one argument, the stem of a bank."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The quiz's nodes; a fault in the bank is an error at this directive."""
        path = Path(self.env.srcdir) / "chapters" / "quizzes" / f"{self.arguments[0]}.yml"
        self.env.note_dependency(str(path))
        try:
            bank = load(path)
        except BankError as error:
            raise self.error(str(error)) from None
        total = len(bank["questions"])
        whole = quiz(chapter=bank["chapter"], pass_above=bank["pass_above"], total=total)
        whole += [self.question(entry, number, total) for number, entry in enumerate(bank["questions"], 1)]
        self.env.metadata[self.env.docname]["has_quiz"] = "1"
        return [whole]

    def parse(self, text: object) -> list[nodes.Node]:
        """The nodes of a piece of MyST."""
        holder = nodes.Element()
        self.state.nested_parse(StringList(str(text).strip().splitlines(), self.get_location()), 0, holder)
        return holder.children

    def inline(self, text: object) -> list[nodes.Node]:
        """The nodes of one paragraph, without the paragraph."""
        parsed = self.parse(text)
        return parsed[0].children if len(parsed) == 1 and isinstance(parsed[0], nodes.paragraph) else parsed

    def question(self, entry: dict, number: int, total: int) -> quiz_question:
        """The nodes of one question."""
        facts = {key: entry[key] for key in ("answer", "tolerance", "unit") if key in entry}
        node = quiz_question(number=number, total=total, question=entry["id"], kind=entry["type"], **facts)
        node += quiz_prompt("", *self.parse(entry["prompt"]))
        if entry["type"] == "numeric":
            node += quiz_answer("", *self.parse(entry["why"]), option="", correct=True)
            for wrong in entry.get("wrong") or []:
                node += quiz_answer("", *self.parse(wrong["why"]), option=str(wrong["value"]), correct=False)
        else:
            for option in entry["options"]:
                attributes = {"option": str(option["id"]), "question": entry["id"], "kind": entry["type"]}
                node += quiz_option("", "", *self.inline(option["text"]), **attributes)
            for option in entry["options"]:
                why = self.parse(option["why"])
                node += quiz_answer("", *why, option=str(option["id"]), correct=option["correct"])
        reference = addnodes.pending_xref(
            "",
            nodes.inline("", entry["section"]),
            refdomain="std",
            reftype="ref",
            reftarget=str(entry["section"]).lower(),
            refexplicit=False,
            refwarn=True,
            refdoc=self.env.docname,
        )
        self.set_source_info(reference)
        node += quiz_section("", "", reference)
        return node


def setup(app: Sphinx) -> dict:
    """Register the directive, its nodes and, on pages with a quiz, its script."""
    import quiz_html

    for node in (quiz, quiz_question, quiz_prompt, quiz_option, quiz_answer, quiz_section):
        visitors = getattr(quiz_html, node.__name__)
        app.add_node(node, html=visitors, text=quiz_html.NOTHING, latex=quiz_html.NOTHING)
    app.add_directive("quiz", QuizDirective)
    app.connect("html-page-context", quiz_html.add_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
