"""Sparse Kneser-Ney against the full table of the bigrams chapter, and against the recursion on tuples."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from random_corpora import corpora, tally
from torch.testing import assert_close

from reference_impl import sparse_ngrams
from reference_impl.bigrams import average_nll, count_ngrams, kneser_ney, kneser_ney_table
from reference_impl.sparse_ngrams import fit

CLOSE = {"atol": 1e-12, "rtol": 1e-12}
discounts = st.sampled_from([0.0, 0.3, 0.75, 1.0])  # 0.3 is no float32


def every_context(V, length):
    return torch.tensor(list(itertools.product(range(V), repeat=length)), dtype=torch.int64).view(V**length, length)


def by_definition(sequences, n, V, bos, eos, context, w, D):
    """The printed recursion on tuples: raw counts at the top and after the begin token, else different ids before."""
    grams = [tally(sequences, m, bos, eos) for m in range(n + 1)]

    def count(h, w):
        if len(h) == n - 1 or h[:1] == (bos,):
            return grams[len(h) + 1][(*h, w)]
        return sum(gram[1:] == (*h, w) for gram in grams[len(h) + 2])

    def p(h):
        lower = p(h[1:]) if h else (w != bos) / (V - 1)
        after = [count(h, x) for x in {gram[-1] for gram in grams[1]}]
        total = sum(after)
        return (max(count(h, w) - D, 0) + sum(min(c, D) for c in after) * lower) / total if total else lower

    return p(tuple(context))


@given(corpora(orders=(1, 2, 3, 4)), discounts)
@settings(max_examples=30)
def test_every_row_is_that_of_the_full_table(corpus, D):
    sequences, n, V, bos, _ = corpus
    if not sequences:
        with pytest.raises(ValueError, match="sequences must hold at least one sequence"):
            fit(*corpus)
        return
    counts = count_ngrams(*corpus).double()
    model = fit(*corpus)
    rows = model.rows(every_context(V, n - 1), D)
    assert_close(rows.view((V,) * n), kneser_ney_table(counts, D, bos), **CLOSE)
    assert_close(rows.sum(-1), torch.ones(V ** (n - 1), dtype=torch.float64))
    for length in range(n - 1):
        short = every_context(V, length)
        expected = torch.stack([kneser_ney(counts, context, D, bos) for context in short.tolist()])
        assert_close(model.rows(short, D), expected, **CLOSE)


@given(corpora(orders=(1, 2, 3, 4)), discounts)
@settings(max_examples=30)
def test_pairs_are_entries_of_rows_and_losses_are_those_of_the_table(corpus, D):
    sequences, n, V, bos, eos = corpus
    sequences = [*sequences, []]
    model = fit(sequences, n, V, bos, eos)
    for length in range(n):
        contexts = every_context(V, length).repeat_interleave(V, 0)
        tokens = torch.arange(V).repeat(V**length)
        rows = model.rows(every_context(V, length), D)
        assert_close(model.probabilities(contexts, tokens, D), rows.flatten(), **CLOSE)
    table = kneser_ney_table(count_ngrams(sequences, n, V, bos, eos).double(), D, bos)
    heldout = [[eos], *sequences[::-1], [eos, eos]]
    for text in (sequences, heldout):
        expected = average_nll(table, text, bos, eos)
        assert model.mean_nll(text, D) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=4), st.integers(1, 4))
@settings(max_examples=25)
def test_begin_and_end_tokens_inside_a_sequence_are_counted_like_others(sequences, n):
    table = kneser_ney_table(count_ngrams(sequences, n, 4, 2, 0).double(), 0.75, 2)
    assert_close(fit(sequences, n, 4, 2, 0).rows(every_context(4, n - 1), 0.75).view((4,) * n), table, **CLOSE)


@pytest.mark.parametrize(("n", "V"), [(2, 10**9), (3, 5 * 10**6), (5, 50257), (30, 3), (5, 2**21), (7, 2**30)])
def test_a_table_with_more_cells_than_64_bits_can_count_is_no_hindrance(n, V):
    """Orders and vocabularies on both sides of 2**63 cells; with powers of two, what overflows leaves no trace."""
    bos, eos, words = 0, 1, sorted({i for i in (2, 3, V // 2, V // 2 + 1, V - 2, V - 1) if 2 <= i < V})
    drawn = torch.randint(len(words), (90,), generator=torch.Generator().manual_seed(n)).tolist()
    sequences = [[words[i] for i in drawn], [], words]
    model = fit(sequences, n, V, bos, eos)
    padded = [[bos] * (n - 1) + ids + [eos] for ids in [sequences[0][7:27], words[::-1]]]
    windows = [ids[i : i + n] for ids in padded for i in range(len(ids) - n + 1)]
    found = model.probabilities(torch.tensor(windows)[:, :-1], torch.tensor(windows)[:, -1], 0.75)
    expected = [by_definition(sequences, n, V, bos, eos, window[:-1], window[-1], 0.75) for window in windows]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    """Words 2 'san', 3 'francisco', 4 'my', 5 'glasses', 6 'your', with D = 1/2."""
    model = fit([[2, 3]] * 4 + [[4, 5], [6, 5]], n=2, V=7, bos=0, eos=1)
    # Continuation counts: </s> 2, san 1, francisco 1, my 1, glasses 2, your 1; 8 in all, 6 of them different.
    lower = torch.tensor([0, 1.5, 0.5, 0.5, 0.5, 1.5, 0.5], dtype=torch.float64) / 8
    lower[1:] += 6 * 0.5 / 8 / 6
    assert_close(model.rows(torch.zeros(1, 0, dtype=torch.int64), 0.5)[0], lower)
    assert_close(model.rows(torch.tensor([[1]]), 0.5)[0], lower)  # nothing follows </s>
    after_san = 0.5 / 4 * lower
    after_san[3] += 3.5 / 4
    assert_close(model.rows(torch.tensor([[2]]), 0.5)[0], after_san)
    assert model.mean_nll([[2, 3]], 1.0) > model.mean_nll([[2, 3]], 0.5) > 0
    assert model.mean_nll([[5, 2]], 0.0) == math.inf


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_a_text_may_be_a_tensor_of_any_integer_dtype(dtype):
    ids = torch.randint(2, 9, (40, 2), generator=torch.Generator().manual_seed(0)).to(dtype)
    before = ids.clone()
    model, same = fit(ids[:, 0], 3, 9, 0, 1), fit([ids[:, 0].tolist()], 3, 9, 0, 1)
    contexts = every_context(9, 2)
    assert_close(model.rows(contexts.to(dtype), 0.75), same.rows(contexts, 0.75), atol=0, rtol=0)
    assert model.mean_nll(ids[:, 1], 0.75) == same.mean_nll([ids[:, 1].tolist()], 0.75)
    assert torch.equal(ids, before)
    assert fit(ids[:0, 0], 3, 9, 0, 1).mean_nll(ids[:0, 0], 0) == 0  # the empty text ends, and nothing else


def test_a_long_text_is_scored_in_parts(monkeypatch):
    ids = torch.randint(2, 9, (50,), generator=torch.Generator().manual_seed(0))
    model = fit(ids, 3, 9, 0, 1)
    whole = model.mean_nll(ids, 0.75)
    monkeypatch.setattr(sparse_ngrams, "CHUNK", 7)
    assert model.mean_nll(ids, 0.75) == pytest.approx(whole, rel=1e-14)


def test_only_what_was_seen_is_kept():
    ids = torch.arange(2, 1002).repeat(2)
    model = fit(ids, 4, 1002, 0, 1)
    assert [len(order.grams) for order in model.orders] == [1001, 1002, 1003, 1004]
    assert sum(tensor.numel() for order in model.orders for tensor in vars(order).values()) < 25_000


MODEL = fit([[2, 3]], 3, 4, 0, 1)
IDS = torch.tensor([[2, 3], [0, 0]])


@pytest.mark.parametrize(("call", "says"), [
    (lambda: fit([[2]], 0, 4, 0, 1), "n must be a whole number of at least 1"),
    (lambda: fit([[2]], 2, 1, 0, 0), "V must be a whole number of at least 2"),
    (lambda: fit([[4]], 2, 4, 0, 1), "sequences must hold ids from 0 to 3; found 4"),
    (lambda: fit([2], 2, 4, 0, 1), "sequences must be a list of lists"),
    (lambda: fit([], 2, 4, 0, 1), "sequences must hold at least one sequence"),
    (lambda: fit(torch.tensor([-1]), 2, 4, 0, 1), "sequences must hold ids from 0 to 3; found -1"),
    (lambda: fit(torch.tensor([1.0]), 2, 4, 0, 1), "sequences must have an integer dtype"),
    (lambda: fit(IDS, 2, 4, 0, 1), r"sequences must have the shape \(N,\)"),
    (lambda: fit([[2]], 2, 4, -1, 1), "bos must be a whole number from 0 to 3"),
    (lambda: fit([[2]], 2, 4, 0, 9), "eos must be a whole number from 0 to 3"),
    (lambda: MODEL.rows(IDS, 1.5), "discount must be a number"),
    (lambda: MODEL.rows(IDS + 2, 0.5), r"contexts must hold ids from 0 to 3; found 4 at \(0, 0\)"),
    (lambda: MODEL.rows(IDS.repeat(1, 2), 0.5), "contexts must have at most n - 1 = 2 ids each, not 4"),
    (lambda: MODEL.rows([[2, 3]], 0.5), "contexts must be a tensor"),
    (lambda: MODEL.rows(IDS[:0], 0.5), "contexts is empty"),
    (lambda: MODEL.probabilities(IDS, IDS[0, :1], 0.5), r"tokens must have the shape \(Q,\) with Q = 2"),
    (lambda: MODEL.probabilities(IDS, IDS[0] + 2, 0.5), "tokens must hold ids from 0 to 3; found 4"),
    (lambda: MODEL.mean_nll([], 0.5), "sequences must hold at least one sequence"),
    (lambda: MODEL.mean_nll([[2]], -0.5), "discount must be a number"),
])
def test_a_bad_argument_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@needs_gpu
def test_a_text_on_the_gpu_is_counted_there():
    ids = torch.randint(2, 30, (5000,), generator=torch.Generator().manual_seed(0))
    here, there = fit(ids, 4, 30, 0, 1), fit(ids.cuda(), 4, 30, 0, 1)
    windows = ids.unfold(0, 4, 1)
    assert there.device.type == "cuda"
    assert_close(there.rows(windows[:, :-1], 0.75).cpu(), here.rows(windows[:, :-1], 0.75), **CLOSE)
    assert there.mean_nll(ids, 0.75) == pytest.approx(here.mean_nll(ids, 0.75), rel=1e-12)
