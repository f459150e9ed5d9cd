"""GPT-2 as an object: its parameters, its loader, and its cached road against the plain functions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from random_gpt import random_gpt
from torch.testing import assert_close

from reference_impl.causal_vs_masked import gpt_logits
from reference_impl.gpt import GPT, PRESETS, Config, from_state_dict, gpt_parameters
from reference_impl.kv_cache import KVCache, cached_attention, generate_cached
from reference_impl.transformer import gpt_with

SMALL = Config(V=31, context=12, D=24, layers=3, H=4)


def model(seed: int = 0, dtype: torch.dtype = torch.float64) -> GPT:
    return GPT(random_gpt(SMALL.V, SMALL.context, SMALL.D, SMALL.layers, seed, dtype), SMALL.H)


def draw(B: int, T: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(SMALL.V, (B, T), generator=torch.Generator().manual_seed(seed))


# Config and gpt_parameters


def count(c: Config) -> int:
    return (c.V + c.context) * c.D + c.layers * (12 * c.D**2 + 13 * c.D) + 2 * c.D


def test_the_smallest_gpt_2_has_its_well_known_number_of_parameters():
    assert count(PRESETS["gpt2"]) == 124_439_808
    for config in (SMALL, Config(7, 5, 4, 1, 1)):
        assert sum(one.numel() for one in gpt_parameters(config, torch.Generator()).values()) == count(config)


@pytest.mark.parametrize("wrong", [{"V": 0}, {"context": 0}, {"D": 2.0}, {"layers": 0}, {"H": 0}, {"H": 5}])
def test_a_configuration_that_no_gpt_has_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**vars(SMALL) | wrong)


def test_the_first_weights_have_gpt_2s_spread():
    params = gpt_parameters(Config(V=500, context=200, D=64, layers=8, H=4), torch.Generator().manual_seed(0))
    for name, value in params.items():
        if value.ndim == 1:
            assert (value == float(name.endswith("weight"))).all(), name
        else:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02  # 2 sums a layer, 16 in all
            # The estimate of a standard deviation from n draws is off by 1 / sqrt(2 n) of it, give or take.
            assert abs(value.std() / std - 1) < 5 / math.sqrt(2 * value.numel()), name
            assert abs(value.mean()) < 5 * std / math.sqrt(value.numel()), name


def test_the_first_loss_is_near_that_of_the_uniform_guess():
    params = gpt_parameters(SMALL, torch.Generator().manual_seed(0))
    ids = draw(8, 12)
    loss = torch.nn.functional.cross_entropy(gpt_logits(params, ids, SMALL.H).flatten(0, 1), draw(8, 12, 1).flatten())
    assert abs(loss - math.log(SMALL.V)) < 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_same_state_gives_the_same_weights_in_any_dtype(dtype):
    first, again = (gpt_parameters(SMALL, torch.Generator().manual_seed(3)) for _ in range(2))
    wide = gpt_parameters(SMALL, torch.Generator().manual_seed(3), "cpu", dtype)
    other = gpt_parameters(SMALL, torch.Generator().manual_seed(4))
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert torch.equal(value.to(dtype), wide[name])
        assert wide[name].dtype == dtype
        assert value.ndim == 1 or not torch.equal(value, other[name])


# from_state_dict


def test_a_state_dict_with_prefix_tied_head_and_mask_buffers_gives_the_parameters():
    params = random_gpt(7, 5, 4, 2)
    theirs = {f"transformer.{name}": value for name, value in reversed(params.items())}
    theirs |= {"transformer.h.0.attn.bias": torch.ones(1, 1, 5, 5), "transformer.h.1.attn.masked_bias": torch.ones(())}
    found = from_state_dict(theirs | {"lm_head.weight": params["wte.weight"].clone()})
    assert list(found) == list(gpt_parameters(Config(7, 5, 4, 2, 1), torch.Generator()))
    assert all(torch.equal(found[name], params[name]) for name in params)
    assert found.keys() == from_state_dict(params).keys() == params.keys()


def test_the_loaded_tensors_take_no_gradient_along():
    params = {name: value.requires_grad_() for name, value in random_gpt(7, 5, 4, 1).items()}
    assert not any(value.requires_grad for value in from_state_dict(params).values())


@pytest.mark.parametrize(("change", "match"), [
    ({"wte.weight": None}, "wte.weight"), ({"h.1.mlp.c_fc.bias": None}, "h.1.mlp.c_fc.bias"),
    ({"ln_f.weight": torch.ones(5)}, "ln_f.weight"), ({"h.0.attn.c_attn.weight": torch.ones(12, 4)}, "c_attn.weight"),
    ({"wpe.weight": torch.ones(5)}, "wpe.weight"), ({"ln_f.bias": torch.ones(4)}, "float64"),
    ({"score.weight": torch.ones(2, 4)}, "score.weight"), ({"h.x.ln_1.weight": torch.ones(4)}, r"h\."),
    ({"lm_head.weight": torch.ones(7, 4)}, "tied"), ({"lm_head.weight": torch.ones(3, 4)}, "tied"),
    ({"ln_f.bias": [0.0] * 4}, "tensors")])
def test_a_state_dict_of_something_else_is_refused_and_the_name_is_said(change, match):
    state = {name: value for name, value in (random_gpt(7, 5, 4, 2) | change).items() if value is not None}
    with pytest.raises(ValueError, match=match):
        from_state_dict(state)
    with pytest.raises(ValueError, match="dict of tensors"):
        from_state_dict(list(state.values()))


# GPT


def test_the_model_knows_its_sizes_and_makes_a_cache_to_match():
    gpt = model(dtype=torch.float32)
    assert (gpt.V, gpt.context) == (31, 12)
    cache = gpt.new_cache(5)
    assert len(cache.keys) == 3
    assert cache.keys[0].shape == (5, 4, 12, 6)
    assert cache.keys[0].dtype == torch.float32


def test_without_a_cache_it_is_gpt_logits_with_gradients():
    gpt, ids = model(), draw(2, 5)
    gpt.params["wte.weight"].requires_grad_()
    logits = gpt(ids)
    assert torch.equal(logits, gpt_logits(gpt.params, ids, SMALL.H))
    logits.sum().backward()
    assert gpt.params["wte.weight"].grad.any()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_any_chunking_gives_the_logits_of_one_pass(chunks, B, seed):
    gpt = model(seed)
    chunks = [size for t, size in enumerate(chunks) if sum(chunks[: t + 1]) <= gpt.context]
    ids, cache = draw(B, sum(chunks), seed), gpt.new_cache(B)
    parts = [gpt(part, cache) for part in ids.split(chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), gpt(ids), atol=1e-10, rtol=0)
    assert cache.lengths == [sum(chunks)] * SMALL.layers
    assert cache.keys[0].dtype == torch.float64


def test_one_token_at_a_time_equals_one_pass_in_float32_up_to_rounding():
    gpt, ids = model(dtype=torch.float32), draw(2, 12)
    cache = gpt.new_cache(2)
    steps = torch.cat([gpt(ids[:, t : t + 1], cache) for t in range(12)], dim=1)
    assert_close(steps, gpt(ids), atol=1e-5, rtol=0)  # logits up to 5, and another order of their sums


def test_the_fast_step_equals_the_plain_functions():
    gpt, ids = model(), draw(3, 8)
    fast, plain = gpt.new_cache(3), gpt.new_cache(3)
    gpt(ids[:, :5], fast)
    for start, stop in ((0, 5), (5, 6), (6, 7), (7, 8)):

        def attend(layer, q, k, v, start=start):
            plain.update(layer, k, v)
            return cached_attention(q, plain, layer, start)

        wanted = gpt_with(gpt.params, ids[:, start:stop], start, SMALL.H, attend)
        if start:
            assert_close(gpt(ids[:, start:stop], fast), wanted, atol=1e-10, rtol=0)
    assert fast.lengths == plain.lengths == [8] * 3
    for one, other in zip((*fast.keys, *fast.values), (*plain.keys, *plain.values)):
        assert_close(one, other, atol=1e-12, rtol=0)


def test_a_cache_can_be_reset_and_filled_again():
    gpt, ids = model(), draw(1, 6)
    cache = gpt.new_cache(1)
    gpt(draw(1, 12, seed=1), cache)
    cache.reset()
    gpt(ids[:, :4], cache)
    parts = [gpt(ids[:, t : t + 1], cache) for t in (4, 5)]
    assert_close(torch.cat(parts, 1), gpt(ids)[:, 4:], atol=1e-10, rtol=0)


@pytest.mark.parametrize("T", [1, 2])
def test_a_full_context_is_refused_and_the_cache_stays_as_it_was(T):
    gpt = model()
    cache = gpt.new_cache(1)
    gpt(draw(1, 12), cache)
    before = [one.clone() for one in (*cache.keys, *cache.values)]
    with pytest.raises(ValueError, match="12 positions"):
        gpt(draw(1, T), cache)
    assert cache.lengths == [12] * 3
    assert all(map(torch.equal, before, (*cache.keys, *cache.values)))
    short = KVCache(3, 1, 4, 3, 6, torch.float64)  # room for less than the context
    gpt(draw(1, 3), short)
    with pytest.raises(ValueError, match=r"3 .*positions"):
        gpt(draw(1, T), short)
    assert short.lengths == [3] * 3


@pytest.mark.parametrize("cache", [
    KVCache(2, 1, 4, 12, 6, torch.float64), KVCache(3, 1, 1, 12, 6, torch.float64),
    KVCache(3, 1, 4, 12, 3, torch.float64), KVCache(3, 1, 4, 12, 6, torch.float32)])
def test_the_cache_of_another_model_is_refused(cache):
    with pytest.raises(ValueError, match="new_cache"):
        model()(draw(1, 1), cache)


def test_layers_that_hold_different_numbers_of_positions_are_refused():
    gpt = model()
    cache = gpt.new_cache(1)
    cache.update(1, torch.zeros(1, 4, 2, 6, dtype=torch.float64), torch.zeros(1, 4, 2, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match="every layer"):
        gpt(draw(1, 1), cache)


@pytest.mark.parametrize(("ids", "match"), [
    (torch.tensor([[31]]), "from 0 to 30"), (torch.tensor([[-1]]), "from 0 to 30"), (torch.tensor([[0, 31]]), "30"),
    (torch.tensor([[1], [2]]), "1 rows"), (torch.tensor([1]), "ids"), (torch.tensor([[1.0]]), "ids"), ([[1]], "ids"),
    (torch.zeros(1, 0, dtype=torch.int64), "ids")])
def test_ids_that_are_none_are_refused_on_every_road(ids, match):
    gpt = model()
    cache = gpt.new_cache(1)
    with pytest.raises(ValueError, match=match):
        gpt(ids, cache)
    assert cache.lengths == [0] * 3
    if match != "1 rows":
        with pytest.raises(ValueError, match=match):
            gpt(ids)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_ids_of_any_integer_dtype_are_taken(dtype):
    gpt, ids = model(), draw(2, 4)
    cache = gpt.new_cache(2)
    parts = [gpt(part.to(dtype), cache) for part in ids.split([3, 1], dim=1)]
    assert_close(torch.cat(parts, 1), gpt(ids), atol=1e-10, rtol=0)


def test_a_model_first_used_in_generation_still_serves_training_and_takes_no_gradient_there():
    gpt, ids = model(), draw(1, 3)
    for value in gpt.params.values():
        value.requires_grad_()
    with torch.inference_mode():
        inside = gpt(ids[:, :1], gpt.new_cache(1))
    cache = gpt.new_cache(1)
    outside = gpt(ids[:, :1], cache)
    assert torch.equal(inside, outside)
    assert not outside.requires_grad
    assert not cache.keys[0].requires_grad
    assert torch.equal(generate_cached(gpt, ids, 2)[:, :3], ids)
    gpt(ids).sum().backward()


@pytest.mark.parametrize(("params", "n_head"), [
    ({}, 1), (None, 1), (random_gpt(7, 5, 4, 1), 3), (random_gpt(7, 5, 4, 1), 0),
    ({"wte.weight": torch.zeros(7, 4)}, 1)])
def test_parameters_of_something_else_are_refused(params, n_head):
    with pytest.raises(ValueError, match=r"params|n_head"):
        GPT(params, n_head)


@needs_gpu
def test_on_a_gpu_the_roads_agree_and_a_wrong_id_is_a_valueerror():
    gpt = GPT(random_gpt(31, 12, 24, 3), 4)
    there = GPT({name: value.cuda() for name, value in gpt.params.items()}, 4)
    ids = draw(2, 5)
    assert torch.equal(generate_cached(there, ids.cuda(), 7).cpu(), generate_cached(gpt, ids, 7))
    with pytest.raises(ValueError, match="from 0 to 30"):
        there(torch.tensor([[31]], device="cuda"), there.new_cache(1))
