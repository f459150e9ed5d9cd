"""The Colab button and the links under a chapter's title point at the student's notebook."""

from __future__ import annotations

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    """Hook in after the theme has made its buttons."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
