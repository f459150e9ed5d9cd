"""BERT's objective: the corruption of tokens, and what scoring each of them in turn adds up to."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from reference_impl.causal_vs_masked import mlm_corrupt, pseudo_logprob

settings.register_profile("mlm", deadline=None, max_examples=30)
settings.load_profile("mlm")
seeds = st.integers(0, 2**30)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# mlm_corrupt


def test_corruption_by_hand_with_every_threshold_on_its_edge():
    special = torch.tensor([True, True, False, False, False, False])  # 0 is padding, 1 the mask
    ids = torch.tensor([[0, 2, 3, 4, 5, 2, 3, 4]])
    u = torch.tensor([[[0.0, 0.25, 0.2499, 0, 0, 0, 0, 0]],        # 0 is special, .25 is not below p = .25
                      [[0.0, 0.0, 0.0, 0.79, 0.8, 0.89, 0.9, 0.99]],  # mask, mask, replace, replace, keep, keep
                      [[0.0, 0.0, 0.9, 0.9, 0.999, 0.0, 0.0, 0.5]]], dtype=torch.float64)
    inputs, labels = mlm_corrupt(ids, special, 1, 6, u, 0.25)
    assert inputs.tolist() == [[0, 2, 1, 1, 5, 0, 3, 4]]
    assert labels.tolist() == [[-100, -100, 3, 4, 5, 2, 3, 4]]


@given(seeds, st.sampled_from([0.0, 0.15, 0.5, 1.0]), st.sampled_from([torch.int64, torch.int32, torch.int16]))
def test_every_token_follows_the_rule(seed, p, dtype):
    B, T, V = 3, 7, 9
    ids, u = (numbers(seed, B, T) * V).to(dtype), numbers(seed + 1, 3, B, T)
    special, before = numbers(seed + 2, V) < 0.3, ids.clone()
    inputs, labels = mlm_corrupt(ids, special, 4, V, u, p)
    assert inputs.dtype == labels.dtype == dtype
    for b, t in itertools.product(range(B), range(T)):
        token, (pick, kind, new) = int(ids[b, t]), u[:, b, t].tolist()
        picked = pick < p and not special[token]
        assert labels[b, t] == (token if picked else -100)
        changed = 4 if kind < 0.8 else math.floor(new * V) if kind < 0.9 else token
        assert inputs[b, t] == (changed if picked else token)
    assert_close(ids, before)
    assert inputs.data_ptr() != ids.data_ptr()


def test_fifteen_percent_of_which_eighty_ten_ten():
    n, V = 400_000, 1000
    ids, special = (numbers(1, 1, n) * (V - 10)).long() + 10, torch.arange(V) < 10
    inputs, labels = mlm_corrupt(ids, special, 3, V, numbers(2, 3, 1, n), 0.15)
    picked = labels >= 0
    shares = [(picked.float().mean(), 0.15, n)]
    shares += [(share[picked].float().mean(), p, 0.15 * n) for share, p in (
        (inputs == 3, 0.8 + 0.1 / V), (inputs == ids, 0.1 + 0.1 / V), ((inputs != 3) & (inputs != ids), 0.1 - 0.2 / V))]
    for share, p, count in shares:
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / count)
    random = inputs[(inputs != 3) & (inputs != ids)]
    assert (random < 10).any()  # a replacement may be any id, a special one too
    assert torch.equal(inputs[~picked], ids[~picked])


@pytest.mark.parametrize("V", [2, 3, 1000, 32768, 50257])
def test_the_largest_uniform_gives_the_last_id(V):
    for dtype, largest in ((torch.float64, 1 - 2**-53), (torch.float32, 1 - 2**-24), (torch.float16, 1 - 2**-11)):
        u = torch.tensor([[[0.0]], [[0.85]], [[largest]]], dtype=dtype)
        inputs, _ = mlm_corrupt(torch.tensor([[0]]), torch.zeros(V, dtype=torch.bool), 0, V, u, 1.0)
        assert inputs.item() == math.floor(largest * V)


MLM = {"ids": torch.tensor([[2, 3]]), "special": torch.zeros(5).bool(), "mask_id": 1, "V": 5,
       "u": torch.zeros(3, 1, 2), "p": 0.15}


@pytest.mark.parametrize(("change", "said"), [
    ({"ids": torch.tensor([2, 3])}, r"ids must have the shape \(B, T\)"),
    ({"ids": torch.tensor([[2, 5]])}, r"ids must hold ids from 0 to 4; found 5 at \(0, 1\)"),
    ({"ids": torch.tensor([[2, -1]])}, "ids must hold .* found -1"),
    ({"ids": torch.tensor([[2, 3]]).to(torch.uint8)}, "ids must have a dtype that can hold -100 and 4, not"),
    ({"special": torch.zeros(5)}, "special must have the dtype bool"),
    ({"special": torch.zeros(4).bool()}, r"special must have the shape \(V,\) with V = 5"),
    ({"mask_id": 5}, "mask_id must be a whole number from 0 to 4"),
    ({"V": 0}, "V must be a whole number of at least 1"),
    ({"u": torch.zeros(2, 1, 2)}, r"u must have the shape \(3, B, T\)"),
    ({"u": torch.zeros(3, 2, 1)}, "u must have the shape"),
    ({"u": torch.ones(3, 1, 2)}, r"u must hold uniforms of \[0, 1\)"),
    ({"u": torch.full((3, 1, 2), math.nan)}, "u must hold uniforms"),
    ({"u": torch.full((3, 1, 2), -0.1)}, "u must hold uniforms"),
    ({"p": 1.5}, "p must be a number of at least 0 and of at most 1"),
    ({"p": math.nan}, "p must be a number"),
])
def test_mlm_corrupt_says_what_is_wrong(change, said):
    with pytest.raises(ValueError, match=said):
        mlm_corrupt(**(MLM | change))


# pseudo_logprob


def conditionals(joint: torch.Tensor, asked: list | None = None):
    """The exact mlm_fn of a distribution over texts, (V,) * T; the id V is the mask, and stands at one place."""
    V, T = joint.shape[0], joint.ndim

    def mlm_fn(ids):
        (masked,) = (ids == V).nonzero().squeeze(1).tolist()
        if asked is not None:
            asked.append(ids.tolist())
        row = joint[tuple(slice(None) if t == masked else int(ids[t]) for t in range(T))]
        logits = torch.zeros(T, V + 1, dtype=joint.dtype)
        logits[masked] = torch.cat([row, row.new_zeros(1)]).log()
        return logits + 7.0

    return mlm_fn


@given(seeds, st.integers(1, 4), st.integers(2, 3))
def test_it_is_the_sum_of_the_exact_conditionals(seed, T, V):
    joint = numbers(seed, *[V] * T) + 0.01
    joint = joint / joint.sum()
    special = torch.arange(V + 1) == V
    for text in itertools.product(range(V), repeat=T):
        expected = sum(math.log(joint[text] / joint[(*text[:t], slice(None), *text[t + 1 :])].sum()) for t in range(T))
        assert_close(pseudo_logprob(conditionals(joint), torch.tensor(text), V, special).item(), expected)


def test_it_is_no_probability_two_equal_bits_sum_to_two_and_independent_ones_to_one():
    special = torch.tensor([False, False, True])
    for joint, total in [([[0.5, 0], [0, 0.5]], 2.0), ([[0.06, 0.14], [0.24, 0.56]], 1.0)]:
        mlm_fn = conditionals(torch.tensor(joint, dtype=torch.float64))
        texts = [torch.tensor(text) for text in itertools.product((0, 1), repeat=2)]
        assert sum(pseudo_logprob(mlm_fn, ids, 2, special).exp().item() for ids in texts) == pytest.approx(total)


def test_one_call_a_token_and_specials_stay_in_sight_and_are_not_scored():
    asked, ids = [], torch.tensor([0, 2, 1, 0])
    special = torch.tensor([True, False, False, True])  # 0 begins and ends a text, 3 is the mask
    found = pseudo_logprob(conditionals(torch.full((3,) * 4, 1 / 81), asked), ids, 3, special)
    assert asked == [[0, 3, 1, 0], [0, 2, 3, 0]]
    assert_close(found, torch.tensor(2 * math.log(1 / 3)))
    assert ids.tolist() == [0, 2, 1, 0]
    assert pseudo_logprob(conditionals(torch.ones(3, 3), asked), torch.tensor([0, 3]), 3, special).item() == 0
    assert len(asked) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_that_of_the_logits_or_float32_and_gradients_flow(dtype):
    logits = numbers(0, 3, 4).to(dtype).requires_grad_()
    found = pseudo_logprob(lambda ids: logits, torch.tensor([2, 0, 1]), 3, torch.tensor([False, False, False, True]))
    assert found.dtype == (dtype if dtype.itemsize > 2 else torch.float32)
    assert found.shape == ()
    expected = -F.cross_entropy(logits.to(found.dtype), torch.tensor([2, 0, 1]), reduction="sum")
    assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, logits)
    assert_close(gradient, torch.autograd.grad(expected, logits)[0])


ZEROS, NONE = (lambda ids: torch.zeros(2, 4)), torch.zeros(4).bool()


@pytest.mark.parametrize(("mlm_fn", "ids", "mask_id", "special", "said"), [
    (ZEROS, torch.tensor([[0, 1]]), 3, NONE, r"ids must have the shape \(T,\)"),
    (ZEROS, torch.tensor([0, 4]), 3, NONE, "ids must hold ids from 0 to 3; found 4"),
    (ZEROS, torch.tensor([0, 1]), 4, NONE, "mask_id must be a whole number from 0 to 3"),
    (ZEROS, torch.tensor([0, 1]), 3, NONE.float(), "special must have the dtype bool"),
    (ZEROS, torch.tensor([0, 1, 2]), 3, NONE, "the result of mlm_fn must have .* T = 3"),
    (ZEROS, torch.tensor([0, 1]), 3, torch.zeros(5).bool(), "the result of mlm_fn must have .* V = 5"),
    (lambda ids: torch.full((2, 4), math.nan), torch.tensor([0, 1]), 3, NONE, "the result of mlm_fn must not hold NaN"),
])
def test_pseudo_logprob_says_what_is_wrong(mlm_fn, ids, mask_id, special, said):
    with pytest.raises(ValueError, match=said):
        pseudo_logprob(mlm_fn, ids, mask_id, special)
