"""Small exercises in which every kind of step, case and failure occurs: for the student's check and for the room alike.

``TOYS`` are the exercises, ``RIGHT`` a right answer to each, ``WRONG`` wrong ones with the status of the first case
that is not right, and ``STUBS`` what a released notebook would hold.
"""

from __future__ import annotations

import numpy as np
import torch

from autograder.exercise import Case, Exercise, Oracle, Prop, Ref, Step, call
from autograder.steps import gradient


def halves(x: torch.Tensor) -> torch.Tensor:
    if x.numel() == 0:
        raise ValueError("nothing to halve")
    return x / 2


def tally(words: list[str], limit: int = 10) -> dict:
    counts: dict[str, int] = {}
    for word in words[:limit]:
        counts[word] = counts.get(word, 0) + 1
    return {"counts": counts, "most": max(counts.values(), default=0), "share": float(bool(counts))}


class Cell:
    def __init__(self, size: int):
        self.weight = torch.zeros(size)
        self.seen = 0

    def load_state_dict(self, state: dict) -> None:
        self.weight = state["weight"].clone()

    def step(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return self.weight * x

    def count(self) -> int:
        return self.seen


def climb(step, start: int, n: int) -> list[int]:
    path = [start]
    for _ in range(n):
        path.append(step(path[-1]))
    return path


def smooth_loss(loss, x: torch.Tensor) -> torch.Tensor:
    x = x.detach().clone().requires_grad_()
    loss(x).backward()
    return x.grad


def spread(n: int) -> list[float]:
    return [1.0 / n] * n


class CountedStep:
    """An oracle's function that remembers how often it was asked."""

    def __init__(self, add: int):
        self.add, self.calls = add, 0

    def __call__(self, x: int) -> int:
        self.calls += 1
        return x + self.add


def _tensor(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.tensor(rng.normal(size=shape), dtype=torch.float32)


def _words(rng: np.random.Generator) -> list[str]:
    return [str(w) for w in rng.choice(["hub", "van", "door"], size=6)]


def _cell_steps(rng: np.random.Generator) -> list[Step]:
    return [
        Step("new", "Cell", (4,), into="cell"),
        Step("load", on="cell", args=({"weight": _tensor(rng, 4)},)),
        Step("put", args=(_tensor(rng, 4),), into="x"),
        Step("method", "step", (Ref("x"),), on="cell", into="y"),
        Step("method", "step", (Ref("y"),), on="cell"),
        Step("method", "count", on="cell"),
    ]


def _climb_steps(rng: np.random.Generator) -> list[Step]:
    fn = CountedStep(int(rng.integers(1, 9)))
    return [Step("call", "climb", (Oracle("step", fn), int(rng.integers(100)), 3))]


def _three_calls(values: list, steps) -> str | None:
    asked = steps[0].args[0].fn.calls
    return None if asked == 3 and len(values[0]) == 4 and values[0][-1] - values[0][0] == 3 * steps[0].args[0].fn.add \
        else f"step was asked {'more' if asked > 3 else 'fewer'} than three times, or its answers were not used"


def _sums_to_one(values: list, steps) -> str | None:
    return None if abs(sum(values[0]) - 1) < 1e-9 and min(values[0]) >= 0 else "the numbers do not sum to one"


QUARTIC = Prop("quartic", "def quartic(x):\n    return (x ** 4).sum()\n")

TOYS: dict[str, Exercise] = {exercise.name: exercise for exercise in (
    Exercise("halves", "toys", halves, (
        Case("ordinary", lambda rng: call("halves", _tensor(rng, 3, 4)), "Divide every entry by two.", 1.0,
             ordinary=True, draws=3),
        Case("half precision", lambda rng: call("halves", _tensor(rng, 5).half()), "Keep the dtype of the input.", 0.5),
        Case("not contiguous", lambda rng: [
            Step("put", args=(_tensor(rng, 2, 3),), into="x"),
            Step("method", "transpose", (0, 1), on="x", into="xt"),
            Step("call", "halves", (Ref("xt"),))], "Any strides will do."),
        Case("gradient", lambda rng: gradient("halves", _tensor(rng, 3)), "Do not detach or convert the tensor.", 0.5),
        Case("nothing", lambda rng: call("halves", torch.zeros(0)), "An empty tensor has no half: raise.", 1.0,
             raises=True),
    )),
    Exercise("tally", "toys", tally, (
        Case("ordinary", lambda rng: call("tally", _words(rng)), "Count each word.", 1.0, ordinary=True, draws=2),
        Case("limit", lambda rng: call("tally", _words(rng), limit=2), "Only the first `limit` words count.", 1.0),
        Case("no words", lambda rng: call("tally", []), "No word at all is a text, too."),
    )),
    Exercise("Cell", "toys", Cell, (
        Case("ordinary", _cell_steps, "Multiply by the weight; count the steps.", 2.0, ordinary=True, draws=2),
    ), cpu_seconds=3.0),
    Exercise("climb", "toys", climb, (
        Case("ordinary", _climb_steps, "Each answer of `step` is the next question.", 1.0, ordinary=True),
        Case("asks", _climb_steps, "Ask once per new number.", 1.0, judge=_three_calls),
    )),
    Exercise("smooth_loss", "toys", smooth_loss, (
        Case("ordinary", lambda rng: [
            Step("put", args=(_tensor(rng, 5),), into="x"),
            Step("call", "smooth_loss", (QUARTIC, Ref("x")))], "The gradient, by autograd.", 1.0, ordinary=True,
             rtol=1e-4, atol=1e-5),
    )),
    Exercise("spread", "toys", spread, (
        Case("ordinary", lambda rng: call("spread", int(rng.integers(2, 9))), "n numbers that sum to one.", 1.0,
             ordinary=True, judge=_sums_to_one),
    ), cpu_seconds=1.0),
)}

STUBS: dict[str, str] = {
    name: ("class Cell:\n    def __init__(self, size):\n        raise NotImplementedError\n" if name == "Cell"
           else f"def {name}(*args, **kwargs):\n    \"\"\"What {name} does.\"\"\"\n    raise NotImplementedError\n")
    for name in TOYS}

RIGHT: dict[str, str] = {
    "halves": "def halves(x):\n    if len(x) == 0:\n        raise IndexError('empty')\n    return x * 0.5\n",
    "tally": '''
def tally(words, limit=10):
    words = words[:limit]
    counts = {w: words.count(w) for w in sorted(words)}
    return {"share": float(len(words) > 0), "most": max([0, *counts.values()]), "counts": counts}
''',
    "Cell": '''
class Cell(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(size))
        self.n = 0

    def step(self, x):
        self.n = self.n + 1
        return x * self.weight

    def count(self):
        return torch.tensor(self.n)
''',
    "climb": '''
def climb(step, start, n):
    path = (start,)
    while len(path) <= n:
        path = (*path, step(path[-1]))
    return path
''',
    "smooth_loss": "def smooth_loss(loss, x):\n    return torch.func.grad(loss)(x)\n",
    "spread": "def spread(n):\n    return [1.0] + [0.0] * (n - 1)\n",
}

WRONG: dict[str, list[tuple[str, str]]] = {
    "halves": [
        (STUBS["halves"], "unwritten"),
        ("def halves(x):\n    return x / 3\n", "wrong"),
        ("def halves(x):\n    return x.double() / 2\n", "wrong"),
        ("def halves(x):\n    x /= 2\n    return x\n", "wrong"),
        ("def halves(x):\n    y = x / 2\n    x.zero_()\n    return y\n", "wrong"),
        ("def halves(x):\n    print(x)\n", "wrong"),
        ("def halves(x):\n    return x.detach() / 2\n", "raised"),
        ("def halves(x):\n    return x / 2\n", "wrong"),  # never raises
        ("def halves(x):\n    return x / zero\n", "raised"),
        ("def halves(x):\n    return x.numpy() / 2\n", "wrong"),
        ("def halve(x):\n    return x / 2\n", "missing"),
    ],
    "tally": [
        ("def tally(words, limit=10):\n    return {'counts': {}, 'most': 0, 'share': 0.0}\n", "wrong"),
        ("def tally(words, limit=10):\n    words.sort()\n    return None\n", "wrong"),
        ("seen = {}\ndef tally(words, limit=10):\n    for w in words[:limit]:\n        seen[w] = seen.get(w, 0) + 1\n"
         "    return {'counts': dict(seen), 'most': max(seen.values()), 'share': 1.0}\n", "wrong"),
    ],
    "Cell": [
        (STUBS["Cell"], "unwritten"),
        (RIGHT["Cell"].replace("self.n + 1", "0"), "wrong"),
        (RIGHT["Cell"].replace("def step", "def stop"), "raised"),
    ],
    "climb": [
        ("def climb(step, start, n):\n    return [start] * (n + 1)\n", "wrong"),
        ("def climb(step, start, n):\n    d = step(start) - start\n    return [start + d * i for i in range(n + 1)]\n",
         "wrong"),  # right numbers, one question: only the judge sees it
        ("def climb(step, start, n):\n    return [step(object())]\n", "raised"),
    ],
    "smooth_loss": [
        ("def smooth_loss(loss, x):\n    return 4 * x\n", "wrong"),
    ],
    "spread": [
        ("def spread(n):\n    return [1.0] * n\n", "wrong"),
        ("def spread(n):\n    return 1.0\n", "wrong"),
        ("def spread(n):\n    return 1 / 0\n", "raised"),
        ("def spread(n):\n    while True:\n        pass\n", "timeout"),
        ("def spread(n):\n    while True:\n        try:\n            sum(range(100))\n"
         "        except:\n            pass\n", "timeout"),
        ("def spread(n):\n    exit()\n", "raised"),
        ("def spread(n):\n    return spread(n)\n", "raised"),
    ],
}
