"""The chain_rule reference on rows of logits: torch's own operators, values worked by hand, random logits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_logits import HALVES, INF, random_logits, seeds
from torch.distributions import Categorical
from torch.nn import functional as F
from torch.testing import assert_close

from reference_impl.chain_rule import best_constant_prediction, ce_grad, entropy, kl, log_softmax

# The numbers of the course


@pytest.mark.parametrize(("T", "row"), [(1, [0.800, 0.178, 0.015, 0.005, 0.002]), (0.5, [0.952, 0.047, 0.000, 0, 0]),
                                        (2, [0.575, 0.272, 0.078, 0.047, 0.029])])
def test_five_words_at_three_temperatures(T, row):
    logits = torch.tensor([3, 1.5, -1, -2, -3], dtype=torch.float64)
    assert_close(log_softmax(logits / T).exp(), torch.tensor(row, dtype=torch.float64), atol=5e-4, rtol=0)


def test_a_table_of_four_words_leaves_the_rest_to_the_words_left_out():
    shown = [0.85, 0.10, 0.03, 0.000001]
    p = torch.tensor([*shown, 0.019999], dtype=torch.float64)
    assert_close(log_softmax(p.log()).exp(), p)  # logs of a distribution are its logits
    assert 1 - sum(shown) == pytest.approx(0.019999, abs=1e-12)


# best_constant_prediction


def test_the_best_constant_prediction_is_the_share_of_each_id():
    targets = torch.tensor([0, 3, 3, 1, 3, 0, 3, 3])
    assert best_constant_prediction(targets, 5).tolist() == [0.25, 0.125, 0, 0.625, 0]
    assert best_constant_prediction(torch.tensor([1]), 2).tolist() == [0, 1]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), seeds)
def test_no_other_distribution_costs_less(ids, seed):
    targets = torch.tensor(ids)
    best = best_constant_prediction(targets, 5).double()
    cost = F.nll_loss(best.log().expand(len(ids), 5), targets)
    assert_close(cost, Categorical(probs=best).entropy(), atol=1e-6, rtol=1e-6)  # best is rounded to float32
    other = torch.log_softmax(random_logits(seed, 5), -1)
    assert cost <= F.nll_loss(other.expand(len(ids), 5), targets) + 1e-9


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_any_integer_dtype_counts_and_gives_the_default_dtype(dtype):
    shares = best_constant_prediction(torch.tensor([[2, 9], [1, 9]], dtype=dtype)[:, 0], 3)  # not contiguous
    assert_close(shares, torch.tensor([0, 0.5, 0.5]))


# log_softmax


@given(seeds, st.sampled_from([-3, -2, -1, 0, 1, 2]))
def test_log_softmax_is_torchs_along_every_dim(seed, dim):
    logits = random_logits(seed, 3, 2, 4, excluded=0.3)
    logits[0] = 0  # so that no slice along any dim is -inf throughout
    logits[:, 0] = 0
    assert_close(log_softmax(logits, dim), torch.log_softmax(logits, dim), atol=1e-12, rtol=0)


@given(seeds, st.floats(-1e4, 1e4))
def test_a_constant_added_to_all_logits_changes_nothing(seed, shift):
    logits = random_logits(seed, 2, 6)
    assert_close(log_softmax(logits + shift), log_softmax(logits), atol=1e-10, rtol=0)  # 1e4 takes 1e-12 of precision
    assert_close(log_softmax(logits).exp().sum(-1), torch.ones(2, dtype=torch.float64))


def test_huge_logits_neither_overflow_nor_vanish():
    assert log_softmax(torch.tensor([1e4, 0, -1e4])).tolist() == [0, -1e4, -2e4]
    assert_close(log_softmax(torch.tensor([1e4, 1e4 - 1])), torch.log_softmax(torch.tensor([1.0, 0]), -1))
    assert log_softmax(torch.tensor([-1e4, -1e4])).tolist() == pytest.approx([-math.log(2)] * 2, rel=1e-6)


@pytest.mark.parametrize("rows", [[[-INF, 0, 0]], [[-INF] * 3, [1, 2, 3]], [[INF, 0, -INF], [0, 0, 1]]])
def test_infinite_logits_are_as_in_torch(rows):
    logits = torch.tensor(rows)
    assert_close(log_softmax(logits), torch.log_softmax(logits, -1), equal_nan=True)


def test_a_row_that_is_excluded_throughout_is_nan_and_its_neighbours_are_not():
    out = log_softmax(torch.tensor([[-INF, -INF], [0, -INF]]))
    assert out[0].isnan().all()
    assert out[1].tolist() == [0, -INF]


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_is_that_of_float32_rounded_once(dtype):
    logits = (4 * torch.randn(3, 500, generator=torch.Generator().manual_seed(0))).to(dtype)
    for function, oracle in ((log_softmax, lambda x: torch.log_softmax(x, -1)),
                             (entropy, lambda x: Categorical(logits=x).entropy())):
        result = function(logits)
        assert result.dtype == dtype
        assert_close(result, oracle(logits.double()).to(dtype), atol=0, rtol=torch.finfo(dtype).eps)


@given(seeds)
def test_the_gradient_of_log_softmax_is_torchs_where_logits_are_excluded_too(seed):
    upstream = random_logits(seed + 1, 3, 6)
    gradients = []
    for function in (log_softmax, torch.log_softmax):
        logits = random_logits(seed, 3, 6, excluded=0.4).requires_grad_()
        out = function(logits, -1)
        (upstream * out.masked_fill(logits == -INF, 0)).sum().backward()
        gradients.append(logits.grad)
    assert gradients[0].isfinite().all()
    assert_close(*gradients, atol=1e-12, rtol=0)


def test_the_gradients_are_those_of_finite_differences():
    logits, others = random_logits(1, 2, 5).requires_grad_(), random_logits(2, 2, 5).requires_grad_()
    assert torch.autograd.gradcheck(log_softmax, logits)
    assert torch.autograd.gradcheck(entropy, logits)
    assert torch.autograd.gradcheck(kl, (logits, others))
    assert torch.autograd.gradcheck(kl, (logits, (logits + 0.01 * others).detach().requires_grad_()))
    assert torch.autograd.gradcheck(lambda x: ce_grad(x, torch.tensor([4, 1])), logits)


# entropy


@given(seeds, st.integers(1, 4))
def test_entropy_is_that_of_torchs_categorical(seed, V):
    logits = random_logits(seed, 2, 3, V)
    assert_close(entropy(logits), Categorical(logits=logits).entropy(), atol=1e-12, rtol=0)
    assert (entropy(logits) <= math.log(V) + 1e-12).all()


def test_entropy_by_hand():
    rows = torch.tensor([[0.5, 0.25, 0.25, 0], [1, 0, 0, 0], [0.25] * 4, [0.5, 0, 0.5, 0]], dtype=torch.float64)
    expected = torch.tensor([1.5 * math.log(2), 0, math.log(4), math.log(2)], dtype=torch.float64)
    assert_close(entropy(rows.log()), expected)
    assert not entropy(rows.log())[1].signbit()
    assert entropy(torch.tensor([1e4, 0.0])) == 0
    assert entropy(torch.tensor([-INF, -INF])).isnan()
    assert_close(entropy(rows.T.contiguous().T.log()), expected)  # other strides


def test_an_excluded_logit_has_no_gradient_in_entropy_and_kl():
    logits = torch.tensor([1.0, -INF, 0], dtype=torch.float64, requires_grad=True)
    others = torch.tensor([0.5, -INF, 2], dtype=torch.float64, requires_grad=True)
    plain, more = (x.detach()[[0, 2]].requires_grad_() for x in (logits, others))
    for function, given_, kept in ((entropy, [logits], [plain]), (kl, [logits, others], [plain, more])):
        found = torch.autograd.grad(function(*given_), given_)
        expected = torch.autograd.grad(function(*kept), kept)
        for one, other in zip(found, expected):
            assert_close(one, torch.tensor([other[0], 0, other[1]], dtype=torch.float64))


# kl


@given(seeds, seeds)
def test_kl_is_torchs_kl_div(seed, other):
    p, q = random_logits(seed, 2, 3, 5, excluded=0.3), random_logits(other, 2, 3, 5)
    oracle = F.kl_div(torch.log_softmax(q, -1), torch.softmax(p, -1), reduction="none").sum(-1)
    assert_close(kl(p, q), oracle, atol=1e-12, rtol=1e-12)
    assert (kl(p, q) >= 0).all()
    assert (kl(p, p) == 0).all()


def test_kl_by_hand():
    p, q = (torch.tensor(row, dtype=torch.float64).log() for row in ([0.5, 0.5, 0], [0.25, 0.25, 0.5]))
    assert kl(p, q).item() == pytest.approx(math.log(2))
    assert kl(q, p) == INF
    assert kl(p, p) == 0
    assert kl(p, torch.full((3,), -INF).double()).isnan()
    assert kl(torch.full((3,), -INF).double(), q).isnan()


def test_finite_logits_have_a_finite_divergence_and_an_excluded_token_an_infinite_one():
    sure, wrong = torch.tensor([1e4, 0.0, 0]), torch.tensor([0.0, 1e4, 0])
    assert kl(sure, wrong) == 1e4
    assert kl(sure, torch.tensor([0.0, -INF, 0])) == INF  # exp(-1e4) is 0 in float32, and yet not excluded
    assert kl(torch.tensor([0.0, -INF, 0]), sure).isfinite()


def test_a_small_divergence_keeps_its_digits_in_float32():
    p = random_logits(3, 1000).float()
    q = p + 1e-3 * random_logits(4, 1000).float()
    exact = F.kl_div(torch.log_softmax(q.double(), -1), torch.log_softmax(p.double(), -1), log_target=True,
                     reduction="sum")
    assert 1e-7 < exact < 1e-5
    assert kl(p, q).item() == pytest.approx(exact.item(), rel=1e-3)  # the sum of p (log p - log q) is off by more


def test_kl_goes_row_by_row_and_promotes_its_dtypes():
    p, q = random_logits(5, 3, 4), random_logits(6, 3, 4)
    assert_close(kl(p, q), torch.stack([kl(*rows) for rows in zip(p, q)]))
    assert kl(p.float(), q).dtype == torch.float64
    assert kl(p.half(), q.half()).dtype == torch.float16


# ce_grad


@given(seeds, st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_ce_grad_is_autograds_gradient_of_torchs_cross_entropy(seed, ids):
    logits, targets = random_logits(seed, len(ids), 5, excluded=0.2), torch.tensor(ids)
    logits[range(len(ids)), ids] = 0.5  # an excluded target has an infinite loss, whose gradient autograd cannot give
    logits.requires_grad_()
    F.cross_entropy(logits, targets).backward()
    grad = ce_grad(logits.detach(), targets)
    assert_close(grad, logits.grad, atol=1e-12, rtol=0)
    assert_close(grad.sum(-1), torch.zeros(len(ids), dtype=torch.float64), atol=1e-15, rtol=0)


def test_gradients_of_several_targets_cancel_at_their_shares():
    targets = torch.tensor([0, 1, 1, 2])
    logits = best_constant_prediction(targets, 4).log().expand(4, 4)
    assert_close(ce_grad(logits, targets).sum(0), torch.zeros(4))


@pytest.mark.parametrize("dtype", HALVES)
def test_ce_grad_of_half_precision_is_computed_in_float32(dtype):
    logits, targets = random_logits(7, 3, 300).to(dtype), torch.tensor([5, 0, 299])
    grad = ce_grad(logits, targets)
    assert grad.dtype == dtype
    assert_close(grad, ce_grad(logits.double(), targets).to(dtype), atol=1e-7, rtol=torch.finfo(dtype).eps)
