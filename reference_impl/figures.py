"""The book's figures: one palette, one style, and pictures that read on white and on near-black.

Builders (:func:`heatmap`, :func:`bars`, :func:`curves`) return a matplotlib figure to add to; :func:`show` puts it on the page as
one inline SVG whose text takes the page's colour. :func:`chart` does the same for an Altair chart that a reader can push.
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
PALETTE = {
    "blue": "#3d7fd1",
    "orange": "#d9692b",
    "teal": "#1a9080",
    "purple": "#9a63c9",
    "rose": "#d64c77",
    "gold": "#a97f10",
    "grey": "#7c8594",
}
SERIES = list(PALETTE.values())
INK = "#010203"  # stands for the text colour of the page; show() writes currentColor for it
FONT = "var(--course-figure-font, system-ui, sans-serif)"


def style() -> None:
    """Set matplotlib to the book's style. The builders call it; call it yourself before ``plt.subplots``.

    >>> style()
    >>> plt.rcParams["svg.fonttype"]
    'none'
    """
    faint = (1 / 255, 2 / 255, 3 / 255, 0.35)
    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"]})
    plt.rcParams.update({"font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold"})
    plt.rcParams.update({"axes.titlelocation": "left", "axes.titlepad": 10, "figure.constrained_layout.use": True})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
    plt.rcParams.update({"axes.facecolor": "none", "figure.facecolor": "none", "axes.prop_cycle": plt.cycler(color=SERIES)})
    plt.rcParams.update({"grid.color": INK, "grid.alpha": 0.12, "lines.linewidth": 2, "lines.solid_capstyle": "round"})
    inked = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor")
    plt.rcParams.update(dict.fromkeys(inked, INK) | dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), faint))


def subplots(rows: int = 1, columns: int = 1, width: float = 5.8, height: float = 3.2, **options: Any) -> tuple:
    """``plt.subplots`` in the book's style; width and height in inches, 5.8 being the width of the text."""
    style()
    return plt.subplots(rows, columns, figsize=(width, height), **options)


def svg(fig: Figure, alt: str) -> str:
    """The figure as one ``<svg role="img">`` string that takes text colour and font from the page; closes the figure.

    >>> text = svg(bars([0.5, 0.5], ["hub", "depot"]), alt="Two equal bars.")
    >>> text[:4], 'aria-label="Two equal bars."' in text, INK in text
    ('<svg', True, False)
    """
    if not alt.strip():
        raise ValueError("alt must say in words what the figure shows")
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": alt}):
        file = io.StringIO()
        fig.savefig(file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
        plt.close(fig)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # figure_1, axes_1 ... would be there twice on a page
    text = text.replace(INK, "currentColor")
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT, text)
    return _label(text, alt)


def _label(text: str, alt: str) -> str:
    """The SVG with a role, a label and a width that shrinks with the page."""
    head, rest = text.split(">", 1)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head).groups())
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    rest = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>f{key}-", rest)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{html.escape(" ".join(alt.split()))}" viewBox="0 0 {width:g} {height:g}" '
        f'style="width: 100%; max-width: {width * 1.32:.0f}px; height: auto; overflow: visible">{rest}'
    )


def figure_html(picture: str, caption: str = "", kind: str = "") -> str:
    """``picture`` in a ``<figure>`` with its caption; the caption is HTML-escaped but for `code` in backquotes."""
    words = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(caption))
    below = f"<figcaption>{words}</figcaption>" if caption else ""
    return f'<figure class="course-figure{" " + kind if kind else ""}" style="margin: 1em 0">{picture}{below}</figure>'


def show(fig: Figure, alt: str, caption: str = "") -> None:
    """Put a matplotlib figure on the page: an inline SVG, a text alternative, a caption. Raises ValueError without ``alt``."""
    from IPython.display import HTML, display

    display(HTML(figure_html(svg(fig, alt), caption)))


def heatmap(
    table: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    xlabel: str = "next word",
    ylabel: str = "this word",
    number: str | None = ".2f",
    top: float | None = None,
    color: str = "blue",
    title: str = "",
    mark: Sequence[tuple[int, int]] = (),
) -> Figure:
    """A table (R, C) of counts or probabilities as shaded squares with word labels and numbers.

    ``number`` is the format of the numbers (``"d"`` for counts, None for no numbers); ``top`` the value of full colour (the
    largest one if None); ``mark`` outlines cells, each (row, column).

    >>> fig = heatmap([[1, 0], [2, 1]], ["a", "b"], ["a", "b"], number="d")
    >>> [text.get_text() for text in fig.axes[0].texts]
    ['1', '0', '2', '1']
    """
    values = np.asarray(table, dtype=float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"the table has shape {values.shape}, but there are {len(rows)} rows and {len(columns)} columns")
    cell = 0.42 if number else 0.24
    wide = max(len(str(row)) for row in rows) * 0.085 + 0.4
    fig, axes = subplots(width=cell * len(columns) * (1.25 if number else 1) + wide, height=cell * len(rows) + 1.1)
    full = float(top) if top else max(float(np.nanmax(values)), 1e-12)
    for r, c in np.ndindex(*values.shape):
        share = float(np.clip(values[r, c] / full, 0, 1)) ** 0.75
        # Two thirds of the colour at most: the numbers stay readable on white and on black.
        box = plt.Rectangle((c - 0.47, r - 0.47), 0.94, 0.94, linewidth=0, facecolor=PALETTE[color], alpha=0.68 * share)
        axes.add_patch(box)
        if (r, c) in mark:
            frame = plt.Rectangle((c - 0.46, r - 0.46), 0.92, 0.92, fill=False, edgecolor=PALETTE["orange"], linewidth=2)
            axes.add_patch(frame)
        if number is not None:
            label = format(int(values[r, c]), "d") if number == "d" or not values[r, c] else format(values[r, c], number)
            label = label.removeprefix("0") if label.startswith("0.") else label
            axes.text(c, r, label, ha="center", va="center", fontsize=8.5, alpha=1 if values[r, c] else 0.45)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(columns)), columns, rotation=45 if max(map(len, columns)) > 3 else 0, ha="left")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(xlabel, labelpad=8)
    axes.set_ylabel(ylabel, labelpad=8)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)
    return fig


def bars(
    distributions: Sequence[float] | Mapping[str, Sequence[float]],
    words: Sequence[str],
    *,
    xlabel: str = "probability",
    number: str = ".2f",
    title: str = "",
    log: bool = False,
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
    axes.set_xlabel(xlabel)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.14)
    if log:
        axes.set_xscale("log")
    if len(named) > 1:
        axes.legend(loc="best")
    if title:
        axes.set_title(title)
    return fig


def curves(
    lines: Mapping[str, Sequence],
    *,
    xlabel: str,
    ylabel: str,
    floors: Mapping[str, float] | None = None,
    log: str = "",
    title: str = "",
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
        axes.annotate(name, (0, value), (2, 4), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=8.5)
    for axis in log:
        getattr(axes, f"set_{axis}scale")("log")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if title:
        axes.set_title(title)
    return fig


def chart(picture: altair.TopLevelMixin, alt: str, caption: str = "", fallback: Figure | None = None) -> None:
    """Put an Altair chart on the page.

    In the book: a static SVG (``fallback``, or the chart as it starts), which the book's own copy of Vega makes interactive. In
    a notebook: the chart as Altair shows it. Raises ValueError without ``alt``.
    """
    from IPython.display import HTML, display

    if not alt.strip():
        raise ValueError("alt must say in words what the figure shows")
    if os.environ.get("COURSE_BOOK") != "1":
        if fallback is not None:
            plt.close(fallback)
        display(picture)
        return display(HTML(figure_html("", caption))) if caption else None
    spec = picture.to_dict()
    if fallback is not None:
        static = svg(fallback, alt)
    else:
        import vl_convert

        static = _label(vl_convert.vegalite_to_svg(spec), alt)
    script = json.dumps(spec).replace("<", "\\u003c")
    live = f'<div class="course-chart-live" role="group" aria-label="{html.escape(" ".join(alt.split()))}" hidden></div>'
    data = f'<script type="application/json" class="course-chart-spec">{script}</script>'
    body = f'<div class="course-chart-static">{static}</div>{live}{data}'
    return display(HTML(figure_html(body, caption, "course-chart")))


def _chart_style() -> dict:
    """Altair's side of the style: the page's text colour, thin lines, no frame."""
    axis = {"labelColor": "currentColor", "titleColor": "currentColor", "domain": False, "ticks": False, "gridOpacity": 0.15}
    axis |= {"gridColor": "currentColor", "titleFontWeight": "normal", "labelFontSize": 11.5, "titleFontSize": 11.5}
    title = {"color": "currentColor", "anchor": "start", "frame": "group", "fontSize": 12.5, "offset": 8}
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
    return {"font": font, "axis": axis, "title": title, "view": {"stroke": None}, "background": "transparent"}


def row_picker(
    table: Any,
    rows: Sequence[str],
    words: Sequence[str],
    *,
    start: str | None = None,
    draws: int = 60,
    name: str = "this word",
) -> altair.VConcatChart:
    """An interactive table (R, V) of distributions: choose a row, see it as bars, and draw from it.

    Mass that a row has outside ``words`` stands under "other". The chart draws by the inverse of the row's cumulative sums, from
    uniforms that a fixed formula makes, in the browser and without a server.

    >>> picker = row_picker([[0.5, 0.25], [0, 1]], ["left", "hub"], ["hub", "depot"])
    >>> len(picker.to_dict()["vconcat"])
    3
    """
    values = np.asarray(table, dtype=float)
    if values.shape != (len(rows), len(words)):
        raise ValueError(f"the table has shape {values.shape}, but there are {len(rows)} rows and {len(words)} words")
    rest = np.where(values.sum(1) > 0, 1 - values.sum(1), 0)
    names = list(words)
    if (rest > 1e-9).any():
        values, names = np.column_stack([values, rest]), [*names, "other"]
    upto = values.cumsum(1)
    records = [
        {"row": rows[r], "word": names[c], "p": float(values[r, c]), "low": float(upto[r, c] - values[r, c])}
        | {"high": float(upto[r, c])}
        for r, c in np.ndindex(*values.shape)
    ]
    width = max(34 * len(names), 400)
    wide = max(2, min(5, width // (9 * max(map(len, names)) + 12)))  # words of the strip in one line
    menu = altair.binding_select(options=list(rows), name=f"{name}  ")
    pick = altair.selection_point(
        "pick", fields=["row"], bind=menu, on="click", clear=False, value=[{"row": start if start in rows else rows[0]}]
    )
    count = altair.param("draws", value=draws, bind=altair.binding_range(min=1, max=300, step=1, name="how many draws  "))
    again = altair.param("again", value=1, bind=altair.binding_range(min=1, max=40, step=1, name="draw again  "))
    columns = altair.X("word:N", sort=names, title=None, scale=altair.Scale(domain=names))
    base = altair.Chart(altair.Data(values=records))
    shades = base.mark_rect(color=PALETTE["blue"], cursor="pointer", strokeWidth=1.5, cornerRadius=2).encode(
        x=columns.axis(None),
        y=altair.Y("row:N", sort=list(rows), title=name),
        opacity=altair.Opacity("p:Q", scale=altair.Scale(type="pow", exponent=0.6, domain=[0, 1], range=[0.05, 1]), legend=None),
        stroke=altair.condition(pick, altair.value(PALETTE["orange"]), altair.value("transparent")),
        tooltip=["row:N", "word:N", altair.Tooltip("p:Q", format=".3f")],
    )
    row = base.transform_filter(pick)
    drawn = (
        row.transform_calculate(i="sequence(0, 300)")
        .transform_flatten(["i"])
        .transform_filter("datum.i < draws")
        .transform_calculate(s="sin((datum.i + 1) * 12.9898 + again * 78.233) * 43758.5453")
        .transform_calculate(u="datum.s - floor(datum.s)")
        .transform_filter("datum.u >= datum.low && datum.u < datum.high")
    )
    truth = row.mark_bar(color=PALETTE["blue"], opacity=0.85).encode(
        x=columns.axis(altair.Axis(labelAngle=-40)),
        y=altair.Y("p:Q", title="probability", scale=altair.Scale(domain=[0, 1]), axis=altair.Axis(tickCount=4)),
    )
    shares = (
        drawn.transform_aggregate(n="count()", groupby=["word"])
        .transform_calculate(share="datum.n / draws")
        .mark_tick(color=PALETTE["orange"], opacity=1, thickness=4, width=26)
        .encode(x=columns, y="share:Q", tooltip=["word:N", "n:Q", altair.Tooltip("share:Q", format=".3f")])
    )
    strip = (
        drawn.transform_filter("datum.i < 10")
        .transform_calculate(across=f"datum.i % {wide}", down=f"floor(datum.i / {wide})")
        .mark_text(align="left", fontSize=12.5, color=PALETTE["orange"], fontWeight="bold")
        .encode(
            x=altair.X("across:Q", axis=None, scale=altair.Scale(domain=[0, wide])),
            y=altair.Y("down:Q", axis=None, scale=altair.Scale(domain=[-(-10 // wide), -0.5])),
            text="word:N",
        )
    )
    parts = (
        shades.add_params(pick).properties(width=width, height=20 * len(rows), title="Choose a row: click it, or use the menu"),
        (truth + shares).properties(width=width, height=150, title="Its distribution (bars) and the draws (orange)"),
        strip.properties(width=width, height=22 * -(-10 // wide), title="The first ten draws"),
    )
    return altair.vconcat(*parts, spacing=14).add_params(count, again).configure(**_chart_style())
