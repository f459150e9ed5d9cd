"""What screen readers trip over in the stock pages, mended: axe finds nothing on any page, and a test holds it.

- A Markdown table must have a header row; one that is left empty is dropped.
- A list of citations holds entries whose role is not one of a list's.
- The side bar's title stands outside every landmark.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

ENTRY, ITEM = 'role="doc-biblioentry"', 'role="listitem"'
BAR = '<div id="pst-primary-sidebar"'
LANDMARK = f'{BAR} role="complementary" aria-label="The book"'


def drop_empty_heads(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remove table headers without a word in them, in HTML only: a notebook's Markdown needs the row."""
    if app.builder.format != "html":
        return
    for head in list(doctree.findall(nodes.thead)):
        if not head.astext().strip():
            head.parent.remove(head)


def mend(text: str) -> str:
    """A page with its roles put right.

    >>> mend('<div id="pst-primary-sidebar" class="x"><p role="doc-biblioentry">')
    '<div id="pst-primary-sidebar" role="complementary" aria-label="The book" class="x"><p role="listitem">'
    """
    return text.replace(ENTRY, ITEM).replace(f"{BAR} class", f"{LANDMARK} class")


def mend_pages(app: Sphinx, exception: Exception | None) -> None:
    """Mend every page, once all are written."""
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if mend(text) != text:
            page.write_text(mend(text), encoding="utf-8")


def setup(app: Sphinx) -> dict:
    """Hook in after references are resolved, and at the end."""
    app.connect("doctree-resolved", drop_empty_heads)
    app.connect("build-finished", mend_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
