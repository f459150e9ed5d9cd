"""A book of one small chapter with the real book's configuration and extensions, for the tests of the converter."""

from __future__ import annotations

import shutil
from pathlib import Path

from autograder import settings

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOTS = Path(__file__).parent / "snapshots"
BIB = """@article{shannon1948,
  author = {Shannon, Claude E.}, title = {A Mathematical Theory of Communication}, year = {1948},
  journal = {Bell System Technical Journal}}
"""
NOTATION = "# Notation\n\n```{glossary}\nn-gram\n  A run of $n$ tokens.\n```\n"
REFERENCES = "# References\n\n```{bibliography}\n:all:\n```\n"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>\n'
HEAD = (SNAPSHOTS / "constructs.md").read_text(encoding="utf-8").split("# Every construct")[0]
SOLUTIONS = HEAD + "# Answers\n\n```{code-cell} ipython3\ndef double(x: float) -> float:\n    return x + x\n```\n"


def make(root: Path, chapter: str | None = None, quiz: bool = True) -> settings.Settings:
    """Write the book into ``root`` (``chapter`` in place of the one with every construct) and return its settings."""
    chapters = root / "chapters"
    (chapters / "quizzes").mkdir(parents=True)
    (root / "solutions").mkdir()
    (chapters / "_ext").symlink_to(ROOT / "chapters" / "_ext")
    (chapters / "_static").symlink_to(ROOT / "chapters" / "_static")
    for name in ("_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    shutil.copy(SNAPSHOTS / "constructs.yml", chapters / "quizzes" / "constructs.yml")
    files = {
        "_toc.yml": "format: jb-book\nroot: index\nparts:\n  - caption: Chapters\n    chapters:\n"
        "      - file: chapters/constructs\n      - file: chapters/notation\n      - file: chapters/references\n",
        "index.md": "# Book\n",
        "references.bib": BIB,
        "requirements.txt": "",
        "chapters/notation.md": NOTATION,
        "chapters/references.md": REFERENCES,
        "chapters/picture.svg": SVG,
        "chapters/constructs.md": chapter or (SNAPSHOTS / "constructs.md").read_text(encoding="utf-8"),
        "solutions/constructs.md": SOLUTIONS,
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    return settings.load(root)
