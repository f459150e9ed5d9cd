"""The first cell of every notebook: it installs the course's package on Colab, and does nothing anywhere else."""

from __future__ import annotations

from autograder.settings import Settings

CODE = '''\
#@title Run this cell first (it prepares Google Colab; anywhere else it does nothing)
def set_up_course(version, wheel):
    import sys

    if "google.colab" not in sys.modules:
        return
    import importlib
    import importlib.metadata
    import subprocess

    loaded = [sys.modules[name] for name in ("autograder", "reference_impl") if name in sys.modules]
    try:
        installed = importlib.metadata.version("next-token-prediction")
    except importlib.metadata.PackageNotFoundError:
        installed = None
    if installed != version:
        # Without its dependencies: Colab's own torch and numpy stay as they are.
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", wheel]
        if subprocess.run(command, capture_output=True).returncode != 0:
            print(f"The course's package could not be fetched from {wheel}. Try this cell again in a minute.")
            return
        importlib.invalidate_caches()
        for module in loaded:
            module.course_is_stale = True
        if not loaded:
            print(f"The course's package, version {version}, is ready.")
    if any(getattr(module, "course_is_stale", False) for module in loaded):
        print("An older version of the course is loaded: choose Runtime > Restart session, then run from the top.")


set_up_course(
    version="VERSION",
    wheel="WHEEL",
)
'''


def source(settings: Settings) -> str:
    """The cell's text: the same bytes in every notebook of a course's version."""
    return CODE.replace("VERSION", settings.version).replace("WHEEL", settings.wheel_url).rstrip("\n")
