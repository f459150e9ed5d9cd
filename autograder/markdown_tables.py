"""Tables: docutils' rows and entries as the pipe tables that Jupyter and Colab render."""

from __future__ import annotations

from docutils import nodes

from autograder.markdown_inline import Links, fail, text_of

ALIGN = {"text-left": ":---", "text-center": ":---:", "text-right": "---:"}


def table(node: nodes.table, links: Links) -> str:
    """A whole table, with its title above it in italics.

    Raises :class:`~autograder.markdown_inline.ConvertError` for spans and for blocks in a cell.
    """
    rows = list(node.findall(nodes.row))
    lines = [_row(row, links) for row in rows]
    if not any(True for _ in node.findall(nodes.thead)):
        lines.insert(0, [""] * max(len(line) for line in lines))
    aligns = [next((ALIGN[c] for c in entry["classes"] if c in ALIGN), "---") for entry in rows[0]]
    text = ["| " + " | ".join(line) + " |" for line in [lines[0], aligns, *lines[1:]]]
    title = [f"*{text_of(child, links)}*\n" for child in node.children if isinstance(child, nodes.title)]
    return "\n".join(title + text)


def _row(row: nodes.row, links: Links) -> list[str]:
    """The Markdown of each cell of one row."""
    cells = []
    for entry in row.children:
        if entry.get("morecols") or entry.get("morerows"):
            raise fail(entry, links, "a table cell that spans rows or columns has no Markdown form.")
        for child in entry.children:
            if not isinstance(child, nodes.paragraph):
                raise fail(child, links, "a table cell can hold text only; put lists and code outside the table.")
        cells.append("<br>".join(text_of(child, links, in_table=True) for child in entry.children))
    return cells
