"""Interpolation and Kneser-Ney of the reference: mixtures of torch's own, the printed recursion, values by hand."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_corpora import corpora, tally
from torch.distributions import Categorical, MixtureSameFamily
from torch.testing import assert_close

from reference_impl.bigrams import (
    additive,
    count_ngrams,
    interpolate,
    kneser_ney,
    kneser_ney_table,
    normalize,
)

# interpolate


@given(corpora(orders=(3,)), st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_interpolation_is_a_mixture_distribution(corpus, weights):
    sequences, n, V, bos, eos = corpus
    tables = [additive(count_ngrams(sequences, m, V, bos, eos).double(), 0.1) for m in range(1, n + 1)]
    parts = torch.stack([table.expand((V,) * n) for table in tables], dim=-2)
    weight = torch.tensor(weights, dtype=torch.float64).expand(*(V,) * (n - 1), n)
    mixture = MixtureSameFamily(Categorical(weight), Categorical(parts))
    tokens = torch.arange(V).view(V, *[1] * (n - 1))
    assert_close(interpolate(tables, weights), mixture.log_prob(tokens).exp().movedim(0, -1))


@given(corpora(orders=(3,)), st.permutations(range(3)))
@settings(max_examples=50, deadline=None)
def test_interpolated_rows_sum_to_one_wherever_anything_was_counted(corpus, order):
    sequences, n, V, bos, eos = corpus
    tables = [normalize(count_ngrams(sequences, m, V, bos, eos).double()) for m in range(1, n + 1)]
    mixed = interpolate([tables[i] for i in order], [order[i] + 0.5 for i in range(3)])
    assert_close(mixed.sum(-1), torch.ones_like(mixed.sum(-1)) if sequences else torch.zeros_like(mixed.sum(-1)))


def test_interpolation_by_hand():
    bigram = torch.tensor([[0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]])
    mixed = interpolate([bigram, torch.tensor([0.25, 0.75, 0])], [0.6, 0.4])
    assert_close(mixed, torch.tensor([[0.4, 0.6, 0], [0.25, 0.75, 0], [0.1, 0.3, 0.6]]))
    assert_close(interpolate([bigram, bigram.mean(0)], [1, 0])[1], torch.zeros(3))


# kneser_ney


def by_definition(sequences, n, V, bos, eos, context, D):
    """The printed recursion on tuples, every order counted from the text and none summed from a table."""
    grams = [tally(sequences, m, bos, eos) for m in range(n + 1)]

    def count(h, w):
        if len(h) == n - 1 or h[:1] == (bos,):
            return grams[len(h) + 1][(*h, w)]
        return sum((v, *h, w) in grams[len(h) + 2] for v in range(V))

    def p(h, w):
        lower = p(h[1:], w) if h else (w != bos) / (V - 1)
        total = sum(count(h, x) for x in range(V))
        if not total:
            return lower
        taken = sum(min(count(h, x), D) for x in range(V))
        return max(count(h, w) - D, 0) / total + taken / total * lower

    return torch.tensor([p(tuple(context), w) for w in range(V)], dtype=torch.float64)


@given(corpora(orders=(1, 2, 3, 4)), st.floats(0, 1), st.data())
@settings(max_examples=60, deadline=None)
def test_kneser_ney_is_the_printed_recursion(corpus, D, data):
    sequences, n, V, bos, eos = corpus
    counts = count_ngrams(*corpus).double()
    context = data.draw(st.lists(st.integers(0, V - 1), max_size=n - 1))
    row = kneser_ney(counts, context, D, bos)
    assert_close(row, by_definition(sequences, n, V, bos, eos, context, D))
    assert_close(row.sum(), torch.ones((), dtype=torch.float64))
    assert row[bos] == 0


@given(corpora(), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_whole_table_is_its_rows(corpus, D):
    _, n, V, bos, _ = corpus
    counts = count_ngrams(*corpus)
    table = kneser_ney_table(counts, D, bos)
    for context in itertools.product(range(V), repeat=n - 1):
        assert_close(table[context], kneser_ney(counts, list(context), D, bos))


def test_francisco_is_frequent_but_follows_one_word_only():
    """Words 2 'san', 3 'francisco', 4 'my', 5 'glasses', 6 'your': the classic of Kneser-Ney, with D = 1/2."""
    sequences = [[2, 3]] * 4 + [[4, 5], [6, 5]]
    counts = count_ngrams(sequences, 2, 7, bos=0, eos=1)
    raw = normalize(count_ngrams(sequences, 1, 7, bos=0, eos=1))
    lower = kneser_ney(counts, [], 0.5, bos=0)
    assert raw[3] == 2 * raw[5]  # seen twice as often ...
    assert lower[3] < lower[5]  # ... and yet less likely after a word it was never seen with
    # Continuation counts: </s> 2 (francisco, glasses), san 1, francisco 1, my 1, glasses 2, your 1; 8 in all.
    assert_close(lower, torch.tensor([0, 1.5, 0.5, 0.5, 0.5, 1.5, 0.5]) / 8 + torch.tensor([0.0, *[3 / 8 / 6] * 6]))
    assert_close(kneser_ney(counts, [1], 0.5, bos=0), lower)  # nothing follows </s>


def test_contexts_that_begin_with_the_begin_token_keep_raw_counts():
    counts = count_ngrams([[2], [2], [2], [3]], 3, 4, bos=0, eos=1)
    lower = kneser_ney(counts, [], 1.0, bos=0)
    # Different ids before 1, 2 and 3: two, one and one. The discount takes one of each, a third of the 3 / 4 for all.
    assert_close(lower, torch.tensor([0, 0.5, 0.25, 0.25]))
    assert_close(kneser_ney(counts, [0], 0.5, bos=0), torch.tensor([0, 0, 2.5, 0.5]) / 4 + lower / 4)
