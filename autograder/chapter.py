"""Reads the code of a chapter and of its solutions, and holds one to the other.

A chapter's code cells are sorted by their tags: ``prelude``, ``stub``, ``check``, ``yours``, and demonstrations, which
have none of these. Every mistake is reported as ``FILE:LINE: what to do``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jupytext

KINDS = ("prelude", "stub", "check", "yours")
FENCE = re.compile(r"^(`{3,}|~{3,})\s*(\{code-cell\})?")


class ChapterError(ValueError):
    """``FILE:LINE: one sentence`` on what is wrong in a chapter or its solutions."""


@dataclass(frozen=True)
class CodeCell:
    """One code cell: its ``kind``, the ``name`` it defines or checks (else ""), and the line its fence opens on."""

    source: str
    tags: tuple[str, ...]
    line: int
    kind: str
    name: str


@dataclass(frozen=True)
class Chapter:
    """The code of one chapter, in order."""

    stem: str
    path: Path
    cells: tuple[CodeCell, ...]

    def of(self, kind: str) -> list[CodeCell]:
        """The cells of one kind, in order."""
        return [cell for cell in self.cells if cell.kind == kind]

    @property
    def stubs(self) -> dict[str, CodeCell]:
        """The stub of every exercise, by name, in order."""
        return {cell.name: cell for cell in self.of("stub")}


@dataclass(frozen=True)
class Solution:
    """The cell that answers one stub; ``line`` is where its fence opens in ``solutions/STEM.md``."""

    name: str
    source: str
    line: int


def read(path: Path) -> Chapter:
    """The chapter in ``path``. Raises :class:`ChapterError` when its cells do not keep the contract:
    one definition in a stub, ``check(NAME)`` alone in a check, one check for every stub and behind it.
    """
    cells = tuple(_sort(path, *cell) for cell in _code_cells(path))
    chapter = Chapter(path.stem, path, cells)
    seen: dict[str, CodeCell] = {}
    checked: set[str] = set()
    for cell in cells:
        if cell.kind == "stub":
            if cell.name in seen:
                raise _error(path, cell.line, f"there is a second stub for {cell.name}; keep one.")
            seen[cell.name] = cell
        elif cell.kind == "check":
            if cell.name not in seen:
                advice = f"add a cell tagged 'stub' that defines {cell.name}"
                raise _error(path, cell.line, f"check({cell.name}) has no stub before it; {advice}.")
            if cell.name in checked:
                raise _error(path, cell.line, f"{cell.name} is checked twice; keep one cell tagged 'check'.")
            checked.add(cell.name)
    for name, cell in seen.items():
        if name not in checked:
            advice = f"add a cell tagged 'check' with check({name})"
            raise _error(path, cell.line, f"the stub of {name} has no check; {advice}.")
    return chapter


def read_solutions(path: Path, chapter: Chapter) -> dict[str, Solution]:
    """The answers to ``chapter``'s stubs, by name, from ``solutions/STEM.md``.

    Raises :class:`ChapterError` when one is missing, is there twice, or has other ``def`` lines than its stub.
    """
    found: dict[str, Solution] = {}
    for source, _, line in _code_cells(path):
        for name in definitions(source):
            if name in chapter.stubs:
                if name in found:
                    raise _error(path, line, f"{name} is defined twice; a chapter has one worked answer for each stub.")
                found[name] = Solution(name, source, line)
    for name, stub in chapter.stubs.items():
        if name not in found:
            where = f"{chapter.path.name}:{stub.line}"
            raise _error(path, 1, f"there is no answer for {name} ({where}); add a code cell that defines it.")
        wanted, got = signatures(stub.source, name), signatures(found[name].source, name)
        for part, signature in wanted.items():
            if got.get(part) != signature:
                has = f"'{got[part]}'" if part in got else "no such definition"
                raise _error(path, found[name].line, f"the stub has '{signature}', but the answer has {has}.")
    return found


def definitions(source: str) -> list[str]:
    """The functions and classes that ``source`` defines at its top level.

    >>> definitions("import math\\n\\ndef f(x):\\n    return math.sqrt(x)\\n")
    ['f']
    """
    return [node.name for node in _parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def assigned(source: str) -> list[str]:
    """Every name that the top level of ``source`` binds, imports and loop variables among them, sorted.

    >>> assigned("import torch\\nfrom math import log as ln\\nfor i in range(3):\\n    a, (b, *c) = f(i)")
    ['a', 'b', 'c', 'i', 'ln', 'torch']
    """
    names: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for child in ast.iter_child_nodes(node):
                walk(child)

    walk(_parse(source))
    return sorted(names - {"*"})


def signatures(source: str, name: str) -> dict[str, str]:
    """The ``def`` line of ``name``, or of every public method when it is a class.

    >>> signatures("def f(x, *, k=1) -> int: return x", "f")
    {'f': 'def f(x, *, k=1) -> int'}
    """
    lines: dict[str, str] = {}
    for node in _parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines[name] = _def_line(node)
        elif isinstance(node, ast.ClassDef) and node.name == name:
            lines[name] = f"class {name}"
            for method in node.body:
                public = isinstance(method, ast.FunctionDef) and not re.match(r"_(?!_init__$)", method.name)
                if public:
                    lines[f"{name}.{method.name}"] = _def_line(method)
    return lines


def _def_line(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"


def _parse(source: str) -> ast.Module:
    """The syntax tree of a cell; lines that are magics count as blank."""
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()))


def _sort(path: Path, source: str, tags: tuple[str, ...], line: int) -> CodeCell:
    kinds = [tag for tag in tags if tag in KINDS]
    if len(kinds) > 1:
        raise _error(path, line, f"a cell is tagged {' and '.join(kinds)}; keep one of these.")
    kind = kinds[0] if kinds else "demo"
    try:
        names = definitions(source)
    except SyntaxError as error:
        raise _error(path, line + (error.lineno or 0), f"this code cell is not valid Python: {error.msg}.") from None
    name = ""
    outside = re.search(r"^\s*(?:import|from)\s+(autograder|reference_impl)\b", source, re.MULTILINE)
    if kind == "prelude" and outside:
        advice = "import it in a cell of its own, without a tag"
        raise _error(path, line, f"a prelude runs at grading, where {outside[1]} does not exist; {advice}.")
    if kind == "stub":
        if len(names) != 1:
            raise _error(path, line, f"a cell tagged 'stub' must define one function or class, not {len(names)}.")
        name = names[0]
    elif kind == "check":
        match = re.fullmatch(r"check\((\w+)\)", source.strip())
        if not match:
            raise _error(path, line, "a cell tagged 'check' must hold check(NAME) and nothing else.")
        name = match[1]
    return CodeCell(source, tags, line, kind, name)


def _code_cells(path: Path) -> Iterable[tuple[str, tuple[str, ...], int]]:
    """(source, tags, line) of every code cell."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ChapterError(f"{path.parent.name}/{path.name} cannot be read; every chapter needs it.") from error
    cells = [cell for cell in jupytext.reads(text, fmt="md:myst").cells if cell.cell_type == "code"]
    lines = _fence_lines(text)
    if len(lines) != len(cells):
        counts = f"there are {len(lines)} code-cell fences but {len(cells)} code cells"
        raise _error(path, 1, f"{counts}; a fence is not closed or stands inside a directive.")
    for cell, line in zip(cells, lines):
        yield cell.source, tuple(cell.metadata.get("tags", ())), line


def _fence_lines(text: str) -> list[int]:
    """The lines on which code cells open, counted from 1; a fence shown inside another fence is not one."""
    lines, open_fence = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if not match:
            continue
        if not open_fence:
            open_fence = match[1]
            if match[2]:
                lines.append(number)
        elif match[1].startswith(open_fence) and line.strip() == match[1]:
            open_fence = ""
    return lines


def _error(path: Path, line: int, text: str) -> ChapterError:
    return ChapterError(f"{path.parent.name}/{path.name}:{line}: {text}")
