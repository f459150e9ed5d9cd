"""Environments with Colab's own versions, in ``_build``: what ``make test-colab`` runs notebooks and the reference in.

``python -m autograder.colab_env [NAME ...]`` makes them, "colab" when none is named (about two minutes and 5 GB each,
the first time), or says what is missing. Nothing of the course is in them: the notebook's own set-up cell installs the
wheel, as on Colab, and the tests of the reference read it from this checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.settings import ROOT


@dataclass(frozen=True)
class Environment:
    """A folder of ``_build``, a Python and the exact versions of what is installed there."""

    folder: str
    python: tuple[int, int]
    packages: tuple[str, ...]


TESTS = ("pytest==9.2.0", "hypothesis==6.170.15")  # as in the lock
ENVIRONMENTS = {
    # What Colab's runtime of August 2026 holds, as far as a notebook of this course meets it; nbclient only drives it.
    "colab": Environment("colab-env", (3, 13), (
        "torch==2.11.0",
        "numpy==2.1.3",
        "matplotlib==3.10.0",
        "ipython==7.34.0",
        "ipykernel==6.17.1",
        "ipywidgets==7.7.1",
        "pandas==2.2.3",
        "altair==5.5.0",
        "nbclient",
        *TESTS,
    )),
    # The ends of what the reference is promised for, and no more than it imports. Colab's pinned runtime 2026.07:
    "colab-2026.07": Environment("colab-2026.07-env", (3, 12), ("torch==2.11.0", "numpy==2.0.2", *TESTS)),
    # The lock's torch and numpy, on the newest Python; `make test` has them on the Python it finds first.
    "newest": Environment("newest-env", (3, 13), ("torch==2.13.0", "numpy==2.4.6", *TESTS)),
}
PYTHON, PACKAGES = ENVIRONMENTS["colab"].python, ENVIRONMENTS["colab"].packages


class NoEnvironment(RuntimeError):
    """One sentence on why there is no environment with Colab's versions."""


def find_python(version: tuple[int, int] = PYTHON) -> str:
    """A Python of that version on PATH or among pyenv's. Raises :class:`NoEnvironment` when there is none."""
    wanted = ".".join(map(str, version))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [shutil.which(f"python{wanted}"), sys.executable]
    candidates += sorted(map(str, pyenv.glob(f"{wanted}.*/bin/python")), reverse=True)
    for candidate in filter(None, candidates):
        question = [candidate, "-c", "import sys, venv; print(list(sys.version_info[:2]))"]
        answer = subprocess.run(question, capture_output=True, text=True)  # pyenv leaves shims that only fail
        if answer.returncode == 0 and tuple(json.loads(answer.stdout)) == version:
            return candidate
    raise NoEnvironment(f"There is no Python {wanted} here; install it to run all Colab tests.")


def make(folder: Path | None = None, *, name: str = "colab") -> Path:
    """The Python of an environment, which is made when it is missing or holds other versions.

    ``name`` is one of ENVIRONMENTS; ``folder`` is its own where none is given. Raises :class:`NoEnvironment` when its
    Python is not here, or when the packages cannot be installed.
    """
    environment = ENVIRONMENTS[name]
    folder = folder or ROOT / "_build" / environment.folder
    python, stamp = folder / "bin" / "python", folder / "versions.json"
    wanted = json.dumps(environment.packages)
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    base = find_python(environment.python)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"Making {folder} with {', '.join(environment.packages[:2])} (about two minutes and 5 GB)", flush=True)
    subprocess.run([base, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *environment.packages]
    done = subprocess.run(install, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise NoEnvironment(f"The versions of {name!r} could not be installed: {last[-1]}")
    stamp.write_text(wanted)
    return python


def main(names: Sequence[str] = ("colab",)) -> int:
    """Make the environments; 1 with one sentence when one cannot be made."""
    try:
        for name in names:
            if name not in ENVIRONMENTS:
                raise NoEnvironment(f"There is no environment {name!r}; there are {', '.join(ENVIRONMENTS)}.")
            print(make(name=name))
    except NoEnvironment as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ("colab",)))
