"""Kneser-Ney smoothing for any vocabulary and order: only the n-grams that were seen are kept, as sorted numbers.

A table ``(V,) * n`` has V**n cells, nearly all of them zero. Here a context that was seen gets a number, its rank: the
empty context is 0, and the rank of a longer one is the place of ``rank of the context without its oldest id * V +
oldest id`` among the sorted keys of its length. An n-gram is the key ``rank of its context * V + next id``. No key
exceeds V times the length of the text, so 64 bits are enough for every order, and a look-up is one binary search for
each id.

The recursion is that of :func:`reference_impl.bigrams.kneser_ney`. Probabilities are float64; losses are in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reference_impl import arguments

LARGEST = 2**63  # no key may reach it
CHUNK = 2**20  # tokens scored at a time


@dataclass(frozen=True)
class Order:
    """What is known of the n-grams of one order: for C contexts that were seen, and U n-grams."""

    contexts: torch.Tensor  # (C,) sorted keys of the contexts
    grams: torch.Tensor  # (U,) sorted keys of the n-grams, so those of one context stand side by side
    counts: torch.Tensor  # (U,) c(h w) of the recursion
    totals: torch.Tensor  # (C,) c(h .), never 0
    distinct: torch.Tensor  # (C,) how many different ids were seen after the context


@dataclass(frozen=True)
class SparseNgrams:
    """An interpolated Kneser-Ney model of order ``n``; :func:`fit` makes one.

    The discount D is an argument of every question and not of the model, so trying another one costs no counting.
    """

    n: int
    V: int
    bos: int
    eos: int
    orders: tuple[Order, ...]  # orders[l] has contexts of l ids

    @property
    def device(self) -> torch.device:
        """Where the model lives, and its answers."""
        return self.orders[0].grams.device

    def probabilities(self, contexts: torch.Tensor, tokens: torch.Tensor, discount: float) -> torch.Tensor:
        """P(token | context) for each of Q pairs: ``(Q, K), (Q,) -> (Q,)``, float64.

        A context has K ids, oldest first, 0 <= K <= n - 1; as in :func:`reference_impl.bigrams.kneser_ney`, one of
        fewer than n - 1 is answered with the counts of its own order. Raises ValueError for other shapes, for an id
        outside 0 .. V - 1 and for a discount outside [0, 1].

        >>> model = fit([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
        >>> model.probabilities(torch.tensor([[2], [2], [0]]), torch.tensor([3, 4, 2]), discount=0.5)
        tensor([0.8500, 0.0500, 0.5667], dtype=torch.float64)
        """
        Q = self._check(contexts, discount)
        arguments.tensor("tokens", tokens, "Q", "integer", {"Q": Q})
        arguments.ids("tokens", tokens, self.V)
        tokens = tokens.to(self.device, torch.int64)
        p = (tokens != self.bos).double() / (self.V - 1)
        for order, rows, ranks in self._seen(contexts):
            i, met = _find(order.grams, ranks * self.V + tokens[rows])
            kept = (order.counts[i].double() - discount).masked_fill(~met, 0)
            p[rows] = (kept + p[rows] * discount * order.distinct[ranks]) / order.totals[ranks]
        return p

    def rows(self, contexts: torch.Tensor, discount: float) -> torch.Tensor:
        """The next-token distribution after each of Q contexts: ``(Q, K) -> (Q, V)``, float64; each row sums to 1.

        Contexts and what is raised are as in :meth:`probabilities`.

        >>> model = fit([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
        >>> model.rows(torch.tensor([[2]]), discount=0.5)
        tensor([[0.0000, 0.0500, 0.0500, 0.8500, 0.0500]], dtype=torch.float64)
        """
        Q = self._check(contexts, discount)
        p = torch.full((Q, self.V), 1 / (self.V - 1), dtype=torch.float64, device=self.device)
        p[:, self.bos] = 0
        for order, rows, ranks in self._seen(contexts):
            many, total = order.distinct[ranks], order.totals[ranks]
            p[rows] *= (discount * many.double() / total).unsqueeze(1)
            ends = many.cumsum(0)  # the n-grams of all these contexts, written one after the other
            which = torch.repeat_interleave(many)
            starts = order.distinct.cumsum(0)[ranks] - many
            i = torch.arange(len(which), device=self.device) + (starts - (ends - many))[which]
            p[rows[which], order.grams[i] % self.V] += (order.counts[i].double() - discount) / total[which]
        return p

    def mean_nll(self, sequences: list[list[int]] | torch.Tensor, discount: float) -> float:
        """The mean negative log-likelihood of the tokens of a text and of its ends, in nats per token.

        Every token weighs the same, as in :func:`reference_impl.bigrams.average_nll`; a token of probability zero makes
        the mean inf. ``sequences`` is what :func:`fit` takes. Raises ValueError for the same, and for a discount
        outside [0, 1].

        >>> model = fit([[2, 3], [2, 3], [4, 3]], n=2, V=5, bos=0, eos=1)
        >>> round(model.mean_nll([[2, 3]], discount=0.5), 4)  # -ln of .5667, .85 and .8667
        0.2912
        """
        ids, ends = _flat(sequences, self.n, self.V, self.bos, self.eos)
        ids, total = ids.to(self.device), 0.0
        back = torch.arange(1 - self.n, 1, device=self.device)
        for part in ends.to(self.device).split(CHUNK):
            windows = ids[part.unsqueeze(1) + back]
            total -= self.probabilities(windows[:, :-1], windows[:, -1], discount).log().sum().item()
        return total / len(ends)

    def _check(self, contexts: torch.Tensor, discount: float) -> int:
        """Q of contexts that are right."""
        sizes = arguments.tensor("contexts", contexts, "Q K", "integer", empty="K")
        if sizes["K"] >= self.n:
            raise ValueError(f"contexts must have at most n - 1 = {self.n - 1} ids each, not {sizes['K']}")
        arguments.ids("contexts", contexts, self.V)
        arguments.real("discount", discount, 0, 1)
        return sizes["Q"]

    def _seen(self, contexts: torch.Tensor):
        """For each order up to that of the contexts: what is known, the rows whose context was seen, their ranks."""
        contexts = contexts.to(self.device, torch.int64)
        rows = torch.arange(len(contexts), device=self.device)
        ranks = torch.zeros_like(rows)
        for length, order in enumerate(self.orders[: contexts.shape[1] + 1]):
            if length:
                i, met = _find(order.contexts, ranks * self.V + contexts[rows, -length])
                rows, ranks = rows[met], i[met]  # nor was any longer one of the others seen
            yield order, rows, ranks


def fit(sequences: list[list[int]] | torch.Tensor, n: int, V: int, bos: int, eos: int) -> SparseNgrams:
    """The model of order ``n`` that was counted on some sequences, or on one text, a tensor ``(N,)``.

    Every sequence is padded with n - 1 ``bos`` and one ``eos``, as in :func:`reference_impl.bigrams.count_ngrams`. The
    time is that of one sort of the text, the space that of what was seen; with a tensor on a CUDA device both are spent
    there. Raises ValueError for n < 1, V < 2, an id outside 0 .. V - 1, and where there is no sequence. Follows Kneser
    and Ney (1995), interpolated as in Chen and Goodman (1999).

    >>> model = fit(torch.tensor([2, 3, 2, 3, 3]), n=3, V=4, bos=0, eos=1)
    >>> [len(order.grams) for order in model.orders]  # different n-grams of orders 1, 2 and 3
    [3, 5, 6]
    """
    arguments.whole("n", n, low=1)
    arguments.whole("V", V, low=2)
    ids, ends = _flat(sequences, n, V, bos, eos)
    columns, raw = _distinct(ids, ends, n, V)
    ranks, contexts = torch.zeros_like(raw), [torch.zeros_like(raw[:1])]
    for column in columns[-2::-1]:  # the context grows by an older id
        keys, ranks = torch.unique(ranks * V + column, return_inverse=True)
        contexts.append(keys)
    grams, sorted_ = (ranks * V + columns[-1]).sort()
    raw, orders = raw[sorted_], []
    different = raw  # at the top order raw counts are what counts
    for length in range(n - 1, -1, -1):
        ranks = grams // V
        begins = contexts[length][ranks] % V == bos if length else torch.zeros_like(ranks, dtype=torch.bool)
        counts = torch.where(begins, raw, different)
        totals, distinct = torch.zeros(2, len(contexts[length]), dtype=torch.int64, device=grams.device)
        totals.index_add_(0, ranks, counts)
        distinct.index_add_(0, ranks, torch.ones_like(counts))
        orders.insert(0, Order(contexts[length], grams, counts, totals, distinct))
        if length:
            # Without its oldest id, each n-gram is one more id that was seen before a shorter one.
            shorter = contexts[length][ranks] // V * V + grams % V
            grams, place, different = torch.unique(shorter, return_inverse=True, return_counts=True)
            raw = torch.zeros_like(grams).index_add_(0, place, raw)
    return SparseNgrams(n, V, bos, eos, tuple(orders))


def _flat(sequences: list[list[int]] | torch.Tensor, n: int, V: int, bos: int, eos: int):
    """All padded sequences in one row of ids, and the places of the tokens that are predicted."""
    arguments.whole("bos", bos, 0, V - 1)
    arguments.whole("eos", eos, 0, V - 1)
    if isinstance(sequences, torch.Tensor):
        arguments.tensor("sequences", sequences, "N", "integer", empty="N")
        arguments.ids("sequences", sequences, V)
        start, end = (torch.full((size,), one, device=sequences.device) for size, one in ((n - 1, bos), (1, eos)))
        ids = torch.cat([start, sequences.long(), end])
        return ids, torch.arange(n - 1, len(ids), device=ids.device)
    arguments.sequences("sequences", sequences, V)
    if not sequences:
        raise ValueError("sequences must hold at least one sequence")
    padding = [bos] * (n - 1)
    ids = torch.tensor([i for row in sequences for i in (*padding, *row, eos)], dtype=torch.int64)
    lengths = torch.tensor([n + len(row) for row in sequences])
    predicted = torch.ones(len(ids), dtype=torch.bool)
    predicted[((lengths.cumsum(0) - lengths).unsqueeze(1) + torch.arange(n - 1)).flatten()] = False
    return ids, predicted.nonzero().squeeze(1)


def _distinct(ids: torch.Tensor, ends: torch.Tensor, n: int, V: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The different n-grams that end at ``ends``, as n columns of ids, and how often each occurs."""
    codes, bound = torch.zeros_like(ends), 1
    for back in range(n - 1, -1, -1):
        if bound * V >= LARGEST:  # too many for 64 bits: number those that occur instead
            seen, codes = torch.unique(codes, return_inverse=True)
            bound = len(seen)
        codes, bound = codes * V + ids[ends - back], bound * V
    codes, order = codes.sort()
    new = torch.ones_like(codes, dtype=torch.bool)
    new[1:] = codes[1:] != codes[:-1]
    first = new.nonzero().squeeze(1)
    often = torch.diff(first, append=first.new_tensor([len(codes)]))
    example = ends[order[first]]
    return [ids[example - back] for back in range(n - 1, -1, -1)], often


def _find(keys: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each wanted number stands among sorted keys, and whether it does; where not, the place means nothing."""
    i = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return i, keys[i] == wanted
