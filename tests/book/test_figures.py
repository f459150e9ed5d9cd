"""The figure style: a palette that reads in both lights, pictures with a label, charts that need no server."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from reference_impl import figures

WORDS = ["hub", "depot", "</s>"]


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("name", figures.PALETTE)
@pytest.mark.parametrize("paper", ["#ffffff", "#10151c"])
def test_colours_read_by_day_and_by_night(name, paper):
    light, dark = sorted([luminance(figures.PALETTE[name]), luminance(paper)], reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: figures.heatmap(np.eye(3), WORDS, WORDS, mark=[(0, 0)]),
        lambda: figures.heatmap(np.eye(3, dtype=int), WORDS, WORDS, number="d"),
        lambda: figures.bars({"a": [0.2, 0.3, 0.5], "b": [0.1, 0.1, 0.8]}, WORDS),
        lambda: figures.curves(
            {"a": ([1, 2], [3, 4]), "b": ([1, 2], [2, 3], [1, 2], [3, 4])},
            xlabel="x", ylabel="y", floors={"floor": 1}, log="x",
        ),
    ],
)
def test_builders_give_one_labelled_svg_without_ids_of_others(make):
    first, second = figures.svg(make(), "What is < seen."), figures.svg(make(), "Another label.")
    root = xml.fromstring(first)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "What is < seen."
    assert "currentColor" in first
    assert figures.INK not in first
    assert "DejaVu" not in first
    ids = re.findall(r'\bid="([^"]+)"', first)
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', second))
    for used in re.findall(r'(?:url\(|href=")#([^)"]+)', first):
        assert used in ids


def test_same_figure_same_bytes():
    assert len({figures.svg(figures.bars([0.5, 0.5], ["a", "b"]), "Two bars.") for _ in range(2)}) == 1


def test_numbers_are_written_as_the_course_writes_them():
    fig = figures.heatmap([[0.5, 0.0], [1.0, 0.25]], ["a", "b"], ["a", "b"])
    assert [text.get_text() for text in fig.axes[0].texts] == [".50", "0", "1.00", ".25"]


@pytest.mark.parametrize("alt", ["", "  "])
def test_alt_text_is_required(alt):
    with pytest.raises(ValueError, match="alt"):
        figures.show(figures.bars([1.0], ["a"]), alt=alt)
    with pytest.raises(ValueError, match="alt"):
        figures.chart(figures.row_picker([[1.0]], ["a"], ["b"]), alt=alt)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        figures.heatmap(np.eye(2), WORDS, WORDS)
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        figures.row_picker(np.eye(2), WORDS, WORDS)


def test_row_picker_holds_whole_rows_and_valid_intervals():
    picker = figures.row_picker([[0.5, 0.25, 0], [0, 0, 0]], ["left", "empty"], WORDS).to_dict()
    data = next(iter(picker["datasets"].values())) if "datasets" in picker else picker["data"]["values"]
    left = [entry for entry in data if entry["row"] == "left"]
    assert [entry["word"] for entry in left] == [*WORDS, "other"]
    assert [entry["high"] for entry in left] == pytest.approx([0.5, 0.75, 0.75, 1.0])
    assert [entry["low"] for entry in left] == pytest.approx([0, 0.5, 0.75, 0.75])
    assert sum(entry["p"] for entry in data if entry["row"] == "empty") == 0


def displayed(monkeypatch):
    shown: list = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_chart_in_the_book_carries_picture_and_data(monkeypatch):
    monkeypatch.setenv("COURSE_BOOK", "1")
    shown = displayed(monkeypatch)
    figures.chart(figures.row_picker([[1.0]], ["<s>"], ["</s>"]), alt="One certain word.", caption="After `<s>`.")
    (page,) = (item.data for item in shown)
    assert page.count("<svg") == 1
    assert "<figcaption>After <code>&lt;s&gt;</code>.</figcaption>" in page
    spec = re.search(r'class="course-chart-spec">(.*?)</script>', page)[1]
    assert "<" not in spec, "a token such as </script> must not end the data"
    assert json.loads(spec)["vconcat"]


def test_chart_in_a_notebook_is_the_plain_chart(monkeypatch):
    monkeypatch.delenv("COURSE_BOOK", raising=False)
    shown = displayed(monkeypatch)
    picker = figures.row_picker([[1.0]], ["a"], ["b"])
    figures.chart(picker, alt="One certain word.")
    assert shown == [picker]
