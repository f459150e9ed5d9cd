"""The masks and the attention of causal_vs_masked: torch's own operator, values by hand, properties."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from torch.testing import assert_close

from reference_impl.causal_vs_masked import attention, causal_mask, pad_causal
from reference_impl.transformer import fused_attention

settings.register_profile("masks", deadline=None, max_examples=40)
settings.load_profile("masks")
seeds, sizes = st.integers(0, 2**30), st.integers(1, 5)
def normal(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def coins(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


# causal_mask


@given(st.integers(1, 7), st.integers(0, 7))
def test_a_query_sees_the_keys_up_to_its_own_position(T, earlier):
    S = T + earlier
    mask = causal_mask(T, S)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[j <= i + S - T for j in range(S)] for i in range(T)]
    assert_close(mask, causal_mask(S, S)[S - T :])  # the last rows of one whole pass


def test_a_single_query_sees_everything_and_torchs_is_causal_does_not():
    assert causal_mask(1, 5).all()
    q, k, v = normal(0, 2, 4), normal(1, 5, 4), normal(2, 5, 4)
    top_left = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert_close(attention(q, k, v, torch.ones(2, 5, dtype=torch.bool).tril()), top_left)
    assert (attention(q, k, v, causal_mask(2, 5)) - top_left).abs().min() > 1e-3


@pytest.mark.parametrize(("T", "S", "named"), [(3, 2, "S"), (0, 2, "T"), (-1, 2, "T"), (2.0, 2, "T"), (1, "2", "S")])
def test_fewer_keys_than_queries_are_refused(T, S, named):
    with pytest.raises(ValueError, match=rf"^{named} must be a whole number of at least"):
        causal_mask(T, S)


# attention


def test_attention_by_hand():
    q, v = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[6.0, 0, 0, 0], [0, 6, 0, 0], [0, 0, 6, 0]])
    k = torch.zeros(3, 4)
    k[:, 0] = torch.tensor([1.0, 2.0, 3.0]).log()  # the scores are 2 ln(k) / sqrt(4): weights 1 : 2 : 3
    assert_close(attention(q, k, v, torch.ones(1, 3, dtype=torch.bool)), torch.tensor([[1.0, 2, 3, 0]]))
    assert_close(attention(q, k, v, torch.tensor([True, False, True])), torch.tensor([[1.5, 0, 4.5, 0]]))


@given(seeds, sizes, sizes, sizes, st.sampled_from([(), (2,), (3, 2)]))
def test_attention_and_its_gradients_are_torchs_and_a_fully_masked_row_is_zero(seed, T, S, d, leads):
    inputs = [normal(seed + i, *leads, n, d).requires_grad_() for i, n in enumerate((T, S, S))]
    mask, weight = coins(seed, *leads, T, S), normal(seed + 3, *leads, T, d)
    something = mask.any(-1, keepdim=True)
    torchs = F.scaled_dot_product_attention(*inputs, attn_mask=mask | ~something) * something
    for ours in (attention(*inputs, mask), fused_attention(*inputs, mask)):
        assert_close(ours, torchs, rtol=1e-10, atol=1e-10)
        assert not ours[~something.expand_as(ours)].any()
        gradients = torch.autograd.grad((ours * weight).sum(), inputs)
        expected = torch.autograd.grad((torchs * weight).sum(), inputs, retain_graph=True)
        assert_close(gradients, expected, rtol=1e-10, atol=1e-10)
        assert not gradients[0][~something.expand_as(gradients[0])].any()


@pytest.mark.parametrize("function", [attention, fused_attention])
def test_where_nothing_may_be_seen_gradients_are_zero_not_nan(function):
    inputs = [normal(i, 2, 3, 4, dtype=torch.float32).requires_grad_() for i in range(3)]
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):  # raises for a NaN on the way, too
        warnings.simplefilter("ignore")
        result = function(*inputs, torch.zeros(3, 3, dtype=torch.bool))
        assert not result.any()
        for gradient in torch.autograd.grad(result.sum(), inputs):
            assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_fused_attention_is_attention_in_every_dtype(dtype):
    q, k, v = (normal(i, 2, 3, 33, 8, dtype=dtype) for i in range(3))
    for mask in (causal_mask(33), coins(5, 33, 33) & coins(6, 33, 1), coins(7, 2, 1, 33, 33)):
        # A kernel may round the weights of half precision before they meet the values, which attention does not.
        near = 4 * torch.finfo(dtype).eps
        assert_close(fused_attention(q, k, v, mask), attention(q, k, v, mask), rtol=near, atol=near)


@given(seeds, st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_precision_is_float32_rounded_once_and_large_scores_do_not_overflow(seed, dtype):
    q, k, v = (normal(seed + i, 3, 5, 4).mul(scale).to(dtype) for i, scale in enumerate((200, 300, 1)))
    mask = causal_mask(5)
    result = attention(q, k, v, mask)
    assert result.dtype == dtype
    assert (q.float() @ k.float().mT).abs().max() > torch.finfo(torch.float16).max
    assert_close(result, attention(q.float(), k.float(), v.float(), mask).to(dtype), rtol=0, atol=0)


@given(seeds, sizes, sizes)
def test_weights_sum_to_one_and_a_shift_of_all_keys_or_an_order_of_them_changes_nothing(seed, T, S):
    q, k, v = normal(seed, T, 3), normal(seed + 1, S, 3), normal(seed + 2, S, 3)
    mask = coins(seed, T, S)
    mask[:, 0] = True
    assert_close(attention(q, k, torch.ones_like(v), mask), torch.ones(T, 3, dtype=torch.float64))
    expected, order = attention(q, k, v, mask), torch.randperm(S, generator=torch.Generator().manual_seed(seed))
    assert_close(attention(q, k + normal(seed + 3, 1, 3), v, mask), expected, rtol=1e-9, atol=1e-9)
    assert_close(attention(q, k[order], v[order], mask[:, order]), expected, rtol=1e-10, atol=1e-10)


def test_what_is_masked_has_no_effect_whatever_finite_number_it_is():
    q, k, v = normal(0, 4, 3), normal(1, 4, 3), normal(2, 4, 3)
    expected = attention(q, k, v, causal_mask(4))[:2]
    k[2:], v[2:] = 1e200, -1e300
    assert_close(attention(q, k, v, causal_mask(4))[:2], expected, rtol=0, atol=0)
    low = torch.tensor([[-1e30], [0.0]], dtype=torch.float64)  # what is seen has a score of -1e30, what is masked of 0
    ones, seen = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[True, False]])
    assert attention(ones, low, torch.tensor([[3.0], [5.0]]).double(), seen).item() == 3


def test_a_batch_equals_its_rows_and_leading_dims_broadcast():
    q, k, v, mask = normal(0, 3, 2, 4, 5), normal(1, 2, 6, 5), normal(2, 3, 1, 6, 5), coins(3, 3, 1, 4, 6)
    rows = [[attention(q[b, h], k[h], v[b, 0], mask[b, 0]) for h in range(2)] for b in range(3)]
    assert_close(attention(q, k, v, mask), torch.stack([torch.stack(row) for row in rows]), rtol=1e-12, atol=1e-12)
    assert attention(q[0, 0], k[0], v, mask[0, 0]).shape == (3, 1, 4, 5)


SIXES = torch.zeros(2, 6, 4)


@pytest.mark.parametrize(("q", "k", "v", "mask", "said"), [
    (SIXES, SIXES, SIXES, torch.ones(6, 6), "mask must be a tensor of bool, True where .* not torch.float32"),
    (SIXES, SIXES, SIXES, torch.ones(6, 6).long(), "mask must be a tensor of bool"),
    (SIXES, SIXES, SIXES, None, "mask must be a tensor of bool.* not NoneType"),
    (SIXES, SIXES, SIXES, torch.ones(3, 6, 6).bool(), r"mask must broadcast to \(2, 6, 6\), not \(3, 6, 6\)"),
    (SIXES, SIXES, SIXES, torch.ones(1, 2, 6, 6).bool(), "mask must broadcast"),
    (SIXES, SIXES[..., :3], SIXES, causal_mask(6), r"k must have the shape \(..., S, d\) with d = 4, not \(2, 6, 3\)"),
    (SIXES, SIXES, SIXES[:, :5], causal_mask(6), "v must have the shape .* with S = 6"),
    (SIXES, SIXES, SIXES[..., :3], causal_mask(6), "v must have the shape .* d = 4"),
    (SIXES, SIXES.expand(3, 2, 6, 4)[:, :1].squeeze(1), SIXES, causal_mask(6), "leading dims of q, k and v must broad"),
    (SIXES, SIXES.double(), SIXES, causal_mask(6), "q, k and v must have one dtype"),
    (SIXES.long(), SIXES, SIXES, causal_mask(6), "q must have a floating dtype"),
    (SIXES[:0], SIXES[:0], SIXES[:0], causal_mask(6), "q is empty"),
    (SIXES, SIXES, SIXES + math.nan, causal_mask(6), "v must not hold NaN"),
])
def test_attention_says_what_is_wrong(q, k, v, mask, said):
    with pytest.raises(ValueError, match=said):
        attention(q, k, v, mask)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_a_gpu_both_attentions_are_that_of_the_cpu(dtype):
    q, k, v = (normal(i, 2, 3, 40, 16, dtype=dtype) for i in range(3))
    for mask in (causal_mask(40), coins(5, 2, 1, 40, 40), coins(6, 40, 40) & coins(7, 40, 1)):
        expected, near = attention(q, k, v, mask), 4 * torch.finfo(dtype).eps if dtype.itemsize < 4 else 1e-5
        for function in (attention, fused_attention):
            inputs = [x.cuda().requires_grad_() for x in (q, k, v)]
            result = function(*inputs, mask.cuda())
            assert_close(result.cpu(), expected, rtol=near, atol=near)
            assert all(one.isfinite().all() for one in torch.autograd.grad(result.sum(), inputs))


# pad_causal


def test_left_padding_by_hand():
    mask, positions = pad_causal(torch.tensor([[False, True, True], [True, True, True]]))
    assert positions.tolist() == [[0, 0, 1], [0, 1, 2]]
    assert positions.dtype == torch.int64
    assert mask.dtype == torch.bool
    assert mask[:, 0].int().tolist() == [[[0, 0, 0], [0, 1, 0], [0, 1, 1]], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]]


@given(seeds, sizes, st.integers(1, 8))
def test_a_token_sees_tokens_up_to_itself_wherever_padding_stands(seed, B, T):
    attend = coins(seed, B, T)
    mask, positions = pad_causal(attend)
    assert mask.shape == (B, 1, T, T)
    a = attend.tolist()
    assert mask[:, 0].tolist() == [[[j <= i and a[b][i] and a[b][j] for j in range(T)] for i in range(T)]
                                   for b in range(B)]
    assert positions.tolist() == [[sum(row[:t]) if row[t] else 0 for t in range(T)] for row in a]


@pytest.mark.parametrize(("attend", "said"), [
    (torch.ones(2, 3).long(), "attend must have the dtype bool, not torch.int64"),
    (torch.ones(3).bool(), r"attend must have the shape \(B, T\)"),
    (torch.ones(0, 3).bool(), "attend is empty"),
])
def test_pad_causal_says_what_is_wrong(attend, said):
    with pytest.raises(ValueError, match=said):
        pad_causal(attend)
