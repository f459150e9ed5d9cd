"""Counting as a language model: n-gram tables, maximum likelihood, smoothing, sampling.

A table of order n has the shape ``(V,) * n``: its first n - 1 axes are the context, oldest id first, and its last axis
is the next token. Sequences are lists of lists of ids without begin and end tokens; every function that reads them
puts n - 1 begin tokens in front and one end token behind. Losses are in nats per token. Counts and probabilities are at
least 0, and neither is NaN; ids lie in 0 .. V - 1. An argument that is not so gives a ValueError that names it.
"""

from __future__ import annotations

import math
from functools import reduce

import torch

from reference_impl import arguments
from reference_impl.chain_rule import wide

LARGEST = 2**31  # cells of a table of counts: 16 GiB


def count_ngrams(sequences: list[list[int]], n: int, V: int, bos: int, eos: int) -> torch.Tensor:
    """How often each n-gram occurs: a table ``(V,) * n`` of int64.

    Every sequence is padded with n - 1 ``bos`` and one ``eos``, so it adds ``len(sequence) + 1`` to the total, and no
    window crosses from one sequence into the next. Raises ValueError for n < 1, for an id outside 0 .. V - 1, for
    sequences that are not lists of ids, and where ``V**n`` cells are too many. The idea of Shannon (1948), section 3.

    >>> count_ngrams([[2, 3], [2]], n=2, V=4, bos=0, eos=1).tolist()
    [[0, 0, 2, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0]]
    """
    arguments.whole("n", n, low=1)
    arguments.whole("V", V, low=1)
    if V**n > LARGEST:
        raise ValueError(f"n = {n} and V = {V} make a table of {V**n:.1e} cells; at most 2**31 are allowed")
    windows = _windows(sequences, n, V, bos, eos)
    place = V ** torch.arange(n - 1, -1, -1)
    return torch.bincount((windows * place).sum(1), minlength=V**n).view((V,) * n)


def normalize(counts: torch.Tensor) -> torch.Tensor:
    """Each row of counts divided by its sum, the maximum-likelihood estimate: ``(..., V) -> (..., V)``.

    A row is a slice along the last dim; a row of zeros stays zero. Integer counts give torch's default dtype, floating
    ones keep theirs. Raises ValueError for a count that is negative or NaN.

    >>> normalize(torch.tensor([[85, 10, 5], [0, 0, 0]]))
    tensor([[0.8500, 0.1000, 0.0500],
            [0.0000, 0.0000, 0.0000]])
    """
    arguments.tensor("counts", counts, "... V", "number")
    _check_values("counts", counts)
    counts, dtype, given = _for_sums(counts)
    counts = counts.to(dtype)
    totals = counts.sum(-1, keepdim=True)
    return torch.where(totals > 0, counts / totals, torch.zeros_like(counts)).to(given)


def average_nll(table: torch.Tensor, sequences: list[list[int]], bos: int, eos: int) -> float:
    """The mean negative log-likelihood of all predicted tokens, in nats per token: ``(V,) * n -> float``.

    The tokens of every sequence are predicted, and its end. Each token weighs the same, whatever sequence it stands in.
    A token of probability zero makes the mean inf. Raises ValueError when there is no sequence, for an id outside
    0 .. V - 1, and for a table that is not ``(V,) * n`` or holds a number that is no probability.

    >>> table = torch.tensor([[0, 0, 1.0], [0, 0, 0], [0, 0.5, 0.5]])
    >>> round(average_nll(table, [[2], [2, 2]], bos=0, eos=1), 4)  # -ln of 1, .5 and 1, .5, .5
    0.4159
    """
    V = _check_probabilities("table", table)
    windows = _windows(sequences, table.ndim, V, bos, eos)
    if not len(windows):
        raise ValueError("sequences must hold at least one sequence: the mean over no token is undefined")
    windows = windows.to(table.device)
    return 0.0 - table[tuple(windows.T)].double().log().mean().item()


def sample_sequence(table: torch.Tensor, uniforms: list[float], max_len: int, bos: int, eos: int) -> list[int]:
    """A sequence drawn from a table of probabilities ``(V,) * n`` by inverting the CDF: a list of ids.

    Starts after n - 1 ``bos``. Each draw uses up one uniform u of [0, 1), the one that draws ``eos`` included, and
    takes the first id whose CDF exceeds u; where rounding leaves the sum of the whole row at or below u, the last id
    with a positive probability. Stops at ``eos``, after ``max_len`` ids, when no uniforms are left, and after a context
    whose row is zero. Neither ``bos`` nor ``eos`` is in the result. Raises ValueError for a uniform outside [0, 1), for
    max_len < 0, for ``bos`` or ``eos`` outside 0 .. V - 1, and for a table that is not ``(V,) * n`` or holds a number
    that is no probability.

    >>> table = torch.tensor([[0, 0, 0.25, 0.75], [0, 0, 0, 0], [0, 0.5, 0, 0.5], [0, 0.5, 0.5, 0]])
    >>> sample_sequence(table, [0.3, 0.6, 0.5, 0.1, 0.9], max_len=9, bos=0, eos=1)
    [3, 2, 3]
    """
    V = _check_probabilities("table", table)
    _check_specials(V, bos, eos)
    arguments.whole("max_len", max_len, low=0)
    context = (bos,) * (table.ndim - 1)
    drawn: list[int] = []
    for u in _uniforms(uniforms):
        row = table[context].double()
        if len(drawn) >= max_len or not row.any():
            break
        possible = row.nonzero().squeeze(1)
        below = int((row[possible].cumsum(0) <= u).sum())
        token = int(possible[min(below, len(possible) - 1)])
        if token == eos:
            break
        drawn.append(token)
        context = (*context, token)[1:]
    return drawn


def additive(counts: torch.Tensor, k: float = 1.0) -> torch.Tensor:
    """Add-k smoothing, ``(count + k) / (row sum + k V)``: ``(..., V) -> (..., V)``.

    ``k`` = 1 is Laplace's rule; ``k`` = 0 is maximum likelihood, where rows of zeros stay zero. Integer counts give
    torch's default dtype, floating ones keep theirs. Raises ValueError for k < 0 and for a count that is negative or
    NaN. Follows Jurafsky and Martin, *Speech and Language Processing*, chapter 3.

    >>> additive(torch.tensor([[2, 1, 0], [0, 0, 0]]), k=1)
    tensor([[0.5000, 0.3333, 0.1667],
            [0.3333, 0.3333, 0.3333]])
    """
    arguments.tensor("counts", counts, "... V", "number")
    _check_values("counts", counts)
    arguments.real("k", k, low=0)
    counts, dtype, given = _for_sums(counts)
    return normalize(counts.to(dtype) + k).to(given)


def interpolate(tables: list[torch.Tensor], weights: list[float]) -> torch.Tensor:
    """A weighted mean of tables of probabilities of several orders: ``(V,) * n`` with the largest n among them.

    A table of lower order is used for every context that ends like its own (it broadcasts on the right). In each
    context the weights are shared in proportion among the tables that have mass there; where no table of positive
    weight has, the row is zero. Raises ValueError unless there is one weight for each table, at least 0, and every
    table is ``(V,) * m`` with the same V and holds probabilities. Follows Jelinek and Mercer (1980).

    >>> unigram, bigram = torch.tensor([0.75, 0.25]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    >>> interpolate([unigram, bigram], [1, 3])
    tensor([[0.1875, 0.8125],
            [0.7500, 0.2500]])
    """
    if not isinstance(tables, (list, tuple)) or not tables:
        raise ValueError("tables must be a list of at least one table")
    if not isinstance(weights, (list, tuple)) or len(weights) != len(tables):
        raise ValueError(f"weights must be a list of {len(tables)} numbers, one for each table")
    for i, (table, weight) in enumerate(zip(tables, weights)):
        V = _check_probabilities(f"tables[{i}]", table)
        if tables[0].shape[-1] != V:
            raise ValueError(f"tables must share one V; tables[0] has {tables[0].shape[-1]}, tables[{i}] has {V}")
        arguments.real(f"weights[{i}]", weight, low=0)
    shares = [weight * wide(table.any(-1, keepdim=True).to(table)) for table, weight in zip(tables, weights)]
    mixed, mass = sum(share * table for share, table in zip(shares, tables)), sum(shares)
    given = reduce(torch.promote_types, [table.dtype for table in tables])
    return torch.where(mass > 0, mixed / mass, torch.zeros_like(mixed)).to(given)


def kneser_ney(counts: torch.Tensor, context: list[int], discount: float, bos: int) -> torch.Tensor:
    """The next-token distribution after ``context`` by interpolated Kneser-Ney smoothing: ``(V,) * n -> (V,)``.

    ``counts`` is the raw table of :func:`count_ngrams`; ``context`` has at most n - 1 ids, oldest first. With h' for h
    without its oldest id and D for the discount, 0 <= D <= 1::

        P(w | h) = max(c(h w) - D, 0) / c(h .) + g(h) P(w | h')      c(h .) = sum over w of c(h w)
        g(h)     = sum over w of min(c(h w), D) / c(h .)             where c(h .) = 0:  P(w | h) = P(w | h')

    Below the empty context lies the uniform distribution over all ids but ``bos``. c(h w) is the raw count when h has
    n - 1 ids or begins with ``bos``, else the number of different ids seen right before h w. Integer counts give
    torch's default dtype, floating ones keep theirs. Raises ValueError for a longer context, for D outside [0, 1], for
    an id outside 0 .. V - 1, and for counts that are not ``(V,) * n`` with V > 1 or hold one that is negative or NaN.
    Follows Kneser and Ney (1995), interpolated as in Chen and Goodman (1999).

    >>> counts = count_ngrams([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
    >>> kneser_ney(counts, [], discount=0.5, bos=0)
    tensor([0.0000, 0.2000, 0.2000, 0.4000, 0.2000])
    >>> kneser_ney(counts, [2], discount=0.5, bos=0)
    tensor([0.0000, 0.0500, 0.0500, 0.8500, 0.0500])
    """
    V = _check_counts(counts, discount, bos)
    longest = counts.ndim - 1
    if not isinstance(context, (list, tuple)) or len(context) > longest:
        raise ValueError(f"context must be a list of at most {longest} ids for a table of order {counts.ndim}")
    for i, token in enumerate(context):
        arguments.whole(f"context[{i}]", token, 0, V - 1)
    counts, dtype, given = _for_sums(counts)
    p = torch.full((V,), 1 / (V - 1), dtype=dtype, device=counts.device)
    p[bos] = 0
    for m in range(len(context) + 1):
        h = tuple(context[len(context) - m :])
        before = counts[(..., *h, slice(None))].reshape(-1, V)  # a row for each way to get to h
        raw = m == longest or (h and h[0] == bos)
        # A continuation count asks which single ids came right before h: sum over all that came earlier still.
        c = (before if raw else before.view(-1, V, V).sum(0) > 0).sum(0).to(dtype)
        total = c.sum()
        if total > 0:
            p = (c - discount).clamp(min=0) / total + c.clamp(max=discount).sum() / total * p
    return p.to(given)


def kneser_ney_table(counts: torch.Tensor, discount: float, bos: int) -> torch.Tensor:
    """:func:`kneser_ney` after every context at once: ``(V,) * n -> (V,) * n``, rows sum to 1.

    Raises ValueError where :func:`kneser_ney` does.

    >>> counts = count_ngrams([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
    >>> kneser_ney_table(counts, discount=0.5, bos=0)[2]
    tensor([0.0000, 0.0500, 0.0500, 0.8500, 0.0500])
    """
    V = _check_counts(counts, discount, bos)
    n = counts.ndim
    counts, dtype, given = _for_sums(counts)
    raw = [counts]  # raw[i] are the raw counts of order n - i
    while len(raw) < n:
        raw.append(raw[-1].sum(0))
    p = torch.full((V,), 1 / (V - 1), dtype=dtype, device=counts.device)
    p[bos] = 0
    for order in range(1, n + 1):
        c = raw[n - order]
        if order < n:
            begins = torch.arange(V, device=c.device).eq(bos).view(V, *[1] * (order - 1)) & (order > 1)
            c = torch.where(begins, c, (raw[n - order - 1] > 0).sum(0).to(c.dtype))
        c = c.to(dtype)
        total = c.sum(-1, keepdim=True)
        lower = p.expand_as(c)
        mixed = (c - discount).clamp(min=0) / total + c.clamp(max=discount).sum(-1, keepdim=True) / total * lower
        p = torch.where(total > 0, mixed, lower)
    return p.to(given)


def _windows(sequences: list[list[int]], n: int, V: int, bos: int, eos: int) -> torch.Tensor:
    """Every n-gram that predicts a token, in order: (M, n) with M = tokens and ends."""
    arguments.sequences("sequences", sequences, V)
    _check_specials(V, bos, eos)
    padded = [[bos] * (n - 1) + list(sequence) + [eos] for sequence in sequences]
    if not padded:
        return torch.empty(0, n, dtype=torch.int64)
    windows = torch.tensor([i for ids in padded for i in ids], dtype=torch.int64).unfold(0, n, 1)
    inside = [start + n <= len(ids) for ids in padded for start in range(len(ids))]
    return windows[torch.tensor(inside[: len(windows)])]


def _uniforms(uniforms: list[float]) -> list[float]:
    """The same numbers; ValueError unless each lies in [0, 1)."""
    try:
        numbers = [float(u) for u in uniforms]
    except (TypeError, ValueError):
        raise ValueError("uniforms must be a list of numbers") from None
    for i, u in enumerate(numbers):
        if not 0 <= u < 1:
            raise ValueError(f"uniforms must lie in [0, 1); found {u} at position {i}")
    return numbers


def _check_specials(V: int, bos: int, eos: int) -> None:
    arguments.whole("bos", bos, 0, V - 1)
    arguments.whole("eos", eos, 0, V - 1)


def _check_table(name: str, table: torch.Tensor, kind: str) -> int:
    """V; ValueError unless all dims of the table have that size."""
    letters = " ".join(["V"] * max(getattr(table, "ndim", 1), 1))
    return arguments.tensor(name, table, letters, kind)["V"]


def _check_values(name: str, values: torch.Tensor, high: float = math.inf) -> None:
    """ValueError for a number that is NaN, negative or above ``high``; one pass where all is well."""
    smallest, largest = values.aminmax()
    if not (smallest >= 0 and largest <= high):
        arguments.no_nan(name, values)
        wrong = float(smallest if smallest < 0 else largest)
        what = "be at least 0" if high == math.inf else "hold probabilities"
        raise ValueError(f"{name} must {what}; found {wrong:g}")


def _check_counts(counts: torch.Tensor, discount: float, bos: int) -> int:
    """V of a table of counts that Kneser-Ney smoothing can read."""
    V = _check_table("counts", counts, "number")
    if V < 2:
        raise ValueError(f"counts must have V > 1, one id besides bos; its shape is {tuple(counts.shape)}")
    _check_values("counts", counts)
    arguments.real("discount", discount, 0, 1)
    arguments.whole("bos", bos, 0, V - 1)
    return V


def _check_probabilities(name: str, table: torch.Tensor) -> int:
    """V of a table of probabilities; what rounding to half precision adds to 1 is let through."""
    V = _check_table(name, table, "floating")
    _check_values(name, table, high=1.01)
    return V


def _for_sums(counts: torch.Tensor) -> tuple[torch.Tensor, torch.dtype, torch.dtype]:
    """The counts, the dtype to compute in (half precision cannot hold the sums of counts), and the one to return."""
    given = counts.dtype if counts.is_floating_point() else torch.get_default_dtype()
    counts = wide(counts) if counts.is_floating_point() else counts
    return counts, torch.promote_types(given, torch.float32), given
