"""Vega from files beside the book, loaded by pages that hold an interactive figure, when it comes into view."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

MARK = "course-chart-spec"  # reference_impl.figures.chart writes it


def page_context(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Add ``charts.js`` to a page whose body holds a chart."""
    if MARK in context.get("body", ""):
        app.add_js_file("charts.js", loading_method="defer")
        app.add_js_file(None, body=f"const COURSE_VEGA = {context['pathto']('_static/vega/vega.js', 1)!r};")
        app.builder.course_has_charts = True


def write_bundle(app: Sphinx, exception: Exception | None) -> None:
    """Write ``_static/vega/vega.js`` (Vega, Vega-Lite and vega-embed, from vl-convert) if any page needs it."""
    if exception or not getattr(app.builder, "course_has_charts", False):
        return
    import vl_convert

    target = Path(app.outdir) / "_static" / "vega" / "vega.js"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # A function around it: the bundle is a module, and pages opened from disk may not load modules.
        target.write_text(f"(() => {{{vl_convert.javascript_bundle()}}})();", encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Hook in where pages are written and where the build ends."""
    app.connect("html-page-context", page_context)
    app.connect("build-finished", write_bundle)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
