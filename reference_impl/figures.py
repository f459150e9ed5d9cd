"""The book's figures: one palette, one style, and pictures that read on white and on near-black.

:func:`heatmap`, :func:`bars` and :func:`curves` return a matplotlib figure to add to; :func:`show` puts it on the page
as an inline SVG in the page's own text colour. :func:`chart` does the same for an Altair chart that a reader can push.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

# Each colour has a contrast of at least 3 against white and against #10151c.
PALETTE = {"blue": "#3d7fd1", "orange": "#d9692b", "teal": "#1a9080", "purple": "#9a63c9", "rose": "#d64c77"}
PALETTE |= {"gold": "#a97f10", "grey": "#7c8594"}
SERIES = list(PALETTE.values())
INK = "#010203"  # stands for the text colour of the page; svg() writes currentColor for it
FAINT = (1 / 255, 2 / 255, 3 / 255, 0.35)
FONT = "var(--course-figure-font, system-ui, sans-serif)"
INKED = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor", "grid.color")
AXIS = {"domain": False, "ticks": False, "gridOpacity": 0.15, "titleFontWeight": "normal", "labelFontSize": 11.5}
AXIS |= dict.fromkeys(("labelColor", "titleColor", "gridColor"), "currentColor") | {"titleFontSize": 11.5}
TITLE = {"color": "currentColor", "anchor": "start", "frame": "group", "fontSize": 12.5, "offset": 8}
CHART_STYLE = {"axis": AXIS, "title": TITLE, "view": {"stroke": None}, "background": "transparent"}
CHART_STYLE |= {"font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"}


def style() -> None:
    """Set matplotlib to the book's style; :func:`subplots` and the builders call it.

    >>> style()
    >>> plt.rcParams["svg.fonttype"]
    'none'
    """
    settings = {"svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"]}
    settings |= {"font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold"}
    settings |= {"axes.titlelocation": "left", "axes.titlepad": 10, "figure.constrained_layout.use": True}
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "grid.alpha": 0.12}
    settings |= {"axes.facecolor": "none", "figure.facecolor": "none", "axes.prop_cycle": plt.cycler(color=SERIES)}
    settings |= {"lines.linewidth": 2, "lines.solid_capstyle": "round"} | dict.fromkeys(INKED, INK)
    plt.rcParams.update(settings | dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), FAINT))


def subplots(rows: int = 1, columns: int = 1, width: float = 5.8, height: float = 3.2, **options: Any) -> tuple:
    """``plt.subplots`` in the book's style; width and height in inches, 5.8 being the width of the text."""
    style()
    return plt.subplots(rows, columns, figsize=(width, height), **options)


def svg(fig: Figure, alt: str) -> str:
    """The figure as one ``<svg role="img">`` in the page's text colour and font; closes it. ValueError without alt.

    >>> text = svg(bars([0.5, 0.5], ["hub", "depot"]), alt="Two equal bars.")
    >>> text[:4], 'aria-label="Two equal bars."' in text, INK in text
    ('<svg', True, False)
    """
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": _words(alt)}):
        fig.savefig(file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    plt.close(fig)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text).replace(INK, "currentColor")  # axes_1 ... would be on a page twice
    return _labelled(re.sub(r"'DejaVu Sans'[^;\"]*", FONT, text), alt)


def _words(alt: str) -> str:
    """A text alternative on one line; ValueError when there is none."""
    if not alt.strip():
        raise ValueError("alt must say in words what the figure shows")
    return " ".join(alt.split())


def _labelled(text: str, alt: str) -> str:
    """An SVG with role, label, ids of its own, and a width that shrinks with the page."""
    head, rest = text.split(">", 1)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head).groups())
    key = hashlib.sha256((text + alt).encode()).hexdigest()[:8]
    rest = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>f{key}-", rest)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{html.escape(_words(alt))}" viewBox="0 0 {width:g} {height:g}" '
        f'style="--wide: {width * 1.32:.0f}px; width: 100%; max-width: var(--wide); overflow: visible">{rest}'
    )


def figure_html(picture: str, caption: str = "", kind: str = "") -> str:
    """``picture`` in a ``<figure>`` with its caption, which is plain text but for `code` in backquotes."""
    words = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(caption))
    below = f"<figcaption>{words}</figcaption>" if caption else ""
    return f'<figure class="course-figure{" " * bool(kind)}{kind}" style="margin: 1em 0">{picture}{below}</figure>'


def show(fig: Figure, alt: str, caption: str = "") -> None:
    """Put a matplotlib figure on the page: inline SVG, text alternative, caption. Raises ValueError without alt."""
    from IPython.display import HTML, display

    display(HTML(figure_html(svg(fig, alt), caption)))


def heatmap(
    table: Any, rows: Sequence[str], columns: Sequence[str], *, xlabel: str = "next word", ylabel: str = "this word",
    number: str | None = ".2f", top: float | None = None, color: str = "blue", title: str = "",
    mark: Sequence[tuple[int, int]] = (),
) -> Figure:
    """A table (R, C) of counts or probabilities as shaded squares with word labels and numbers.

    ``number`` is the numbers' format ("d" for counts, None for none), ``top`` the value of full colour (None: the
    largest), ``mark`` the cells (row, column) to outline. Raises ValueError when the shape does not fit the labels.

    >>> fig = heatmap([[1, 0], [2, 1]], ["a", "b"], ["a", "b"], number="d")
    >>> [text.get_text() for text in fig.axes[0].texts]
    ['1', '0', '2', '1']
    """
    values = _fitting(table, rows, columns)
    cell = 0.42 if number else 0.24
    margin = max(len(row) for row in rows) * 0.085 + 0.4
    width = cell * len(columns) * (1.25 if number else 1)
    fig, axes = subplots(width=width + margin, height=cell * len(rows) + 1.1)
    full = float(top) if top else max(float(values.max()), 1e-12)
    for (r, c), value in np.ndenumerate(values):
        # Two thirds of the colour at most: the numbers stay readable on white and on black.
        shade = 0.68 * min(value / full, 1) ** 0.75
        axes.add_patch(plt.Rectangle((c - 0.47, r - 0.47), 0.94, 0.94, lw=0, fc=PALETTE[color], alpha=shade))
        if (r, c) in mark:
            axes.add_patch(plt.Rectangle((c - 0.46, r - 0.46), 0.92, 0.92, fill=False, ec=PALETTE["orange"], lw=2))
        if number is not None:
            label = format(int(value), "d") if number == "d" or not value else format(value, number)
            label = label.removeprefix("0") if label.startswith("0.") else label
            axes.text(c, r, label, ha="center", va="center", fontsize=8.5, alpha=1 if value else 0.45)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5), title=title)
    axes.set_xticks(range(len(columns)), columns, rotation=45 if max(map(len, columns)) > 3 else 0, ha="left")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(xlabel, labelpad=8)
    axes.set_ylabel(ylabel, labelpad=8)
    axes.spines[:].set_visible(False)
    return fig


def _fitting(table: Any, rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """The table as float64; ValueError when its shape is not that of its labels."""
    values = np.asarray(table, dtype=float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"the table has shape {values.shape}, but the labels ask for ({len(rows)}, {len(columns)})")
    return values


def bars(
    distributions: Sequence[float] | Mapping[str, Sequence[float]], words: Sequence[str], *,
    xlabel: str = "probability", number: str = ".2f", title: str = "", log: bool = False,
) -> Figure:
    """One distribution over words, or several side by side ``{"counts": p, "smoothed": q}``, as horizontal bars."""
    named = dict(distributions) if isinstance(distributions, Mapping) else {"": distributions}
    thick = 0.78 / len(named)
    fig, axes = subplots(height=0.9 + len(words) * (0.2 + 0.16 * len(named)))
    for position, (name, values) in enumerate(named.items()):
        heights = np.asarray(values, dtype=float)
        y = np.arange(len(words)) + (position - (len(named) - 1) / 2) * thick
        drawn = axes.barh(y, heights, height=thick * 0.9, color=SERIES[position], label=name or None)
        axes.bar_label(drawn, labels=[format(value, number) for value in heights], padding=4, fontsize=8.5)
    axes.set_yticks(range(len(words)), words)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, title=title, xscale="log" if log else "linear")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.14)
    if len(named) > 1:
        axes.legend(loc="best")
    return fig


def curves(
    lines: Mapping[str, Sequence], *, xlabel: str, ylabel: str, floors: Mapping[str, float] | None = None,
    log: str = "", title: str = "",
) -> Figure:
    """Curves ``{"label": (x, y)}`` or, with a band, ``{"label": (x, y, low, high)}``, each labelled at its end.

    ``floors`` draws named horizontal lines (an entropy, a bound); ``log`` is "x", "y", "xy" or "".
    """
    fig, axes = subplots(height=3.5)
    axes.grid(axis="y")
    for position, (name, line) in enumerate(lines.items()):
        x, y, *band = (np.asarray(part, dtype=float) for part in line)
        color = SERIES[position % len(SERIES)]
        axes.plot(x, y, color=color, marker="o", markersize=4)
        if band:
            axes.fill_between(x, *band, color=color, alpha=0.18, linewidth=0)
        axes.annotate(name, (x[-1], y[-1]), (7, 0), textcoords="offset points", va="center", color=color, weight="bold")
    for name, value in (floors or {}).items():
        axes.axhline(value, color=INK, alpha=0.6, linewidth=1.2, linestyle=(0, (4, 3)))
        place = axes.get_yaxis_transform()  # x as a share of the width, y as data
        axes.annotate(name, (0, value), (2, 4), xycoords=place, textcoords="offset points", fontsize=8.5)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title, **{f"{axis}scale": "log" for axis in log})
    return fig


def chart(picture: altair.TopLevelMixin, alt: str, caption: str = "", fallback: Figure | None = None) -> None:
    """Put an Altair chart on the page.

    In the book: a static SVG (``fallback``, or the chart as it starts), which the book's own copy of Vega makes
    interactive. In a notebook: the chart as Altair shows it. Raises ValueError without alt.
    """
    from IPython.display import HTML, display

    label = html.escape(_words(alt))
    if os.environ.get("COURSE_BOOK") != "1":
        display(picture)
        return display(HTML(figure_html("", caption))) if caption else None
    spec = picture.to_dict()
    if fallback is not None:
        static = svg(fallback, alt)
    else:
        import vl_convert

        static = _labelled(vl_convert.vegalite_to_svg(spec), alt)
    data = json.dumps(spec).replace("<", "\\u003c")
    body = f'<div class="course-chart-static">{static}</div>'
    body += f'<div class="course-chart-live" role="group" aria-label="{label}" hidden></div>'
    body += f'<script type="application/json" class="course-chart-spec">{data}</script>'
    return display(HTML(figure_html(body, caption, "course-chart")))


def row_picker(
    table: Any, rows: Sequence[str], words: Sequence[str], *, start: str | None = None, draws: int = 60,
    name: str = "this word",
) -> altair.VConcatChart:
    """An interactive table (R, V) of distributions: choose a row, see it as bars, and draw from it.

    Mass that a row has outside ``words`` stands under "other". The browser draws by the inverse of the row's running
    sums, from uniforms that a fixed formula makes.

    >>> len(row_picker([[0.5, 0.25], [0, 1]], ["left", "hub"], ["hub", "depot"]).to_dict()["vconcat"])
    3
    """
    values, names = _fitting(table, rows, words), list(words)
    rest = np.where(values.sum(1) > 0, 1 - values.sum(1), 0)
    if (rest > 1e-6).any():
        values, names = np.column_stack([values, rest.clip(0)]), [*names, "other"]
    high = values.cumsum(1)
    records = [
        {"row": rows[r], "word": names[c], "p": float(p), "low": float(high[r, c] - p), "high": float(high[r, c])}
        for (r, c), p in np.ndenumerate(values)
    ]
    width = max(34 * len(names), 400)
    across = max(2, min(5, width // (9 * max(map(len, names)) + 12)))  # drawn words that fit on a line
    down = -(-10 // across)
    menu = altair.binding_select(options=list(rows), name=f"{name}  ")
    chosen = {"value": [{"row": start if start in rows else rows[0]}], "on": "click", "clear": False}
    pick = altair.selection_point("pick", fields=["row"], bind=menu, **chosen)
    many = altair.binding_range(min=1, max=300, step=1, name="how many draws  ")
    anew = altair.binding_range(min=1, max=40, step=1, name="draw again  ")
    shade = altair.Scale(type="pow", exponent=0.6, domain=[0, 1], range=[0.05, 1])
    columns = altair.X("word:N", sort=names, title=None, scale=altair.Scale(domain=names))
    base = altair.Chart(altair.Data(values=records))
    shades = base.mark_rect(color=PALETTE["blue"], cursor="pointer", strokeWidth=1.5, cornerRadius=2).encode(
        x=columns.axis(None),
        y=altair.Y("row:N", sort=list(rows), title=name),
        opacity=altair.Opacity("p:Q", scale=shade, legend=None),
        stroke=altair.condition(pick, altair.value(PALETTE["orange"]), altair.value("transparent")),
        tooltip=["row:N", "word:N", altair.Tooltip("p:Q", format=".3f")],
    )
    row = base.transform_filter(pick)
    drawn = row.transform_calculate(i="sequence(0, 300)").transform_flatten(["i"]).transform_filter("datum.i < draws")
    drawn = drawn.transform_calculate(s="sin((datum.i + 1) * 12.9898 + again * 78.233) * 43758.5453")
    drawn = drawn.transform_calculate(u="datum.s - floor(datum.s)")
    drawn = drawn.transform_filter("datum.u >= datum.low && datum.u < datum.high")
    unit = altair.Y("p:Q", title="probability", scale=altair.Scale(domain=[0, 1]), axis=altair.Axis(tickCount=4))
    truth = row.mark_bar(color=PALETTE["blue"], opacity=0.85).encode(columns.axis(altair.Axis(labelAngle=-40)), unit)
    shares = drawn.transform_aggregate(n="count()", groupby=["word"]).transform_calculate(share="datum.n / draws")
    ticks = shares.mark_tick(color=PALETTE["orange"], opacity=1, thickness=4, width=26).encode(x=columns, y="share:Q")
    strip = (
        drawn.transform_filter("datum.i < 10")
        .transform_calculate(x=f"datum.i % {across}", y=f"floor(datum.i / {across})")
        .mark_text(align="left", fontSize=12.5, color=PALETTE["orange"], fontWeight="bold")
        .encode(
            x=altair.X("x:Q", axis=None, scale=altair.Scale(domain=[0, across])),
            y=altair.Y("y:Q", axis=None, scale=altair.Scale(domain=[down, -0.5])),
            text="word:N",
        )
    )
    parts = (
        shades.add_params(pick).properties(width=width, height=20 * len(rows), title="Click a row, or use the menu"),
        (truth + ticks).properties(width=width, height=150, title="Its distribution (bars) and the draws (orange)"),
        strip.properties(width=width, height=22 * down, title="The first ten draws"),
    )
    whole = altair.vconcat(*parts, spacing=14).add_params(altair.param("draws", value=draws, bind=many))
    return whole.add_params(altair.param("again", value=1, bind=anew)).configure(**CHART_STYLE)
