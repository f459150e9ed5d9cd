"""The theme's icons as a few lines of CSS, in place of the 1.4 MB script that draws them.

When the pages are written, each icon they use is looked up in the theme's own copy of Font Awesome Free (icons CC BY
4.0) and written as a mask; the script itself is emptied.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SIZES = {"lg", "sm", "xs", "2x"}
ALWAYS = {"xmark"}  # the theme's script draws it
RULES = """/* Icons: Font Awesome Free, https://fontawesome.com, CC BY 4.0. */
:is(.fa-solid, .fa-brands, .fas, .fab) { display: inline-block; width: 1.1em; height: 1em; vertical-align: -0.125em;
  background: currentColor; mask: var(--icon) center / contain no-repeat; }
.fa-lg { font-size: 1.25em; vertical-align: -0.075em; }
"""


def shape(name: str, script: str) -> str | None:
    """One icon as an SVG in a data URL, from the text of the theme's script (brands, regular, then solid)."""
    found = re.findall(rf'[{{,"]{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[^"]*","([^"]+)"\]', script)
    if not found:
        return None
    width, height, path = found[-1]
    opened = f"%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'%3E"
    return f"data:image/svg+xml,{opened}%3Cpath d='{path}'/%3E%3C/svg%3E"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write ``icons.css`` with what the pages use and empty the script."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    script = static / "scripts" / "fontawesome.js"
    source = script.read_text(encoding="utf-8")
    if len(source) < 1000:  # emptied by the build before; --serve builds again over it
        return
    used = set(ALWAYS)
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        used |= {name for match in re.findall(r'class="([^"]*\bfa[^"]*)"', text) for name in names(match)}
    rules = [RULES]
    for name in sorted(used):
        url = shape(name, source)
        if url is None:
            raise ExtensionError(f"icons: the theme has no icon named '{name}'.")
        rules.append(f'.fa-{name} {{ --icon: url("{url}"); }}\n')
    (static / "icons.css").write_text("".join(rules), encoding="utf-8")
    script.write_text("// The icons are in icons.css.\n", encoding="utf-8")
    script.with_suffix(".js.map").unlink(missing_ok=True)


def names(classes: str) -> set[str]:
    """The icons that a class attribute asks for.

    >>> names("theme-switch fa-solid fa-moon fa-lg")
    {'moon'}
    """
    words = classes.split()
    if not {"fas", "fab", "fa-solid", "fa-brands"} & set(words):
        return set()
    return {word[3:] for word in words if word.startswith("fa-")} - SIZES - {"solid", "brands"}


def setup(app: Sphinx) -> dict:
    """Link the style sheet and write it when the pages are there."""
    app.add_css_file("icons.css")
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
