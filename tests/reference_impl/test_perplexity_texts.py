"""Merging pairs and sliding windows over a text: their definitions, values worked by hand, and what does not change."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from torch.testing import assert_close

from reference_impl.corpus import Bytes
from reference_impl.perplexity import bits_per_byte, merge_pair, perplexity, strided_nll

# merge_pair


def merge_by_definition(ids, pair, new_id):
    merged, at = [], 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == tuple(pair):
            merged.append(new_id)
            at += 2
        else:
            merged.append(ids[at])
            at += 1
    return merged


@given(st.lists(st.integers(0, 2), max_size=30), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(0, 4),
       st.sampled_from([torch.int32, torch.int64]))
@settings(max_examples=100, deadline=None)
def test_merging_is_one_pass_from_left_to_right(ids, pair, new_id, dtype):
    before, expected = list(ids), merge_by_definition(ids, pair, new_id)
    assert merge_pair(ids, pair, new_id) == merge_pair(tuple(ids), list(pair), new_id) == expected
    assert ids == before
    row = torch.tensor([[i, 9] for i in ids], dtype=dtype).reshape(-1, 2)[:, 0]
    assert_close(merge_pair(row, pair, new_id), torch.tensor(expected, dtype=dtype))
    assert row.tolist() == before
    if new_id > 2:  # a new one, so that nothing is lost
        assert [i for x in merge_pair(ids, pair, new_id) for i in (pair if x == new_id else [x])] == ids


@pytest.mark.parametrize(("n", "merged"), [(0, []), (1, [7]), (2, [9]), (3, [9, 7]), (4, [9, 9]), (5, [9, 9, 7])])
def test_a_run_of_equal_ids_by_hand(n, merged):
    assert merge_pair([7] * n, (7, 7), 9) == merged
    assert merge_pair([1, *[7] * n, 1, *[7] * n], (7, 7), 9) == [1, *merged, 1, *merged]


def test_what_a_merge_makes_is_not_merged_again():
    assert merge_pair([1, 2, 2], (1, 2), 1) == [1, 2]
    assert merge_pair([1, 1, 1, 1], (1, 1), 1) == [1, 1]


def test_small_dtypes_do_not_wrap_in_a_merge():
    row = torch.tensor([1, 2, 255], dtype=torch.uint8)
    assert_close(merge_pair(row, (257, 2), 9), row)
    assert_close(merge_pair(row, (1, 2), 255), torch.tensor([255, 255], dtype=torch.uint8))


def test_one_model_regrouped_moves_in_perplexity_and_not_in_bits_per_byte():
    text = Bytes().encode("the theatre; thé au théâtre")
    losses = torch.linspace(0.1, 4, len(text), dtype=torch.float64)
    merged = merge_pair(text, tuple(Bytes().encode("th")), 258)
    kept, at = [], 0
    for i in merged:  # the chain rule: a merged token costs what its two parts cost
        kept.append(losses[at : at + 1 + (i == 258)].sum())
        at += 1 + (i == 258)
    lengths = torch.tensor([*Bytes().token_bytes, 2])
    before = bits_per_byte(losses[None], torch.tensor([text]), lengths)
    assert_close(bits_per_byte(torch.stack(kept)[None], torch.tensor([merged]), lengths), before)
    assert perplexity(sum(kept).item(), len(merged)) > perplexity(losses.sum().item(), len(text)) * 1.1


# strided_nll


def test_every_token_after_the_first_is_scored_once_by_the_first_window_that_reaches_it():
    for window in range(2, 8):
        for stride, N in itertools.product(range(1, window), range(22)):
            seen = []

            def nll_fn(ids, seen=seen):
                seen.append((ids[0], len(ids)))
                return [100.0 * token + ids[0] for token in ids[1:]]  # which token, in which window

            starts = [next(s for s in range(0, N, stride) if s + window > t) for t in range(1, N)]
            expected = sum(100.0 * t + start for t, start in zip(range(1, N), starts)), max(N - 1, 0)
            assert strided_nll(nll_fn, list(range(N)), window, stride) == expected
            assert seen == [(s, min(window, N - s)) for s in sorted(set(starts))], "the last is shorter, none is idle"


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor])
@pytest.mark.parametrize("give", [torch.tensor, list, np.array, lambda losses: list(torch.tensor(losses))])
def test_ids_come_as_they_are_and_losses_in_any_form(kind, give):
    def nll_fn(ids):
        assert isinstance(ids, torch.Tensor if kind is torch.tensor else kind)
        return give([float(i) for i in ids[1:]])

    assert strided_nll(nll_fn, kind([5, 1, 2, 3, 4]), 3, 1) == (10.0, 4)


def test_a_model_that_looks_at_one_token_needs_no_window():
    logp = torch.randn(9, 9, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    ids = torch.randint(0, 9, (50,), generator=torch.Generator().manual_seed(1))
    total, count = strided_nll(lambda window: -logp[window[:-1], window[1:]], ids, 7, 4)
    assert total == pytest.approx(-logp[ids[:-1], ids[1:]].double().sum().item(), rel=1e-12)
    assert (type(total), type(count), count) == (float, int, 49)


def test_losses_add_up_in_float64_and_without_a_graph():
    weight = torch.tensor(0.1, requires_grad=True)
    total, _ = strided_nll(lambda window: weight.expand(len(window) - 1), list(range(10**4 + 1)), 501, 500)
    assert total == pytest.approx(10**4 * weight.item(), rel=1e-12)
    assert strided_nll(lambda window: [0.1] * (len(window) - 1), [1, 2], 2, 1)[0] == 0.1


def test_nan_outside_what_is_scored_has_no_effect():
    def nll_fn(ids):  # after the first window, the model cannot say anything about its first tokens
        return [math.nan if t < 2 and ids[0] > 0 else 1.0 for t in range(len(ids) - 1)]

    assert strided_nll(nll_fn, list(range(20)), 6, 3) == (19.0, 19)
    with pytest.raises(ValueError, match=r"nll_fn.*NaN"):
        strided_nll(nll_fn, list(range(20)), 6, 4)


# What is refused


@pytest.mark.parametrize(("call", "says"), [
    (lambda: merge_pair([1.5], (1, 2), 3), "ids must hold whole numbers only"),
    (lambda: merge_pair(7, (1, 2), 3), "ids must be a list"),
    (lambda: merge_pair([-1], (1, 2), 3), "ids must hold numbers from 0"),
    (lambda: merge_pair(torch.ones(2, 2).long(), (1, 2), 3), r"ids must have the shape \(N,\)"),
    (lambda: merge_pair([1], (1, 2, 3), 3), "pair must be two ids, not 3"),
    (lambda: merge_pair([1], (1, "2"), 3), "pair must hold"),
    (lambda: merge_pair([1], (1, 2), -3), "new_id must"),
    (lambda: merge_pair(torch.tensor([1], dtype=torch.uint8), (1, 2), 256), "new_id must be .* from 0 to 255"),
    (lambda: strided_nll(len, [1, 2], 1, 1), "window must be a whole number of at least 2"),
    (lambda: strided_nll(len, [1, 2], 4, 4), "stride must be a whole number from 1 to 3"),
    (lambda: strided_nll(len, [1, 2], 4, 0), "stride must"),
    (lambda: strided_nll(len, torch.ones(2, 2).long(), 4, 1), "ids must have the shape"),
    (lambda: strided_nll(len, 5, 4, 1), "ids must be a list"),
    (lambda: strided_nll(len, [1, 2], 4, 1), "nll_fn must hold numbers"),
    (lambda: strided_nll(lambda ids: [1.0] * len(ids), [1, 2], 4, 1), "nll_fn must give 1 losses for 2 tokens, not 2"),
    (lambda: strided_nll(lambda ids: torch.ones(1, 1), [1, 2], 4, 1), "nll_fn must have the shape"),
])
def test_a_bad_argument_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@needs_gpu
def test_ids_stay_on_the_gpu():
    ids = torch.arange(9).cuda()
    assert merge_pair(ids, (0, 1), 5).tolist() == [5, *range(2, 9)]
    assert merge_pair(ids, (0, 1), 5).is_cuda
    assert strided_nll(lambda window: window[1:].double(), ids, 4, 2) == (36.0, 8)
