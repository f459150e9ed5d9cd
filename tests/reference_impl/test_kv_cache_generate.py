"""What a full window leaves of a text, and greedy generation with a cache against generation without one."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from random_gpt import random_gpt

from reference_impl.causal_vs_masked import gpt_logits
from reference_impl.gpt import GPT
from reference_impl.kv_cache import KVCache, fit_context, generate_cached
from reference_impl.sampling import generate

# fit_context


@pytest.mark.parametrize(("policy", "keep", "expected"), [
    ("truncate", 0, [2, 3, 4, 5]), ("truncate", 3, [2, 3, 4, 5]),
    ("keep_start", 0, [2, 3, 4, 5]), ("keep_start", 1, [0, 3, 4, 5]), ("keep_start", 4, [0, 1, 2, 3]),
    ("summary", 0, [2, 3, 4, 5]), ("summary", 1, [3, 4, 5]), ("summary", 3, [5]), ("summary", 4, [])])
def test_what_is_left_of_six_ids_in_a_window_of_four(policy, keep, expected):
    assert fit_context([0, 1, 2, 3, 4, 5], 4, keep, policy) == expected


def test_the_8001st_token_pushes_out_the_first_or_is_refused():
    ids = list(range(8001))
    assert fit_context(ids[:8000], 8000, 0, "refuse") == ids[:8000]
    assert fit_context(ids, 8000, 0, "truncate") == ids[1:]
    assert fit_context(ids, 8000, 4, "keep_start") == [*range(4), *range(5, 8001)]
    assert fit_context(ids, 8000, 500, "summary") == ids[501:]
    with pytest.raises(ValueError, match="window of 8000; there are 8001"):
        fit_context(ids, 8000, 0, "refuse")


@given(st.lists(st.integers(0, 99), max_size=12), st.integers(1, 8), st.data())
@settings(deadline=None, max_examples=60)
def test_what_is_left_fits_and_what_fits_is_left_alone(ids, window, data):
    keep = data.draw(st.integers(0, window))
    for policy in ("truncate", "keep_start", "summary"):
        left = fit_context(ids, window, keep, policy)
        free = keep if policy == "summary" and len(ids) > window else 0
        assert len(left) == min(len(ids), window) - free
        assert len(ids) > window or left == ids
        assert fit_context(tuple(ids), window, keep, policy) == left
        batch = torch.tensor([ids, ids], dtype=torch.int32)
        assert torch.equal(fit_context(batch, window, keep, policy), torch.tensor([left, left], dtype=torch.int32))


@pytest.mark.parametrize("ids", [[1, 2], [1, 2, 3], torch.tensor([1, 2]), torch.tensor([1, 2, 3])])
def test_the_result_is_a_copy(ids):
    left = fit_context(ids, 2)
    left[0] = 7
    assert 7 not in ids


@pytest.mark.parametrize(("arguments", "match"), [
    (([1], 0), "window"), (([1], 2, -1), "keep"), (([1], 2, 3), "keep"), (([1], 2, 0, "summarise"), "policy"),
    (("text", 2), "ids"), ((torch.tensor([0.5]), 2), "ids"), ((torch.tensor(3), 2), "ids")])
def test_another_policy_and_numbers_outside_the_window_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        fit_context(*arguments)


# generate_cached


class Counting:
    """A model whose next token is the sum of all tokens it was ever given, and that notes what it is given."""

    def __init__(self, V: int = 11, context: int = 12):
        self.V, self.context, self.caches, self.chunks = V, context, 0, []

    def new_cache(self, B: int) -> SimpleNamespace:
        self.caches += 1
        return SimpleNamespace(total=torch.zeros(B, dtype=torch.int64))

    def __call__(self, ids: torch.Tensor, cache: SimpleNamespace) -> torch.Tensor:
        self.chunks.append(ids.tolist())
        totals = cache.total[:, None] + ids.cumsum(1)
        cache.total = totals[:, -1]
        return F.one_hot(totals % self.V, self.V).double()


def test_the_prompt_and_all_new_tokens_but_the_last_are_processed_once():
    model, ids = Counting(), torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert generate_cached(model, ids, 4).tolist() == [[1, 2, 3, 6, 1, 2, 4], [4, 5, 6, 4, 8, 5, 10]]
    assert model.chunks == [[[1, 2, 3], [4, 5, 6]], [[6], [4]], [[1], [8]], [[2], [5]]]
    assert sum(len(chunk[0]) for chunk in model.chunks) == 3 + 4 - 1
    assert model.caches == 1


def test_every_call_starts_from_an_empty_cache_and_leaves_its_ids_alone():
    model, ids = Counting(), torch.tensor([[3, 9]])
    first, again = generate_cached(model, ids, 2), generate_cached(model, ids, 2)
    assert torch.equal(first, again)
    assert ids.tolist() == [[3, 9]]
    first[0, 0] = 5  # a tensor of its own
    assert ids.tolist() == [[3, 9]]


def test_no_new_tokens_need_no_call():
    model, ids = Counting(), torch.tensor([[3, 9]])
    result = generate_cached(model, ids, 0)
    assert torch.equal(result, ids)
    assert result.data_ptr() != ids.data_ptr()
    assert (model.caches, model.chunks) == (0, [])


def test_the_context_may_be_filled_and_not_exceeded():
    model, ids = Counting(context=5), torch.tensor([[1, 2, 3]])
    assert generate_cached(model, ids, 2).shape == (1, 5)
    with pytest.raises(ValueError, match="context of 5"):
        generate_cached(model, ids, 3)
    with pytest.raises(ValueError, match="context of 5"):
        generate_cached(model, torch.ones(1, 6, dtype=torch.int64), 0)


def test_ties_go_to_the_lowest_id():
    class Tied(Counting):
        def __call__(self, ids, cache):
            return torch.tensor([0.0, 2, 1, 2, 2]).expand(*ids.shape, 5)

    assert generate_cached(Tied(), torch.tensor([[4]]), 2).tolist() == [[4, 1, 1]]


def test_the_model_is_asked_without_gradients():
    class Asks(Counting):
        def __call__(self, ids, cache):
            assert not torch.is_grad_enabled()
            return super().__call__(ids, cache)

    assert generate_cached(Asks(), torch.tensor([[1, 2]]), 1).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("when", [1, 3])
def test_nan_logits_are_refused_whenever_they_come(when):
    class Breaks(Counting):
        def __call__(self, ids, cache):
            logits = super().__call__(ids, cache)
            if len(self.chunks) == when:
                logits[0, -1, 2] = math.nan
            return logits

    with pytest.raises(ValueError, match="NaN"):
        generate_cached(Breaks(), torch.tensor([[1], [2]]), 3)


@pytest.mark.parametrize(("ids", "max_new", "match"), [
    (torch.tensor([1, 2]), 1, "ids"), (torch.tensor([[0.5]]), 1, "ids"), ([[1]], 1, "ids"),
    (torch.zeros(1, 0, dtype=torch.int64), 1, "ids"), (torch.zeros(0, 1, dtype=torch.int64), 1, "ids"),
    (torch.tensor([[1]]), -1, "max_new"), (torch.tensor([[1]]), 1.0, "max_new")])
def test_empty_prompts_and_odd_counts_are_refused(ids, max_new, match):
    with pytest.raises(ValueError, match=match):
        generate_cached(Counting(), ids, max_new)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6), st.integers(0, 10))
@settings(deadline=None, max_examples=25)
def test_the_tokens_are_those_of_generation_without_a_cache(seed, B, T, max_new):
    params = random_gpt(29, 16, 12, 2, seed % 7)
    ids = torch.randint(29, (B, T), generator=torch.Generator().manual_seed(seed))
    uncached, lengths = generate(lambda ids: gpt_logits(params, ids, 3)[:, -1].argmax(-1), ids, max_new, None, 0)
    assert torch.equal(generate_cached(GPT(params, 3), ids, max_new), uncached)
    assert lengths.tolist() == [T + max_new] * B


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_the_result_has_the_dtype_of_the_ids_and_can_take_part_in_training(dtype):
    params = {name: value.requires_grad_() for name, value in random_gpt(29, 16, 12, 1).items()}
    ids = generate_cached(GPT(params, 3), torch.tensor([[3, 1]]).to(dtype), 3)
    assert ids.dtype == dtype
    assert not ids.is_inference()
    gpt_logits(params, ids, 3).sum().backward()
    assert params["wte.weight"].grad.any()


def test_a_model_may_bring_any_cache_of_its_own():
    seen = []

    class Model(Counting):
        def new_cache(self, B):
            return KVCache(1, B, 1, self.context, 1)

        def __call__(self, ids, cache):
            seen.append(cache)
            keys, _ = cache.update(0, ids[:, None, :, None].float(), torch.zeros(*ids.shape[:1], 1, ids.shape[1], 1))
            return F.one_hot(keys.sum((1, 2, 3)).long() % self.V, self.V)[:, None].expand(-1, ids.shape[1], -1)

    assert generate_cached(Model(), torch.tensor([[1, 2, 3]]), 3).tolist() == [[1, 2, 3, 6, 1, 2]]
    assert len(set(map(id, seen))) == 1
