"""Temperature, the filters and the penalty against torch's operators, plain loops over one row, and values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from torch.testing import assert_close

from reference_impl.sampling import min_p, repetition_penalty, temperature, top_k, top_p

INF = math.inf
TABLE = torch.tensor([0.85, 0.10, 0.03, 0.000001, 0.019999], dtype=torch.float64)  # the last one is all other words
STEPS = {
    "temperature": lambda x: temperature(x, 0.7), "greedy": lambda x: temperature(x, 0),
    "tiny T": lambda x: temperature(x, 1e-40), "top_k": lambda x: top_k(x, 2), "top_p": lambda x: top_p(x, 0.6),
    "top_p 1": lambda x: top_p(x, 1), "min_p": lambda x: min_p(x, 0.3), "min_p 0": lambda x: min_p(x, 0),
    "penalty": lambda x: repetition_penalty(x, torch.zeros(*x.shape[:-1], 2, dtype=torch.int64, device=x.device), 1.3),
}
rows = st.lists(st.sampled_from([-INF, -4.0, -1.5, -0.0, 0.0, 0.25, 1.0, 3.0]), min_size=1, max_size=9)


def kept(logits: torch.Tensor) -> list[int]:
    return logits.isfinite().nonzero().squeeze(1).tolist()


def by_rank(row: list[float]) -> list[int]:
    """The ids above -inf, the largest logit first, of equal ones the lowest id."""
    return sorted((i for i, x in enumerate(row) if x > -INF), key=lambda i: (-row[i], i))


def weights(row: list[float]) -> list[float]:
    return [math.exp(x) for x in row]


# The numbers of the course


@pytest.mark.parametrize(("T", "shown"), [(1, [0.800, 0.178, 0.015, 0.005, 0.002]), (0.5, [0.952, 0.047, 0, 0, 0]),
                                          (2, [0.575, 0.272, 0.078, 0.047, 0.029])])
def test_five_words_at_three_temperatures(T, shown):
    logits = torch.tensor([3, 1.5, -1, -2, -3], dtype=torch.float64)
    assert [round(p, 3) for p in temperature(logits, T).softmax(0).tolist()] == shown


def test_the_words_that_a_table_leaves_out_and_what_each_filter_keeps_of_it():
    assert 1 - TABLE[:4].sum() == pytest.approx(0.019999, abs=1e-12)
    logits = TABLE.log()
    assert kept(top_k(logits, 3)) == kept(top_p(logits, 0.97)) == kept(min_p(logits, 0.03)) == [0, 1, 2]
    assert kept(top_p(logits, 0.98)) == [0, 1, 2]  # .85 + .10 + .03 are .98, which is not below .98
    assert kept(top_p(logits, 0.981)) == [0, 1, 2, 4]
    assert kept(min_p(logits, 0.10 / 0.85)) == [0, 1]  # at the threshold is kept


def test_the_penalty_is_not_invariant_to_shifts():
    logits, ids = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([0])
    assert repetition_penalty(logits, ids, 1.3).softmax(0)[0] == pytest.approx(0.60, abs=0.005)
    assert repetition_penalty(logits + 10, ids, 1.3).softmax(0)[0] == pytest.approx(0.13, abs=0.005)
    by_hand = math.exp(2 / 1.3) / (math.exp(2 / 1.3) + math.e + 1 / math.e)
    assert repetition_penalty(logits.double(), ids, 1.3).softmax(0)[0] == pytest.approx(by_hand, rel=1e-12)


# Against a loop over one row


@given(rows, st.integers(1, 11))
@settings(deadline=None, max_examples=25)
def test_top_k_keeps_the_first_k_by_rank_and_torchs_values(row, k):
    logits = torch.tensor(row)
    assert kept(top_k(logits, k)) == sorted(by_rank(row)[:k])
    assert_close(top_k(logits, k).sort(descending=True).values[:k], logits.topk(min(k, len(row))).values)


@given(rows, st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_top_p_keeps_a_token_while_the_mass_before_it_is_below_p(row, p):
    total, wanted = sum(weights(row)), []
    for i in by_rank(row):
        before = math.fsum(math.exp(row[j]) for j in wanted) / total if total else 0
        assume(before == 0 or abs(before - p) > 1e-9)
        if wanted and before >= p:
            break
        wanted.append(i)
    assert kept(top_p(torch.tensor(row), p)) == sorted(wanted)


@given(rows, st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_min_p_keeps_p_times_the_largest_probability_and_above(row, p):
    share = [w / max(weights(row)) if max(row) > -INF else 0 for w in weights(row)]
    assume(all(s in (0, 1) or abs(s - p) > 1e-9 for s in share))
    assert kept(min_p(torch.tensor(row), p)) == [i for i, s in enumerate(share) if s > 0 and s >= p]


@given(rows, st.lists(st.integers(0, 8), max_size=6), st.sampled_from([0.5, 1, 1.3, 4]))
@settings(deadline=None, max_examples=25)
def test_the_penalty_counts_every_distinct_id_once(row, ids, penalty):
    ids = [i % len(row) for i in ids]
    wanted = [x if i not in ids else x / penalty if x > 0 else x * penalty for i, x in enumerate(row)]
    got = repetition_penalty(torch.tensor(row), torch.tensor(ids, dtype=torch.int32), penalty)
    assert_close(got, torch.tensor(wanted))


@given(rows, st.floats(0.01, 100))
@settings(deadline=None, max_examples=25)
def test_temperature_divides_and_two_of_them_multiply(row, T):
    logits = torch.tensor(row, dtype=torch.float64)
    assert_close(temperature(logits, T), torch.tensor([x / T for x in row], dtype=torch.float64), rtol=1e-12, atol=0)
    assert_close(temperature(temperature(logits, T), 2), temperature(logits, 2 * T), rtol=1e-12, atol=1e-300)


@given(rows)
@settings(deadline=None, max_examples=25)
def test_temperature_zero_is_the_limit_and_keeps_one_token(row):
    greedy = temperature(torch.tensor(row), 0)
    assert kept(greedy) == by_rank(row)[:1]
    assert greedy[greedy.isfinite()].tolist() == [0.0] * len(kept(greedy))
    if sum(x == max(row) for x in row) == 1 and max(row) > -INF:
        assert_close(temperature(torch.tensor(row), 1e-3).softmax(0), greedy.softmax(0), rtol=0, atol=0)


# Where decisions are close


@pytest.mark.parametrize("V", [2, 3, 7, 10, 40, 1000])
def test_equal_logits_and_p_of_j_vths_keep_j(V):
    for j in range(0, V + 1, max(1, V // 40)):
        assert kept(top_p(torch.full((V,), 0.3), j / V)) == list(range(max(j, 1)))


def test_halves_and_quarters_at_their_thresholds():
    logits = torch.tensor([0.125, 0.5, 0.125, 0.25], dtype=torch.float64).log()
    assert [kept(top_p(logits, p)) for p in (0, 0.5, 0.51, 0.75, 0.76, 0.875, 0.876, 1)] == [
        [1], [1], [1, 3], [1, 3], [0, 1, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert [kept(min_p(logits, p)) for p in (0, 0.25, 0.26, 0.5, 0.51, 1)] == [
        [0, 1, 2, 3], [0, 1, 2, 3], [1, 3], [1, 3], [1], [1]]
    assert kept(min_p(torch.tensor([2.0, 1.0, 2.0]), 1)) == [0, 2]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_thresholds_that_are_exact_on_paper_are_exact_in_float64(counts, j):
    logits, falling = torch.tensor(counts, dtype=torch.float64).log(), sorted(counts, reverse=True)
    j = j % len(counts)
    assert len(kept(top_p(logits, sum(falling[: j + 1]) / sum(counts)))) == j + 1
    assert len(kept(min_p(logits, falling[j] / falling[0]))) == sum(count >= falling[j] for count in counts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_hundred_thousand_equal_tokens_do_not_blur_the_nucleus(dtype):
    """In float32 the first 25,000 add up to .24997; in bfloat16 each probability is off by a thousandth of it."""
    assert len(kept(top_p(torch.zeros(100_000, dtype=dtype), 0.25))) == 25_000
    assert len(kept(top_p(torch.zeros(100_000, dtype=dtype), 0.250001))) == 25_001


def test_a_nucleus_of_nearly_everything_by_sums_without_rounding():
    row = torch.randn(3000, generator=torch.Generator().manual_seed(5)).mul(5)
    likely = sorted(weights(row.tolist()), reverse=True)
    for rest in (1e-3, 1e-6, 1e-9, 1e-12):
        behind = next(n for n in range(1, 3001) if math.fsum(likely[-n:]) > rest * math.fsum(likely))
        assert len(kept(top_p(row, 1 - rest))) == 3000 - behind + 1


@pytest.mark.parametrize("change", [lambda x: top_p(x, 1), lambda x: min_p(x, 0), lambda x: top_k(x, 4),
                                    lambda x: top_k(x, 9), lambda x: temperature(x, 1)])
def test_settings_that_change_nothing(change):
    logits = torch.tensor([[-300.0, 800.0, -INF, 799.0], [0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(change(logits), logits)
    assert change(logits) is not logits


@given(rows, st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=25)
def test_filters_are_nested_and_do_not_depend_on_a_shift(row, low, high):
    low, high = sorted((low, high))
    logits = torch.tensor(row)
    assert set(kept(top_p(logits, low))) <= set(kept(top_p(logits, high)))
    assert set(kept(min_p(logits, high))) <= set(kept(min_p(logits, low)))
    assert set(kept(top_k(logits, 2))) <= set(kept(top_k(logits, 3)))
    for change in (lambda x: top_k(x, 3), lambda x: top_p(x, low), lambda x: min_p(x, low)):
        assert kept(change(logits + 8)) == kept(change(logits))  # 8 is added without rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("T", [5e-324, 1e-46, 1e-40, 1e-6, 1e39, 1e300])
def test_every_temperature_gives_a_distribution(dtype, T):
    logits = torch.tensor([[30.0, 28, -INF, 30], [-30, -28, -28, -INF], [0, -INF, -INF, 0]], dtype=dtype)
    probs = temperature(logits, T).softmax(-1)
    hot = torch.tensor([[1 / 3, 1 / 3, 0, 1 / 3], [1 / 3, 1 / 3, 1 / 3, 0], [1 / 2, 0, 0, 1 / 2]], dtype=dtype)
    cold = torch.tensor([[1 / 2, 0, 0, 1 / 2], [0, 1 / 2, 1 / 2, 0], [1 / 2, 0, 0, 1 / 2]], dtype=dtype)
    assert_close(probs, cold if T < 1 else hot)


# What all of them promise


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_batch_equals_its_rows_and_leaves_its_input_alone(step):
    logits = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(1)).transpose(0, 1).round()
    before = logits.clone()
    together = step(logits)
    alone = torch.stack([torch.stack([step(row) for row in batch]) for batch in logits])
    assert torch.equal(together, alone)
    assert torch.equal(logits, before)
    assert torch.equal(together, step(logits.contiguous()))
    together.zero_()
    assert torch.equal(logits, before)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_stay_and_so_does_what_is_impossible(step, dtype):
    logits = torch.tensor([[1, -INF, 0.5], [-INF] * 3, [-INF, -INF, -2]], dtype=dtype)
    out = step(logits)
    assert out.dtype == dtype
    assert out.isfinite().any(-1).tolist() == [True, False, True]
    assert (out[~logits.isfinite()] == -INF).all()
    assert not out.isnan().any()


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize(("bad", "said"), [
    ([[0, math.nan]], "NaN"), ([[0, INF]], "inf"), ([[-INF, INF], [0, 0]], "inf"), ([[]], "empty")])
def test_logits_that_are_no_distribution_are_refused(step, bad, said):
    with pytest.raises(ValueError, match=f"logits.*{said}"):
        step(torch.tensor(bad))
    with pytest.raises(ValueError, match="logits must"):
        step(torch.zeros(2, 3, dtype=torch.int64))


@pytest.mark.parametrize(("call", "said"), [
    (lambda x: temperature(x, -0.1), "T must"), (lambda x: temperature(x, math.nan), "T must"),
    (lambda x: temperature(x, INF), "T must"), (lambda x: top_k(x, 0), "k must"), (lambda x: top_k(x, 1.5), "k must"),
    (lambda x: top_p(x, -0.1), "p must"), (lambda x: top_p(x, 1.1), "p must"), (lambda x: min_p(x, 1.1), "p must"),
    (lambda x: min_p(x, math.nan), "p must"), (lambda x: repetition_penalty(x, x.long(), 0), "penalty must"),
    (lambda x: repetition_penalty(x.half() - 9, x.long() + 1, 1e-4), None),
    (lambda x: repetition_penalty(x.half() + 9, x.long(), 1e-4), "penalty must"),
    (lambda x: repetition_penalty(x, x.long() + 3, 2), "ids must"), (lambda x: repetition_penalty(x, x, 2), "ids must"),
    (lambda x: repetition_penalty(x, x.long() - 1, 2), "ids must"),
    (lambda x: repetition_penalty(x, x.long()[0], 2), "ids must")])
def test_wrong_settings_are_named(call, said):
    logits = torch.zeros(2, 3)
    if said is None:
        assert call(logits).isfinite().all()
        return
    with pytest.raises(ValueError, match=said):
        call(logits)


def test_no_ids_no_penalty():
    ids = torch.empty(1, 0, dtype=torch.int64)
    assert repetition_penalty(torch.tensor([[1.0, -1.0]]), ids, 9).tolist() == [[1, -1]]


def test_gradients_pass_to_what_is_kept():
    logits = torch.tensor([2.0, -1.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    for step in (lambda x: top_k(x, 2), lambda x: top_p(x, 0.7), lambda x: min_p(x, 0.3)):
        out = step(logits)
        (grad,) = torch.autograd.grad(out[out.isfinite()].sum(), logits)
        assert grad.tolist() == [1, 0, 0, 1]
    torch.autograd.gradcheck(lambda x: temperature(x, 0.7), logits)
    torch.autograd.gradcheck(lambda x: repetition_penalty(x, torch.tensor([1, 2, 1]), 1.3), logits)


@needs_gpu
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_gpu_keeps_the_same_tokens(step):
    logits = torch.randn(8, 5000, generator=torch.Generator().manual_seed(2)).mul(4).round().div(4)
    out = step(logits.cuda())
    assert out.is_cuda
    assert_close(out.cpu(), step(logits))
