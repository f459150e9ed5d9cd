"""The bigrams reference against torch's own operators, values worked by hand, and properties over random corpora."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Dirichlet, MixtureSameFamily
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


@pytest.mark.parametrize(("n", "sequence"), [(0, [2]), (2, [9]), (2, [-1])])
def test_counting_refuses_an_order_below_one_and_ids_outside_the_vocabulary(n, sequence):
    with pytest.raises(ValueError, match=r"order|outside"):
        count_ngrams([sequence], n, 4, bos=0, eos=1)


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


def test_a_negative_pseudo_count_is_refused():
    with pytest.raises(ValueError, match="negative"):
        additive(torch.ones(2, 2), -0.5)


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
@settings(max_examples=50)
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


# interpolate


@given(corpora(orders=(3,)), st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
@settings(max_examples=50)
def test_interpolation_is_a_mixture_distribution(corpus, weights):
    sequences, n, V, bos, eos = corpus
    tables = [additive(count_ngrams(sequences, m, V, bos, eos).double(), 0.1) for m in range(1, n + 1)]
    parts = torch.stack([table.expand((V,) * n) for table in tables], dim=-2)
    weight = torch.tensor(weights, dtype=torch.float64).expand(*(V,) * (n - 1), n)
    mixture = MixtureSameFamily(Categorical(weight), Categorical(parts))
    tokens = torch.arange(V).view(V, *[1] * (n - 1))
    assert_close(interpolate(tables, weights), mixture.log_prob(tokens).exp().movedim(0, -1))


@given(corpora(orders=(3,)), st.permutations(range(3)))
@settings(max_examples=50)
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
    with pytest.raises(ValueError, match="zip"):
        interpolate([bigram], [0.5, 0.5])


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


def test_a_discount_outside_zero_and_one_or_too_long_a_context_is_refused():
    counts = torch.ones(3, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="discount"):
        kneser_ney(counts, [], 1.5, bos=0)
    with pytest.raises(ValueError, match="context"):
        kneser_ney(counts, [1, 2], 0.5, bos=0)


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
