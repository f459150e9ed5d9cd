"""The student's notebook under Colab's own versions: set up by its first cell, run empty and solved, top to bottom."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import nbformat
import pytest

from autograder import colab_env, settings, source_notebook

pytestmark = [pytest.mark.colab, pytest.mark.xdist_group("colab")]
FACTS = settings.load()
HERE = Path(__file__).parent
# What Colab's kernel has loaded before the first cell; pip gets the wheel built here in place of the published one.
STARTUP = """
import subprocess, sys, types
sys.modules.setdefault("google", types.ModuleType("google")).colab = types.ModuleType("google.colab")
sys.modules["google.colab"] = sys.modules["google"].colab
_run = subprocess.run
def _local(command, *args, **kwargs):
    if command[-1] == {url!r}:
        command = [*command[:-1], {wheel!r}]
    return _run(command, *args, **kwargs)
subprocess.run = _local
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of an environment with Colab's versions and nothing of the course."""
    try:
        return colab_env.make()
    except colab_env.NoEnvironment as error:
        pytest.skip(str(error))


@pytest.fixture(params=FACTS.stems)
def notebooks(request):
    """(source, release) of one chapter, as ``make notebooks`` left them."""
    course = FACTS.root / "autograder" / "course"
    paths = [course / kind / request.param / f"{request.param}.ipynb" for kind in ("source", "release")]
    if not all(path.is_file() for path in paths):
        pytest.fail("the notebooks are not built; run 'make notebooks' first.")
    return [nbformat.read(path, as_version=4) for path in paths]


def run(python: Path, notebook, folder: Path) -> dict:
    """The report on a run in ``folder``, from which nothing of this checkout can be imported."""
    wheel = FACTS.root / "_build" / "wheels" / FACTS.wheel_name
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "colab.py").write_text(STARTUP.format(url=FACTS.wheel_url, wheel=str(wheel)), encoding="utf-8")
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "COURSE_BOOK")}
    environment |= {"IPYTHONDIR": str(folder / "ipython"), "PATH": f"{python.parent}:{environment['PATH']}"}
    command = [str(python), str(HERE / "run_notebook.py"), str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def forget(python: Path) -> None:
    """Take the course's package out of the environment again."""
    command = [str(python), "-m", "pip", "uninstall", "-q", "-y", "next-token-prediction"]
    subprocess.run(command, capture_output=True, check=True)


def test_an_empty_notebook_sets_itself_up_raises_nowhere_and_scores_nothing(python, notebooks, tmp_path):
    forget(python)
    report = run(python, notebooks[1], tmp_path)
    assert report["errors"] == []
    assert report["stderr"] == []
    assert "is ready" in report["set_up"]
    assert all(points == 0 for points, _ in report["points"].values())
    assert report["quiz"][0] == 0
    assert report["versions"]["next-token-prediction"] == FACTS.version
    # The set-up left Colab's own packages alone.
    assert report["versions"]["torch"].split("+")[0] == "2.11.0"
    assert report["versions"]["numpy"] == "2.1.3"


def test_a_solved_notebook_scores_everything(python, notebooks, tmp_path):
    source, release = notebooks
    report = run(python, source_notebook.solve(release, source), tmp_path)
    assert report["errors"] == []
    assert report["stderr"] == []
    assert all(points == most > 0 for points, most in report["points"].values()), report["points"]
    assert report["quiz"][0] == report["quiz"][1]
    assert report["figures"] > 0


def test_a_second_run_of_the_set_up_cell_says_nothing(python, notebooks, tmp_path):
    release = notebooks[1]
    release.cells = release.cells[:1]
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        report = run(python, release, folder)
    assert report["set_up"] == ""
