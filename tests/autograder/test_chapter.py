"""A chapter's cells and its answers keep the contract, or the message says which line does not."""

from __future__ import annotations

import pytest
import small_book

from autograder import chapter, settings
from autograder.chapter import ChapterError

STUB = "```{code-cell} ipython3\n:tags: [stub]\ndef f(x):\n    raise NotImplementedError\n```\n"
CHECK = "```{code-cell} ipython3\n:tags: [check]\ncheck(f)\n```\n"
LINE = small_book.HEAD.count("\n") + 1


def write(folder, body: str, name: str = "toy.md"):
    path = folder / "chapters" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(small_book.HEAD + body, encoding="utf-8")
    return path


def test_cells_are_sorted_by_their_tags(tmp_path):
    facts = small_book.make(tmp_path / "book")
    cells = chapter.read(facts.root / "chapters" / "constructs.md").cells
    assert [(cell.kind, cell.name) for cell in cells] == [
        ("prelude", ""), ("stub", "double"), ("check", "double"), ("demo", ""), ("yours", ""),
    ]
    assert cells[3].tags == ("hide-input",)


def test_a_cell_knows_the_line_it_opens_on_even_behind_a_quoted_fence(tmp_path):
    quoted = "````text\n```{code-cell} ipython3\n```\n````\n\n"
    cells = chapter.read(write(tmp_path, quoted + STUB + CHECK)).cells
    assert [cell.line for cell in cells] == [LINE + 5, LINE + 10]


@pytest.mark.parametrize(
    ("body", "line", "sentence"),
    [
        (STUB, 0, "the stub of f has no check"),
        (CHECK, 0, "check(f) has no stub before it"),
        (STUB + STUB + CHECK, 5, "a second stub for f"),
        (STUB + CHECK + CHECK, 9, "f is checked twice"),
        (STUB + CHECK.replace("check(f)", "check(f, 1)"), 5, "must hold check(NAME) and nothing else"),
        (STUB.replace("def f", "g = 1\ndef g(): ...\ndef f"), 0, "must define one function or class, not 2"),
        (STUB.replace("[stub]", "[stub, check]"), 0, "a cell is tagged stub and check"),
        (STUB.replace("(x)", "(x"), 1, "not valid Python"),
        (STUB.replace("[stub]", "[prelude]").replace("def", "import autograder\ndef"), 0, "a prelude runs at grading"),
    ],
)
def test_a_mistake_names_file_line_and_remedy(tmp_path, body, line, sentence):
    with pytest.raises(ChapterError) as error:
        chapter.read(write(tmp_path, body))
    assert sentence in str(error.value)
    assert str(error.value).startswith(f"chapters/toy.md:{LINE + line}:")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("def g(x):\n    return x", "there is no answer for f"),
        ("def f(y):\n    return y", "the stub has 'def f(x)', but the answer has 'def f(y)'"),
        ("def f(x, k=1):\n    return x", "the stub has 'def f(x)', but the answer has 'def f(x, k=1)'"),
    ],
)
def test_an_answer_must_fit_its_stub(tmp_path, answer, sentence):
    toy = chapter.read(write(tmp_path, STUB + CHECK))
    path = write(tmp_path, f"```{{code-cell}} ipython3\n{answer}\n```\n", "answers.md")
    with pytest.raises(ChapterError, match=r"answers\.md") as error:
        chapter.read_solutions(path, toy)
    assert sentence in str(error.value)


def test_an_answer_that_is_there_twice_is_named(tmp_path):
    toy = chapter.read(write(tmp_path, STUB + CHECK))
    cell = "```{code-cell} ipython3\ndef f(x):\n    return x\n```\n"
    with pytest.raises(ChapterError, match=rf"answers\.md:{LINE + 4}: f is defined twice"):
        chapter.read_solutions(write(tmp_path, cell + cell, "answers.md"), toy)


def test_the_methods_of_a_class_must_agree(tmp_path):
    stub = "class C:\n    def __init__(self, n):\n        ...\n    def put(self, x):\n        ...\n"
    assert chapter.signatures(stub, "C") == {
        "C": "class C", "C.__init__": "def __init__(self, n)", "C.put": "def put(self, x)",
    }


@pytest.mark.parametrize("stem", settings.load().stems)
def test_every_chapter_of_the_course_agrees_with_its_answers(stem):
    root = settings.ROOT
    this = chapter.read(root / "chapters" / f"{stem}.md")
    assert list(chapter.read_solutions(root / "solutions" / f"{stem}.md", this)) == list(this.stubs)
