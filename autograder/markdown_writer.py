"""Blocks: a resolved doctree of a chapter as a list of plain Markdown and code, in order.

The rules are one method for each docutils node class. What has no rule raises :class:`ConvertError` with file and line,
so that nothing can reach a student half-converted.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from docutils import nodes
from sphinx.locale import admonitionlabels

from autograder.markdown_inline import (
    Links,
    display_math,
    fail,
    image,
    raw_html,
    text_of,
    unknown,
)
from autograder.markdown_tables import table

LEFTOVER = re.compile(r"^\s*(?:(?:\\?`){3,}|~{3,}|:{3,})\s*\{[\w:-]+\}|\{[\w:.+-]+\}\\?`[^`]", re.MULTILINE)
PLAIN = {"docutils", "container", "literal-block-wrapper"}
INVISIBLE = ("comment", "substitution_definition", "target", "index", "meta", "highlightlang", "docinfo", "footnote")


@dataclass(frozen=True)
class Markdown:
    """One block of Markdown; ``heading`` is True where a new cell begins."""

    text: str
    heading: bool = False


@dataclass(frozen=True)
class Code:
    """One code cell, ``index``-th in the source."""

    source: str
    metadata: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Quiz:
    """Where the two cells of a quiz go; ``questions`` are (id, kind, texts) in order.

    ``texts`` holds the question's texts as plain Markdown: prompt, section, option ID and why ID.
    """

    chapter: str
    questions: tuple[tuple[str, str, dict[str, str]], ...]


Block = Markdown | Code | Quiz


class Writer:
    """Turns one document into blocks: ``Writer(links).write(document)``."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.level = 0

    def write(self, document: nodes.document) -> list[Block]:
        """All blocks; a footnote stands at the end of the cell that refers to it, not at the end of the page."""
        written: list[Block] = []
        for block in self.blocks(document):
            if not isinstance(block, Markdown) or block.heading:
                written += self._footnotes(document)
            written.append(block)
        written += self._footnotes(document)
        # A rule that nothing but a heading or code follows separates nothing.
        following = [*written[1:], Markdown("", heading=True)]
        idle = [
            getattr(block, "text", "") == "---" and (not isinstance(after, Markdown) or after.heading)
            for block, after in zip(written, following)
        ]
        return [block for block, drop in zip(written, idle) if not drop]

    def _footnotes(self, document: nodes.document) -> list[Block]:
        ids, self.links.notes = list(dict.fromkeys(self.links.notes)), []
        notes = [document.ids[i] for i in ids]
        return [Markdown(f"<sup>{note[0].astext()}</sup> {self.markdown(note, 1)}") for note in notes]

    def blocks(self, node: nodes.Node) -> Iterator[Block]:
        """The blocks of ``node``. Raises :class:`ConvertError` for a construct that has no rule."""
        kind = node.__class__.__name__
        if kind in INVISIBLE:
            return
        rule = getattr(self, f"do_{kind}", None)
        if rule is None:
            if isinstance(node, nodes.Admonition):
                rule = self.do_admonition
            else:
                raise unknown(node, self.links)
        for block in rule(node) or ():
            yield Markdown(block) if isinstance(block, str) else block

    def children(self, node: nodes.Element, skip: int = 0) -> Iterator[Block]:
        """The blocks of all children but the first ``skip``."""
        for child in node.children[skip:]:
            yield from self.blocks(child)

    def markdown(self, node: nodes.Element, skip: int = 0, children: Iterable[nodes.Node] | None = None) -> str:
        """The children as one Markdown text. Raises where a code cell or a heading is inside: it cannot be there."""
        texts = []
        for child in node.children[skip:] if children is None else children:
            for block in self.blocks(child):
                if not isinstance(block, Markdown) or block.heading:
                    raise fail(child, self.links, "a code cell, a quiz or a heading cannot stand inside this block.")
                texts.append(block.text)
        return "\n\n".join(texts)

    def inline(self, node: nodes.Element) -> str:
        return text_of(node, self.links)

    # -- structure

    def do_section(self, node):
        self.level += 1
        yield from self.children(node)
        self.level -= 1

    def do_title(self, node):
        anchors = [self.links.headings[i] for i in node.parent["ids"] if i in self.links.headings]
        names = "".join(f'<a name="{anchor}"></a>' for anchor in anchors[:1] if anchor in self.links.used)
        heading = f"{'#' * min(self.level, 6)} {self.inline(node)}"
        yield Markdown(f"{names}\n\n{heading}" if names else heading, heading=True)

    def do_container(self, node):
        element, component = node.get("nb_element"), node.get("design_component")
        if element == "cell_code":
            yield Code("\n".join(code.astext() for code in node.findall(nodes.literal_block)), node["cell_metadata"])
        elif component == "dropdown":
            title, skip = (self.inline(node[0]), 1) if node.get("has_title") else ("More", 0)
            yield details(title, self.markdown(node, skip))
        elif component in ("tab-set", "tab-item", "tab-content") or (
            component is None and element is None and not set(node["classes"]) - PLAIN
        ):
            yield from self.children(node)
        else:
            raise unknown(node, self.links)

    # -- text

    def do_paragraph(self, node):
        text = self.inline(node)
        if text:
            yield text

    def do_rubric(self, node):
        yield f"**{self.inline(node)}**"

    def do_caption(self, node):
        yield f"*{self.inline(node)}*"

    def do_transition(self, node):
        if "footnotes" not in node["classes"]:
            yield "---"

    def do_raw(self, node):
        text = raw_html(node, self.links)
        if text:
            yield text

    def do_literal_block(self, node):
        language = node.get("language", "")
        language = "" if language in ("default", "none", "text") else {"ipython3": "python"}.get(language, language)
        text = node.astext().rstrip("\n")
        fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
        yield f"{fence}{language}\n{text}\n{fence}"

    do_doctest_block = do_literal_block

    def do_math_block(self, node):
        yield display_math(node.astext(), str(node["number"]) if node.get("number") else "")

    def do_block_quote(self, node):
        yield quote(self.markdown(node))

    def do_attribution(self, node):
        yield f"— {self.inline(node)}"

    def do_image(self, node):
        yield image(node, self.links)

    def do_figure(self, node):
        yield from self.children(node)

    do_document = do_figure

    do_legend = do_figure

    def do_line_block(self, node):
        yield "  \n".join(self.inline(line) for line in node.findall(nodes.line))

    # -- lists

    def do_bullet_list(self, node):
        yield self._list(node, lambda position: "- ")

    def do_enumerated_list(self, node):
        start = node.get("start", 1)
        yield self._list(node, lambda position: f"{start + position}. ")

    def _list(self, node, marker):
        items, loose = [], False
        for position, item in enumerate(node.children):
            text = self.markdown(item)
            loose = loose or any(isinstance(c, nodes.paragraph) for c in item.children[1:])
            mark = marker(position)
            items.append(mark + textwrap.indent(text, " " * len(mark), lambda line: line.strip()).lstrip())
        # An item's nested list needs no blank line, its further paragraphs do.
        if loose:
            return "\n\n".join(items)
        return "\n".join(re.sub(r"\n\n(?= +(-|\d+\.) )", "\n", item) for item in items)

    def do_definition_list(self, node):
        items = []
        for item in node.children:
            terms = ", ".join(f"**{self.inline(c)}**" for c in item.children if isinstance(c, nodes.term))
            text = "\n\n".join(self.markdown(c) for c in item.children if isinstance(c, nodes.definition))
            items.append("- " + terms + ": " + textwrap.indent(text, "  ", lambda line: line.strip()).lstrip())
        yield "\n".join(items)

    do_glossary = do_figure

    def do_field_list(self, node):
        fields = [(self.inline(f[0]), self.markdown(f[1])) for f in node.children]
        yield "\n".join(f"- **{name}**: {textwrap.indent(text, '  ').lstrip()}" for name, text in fields)

    # -- boxes

    def do_admonition(self, node):
        if node.children and isinstance(node[0], nodes.title):
            title, skip = self.inline(node[0]), 1
        else:
            title, skip = str(admonitionlabels.get(node.tagname, node.tagname.capitalize())), 0
        body = self.markdown(node, skip)
        if {"dropdown", "toggle"} & set(node["classes"]):
            yield details(title, body)
        else:
            yield quote(f"**{title}**\n\n{body}")

    do_sidebar = do_admonition

    do_topic = do_admonition

    def do_table(self, node):
        yield table(node, self.links)


def quote(text: str) -> str:
    """``text`` as a block quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def details(title: str, body: str) -> str:
    """A box that opens: blank lines around the body, so that Markdown in it is rendered."""
    summary = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", title)
    summary = re.sub(r"(?<![\\*])\*([^*]+)\*", r"<i>\1</i>", summary)
    summary = re.sub(r"`([^`]+)`", r"<code>\1</code>", summary)
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"

