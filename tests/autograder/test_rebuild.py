"""The canonical rebuild: whatever was done to the notebook, only the student's code is taken, and nothing stops it."""

from __future__ import annotations

import codecs
import copy
import json
import time

import nbformat
import pytest
from toys import RIGHT, STUBS, TOYS

from autograder import rebuild as module
from autograder.rebuild import Cell, choose, rebuild

MINE = "def halves(x):\n    return x / 2\n"


def text(notebook) -> str:
    return nbformat.writes(notebook)


def named(rebuilt, name: str) -> list[str]:
    return [cell.source for cell in rebuilt.cells if cell.name == name]


def at(notebook, kind: str, name: str = ""):
    """Index of the cell of that kind and name."""
    return next(i for i, cell in enumerate(notebook.cells)
                if cell.metadata.get("course", {}).get("kind") == kind
                and (not name or cell.metadata["course"]["name"] == name))


@pytest.fixture
def released(released_notebook):
    return released_notebook()


@pytest.fixture
def submission(released_notebook):
    return released_notebook(halves=MINE)


def again(released, rebuilt):
    """A rebuilt notebook is a valid one, and rebuilding it changes nothing."""
    nbformat.validate(rebuilt.notebook)
    assert rebuild(released, text(rebuilt.notebook)).cells == rebuilt.cells
    return rebuilt


def test_the_students_sources_and_the_prelude_run_and_nothing_else(released, released_notebook):
    rebuilt = again(released, rebuild(released, text(released_notebook(**RIGHT, quiz="answers = {}"))))
    assert [(cell.kind, cell.name) for cell in rebuilt.cells] == [
        ("prelude", "the cell of imports"), *(("stub", name) for name in TOYS), ("quiz-answers", "the quiz")]
    assert [cell.source for cell in rebuilt.cells[1:-1]] == list(RIGHT.values())
    assert rebuilt.remarks == ()
    assert rebuilt.broken == ""


def test_an_untouched_notebook_runs_its_stubs(released):
    rebuilt = again(released, rebuild(released, text(released)))
    assert [cell.source for cell in rebuilt.cells if cell.kind == "stub"] == list(STUBS.values())
    assert rebuilt.remarks == ()


def test_metadata_outputs_text_and_locked_cells_of_the_submission_do_not_matter(released, submission):
    submission.metadata["course"]["release"] = "another"
    submission.metadata["kernelspec"] = {"name": "evil", "display_name": "evil"}
    for cell in submission.cells:
        cell.metadata["tags"] = ["skip-execution"]
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="1000 points")]
        else:
            cell.source = "<script>alert(1)</script>"
    submission.cells[at(submission, "check", "halves")].source = "print('full marks')"
    submission.cells[at(submission, "check", "halves")].metadata["nbgrader"]["points"] = 1000
    rebuilt = again(released, rebuild(released, text(submission)))
    assert named(rebuilt, "halves") == [MINE]
    written = text(rebuilt.notebook)
    assert all(word not in written for word in ("script", "1000", "evil", "skip-execution", "full marks"))


def test_a_notebook_that_colab_saved_is_found_by_grade_id_or_the_id_it_keeps(released, submission):
    data = json.loads(text(submission))
    data["nbformat_minor"] = 0
    for cell in data["cells"]:
        cell["metadata"]["id"] = cell.pop("id")
        cell["metadata"]["executionInfo"] = {"user": {"displayName": "A Student"}}
    assert named(again(released, rebuild(released, json.dumps(data))), "halves") == [MINE]
    for cell in data["cells"]:
        cell["metadata"] = {"id": cell["metadata"]["id"]}
    assert named(again(released, rebuild(released, json.dumps(data))), "halves") == [MINE]


def test_without_any_metadata_cells_are_found_by_function_name_and_by_their_text(released, submission):
    data = json.loads(text(submission))
    del data["metadata"]["course"]
    for cell in data["cells"]:
        cell["metadata"] = {}
        del cell["id"]
    data["nbformat_minor"] = 0
    rebuilt = again(released, rebuild(released, json.dumps(data)))
    assert rebuilt.broken == ""
    assert named(rebuilt, "halves") == [MINE]
    assert {cell.kind for cell in rebuilt.cells} == {"prelude", "stub", "quiz-answers"}  # demonstrations stay out


def test_notebooks_of_format_3_are_read(released):
    cells = [{"cell_type": "code", "input": MINE.splitlines(True), "outputs": [], "language": "python"}]
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}
    assert named(again(released, rebuild(released, json.dumps(old))), "halves") == [MINE]


def test_added_cells_stay_behind_the_released_cell_before_them(released, submission):
    place = at(submission, "stub", "halves")
    submission.cells.insert(place, nbformat.v4.new_code_cell("def helper(): return 2"))
    submission.cells.insert(place + 2, nbformat.v4.new_code_cell("late = 1"))
    submission.cells.insert(place + 2, nbformat.v4.new_code_cell("# only a comment"))
    rebuilt = again(released, rebuild(released, text(submission)))
    sources = [cell.source for cell in rebuilt.cells]
    assert sources.index("def helper(): return 2") < sources.index(MINE) < sources.index("late = 1")
    assert Cell("added", "your own cell after halves", "late = 1") in rebuilt.cells
    assert "# only a comment" not in sources


def test_copies_of_a_stub_run_in_order_except_those_equal_to_the_released_one(released, submission):
    place = at(submission, "stub", "halves")
    second = copy.deepcopy(submission.cells[place])
    second.source, second["id"] = "def halves(x):\n    return x * 0.5\n", "copy"
    third = copy.deepcopy(submission.cells[place])
    third.source, third["id"] = STUBS["halves"], "copy2"
    submission.cells[place + 2:place + 2] = [second, third]
    rebuilt = again(released, rebuild(released, text(submission)))
    assert named(rebuilt, "halves") == [MINE, second.source]
    assert rebuilt.remarks == ("halves is defined in 2 cells; the last of them counts.",)


def test_an_answer_above_an_untouched_stub_counts(released):
    submission = copy.deepcopy(released)
    submission.cells.insert(at(submission, "stub", "halves"), nbformat.v4.new_code_cell(MINE))
    assert named(again(released, rebuild(released, text(submission))), "halves")[-1] == MINE


def test_a_deleted_stub_is_said_to_be_missing_and_does_not_run(released, submission):
    del submission.cells[at(submission, "stub", "tally")]
    del submission.cells[at(submission, "check", "halves")]
    submission.cells[at(submission, "stub", "climb")].cell_type = "raw"
    rebuilt = rebuild(released, json.dumps(submission))
    assert named(rebuilt, "tally") == []
    assert named(rebuilt, "climb") == []
    assert named(rebuilt, "halves") == [MINE]
    assert "The cell of tally is not in the notebook, and no other cell defines tally." in rebuilt.remarks
    assert any("climb is no code cell any more" in remark for remark in rebuilt.remarks)
    again(released, rebuilt)
    assert len(rebuilt.notebook.cells) == len(released.cells)


def test_a_changed_demonstration_is_mentioned_only_when_it_defines_a_stub(released, submission):
    submission.cells[at(submission, "demo", "tally")].source = "print('mine')"
    assert rebuild(released, text(submission)).remarks == ()
    submission.cells[at(submission, "demo", "tally")].source = RIGHT["tally"]
    rebuilt = rebuild(released, text(submission))
    assert RIGHT["tally"] not in named(rebuilt, "tally")
    assert "A demonstration defines tally" in rebuilt.remarks[0]


def test_a_changed_cell_of_imports_is_mentioned(released, submission):
    submission.cells[at(submission, "prelude")].source = "import torch, re"
    rebuilt = rebuild(released, text(submission))
    assert rebuilt.cells[0].source == "import math\n\nimport torch"
    assert "Changes to the cell of imports do not count" in rebuilt.remarks[0]


@pytest.mark.parametrize(("data", "words"), [
    (b"", "empty"), (b"  \n", "empty"), (b"{", "not valid JSON (line 1)"), (b"[]", "no list of cells"),
    (b'{"cells": 3}', "no list of cells"), (b"\x00\x01\x02", "not valid JSON"), (b"PK\x03\x04zip", "not valid JSON"),
    (b'{"cells": [' + b"1" * 5000 + b"]}", "not valid JSON"),
    (b"[" * 100_000, "nested far too deeply"), (b"{}" * 2_100_000, "far too many items"),
    (b'{"cells": [{"cell_type": "code", "source": "x = 1"}]}', "was another notebook handed in"),
])
def test_what_is_no_notebook_gets_one_sentence(released, data, words):
    rebuilt = rebuild(released, data)
    assert words in rebuilt.broken
    assert rebuilt.broken.endswith((".", "?"))
    assert rebuilt.cells == ()
    assert rebuilt.remarks == (rebuilt.broken,)
    nbformat.validate(rebuilt.notebook)


def test_the_notebook_of_another_assignment_is_named(released, submission):
    data = json.loads(text(submission).replace("toys", "kits"))
    for cell in data["cells"]:
        cell["metadata"].get("nbgrader", {}).pop("grade_id", None)
        cell["source"] = "kit = 1"
    assert rebuild(released, json.dumps(data)).broken == "This is a notebook of 'kits', and 'toys' was asked for."


def test_strange_text_is_made_valid(released, submission):
    submission.cells[at(submission, "stub", "halves")].source = "s = '\ud800'\r\nt = '\x00'\r\n" + MINE
    rebuilt = again(released, rebuild(released, json.dumps(submission)))
    named(rebuilt, "halves")[0].encode("utf-8")
    assert named(rebuilt, "halves")[0].startswith("s = '\ufffd'\nt = '\ufffd'\n")
    marked = codecs.BOM_UTF8 + text(submission).encode("utf-8", "surrogatepass")
    assert rebuild(released, marked).broken == ""
    assert rebuild(released, text(submission).encode("utf-16", "surrogatepass")).cells
    plain = text(submission).replace("\\ud800", "x").encode("ascii", "replace")
    latin = rebuild(released, plain.replace(b"# Toys", b"# Toys \xe9"))
    assert latin.remarks == ("The file is not UTF-8, so some characters were replaced.",)
    assert latin.cells


@pytest.mark.parametrize("value", [None, 3, [], {}, [1, None, "x"], {"a": 1}])
def test_fields_of_the_wrong_type_do_no_harm(released, submission, value):
    data = json.loads(text(submission))
    for number, cell in enumerate(data["cells"]):
        for key in (("source",), ("metadata",), ("id", "cell_type"))[number % 3]:
            cell[key] = value
    data["cells"] += [value, {"cell_type": "code", "metadata": {"nbgrader": value, "id": value}, "source": "z = 1"}]
    data["metadata"] = {"course": value}
    again(released, rebuild(released, json.dumps(data)))


def test_a_huge_file_is_refused_at_once(released):
    started = time.monotonic()
    rebuilt = rebuild(released, b'{"cells": ["' + b"x" * 50_000_000 + b'"]}')
    assert "50 MB" in rebuilt.broken
    assert time.monotonic() - started < 1


def test_too_much_code_is_cut(released, submission):
    submission.cells += [nbformat.v4.new_code_cell("x = 1\n" * 30_000) for _ in range(10)]
    submission.cells.append(nbformat.v4.new_code_cell("y" * 300_000))
    rebuilt = rebuild(released, text(submission))
    assert sum(len(cell.source) for cell in rebuilt.cells) < module.MAX_CODE + 10_000
    assert any("Only the first" in remark for remark in rebuilt.remarks)


def test_the_release_is_found_by_its_hash_else_by_the_ids(released, submission):
    other = copy.deepcopy(released)
    other.metadata["course"]["release"] = "aa" * 32
    for cell in other.cells[3:]:
        cell["id"] = "v2-" + cell["id"]
    assert choose([released, other], text(submission)) == 0
    del submission.metadata["course"]
    assert choose([released, other], text(submission)) == 0
    assert choose([released, other], text(other)) == 1
    assert choose([released, released], "no notebook") == 1
