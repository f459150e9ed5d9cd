"""What cases draw: the steps that ask a question, and inputs of the kinds that exercises about tokens need.

Everything comes from the generator that a case is given, so a seed decides it all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from autograder.exercise import Ref, Step

MARGIN = 1e-4  # uniforms stay this far from every step of a CDF, so that no order of summation decides a draw
Rng = np.random.Generator


@dataclass(frozen=True)
class Turned:
    """An argument that arrives as a view of other strides: it is sent transposed and turned back where it arrives."""

    table: torch.Tensor


def ask(name: str, *questions: tuple) -> list[Step]:
    """The steps that call ``name`` with each tuple of arguments, twice each, all handles distinct.

    >>> [step.op for step in ask("normalize", (3,), (Turned(torch.ones(2, 3)),))]
    ['put', 'call', 'call', 'put', 'method', 'call', 'call']
    """
    steps: list[Step] = []

    def place(handle: str, value: object) -> Ref:
        if isinstance(value, Turned):
            steps.append(Step("put", args=(value.table.transpose(0, -1).contiguous(),), into=f"{handle}_sent"))
            steps.append(Step("method", "transpose", (0, -1), on=f"{handle}_sent", into=handle))
        else:
            if isinstance(value, list) and any(isinstance(item, Turned) for item in value):
                value = [place(f"{handle}_{i}", item) if isinstance(item, Turned) else item
                         for i, item in enumerate(value)]
            steps.append(Step("put", args=(value,), into=handle))
        return Ref(handle)

    for q, arguments in enumerate(questions):
        refs = tuple(place(f"argument_{q}_{i}", value) for i, value in enumerate(arguments))
        steps += [Step("call", name, refs)] * 2
    return steps


def vocabulary(rng: Rng, V: int) -> tuple[int, int, list[int]]:
    """The begin token, the end token and the words: any of the ids 0 .. V - 1."""
    bos, eos, *words = rng.permutation(V).tolist()
    return bos, eos, words


def texts(rng: Rng, words: list[int], lengths: list[int]) -> list[list[int]]:
    """Sequences of the given lengths in any order, and the longest twice over in one: n-grams repeat within a text."""
    drawn = [rng.choice(words, size).tolist() for size in rng.permutation(lengths).tolist()]
    return [*drawn, 2 * max(drawn, key=len)]


def counts_table(rng: Rng, *shape: int, empty: int = 0) -> torch.Tensor:
    """Whole counts with a 0 in every row; no row sums to 0 but ``empty`` ones of each (row, column) block."""
    table = np.maximum(rng.integers(-8, 30, shape), 0)
    table[..., 0] = 0
    table[..., 1] += 1
    table = rng.permuted(table, axis=-1)
    for block in table.reshape(-1, *shape[-2:]) if empty else ():
        block[rng.choice(len(block), empty, replace=False)] = 0
    return torch.from_numpy(table)


def distributions(rng: Rng, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Rows that sum to 1, no entry near 0, no two rows alike."""
    return torch.from_numpy(0.8 * rng.dirichlet(np.ones(shape[-1]), shape[:-1]) + 0.2 / shape[-1]).to(dtype)


def language(rng: Rng, n: int, V: int, bos: int, eos: int, end: float,
             dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A table of order n that never says ``bos`` and says ``eos`` with probability ``end``."""
    table = distributions(rng, *[V] * n, dtype=torch.float64)
    table[..., [bos, eos]] = 0
    table *= (1 - end) / table.sum(-1, keepdim=True)
    table[..., eos] = end
    return table.to(dtype)


def uniforms(rng: Rng, table: torch.Tensor, size: int) -> list[float]:
    """Numbers in [0, 1), none within MARGIN of a step of any row's CDF."""
    steps = table.double().cumsum(-1).flatten()
    drawn: list[float] = []
    while len(drawn) < size:
        u = float(rng.random())
        if float((steps - u).abs().min()) > MARGIN:
            drawn.append(u)
    return drawn


def any_shape(rng: Rng) -> list[torch.Tensor | Turned]:
    """Tables of order 1 and 3, of one row, and one whose rows do not lie one after the other in memory."""
    return [counts_table(rng, 6), counts_table(rng, 4, 4, 4), counts_table(rng, 1, 5),
            Turned(counts_table(rng, 4, 5, 3).to(torch.float32))]


def fractional(rng: Rng, *shape: int) -> torch.Tensor:
    """Fractional counts in float64: sums of rows far below 1 as well as above."""
    scale = 10.0 ** rng.permutation(np.linspace(-3, 1, shape[0])).reshape(-1, *[1] * (len(shape) - 1))
    return torch.from_numpy(rng.uniform(0.05, 1, shape) * scale)


def weights(rng: Rng, size: int) -> list[float]:
    """Positive numbers that sum to 1, no two alike, as a person would write them."""
    parts = np.zeros(size, dtype=int)
    while len(set(parts.tolist())) < size:
        parts = rng.multinomial(20 - 2 * size, np.ones(size) / size) + 2
    return [int(part) / 20 for part in parts]
