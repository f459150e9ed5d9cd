"""Exercises: ``{exercise-start}`` and ``{exercise-end}`` with the code cells of the exercise between them.

A code cell cannot nest in a directive, so an exercise has a gate at each end::

    ```{exercise-start} Count n-grams
    :label: ex-count_ngrams
    :difficulty: 1
    :minutes: 10
    :objective: counts
    :stretch:
    ```
    The statement, hints, a stub cell, a check cell.

    ```{exercise-end}
    ```

The doctree stays flat: an ``exercise_start`` node, what is between, an ``exercise_end`` node. Exercises are numbered in
the order of the page, and ``{ref}`ex-count_ngrams``` reads "Exercise 1".
"""

from __future__ import annotations

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective


class exercise_start(nodes.General, nodes.Element):
    """Opens an exercise. Attributes: number, title, difficulty (1-3), minutes, objective, stretch."""


class exercise_end(nodes.General, nodes.Element):
    """Closes an exercise."""


def difficulty(argument: str) -> int:
    """1, 2 or 3; raises ValueError for anything else."""
    value = directives.nonnegative_int(argument)
    if value not in (1, 2, 3):
        raise ValueError("difficulty is 1, 2 or 3")
    return value


class ExerciseStart(SphinxDirective):
    """The directive that opens an exercise."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012
        "label": directives.unchanged_required,
        "difficulty": difficulty,
        "minutes": directives.positive_int,
        "objective": directives.unchanged,
        "stretch": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """An ``exercise_start`` node whose id is the label."""
        if "label" not in self.options:
            raise self.error("exercise-start needs a :label:, e.g. ':label: ex-count_ngrams'.")
        if self.env.temp_data.get("exercise_open"):
            raise self.error("exercise-start inside an exercise: close the one before with exercise-end.")
        self.env.temp_data["exercise_open"] = True
        number = self.env.new_serialno("exercise") + 1
        label = nodes.fully_normalize_name(self.options["label"])
        node = exercise_start(
            number=number,
            title=self.arguments[0],
            difficulty=self.options.get("difficulty"),
            minutes=self.options.get("minutes"),
            objective=self.options.get("objective", ""),
            stretch="stretch" in self.options,
            ids=[label],
            names=[label],
        )
        self.set_source_info(node)
        std = self.env.get_domain("std")
        std.labels[label] = (self.env.docname, label, f"Exercise {number}")
        std.anonlabels[label] = (self.env.docname, label)
        return [node]


class ExerciseEnd(SphinxDirective):
    """The directive that closes it."""

    def run(self) -> list[nodes.Node]:
        """An ``exercise_end`` node."""
        if not self.env.temp_data.pop("exercise_open", False):
            raise self.error("exercise-end without an exercise-start before it.")
        node = exercise_end()
        self.set_source_info(node)
        return [node]


def check_gates(app: Sphinx, doctree: nodes.document) -> None:
    """Warn where a gate is missing or a heading stands between the two."""
    opened: exercise_start | None = None
    for node in doctree.findall(lambda n: isinstance(n, exercise_start | exercise_end)):
        if isinstance(node, exercise_start):
            opened = node
        elif opened is not None:
            if opened.parent is not node.parent:
                warn(opened, "a heading stands inside this exercise; use bold text instead")
            opened = None
    if opened is not None:
        warn(opened, "this exercise has no exercise-end")


def warn(node: nodes.Node, sentence: str) -> None:
    """One Sphinx warning at the node's place (an error under ``-W``)."""
    logging.getLogger(__name__).warning(f"exercise '{node['title']}': {sentence}.", location=node)


def visit_start(translator, node: exercise_start) -> None:
    """HTML of the opening gate: a labelled group, its title and its facts."""
    name = node["ids"][0]
    facts = []
    if node["difficulty"]:
        words = {1: "warm-up", 2: "standard", 3: "hard"}[node["difficulty"]]
        dots = "".join(f'<i class="dot{" on" if i < node["difficulty"] else ""}"></i>' for i in range(3))
        facts.append(f'<span class="exercise-level"><span aria-hidden="true">{dots}</span> {words}</span>')
    if node["minutes"]:
        facts.append(f"<span>about {node['minutes']} min</span>")
    if node["stretch"]:
        facts.append('<span class="exercise-stretch">stretch, outside the chapter’s time</span>')
    title = translator.encode(node["title"])
    translator.body.append(
        f'<div class="exercise" id="{name}" role="group" aria-labelledby="{name}-title">\n'
        f'<p class="exercise-title" id="{name}-title"><span class="exercise-number">Exercise {node["number"]}</span> '
        f'{title}<a class="headerlink" href="#{name}" title="Link to this exercise">#</a></p>\n'
    )
    if facts:
        translator.body.append(f'<p class="exercise-facts">{" ".join(facts)}</p>\n')


def setup(app: Sphinx) -> dict:
    """Register the two gates."""
    skip = (lambda self, node: None, lambda self, node: None)
    app.add_node(exercise_start, html=(visit_start, lambda self, node: None), text=skip, latex=skip)
    app.add_node(
        exercise_end,
        html=(lambda self, node: self.body.append("</div>\n"), lambda self, node: None),
        text=skip,
        latex=skip,
    )
    app.add_directive("exercise-start", ExerciseStart)
    app.add_directive("exercise-end", ExerciseEnd)
    app.connect("doctree-read", check_gates)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
