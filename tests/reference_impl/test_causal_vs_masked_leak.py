"""find_leak against the definition, over leaks that are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.causal_vs_masked import attention, causal_mask, find_leak

settings.register_profile("leaks", deadline=None, max_examples=40)
settings.load_profile("leaks")
seeds = st.integers(0, 2**30)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sees(who_sees: torch.Tensor, V: int, feature=lambda ids, V: F.one_hot(ids, V)):
    """Logits whose position t sums a feature of all tokens s with who_sees[t, s]."""
    return lambda ids: who_sees.double() @ feature(ids, V).double()


@given(seeds, st.integers(1, 6), st.sampled_from([2, 3, 17, 18, 60]), st.sampled_from([0.03, 0.2, 0.6]))
def test_the_leak_is_the_first_position_and_then_the_first_token_it_sees(seed, T, V, share):
    who = numbers(seed, T, T) < share
    ids = (numbers(seed + 1, T) * V).long()
    leaks = [(t, s) for t in range(T) for s in range(t + 1, T) if who[t, s]]
    assert find_leak(sees(who, V), ids) == min(leaks, default=None)


@pytest.mark.parametrize("leaks", [[(1, 2), (0, 3)], [(2, 3), (1, 4), (1, 5)], [(0, 5), (1, 2), (0, 4)]])
def test_a_smaller_position_wins_over_a_smaller_token(leaks):
    who = torch.eye(6)
    for leak in leaks:
        who[leak] = 1
    assert find_leak(sees(who, 30), torch.arange(6)) == min(leaks)


def test_an_attention_leaks_exactly_when_its_mask_does():
    V, T = 11, 6
    embedded = numbers(0, V, 4)

    def logits_fn(mask):
        return lambda ids: attention(embedded[ids], embedded[ids], embedded[ids], mask) @ embedded.T

    ids = torch.tensor([3, 1, 4, 1, 5, 9])
    assert find_leak(logits_fn(causal_mask(T)), ids) is None
    assert find_leak(logits_fn(causal_mask(T) | (torch.arange(T) == 4)), ids) == (0, 4)
    for t, s in itertools.combinations(range(T), 2):
        mask = causal_mask(T)
        mask[t, s] = True
        assert find_leak(logits_fn(mask), ids) == (t, s)


@pytest.mark.parametrize(("change", "found"), [(1e-6, None), (2**-20, None), (1.01e-6, (0, 1)), (2**-19, (0, 1))])
def test_a_change_counts_above_one_millionth(change, found):
    who = torch.tensor([[0, change], [0, 1]], dtype=torch.float64)
    assert find_leak(sees(who, 3), torch.tensor([0, 2])) == found


@pytest.mark.parametrize("V", [5, 17, 18, 31, 97, 1024])
@pytest.mark.parametrize("token", [0, 1, 4, -1])
def test_a_leak_does_not_hide_behind_replacements_that_look_like_the_token(V, token):
    token, ids = token % V, torch.arange(V)
    features = [ids % m == r for m in range(2, 10) for r in range(m)]
    features += [ids < V * share for share in (0.1, 0.5, 0.9)] + [ids == i for i in (0, V - 1, token)]
    for feature in features:
        if feature.all() or not feature.any():
            continue

        def logits_fn(probe, feature=feature):
            return torch.stack([feature[probe[1]], feature[probe[0]]]).double()[:, None].expand(-1, V)

        assert find_leak(logits_fn, torch.tensor([2, token])) == (0, 1)


@given(seeds)
def test_in_a_small_vocabulary_no_single_id_can_hide_it(seed):
    V, T = 17, 4
    ids, trigger = (numbers(seed, T) * V).long(), int(numbers(seed + 1, 1) * V)

    def logits_fn(probe):
        logits = torch.zeros(T, V)
        logits[1, 0] = float(probe[3] == trigger)
        return logits

    assert find_leak(logits_fn, ids) == (1, 3)


def test_the_number_of_calls_is_bounded_and_a_leak_at_position_0_ends_the_search():
    calls = []

    def causal(ids):
        calls.append(ids)
        return torch.zeros(len(ids), 1000)

    ids = torch.arange(400, 409)
    assert find_leak(causal, ids) is None
    assert len(calls) == 16 * 8 + 2
    assert len({tuple(ids.tolist()) for ids in calls}) == 16 * 8 + 1
    calls.clear()
    assert find_leak(lambda ids: causal(ids) + ids.sum(), ids) == (0, 1)
    assert len(calls) == 16 + 2


def test_excluded_tokens_and_a_model_that_writes_on_its_argument_are_no_leak():
    ids = torch.tensor([2, 0, 1])

    def writes(probe):
        logits = F.one_hot(probe, 3).float().log()  # -inf wherever a token is not
        probe.fill_(0)
        return logits

    assert find_leak(writes, ids) is None
    assert ids.tolist() == [2, 0, 1]
    assert find_leak(lambda probe: F.one_hot(probe, 3).float().log().flip(0), ids) == (0, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_logits_of_any_dtype_with_gradients_and_ids_of_any_integer_dtype(dtype):
    scale = torch.ones((), dtype=dtype, requires_grad=True)
    assert find_leak(lambda ids: F.one_hot(ids.long(), 4) * scale, torch.tensor([1, 2], dtype=torch.uint8)) is None
    assert find_leak(lambda ids: F.one_hot(ids.long(), 4).flip(0) * scale, torch.tensor([1, 2]).int()) == (0, 1)


@pytest.mark.parametrize(("logits_fn", "ids", "said"), [
    (lambda ids: torch.zeros(2, 5), torch.tensor([[1, 2]]), r"ids must have the shape \(T,\)"),
    (lambda ids: torch.zeros(2, 5), torch.tensor([1.0, 2.0]), "ids must have an integer dtype"),
    (lambda ids: torch.zeros(2, 5), torch.tensor([1, 5]), r"ids must hold ids from 0 to 4; found 5 at \(1,\)"),
    (lambda ids: torch.zeros(0, 5), torch.tensor([]).long(), "ids is empty"),
    (lambda ids: torch.zeros(1, 2, 5), torch.tensor([1, 2]), r"the result of logits_fn must have the shape \(T, V\)"),
    (lambda ids: torch.zeros(3, 5), torch.tensor([1, 2]), "the result of logits_fn must have .* T = 2"),
    (lambda ids: torch.full((2, 5), math.nan), torch.tensor([1, 2]), "the result of logits_fn must not hold NaN"),
    (lambda ids: torch.rand(2, 5), torch.tensor([1, 2]), "logits_fn must be a function of its ids"),
])
def test_find_leak_says_what_is_wrong(logits_fn, ids, said):
    with pytest.raises(ValueError, match=said):
        find_leak(logits_fn, ids)
