"""What is known exactly of :mod:`reference_impl.parcels`: laws, entropy, and the distance of a model.

All logarithms are natural, so entropies and distances are in nats. A document of n words is n + 1 tokens: its end token
is drawn, scored and counted like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reference_impl import parcels
from reference_impl.corpus import EOS
from reference_impl.parcels import END, MECHANISMS, PARCELS, Language, State


@dataclass(frozen=True)
class Conditionals:
    """The true law of every token of some documents, one document after the other, M tokens in all."""

    rows: np.ndarray  # (M, V) float64, each sums to 1
    targets: np.ndarray  # (M,) int64, the token that came
    mechanisms: np.ndarray  # (M,) int64, an index into MECHANISMS


@dataclass(frozen=True)
class Distance:
    """How far a model is from the truth, in nats per token: the mean of KL(truth || model) over the tokens scored."""

    per_token: float
    by_mechanism: dict[str, float]  # the mean over the tokens that the mechanism decides
    share: dict[str, float]  # which part of the tokens that is


@dataclass(frozen=True)
class Entropy:
    """The exact uncertainty of a language; ``per_token`` is the lowest loss that any model can have on it."""

    per_token: float
    per_document: float
    tokens: float  # the expected number of tokens of a document, end token included
    by_mechanism: dict[str, float]  # nats per token of that mechanism
    share: dict[str, float]  # which part of the tokens that is
    lengths: np.ndarray  # lengths[n] is the probability that a document has n tokens, end token included


def conditionals(documents: Sequence[Sequence[int]], language: Language = PARCELS) -> Conditionals:
    """The exact next-token distributions along documents: M = sum of (len + 1) rows. Raises ValueError for a bad id.

    >>> conditionals([[], PARCELS.vocabulary.encode("hello")]).rows.shape
    (3, 112)
    """
    vocabulary, noise = language.vocabulary, language.noise
    laws = [law for document in documents for law in parcels.walk(document, language)]
    targets = [token for document in documents for token in (*document, vocabulary.eos)]
    kinds = [MECHANISMS.index(kind) for _, _, kind in laws]
    rows = np.full((len(laws), vocabulary.V), noise / (vocabulary.V - 1))
    rows[:, vocabulary.bos] = 0.0
    at = np.repeat(np.arange(len(laws)), [len(ids) for ids, _, _ in laws])
    legal = np.array([i for ids, _, _ in laws for i in ids], dtype=np.int64)
    rows[at, legal] += (1 - noise) * np.array([x for _, p, _ in laws for x in p])
    return Conditionals(rows, np.array(targets, dtype=np.int64), np.array(kinds, dtype=np.int64))


def log_probability(document: Sequence[int], language: Language = PARCELS) -> float:
    """The log-probability of a document, its end token included, in nats. Raises ValueError for a bad id.

    >>> round(log_probability([]), 4), round(float(np.log(0.002 / 111)), 4)  # only noise ends a document at once
    (-10.9241, -10.9241)
    """
    true = conditionals([document], language)
    return float(np.log(true.rows[np.arange(len(true.targets)), true.targets]).sum())


def collapse(state: State) -> State:
    """One state for all that differ only in *which* digits, city and region were said.

    Swap two digits of a tracking number, or two regions and their cities, wherever they are meant: the laws change the
    names of their tokens and nothing else, and so do all laws that follow. Entropy and length cannot tell them apart.
    """
    return state._replace(kept=("0",) * len(state.kept), region=min(state.region, 0))


def entropy(language: Language = PARCELS, collapsed: bool = True) -> Entropy:
    """The exact entropy, length and mechanisms of a language, by a forward programme over its states.

    The state is a function of the tokens so far, so the entropy of a document is the expected sum of the entropies of
    the states it visits (the chain rule of Shannon, 1948). The programme carries the probability of being in each state
    from one token to the next, until less than 1e-13 of a document is left. ``collapsed=False`` keeps the states apart
    that :func:`collapse` merges: a check for small languages.

    >>> known = entropy(parcels.Language(noise=0.0))
    >>> known.by_mechanism["syntax"], known.by_mechanism["copy"], round(float(known.lengths.sum()), 9)
    (0.0, 0.0, 1.0)
    """
    source, target, weight, nats, kinds = _programme(language, collapse if collapsed else lambda state: state)
    n = len(nats)
    mass, visits, lengths = np.zeros(n), np.zeros(n), [0.0]
    mass[0] = 1.0
    while mass.sum() > 1e-13:
        visits += mass
        moved = np.bincount(target + 1, weights=mass[source] * weight, minlength=n + 1)
        lengths.append(float(moved[0]))
        mass = moved[1:]
    total, tokens = float(visits @ nats), float(visits.sum())
    counts = np.bincount(kinds, weights=visits, minlength=len(MECHANISMS))
    sums = np.bincount(kinds, weights=visits * nats, minlength=len(MECHANISMS))
    return Entropy(total / tokens, total, tokens, _named(sums, counts), _named(counts, counts.sum()), np.array(lengths))


def _programme(language: Language, represent: Callable[[State], State]) -> tuple[np.ndarray, ...]:
    """All states that can be reached, numbered from 0: their moves (from, to, p), their entropies, their mechanisms.

    The end has the number -1. Of the tokens that only noise can say, one ends the document and the others stay.
    """
    V, noise = language.vocabulary.V, language.noise
    stray = noise / (V - 1)  # the probability of each token that is not legal
    numbers: dict[State, int] = {State(): 0, END: -1}
    todo, moves, nats, kinds = [State()], [], [], []
    for here, state in enumerate(todo):  # which grows while it is walked
        tokens, p, following, mechanisms = zip(*parcels.step(state, language))
        law = (1 - noise) * np.array(p) + stray
        others = V - 1 - len(p)
        nats.append(float(-(law * np.log(law)).sum() - (others * stray * np.log(stray) if noise else 0.0)))
        kinds.append(MECHANISMS.index(mechanisms[0]))
        ends = EOS not in tokens
        for q, after in (*zip(law, map(represent, following)), (ends * stray, END), ((others - ends) * stray, state)):
            if after not in numbers:
                numbers[after] = len(todo)
                todo.append(after)
            moves.append((here, numbers[after], q))
    source, target, weight = zip(*moves)
    return np.array(source), np.array(target), np.array(weight), np.array(nats), np.array(kinds)


def kl_to_truth(
    model: Callable[[list[int]], Sequence[float]], documents: Sequence[Sequence[int]], language: Language = PARCELS
) -> Distance:
    """The distance of a model to the truth along documents, where ``model(prefix)`` gives (V,) probabilities.

    At every prefix the whole of KL(truth || model) is summed, not only the log-ratio at the token that came, so a few
    hundred documents are enough. It is inf where the model rules out what the truth does not.
    Raises ValueError for a bad id and where the model's answer is not (V,).

    >>> uniform = np.full(PARCELS.vocabulary.V, 1 / PARCELS.vocabulary.V)
    >>> kl_to_truth(lambda prefix: uniform, parcels.sample(20, seed=1)).per_token > 3
    True
    >>> kl_to_truth(parcels.next_distribution, parcels.sample(20, seed=1)).per_token
    0.0
    """
    V, rows = language.vocabulary.V, []
    for document in documents:
        for t in range(len(document) + 1):
            row = np.asarray(model(list(document[:t])), dtype=np.float64)
            if row.shape != (V,):
                raise ValueError(f"model must give {V} probabilities for a prefix, not an array of shape {row.shape}")
            rows.append(row)
    return kl_of_rows(np.array(rows).reshape(-1, V), documents, language)


def kl_of_table(table: np.ndarray, documents: Sequence[Sequence[int]], language: Language = PARCELS) -> Distance:
    """:func:`kl_to_truth` of a table of n-gram probabilities ``(V,) * n``, context first: an array or a CPU tensor.

    The context of a document's first tokens is filled up with begin tokens. Raises ValueError for another shape.

    >>> kl_of_table(np.full((112, 112), 1 / 112), parcels.sample(20, seed=1)).per_token > 3
    True
    """
    table, V, bos = np.asarray(table), language.vocabulary.V, language.vocabulary.bos
    if not table.ndim or table.shape != (V,) * table.ndim:
        raise ValueError(f"table must have the shape ({V},) * n, not {table.shape}")
    k = table.ndim - 1
    padded = [[bos] * k + [int(i) for i in document] for document in documents]
    contexts = [ids[t:t + k] for ids in padded for t in range(len(ids) - k + 1)]
    at = np.array(contexts, dtype=np.int64).reshape(len(contexts), k)
    if at.size and not 0 <= at.min() <= at.max() < V:
        raise ValueError(f"documents must hold ids of words, which are 2 to {V - 1}")
    return kl_of_rows(np.broadcast_to(table[tuple(at.T)], (len(contexts), V)), documents, language)


def kl_of_rows(rows: np.ndarray, documents: Sequence[Sequence[int]], language: Language = PARCELS) -> Distance:
    """:func:`kl_to_truth` where the model's probabilities are at hand: (M, V), in the order of :func:`conditionals`.

    Raises ValueError where the shape is another, and where there are no documents.

    >>> documents = parcels.sample(3, seed=1)
    >>> kl_of_rows(conditionals(documents).rows, documents).per_token
    0.0
    """
    if not len(documents):
        raise ValueError("documents must not be empty")
    true, rows = conditionals(documents, language), np.asarray(rows, dtype=np.float64)
    if rows.shape != true.rows.shape:
        raise ValueError(f"rows must have the shape {true.rows.shape}, not {rows.shape}")
    some = true.rows > 0
    with np.errstate(divide="ignore"):
        terms = true.rows[some] * (np.log(true.rows[some]) - np.log(rows[some]))
    kl = np.bincount(np.nonzero(some)[0], weights=terms, minlength=len(rows))
    counts = np.bincount(true.mechanisms, minlength=len(MECHANISMS))
    sums = np.bincount(true.mechanisms, weights=kl, minlength=len(MECHANISMS))
    return Distance(float(kl.mean()), _named(sums, counts), _named(counts, counts.sum()))


def _named(sums: np.ndarray, counts: np.ndarray | float) -> dict[str, float]:
    """``sums / counts`` by mechanism, without those that did not occur."""
    ratio = np.divide(sums, counts, out=np.zeros(len(sums)), where=np.asarray(counts) > 0)
    occur = np.broadcast_to(counts, sums.shape) > 0
    return {name: float(x) for name, x, there in zip(MECHANISMS, ratio, occur) if there}
