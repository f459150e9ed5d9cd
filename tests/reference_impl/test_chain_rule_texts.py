"""The chain_rule reference on whole texts: torch's own distributions token by token, and sums over every text."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_logits import HALVES, INF, random_logits, seeds
from torch.distributions import Categorical
from torch.testing import assert_close

from reference_impl.chain_rule import ce_grad, sequence_logprob, total_probability

# sequence_logprob


@given(seeds, st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_a_sequence_is_torchs_categorical_token_by_token(seed, lengths):
    B, T = len(lengths), 5
    logits, ids = random_logits(seed, B, T, 4), torch.randint(4, (B, T), generator=torch.Generator().manual_seed(seed))
    scores = Categorical(logits=logits).log_prob(ids)
    expected = torch.stack([scores[b, :length].sum() for b, length in enumerate(lengths)])
    assert_close(sequence_logprob(logits, ids, torch.tensor(lengths)), expected, atol=1e-12, rtol=0)


def test_what_stands_in_padding_has_no_effect_and_no_gradient():
    logits, ids = random_logits(8, 3, 4, 5), torch.randint(5, (3, 4), generator=torch.Generator().manual_seed(8))
    lengths = torch.tensor([2, 4, 0], dtype=torch.int32)
    clean = sequence_logprob(logits, ids, lengths)
    padding = torch.arange(4) >= lengths.unsqueeze(1)
    for junk, token in ((math.nan, -100), (INF, 10**6), (-INF, -1)):
        dirty = logits.masked_fill(padding.unsqueeze(-1), junk).requires_grad_()
        found = sequence_logprob(dirty, ids.masked_fill(padding, token), lengths)
        assert_close(found, clean, atol=0, rtol=0)
        found.sum().backward()
        assert (dirty.grad[padding] == 0).all()
        assert_close(dirty.grad[~padding], -4 * ce_grad(logits[~padding], ids[~padding]) * 6 / 4)  # 6 tokens count


def test_thousands_of_tokens_do_not_underflow():
    logits = torch.tensor([0.25, 0.75]).log().expand(1, 5000, 2)
    ids = (torch.arange(5000) % 4 > 0).long().unsqueeze(0)
    expected = 1250 * math.log(0.25) + 3750 * math.log(0.75)
    assert sequence_logprob(logits, ids, torch.tensor([5000])).item() == pytest.approx(expected, rel=1e-6)


def test_an_excluded_token_makes_a_sequence_impossible_and_an_empty_one_is_certain():
    logits = torch.tensor([[[0, -INF], [0, 0]]])
    assert sequence_logprob(logits, torch.tensor([[1, 0]]), torch.tensor([2])) == -INF
    assert sequence_logprob(logits, torch.tensor([[1, 0]]), torch.tensor([0])) == 0
    assert sequence_logprob(torch.zeros(2, 0, 3), torch.zeros(2, 0).long(), torch.zeros(2).long()).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_sequences_are_summed_and_returned_in_float32(dtype):
    logits, ids = random_logits(9, 2, 500, 6).to(dtype), torch.arange(1000).view(2, 500) % 6
    found = sequence_logprob(logits, ids, torch.tensor([500, 499]))
    assert found.dtype == torch.float32
    assert_close(found, sequence_logprob(logits.double(), ids, torch.tensor([500, 499])).float(), atol=0, rtol=1e-6)


def test_a_batch_is_its_rows_whatever_the_strides():
    logits, ids, lengths = random_logits(10, 4, 3, 5), torch.arange(12).view(4, 3) % 5, torch.tensor([3, 0, 1, 2])
    before = logits.clone(), ids.clone(), lengths.clone()
    together = sequence_logprob(logits.transpose(0, 2).contiguous().transpose(0, 2), ids.T.contiguous().T, lengths)
    alone = [sequence_logprob(logits[b : b + 1], ids[b : b + 1], lengths[b : b + 1]) for b in range(4)]
    assert_close(together, torch.cat(alone))
    assert all(torch.equal(*pair) for pair in zip(before, (logits, ids, lengths)))


# total_probability


def all_texts(p0, P, eos, L):
    """The probability of having ended, summed over every text of at most L tokens one by one."""
    words, ended = [i for i in range(len(p0)) if i != eos], 0.0
    for length in range(L):
        for text in itertools.product(words, repeat=length):
            tokens = [*text, eos]
            ended += p0[tokens[0]] * math.prod(P[a][b] for a, b in itertools.pairwise(tokens))
    return ended


@given(seeds, st.integers(0, 4), st.integers(0, 3))
def test_total_probability_is_the_sum_over_all_texts(seed, L, eos):
    p0, P = torch.softmax(random_logits(seed, 4, excluded=0.2), -1), torch.softmax(random_logits(seed + 1, 4, 4), -1)
    finished, unfinished = total_probability(p0, P, eos, L)
    assert finished.item() == pytest.approx(all_texts(p0.tolist(), P.tolist(), eos, L), abs=1e-12)
    assert (finished + unfinished).item() == pytest.approx(1, abs=1e-12)


def test_total_probability_by_hand():
    p0, P = torch.tensor([0.5, 0.5]), torch.tensor([[0.9, 0.1], [0.25, 0.75]])
    assert [x.item() for x in total_probability(p0, P, 0, 0)] == [0, 1]
    assert [x.item() for x in total_probability(p0, P, 0, 1)] == [0.5, 0.5]
    assert [x.item() for x in total_probability(p0, P, 0, 3)] == [0.5 + 0.125 + 0.09375, 0.5 * 0.75**2]
    for row in ([0, 0], [math.nan, -3], [1, 0]):  # the row of the end token is never read
        read = total_probability(p0, torch.tensor([row, [0.25, 0.75]]), 0, 3)
        assert_close(read, total_probability(p0, P, 0, 3))


def test_texts_that_never_end_keep_their_share_for_ever():
    loops = torch.tensor([[0, 0, 0], [0, 1.0, 0], [0.5, 0, 0.5]])  # after token 1 comes token 1
    finished, unfinished = total_probability(torch.tensor([0.0, 0.25, 0.75]), loops, 0, 200)
    assert (finished.item(), unfinished.item()) == pytest.approx((0.75, 0.25))
    stuck = total_probability(torch.tensor([0.0, 0.25, 0.75]), loops * torch.tensor([[0], [0], [1]]), 0, 200)
    assert_close(stuck, (finished, unfinished))  # a row of zeros ends no text either


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64])
def test_total_probability_keeps_its_dtype_and_its_gradient(dtype):
    p0, P = torch.tensor([0.25, 0.75], dtype=dtype), torch.tensor([[0, 0], [0.125, 0.875]], dtype=dtype)
    finished, unfinished = total_probability(p0, P.requires_grad_(), 0, 100)
    assert finished.dtype == unfinished.dtype == dtype
    assert finished.shape == unfinished.shape == ()
    assert_close(finished.double(), torch.tensor(1 - 0.75 * 0.875**99, dtype=torch.float64), atol=0,
                 rtol=4 * torch.finfo(dtype).eps)
    unfinished.backward()
    assert P.grad[1, 1] > 0
