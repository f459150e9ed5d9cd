"""The canonical rebuild: the notebook that was released, with nothing of a submission in it but the student's code.

Taken are the sources of the stub cells, of the quiz's answers and of code cells the student added. Metadata, tags,
outputs, attachments, Markdown and every other cell of the submission do not matter. Nothing is run or rendered here,
and whatever the bytes hold, the answer is a :class:`Rebuilt`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import nbformat
from nbformat import NotebookNode

from autograder.submission import Found, Submission, Unreadable, mapping, read

MAX_CODE = 1_000_000  # characters of all cells that run
MAX_REMARKS = 30
GONE = "# This cell was not in the notebook that was handed in.\n"


@dataclass(frozen=True)
class Cell:
    """A cell that runs: ``kind`` is prelude, stub, added or quiz-answers; ``name`` is an exercise's, or words."""

    kind: str
    name: str
    source: str


@dataclass(frozen=True)
class Rebuilt:
    """A submission as it is graded: ``cells`` run in this order; ``broken`` is a sentence if nothing could be read."""

    notebook: NotebookNode
    cells: tuple[Cell, ...]
    remarks: tuple[str, ...] = ()
    broken: str = ""


def rebuild(released: NotebookNode, submitted: bytes | str) -> Rebuilt:
    """What a submission made from ``released`` amounts to; never raises.

    A rebuilt notebook, rebuilt again, gives the same cells.

    >>> released = nbformat.v4.new_notebook(metadata={"course": {"stem": "toys"}})
    >>> rebuild(released, "[]").broken
    'The file is JSON, but no notebook: it has no list of cells.'
    """
    try:
        remarks: list[str] = []
        return _Rebuild(released, read(submitted, remarks), remarks).result()
    except Unreadable as error:
        broken = str(error)
    except Exception as error:  # hostile in a way nobody thought of: the class goes on
        broken = f"The file could not be read as a notebook ({type(error).__name__})."
    return Rebuilt(_Rebuild(released, Submission("", "", []), []).notebook(), (), (broken,), broken)


def choose(releases: Sequence[NotebookNode], submitted: bytes | str) -> int:
    """The index of the release that a submission was made from: by its hash, else the newest with the most ids.

    ``releases`` are in order, the newest last. A file that cannot be read belongs to the newest.

    >>> choose([nbformat.v4.new_notebook(), nbformat.v4.new_notebook()], b"{")
    1
    """
    try:
        submission = read(submitted, [])
    except Unreadable:
        return len(releases) - 1
    ids = {found for cell in submission.cells for found in cell.ids}
    for index in reversed(range(len(releases))):
        if submission.release and _course(releases[index]).get("release") == submission.release:
            return index
    shared = [sum(cell.get("id") in ids for cell in released.cells) for released in releases]
    return max(range(len(releases)), key=lambda index: (shared[index], index))


def _course(node: NotebookNode) -> dict:
    return mapping(node.get("metadata"), "course")


@dataclass
class _Rebuild:
    """One submission held against one release."""

    released: NotebookNode
    submission: Submission
    remarks: list[str]
    slots: dict[int, str] = field(default_factory=dict)  # released cell -> the student's source
    untouched: set[int] = field(default_factory=set)  # stubs that are there as they were released
    added: list[tuple[int, str, str]] = field(default_factory=list)  # the released cell before it, name, source

    def __post_init__(self) -> None:
        cells = self.released.cells
        self.kinds = [_course(cell).get("kind", "") if cell.cell_type == "code" else "text" for cell in cells]
        self.names = [_course(cell).get("name", "") for cell in cells]
        self.stubs = {name: i for i, (kind, name) in enumerate(zip(self.kinds, self.names)) if kind == "stub"}
        self.by_grade = {mapping(cell.metadata, "nbgrader").get("grade_id"): i for i, cell in enumerate(cells)}
        self.by_id = {cell.get("id"): i for i, cell in enumerate(cells)}
        self.by_source = {cell.source.strip(): i for i, cell in reversed(list(enumerate(cells)))}
        either = "|".join(map(re.escape, self.stubs)) or "(?!)"
        self.defines = re.compile(rf"^(?:(?:async[ \t]+)?def[ \t]+|class[ \t]+)({either})\b|^({either})[ \t]*=(?!=)",
                                  re.MULTILINE)
        self.claimed: dict[int, bool] = {}
        self._sort()

    def _sort(self) -> None:
        """Decide for every cell of the submission what it is."""
        before, total = 0, 0
        late: list[tuple[int, int, str, str]] = []  # cells that only a function's name tells
        for cell in self.submission.cells:
            place, names = self._place(cell), self._defined(cell.source)
            if not cell.code:
                before = before if place is None else place
                if place is not None and self.kinds[place] == "stub":
                    self.remarks.append(f"The cell of {self.names[place]} is no code cell any more: it does not run.")
                continue
            kind = self.kinds[place] if place is not None else "added"
            total += len(cell.source) if kind in ("stub", "added", "quiz-answers") else 0
            if total > MAX_CODE:
                self.remarks.append(f"Only the first {MAX_CODE} characters of code were read.")
                break
            if kind in ("stub", "quiz-answers"):
                self._fill(place, cell.source, before)
                before = place
            elif kind == "added":
                if names:
                    late.append((before, len(self.added), names[0], cell.source))
                if re.sub(r"#.*", "", cell.source).strip():
                    self.added.append((before, names[0] if names else "", cell.source))
            else:
                if self._original(place) != cell.source.strip():
                    self._edited(place, names)
                before = place
        self._by_name(late)
        self._belongs()

    def _belongs(self) -> None:
        """Refuse the notebook of another assignment: one of which nothing but what all notebooks share is known."""
        mine, theirs = str(_course(self.released).get("stem", "")), self.submission.stem
        own = {self.kinds[place] for place in self.claimed} - {"setup", "quiz-answers", "quiz-check"}
        if self.submission.cells and not own and theirs != mine:
            if theirs:
                raise Unreadable(f"This is a notebook of '{theirs}', and '{mine}' was asked for.")
            raise Unreadable(f"None of the notebook's cells belongs to '{mine}': was another notebook handed in?")

    def _place(self, cell: Found) -> int | None:
        """The released cell that a cell is, by grade_id, else by id, else by its text."""
        place = self.by_grade.get(cell.grade_id) if cell.grade_id else None
        if place is None:
            place = next((self.by_id[i] for i in cell.ids if i in self.by_id), None)
        if place is None and not self._defined(cell.source):
            place = self.by_source.get(cell.source.strip()) if cell.source.strip() else None
        if place is not None:
            again = self.claimed.get(place, False) and self.kinds[place] not in ("stub", "quiz-answers")
            if again and cell.code and cell.source.strip() != self._original(place):
                return None  # a copy that became something else
            self.claimed[place] = True
        return place

    def _defined(self, source: str) -> list[str]:
        """The exercises whose names a source defines at top level."""
        return list(dict.fromkeys(a or b for a, b in self.defines.findall(source)))

    def _original(self, place: int) -> str:
        return self.released.cells[place].source.strip()

    def _fill(self, place: int, source: str, before: int) -> None:
        """Put a source into its released cell; a second one stays where it is."""
        if source.strip() == self._original(place):
            self.untouched.add(place)
        elif source.strip() == GONE.strip():
            pass
        elif place in self.slots:
            self.added.append((before, self.names[place], source))
        else:
            self.slots[place] = source

    def _by_name(self, late: list[tuple[int, int, str, str]]) -> None:
        """Give stubs that nothing else was found for to the cells that define them."""
        taken = set()
        for _, index, name, source in late:
            place = self.stubs[name]
            if source.strip() == self._original(place):
                self.untouched.add(place)
                taken.add(index)
            elif place not in self.slots and place not in self.untouched:
                self.slots[place] = source
                taken.add(index)
            self.claimed[place] = True
        self.added = [entry for index, entry in enumerate(self.added) if index not in taken]

    def _edited(self, place: int, names: list[str]) -> None:
        """Say that a change of a locked cell does not count, where the student may count on it."""
        if self.kinds[place] == "prelude":
            self.remarks.append("Changes to the cell of imports do not count: put what you need into your own cells.")
        elif names:
            self.remarks.append(f"A demonstration defines {names[0]}, and demonstrations do not count: "
                                f"write {names[0]} into its own cell.")

    def _present(self, name: str) -> int:
        """How many of the student's cells define an exercise."""
        return sum(name in self._defined(source)
                   for source in (*self.slots.values(), *(source for _, _, source in self.added)))

    def cells(self) -> tuple[Cell, ...]:
        """What runs: preludes, stubs nobody wrote in, then everything of the student's in document order."""
        run = [Cell("prelude", "the cell of imports", cell.source)
               for cell, kind in zip(self.released.cells, self.kinds) if kind == "prelude"]
        run += [Cell("stub", self.names[i], self.released.cells[i].source)
                for i in sorted(self.untouched - self.slots.keys()) if self.kinds[i] == "stub"]
        last = ""
        for i, (kind, name) in enumerate(zip(self.kinds, self.names)):
            last = name if kind == "stub" else last
            if i in self.slots:
                run.append(Cell(kind, name if kind == "stub" else "the quiz", self.slots[i]))
            elif i in self.untouched and kind == "quiz-answers":
                run.append(Cell(kind, "the quiz", self.released.cells[i].source))
            run += [Cell("stub" if named else "added", named or f"your own cell {_after(last)}", source)
                    for before, named, source in self.added if before == i]
        return tuple(run)

    def notebook(self) -> NotebookNode:
        """The released notebook with the student's sources in it, and no outputs."""
        made = copy.deepcopy(self.released)
        cells = []
        for i, cell in enumerate(made.cells):
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if self.kinds[i] in ("stub", "quiz-answers") and i not in self.untouched:
                cell.source = self.slots.get(i, GONE)
            elif i in self.slots:
                cell.source = self.slots[i]
            cells.append(cell)
            for number, (before, name, source) in enumerate(self.added):
                if before == i:
                    extra = nbformat.v4.new_code_cell(source, metadata={"course": {"kind": "added", "name": name}})
                    extra["id"] = f"added-{number}"
                    cells.append(extra)
        made.cells = cells
        return made

    def result(self) -> Rebuilt:
        """The rebuilt notebook, what runs, and what was doubtful."""
        for name, place in self.stubs.items():
            count = self._present(name)
            if not count and place not in self.untouched:
                cell = "does not define it" if place in self.slots else "is not in the notebook"
                self.remarks.append(f"The cell of {name} {cell}, and no other cell defines {name}.")
            elif count > 1:
                self.remarks.append(f"{name} is defined in {count} cells; the last of them counts.")
        remarks = tuple(dict.fromkeys(self.remarks))[:MAX_REMARKS]
        return Rebuilt(self.notebook(), self.cells(), remarks)


def _after(name: str) -> str:
    return f"after {name}" if name else "near the top"
