"""Vega from files beside the book, loaded only by pages that hold an interactive figure."""

from __future__ import annotations

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict:
    """Nothing to register yet for pages without charts."""
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
