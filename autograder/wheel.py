"""The wheel that Colab installs: the student's side as one pure-Python file, with every chapter's data in it.

It is staged under ``_build/wheel`` and built without a network, so that ``pip install --no-deps URL`` needs nothing but
the published book. ``python -m autograder.wheel`` builds it alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from autograder import settings
from autograder.settings import Settings

PACKAGES = ("reference_impl", "autograder")
PACKAGE_DATA = '''
[tool.setuptools.package-data]
autograder = ["data/*.json"]
'''
EPOCH = "315532800"  # 1980-01-01, the first day a zip file knows: the same sources give the same bytes


class WheelError(RuntimeError):
    """One sentence on why the wheel was not built."""


def build(facts: Settings) -> Path:
    """The built wheel, ``_build/wheels/NAME.whl``. Needs ``_build/data``, which ``notebooks`` writes.

    A wheel of an earlier version stays where it is: a notebook that was opened before may still ask for it.
    Raises :class:`WheelError`.
    """
    built = facts.root / "_build"
    missing = [stem for stem in facts.stems if not (built / "data" / f"{stem}.json").is_file()]
    if missing:
        raise WheelError(f"_build/data/{missing[0]}.json is missing; run 'python -m autograder notebooks' first.")
    stage, out = built / "wheel", built / "wheels"
    shutil.rmtree(stage, ignore_errors=True)
    for package in PACKAGES:
        for path in sorted((settings.ROOT / package).rglob("*.py")):
            target = stage / path.relative_to(settings.ROOT)
            if (path.parent / "__init__.py").is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    shutil.copytree(built / "data", stage / "autograder" / "data", dirs_exist_ok=True)
    for name in ("README.md", "LICENSE"):
        shutil.copyfile(settings.ROOT / name, stage / name)
    project = (facts.root / "pyproject.toml").read_text(encoding="utf-8")
    extra = "" if "[tool.setuptools.package-data]" in project else PACKAGE_DATA
    (stage / "pyproject.toml").write_text(project + extra, encoding="utf-8")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(stage)]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    path = out / facts.wheel_name
    if run.returncode or not path.is_file():
        lines = (run.stderr or run.stdout).strip().splitlines() or ["no reason given"]
        raise WheelError(f"the wheel {facts.wheel_name} was not built: {lines[-1]}")
    return path


def main() -> int:
    """Build the wheel of this checkout; 1 with one sentence when that fails."""
    try:
        print(build(settings.load()).relative_to(settings.ROOT))
    except (WheelError, settings.SettingsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
