"""How chapters run and what every page says about itself.

Chapters import ``reference_impl`` and ``autograder`` from this checkout; what they show is kept in an execution cache
that is thrown away whenever that code or the lock file changes, since the cache itself looks at the cells only.
"""

from __future__ import annotations

import datetime
import hashlib
import html
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # the extensions after this one import autograder.settings
    sys.path.insert(0, str(ROOT))
WATCHED = ("requirements.txt", "reference_impl/**/*.py", "autograder/**/*.py", "benchmarks/results/*.json")


def cache_key(root: Path = ROOT) -> str:
    """The part of the execution cache's path that changes with the lock file and the course package (hex)."""
    digest = hashlib.sha256()
    for pattern in WATCHED:
        for path in sorted(root.glob(pattern)):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def prepare(app: Sphinx, config: Config) -> None:
    """Point execution at this checkout and at the cache that belongs to it; drop older caches."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ["COURSE_BOOK"] = "1"  # reference_impl.figures writes for the book, not for a notebook
    caches = Path(app.outdir).parent / ".jupyter_cache"
    cache = caches / cache_key()
    for old in caches.glob("*"):
        if old != cache and old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    config.nb_execution_cache_path = str(cache)


def describe(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Give the page a description for search engines: its front matter's, else the beginning of its first paragraph."""
    words = app.env.metadata.get(pagename, {}).get("description", "")
    if not words and doctree is not None:
        paragraph = next(iter(doctree.findall(nodes.paragraph)), None)
        words = textwrap.shorten(paragraph.astext(), 158, placeholder=" …") if paragraph is not None else ""
    words = words or f"{context.get('title') or 'A page'} of the course {app.config.html_title}."
    context["metatags"] = f'{context.get("metatags", "")}<meta name="description" content="{html.escape(words)}" />\n'


def withhold(app: Sphinx, docname: str, source: list[str]) -> None:
    """Until ``course_solutions_from`` (YYYY-MM-DD), a solution page keeps its headings and says when the rest comes."""
    date = str(app.config.course_solutions_from or "")
    if not date or not docname.startswith("solutions/"):
        return
    try:
        opens = datetime.date.fromisoformat(date)
    except ValueError:
        raise ConfigError(f"_config.yml: course_solutions_from must be a date like 2027-01-31, not '{date}'.") from None
    if datetime.date.today() < opens:
        source[0] = headings(source[0]).replace("\n\n", f"\n\nThe worked solutions appear here on {opens}.\n\n", 1)


def headings(text: str) -> str:
    """The headings of a MyST page and the targets before them, so that links to them hold.

    >>> headings("(a)=\\n# A\\nwords\\n```python\\n# no heading\\n```\\n## B")
    '(a)=\\n# A\\n\\n## B\\n\\n'
    """
    kept, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r"`{3,}|:{3,}|~{3,}", line)
        if mark and (not fence or line.startswith(fence)):
            fence = "" if fence else mark[0]
        elif not fence and re.match(r"#+ |\([\w-]+\)=$", line):
            kept.append(line + ("\n" if line.startswith("#") else ""))
    return "\n".join([*kept, ""])


def setup(app: Sphinx) -> dict:
    """Declare the course's settings and hook in."""
    app.add_config_value("course_notebooks_branch", "notebooks", "html")
    app.add_config_value("course_quiz_points", 0, "env")
    app.add_config_value("course_solutions_from", "", "env")
    app.add_config_value("comments_config", {}, "html")  # Jupyter Book sets it for an extension that we leave out
    app.connect("config-inited", prepare, priority=100)
    app.connect("source-read", withhold)
    app.connect("html-page-context", describe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
