"""Counting as a language model: n-gram tables, maximum likelihood, smoothing, sampling.

A table of order n has the shape ``(V,) * n``: its first n - 1 axes are the context, oldest id first, and its last axis
is the next token. Sequences are lists of lists of ids without begin and end tokens; every function that reads them
puts n - 1 begin tokens in front and one end token behind. Losses are in nats per token.
"""

from __future__ import annotations

import torch


def count_ngrams(sequences: list[list[int]], n: int, V: int, bos: int, eos: int) -> torch.Tensor:
    """How often each n-gram occurs: a table ``(V,) * n`` of int64.

    Every sequence is padded with n - 1 ``bos`` and one ``eos``, so it adds ``len(sequence) + 1`` to the total, and no
    window crosses from one sequence into the next. Raises ValueError for n < 1 and for an id outside 0 .. V - 1.
    The idea of Shannon (1948), section 3.

    >>> count_ngrams([[2, 3], [2]], n=2, V=4, bos=0, eos=1).tolist()
    [[0, 0, 2, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 1, 0, 0]]
    """
    windows = _windows(sequences, n, bos, eos)
    if windows.numel() and not 0 <= int(windows.min()) <= int(windows.max()) < V:
        raise ValueError(f"an id lies outside 0 .. {V - 1}: look at the sequences, bos and eos")
    place = V ** torch.arange(n - 1, -1, -1)
    return torch.bincount((windows * place).sum(1), minlength=V**n).view((V,) * n)


def normalize(counts: torch.Tensor) -> torch.Tensor:
    """Each row of counts divided by its sum, the maximum-likelihood estimate: ``(..., V) -> (..., V)``.

    A row is a slice along the last dim; a row of zeros stays zero. Integer counts give torch's default dtype, floating
    ones keep theirs.

    >>> normalize(torch.tensor([[85, 10, 5], [0, 0, 0]]))
    tensor([[0.8500, 0.1000, 0.0500],
            [0.0000, 0.0000, 0.0000]])
    """
    counts = counts.to(_float_dtype(counts))
    totals = counts.sum(-1, keepdim=True)
    return torch.where(totals > 0, counts / totals, torch.zeros_like(counts))


def average_nll(table: torch.Tensor, sequences: list[list[int]], bos: int, eos: int) -> float:
    """The mean negative log-likelihood of all predicted tokens, in nats per token: ``(V,) * n -> float``.

    The tokens of every sequence are predicted, and its end. Each token weighs the same, whatever sequence it stands in.
    A token of probability zero makes the mean inf. Raises ValueError when there is no sequence.

    >>> table = torch.tensor([[0, 0, 1.0], [0, 0, 0], [0, 0.5, 0.5]])
    >>> round(average_nll(table, [[2], [2, 2]], bos=0, eos=1), 4)  # -ln of 1, .5 and 1, .5, .5
    0.4159
    """
    windows = _windows(sequences, table.ndim, bos, eos)
    if not len(windows):
        raise ValueError("average_nll needs at least one sequence: the mean over no token is undefined")
    windows = windows.to(table.device)
    return 0.0 - table[tuple(windows.T)].double().log().mean().item()


def sample_sequence(table: torch.Tensor, uniforms: list[float], max_len: int, bos: int, eos: int) -> list[int]:
    """A sequence drawn from a table of probabilities ``(V,) * n`` by inverting the CDF: a list of ids.

    Starts after n - 1 ``bos``. Each draw uses up one uniform u of [0, 1), the one that draws ``eos`` included, and
    takes the first id whose CDF exceeds u; where rounding leaves the sum of the whole row at or below u, the last id
    with a positive probability. Stops at ``eos``, after ``max_len`` ids, when no uniforms are left, and after a context
    whose row is zero. Neither ``bos`` nor ``eos`` is in the result.

    >>> table = torch.tensor([[0, 0, 0.25, 0.75], [0, 0, 0, 0], [0, 0.5, 0, 0.5], [0, 0.5, 0.5, 0]])
    >>> sample_sequence(table, [0.3, 0.6, 0.5, 0.1, 0.9], max_len=9, bos=0, eos=1)
    [3, 2, 3]
    """
    context = (bos,) * (table.ndim - 1)
    drawn: list[int] = []
    for u in uniforms:
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
    torch's default dtype, floating ones keep theirs. Raises ValueError for k < 0. Follows Jurafsky and Martin, *Speech
    and Language Processing*, chapter 3.

    >>> additive(torch.tensor([[2, 1, 0], [0, 0, 0]]), k=1)
    tensor([[0.5000, 0.3333, 0.1667],
            [0.3333, 0.3333, 0.3333]])
    """
    if k < 0:
        raise ValueError(f"k is {k}; a pseudo-count cannot be negative")
    return normalize(counts.to(_float_dtype(counts)) + k)


def interpolate(tables: list[torch.Tensor], weights: list[float]) -> torch.Tensor:
    """A weighted mean of tables of probabilities of several orders: ``(V,) * n`` with the largest n among them.

    A table of lower order is used for every context that ends like its own (it broadcasts on the right). In each
    context the weights are shared in proportion among the tables that have mass there; where no table of positive
    weight has, the row is zero. Raises ValueError unless there is one weight for each table. Follows Jelinek and Mercer
    (1980).

    >>> unigram, bigram = torch.tensor([0.75, 0.25]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    >>> interpolate([unigram, bigram], [1, 3])
    tensor([[0.1875, 0.8125],
            [0.7500, 0.2500]])
    """
    shares = [weight * table.any(-1, keepdim=True).to(table) for table, weight in zip(tables, weights, strict=True)]
    mixed, mass = sum(share * table for share, table in zip(shares, tables)), sum(shares)
    return torch.where(mass > 0, mixed / mass, torch.zeros_like(mixed))


def kneser_ney(counts: torch.Tensor, context: list[int], discount: float, bos: int) -> torch.Tensor:
    """The next-token distribution after ``context`` by interpolated Kneser-Ney smoothing: ``(V,) * n -> (V,)``.

    ``counts`` is the raw table of :func:`count_ngrams`; ``context`` has at most n - 1 ids, oldest first. With h' for h
    without its oldest id and D for the discount, 0 <= D <= 1::

        P(w | h) = max(c(h w) - D, 0) / c(h .) + g(h) P(w | h')      c(h .) = sum over w of c(h w)
        g(h)     = sum over w of min(c(h w), D) / c(h .)             where c(h .) = 0:  P(w | h) = P(w | h')

    Below the empty context lies the uniform distribution over all ids but ``bos``. c(h w) is the raw count when h has
    n - 1 ids or begins with ``bos``, else the number of different ids seen right before h w. Integer counts give
    torch's default dtype, floating ones keep theirs. Raises ValueError for a longer context and for D outside [0, 1].
    Follows Kneser and Ney (1995), interpolated as in Chen and Goodman (1999).

    >>> counts = count_ngrams([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
    >>> kneser_ney(counts, [], discount=0.5, bos=0)
    tensor([0.0000, 0.2000, 0.2000, 0.4000, 0.2000])
    >>> kneser_ney(counts, [2], discount=0.5, bos=0)
    tensor([0.0000, 0.0500, 0.0500, 0.8500, 0.0500])
    """
    longest = counts.ndim - 1
    if len(context) > longest:
        raise ValueError(f"the context has {len(context)} ids; a table of order {counts.ndim} takes at most {longest}")
    if not 0 <= discount <= 1:
        raise ValueError(f"the discount is {discount}; it must lie between 0 and 1")
    V, dtype = counts.shape[-1], _float_dtype(counts)
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
    return p


def kneser_ney_table(counts: torch.Tensor, discount: float, bos: int) -> torch.Tensor:
    """:func:`kneser_ney` after every context at once: ``(V,) * n -> (V,) * n``, rows sum to 1.

    >>> counts = count_ngrams([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
    >>> kneser_ney_table(counts, discount=0.5, bos=0)[2]
    tensor([0.0000, 0.0500, 0.0500, 0.8500, 0.0500])
    """
    n, V, dtype = counts.ndim, counts.shape[-1], _float_dtype(counts)
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
    return p


def _windows(sequences: list[list[int]], n: int, bos: int, eos: int) -> torch.Tensor:
    """Every n-gram that predicts a token, in order: (M, n) with M = tokens and ends."""
    if n < 1:
        raise ValueError(f"n is {n}; the order of an n-gram is at least 1")
    padded = [[bos] * (n - 1) + list(sequence) + [eos] for sequence in sequences]
    if not padded:
        return torch.empty(0, n, dtype=torch.int64)
    windows = torch.tensor([i for ids in padded for i in ids], dtype=torch.int64).unfold(0, n, 1)
    inside = [start + n <= len(ids) for ids in padded for start in range(len(ids))]
    return windows[torch.tensor(inside[: len(windows)])]


def _float_dtype(counts: torch.Tensor) -> torch.dtype:
    """The dtype of probabilities made from ``counts``: its own if that is a floating one, else torch's default."""
    return counts.dtype if counts.is_floating_point() else torch.get_default_dtype()
