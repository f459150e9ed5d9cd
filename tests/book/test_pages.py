"""Every page: nothing from outside, readable in both lights, on a phone, by ear, and with formulas from disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from autograder import settings

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
COURSE = settings.load(ROOT)
pytestmark = pytest.mark.xdist_group("book")


@pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])
def test_needs_nothing_from_outside_and_typesets_its_formulas(name, tab, served):
    for base in (None, served):
        page = tab(base)
        here = page.open(name)
        page.wake()
        assert here.locator("mjx-container").count() >= here.locator(".math").count()
        assert here.locator("mjx-merror").count() == 0
        assert page.outside == [], "asked for something that is not in the book"
        assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_accessible_to_axe(name, scheme, tab):
    from axe_playwright_python.sync_playwright import Axe

    page = tab(color_scheme=scheme)
    page.open(name)
    page.wake()
    page.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    # By night only the colours are others.
    only = {"runOnly": ["color-contrast", "link-in-text-block"]} if scheme == "dark" else None
    found = Axe().run(page.page, options=only)
    assert found.violations_count == 0, found.generate_report()


def test_a_chapter_has_formulas(tab):
    assert tab().open("chapters/bigrams").locator("mjx-container").count() > 20


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_says_what_it_shows(name, html):
    text = (html / f"{name}.html").read_text(encoding="utf-8")
    body = text[text.index("<article") : text.index("</article")]
    for picture in re.findall(r"<img\b[^>]*>", body):
        assert re.search(r'\balt="[^"]+"', picture), picture
    for head in re.findall(r"<svg\b[^>]*>", body):
        label = re.search(r'aria-label="([^"]*)"', head)
        assert 'aria-hidden="true"' in head or (label and len(label[1]) >= 30), head


@pytest.mark.parametrize("name", PAGES)
def test_no_sideways_scrolling_on_a_phone(name, tab):
    one = tab(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = one.open(name)
    one.wake()
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= shown
    out = page.evaluate(
        """() => [...document.querySelectorAll('article p, article h1, article h2, article fieldset, article button')]
             .filter(e => !e.closest('table, pre, .math') && e.getBoundingClientRect().right > innerWidth + 1)
             .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert out == []


def test_every_page_says_what_it_is(html):
    described = set()
    for name in PAGES:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        assert re.search(r'<html[^>]* lang="en"', text)
        assert re.search(r"<title>[^<]{5,}</title>", text)
        description = re.findall(r'<meta name="description" content="([^"]{20,})"', text)
        assert len(description) == 1, name
        described.add(description[0])
    assert len(described) == len(PAGES)


@pytest.mark.parametrize("stem", COURSE.stems)
def test_chapter_links_its_notebook(stem, html):
    text = (html / "chapters" / f"{stem}.html").read_text(encoding="utf-8")
    to_colab = set(re.findall(r'href="(https://colab[^"]*)"', text))
    assert to_colab == {COURSE.colab_url(stem)}, "the button and the line under the title open one notebook"
    assert to_colab.pop().endswith(f"/blob/{COURSE.notebooks_branch}/{stem}.ipynb")
    assert f'href="../notebooks/{stem}.ipynb" download' in text
    assert (html / "notebooks" / f"{stem}.ipynb").is_file()
    assert "thebe" not in text.lower()


def test_links_inside_the_book_lead_somewhere(html):
    for file in set(html.rglob("*.html")) - set((html / "_static").rglob("*")):
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', file.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:|//", target):
                place = (file.parent / target).resolve()
                assert place.exists(), f"{file.relative_to(html)} -> {target}"


def test_pages_are_light(html):
    for name in PAGES:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        scripts = set(re.findall(r'<script[^>]* src="([^"?]+)', text))
        folder = (html / f"{name}.html").parent
        size = sum((folder / script).stat().st_size for script in scripts if "mathjax" not in script)
        assert size < 420_000, f"{name}: {size} bytes of scripts before formulas and charts"
        assert "vega" not in "".join(scripts), "charts fetch Vega when they come into view"
