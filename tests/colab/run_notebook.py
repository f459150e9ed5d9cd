"""Runs in the environment that is tested: executes a notebook top to bottom and prints what happened as JSON.

``python run_notebook.py NOTEBOOK FOLDER`` executes in FOLDER; a failing cell does not stop the run.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

# Asked after the last cell: every exercise's points, and what is loaded.
SCORES = """
import importlib.metadata, json
from autograder import chapterdata, checks, quiz
from autograder.check import checked
_points = {name: [checked(name, globals())[0].points, checks.find(name).points] for name in checks.load(%r)}
_quiz = quiz.score(chapterdata.load(%r)["quiz"], answers)
_names = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
_wanted = {"torch", "numpy", "ipython", "next-token-prediction"} & _names
_versions = {name: importlib.metadata.version(name) for name in _wanted}
print(json.dumps({"points": _points, "quiz": [_quiz.score, _quiz.total], "versions": _versions}))
"""


def main(path: str, folder: str) -> None:
    """Execute and report: errors, stderr, the scores, the seconds."""
    notebook = nbformat.read(path, as_version=4)
    stem = notebook.metadata["course"]["stem"]
    notebook.cells.append(nbformat.v4.new_code_cell(SCORES % (stem, stem), id="scores"))
    began = time.monotonic()
    NotebookClient(notebook, timeout=600, allow_errors=True, resources={"metadata": {"path": folder}}).execute()
    outputs = [(cell["id"], output) for cell in notebook.cells for output in cell.get("outputs", ())]
    report = {
        "seconds": time.monotonic() - began,
        "errors": [f"{name}: {o['ename']}: {o['evalue']}" for name, o in outputs if o["output_type"] == "error"],
        "stderr": [f"{name}: {o['text']}" for name, o in outputs if o.get("name") == "stderr"],
        "set_up": "".join(o.get("text", "") for name, o in outputs if name.endswith("-setup")),
        "figures": sum("text/html" in o.get("data", {}) for _, o in outputs),
    }
    said = "".join(o.get("text", "") for name, o in outputs if name == "scores")
    report |= json.loads(said.strip().splitlines()[-1]) if said.strip() else {}
    Path(folder, "executed.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
