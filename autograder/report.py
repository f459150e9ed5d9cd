"""A small table of what is right and what is not, as HTML for a notebook and as text for a terminal.

The HTML is a real table with a caption and scoped headers; words say what icons and colours repeat. It takes the page's
own colour for text, so that it reads in light and dark, and wraps on a narrow screen.
"""

from __future__ import annotations

import html
import re
import sys
import textwrap
from dataclasses import dataclass

from autograder.plain_math import plain_math

# status -> (icon, words, class)
WORDS = {
    "right": ("✓", "right", "good"),
    "wrong": ("✗", "not yet", "bad"),
    "mistaken": ("✗", "not right", "bad"),
    "raised": ("✗", "raised", "bad"),
    "timeout": ("✗", "too slow", "bad"),
    "memory": ("✗", "memory", "bad"),
    "crash": ("✗", "crashed", "bad"),
    "missing": ("✗", "missing", "bad"),
    "unwritten": ("○", "not written", "open"),
    "unanswered": ("○", "no answer", "open"),
    "skipped": ("–", "not run", "open"),
    "grader": ("!", "our fault", "open"),
}

STYLE = """<style>
.ntp-report{max-width:46rem;margin:.4rem 0 .8rem;font-size:.95em;line-height:1.45;color:inherit;text-align:left}
.ntp-report table.ntp-table{border-collapse:collapse;width:100%;margin:0;border:0;font-size:inherit;color:inherit;
 background:none;table-layout:auto;display:table}
.ntp-report table.ntp-table caption{caption-side:top;text-align:left;padding:0 0 .35rem;color:inherit;
 font-style:normal;font-size:inherit}
.ntp-report table.ntp-table tr,.ntp-report table.ntp-table tr:nth-child(n){background:none}
.ntp-report table.ntp-table th,.ntp-report table.ntp-table td{text-align:left;vertical-align:top;color:inherit;
 padding:.32rem .9rem .32rem 0;border:0;border-top:1px solid rgba(128,128,128,.35);font-weight:400;background:none;
 white-space:normal;overflow-wrap:anywhere;max-width:none}
.ntp-report table.ntp-table thead th{font-size:.82em;opacity:.75;border-top:0;padding-bottom:.15rem}
.ntp-report table.ntp-table td.ntp-status{white-space:nowrap;width:1%;overflow-wrap:normal}
.ntp-report .ntp-icon{display:inline-block;width:1.35em;font-weight:700}
.ntp-report .ntp-good .ntp-icon{color:#1f8f4e}
.ntp-report .ntp-bad .ntp-icon{color:#d6453d}
.ntp-report .ntp-detail{display:block;opacity:.85;font-size:.94em}
.ntp-report .ntp-block{border-left:3px solid rgba(128,128,128,.45);padding:.05rem 0 .05rem .8rem;margin:.7rem 0 0}
.ntp-report .ntp-block p{margin:.15rem 0 .3rem}
.ntp-report .ntp-block pre{margin:.3rem 0;padding:.45rem .6rem;background:rgba(128,128,128,.12);color:inherit;
 border:0;border-radius:4px;font-size:.88em;line-height:1.4;white-space:pre-wrap;overflow-wrap:anywhere}
.ntp-report code{background:rgba(128,128,128,.14);color:inherit;border:0;border-radius:3px;padding:.05em .3em;
 font-size:.92em}
.ntp-report pre,.ntp-report code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.ntp-report .ntp-head{font-weight:600}
.ntp-report .ntp-note{margin:.5rem 0 0;opacity:.85;font-size:.92em}
.ntp-report a{color:inherit;text-decoration:underline}
</style>"""


@dataclass(frozen=True)
class Row:
    """One line of the table; ``detail``, of one line or several, stands under the label."""

    status: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Block:
    """Something said below the table: a heading, then pieces that are ("text", ...) or ("code", ...)."""

    heading: str
    pieces: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """What ``check`` and ``check_quiz`` show. Backticks in its texts mark code, dollars mark mathematics.

    >>> print(Report("halves", "1 of 1 case right", ("Result", "Case"), (Row("right", "ordinary"),)))
    halves: 1 of 1 case right
      ✓ right        ordinary
    """

    name: str
    summary: str
    columns: tuple[str, str] = ("Result", "Case")
    rows: tuple[Row, ...] = ()
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()  # (text, address), after the notes
    links_title: str = ""

    def __str__(self) -> str:
        lines = [f"{self.name}: {plain(self.summary)}" if self.name else plain(self.summary)]
        for row in self.rows:
            icon, words, _ = WORDS[row.status]
            lines.append(f"  {icon} {words:<12} {plain(row.label)}")
            for detail in row.detail.splitlines():
                lines += _wrapped(plain(detail), " " * 17)
        for block in self.blocks:
            lines += ["", plain(block.heading)]
            for kind, text in block.pieces:
                lines += ([f"    {line}" for line in text.splitlines()] if kind == "code"
                          else _wrapped(plain(text), "  "))
        for note in self.notes:
            lines += ["", *_wrapped(plain(note), "")]
        if self.links:
            lines += ["", self.links_title, *(f"  {text}: {address}" if address else f"  {text}"
                                              for text, address in self.links)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        name = f'<span class="ntp-head">{rich(f"`{self.name}`")}</span>: ' if self.name else ""
        parts = []
        if self.rows:
            head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in self.columns)
            body = "".join(map(_row, self.rows))
            parts.append(f'<table class="ntp-table"><caption>{name}{rich(self.summary)}</caption>'
                         f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        else:
            parts.append(f'<p class="ntp-note">{name}{rich(self.summary)}</p>')
        for block in self.blocks:
            pieces = "".join(f"<pre>{html.escape(text)}</pre>" if kind == "code" else f"<p>{rich(text)}</p>"
                             for kind, text in block.pieces)
            parts.append(f'<div class="ntp-block"><p class="ntp-head">{rich(block.heading)}</p>{pieces}</div>')
        parts += [f'<p class="ntp-note">{rich(note)}</p>' for note in self.notes]
        if self.links:
            items = ", ".join(f'<a href="{html.escape(address)}">{rich(text)}</a>' if address else rich(text)
                              for text, address in self.links)
            parts.append(f'<p class="ntp-note">{html.escape(self.links_title)} {items}</p>')
        return f'{STYLE}<div class="ntp-report">{"".join(parts)}</div>'


def _row(row: Row) -> str:
    icon, words, kind = WORDS[row.status]
    detail = "".join(f'<span class="ntp-detail">{rich(line)}</span>' for line in row.detail.splitlines())
    return (f'<tr><td class="ntp-status ntp-{kind}"><span class="ntp-icon" aria-hidden="true">{icon}</span>{words}</td>'
            f'<th scope="row">{rich(row.label)}{detail}</th></tr>')


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent) or [indent]


_MARKS = re.compile(r"`([^`]+)`|\$([^$]+)\$|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*")


def rich(text: str) -> str:
    """Escaped HTML of a line of text in which `code`, $mathematics$, **strong** and *emphasis* are marked.

    >>> rich("`a < b` is *not* $p_i$")
    '<code>a &lt; b</code> is <em>not</em> <i>p_i</i>'
    """
    out, end = [], 0
    for mark in _MARKS.finditer(text):
        out.append(html.escape(text[end:mark.start()]))
        code, math, strong, emphasis = mark.groups()
        out.append(f"<code>{html.escape(code)}</code>" if code else f"<i>{html.escape(plain_math(math))}</i>" if math
                   else f"<strong>{html.escape(strong)}</strong>" if strong else f"<em>{html.escape(emphasis)}</em>")
        end = mark.end()
    return "".join([*out, html.escape(text[end:])])


def plain(text: str) -> str:
    """The same line for a terminal: code keeps its backticks, the other marks go.

    >>> plain("**Never** divide by $\\\\sum_j c_j$")
    'Never divide by Σ_j c_j'
    """
    text = " ".join(text.split())
    return _MARKS.sub(lambda m: m[0] if m[1] else plain_math(m[2]) if m[2] else m[3] or m[4], text)


def show(report: Report) -> None:
    """Shows a report where it was asked for: in the notebook's output, or as text on standard output."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.display import display

        display(report)
    else:
        print(report)
