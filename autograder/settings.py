"""The course's own facts - who owns it, where it is published - read from the one place that each is written in.

``_config.yml`` holds the owner, the repository and the book's address, ``_toc.yml`` the order of the chapters, and
``pyproject.toml`` the version. Only what runs on an instructor's machine imports this module: it reads YAML.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
STUB_TAG = re.compile(r"^:tags:.*\bstub\b", re.MULTILINE)


class SettingsError(ValueError):
    """One sentence on what is wrong in a configuration file."""


@dataclass(frozen=True)
class Settings:
    """The course's facts; ``stems`` are the chapters with exercises, in the order of the book.

    >>> s = Settings(Path("."), "T", "A", "org", "book", "main", "notebooks", "https://org.github.io/book/", 0.0, "",
    ...              "0.1.0", ("bigrams",))
    >>> s.page_url("bigrams", "smoothing")
    'https://org.github.io/book/chapters/bigrams.html#smoothing'
    >>> s.colab_url("bigrams")
    'https://colab.research.google.com/github/org/book/blob/notebooks/bigrams.ipynb'
    >>> s.wheel_url
    'https://org.github.io/book/wheels/next_token_prediction-0.1.0-py3-none-any.whl'
    """

    root: Path
    title: str
    author: str
    owner: str
    repo: str
    branch: str
    notebooks_branch: str
    base_url: str
    quiz_points: float
    solutions_from: str
    version: str
    stems: tuple[str, ...]

    @property
    def repo_url(self) -> str:
        """The repository's address on GitHub."""
        return f"https://github.com/{self.owner}/{self.repo}"

    @property
    def wheel_name(self) -> str:
        """The file name of the wheel that students install."""
        return f"next_token_prediction-{self.version}-py3-none-any.whl"

    @property
    def wheel_url(self) -> str:
        """Where the published book keeps that wheel."""
        return f"{self.base_url}wheels/{self.wheel_name}"

    def colab_url(self, stem: str) -> str:
        """The address that opens a chapter's notebook on Colab."""
        return f"https://colab.research.google.com/github/{self.owner}/{self.repo}/blob/{self.notebooks_branch}/{stem}.ipynb"

    def notebook_url(self, stem: str) -> str:
        """Where the published book keeps a chapter's notebook, for those who work without Colab."""
        return f"{self.base_url}notebooks/{stem}.ipynb"

    def page_url(self, stem: str, anchor: str = "") -> str:
        """The address of a chapter's published page, or of one place in it."""
        return f"{self.base_url}chapters/{stem}.html" + (f"#{anchor}" if anchor else "")


def load(root: Path | str | None = None) -> Settings:
    """The settings of the course in ``root`` (default: the checkout this file belongs to).

    Raises :class:`SettingsError`, which names the file and the entry, when one is missing or not usable.
    """
    root = Path(root) if root is not None else ROOT
    config = _yaml(root / "_config.yml")
    address = _entry(config, "repository", "url").rstrip("/")
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+)", address)
    if not match:
        raise SettingsError(f"_config.yml: repository.url must be https://github.com/OWNER/REPO, not {address!r}.")
    extra = (config.get("sphinx") or {}).get("config") or {}
    points = extra.get("course_quiz_points", 0)
    if isinstance(points, bool) or not isinstance(points, int | float) or points < 0:
        raise SettingsError(f"_config.yml: sphinx.config.course_quiz_points must be a number >= 0, not {points!r}.")
    return Settings(
        root=root,
        title=_entry(config, "title"),
        author=str(config.get("author") or ""),
        owner=match[1],
        repo=match[2].removesuffix(".git"),
        branch=_entry(config, "repository", "branch"),
        notebooks_branch=_entry(config, "sphinx", "config", "course_notebooks_branch"),
        base_url=_entry(config, "html", "baseurl").rstrip("/") + "/",
        quiz_points=float(points),
        solutions_from=str(extra.get("course_solutions_from") or ""),
        version=_version(root),
        stems=tuple(stem for stem in _chapters(root) if has_stub(root / "chapters" / f"{stem}.md")),
    )


def has_stub(path: Path) -> bool:
    """True when the chapter at ``path`` has a code cell tagged ``stub``: it then has a notebook and an assignment."""
    return path.is_file() and bool(STUB_TAG.search(path.read_text(encoding="utf-8")))


def _chapters(root: Path) -> list[str]:
    """The stems of all files ``chapters/STEM`` that ``_toc.yml`` names, in its order."""
    found: list[str] = []

    def walk(entry: Any) -> None:
        if isinstance(entry, dict):
            match = re.fullmatch(r"chapters/(\w+)(\.md)?", str(entry.get("file", "")))
            if match:
                found.append(match[1])
            for value in entry.values():
                walk(value)
        elif isinstance(entry, list):
            for value in entry:
                walk(value)

    walk(_yaml(root / "_toc.yml"))
    return found


def _version(root: Path) -> str:
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise SettingsError("pyproject.toml: project.version cannot be read.") from error


def _yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path.name} cannot be read in {path.parent}.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise SettingsError(f"{path.name} is not valid YAML{line}.") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{path.name} must hold a mapping of names to values.")
    return data


def _entry(config: dict[str, Any], *keys: str) -> str:
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"_config.yml: {'.'.join(keys)} is missing or empty.")
    return value.strip()
