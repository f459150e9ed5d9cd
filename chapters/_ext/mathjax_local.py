"""MathJax from files beside the book, so that formulas are typeset off-line and from ``file://``."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SCRIPT = "es5/tex-mml-chtml.js"
FONTS = "es5/output/chtml/fonts/woff-v2"


def source() -> Path:
    """The folder that holds MathJax's ``es5`` (from the package django-static-mathjax, which needs no Django here)."""
    spec = importlib.util.find_spec("mathjax")
    for place in spec.submodule_search_locations if spec else []:
        folder = Path(place) / "static" / "mathjax"
        if (folder / SCRIPT).is_file() and (folder / FONTS).is_dir():
            return folder
    raise ExtensionError("MathJax is not installed: run 'make setup' (package django-static-mathjax).")


def copy(app: Sphinx, exception: Exception | None) -> None:
    """Put the script and its fonts under ``_static/mathjax``."""
    if exception or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "mathjax"
    (target / SCRIPT).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source() / SCRIPT, target / SCRIPT)
    shutil.copytree(source() / FONTS, target / FONTS, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict:
    """Set ``mathjax_path`` and copy the files when the build is done."""
    app.connect("config-inited", lambda app, config: setattr(config, "mathjax_path", f"mathjax/{SCRIPT}"))
    app.connect("build-finished", copy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
