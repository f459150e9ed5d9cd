"""The converter: a chapter with every construct against a snapshot a person can read, and errors with file and line.

To accept a changed snapshot: ``ACCEPT=1 pytest tests/autograder/test_markdown.py``, then read the diff.
"""

from __future__ import annotations

import os
import re

import pytest
import small_book

from autograder import markdown_builder, settings
from autograder.markdown_inline import ConvertError
from autograder.markdown_writer import Code, Markdown, Quiz

SNAPSHOT = small_book.SNAPSHOTS / "constructs.notebook.md"


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    facts = small_book.make(tmp_path_factory.mktemp("converter") / "book")
    return markdown_builder.convert(facts, facts.stems)["constructs"]


def readable(blocks) -> str:
    """Blocks as one text: Markdown as it is, code in a fence, a rule of equal signs where a cell begins."""
    parts = []
    for block in blocks:
        if isinstance(block, Markdown):
            parts += (["=" * 60] if block.heading else []) + [block.text]
        elif isinstance(block, Code):
            parts.append(f"[code {block.metadata.get('tags', [])}]\n{block.source}")
        else:
            parts.append(f"[quiz cells of {block.chapter}]")
    return "\n\n".join(parts) + "\n"


def test_every_construct_reads_as_the_snapshot_says(blocks):
    text = readable(blocks)
    if os.environ.get("ACCEPT"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")


def test_no_directive_and_no_role_is_left(blocks):
    for block in blocks:
        if isinstance(block, Markdown):
            text = markdown_builder.without_code(block.text)
            assert not re.search(r"(```|~~~|:::)\s*\{|\{[\w:-]+\}`|^\(\S+\)=$", text, re.MULTILINE), text


def test_code_cells_keep_their_order_and_tags(blocks):
    tags = [block.metadata.get("tags") for block in blocks if isinstance(block, Code)]
    assert tags == [["prelude"], ["stub"], ["check"], ["hide-input"], ["yours"]]


def test_a_quiz_shows_questions_and_options_and_no_answer(blocks):
    quiz = next(block for block in blocks if isinstance(block, Quiz))
    assert [(name, kind) for name, kind, _ in quiz.questions] == [
        ("twice", "single"), ("both", "multiple"), ("half", "numeric"),
    ]
    assert quiz.questions[0][2]["why b"] == "Yes."
    shown = "\n".join(block.text for block in blocks if isinstance(block, Markdown))
    assert "- **b**: 4" in shown
    assert "Yes." not in shown


@pytest.mark.parametrize(
    ("body", "line", "sentence"),
    [
        ("```{grid} 2\n:::{grid-item}\nHi\n:::\n```\n", 3, "no rule for 'container' (grid-container)"),
        ('<div class="x">box</div>\n', 3, "raw HTML"),
        ("```{image} picture.svg\n```\n", 1, "no alternative text"),
        ("```{nonsense}\nHi\n```\n", 3, "Unknown directive type"),
        ("A {nonsense}`role`.\n", 3, "Unknown interpreted text role"),
        ("See {ref}`nowhere`.\n", 3, "undefined label: 'nowhere'"),
        ("````{admonition} A `title`\nThe fence is broken by the backticks.\n````\n", 0, "is still MyST"),
        ("- item\n\n  ```{eval-rst}\n  .. function:: f(x)\n  ```\n", 6, "no rule for 'desc_signature'"),
    ],
)
def test_what_has_no_rule_stops_the_build_with_file_and_line(tmp_path, body, line, sentence):
    head, rest = small_book.HEAD, "\n```{code-cell} ipython3\n:tags: [stub]\ndef f(): ...\n```\n"
    facts = small_book.make(tmp_path / "book", chapter=f"{head}# Title\n\n{body}{rest}")
    with pytest.raises(ConvertError) as error:
        markdown_builder.convert(facts, facts.stems)
    first = str(error.value).splitlines()[0]
    assert sentence in str(error.value)
    expected = head.count("\n") + line if line else 1
    assert re.match(rf"chapters/constructs\.md:{expected}\b", first), first


@pytest.mark.slow
def test_the_chapters_of_the_course_convert():
    facts = settings.load()
    assert set(markdown_builder.convert(facts, facts.stems)) == set(facts.stems)
