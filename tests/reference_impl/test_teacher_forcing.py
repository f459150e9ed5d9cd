"""Shifts, batches, rollouts and influence against their definitions, written as loops, and values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from reference_impl.teacher_forcing import get_batch, mixed_rollout, position_influence, shift_targets

settings.register_profile("teacher forcing", deadline=None, max_examples=50)  # torch's first calls take seconds
settings.load_profile("teacher forcing")


# shift_targets


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 6),
       st.integers(0, 3), st.integers(0, 3))
def test_shifting_is_its_definition(rows, T, pad, eos):
    rows = [row[6 - T :] for row in rows]
    inputs, targets = shift_targets(torch.tensor(rows), pad, eos, -100)
    assert inputs.tolist() == [row[:-1] for row in rows]
    for row, found in zip(rows, targets.tolist()):
        run = T  # where the run of pads that ends the row begins
        while run > 0 and row[run - 1] == pad:
            run -= 1
        padding = [t > run if pad == eos else row[t] == pad for t in range(T)]
        assert found == [-100 if padding[t] else row[t] for t in range(1, T)]


def test_the_numbers_of_the_course():
    inputs, targets = shift_targets(torch.tensor([[0, 1, 2, 3, 4]]), pad=9, eos=8, ignore_index=-100)
    assert (inputs.tolist(), targets.tolist()) == ([[0, 1, 2, 3]], [[1, 2, 3, 4]])


@pytest.mark.parametrize(("row", "expected"), [
    ([5, 1, 6, 1, 1, 1], [1, 6, 1, -7, -7]),  # an end inside, then the text's own end
    ([5, 6, 7, 8, 9, 1], [6, 7, 8, 9, 1]),  # an end and no padding
    ([5, 6, 7, 8, 9, 2], [6, 7, 8, 9, 2]),  # no end
    ([5, 1, 1, 1, 1, 1], [1, -7, -7, -7, -7]),
    ([1, 1, 1, 1, 1, 1], [-7, -7, -7, -7, -7]),  # a row of padding
    ([1, 1, 5, 1, 1, 1], [1, 5, 1, -7, -7]),
])
def test_when_the_end_token_pads_too_the_first_of_the_trailing_run_is_kept(row, expected):
    assert shift_targets(torch.tensor([row]), pad=1, eos=1, ignore_index=-7)[1].tolist() == [expected]


def test_one_position_leaves_nothing_to_predict():
    for pad in (0, 1):
        inputs, targets = shift_targets(torch.tensor([[3], [0]]), pad=pad, eos=1)
        assert inputs.shape == targets.shape == (2, 0)
        assert inputs.dtype == targets.dtype == torch.int64


def test_shifted_ids_are_copies_of_the_same_dtype():
    ids = torch.tensor([[5, 6, 1, 0], [7, 1, 0, 0]], dtype=torch.int16)
    before = ids.clone()
    for pad in (0, 1):
        for shifted in shift_targets(ids, pad, 1):
            assert shifted.dtype == torch.int16
            shifted.fill_(9)
            assert_close(ids, before)
    assert shift_targets(ids.to(torch.uint16), 0, 1, 255)[1].tolist() == [[6, 1, 255], [1, 255, 255]]


@pytest.mark.parametrize(("change", "said"), [
    ({"ids": torch.tensor([1, 2])}, "ids must have the shape"), ({"ids": torch.zeros(2, 3)}, "ids must have an int"),
    ({"ids": torch.zeros(0, 3).long()}, "ids is empty"), ({"ids": torch.zeros(2, 0).long()}, "ids is empty"),
    ({"pad": None}, "pad must"), ({"eos": 1.5}, "eos must"), ({"ignore_index": "no"}, "ignore_index must"),
    ({"ids": torch.zeros(2, 3, dtype=torch.uint8)}, "ignore_index must be a whole number from 0 to 255"),
])
def test_what_cannot_be_shifted_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        shift_targets(**{"ids": torch.tensor([[2, 3]]), "pad": 0, "eos": 1, "ignore_index": -100} | change)


# get_batch


@given(st.integers(2, 40), st.data())
def test_a_batch_is_slices_of_the_text(N, data):
    T = data.draw(st.integers(1, N - 1))
    text = torch.randint(9, (N,), generator=torch.Generator().manual_seed(N))
    u = data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
    x, y = get_batch(text, T, torch.tensor(u, dtype=torch.float64))
    starts = [math.floor(one * (N - T)) for one in u]
    assert x.tolist() == [text[s : s + T].tolist() for s in starts]
    assert y.tolist() == [text[s + 1 : s + T + 1].tolist() for s in starts]


def test_every_start_is_as_likely_and_the_last_token_is_predicted_once():
    x, y = get_batch(torch.arange(10), T=3, u=torch.arange(70, dtype=torch.float64) / 70)
    assert torch.bincount(x[:, 0]).tolist() == [10] * 7
    assert y.max() == 9
    assert (y - x).unique().tolist() == [1]


def test_starts_are_computed_in_float64():
    data = torch.arange(2**24 + 4, dtype=torch.int32)
    u = torch.tensor([1 - 2.0**-53, (2**24 - 1) / (2**24 + 1)], dtype=torch.float64)
    assert get_batch(data, 3, u)[0][:, 0].tolist() == [2**24, math.floor(float(u[1]) * (2**24 + 1))]
    # float32 has no number between 2**24 and 2**24 + 2: it would start one too late, and leave the text
    assert get_batch(data, 3, torch.tensor([1 - 2.0**-24]))[1].max() <= 2**24 + 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64])
def test_batches_are_int64_copies_whatever_the_text_is_kept_in(dtype):
    data = torch.arange(9).to(dtype)
    x, y = get_batch(data, 4, torch.tensor([0.0, 0.999]))
    assert x.dtype == y.dtype == torch.int64
    assert x.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    y.fill_(-100)
    assert (x.tolist(), data.tolist()) == ([[0, 1, 2, 3], [4, 5, 6, 7]], list(range(9)))


@pytest.mark.parametrize(("change", "said"), [
    ({"T": 5}, r"data must hold at least T \+ 1 = 6 ids, not 5"), ({"T": 0}, "T must"),
    ({"u": torch.tensor([1.0])}, "u must hold numbers"), ({"u": torch.tensor([-0.1])}, "u must hold numbers"),
    ({"u": torch.tensor([math.nan])}, "u must hold numbers"), ({"u": torch.tensor([])}, "u is empty"),
    ({"u": [0.5]}, "u must be a tensor"), ({"u": torch.tensor([[0.5]])}, "u must have the shape"),
    ({"data": torch.zeros(5)}, "data must have an integer"), ({"data": torch.zeros(5, 1).long()}, "data must have the"),
])
def test_what_gives_no_batch_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        get_batch(**{"data": torch.arange(5), "T": 4, "u": torch.tensor([0.5])} | change)


# mixed_rollout


def remember(prefix: list[int]) -> int:
    """A model whose prediction tells what it was fed, and which spoils what it is given."""
    fed = sum(token * 31**i for i, token in enumerate(prefix)) % 10007
    prefix.clear()
    return fed


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=8))
def test_a_rollout_is_its_definition(pairs):
    ids, mask = [one for one, _ in pairs], [one for _, one in pairs]
    fed, expected = [ids[0]], []
    for t in range(len(ids)):
        expected.append(remember(fed[:]))
        if t + 1 < len(ids):
            fed.append(ids[t + 1] if mask[t + 1] else expected[t])
    before = ids[:], mask[:]
    assert mixed_rollout(remember, ids, mask) == expected
    assert (ids, mask) == before
    assert mixed_rollout(remember, torch.tensor(ids), torch.tensor(mask)) == expected


@given(st.lists(st.integers(0, 99), min_size=1, max_size=8), st.integers(0, 2**30))
def test_true_is_teacher_forcing_and_false_looks_at_no_truth_after_the_first(ids, seed):
    T = len(ids)
    assert mixed_rollout(remember, ids, [True] * T) == [remember(ids[: t + 1]) for t in range(T)]
    generated = [ids[0]]
    for _ in range(T):
        generated.append(remember(generated[:]))
    assert mixed_rollout(remember, ids, [False] * T) == generated[1:]
    others = [ids[0], *torch.randint(99, (T - 1,), generator=torch.Generator().manual_seed(seed)).tolist()]
    assert mixed_rollout(remember, others, [True] + [False] * (T - 1)) == generated[1:]


def test_predictions_are_ints_whatever_the_model_returns():
    found = mixed_rollout(lambda prefix: torch.tensor(prefix[-1] + 1), torch.tensor([10, 20, 30]), [False, True, False])
    assert found == [11, 21, 22]
    assert {type(one) for one in found} == {int}


@pytest.mark.parametrize(("change", "said"), [
    ({"ids": []}, "ids is empty"), ({"ids": [1.5, 2]}, "ids must"), ({"ids": None}, "ids must"),
    ({"ids": torch.tensor([[1, 2]])}, "ids must"), ({"teacher_mask": [True]}, "teacher_mask must have one entry"),
    ({"teacher_mask": torch.ones(2, 2).bool()}, "teacher_mask must"), ({"step": lambda prefix: None}, "step must"),
    ({"step": lambda prefix: 1.5}, "step must return an id"),
])
def test_what_is_no_rollout_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        mixed_rollout(**{"step": remember, "ids": [1, 2], "teacher_mask": [True, True]} | change)


# position_influence


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**30))
def test_influence_is_the_norm_of_torchs_jacobian(T, D, seed):
    draw = torch.Generator().manual_seed(seed)
    e = torch.randn(T, D, generator=draw, dtype=torch.float64)
    mix = torch.randn(T, T, generator=draw, dtype=torch.float64)

    def losses(x):
        return torch.tanh(mix @ x.sin()).square().sum(1)

    expected = torch.autograd.functional.jacobian(losses, e).norm(dim=2)
    assert_close(position_influence(losses, e), expected, rtol=1e-12, atol=1e-12)
    causal = position_influence(lambda x: (mix.tril() @ x.sin()).exp().sum(1), e)
    assert (causal.triu(1) == 0).all()
    assert (causal.diagonal() > 0).all()


def test_influence_by_hand_and_a_leak_shows():
    e = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    found = position_influence(lambda x: (x.roll(-1, 0) ** 2).sum(1) / 2, e)  # each position reads the next one
    assert found.tolist() == [[0, 1, 0], [0, 0, 2], [5, 0, 0]]


def test_late_losses_reach_early_tokens_through_causal_attention():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def losses(e):
        return F.scaled_dot_product_attention(e[None], e[None], e[None], is_causal=True)[0].square().sum(1)

    found = position_influence(losses, x)
    assert (found.triu(1) == 0).all()
    assert (found[-1] > 0).all()


def test_a_loss_that_ignores_all_inputs_has_a_row_of_zeros_and_nothing_is_left_behind():
    e = torch.ones(2, 3, dtype=torch.float16).requires_grad_()
    with torch.no_grad():
        found = position_influence(lambda x: torch.stack([torch.tensor(1.0), x.float().sum() * 2]), e)
    assert_close(found, torch.tensor([[0, 0], [12**0.5, 12**0.5]], dtype=torch.float16))
    assert e.grad is None
    assert not found.requires_grad
    plain = torch.ones(2, 3)
    position_influence(lambda x: x.sum(1), plain)
    assert not plain.requires_grad


@pytest.mark.parametrize(("losses_fn", "embeddings", "said"), [
    (lambda x: x.sum(), torch.ones(2, 3), "losses_fn must return a tensor of T = 2 losses"),
    (lambda x: x, torch.ones(2, 3), "losses_fn must return"), (lambda x: [1, 2], torch.ones(2, 3), "losses_fn must"),
    (lambda x: x.detach().sum(1), torch.ones(2, 3), "losses_fn must return losses that depend"),
    (lambda x: x.sum(1), torch.ones(2, 3).long(), "embeddings must have a floating"),
    (lambda x: x.sum(1), torch.ones(3), "embeddings must have the shape"),
    (lambda x: (x**2).sum(1), torch.tensor([[math.nan]]), "embeddings must not hold NaN"),
])
def test_what_has_no_influence_is_refused(losses_fn, embeddings, said):
    with pytest.raises(ValueError, match=said):
        position_influence(losses_fn, embeddings)
