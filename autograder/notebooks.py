"""``python -m autograder notebooks``: every chapter becomes a source notebook, a release notebook and the data its
student's machine needs; then all of it goes into the wheel.

Leaves ``autograder/course/source`` and ``release``, ``_build/notebooks/STEM.ipynb``, ``_build/data/STEM.json`` and
``_build/wheels/NAME.whl``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from autograder import checks, settings, source_notebook
from autograder.chapter import Chapter, ChapterError, assigned, read, read_solutions
from autograder.markdown_inline import ConvertError
from autograder.markdown_writer import Block, Quiz
from autograder.settings import Settings, SettingsError
from autograder.source_notebook import NotebookError


def build(facts: Settings, exercises_of=checks.load) -> list[Path]:
    """Build all notebooks of the course; returns the released ones, in the order of the book.

    Raises ChapterError, ConvertError, NotebookError, ReleaseError or SettingsError, each one sentence (or one a line).
    """
    from autograder.markdown_builder import convert
    from autograder.release import release

    chapters = {stem: read(facts.root / "chapters" / f"{stem}.md") for stem in facts.stems}
    blocks = convert(facts, facts.stems)
    course = facts.root / "autograder" / "course"
    sources = {}
    for stem, chapter in chapters.items():
        solutions = read_solutions(facts.root / "solutions" / f"{stem}.md", chapter)
        bank = _bank(facts.root / "chapters" / "quizzes" / f"{stem}.yml", blocks[stem])
        sources[stem] = source_notebook.build(facts, chapter, blocks[stem], solutions, exercises_of(stem), bank)
        _write(course / "source" / stem / f"{stem}.ipynb", sources[stem])
        _write_json(facts.root / "_build" / "data" / f"{stem}.json", data(facts, chapter, sources[stem], bank))
    made = []
    for path in release(course, facts.stems):
        made.append(facts.root / "_build" / "notebooks" / path.name)
        made[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, made[-1])
    return made


def data(facts: Settings, chapter: Chapter, source: NotebookNode, bank: dict | None) -> dict:
    """What ``check`` and ``check_quiz`` want to know of a chapter on a student's machine; plain JSON."""


    def names(*kinds: str) -> list[str]:
        """What the cells of these kinds define."""
        return sorted({name for kind in kinds for cell in chapter.of(kind) for name in assigned(cell.source)})

    return {
        "stem": chapter.stem,
        "version": source.metadata.course["version"],
        "release": source.metadata.course["release"],
        "prelude_names": names("prelude"),
        "demo_names": names("demo", "yours"),
        "stubs": list(chapter.stubs),
        "page_url": facts.page_url(chapter.stem),
        "quiz": bank,
    }


def main(argv: list[str]) -> int:
    """The command: 0 when everything was built, 1 with one sentence for each thing that is wrong in a chapter."""
    from autograder import wheel

    parser = argparse.ArgumentParser(prog="python -m autograder notebooks", description=__doc__.split("\n\n")[0])
    parser.parse_args(argv)
    try:
        facts = settings.load()
        made = build(facts)
        path = wheel.build(facts)
    except (ChapterError, ConvertError, NotebookError, SettingsError, wheel.WheelError) as error:
        print(error, file=sys.stderr)
        return 1
    for notebook in made:
        print(notebook.relative_to(facts.root))
    print(path.relative_to(facts.root))
    return 0


def _bank(path: Path, blocks: list[Block]) -> dict | None:
    """The question bank that a chapter shows, in plain Markdown, or None where it shows none.

    The book's quiz directive has checked its shape when it made the blocks.
    """
    shown = [block for block in blocks if isinstance(block, Quiz)]
    if not shown:
        return None
    return source_notebook.plain_bank(yaml.safe_load(path.read_text(encoding="utf-8")), shown[0])


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def _write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
