"""A quiz in HTML: real form controls in a fieldset, explanations in a ``<details>`` until the script takes over."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NOTHING = (lambda self, node: None, lambda self, node: None)


def emit(text: str) -> Any:
    """A visitor that writes ``text``."""
    return lambda self, node: self.body.append(text)


def open_quiz(self, node: nodes.Element) -> None:
    """The whole quiz with its score line, which the script fills."""
    self.body.append(
        f'<div class="quiz" id="quiz-{node["chapter"]}" data-chapter="{node["chapter"]}" '
        f'data-pass-above="{node["pass_above"]}">\n'
        f'<p class="quiz-intro">{node["total"]} questions. The chapter is complete above '
        f'{round(100 * node["pass_above"])} % right.</p>\n'
    )


def close_quiz(self, node: nodes.Element) -> None:
    """The score, said to everyone, and a way to begin again."""
    self.body.append(
        '<div class="quiz-score" hidden><p role="status"></p><p class="quiz-meter" aria-hidden="true"><i></i></p>'
        '<p><button type="button" class="quiz-reset">Begin again</button></p></div>\n</div>\n'
    )


def open_question(self, node: nodes.Element) -> None:
    """A form with one fieldset, whose name is its number and its prompt."""
    name = f'quiz-{node["question"]}'
    number = ""
    if node["kind"] == "numeric":
        number = f' data-answer="{node["answer"]}" data-tolerance="{node["tolerance"]}"'
    self.body.append(
        f'<form class="quiz-question" id="{name}" data-question="{node["question"]}" data-kind="{node["kind"]}"'
        f'{number} novalidate><fieldset aria-labelledby="{name}-legend {name}-prompt">'
        f'<legend id="{name}-legend">Question {node["number"]} of {node["total"]}</legend>\n'
    )


def close_question(self, node: nodes.Element) -> None:
    """End of the form."""
    self.body.append("</fieldset></form>\n")


def open_prompt(self, node: nodes.Element) -> None:
    """The prompt; a numeric question's input follows it."""
    self.body.append(f'<div class="quiz-prompt" id="quiz-{node.parent["question"]}-prompt">\n')


def close_prompt(self, node: nodes.Element) -> None:
    """End of the prompt, then what kind of answer is wanted."""
    question = node.parent
    name = f'quiz-{question["question"]}'
    self.body.append("</div>\n")
    if question["kind"] == "multiple":
        self.body.append('<p class="quiz-kind">Choose all that are right.</p>\n')
    if question["kind"] == "numeric":
        unit = f' <span class="quiz-unit">{self.encode(str(question["unit"]))}</span>' if "unit" in question else ""
        self.body.append(
            f'<p class="quiz-number"><label for="{name}-value">Your number</label> '
            f'<input type="text" inputmode="decimal" autocomplete="off" id="{name}-value" size="10">{unit}</p>\n'
        )
        open_answers(self)


def open_option(self, node: nodes.Element) -> None:
    """A radio button or a check box with its label."""
    kind = "radio" if node["kind"] == "single" else "checkbox"
    name = f'quiz-{node["question"]}'
    self.body.append(
        f'<div class="quiz-option" data-option="{node["option"]}"><input type="{kind}" name="{name}" '
        f'id="{name}-{node["option"]}" value="{node["option"]}"><label for="{name}-{node["option"]}">'
    )


def close_option(self, node: nodes.Element) -> None:
    """End of the label; after the last option the explanations begin."""
    self.body.append("</label></div>\n")
    following = node.parent[node.parent.index(node) + 1]
    if not isinstance(following, type(node)):
        open_answers(self)


def open_answers(self) -> None:
    """The explanations: a disclosure that works without JavaScript."""
    self.body.append('<details class="quiz-answers"><summary>Answer and explanations</summary>\n')


def open_answer(self, node: nodes.Element) -> None:
    """One explanation, with its verdict in words."""
    question = node.parent
    verdict = "Right" if node["correct"] else "Not right"
    label = ""
    if question["kind"] == "numeric":
        label = str(question["answer"]) if node["correct"] else node["option"]
    else:
        for option in question.children:
            if option.tagname == "quiz_option" and option["option"] == node["option"]:
                label = option.astext()
    self.body.append(
        f'<div class="quiz-why" data-option="{self.attval(node["option"])}" '
        f'data-correct="{str(node["correct"]).lower()}"><p class="quiz-which"><strong>{verdict}:</strong> '
        f"{self.encode(label)}</p>\n"
    )


def open_section(self, node: nodes.Element) -> None:
    """The explanations end; the place to read again."""
    self.body.append('</details>\n<p class="quiz-again">Read again: ')


def add_script(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Load ``quiz.js`` on pages that hold a quiz, and only there."""
    if doctree is not None and app.env.metadata.get(pagename, {}).get("has_quiz"):
        app.add_js_file("quiz.js", loading_method="defer")


quiz = (open_quiz, close_quiz)
quiz_question = (open_question, close_question)
quiz_prompt = (open_prompt, close_prompt)
quiz_option = (open_option, close_option)
quiz_answer = (open_answer, emit("</div>\n"))
quiz_section = (open_section, emit("</p>\n"))
