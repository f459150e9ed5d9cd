"""Random corpora for the tests of counting models, and the definition of a count."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st

settings.register_profile("counting", deadline=None)  # torch's first call of some functions takes seconds
settings.load_profile("counting")


@st.composite
def corpora(draw, orders=(1, 2, 3)):
    """(sequences, n, V, bos, eos) with the special ids anywhere among the V."""
    V = draw(st.integers(3, 6))
    bos, eos, *words = draw(st.permutations(range(V)))
    sequences = draw(st.lists(st.lists(st.sampled_from(words), max_size=6), max_size=5))
    return sequences, draw(st.sampled_from(orders)), V, bos, eos


def tally(sequences, n, bos, eos):
    """The n-grams of a corpus as a Counter of tuples: the definition, word for word."""
    seen = Counter()
    for sequence in sequences:
        ids = [bos] * (n - 1) + sequence + [eos]
        seen.update(tuple(ids[i - n + 1 : i + 1]) for i in range(n - 1, len(ids)))
    return seen
