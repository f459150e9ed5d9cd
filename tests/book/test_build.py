"""What must stop a build does: small books, each with one fault, built as the real one is."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import course
import pytest
import yaml
from sphinx.errors import ConfigError

from autograder import book

ROOT = Path(__file__).resolve().parents[2]
JUPYTEXT = "jupytext: {text_representation: {extension: .md, format_name: myst}}"
KERNEL = "kernelspec: {display_name: Python 3, language: python, name: python3}"
HEAD = f"---\n{JUPYTEXT}\n{KERNEL}\n---\n\n# A page\n\nSome words.\n\n"
CELL = "```{{code-cell}} ipython3\n{}\n```\n"
pytestmark = pytest.mark.xdist_group("small-books")


@pytest.fixture
def small(tmp_path):
    """Builds a book of one page with the real settings and extensions."""
    shutil.copytree(ROOT / "chapters/_ext", tmp_path / "chapters/_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "chapters/_static", tmp_path / "chapters/_static")
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "references.bib").touch()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n", encoding="utf-8")
    (tmp_path / "_config.yml").write_text((ROOT / "_config.yml").read_text(encoding="utf-8"), encoding="utf-8")

    def build(page: str) -> Path:
        (tmp_path / "index.md").write_text(HEAD + page, encoding="utf-8")
        return book.build(tmp_path)

    return build


def test_a_failing_cell_fails_the_build_again_and_again(small):
    for _ in range(2):
        with pytest.raises(book.BookError) as caught:
            small(CELL.format("1 / 0"))
        assert "ZeroDivisionError" in str(caught.value)
        assert "index.md" in str(caught.value)


def test_a_warning_on_stderr_fails_the_build(small):
    with pytest.raises(book.BookError, match=r"index\.md"):
        small(CELL.format("import warnings; warnings.warn('old')"))


FAULTS = {  # what a page holds -> what its author reads
    "See {ref}`nowhere`.": "nowhere",
    "See {term}`unheard-of`.": "unheard-of",
    "```{quiz} absent\n```": "absent.yml: there is no such question bank",
    "```{exercise-start} Count\n```": "exercise-start needs a :label:",
    "```{exercise-end}\n```": "exercise-end without an exercise-start",
    "```{exercise-start} C\n:label: ex-c\n```\nDo.": "exercise 'C': this exercise has no exercise-end",
}


def test_every_warning_fails_the_build_and_is_named(small):
    with pytest.raises(book.BookError) as caught:
        small("\n\n".join(FAULTS))
    lines = str(caught.value).splitlines()
    for sentence in FAULTS.values():
        assert any(sentence in line and line.startswith("index.md:") for line in lines), sentence
    assert "Traceback" not in str(caught.value)


def test_a_sound_page_builds_with_its_figure_and_charts(small):
    cells = (
        "from reference_impl import figures\n"
        "figures.show(figures.bars([0.5, 0.5], ['hub', 'depot']), alt='Two bars of one half each, hub and depot.')",
        "figures.chart(figures.row_picker([[0.5, 0.5]], ['left'], ['hub', 'depot']), alt='A row of two equal words.')",
    )
    html = small("".join(CELL.format(cell) for cell in cells))
    page = (html / "index.html").read_text(encoding="utf-8")
    assert page.count('<svg xmlns="http://www.w3.org/2000/svg"') == 2
    assert 'class="course-chart-spec"' in page
    assert (html / "_static/vega/vega.js").stat().st_size > 500_000
    assert (html / "_static/icons.css").read_text(encoding="utf-8").count("--icon:") > 5
    assert (html / "_static/scripts/fontawesome.js").stat().st_size < 100
    for path in ("es5/tex-mml-chtml.js", "es5/output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff"):
        assert (html / "_static/mathjax" / path).is_file()


@pytest.mark.parametrize(("date", "shown"), [("", True), ("2000-01-01", True), ("2999-12-31", False)])
def test_solutions_can_wait_for_a_date(date, shown):
    page = ["# Solutions\n\nHow to.\n\n(one)=\n## One\n\n```python\n# the answer\n```\n"]
    app = SimpleNamespace(config=SimpleNamespace(course_solutions_from=date))
    course.withhold(app, "chapters/x", chapter := list(page))
    assert chapter == page
    course.withhold(app, "solutions/x", page)
    assert ("the answer" in page[0]) == shown
    assert ("appear here on 2999-12-31" in page[0]) != shown
    assert "(one)=\n## One" in page[0]


def test_a_date_that_is_none_is_named():
    app = SimpleNamespace(config=SimpleNamespace(course_solutions_from="soon"))
    with pytest.raises(ConfigError, match="course_solutions_from must be a date"):
        course.withhold(app, "solutions/x", ["# S\n"])


def test_cache_key_moves_with_the_lock_and_the_course(tmp_path):
    (tmp_path / "reference_impl").mkdir()
    lock, module = tmp_path / "requirements.txt", tmp_path / "reference_impl" / "x.py"
    keys = set()
    for file, text in [(lock, "a==1"), (lock, "a==2"), (module, "x = 1"), (module, "x = 2")]:
        file.write_text(text, encoding="utf-8")
        keys.add(course.cache_key(tmp_path))
    assert len(keys) == 4
    (tmp_path / "chapter.md").touch()
    assert course.cache_key(tmp_path) in keys


def test_thebe_and_other_outsiders_are_not_loaded():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    loaded = set(config["sphinx"]["config"]["extensions"])
    assert not {"sphinx_thebe", "sphinx_comments", "sphinx.ext.intersphinx"} & loaded
    assert set(config["sphinx"]["local_extensions"]) <= loaded


def test_commands_say_what_is_wrong(tmp_path, capsys):
    assert book.main(["--root", str(tmp_path)]) == 2
    assert "there is no _config.yml" in capsys.readouterr().err


def test_publishing_puts_notebooks_and_wheel_beside_the_pages(tmp_path):
    for name in ("notebooks/x.ipynb", "wheels/x.whl", "html/index.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    book.publish(tmp_path)
    assert (tmp_path / "html/notebooks/x.ipynb").exists()
    assert (tmp_path / "html/wheels/x.whl").exists()


def test_newest_sees_a_changed_page(tmp_path):
    page = tmp_path / "index.md"
    page.touch()
    os.utime(page, (1, 1))
    assert book.newest(tmp_path) == 1
    page.write_text("new", encoding="utf-8")
    assert book.newest(tmp_path) > time.time() - 60
