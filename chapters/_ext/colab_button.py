"""A chapter's links to its notebook: the theme's Colab button, and a line under the title.

The theme's own button points at ``chapters/STEM.md`` on the main branch, which Colab cannot open; the notebooks live on
a branch of their own. The theme adds its buttons at priority 501, so this hook comes after it.
"""

from __future__ import annotations

import functools
import html
from pathlib import PurePosixPath

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from autograder import settings

KEPT = ("source-buttons", "source-repository-button", "source-issues-button")  # what stays of the theme's buttons


def stem_of(pagename: str, known: tuple[str, ...]) -> str | None:
    """The chapter's stem when ``pagename`` is a chapter with a notebook."""
    path = PurePosixPath(pagename)
    return path.name if path.parent.name == "chapters" and path.name in known else None


def links(stem: str, facts: settings.Settings, pathto: object) -> dict[str, str]:
    """Where the chapter's notebook is: on Colab, and beside the book."""
    return {"colab": facts.colab_url(stem), "download": pathto(f"notebooks/{stem}.ipynb", 1)}


def page_context(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Replace the theme's launch and download groups, and add the line under the title."""
    buttons = [b for b in context.get("header_buttons", []) if b.get("label") in KEPT]
    facts = course(app.srcdir)
    stem = stem_of(pagename, facts.stems) if doctree is not None else None
    if stem:
        found = links(stem, facts, context["pathto"])
        launch = {"type": "link", "label": "colab-button", "url": found["colab"], "text": "Open in Colab"}
        launch |= {"icon": "_static/images/logo_colab.png", "tooltip": "Open this chapter's notebook in Colab"}
        buttons.insert(0, launch)
        context["body"] = context["body"].replace("</h1>", "</h1>\n" + line(found, stem), 1)
    context["header_buttons"] = buttons


def line(found: dict[str, str], stem: str) -> str:
    """The line under a chapter's title."""
    colab, download = (html.escape(found[key]) for key in ("colab", "download"))
    return (
        f'<p class="notebook-links">Do it yourself: <a class="notebook-colab" href="{colab}">open the notebook in Colab'
        f'</a> or <a class="notebook-download" href="{download}" download="{stem}.ipynb">download it</a>.</p>'
    )


@functools.cache
def course(root: str) -> settings.Settings:
    """Owner, branch and chapters, read once a build."""
    return settings.load(root)


def name_links(app: Sphinx, config: Config) -> None:
    """Make ``{{ colab_STEM }}`` and ``{{ repository }}`` known to pages, so that none holds an address of its own."""
    facts = course(app.srcdir)
    named = {f"colab_{stem}": f"[Open it in Colab]({facts.colab_url(stem)})" for stem in facts.stems}
    config.myst_substitutions = {**config.myst_substitutions, **named, "repository": f"[repository]({facts.repo_url})"}


def setup(app: Sphinx) -> dict:
    """Hook in after the theme has made its buttons."""
    app.connect("config-inited", name_links)
    app.connect("html-page-context", page_context, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
