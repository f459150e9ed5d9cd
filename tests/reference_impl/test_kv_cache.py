"""The cache against torch's own attention, one pass over the whole text, and values worked by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from reference_impl.kv_cache import (
    KVCache,
    cached_attention,
    decode_roofline,
    grouped_query_attention,
    kv_bytes,
)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# kv_bytes


@pytest.mark.parametrize(("tokens", "gibibytes"), [(2048, 1.0), (32768, 16.0), (131072, 64.0)])
def test_a_cache_for_a_batch_of_four_takes_1_16_and_64_gibibytes(tokens, gibibytes):
    assert kv_bytes(layers=32, kv_heads=8, head_dim=128, tokens=tokens, batch=4, bytes=2) / 2**30 == gibibytes


@given(st.tuples(*[st.integers(1, 5)] * 5), st.sampled_from([torch.float16, torch.float32, torch.float64]))
@settings(deadline=None, max_examples=30)
def test_the_bytes_are_those_that_a_cache_allocates(sizes, dtype):
    layers, kv_heads, head_dim, tokens, batch = sizes
    cache = KVCache(layers, batch, kv_heads, tokens, head_dim, dtype, "cpu")
    taken = sum(one.nelement() * one.element_size() for one in (*cache.keys, *cache.values))
    assert kv_bytes(layers, kv_heads, head_dim, tokens, batch, dtype.itemsize) == taken


def test_whole_sizes_stay_exact_and_four_bits_are_half_a_byte():
    assert kv_bytes(126, 8, 128, 10**12 + 1, 4096, 2) == 2 * 126 * 8 * 128 * (10**12 + 1) * 4096 * 2
    assert kv_bytes(1, 1, 3, 5, 1, 0.5) == 15
    assert kv_bytes(2, 2, 2, 0, 2, 2) == 0


@pytest.mark.parametrize("wrong", [
    {"layers": 0}, {"kv_heads": 0}, {"head_dim": -1}, {"tokens": -1}, {"tokens": 1.5}, {"batch": 0}, {"bytes": 0},
    {"bytes": math.nan}])
def test_sizes_that_no_cache_has_are_refused(wrong):
    right = {"layers": 1, "kv_heads": 1, "head_dim": 1, "tokens": 1, "batch": 1, "bytes": 2}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kv_bytes(**right | wrong)


# KVCache


@given(st.lists(st.integers(0, 3), max_size=5), st.lists(st.integers(0, 3), max_size=5))
@settings(deadline=None, max_examples=40)
def test_every_layer_returns_all_that_it_was_given_so_far(first, second):
    cache = KVCache(2, 3, 2, 15, 4, torch.float64)
    given_k = [torch.empty(3, 2, 0, 4, dtype=torch.float64)] * 2
    given_v = list(given_k)
    for step, (layer, T) in enumerate([(0, T) for T in first] + [(1, T) for T in second] + [(0, 0), (1, 0)]):
        k, v = draw(3, 2, T, 4, seed=step), draw(3, 2, T, 4, seed=100 + step)
        given_k[layer] = torch.cat([given_k[layer], k], 2)
        given_v[layer] = torch.cat([given_v[layer], v], 2)
        keys, values = cache.update(layer, k, v)
        assert torch.equal(keys, given_k[layer])
        assert torch.equal(values, given_v[layer])
    assert cache.lengths == [sum(first), sum(second)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_room_is_allocated_once_and_has_the_shape_and_dtype_that_were_asked_for(dtype):
    cache = KVCache(layers=2, batch=3, kv_heads=4, capacity=5, head_dim=6, dtype=dtype, device="cpu")
    places = [one.data_ptr() for one in (*cache.keys, *cache.values)]
    for T in (3, 2):
        keys, values = cache.update(1, draw(3, 4, T, 6, dtype=dtype), draw(3, 4, T, 6, dtype=dtype))
    assert [one.data_ptr() for one in (*cache.keys, *cache.values)] == places
    assert len(set(places)) == 4
    assert keys.data_ptr() == places[1]
    assert values.data_ptr() == places[3]
    for one in (*cache.keys, *cache.values):
        assert one.shape == (3, 4, 5, 6)
        assert one.dtype == dtype


def test_an_overflow_changes_nothing_and_what_fits_still_goes_in():
    cache = KVCache(2, 1, 1, 4, 2, torch.float64)
    cache.update(0, draw(1, 1, 3, 2), draw(1, 1, 3, 2, seed=1))
    before = [one.clone() for one in (*cache.keys, *cache.values)]
    with pytest.raises(ValueError, match="3 of 4 positions: 2 more"):
        cache.update(0, draw(1, 1, 2, 2), draw(1, 1, 2, 2))
    assert cache.lengths == [3, 0]
    assert all(map(torch.equal, before, (*cache.keys, *cache.values)))
    assert cache.update(0, draw(1, 1, 1, 2), draw(1, 1, 1, 2))[0].shape == (1, 1, 4, 2)
    with pytest.raises(ValueError, match="1 more"):
        cache.update(0, draw(1, 1, 1, 2), draw(1, 1, 1, 2))


def test_reset_empties_every_layer_and_nothing_of_the_past_comes_back():
    cache = KVCache(2, 1, 1, 4, 2, torch.float64)
    for layer in (0, 1):
        cache.update(layer, draw(1, 1, 4, 2), draw(1, 1, 4, 2))
    cache.reset()
    assert cache.lengths == [0, 0]
    k, v = draw(1, 1, 2, 2, seed=5), draw(1, 1, 2, 2, seed=6)
    keys, values = cache.update(1, k, v)
    assert torch.equal(keys, k)
    assert torch.equal(values, v)


def test_what_is_stored_is_a_copy_without_a_gradient():
    cache, k = KVCache(1, 1, 1, 2, 2, torch.float64), draw(1, 1, 1, 2).requires_grad_()
    keys, _ = cache.update(0, k, k * 2)
    assert not keys.requires_grad
    with torch.no_grad():
        k.zero_()
    assert keys.all()


def test_an_update_takes_tensors_with_any_strides():
    cache, k = KVCache(1, 2, 3, 4, 5, torch.float64), draw(5, 4, 3, 2).permute(3, 2, 1, 0)
    keys, values = cache.update(0, k, k.flip(0))
    assert torch.equal(keys, k)
    assert torch.equal(values, k.flip(0))


@pytest.mark.parametrize(("k", "v", "layer", "match"), [
    (draw(2, 2, 1, 4), draw(2, 2, 1, 4), 0, "k must"), (draw(1, 3, 1, 4), draw(1, 3, 1, 4), 0, "k must"),
    (draw(1, 2, 1, 5), draw(1, 2, 1, 5), 0, "k must"), (draw(2, 1, 4), draw(2, 1, 4), 0, "k must"),
    (draw(1, 2, 2, 4), draw(1, 2, 1, 4), 0, "v must"), (draw(1, 2, 1, 4), draw(1, 1, 1, 4), 0, "v must"),
    (draw(1, 2, 1, 4).float(), draw(1, 2, 1, 4).float(), 0, "k must be torch.float64"),
    (draw(1, 2, 1, 4), draw(1, 2, 1, 4).float(), 0, "v must be torch.float64"),
    (draw(1, 2, 1, 4), draw(1, 2, 1, 4), 1, "layer"), (draw(1, 2, 1, 4), draw(1, 2, 1, 4), -1, "layer"),
    (draw(1, 2, 1, 4), [0.0], 0, "v must")])
def test_an_update_that_does_not_fit_the_cache_is_refused_and_changes_nothing(k, v, layer, match):
    cache = KVCache(1, 1, 2, 3, 4, torch.float64)
    with pytest.raises(ValueError, match=match):
        cache.update(layer, k, v)
    assert cache.lengths == [0]
    assert not cache.keys[0].any()


@pytest.mark.parametrize("wrong", [
    {"layers": 0}, {"batch": 0}, {"kv_heads": 0}, {"capacity": 0}, {"head_dim": 0}, {"dtype": torch.int64}])
def test_a_cache_needs_sizes_of_at_least_one_and_a_floating_dtype(wrong):
    right = {"layers": 1, "batch": 1, "kv_heads": 1, "capacity": 1, "head_dim": 1, "dtype": torch.float32}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KVCache(**right | wrong)


# grouped_query_attention


@pytest.mark.parametrize(("Hq", "Hkv"), [(4, 4), (4, 2), (4, 1), (6, 2), (1, 1)])
@pytest.mark.parametrize(("T", "S"), [(1, 1), (1, 7), (5, 3)])
def test_groups_share_as_in_torchs_own_operator(Hq, Hkv, T, S):
    q, k, v = draw(2, Hq, T, 3), draw(2, Hkv, S, 3, seed=1), draw(2, Hkv, S, 3, seed=2)
    theirs = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert_close(grouped_query_attention(q, k, v), theirs, atol=1e-12, rtol=0)
    strided = grouped_query_attention(*(one.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0) for one in (q, k, v)))
    assert_close(strided, theirs, atol=1e-12, rtol=0)


def test_two_query_heads_of_a_group_worked_by_hand():
    # Heads 0 and 1 read the first key/value head, 2 and 3 the second. With d = 1 the weights are softmax(q k).
    q = torch.tensor([0.0, math.log(3), 0.0, math.log(3)], dtype=torch.float64).view(1, 4, 1, 1)
    k = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64).view(1, 2, 2, 1)
    v = torch.tensor([[4.0, 8.0], [0.0, 20.0]], dtype=torch.float64).view(1, 2, 2, 1)
    assert_close(grouped_query_attention(q, k, v).flatten(), torch.tensor([6.0, 7.0, 10.0, 5.0], dtype=torch.float64))


def test_gradients_reach_queries_and_the_keys_and_values_that_are_shared():
    q, k, v = draw(1, 4, 2, 3), draw(1, 2, 3, 3, seed=1), draw(1, 2, 3, 3, seed=2)
    assert torch.autograd.gradcheck(grouped_query_attention, [one.requires_grad_() for one in (q, k, v)])


@pytest.mark.parametrize(("q", "k", "v", "match"), [
    (draw(1, 3, 1, 2), draw(1, 2, 1, 2), draw(1, 2, 1, 2), "q must have a multiple of the 2"),
    (draw(1, 1, 1, 2), draw(1, 2, 1, 2), draw(1, 2, 1, 2), "q must have a multiple of the 2"),
    (draw(1, 2, 1, 2), draw(2, 2, 1, 2), draw(2, 2, 1, 2), "k must have the shape"),
    (draw(1, 2, 1, 2), draw(1, 2, 3, 2), draw(1, 2, 1, 2), "v must have the shape"),
    (draw(2, 1, 2), draw(1, 2, 1, 2), draw(1, 2, 1, 2), "q must have the shape"),
    (draw(1, 2, 1, 2), draw(1, 2, 1, 2) * math.nan, draw(1, 2, 1, 2), "k must not hold NaN")])
def test_heads_that_do_not_divide_and_shapes_that_differ_are_refused(q, k, v, match):
    with pytest.raises(ValueError, match=match):
        grouped_query_attention(q, k, v)


# cached_attention


@st.composite
def cuts(draw_from) -> list[int]:
    return draw_from(st.lists(st.integers(1, 6), min_size=1, max_size=6))


@given(cuts(), st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_any_chunking_gives_what_one_pass_of_torchs_own_attention_gives(chunks, heads, B):
    (Hq, Hkv), T = heads, sum(chunks)
    q, k, v = draw(B, Hq, T, 3), draw(B, Hkv, T, 3, seed=1), draw(B, Hkv, T, 3, seed=2)
    cache, parts, start = KVCache(2, B, Hkv, T + 2, 3, torch.float64), [], 0
    for size in chunks:
        now = slice(start, start + size)
        cache.update(1, k[:, :, now], v[:, :, now])
        parts.append(cached_attention(q[:, :, now], cache, 1, start))
        start += size
    whole = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert_close(torch.cat(parts, 2), whole, atol=1e-12, rtol=0)
    # The cache may hold more than is asked about: what stands behind start + T is not seen.
    first = chunks[0]
    assert_close(cached_attention(q[:, :, :first], cache, 1, 0), whole[:, :, :first], atol=1e-12, rtol=0)


def test_the_second_chunk_worked_by_hand_and_the_empty_places_unseen():
    cache = KVCache(1, 1, 1, 5, 1, torch.float64)
    cache.values[0].fill_(1e9)
    v = torch.tensor([1.0, 3.0, 8.0], dtype=torch.float64).view(1, 1, 3, 1)
    cache.update(0, torch.zeros_like(v), v)
    seen = cached_attention(torch.ones(1, 1, 2, 1, dtype=torch.float64), cache, 0, 1)
    assert seen.flatten().tolist() == pytest.approx([2.0, 4.0])  # means of 1, 3 and of 1, 3, 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_cache_is_only_read_and_the_result_has_its_dtype(dtype):
    cache = KVCache(1, 1, 2, 4, 2, dtype)
    cache.update(0, draw(1, 2, 3, 2, dtype=dtype), draw(1, 2, 3, 2, dtype=dtype))
    before = [cache.keys[0].clone(), cache.values[0].clone()]
    first, again = (cached_attention(draw(1, 4, 2, 2, dtype=dtype), cache, 0, 1) for _ in range(2))
    assert torch.equal(first, again)
    assert first.dtype == dtype
    assert cache.lengths == [3]
    assert torch.equal(before[0], cache.keys[0])
    assert torch.equal(before[1], cache.values[0])


@pytest.mark.parametrize(("q", "layer", "start", "match"), [
    (draw(1, 2, 2, 2), 0, 2, "start must leave room"), (draw(1, 2, 4, 2), 0, 0, "start must leave room"),
    (draw(1, 2, 1, 2), 0, -1, "start"), (draw(1, 2, 1, 2), 1, 0, "start must leave room"),
    (draw(1, 2, 1, 2), 2, 0, "layer"), (draw(1, 3, 1, 2), 0, 0, "q must have a multiple"),
    (draw(2, 2, 1, 2), 0, 0, "must have the shape"), (draw(1, 2, 1, 3), 0, 0, "must have the shape")])
def test_queries_beyond_what_the_cache_holds_are_refused(q, layer, start, match):
    cache = KVCache(2, 1, 2, 8, 2, torch.float64)
    cache.update(0, draw(1, 2, 3, 2), draw(1, 2, 3, 2))
    with pytest.raises(ValueError, match=match):
        cached_attention(q, cache, layer, start)


# decode_roofline


def test_both_sides_of_the_roofline_worked_by_hand():
    # 14 GB of weights and 2 x 1 GB of cache at 1 TB/s: 16 ms. 2 x 14 GFLOP at 100 TFLOP/s: 0.28 ms.
    assert decode_roofline(14e9, 1e9, 14e9, 1e12, 1e14, 2) == (pytest.approx(0.016), "memory")
    # 1000 tokens: 14 ms of reading, 140 ms of computing.
    assert decode_roofline(14e9, 0, 14e9, 1e12, 1e14, 1000) == (pytest.approx(0.14), "compute")
    assert decode_roofline(1, 1, 2, 1.0, 1.0, 1) == (2.0, "memory")  # a tie


@given(*[st.floats(1, 1e12)] * 3, st.floats(1e9, 1e13), st.floats(1e9, 1e16))
@settings(deadline=None, max_examples=60)
def test_a_larger_batch_takes_no_less_time_in_all_and_no_more_for_each_token(params, cache, flops, bandwidth, peak):
    times = [decode_roofline(params, cache, flops, bandwidth, peak, batch)[0] for batch in (1, 2, 4, 8)]
    assert times == sorted(times)
    each = [time / batch for time, batch in zip(times, (1, 2, 4, 8))]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(each))
    assert each[-1] >= max(cache / bandwidth, flops / peak) * (1 - 1e-12)  # what no batch shares


@pytest.mark.parametrize("wrong", [
    {"param_bytes": -1}, {"kv_bytes_per_sequence": -1}, {"flops_per_token": math.nan}, {"bandwidth": 0}, {"peak": 0},
    {"batch": 0}, {"batch": 1.5}])
def test_rates_of_zero_and_negative_sizes_are_refused(wrong):
    right = {"param_bytes": 1, "kv_bytes_per_sequence": 1, "flops_per_token": 1, "bandwidth": 1, "peak": 1, "batch": 1}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        decode_roofline(**right | wrong)
