"""Perplexity, its units and bits per byte: torch's own, definitions, and values worked by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from torch.testing import assert_close

from reference_impl.corpus import Bytes
from reference_impl.perplexity import UNITS, bits_per_byte, convert, perplexity

# perplexity


def test_the_numbers_of_the_course():
    losses = -torch.tensor([0.5, 0.5, 0.5, 0.125], dtype=torch.float64).log()
    assert [round(x, 4) for x in losses.tolist()] == [0.6931, 0.6931, 0.6931, 2.0794]
    assert round(losses.mean().item(), 4) == 1.0397
    assert round(perplexity(losses.sum(), 4).item(), 4) == 2.8284
    assert perplexity(losses.sum().item(), 4) == pytest.approx((0.5**3 * 0.125) ** (-1 / 4)), "1 / geometric mean"


@given(st.integers(1, 40), st.integers(0, 2**30))
@settings(max_examples=20, deadline=None)
def test_perplexity_is_exp_of_torchs_cross_entropy(n, seed):
    logits = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    targets = torch.randint(0, 7, (n,), generator=torch.Generator().manual_seed(seed))
    total, mean = (torch.nn.functional.cross_entropy(logits, targets, reduction=how) for how in ("sum", "mean"))
    assert_close(perplexity(total, n), mean.exp())


def test_a_model_that_knows_the_truth_has_torchs_perplexity_of_it():
    truth = torch.distributions.Categorical(torch.tensor([0.85, 0.10, 0.05], dtype=torch.float64))
    assert_close(perplexity(truth.entropy() * 9, 9), truth.perplexity())


def test_it_counts_choices_from_1_to_V_and_beyond():
    assert perplexity(0.0, 3) == 1
    assert perplexity(5 * math.log(50257), 5) == pytest.approx(50257)
    assert perplexity(5 * math.log(99), 5) == pytest.approx(99), "worse than the uniform guess over fewer than 99"
    assert perplexity(1e6, 1000) == perplexity(math.inf, 2) == math.inf
    assert perplexity(torch.tensor(1e6), 1000) == math.inf
    assert perplexity(torch.tensor(12.0, dtype=torch.float16), 1) == math.inf, "above what half precision holds"


def test_a_number_gives_a_float_and_a_tensor_a_tensor_with_its_gradient():
    assert type(perplexity(3, 2)) is type(perplexity(3.0, torch.tensor(2))) is float
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert_close(perplexity(torch.tensor(2, dtype=dtype), 2), torch.tensor(math.e).to(dtype))
    total = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    perplexity(total, 6).backward()
    assert_close(total.grad, torch.tensor(math.exp(0.5) / 6, dtype=torch.float64))


def test_it_computes_in_float64():
    for total in range(1, 70):
        for dtype in (torch.float16, torch.float32):
            assert perplexity(torch.tensor(total, dtype=dtype), 7) == torch.tensor(math.exp(total / 7)).to(dtype)


# convert

BY_HAND = {"nats": 3 * math.log(2), "bits": 3.0, "perplexity": 8.0, "bits_per_byte": 0.75}  # 100 tokens, 400 bytes


@pytest.mark.parametrize(("one", "other"), list(itertools.product(UNITS, UNITS)))
def test_every_unit_by_hand(one, other):
    found = convert(BY_HAND[one], one, other, tokens=100, bytes=400)
    assert type(found) is float
    assert found == pytest.approx(BY_HAND[other], rel=1e-15)
    if "nats" not in (one, other):
        assert found == BY_HAND[other], "to the last digit"
    for dtype in (torch.float16, torch.float32, torch.float64):
        curve = torch.tensor([[BY_HAND[one]], [BY_HAND[one]]], dtype=dtype)
        assert_close(convert(curve, one, other, 100, 400), torch.full_like(curve, BY_HAND[other]))


@given(st.floats(0, 30), st.integers(1, 10**9), st.integers(1, 10**9), *[st.sampled_from(UNITS)] * 3)
@settings(deadline=None)
def test_any_way_round_comes_back(bits, tokens, count, one, other, last):
    def step(loss, a, b):
        return convert(loss, a, b, tokens, count)

    loss = step(bits, "bits", one)
    there = step(step(loss, one, other), other, last)
    assert there == pytest.approx(step(loss, one, last), rel=1e-12, abs=1e-12 * (tokens / count + 1))
    # A perplexity near 1 says little about its logarithm; relative to 1 it is all there.
    assert step(there, last, one) == pytest.approx(loss, rel=1e-12, abs=1e-14 * (tokens / count + 1))


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_unit_changes_nothing(unit):
    for loss in (0.1, 1 / 3, 7.7, 1e300, math.inf):
        assert convert(loss, unit, unit, tokens=3, bytes=7) == loss


def test_units_agree_with_perplexity_and_bits_per_byte():
    nll = torch.linspace(0.5, 4, 15, dtype=torch.float64).view(3, 5)
    targets, lengths = torch.arange(15).view(3, 5) % 4, torch.tensor([1, 2, 3, 4])
    total = lengths[targets].sum().item()
    mean = nll.mean().item()
    assert convert(mean, "nats", "perplexity", 15, total) == pytest.approx(perplexity(nll.sum().item(), 15), rel=1e-15)
    assert_close(convert(nll.mean(), "nats", "bits_per_byte", 15, total), bits_per_byte(nll, targets, lengths))


def test_what_is_too_large_is_inf_and_gradients_flow():
    assert convert(1e5, "bits", "perplexity", 1, 1) == convert(math.inf, "nats", "perplexity", 1, 1) == math.inf
    assert convert(math.inf, "perplexity", "bits_per_byte", 2, 3) == math.inf
    x = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    for one, other in itertools.product(UNITS, UNITS):
        assert torch.autograd.gradcheck(lambda x, one=one, other=other: convert(x, one, other, 7, 31), (x,))


# bits_per_byte


@given(st.data(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([torch.int32, torch.int64]))
@settings(max_examples=60, deadline=None)
def test_bits_per_byte_is_its_definition(data, dtype, whole):
    B, T, V = (data.draw(st.integers(1, n)) for n in (3, 6, 5))
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=V, max_size=V))
    row = st.lists(st.sampled_from([-100, *range(V)]), min_size=T, max_size=T)
    rows = data.draw(st.lists(row, min_size=B, max_size=B))
    nll = torch.rand(B, T, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))), dtype=dtype)
    counted = [(b, t) for b in range(B) for t in range(T) if rows[b][t] != -100 and lengths[rows[b][t]]]
    targets, token_bytes = torch.tensor(rows, dtype=whole), torch.tensor(lengths, dtype=whole)
    spoilt = nll.clone()
    for b, t in itertools.product(range(B), range(T)):
        if (b, t) not in counted:
            spoilt[b, t] = math.nan
    if not counted:
        with pytest.raises(ValueError, match="byte"):
            bits_per_byte(nll, targets, token_bytes)
        return
    expected = sum(nll[b, t].item() for b, t in counted) / math.log(2) / sum(lengths[rows[b][t]] for b, t in counted)
    for loss in (nll, spoilt, spoilt.T.contiguous().T):
        assert_close(bits_per_byte(loss, targets, token_bytes), torch.tensor(expected, dtype=dtype))
    spoilt.requires_grad_()
    bits_per_byte(spoilt, targets, token_bytes).backward()
    slope = expected / sum(nll[b, t].item() for b, t in counted)
    expected = [[slope * ((b, t) in counted) for t in range(T)] for b in range(B)]
    assert_close(spoilt.grad, torch.tensor(expected, dtype=dtype))


def test_characters_of_several_bytes_by_hand():
    tokens = ["<s>", "</s>", "a", "é", "€", "😀"]
    lengths = torch.tensor([0, 0, *(len(token.encode()) for token in tokens[2:])])
    targets = torch.tensor([[2, 3, 4, 5, 1]])  # 1 + 2 + 3 + 4 bytes, and an end that counts nowhere
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0, 99.0]], dtype=torch.float64) * math.log(2)
    assert_close(bits_per_byte(losses, targets, lengths).item(), 1.0)


def test_a_byte_that_cannot_be_is_inf_and_uniform_bytes_cost_eight_bits():
    view = Bytes()
    targets = torch.tensor([view.encode("naïve €")])
    lengths = torch.tensor(view.token_bytes)
    uniform = torch.full(targets.shape, math.log(256), dtype=torch.float64)
    assert_close(bits_per_byte(uniform, targets, lengths).item(), 8.0)
    assert bits_per_byte(uniform.index_fill(1, torch.tensor([2]), math.inf), targets, lengths) == math.inf


def test_small_dtypes_of_ids_and_lengths_do_not_wrap():
    targets = torch.tensor([[200, 156, 255]], dtype=torch.uint8)  # 156 is -100 in eight bits
    lengths = torch.full((256,), 100, dtype=torch.uint8)
    losses = torch.full((1, 3), 100 * math.log(2), dtype=torch.float64)
    assert_close(bits_per_byte(losses, targets, lengths).item(), 1.0)


# What is refused

RIGHT = torch.ones(1, 2), torch.tensor([[0, 1]]), torch.tensor([1, 1])


@pytest.mark.parametrize(("call", "says"), [
    (lambda: perplexity(1.0, 0), "n must be a whole number of at least 1, not 0"),
    (lambda: perplexity(1.0, True), "n must"),
    (lambda: perplexity(math.nan, 1), "nll_sum must not hold NaN"),
    (lambda: perplexity(torch.ones(2), 2), "nll_sum must be one number"),
    (lambda: perplexity(torch.tensor(3), 2), "nll_sum must be a number or a tensor of a floating dtype"),
    (lambda: perplexity("3", 2), "nll_sum must be a number .* not str"),
    (lambda: convert(1.0, "nat", "bits", 1, 1), "from_unit must be 'nats', 'bits'"),
    (lambda: convert(1.0, "nats", "ppl", 1, 1), "to_unit must be"),
    (lambda: convert(1.0, "nats", "bits_per_byte", 0, 1), "tokens must"),
    (lambda: convert(1.0, "nats", "bits_per_byte", 1, 0), "bytes must"),
    (lambda: convert(math.nan, "nats", "bits", 1, 1), "loss must not hold NaN"),
    (lambda: convert(0.0, "perplexity", "bits", 1, 1), "loss must be above 0"),
    (lambda: convert(torch.tensor([2.0, -1.0]), "perplexity", "nats", 1, 1), "loss must be above 0"),
    (lambda: bits_per_byte(RIGHT[0][0], *RIGHT[1:]), r"nll must have the shape \(B, T\)"),
    (lambda: bits_per_byte(RIGHT[0], RIGHT[1].T, RIGHT[2]), "targets must have the shape"),
    (lambda: bits_per_byte(RIGHT[0], RIGHT[1] + 1, RIGHT[2]), "targets must hold ids from 0 to 1 or -100; found 2"),
    (lambda: bits_per_byte(RIGHT[0], RIGHT[1] - 1, RIGHT[2]), "targets .* found -1"),
    (lambda: bits_per_byte(*RIGHT[:2], RIGHT[2].double()), "token_bytes must have an integer dtype"),
    (lambda: bits_per_byte(*RIGHT[:2], -RIGHT[2]), "token_bytes must hold lengths of at least 0"),
    (lambda: bits_per_byte(*RIGHT[:2], 0 * RIGHT[2]), "targets hold no byte"),
    (lambda: bits_per_byte(RIGHT[0][:0], RIGHT[1][:0], RIGHT[2]), "nll is empty"),
    (lambda: bits_per_byte(RIGHT[0] * math.nan, *RIGHT[1:]), r"nll must not hold NaN; found one at \(0, 0\)"),
])
def test_a_bad_argument_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@needs_gpu
def test_results_stay_on_the_gpu():
    losses, targets, lengths = (x.cuda() for x in RIGHT)
    assert bits_per_byte(losses, targets, lengths).is_cuda
    assert_close(bits_per_byte(losses, targets, RIGHT[2]).cpu(), bits_per_byte(*RIGHT))
    assert perplexity(losses.sum(), 2).is_cuda
    assert convert(losses, "nats", "bits", 1, 1).is_cuda
