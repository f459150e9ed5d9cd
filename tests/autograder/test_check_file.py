"""``python -m autograder check``: released notebooks, stripped ones, hostile ones, and files that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import checks
from autograder.check_cells import load, without_magics
from autograder.check_file import BadInput, main, read, runnable

ROOT = Path(__file__).parents[2]
NORMALIZE = """
def normalize(counts):
    s = counts.sum(-1, keepdim=True)
    return torch.where(s == 0, 0.0, 1.0).to(counts if counts.is_floating_point() else torch.zeros(())) * counts / (
        s + (s == 0))
"""


def cell(source, kind="", name="", **metadata):
    if kind:
        metadata["course"] = {"kind": kind, "name": name}
    return {"cell_type": "code", "source": source.splitlines(keepends=True), "metadata": metadata, "outputs": []}


def notebook(*cells, **metadata):
    metadata.setdefault("course", {"stem": "bigrams"})
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


PRELUDE = cell("import math\nimport torch\n", "prelude")


def checked(tmp_path, capfd, book, *options, name="bigrams.ipynb"):
    path = tmp_path / name
    path.write_text(json.dumps(book) if isinstance(book, dict) else book, encoding="utf-8")
    code = main([str(path), *options])
    return code, *capfd.readouterr()


def verdicts(out):
    return {verdict["exercise"]: verdict for verdict in json.loads(out)["exercises"]}


def test_one_right_one_wrong_the_others_unwritten(tmp_path, capfd):
    stub = "def {}(*args):\n    raise NotImplementedError\n"
    cells = [cell(stub.format(name), "stub", name) for name in checks.load("bigrams")]
    cells[1] = cell(NORMALIZE, "stub", "normalize")
    cells[4] = cell("def additive(counts, k):\n    print('x' * 10**6)\n    return counts + k\n", "stub", "additive")
    book = notebook(PRELUDE, *cells, cell("1 / 0\n", "demo"), cell("check(normalize)", "check"))
    code, out, _ = checked(tmp_path, capfd, book)
    assert code == 1
    assert "bigrams: 1 of 7 exercises right" in out
    assert "✓ right        normalize" in out
    assert "○ not written  count_ngrams" in out
    assert "First to mend: a fractional k" in out
    assert len(out) < 10_000


def test_a_solved_notebook_is_right(tmp_path, capfd):
    cells = [cell(f"from reference_impl.bigrams import {name}\n", "stub", name) for name in checks.load("bigrams")]
    code, out, _ = checked(tmp_path, capfd, notebook(PRELUDE, *cells))
    assert code == 0
    assert "7 of 7 exercises right" in out


def test_crashes_floods_and_exits_cost_what_they_touch(tmp_path, capfd):
    book = notebook(
        PRELUDE, cell(NORMALIZE, "stub", "normalize"),
        cell("import os\ndef count_ngrams(*a):\n    print('flood' * 10**6)\n    os._exit(0)\n", "stub", "count_ngrams"),
        cell("def additive(counts, k):\n    import ctypes\n    ctypes.string_at(0)\n", "stub", "additive"),
        cell("%matplotlib inline\n!ls\nx = 1 / 0\ndef helper():\n    return 1\n"), cell("def broken(:\n"))
    code, out, _ = checked(tmp_path, capfd, book, "--json")
    found = verdicts(out)
    assert code == 1
    assert found["count_ngrams"]["status"] == "crash"
    assert "exit code 0" in found["count_ngrams"]["cases"][0]["message"]
    assert found["additive"]["status"] == "crash"
    assert "signal" in found["additive"]["cases"][0]["message"]
    assert found["normalize"]["status"] == "right"
    assert found["kneser_ney"]["status"] == "missing"
    remarks = json.loads(out)["remarks"]
    assert any("ZeroDivisionError" in remark for remark in remarks)
    assert any("SyntaxError" in remark for remark in remarks)


def test_a_notebook_that_ends_python_while_it_loads(tmp_path, capfd):
    book = notebook(PRELUDE, cell("import os\nos._exit(3)\n"), cell(NORMALIZE, "stub", "normalize"))
    code, out, _ = checked(tmp_path, capfd, book)
    assert code == 1
    assert "ended Python itself (exit code 3) while the cells were loaded" in out


def test_only_prelude_stubs_and_added_cells_run():
    book = notebook(cell("a", "demo"), cell("b", "stub", "normalize"), cell("c"), cell("d", "prelude"),
                    cell("e", "yours"), cell("f", "quiz-answers"),
                    cell("g", nbgrader={"grade": True, "solution": False}),
                    cell("h", nbgrader={"grade": False, "solution": True, "grade_id": "normalize"}))
    assert [c.source for c in runnable(book, checks.load("bigrams"))] == ["d", "b", "c", "h"]


def test_a_notebook_whose_metadata_is_gone(tmp_path, capfd):
    cells = [cell(NORMALIZE), cell("from autograder import check\ncheck(normalize)")]
    book = {**notebook(*cells), "metadata": {}}
    code, out, _ = checked(tmp_path, capfd, book, "--json", name="Untitled.ipynb")
    assert code == 1
    assert verdicts(out)["normalize"]["status"] == "right"


@pytest.mark.parametrize(("content", "says"), [
    ("", "not JSON"), ("{", "not JSON"), ("[]", "no Jupyter notebook"), ('{"cells": 3}', "no Jupyter notebook"),
    ('{"worksheets": []}', "no Jupyter notebook"), ('{"cells": []}', "names no chapter"), ("[" * 100_000, "not JSON"),
    (json.dumps({"cells": [3, None, {"cell_type": "code"}, {"cell_type": "code", "source": [1]}], "metadata": []}),
     "names no chapter"),
    (json.dumps(notebook(course={"stem": "unknown"})), "chapter 'unknown'"),
])
def test_files_that_cannot_be_checked_get_one_sentence(tmp_path, capfd, content, says):
    code, out, err = checked(tmp_path, capfd, content, name="x.ipynb")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(BadInput, match="there is no file"):
        read(tmp_path / "none.ipynb")
    with pytest.raises(BadInput, match="folder"):
        read(tmp_path)
    (tmp_path / "latin.ipynb").write_bytes('{"é": 1}'.encode("latin-1"))
    with pytest.raises(BadInput, match="UTF-8"):
        read(tmp_path / "latin.ipynb")
    (tmp_path / "bom.ipynb").write_bytes(b'\xef\xbb\xbf{"cells": []}')
    assert read(tmp_path / "bom.ipynb") == {"cells": []}


def test_magics_do_nothing():
    names, remarks = load([{"kind": "added", "number": 1, "source": (
        "%%timeit\nx = 1\n")}, {"kind": "added", "number": 2, "source": "files = !ls\n%time y = 3\nz = 4\n"}])
    assert remarks == []
    assert "x" not in names
    assert names["z"] == 4


def test_magics_without_ipython(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.core.inputtransformer2", None)
    assert without_magics("%%bash\nls") == ""
    assert without_magics("%time x = 1\ny = 2\n!ls") == "\ny = 2\n"


def test_the_command_from_another_folder(tmp_path):
    (tmp_path / "bigrams.ipynb").write_text(json.dumps(notebook(PRELUDE, cell(NORMALIZE, "stub", "normalize"))))
    done = subprocess.run([sys.executable, "-m", "autograder", "check", "bigrams.ipynb"], cwd=tmp_path, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=300)
    assert (done.returncode, done.stderr) == (1, "")
    assert "✓ right        normalize" in done.stdout
