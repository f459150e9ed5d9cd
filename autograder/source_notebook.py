"""A chapter's blocks, stubs, answers and points as one nbgrader *source* notebook, with ids that are stable from build
to build. :mod:`autograder.release` makes the student's notebook of it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder import setup_cell
from autograder.chapter import Chapter, Solution
from autograder.exercise import Exercise
from autograder.markdown_writer import Block, Code, Markdown, Quiz
from autograder.settings import Settings

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
BLANK = {"single": '"",  # one letter', "multiple": '[],  # letters, as in ["a", "c"]', "numeric": "None,  # a number"}
HIDE = {"hide-input", "hide_input", "hide-cell", "hide_cell"}


class NotebookError(ValueError):
    """One sentence on why a chapter cannot become a notebook."""


def build(
    settings: Settings,
    chapter: Chapter,
    blocks: Sequence[Block],
    solutions: Mapping[str, Solution],
    exercises: Mapping[str, Exercise],
    bank: Mapping | None,
) -> NotebookNode:
    """The source notebook (nbformat 4.5). Raises :class:`NotebookError` where chapter, checks and page disagree."""
    code = [block for block in blocks if isinstance(block, Code)]
    if [c.source.strip() for c in code] != [c.source.strip() for c in chapter.cells]:
        raise NotebookError(
            f"chapters/{chapter.stem}.md: the page shows {len(code)} code cells, the file holds {len(chapter.cells)}; "
            "a cell tagged remove-cell or remove-input cannot be part of a notebook, use hide-input."
        )
    if set(exercises) != set(chapter.stubs):
        odd = sorted(set(exercises) ^ set(chapter.stubs))[0]
        where = "has cases but no stub" if odd in exercises else "has a stub but no cases"
        raise NotebookError(f"chapters/{chapter.stem}.md and autograder/checks/{chapter.stem}.py: {odd} {where}.")
    cells = [_hide(_cell("setup", "", setup_cell.source(settings)))]
    cells += _body(settings, chapter, blocks, solutions, exercises, bank)
    _name(cells, chapter.stem)
    notebook = new_notebook(cells=cells, metadata=_metadata(settings, chapter.stem))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata.course["release"] = digest(released(notebook))
    nbformat.validate(notebook)
    return notebook


def released(source: NotebookNode) -> NotebookNode:
    """What the student gets: a copy of the source notebook in which every stub is back, byte for byte."""
    notebook = copy.deepcopy(source)
    for cell in notebook.cells:
        restore(cell)
    return notebook


def restore(cell: NotebookNode) -> NotebookNode:
    """``cell`` itself, with the stub from its metadata as its source; a cell without one is left alone."""
    if "stub" in cell.metadata.get("course", {}):
        cell.source = cell.metadata.course.pop("stub")
    return cell


def digest(notebook: NotebookNode) -> str:
    """The release hash (sha256, hex) over every cell's id, type, source, kind and name."""
    parts = [
        [cell.id, cell.cell_type, cell.source, cell.metadata.course["kind"], cell.metadata.course["name"]]
        for cell in notebook.cells
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def solve(notebook: NotebookNode, source: NotebookNode) -> NotebookNode:
    """A copy of a released ``notebook`` with every answer of its ``source`` notebook filled in, the quiz's too."""
    answers = {cell.id: cell.source for cell in source.cells if "stub" in cell.metadata.course}
    solved = copy.deepcopy(notebook)
    for cell in solved.cells:
        if cell.id in answers:
            cell.source = re.sub(rf"^{BEGIN}\n|\n{END}$", "", answers[cell.id])
    return solved


def right_answers(bank: Mapping) -> dict[str, object]:
    """The answer to every question of a bank: an option's id, a list of them, or a number."""
    answers: dict[str, object] = {}
    for question in bank["questions"]:
        right = [option["id"] for option in question.get("options", ()) if option.get("correct")]
        kinds = {"single": right[:1], "multiple": [right], "numeric": [question.get("answer")]}
        answers[question["id"]] = kinds[question["type"]][0]
    return answers


def plain_bank(bank: Mapping, quiz: Quiz) -> dict:
    """A copy of a question bank in which every text is the plain Markdown that the page's text became."""
    bank = copy.deepcopy(dict(bank))
    for question, (_, _, texts) in zip(bank["questions"], quiz.questions):
        question["prompt"] = texts["prompt"]
        question["section_title"] = texts.get("section", "")
        for option in question.get("options", ()):
            option["text"], option["why"] = texts[f"option {option['id']}"], texts[f"why {option['id']}"]
        if "why" in question:
            question["why"] = texts["why"]
        for wrong in question.get("wrong") or ():
            wrong["why"] = texts[f"why {wrong['value']}"]
    return bank


def _body(settings, chapter, blocks, solutions, exercises, bank) -> Iterable[NotebookNode]:
    text: list[str] = []
    code = iter(chapter.cells)
    titled = False

    def flush() -> Iterable[NotebookNode]:
        if text:
            yield _cell("text", "", "\n\n".join(text))
            text.clear()

    for block in blocks:
        if isinstance(block, Markdown):
            if block.heading:
                yield from flush()
            text.append(block.text)
            if not titled:
                text.append(_where_from(settings, chapter.stem))
                titled = True
            continue
        yield from flush()
        if isinstance(block, Quiz):
            yield from _quiz(block, bank, settings.quiz_points)
        else:
            yield _code(next(code), block.metadata, solutions, exercises)
    yield from flush()


def _where_from(settings: Settings, stem: str) -> str:
    page = settings.page_url(stem)
    return (
        f"*A chapter of [{settings.title}]({settings.base_url}), as a notebook; [its page]({page}) has the same text. "
        "Run the cells from the top, fill in those that raise `NotImplementedError`, and run the `check` below each.*"
    )


def _code(cell, metadata: dict, solutions, exercises) -> NotebookNode:
    made = _cell(cell.kind, cell.name, cell.source)
    tags = list(metadata.get("tags", ()))
    if tags:
        made.metadata["tags"] = tags
    if HIDE & set(tags):
        _hide(made)
    if cell.kind == "stub":
        made.source = f"{BEGIN}\n{solutions[cell.name].source}\n{END}"
        made.metadata.course["stub"] = cell.source
        made.metadata["nbgrader"] = _nbgrader(cell.name, solution=True)
    elif cell.kind == "check":
        made.metadata["nbgrader"] = _nbgrader(f"check-{cell.name}", points=exercises[cell.name].points)
    return made


def _quiz(block: Quiz, bank: Mapping | None, points: float) -> Iterable[NotebookNode]:
    if bank is None or [q["id"] for q in bank["questions"]] != [question[0] for question in block.questions]:
        raise NotebookError(f"chapters/quizzes/{block.chapter}.yml does not hold the questions that the page shows.")
    answers = _cell("quiz-answers", "", f"{BEGIN}\n{_answers(right_answers(bank))}\n{END}")
    lines = [f'    "{id_}": {BLANK[kind]}\n' for id_, kind, _ in block.questions]
    answers.metadata.course["stub"] = "answers = {\n" + "".join(lines) + "}"
    answers.metadata["nbgrader"] = _nbgrader("quiz-answers", solution=True)
    yield answers
    check = _cell("quiz-check", "", f'from autograder import check_quiz\n\ncheck_quiz("{block.chapter}", answers)')
    check.metadata["nbgrader"] = _nbgrader("quiz", points=points)
    yield check


def _answers(answers: dict[str, object]) -> str:
    literals = {key: "None" if value is None else json.dumps(value) for key, value in answers.items()}
    return "answers = {\n" + "".join(f'    "{key}": {value},\n' for key, value in literals.items()) + "}"


def _cell(kind: str, name: str, source: str) -> NotebookNode:
    make = new_markdown_cell if kind == "text" else new_code_cell
    return make(source=source, metadata={"course": {"kind": kind, "name": name}})


def _hide(cell: NotebookNode) -> NotebookNode:
    """``cell`` itself, its source folded away in Jupyter and on Colab."""
    cell.metadata["jupyter"] = {"source_hidden": True}
    cell.metadata["cellView"] = "form"
    return cell


def _nbgrader(grade_id: str, solution: bool = False, points: float | None = None) -> dict:
    facts = {"schema_version": 3, "grade_id": grade_id, "solution": solution, "grade": not solution}
    facts |= {"locked": not solution, "task": False}
    return facts if points is None else facts | {"points": points}


def _name(cells: list[NotebookNode], stem: str) -> None:
    """Give every cell its id: its name's where it has one, else its content's, so that a new cell moves no other id."""
    seen: dict[str, int] = {}
    for cell in cells:
        course = cell.metadata.course
        if course["kind"] in ("setup", "quiz-answers", "quiz-check"):
            base = f"{stem}-{course['kind']}"
        elif course["name"]:
            base = f"{stem}-{course['kind']}-{course['name']}"[:60]
        else:
            base = f"{stem}-{course['kind']}-{hashlib.sha256(cell.source.encode()).hexdigest()[:10]}"
        seen[base] = seen.get(base, 0) + 1
        cell.id = base if seen[base] == 1 else f"{base}-{seen[base]}"


def _metadata(settings: Settings, stem: str) -> dict:
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "accelerator": "GPU",
        "colab": {"gpuType": "T4", "provenance": [], "toc_visible": True},
        "course": {"stem": stem, "version": settings.version},
    }
