"""The bigrams reference against torch's own operators, values worked by hand, and properties over random corpora."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_corpora import corpora, tally
from torch.distributions import Dirichlet
from torch.testing import assert_close

from reference_impl.bigrams import (
    additive,
    average_nll,
    count_ngrams,
    interpolate,
    kneser_ney,
    kneser_ney_table,
    normalize,
    sample_sequence,
)

WORDS = ["<s>", "</s>", "package", "parcel", "order", "left", "warehouse", "hub", "carrier", "depot"]
MESSAGES = ["package left warehouse"] * 2 + [
    "parcel left hub", "parcel left warehouse", "order left hub", "order left carrier"]
SIX = [[WORDS.index(word) for word in message.split()] for message in MESSAGES]


# The numbers of the course


def test_six_messages_give_three_two_one_of_six_after_left():
    table = normalize(count_ngrams(SIX, 2, len(WORDS), bos=0, eos=1))
    row = dict(zip(WORDS, table[WORDS.index("left")].tolist()))
    assert row["warehouse"] == pytest.approx(3 / 6)
    assert row["hub"] == pytest.approx(2 / 6)
    assert row["carrier"] == pytest.approx(1 / 6)
    assert row["depot"] == 0


def test_counts_of_85_10_5_make_the_row_85_10_05():
    assert_close(normalize(torch.tensor([85, 10, 5])), torch.tensor([0.85, 0.10, 0.05]))


# count_ngrams


@given(corpora(orders=(1, 2, 3, 4)))
def test_every_count_is_that_of_the_definition(corpus):
    sequences, n, V, bos, eos = corpus
    counts = count_ngrams(*corpus)
    assert counts.dtype == torch.int64
    assert counts.shape == (V,) * n
    assert {tuple(i): int(counts[tuple(i)]) for i in counts.nonzero().tolist()} == tally(sequences, n, bos, eos)


@given(corpora(orders=(2,)))
def test_bigram_counts_are_one_hot_products(corpus):
    sequences, _, V, bos, eos = corpus
    before = torch.tensor([i for s in sequences for i in [bos, *s]], dtype=torch.int64)
    after = torch.tensor([i for s in sequences for i in [*s, eos]], dtype=torch.int64)
    one_hot = torch.nn.functional.one_hot
    assert_close(count_ngrams(*corpus), one_hot(before, V).T @ one_hot(after, V))


@given(corpora(orders=(2, 3, 4)))
def test_summing_over_the_oldest_token_gives_the_counts_of_the_lower_order(corpus):
    sequences, n, V, bos, eos = corpus
    assert_close(count_ngrams(*corpus).sum(0), count_ngrams(sequences, n - 1, V, bos, eos))
    assert count_ngrams(*corpus).sum() == sum(len(s) + 1 for s in sequences)


# normalize and additive


@given(corpora())
def test_normalize_is_torchs_own_l1_normalisation(corpus):
    counts = count_ngrams(*corpus)
    assert_close(normalize(counts), torch.nn.functional.normalize(counts.float(), p=1, dim=-1))


@given(corpora(), st.floats(0.01, 10))
def test_additive_smoothing_is_the_mean_of_a_dirichlet_posterior(corpus, k):
    counts = count_ngrams(*corpus).double()
    assert_close(additive(counts, k), Dirichlet(counts + k).mean)


def test_additive_by_hand():
    assert_close(additive(torch.tensor([[3, 1, 0, 0]]), 0.5), torch.tensor([[3.5, 1.5, 0.5, 0.5]]) / 6)
    assert_close(additive(torch.tensor([[3, 1], [0, 0]]), 0), torch.tensor([[0.75, 0.25], [0, 0]]))


@pytest.mark.parametrize(("given", "made"), [(torch.int64, torch.float32), (torch.int32, torch.float32),
                                             (torch.float64, torch.float64), (torch.float32, torch.float32)])
def test_floating_tables_keep_their_dtype_and_integers_become_the_default(given, made):
    counts = torch.tensor([[1, 2], [0, 1]]).to(given)
    assert normalize(counts).dtype == additive(counts, 0.5).dtype == kneser_ney(counts, [1], 0.5, 0).dtype == made
    assert kneser_ney_table(counts, 0.5, 0).dtype == made


# average_nll


@given(corpora(), st.floats(0.1, 2))
def test_average_nll_is_torchs_nll_loss(corpus, k):
    sequences, n, V, bos, eos = corpus
    table = additive(count_ngrams(*corpus).double(), k)
    if not sequences:
        with pytest.raises(ValueError, match="sequence"):
            average_nll(table, sequences, bos, eos)
        return
    grams = torch.tensor(list(tally(sequences, n, bos, eos).elements()))
    rows = table[tuple(grams[:, :-1].T)] if n > 1 else table.expand(len(grams), V)
    expected = torch.nn.functional.nll_loss(rows.log(), grams[:, -1])
    assert average_nll(table, sequences, bos, eos) == pytest.approx(float(expected), rel=1e-9)


@given(corpora())
@settings(max_examples=50, deadline=None)
def test_no_table_beats_the_one_that_was_counted(corpus):
    sequences, _, _, bos, eos = corpus
    if sequences:
        counts = count_ngrams(*corpus).double()
        best = average_nll(normalize(counts), sequences, bos, eos)
        assert 0 <= best <= average_nll(additive(counts, 0.3), sequences, bos, eos) + 1e-12


def test_average_nll_weighs_tokens_and_not_sequences():
    table = torch.tensor([[0, 0.5, 0.5], [0, 0, 0], [0, 0.5, 0.5]]).double()
    table[2] = torch.tensor([0, 0.25, 0.75])
    by_hand = (math.log(2) + math.log(2) - 2 * math.log(0.75) + math.log(4)) / 5  # [] and [2, 2, 2]
    assert average_nll(table, [[], [2, 2, 2]], bos=0, eos=1) == pytest.approx(by_hand)


def test_an_unseen_pair_costs_inf_and_zeros_elsewhere_cost_nothing():
    table = normalize(count_ngrams([[2, 3]], 2, 4, bos=0, eos=1))
    assert average_nll(table, [[2, 3]], bos=0, eos=1) == 0
    assert average_nll(table, [[3, 2]], bos=0, eos=1) == math.inf


# sample_sequence


@given(st.lists(st.integers(0, 2**20 - 1), max_size=20), st.integers(1, 3), st.integers(0, 2**30))
def test_sampling_is_torchs_searchsorted_in_the_cdf(numbers, n, seed):
    V, bos, eos = 5, 3, 1
    table = torch.rand((V,) * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    table = normalize(table * (table > 0.3))
    uniforms, context, expected = [i / 2**20 for i in numbers], [bos] * (n - 1), []
    for u in uniforms:
        row = table[tuple(context)]
        token = int(torch.searchsorted(row.cumsum(0), u, right=True)) if row.any() else eos
        if token == eos:
            break
        expected.append(token)
        context = [*context, token][1:]
    assert sample_sequence(table, uniforms, 99, bos, eos) == expected
    assert sample_sequence(table, uniforms, 2, bos, eos) == expected[:2]


def test_evenly_spaced_uniforms_give_each_token_its_share():
    table = torch.tensor([[0, 0.125, 0.5, 0.375], *[[0, 1.0, 0, 0]] * 3])
    drawn = [sample_sequence(table, [i / 800, 0], 5, bos=0, eos=1) for i in range(800)]
    assert [drawn.count(ids) for ids in ([], [2], [3])] == [100, 400, 300]


def test_a_token_of_probability_zero_is_never_drawn():
    table = torch.tensor([[0, 0, 1 - 2**-20, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]])
    assert sample_sequence(table, [0.0], 1, bos=0, eos=1) == [2]
    assert sample_sequence(table, [1 - 2**-24], 1, bos=0, eos=1) == [2]


def test_sampling_stops():
    table = torch.tensor([[0, 0, 1.0, 0], [0, 0, 0, 0], [0, 0, 0, 1.0], [0, 0, 0, 0]])
    assert sample_sequence(table, [0.5] * 9, 9, bos=0, eos=1) == [2, 3]  # nothing follows 3
    assert sample_sequence(table, [0.5] * 9, 1, bos=0, eos=1) == [2]
    assert sample_sequence(table, [0.5] * 9, 0, bos=0, eos=1) == []
    assert sample_sequence(table, [], 9, bos=0, eos=1) == []


# What holds for all of them


def test_arguments_are_left_alone_and_strides_do_not_matter():
    sequences, uniforms, context = [[2, 3], []], [0.1, 0.9], [3]
    counts = count_ngrams(sequences, 2, 4, bos=0, eos=1)
    turned, before = counts.T.contiguous().T, counts.clone()
    for function in (normalize, additive):
        assert_close(function(turned), function(counts))
    assert_close(kneser_ney(turned, context, 0.5, 0), kneser_ney(counts, context, 0.5, 0))
    table = additive(turned, 0.5)
    average_nll(table, sequences, 0, 1)
    sample_sequence(table, uniforms, 9, 0, 1)
    interpolate([table, table[0]], [0.5, 0.5])
    assert_close(table, additive(counts, 0.5))
    assert_close(counts, before)
    assert (sequences, uniforms, context) == ([[2, 3], []], [0.1, 0.9], [3])
