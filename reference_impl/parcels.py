"""`parcels`: the tracking log of an invented parcel service, a language whose truth is known.

Greetings, parcels that leave a site with a carrier for a city, scans, counts of items, a support bot and JSON-like
records: 112 words, documents of about 51 tokens. The rules are in :mod:`reference_impl.parcels_grammar`; here they meet
ids: documents are drawn, and every prefix has an exact next-token distribution. Entropy and the distance of a model to
the truth are in :mod:`reference_impl.truth`.

Sequences are lists of ids without begin and end tokens. With probability .002 (``Language.noise``) a token is drawn
from the whole vocabulary and not by the rules: a legal one still moves the document on, the end token ends it, and any
other leaves it where it was. So every prefix, also one that no rule allows, has a next-token distribution.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import index
from typing import SupportsIndex

import numpy as np

from reference_impl.parcels_grammar import (
    END,
    MECHANISMS,
    PARCELS,
    RATES,
    Language,
    State,
    advance,
    delay_rate,
    step,
)

__all__ = [
    "END", "MECHANISMS", "PARCELS", "RATES", "Language", "State", "advance", "delay_rate", "mechanism",
    "next_distribution", "sample", "step", "text", "walk",
]

Law = tuple[tuple[int, ...], tuple[float, ...], str]  # legal ids, their probabilities before noise, the mechanism


@lru_cache(maxsize=1 << 14)
def _law(bare: State, language: Language) -> tuple[tuple[int, ...], tuple[float, ...], tuple[State, ...], str, bool]:
    """:func:`step` in ids, for a state without what was kept: a few thousand laws serve all documents.

    A kept word comes back as its place: -1, -2, ... The last result says whether the token that is said is kept.
    """
    blank = tuple(range(-1, -2 - language.number_length, -1))
    tokens, p, states, kinds = zip(*step(bare._replace(kept=blank), language))
    ids = tuple(token if isinstance(token, int) else language.vocabulary.ids[token] for token in tokens)
    keeps = len(states[0].kept) > len(blank)
    return ids, p, tuple(state._replace(kept=()) for state in states), kinds[0], keeps


def walk(prefix: Iterable[int], language: Language = PARCELS) -> Iterator[Law]:
    """The rules' law before each token of a prefix and after the last: len + 1 of them, noise not included.

    Raises ValueError for an id that is not a word's: begin and end tokens are not part of a sequence.

    >>> [kind for _, _, kind in walk(PARCELS.vocabulary.encode("hello team ! ticket parcels"))]
    ['bigram', 'bigram', 'bigram', 'syntax', 'free', 'syntax']
    """
    state, kept, V = State(), (), language.vocabulary.V
    for token in prefix:
        if not isinstance(token, SupportsIndex) or not 1 < index(token) < V:
            raise ValueError(f"prefix: {token!r} is not the id of a word; those are 2 to {V - 1}")
        ids, p, states, kind, keeps = _law(state, language)
        ids = tuple(kept[-1 - i] if i < 0 else i for i in ids)
        yield ids, p, kind
        if token in ids:
            state, kept = states[ids.index(token)], (*kept, token) if keeps else kept
    ids, p, _, kind, _ = _law(state, language)
    yield tuple(kept[-1 - i] if i < 0 else i for i in ids), p, kind


def next_distribution(prefix: Iterable[int], language: Language = PARCELS) -> np.ndarray:
    """The exact law of the token after a prefix of ids, noise included: (V,) float64; only the begin token has 0.

    Raises ValueError for an id that is not a word's.

    >>> row = next_distribution([])
    >>> round(float(row.sum()), 12), PARCELS.vocabulary.tokens[row.argmax()]
    (1.0, 'hello')
    """
    *_, (ids, p, _) = walk(prefix, language)
    row = np.full(language.vocabulary.V, language.noise / (language.vocabulary.V - 1))
    row[language.vocabulary.bos] = 0.0
    row[list(ids)] += (1 - language.noise) * np.array(p)
    return row


def mechanism(prefix: Iterable[int], language: Language = PARCELS) -> str:
    """Which of MECHANISMS decides the token after a prefix of ids. Raises ValueError for an id that is not a word's.

    >>> mechanism(PARCELS.vocabulary.encode("hello all ! ticket 7 order number"))
    'free'
    """
    *_, (_, _, kind) = walk(prefix, language)
    return kind


def sample(n_documents: int, seed: int, language: Language = PARCELS) -> list[list[int]]:
    """``n_documents`` documents as lists of ids, without begin and end; the same for the same seed on every Python.

    >>> text(sample(1, seed=3)[0][:8])
    'hello team ! ticket 9 0 0 package'
    """
    if n_documents < 0:
        raise ValueError(f"n_documents must not be negative, not {n_documents}")
    uniform = random.Random(seed).random  # a stream that Python promises to keep; numpy does not promise its own
    V, eos, noise = language.vocabulary.V, language.vocabulary.eos, language.noise
    documents = []
    for _ in range(n_documents):
        state, kept, ids = State(), (), []
        while state != END:
            legal, p, states, _, keeps = _law(state, language)
            u = uniform()
            if u < noise:
                token = min(1 + int(u / noise * (V - 1)), V - 1)
                legal = tuple(kept[-1 - i] if i < 0 else i for i in legal)
                i = legal.index(token) if token in legal else -1
            else:
                u, i, last = (u - noise) / (1 - noise), 0, len(p) - 1
                while i < last and u >= p[i]:
                    u -= p[i]
                    i += 1
                token = legal[i] if legal[i] >= 0 else kept[-1 - legal[i]]
            if token == eos:
                break
            ids.append(token)
            if i >= 0:
                state, kept = states[i], (*kept, token) if keeps else kept
        documents.append(ids)
    return documents


def text(ids: Sequence[int], language: Language = PARCELS) -> str:
    """The words of a document, with a space between them. Raises ValueError for an id outside the vocabulary.

    >>> text([2, 3, 4])
    '0 1 2'
    """
    return language.vocabulary.decode(ids)
