"""The reference's own tests and doctests, under each Python, torch and numpy that it is promised for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from autograder import colab_env
from autograder.settings import ROOT

pytestmark = [pytest.mark.colab, pytest.mark.xdist_group("colab")]
# figures.py needs Altair and Matplotlib, which only "colab" has; there the notebooks of test_colab.py draw with it.
TESTS = ["-m", "not slow and not colab and not transformers", "--ignore", "reference_impl/figures.py"]
FOLDERS = ["tests/reference_impl", "reference_impl"]
VERSIONS = """
import importlib.metadata, json, sys
names = {names!r}
print(json.dumps([list(sys.version_info[:2]), [f"{{name}}=={{importlib.metadata.version(name)}}" for name in names]]))
"""


@pytest.fixture(params=colab_env.ENVIRONMENTS, scope="module")
def environment(request) -> tuple[colab_env.Environment, Path]:
    """One environment of the table, and its Python."""
    try:
        return colab_env.ENVIRONMENTS[request.param], colab_env.make(name=request.param)
    except colab_env.NoEnvironment as error:
        pytest.skip(str(error))


def run(python: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
    """A run in this checkout, with nothing of the Python that runs this test, and no trace left in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "COV_"))}
    kept |= {"PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
    command = [str(python), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=kept, timeout=1800)


def test_an_environment_holds_the_versions_of_its_row(environment, tmp_path):
    row, python = environment
    exact = [item for item in row.packages if "==" in item]
    names = [item.split("==")[0] for item in exact]
    done = run(python, "-c", VERSIONS.format(names=names), folder=tmp_path)
    version, found = json.loads(done.stdout)
    assert tuple(version) == row.python
    assert [item.split("+")[0] for item in found] == exact


def test_the_reference_passes_its_tests_there(environment, tmp_path):
    _, python = environment
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, *FOLDERS, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout[-2000:]
    assert int(passed[1]) > 500  # that many are the reference's tests: none were lost on the way
