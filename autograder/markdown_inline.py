"""Text inside a paragraph: docutils' inline nodes as the Markdown that plain Jupyter and Colab render.

What is written here holds for both of them: ``$`` for mathematics, no raw HTML but ``<sup>``, ``<sub>`` and ``<br>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from docutils import nodes

# Raw HTML that means the same in a notebook; all other raw HTML stops the build.
SAFE_HTML = re.compile(r"</?(sub|sup|kbd|b|i|em|strong|code)>|<br ?/?>")
HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
SKIPPED = ("comment", "index", "substitution_definition", "target", "pending_xref_condition", "meta", "highlightlang")
DISPLAY = {"align": "aligned", "align*": "aligned", "gather": "gathered", "gather*": "gathered", "eqnarray": "aligned"}


class ConvertError(ValueError):
    """``FILE:LINE: one sentence`` on a construct that has no plain-Markdown form here."""


@dataclass
class Links:
    """Where references lead: ``page`` is the published page's address, ``headings`` maps ids to Jupyter's anchors.

    ``used`` are the anchors that something on the page refers to, ``notes`` the footnotes that are still to be written.
    """

    file: str
    page: str
    headings: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def resolve(self, node: nodes.reference) -> str:
        """The address for one reference, which may be empty."""
        uri = node.get("refuri", "")
        anchor = node.get("refid") or (uri[1:] if uri.startswith("#") else "")
        if anchor:
            return "#" + self.headings[anchor] if anchor in self.headings else f"{self.page}#{anchor}"
        return uri


def fail(node: nodes.Node, links: Links, text: str) -> ConvertError:
    """The error for ``node``, with the file and the nearest line known."""
    at: nodes.Node | None = node
    while at is not None:
        before = at.parent.children[: at.parent.index(at)] if at.parent is not None else []
        for near in (at, *reversed(before)):
            if getattr(near, "line", None):
                return ConvertError(f"{links.file}:{near.line}: {text}")
        at = at.parent
    return ConvertError(f"{links.file}:1: {text}")


def unknown(node: nodes.Node, links: Links) -> ConvertError:
    """The error for a construct that has no rule here."""
    kind = node.__class__.__name__
    if kind in ("problematic", "system_message"):
        return fail(node, links, f"Sphinx could not read this: {' '.join(node.astext().split())}.")
    attributes = getattr(node, "attributes", {})
    detail = next((f" ({attributes[key]})" for key in ("design_component", "format") if key in attributes), "")
    return fail(node, links, f"the notebook converter has no rule for '{kind}'{detail}; write it another way.")


def inline(node: nodes.Node, links: Links, in_table: bool = False) -> str:
    """The Markdown of one inline node, or of all children of a text element.

    Raises :class:`ConvertError` for a node that has no rule.
    """
    if isinstance(node, nodes.Text):
        return escape(node.astext(), in_table)
    kind = node.__class__.__name__
    if kind in SKIPPED and not (kind == "target" and node.children):
        return ""
    if kind in ("emphasis", "title_reference", "literal_emphasis"):
        return _wrap("*", _children(node, links, in_table))
    if kind in ("strong", "literal_strong"):
        return _wrap("**", _children(node, links, in_table))
    if kind == "literal":
        return code_span(node.astext(), in_table)
    if kind == "math":
        return inline_math(node.astext(), in_table)
    if kind in ("reference", "number_reference"):
        return _reference(node, links, in_table)
    if kind == "footnote_reference":
        links.notes.append(node["refid"])
        return f"<sup>{node.astext()}</sup>"
    if kind in ("subscript", "superscript"):
        tag = kind[:3]
        return f"<{tag}>{_children(node, links, in_table)}</{tag}>"
    if kind == "abbreviation":
        return f"{_children(node, links, in_table)} ({node.get('explanation', '')})".removesuffix(" ()")
    if kind == "image":
        return image(node, links)
    if kind == "raw":
        return raw_html(node, links)
    if kind in ("inline", "generated", "target", "term", "paragraph", "title", "rubric", "caption", "attribution"):
        return _children(node, links, in_table)
    raise unknown(node, links)


def text_of(node: nodes.Element, links: Links, in_table: bool = False) -> str:
    """The Markdown of a text element's children, on one line and safe at the beginning of a line."""
    text = " ".join(_children(node, links, in_table).split("\n")).strip()
    return re.sub(r"^(#{1,6}(?=\s)|[-+>](?=\s)|\d+(?=[.)]\s))", _escape_start, text)


def escape(text: str, in_table: bool = False) -> str:
    r"""``text`` with every character escaped that Markdown would read as markup.

    >>> escape("2 * 3, a_b, _x_, $5, <b> and a < b")
    '2 \\* 3, a_b, \\_x\\_, \\$5, &lt;b> and a < b'
    """
    text = re.sub(r"([\\`*$])", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = text.replace("~~", r"\~\~")
    return text.replace("|", r"\|") if in_table else text


def code_span(text: str, in_table: bool = False) -> str:
    """``text`` as a code span, fenced by as many backticks as it needs.

    >>> code_span("a`b")
    '``a`b``'
    """
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    if in_table:
        text = text.replace("|", r"\|")
    return f"{fence}{pad}{text}{pad}{fence}"


def inline_math(latex: str, in_table: bool = False) -> str:
    """``latex`` between dollars; in a table a bar is written so that it does not end the cell.

    >>> inline_math(r"P(a|b)", in_table=True)
    '$P(a\\\\vert b)$'
    """
    latex = " ".join(latex.split())
    if in_table:
        latex = latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
    return f"${latex}$"


def display_math(latex: str, number: str = "") -> str:
    """``latex`` as a display, with its equation number where it has one.

    Environments that only LaTeX knows at the top level become their inner forms, which every renderer knows.
    """
    latex = "\n".join(line for line in latex.strip().splitlines() if line.strip())
    match = re.fullmatch(r"\\begin\{(\w+\*?)\}(.*)\\end\{\1\}", latex, re.DOTALL)
    if match and match[1] in ("equation", "equation*"):
        latex = match[2].strip()
    elif match and match[1] in DISPLAY:
        latex = f"\\begin{{{DISPLAY[match[1]]}}}{match[2]}\\end{{{DISPLAY[match[1]]}}}"
    elif not match and re.search(r"(?<!\\)\\\\(?![a-zA-Z])", latex) and "\\begin" not in latex:
        latex = f"\\begin{{aligned}}\n{latex}\n\\end{{aligned}}"
    tag = f" \\tag{{{number}}}" if number else ""
    return f"$$\n{latex}{tag}\n$$"


def image(node: nodes.image, links: Links) -> str:
    """An image by its published address (the builder has put that into ``uri``), with its alternative text."""
    alt = node.get("alt", "").strip()
    if not alt:
        raise fail(node, links, f"the image {node.get('uri')} has no alternative text; add ':alt:'.")
    return f"![{escape(' '.join(alt.split()))}]({node['uri']})"


def raw_html(node: nodes.raw, links: Links) -> str:
    """Raw HTML that a notebook shows as the page does; comments go, anything else stops the build."""
    if "html" not in node.get("format", "").split():
        return ""
    text = HTML_COMMENT.sub("", node.astext()).strip()
    if SAFE_HTML.sub("", text).strip():
        raise fail(node, links, f"raw HTML ({text[:40]!r}) has no form in a notebook; write it in Markdown.")
    return text


def _children(node: nodes.Element, links: Links, in_table: bool) -> str:
    return "".join(inline(child, links, in_table) for child in node.children)


def _wrap(mark: str, text: str) -> str:
    inner = text.strip()
    if not inner:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before}{mark}{inner}{mark}{after}"


def _reference(node: nodes.reference, links: Links, in_table: bool) -> str:
    text = _children(node, links, in_table)
    address = links.resolve(node)
    if not address:
        return text
    if text.strip() == escape(address):
        return f"<{address}>"
    # A bracket inside a link's text is only safe when it is escaped, an image's brackets are meant.
    label = text if "![" in text else re.sub(r"(?<!\\)([\[\]])", r"\\\1", text)
    return f"[{label}]({address.replace('(', '%28').replace(')', '%29').replace(' ', '%20')})"


def _escape_start(match: re.Match[str]) -> str:
    found = match[0]
    return found + "\\" if found.isdigit() else "\\" + found
