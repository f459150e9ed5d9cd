"""What a student sees: one table or one sentence, whatever they wrote, and a notebook that goes on."""

from __future__ import annotations

import functools
import importlib
import random
import re
import textwrap
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from toys import RIGHT, STUBS, TOYS, WRONG

import autograder
from autograder import chapterdata, checks, explain, quiz
from autograder.exercise import call
from autograder.needed_names import missing_at_grading

student_side = importlib.import_module("autograder.check")  # the module; the package's `check` is the function


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """The course is the toys."""
    def find(name):
        if name not in TOYS:
            raise LookupError(f"no exercise is called {name!r}.")
        return TOYS[name]

    monkeypatch.setattr(checks, "find", find)
    monkeypatch.setattr(checks, "stems", lambda: ["toys"])
    monkeypatch.setattr(checks, "load", lambda stem: TOYS)
    monkeypatch.setattr(student_side, "_RIGHT", {})


def defined(source: str) -> dict:
    namespace = {"torch": torch, "__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def seen(source: str, name: str = "halves") -> str:
    namespace = defined(source)
    return str(student_side.checked(namespace[name], namespace)[1])


def test_all_right():
    text = seen(RIGHT["halves"])
    assert "all 5 cases are right" in text
    assert text.count("✓ right") == 5


def test_the_first_failure_is_told_in_full_on_the_students_own_machine():
    text = seen("def halves(x):\n    print('shape', x.shape)\n    return x / 3\n")
    assert "First to mend: ordinary" in text
    assert "differs at [0, 0]: got" in text
    assert "(12 of 12 entries differ)" in text
    assert re.search(r"x = tensor\(\[\[", text)
    assert "halves(x)" in text
    assert "shape torch.Size([3, 4])" in text
    assert "Hint: Divide every entry by two." in text
    assert text.count("Hint") == 1


def test_an_exception_shows_the_line_of_the_students_own_code():
    text = seen("def halves(x):\n    y = x\n    return y / zero\n")
    assert "NameError: name 'zero' is not defined" in text
    assert "line 3" in text
    assert "autograder" not in text


def test_a_gradient_and_a_changed_input_are_named():
    cut = "def halves(x):\n    return x.detach() / 2 + x * 0 if len(x) else 1 / 0\n"
    assert "The gradient differs at [0]" in seen(cut)
    assert "It changed its input x." in seen("def halves(x):\n    x /= 2\n    return x\n")


@pytest.mark.parametrize("name", TOYS)
def test_an_unfilled_stub_is_one_quiet_line(name):
    assert re.fullmatch(rf"{name}: not written yet\. .*", seen(STUBS[name], name))


@pytest.mark.parametrize(("target", "says"), [
    (3, "an int"), (None, "None"), (torch.ones(2), "a Tensor"), ("halve", "No exercise is called"),
    (len, "No exercise is called 'len'"), ("halves", "Nothing is called `halves` here yet"),
])
def test_anything_else_gets_one_sentence(target, says):
    verdict, report = student_side.checked(target, {})
    assert verdict is None
    assert says in str(report)
    assert "\n" not in str(report)


def test_a_name_that_stands_for_a_result():
    assert "not a function" in str(student_side.checked("halves", {"halves": torch.ones(2)})[1])


def test_an_answer_under_another_name_is_found():
    namespace = defined("def attempt_3(x):\n    return x[...] / 2 if len(x) else 1 / 0\nhalves = attempt_3\n")
    assert student_side.checked(namespace["halves"], namespace)[0].status == "right"
    namespace = {"halves": functools.partial(lambda by, x: x / by if len(x) else 1 / 0, 2)}
    assert student_side.checked(namespace["halves"], namespace)[0].status == "right"


def test_nothing_of_the_session_changes():
    source = ("import random\nimport numpy as np\ndef halves(x):\n    torch.manual_seed(0)\n    random.seed(0)\n"
              "    np.random.seed(0)\n    torch.rand(1)\n    return x / 2\n")
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            seen(source)
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    drawn = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert drawn == (random.random(), np.random.random(), torch.rand(1).item())


def test_every_check_draws_anew():
    shown = {seen("def halves(x):\n    return x / 3\n") for _ in range(3)}
    assert len(shown) == 3


def test_yours_is_the_students_own_once_it_is_right(capsys):
    namespace = defined(RIGHT["halves"])
    own = namespace["halves"]
    assert student_side.yours("halves") is TOYS["halves"].reference
    assert "the course's `halves`" in capsys.readouterr().out
    student_side.checked(own, namespace)
    assert student_side.yours(TOYS["halves"].reference) is own
    assert "your own `halves`" in capsys.readouterr().out
    worse = defined(WRONG["halves"][1][0])
    student_side.checked(worse["halves"], worse)
    assert student_side.yours("halves") is TOYS["halves"].reference
    with pytest.raises(LookupError):
        student_side.yours("halve")


BANK = {"chapter": "toys", "questions": [
    {"id": "half", "type": "numeric", "prompt": "?", "section": "toys-halves", "answer": 0.5, "why": "$\\frac{1}{2}$"},
    {"id": "b", "type": "single", "prompt": "?", "section": "x", "options": [
        {"id": "a", "text": "<b>", "correct": True, "why": "Since `a < b`."}]}]}


def test_check_quiz(monkeypatch, capsys):
    monkeypatch.setattr(chapterdata, "load", lambda stem: {"quiz": BANK, "page_url": "https://book/toys.html"})
    autograder.check_quiz("toys", {"half": 0.5, "b": "a"})
    assert "2 of 2 right: the chapter is complete" in capsys.readouterr().out
    autograder.check_quiz("toys", {"half": 3, "b": None})
    out = capsys.readouterr().out
    assert "0 of 2 right" in out
    assert "no answer" in out
    assert "https://book/toys.html#toys-halves" in out
    autograder.check_quiz("toys", {"half": None})
    assert "No question is answered yet." in capsys.readouterr().out
    for odd in (None, 3, [], {"half": object(), 4: 4}):
        autograder.check_quiz("toys", odd)


def test_a_quiz_that_is_not_here_is_one_sentence(capsys):
    autograder.check_quiz("no such chapter", {})
    autograder.check_quiz(None, {})
    out = capsys.readouterr().out
    assert out.count("not on this machine") == 2


def test_explanations_of_several_options_stand_on_lines_of_their_own():
    question = {"id": "q", "type": "multiple", "prompt": "?", "options": [
        {"id": "a", "text": "A", "why": "No."}, {"id": "b", "text": "B", "why": "Nor\n  this."},
        {"id": "c", "text": "C", "correct": True, "why": "Yes."}]}
    report = explain.quiz(quiz.score({"chapter": "toys", "questions": [question]}, {"q": "ab"}), {})
    html = report._repr_html_()
    assert '<span class="ntp-detail"><strong>a:</strong> No.</span>' in html
    assert '<span class="ntp-detail"><strong>b:</strong> Nor this.</span>' in html
    assert [line.strip() for line in str(report).splitlines()[2:5]] == [
        "a: No.", "b: Nor this.", "A right option is missing."]


def test_inputs_are_shown_in_full_while_they_are_small():
    tables = [torch.arange(5) / 8, torch.arange(64.0).view(8, 8) / 64]
    steps = call("halves", tables, [0.25, 1 - 2**-24])
    text = explain.script(TOYS["halves"], steps, steps[-1])
    assert "cut" not in text
    assert "0.9999999]" in text
    scope = {"tensor": torch.tensor, "halves": lambda *arguments: scope.update(got=arguments)}
    exec(text, scope)
    assert torch.allclose(scope["got"][0][1], tables[1], atol=1e-3)
    steps = call("halves", [0.123456] * 400)
    assert "cut; 400 items" in explain.script(TOYS["halves"], steps, steps[-1])


class Tags(HTMLParser):
    """Checks that tags nest, and collects them."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("source", [RIGHT["halves"], STUBS["halves"], *[source for source, _ in WRONG["halves"][1:10]]])
def test_the_html_is_a_table_that_can_be_heard(source):
    namespace = defined(source)
    html = student_side.checked(namespace["halves"], namespace)[1]._repr_html_()
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    if "<table" in html:
        assert [tag for tag, _ in tags.seen].count("caption") == 1
        assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags.seen if tag == "th")
        assert all(icon.get("aria-hidden") == "true" for _, icon in tags.seen if icon.get("class") == "ntp-icon")


def test_nothing_of_the_students_becomes_html():
    text = "<img src=x onerror=alert(1)> `<b>` $<i>$ **<u>**"
    namespace = defined(f"def halves(x):\n    print({text!r})\n    raise ValueError({text!r})\n")
    html = student_side.checked(namespace["halves"], namespace)[1]._repr_html_()
    assert "<img" not in html
    assert "<b>" not in html
    assert "<u>" not in html
    page = explain.quiz(quiz.score(BANK, {text: 1, "half": text, "b": "a"}), {})._repr_html_()
    assert "<img" not in page


def test_names_that_the_grader_will_not_have():
    namespace = defined(textwrap.dedent("""
        import re as patterns
        import yaml
        table, words, size = 1, 2, 3
        def helper(x):
            return [table for _ in x]
        def other(x):
            return words
        class Wrapper:
            def run(self):
                return size
        def halves(x, size=4):
            class Inner:
                def go(self):
                    return lambda: helper(x)
            x.words = patterns.sub("", "", "")
            from reference_impl import bigrams
            return yaml, size, Wrapper
    """))
    demo = {"table", "words", "size", "x"}
    assert missing_at_grading(namespace["halves"], namespace, demo) == (["size", "table"], ["yaml", "reference_impl"]) \
        or set(missing_at_grading(namespace["halves"], namespace, demo)[0]) == {"size", "table"}
    assert set(missing_at_grading(namespace["halves"], namespace, demo)[1]) == {"yaml", "reference_impl"}
    assert missing_at_grading(namespace["Wrapper"], namespace, demo) == (["size"], [])
    assert missing_at_grading(len, namespace, demo) == ([], [])


def test_the_warning_is_shown(monkeypatch):
    monkeypatch.setattr(chapterdata, "load", lambda stem: {"demo_names": ["two", "torch"], "prelude_names": ["torch"]})
    text = seen("two = 2\ndef halves(x):\n    return torch.div(x, two)\n")
    assert "It reads `two`, which demonstration cells" in text
