"""The reference of the last chapter: masks that are filled in, the most confident first."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from reference_impl.beyond import unmask_step

few = settings(max_examples=40, deadline=None)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_the_definition(logits, ids, mask_id: int, n: int) -> list[list[int]]:
    """Row by row in Python: sort the masks by falling confidence, then by position, and fill the first n."""
    result = ids.tolist()
    for b, row in enumerate(result):
        rated = []
        for t, token in enumerate(row):
            if token == mask_id:
                scores = [-math.inf if v == mask_id else score for v, score in enumerate(logits[b, t].tolist())]
                best = scores.index(max(scores))
                rated.append((sum(math.exp(score - max(scores)) for score in scores), t, best))
        for _, t, best in sorted(rated)[:n]:
            row[t] = best
    return result


@given(st.integers(1, 3), st.integers(1, 6), st.integers(2, 6), st.integers(0, 7), st.integers(0, 999), st.booleans())
@few
def test_unmask_step_is_its_definition(B, T, V, n, seed, inside):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randint(-2, 3, (B, T, V), generator=draw).double()  # few values: many ties
    mask_id = V - 1 if inside else V
    ids = torch.where(torch.rand(B, T, generator=draw) < 0.6, mask_id, torch.randint(0, V, (B, T), generator=draw))
    found = unmask_step(logits.sort(2)[0], ids, mask_id, n)  # sorted, so that equal odds are sums in one order
    assert found.tolist() == by_the_definition(logits.sort(2)[0], ids, mask_id, n)
    assert_close(found[:1], unmask_step(logits.sort(2)[0][:1], ids[:1], mask_id, n))


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 999))
@few
def test_masks_get_fewer_until_none_is_left_and_other_ids_stay(T, n, seed):
    logits, mask_id = normal(2, T, 5, seed=seed), 2
    logits[:, :, mask_id] += 9  # the model would rather say nothing
    ids = torch.full((2, T), mask_id)
    for done in range(math.ceil(T / n)):
        after = unmask_step(logits, ids, mask_id, n)
        assert torch.equal(after[ids != mask_id], ids[ids != mask_id])
        assert ((after == mask_id).sum(1) == max(0, T - n * (done + 1))).all()
        ids = after
    assert not (ids == mask_id).any()


def test_all_at_once_is_the_argmax_everywhere():
    logits = normal(2, 5, 7)
    assert_close(unmask_step(logits, torch.full((2, 5), 7), 7, 5), logits.argmax(2))


def test_unmask_step_by_hand():
    M = 3
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]]).log()[None]
    ids = torch.tensor([[M, M, 2, M]])
    assert unmask_step(logits, ids, M, 0).tolist() == [[M, M, 2, M]]
    assert unmask_step(logits, ids, M, 1).tolist() == [[M, 1, 2, M]]  # .8 twice: the lower position
    assert unmask_step(logits, ids, M, 2).tolist() == [[M, 1, 2, 2]]  # the .9 is at a position that is not masked
    assert unmask_step(logits, ids, M, 9).tolist() == [[0, 1, 2, 2]]
    assert unmask_step(torch.zeros(1, 4, 3), ids, M, 1).tolist() == [[0, M, 2, M]]  # all ties
    assert ids.tolist() == [[M, M, 2, M]]


def test_confidence_is_the_probability_and_not_the_logit():
    logits = torch.tensor([[[9.0, 9.0, 9.0], [1.0, -9.0, -9.0]]])
    assert unmask_step(logits, torch.tensor([[3, 3]]), 3, 1).tolist() == [[3, 0]]


def test_two_that_are_all_but_certain_are_told_apart():
    logits = torch.tensor([[[30.0, 0.0], [40.0, 0.0]]])  # both probabilities round to 1
    assert unmask_step(logits, torch.tensor([[2, 2]]), 2, 1).tolist() == [[2, 0]]


def test_minus_inf_is_probability_zero_and_matters_only_at_masks():
    low = -math.inf
    logits = torch.tensor([[[low, 0.0, low], [low, low, low], [1.0, 0.0, low]]])
    assert unmask_step(logits, torch.tensor([[3, 1, 3]]), 3, 1).tolist() == [[1, 1, 3]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_the_ids_keep_their_dtype_whatever_the_logits_have(dtype, kind):
    found = unmask_step(normal(1, 3, 4, dtype=dtype), torch.full((1, 3), 4, dtype=kind), 4, 2)
    assert found.dtype == kind


@pytest.mark.parametrize(("change", "name"), [
    ({"logits": torch.zeros(2, 3)}, "logits"), ({"logits": torch.full((1, 2, 4), math.nan)}, "logits"),
    ({"logits": torch.full((1, 2, 4), -math.inf)}, "logits"), ({"logits": torch.full((1, 2, 4), math.inf)}, "logits"),
    ({"ids": torch.zeros(1, 3, dtype=torch.int64)}, "ids"), ({"ids": torch.tensor([[5, 0]])}, "ids"),
    ({"ids": torch.tensor([[-1, 0]])}, "ids"), ({"ids": torch.zeros(1, 2)}, "ids"), ({"mask_id": -1}, "mask_id"),
    ({"n": -1}, "n"), ({"n": 1.0}, "n"),
    ({"logits": torch.zeros(1, 2, 1), "ids": torch.zeros(1, 2).long(), "mask_id": 0}, "logits")])
def test_unmask_step_names_what_is_wrong(change, name):
    right = {"logits": torch.zeros(1, 2, 4), "ids": torch.tensor([[4, 1]]), "mask_id": 4, "n": 1}
    with pytest.raises(ValueError, match=f"^{name} "):
        unmask_step(**right | change)
