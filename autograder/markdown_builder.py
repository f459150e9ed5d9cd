"""A Sphinx builder that turns the book's chapters into plain Markdown and code cells.

It runs Sphinx with the book's own configuration and walks the *resolved* doctree, so citations, cross-references and
equation numbers are what the page shows; references to other pages lead into the published book.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote as url_quote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder

from autograder import settings as course
from autograder.markdown_course import CourseWriter
from autograder.markdown_inline import ConvertError, Links
from autograder.markdown_writer import LEFTOVER, Block, Markdown

NAME = "course-notebook"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookBuilder(Builder):
    """Keeps each wanted document's blocks in ``results``, by document name."""

    name = NAME
    format = "markdown"
    allow_parallel = False
    supported_image_types = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
    default_translator_class = nodes.NodeVisitor

    def init(self) -> None:
        self.results: dict[str, list[Block]] = {}
        self.errors: list[str] = []

    @property
    def settings(self) -> course.Settings:
        return self.config.course_notebook_settings

    def get_outdated_docs(self) -> list[str]:
        return list(self.config.course_notebook_docs)

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        return f"{self.settings.base_url}{docname}.html"

    def get_relative_uri(self, from_: str, to: str, typ: str | None = None) -> str:
        return "" if from_ == to else self.get_target_uri(to)

    def prepare_writing(self, docnames: set[str]) -> None:
        pass

    def write_doc(self, docname: str, doctree: nodes.document) -> None:
        if docname not in self.config.course_notebook_docs:
            return
        self.post_process_images(doctree)
        for node in doctree.findall(nodes.image):
            if node["uri"] in self.images:
                node["uri"] = f"{self.settings.base_url}_images/{url_quote(self.images[node['uri']])}"
        source = Path(self.env.doc2path(docname))
        file = source.relative_to(self.srcdir).as_posix()
        links = Links(file, self.get_target_uri(docname), *anchors(doctree))
        try:
            self.results[docname] = checked(CourseWriter(links).write(doctree), file)
        except ConvertError as error:
            self.errors.append(str(error))


def anchors(doctree: nodes.document) -> tuple[dict[str, str], set[str]]:
    """(ids of headings -> the anchor Jupyter gives them, the anchors something refers to).

    Jupyter's anchor is a heading's text with hyphens for blanks; a heading with mathematics in it has none here.
    """
    headings = {}
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title)
        if title is not None and not title.next_node(nodes.math):
            headings |= {i: url_quote(title.astext().replace(" ", "-"), safe="-?!,.:;'") for i in section["ids"]}
    shown = [ref for ref in doctree.findall(nodes.reference) if ref.parent.__class__.__name__ != "quiz_section"]
    wanted = {ref.get("refid") or ref.get("refuri", "").removeprefix("#") for ref in shown}
    return headings, {anchor for i, anchor in headings.items() if i in wanted}


def checked(blocks: list[Block], file: str) -> list[Block]:
    """``blocks``, after a last look that no directive or role is left in any Markdown."""
    for block in blocks:
        match = LEFTOVER.search(without_code(block.text)) if isinstance(block, Markdown) else None
        if match:
            raise ConvertError(f"{file}:1: '{match[0].strip()}' is still MyST in a notebook; is it misspelt?")
    return blocks


def without_code(text: str) -> str:
    """``text`` without fenced code and code spans, where MyST may be quoted.

    >>> without_code("a ``{ref}`x` `` b")
    'a  b'
    """
    text = re.sub(r"^( *[>-]? *)(`{3,})(?!\{).*?^\1\2`*$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<![`\\}])(`{1,2})(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


def convert(settings: course.Settings, stems: Iterable[str]) -> dict[str, list[Block]]:
    """The blocks of every chapter in ``stems``, by stem.

    Raises :class:`ConvertError`, with one ``FILE:LINE: sentence`` a line, when a chapter has a construct without a rule
    or when Sphinx warns about any page.
    """
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    docs = [f"chapters/{stem}" for stem in stems]
    warnings = io.StringIO()
    with tempfile.TemporaryDirectory() as scratch, _clean_imports(), patch_docutils(), docutils_namespace():
        app = Sphinx(
            srcdir=settings.root,
            confdir=None,
            outdir=Path(scratch) / "out",
            doctreedir=Path(scratch) / "doctrees",
            buildername=NAME,
            confoverrides=_configuration(settings, docs),
            status=None,
            warning=warnings,
            freshenv=True,
            keep_going=True,
        )
        app.builder.build_specific([str(settings.root / f"{doc}.md") for doc in docs])
        builder = app.builder
    said = [ANSI.sub("", line).replace(f"{settings.root}/", "") for line in warnings.getvalue().splitlines()]
    # What Sphinx says about the configuration alone is the book build's to judge.
    problems = builder.errors + [line for line in said if line.strip() and "unknown config value" not in line]
    if problems:
        raise ConvertError("\n".join(problems))
    return {doc.removeprefix("chapters/"): builder.results[doc] for doc in docs}


def _configuration(settings: course.Settings, docs: list[str]) -> dict:
    """The book's own configuration, with execution off and this builder known."""
    from jupyter_book.config import get_final_config

    off = {"nb_execution_mode": "off", "latex_individualpages": False}
    config, _ = get_final_config(user_yaml=settings.root / "_config.yml", cli_config=off, sourcedir=settings.root)
    config["extensions"] = [*config["extensions"], "autograder.markdown_builder"]
    config["course_notebook_settings"] = settings
    config["course_notebook_docs"] = docs
    return config


@contextmanager
def _clean_imports() -> Iterator[None]:
    """The book's extensions come from its ``local_extensions`` folder: leave ``sys.path`` as it was found."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def setup(app: Sphinx) -> dict:
    """Make the builder known to Sphinx."""
    app.add_builder(NotebookBuilder)
    app.add_config_value("course_notebook_settings", None, "", [course.Settings])
    app.add_config_value("course_notebook_docs", [], "", [list])
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
