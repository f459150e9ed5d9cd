"""An environment with Colab's own versions, in ``_build/colab-env``: what ``make test-colab`` runs notebooks in.

``python -m autograder.colab_env`` makes it (about two minutes and 5 GB the first time) or says what is missing. Nothing
of the course is in it: the notebook's own set-up cell installs the wheel, as on Colab.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from autograder.settings import ROOT

# What Colab's runtime of August 2026 holds, as far as a notebook of this course meets it; nbclient only drives the run.
PYTHON = (3, 13)
PACKAGES = (
    "torch==2.11.0",
    "numpy==2.1.3",
    "matplotlib==3.10.0",
    "ipython==7.34.0",
    "ipykernel==6.17.1",
    "ipywidgets==7.7.1",
    "pandas==2.2.3",
    "altair==5.5.0",
    "nbclient",
)


class NoEnvironment(RuntimeError):
    """One sentence on why there is no environment with Colab's versions."""


def find_python() -> str:
    """A Python 3.13 on PATH or among pyenv's versions. Raises :class:`NoEnvironment` when there is none."""
    wanted = ".".join(map(str, PYTHON))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [shutil.which(f"python{wanted}"), sys.executable]
    candidates += sorted(map(str, pyenv.glob(f"{wanted}.*/bin/python")), reverse=True)
    for candidate in filter(None, candidates):
        question = [candidate, "-c", "import sys, venv; print(list(sys.version_info[:2]))"]
        answer = subprocess.run(question, capture_output=True, text=True)  # pyenv leaves shims that only fail
        if answer.returncode == 0 and tuple(json.loads(answer.stdout)) == PYTHON:
            return candidate
    raise NoEnvironment(f"There is no Python {wanted} here, which is Colab's; install it to run the Colab tests.")


def make(folder: Path = ROOT / "_build" / "colab-env") -> Path:
    """The environment's Python; the environment is made when it is missing or holds other versions.

    Raises :class:`NoEnvironment` when there is no Python 3.13, or when the packages cannot be installed.
    """
    python, stamp = folder / "bin" / "python", folder / "versions.json"
    wanted = json.dumps(PACKAGES)
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    base = find_python()
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Making {folder} with Colab's versions (about two minutes and 5 GB)", flush=True)
    subprocess.run([base, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(install, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise NoEnvironment(f"Colab's versions could not be installed: {last[-1]}")
    stamp.write_text(wanted)
    return python


def main() -> int:
    """Make the environment; 1 with one sentence when that cannot be done."""
    try:
        print(make())
    except NoEnvironment as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
