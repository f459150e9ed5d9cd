"""The loss and how losses merge: against torch's own, exact arithmetic, and values worked by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from random_logits import HALVES, INF, random_logits, seeds
from torch.nn import functional as F
from torch.testing import assert_close

from reference_impl.chain_rule import ce_grad, log_softmax
from reference_impl.teacher_forcing import cross_entropy, merge_losses

REDUCTIONS = ["mean", "sum", "none"]
FOUR = torch.tensor([[0, 3, 0.5, -1, -2], [-1, 0.1, 2.5, 0, -2], [-1, 0, 0.2, 2, -1.5], [-2, 0, -1, -0.5, 2.4]])


@st.composite
def cases(draw, V=6):
    """Logits of some shape, some of them -inf, and targets of which some are ignored; no target has the logit -inf."""
    shape = draw(st.sampled_from([(), (1,), (5,), (2, 3), (2, 1, 3)]))
    seed, ignore_index = draw(seeds), draw(st.sampled_from([-100, -1, 2, V, 10**9]))
    logits = random_logits(seed, *shape, V, excluded=0.2)
    generator = torch.Generator().manual_seed(seed + 1)
    targets = torch.rand(logits.shape, generator=generator).masked_fill(logits == -INF, -1).argmax(-1)
    return logits, targets.masked_fill(torch.rand(shape, generator=generator) < 0.3, ignore_index), ignore_index


def torchs(logits, targets, ignore_index, reduction):
    found = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=ignore_index,
                            reduction=reduction)
    return found.view(targets.shape) if reduction == "none" else found


# The numbers of the course


def test_four_rows_of_logits_give_the_probabilities_and_losses_of_the_course():
    targets = torch.tensor([1, 2, 3, 4])
    losses = cross_entropy(FOUR, targets, reduction="none")
    assert [f"{p:.3f}" for p in (-losses).exp().tolist()] == ["0.864", "0.824", "0.724", "0.839"]
    assert [f"{loss:.3f}" for loss in losses.tolist()] == ["0.146", "0.194", "0.323", "0.175"]
    assert f"{cross_entropy(FOUR, targets).item():.3f}" == "0.209"


def test_probabilities_of_a_half_a_half_a_half_and_an_eighth_cost_1_0397_nats():
    p = torch.tensor([0.5, 0.5, 0.5, 0.125])
    losses = cross_entropy(torch.stack([p, 1 - p], 1).log(), torch.zeros(4).long(), reduction="none")
    assert [round(loss, 4) for loss in losses.tolist()] == [0.6931, 0.6931, 0.6931, 2.0794]
    assert round(losses.mean().item(), 4) == 1.0397


# cross_entropy


@given(cases(), st.sampled_from(REDUCTIONS))
def test_the_loss_is_torchs(case, reduction):
    logits, targets, ignore_index = case
    found = cross_entropy(logits, targets, ignore_index, reduction)
    assert_close(found, torchs(logits, targets, ignore_index, reduction), rtol=1e-12, atol=1e-12, equal_nan=True)


@given(cases())
def test_the_loss_is_minus_the_log_probability_where_the_target_is_scored(case):
    logits, targets, ignore_index = case
    scored = targets != ignore_index
    picked = -log_softmax(logits).gather(-1, targets.where(scored, 0)[..., None])[..., 0]
    found = cross_entropy(logits, targets, ignore_index, "none")
    assert_close(found[scored], picked[scored], rtol=1e-12, atol=1e-12)
    assert (found[~scored] == 0).all()
    assert_close(cross_entropy(logits, targets, ignore_index, "sum"), picked[scored].sum(), rtol=1e-12, atol=1e-12)


@given(cases(), st.sampled_from(REDUCTIONS), st.sampled_from([math.nan, INF, -INF, 1e300]))
def test_what_stands_in_an_ignored_row_has_no_effect_and_no_gradient(case, reduction, junk):
    logits, targets, ignore_index = case
    ignored = targets == ignore_index
    spoilt = logits.masked_fill(ignored[..., None], junk).requires_grad_()
    found = cross_entropy(spoilt, targets, ignore_index, reduction)
    assert_close(found, cross_entropy(logits, targets, ignore_index, reduction), rtol=0, atol=0, equal_nan=True)
    found.sum().backward()
    assert (spoilt.grad[ignored] == 0).all()
    assert spoilt.grad.isfinite().all()


@given(seeds)
def test_the_gradient_is_the_probabilities_minus_the_truth(seed):
    logits = random_logits(seed, 5, 4).requires_grad_()
    targets = torch.randint(4, (5,), generator=torch.Generator().manual_seed(seed))
    cross_entropy(logits, targets).backward()
    assert_close(logits.grad, ce_grad(logits.detach(), targets), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_first_and_second_derivatives_are_those_of_finite_differences(reduction):
    logits, targets = random_logits(1, 2, 3, 4).requires_grad_(), torch.tensor([[1, -100, 2], [0, 0, -100]])

    def loss(x):
        return cross_entropy(x, targets, reduction=reduction)

    assert torch.autograd.gradcheck(loss, logits)
    assert torch.autograd.gradgradcheck(loss, logits)


def test_when_all_are_ignored_the_sum_is_0_and_the_mean_nan():
    logits, targets = torch.full((2, 3), math.nan).requires_grad_(), torch.full((2,), -100)
    assert cross_entropy(logits, targets, reduction="sum").item() == 0
    assert cross_entropy(logits, targets, reduction="none").tolist() == [0, 0]
    mean = cross_entropy(logits, targets)
    assert mean.isnan()
    mean.backward()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_huge_logits_lose_nothing(size):
    logits = torch.tensor([[size, size, -size], [0.0, size, -size], [-size, -size - 1, -size]])
    losses = cross_entropy(logits, torch.tensor([0, 1, 1]), reduction="none")
    last = math.log(2 + math.e) if size == 1e4 else math.log(3)  # the last one: float32 has no 1e30 + 1
    assert_close(losses, torch.tensor([math.log(2), 0, math.log(2 + math.exp(-1)) + 1 if size == 1e4 else last]))


def test_excluded_tokens_cost_inf_as_targets_and_nothing_else():
    logits = torch.tensor([[0.0, -INF, 0.0]]).requires_grad_()
    assert cross_entropy(logits, torch.tensor([1])).item() == INF
    loss = cross_entropy(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad.tolist() == [[-0.5, 0, 0.5]]
    for row in ([-INF, -INF], [INF, 0.0]):
        assert cross_entropy(torch.tensor([row, [0, 0]]), torch.tensor([0, 0])).isnan()


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_is_computed_in_float32_and_its_gradient_is_half_again(dtype):
    logits = (30 * random_logits(0, 2, 5, 300)).to(dtype).requires_grad_()
    targets = torch.randint(300, (2, 5), generator=torch.Generator().manual_seed(0))
    loss = cross_entropy(logits, targets)
    assert loss.dtype == torch.float32
    exact = F.cross_entropy(logits.detach().double().view(10, -1), targets.view(-1))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    loss.backward()
    assert logits.grad.dtype == dtype
    assert cross_entropy(logits.detach(), targets, reduction="none").dtype == torch.float32
    assert cross_entropy(logits.detach().double(), targets).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32])
def test_targets_may_have_any_integer_dtype_and_any_strides(dtype):
    logits, targets = random_logits(0, 3, 2, 5), torch.tensor([[4, 0], [1, 2], [3, 3]])
    expected = cross_entropy(logits, targets)
    assert_close(cross_entropy(logits, targets.to(dtype)), expected)
    turned = logits.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert_close(cross_entropy(turned, targets.T.contiguous().T), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("change", "said"), [
    ({"targets": torch.tensor([0, 5])}, r"targets must hold ids from 0 to 4 or -100; found 5 at \(1,\)"),
    ({"targets": torch.tensor([0, -1])}, "targets must hold"), ({"targets": torch.tensor([0])}, "targets must have"),
    ({"targets": torch.tensor([[0], [1]])}, "targets must have the shape"), ({"targets": [0, 1]}, "targets must be a"),
    ({"targets": torch.tensor([0.0, 1.0])}, "targets must have an integer"),
    ({"targets": torch.tensor([0, -100]), "ignore_index": -1}, "targets must hold ids from 0 to 4 or -1"),
    ({"logits": torch.zeros(2, 5).long()}, "logits must have a floating"), ({"logits": torch.zeros(2, 0)}, "logits is"),
    ({"logits": torch.zeros(0, 5), "targets": torch.zeros(0).long()}, "logits is empty"),
    ({"logits": torch.tensor([[0.0] * 5, [0, 0, 0, math.nan, 0]])}, r"logits must not hold NaN; found one at \(1, 3\)"),
    ({"reduction": "avg"}, "reduction must be 'mean', 'sum' or 'none', not 'avg'"),
    ({"ignore_index": None}, "ignore_index must"),
])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_what_has_no_loss_is_refused(change, said, reduction):
    right = {"logits": torch.zeros(2, 5), "targets": torch.tensor([0, 4]), "ignore_index": -100, "reduction": reduction}
    with pytest.raises(ValueError, match=said):
        cross_entropy(**right | change)


def test_a_nan_is_found_where_it_stands_and_not_in_an_ignored_row_before_it():
    logits = torch.zeros(2, 2, 3)
    logits[0, 0], logits[1, 0, 2] = math.nan, math.nan
    targets = torch.tensor([[-100, 0], [1, 1]])
    with pytest.raises(ValueError, match=r"found one at \(1, 0, 2\)"):
        cross_entropy(logits, targets)


# merge_losses


@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(0, 10**6)), min_size=1, max_size=8))
def test_merging_is_exact_arithmetic_and_skips_what_is_empty(parts):
    means, counts = [mean for mean, _ in parts], [count for _, count in parts]
    if not any(counts):
        with pytest.raises(ValueError, match="counts must not all be 0"):
            merge_losses(means, counts)
        return
    exact = sum(Fraction(mean) * count for mean, count in parts) / sum(counts)
    empty = [mean if count else math.nan for mean, count in parts]
    for found in (merge_losses(means, counts), merge_losses(empty, counts),
                  merge_losses(torch.tensor(empty, dtype=torch.float64), torch.tensor(counts)).item()):
        assert type(found) is float
        assert found == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


@given(cases(), st.integers(1, 4))
def test_the_losses_of_parts_merge_into_the_loss_of_the_whole(case, parts):
    logits, targets, ignore_index = case
    logits, targets = logits.view(-1, 6).requires_grad_(), targets.view(-1)
    if (targets == ignore_index).all():
        return
    chunks = list(zip(logits.chunk(parts), targets.chunk(parts)))
    means = [cross_entropy(x, y, ignore_index) for x, y in chunks]
    counts = [(y != ignore_index).sum() for _, y in chunks]
    whole = cross_entropy(logits, targets, ignore_index)
    for merged in (merge_losses(means, counts), merge_losses(torch.stack(means), torch.stack(counts))):
        assert_close(merged, whole, rtol=1e-12, atol=1e-12)
        (found,) = torch.autograd.grad(merged, logits, retain_graph=True)
        (expected,) = torch.autograd.grad(whole, logits, retain_graph=True)
        assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_mean_of_means_is_something_else():
    assert merge_losses([1.0, 4.0], [3, 1]) == 1.75 != (1 + 4) / 2
    assert merge_losses([1.0, 4.0], [0.5, 1.5]) == 3.25  # weights need not be whole
    assert merge_losses([1.0, INF], [3, 1]) == INF


def test_tensors_keep_their_dtype():
    for dtype in (*HALVES, torch.float32, torch.float64):
        merged = merge_losses(torch.tensor([1.0, 4.0], dtype=dtype), [3, 1])
        assert (merged.dtype, merged.shape, merged.item()) == (dtype, (), 1.75)
    assert merge_losses(torch.tensor([1, 4]), torch.tensor([3, 1])).item() == 1.75


@pytest.mark.parametrize(("means", "counts", "said"), [
    ([1.0], [0], "counts must not all be 0"), ([1.0, 2.0], [1], "counts must have one number for each mean"),
    ([1.0], [-1], "counts must hold finite numbers"), ([1.0], [math.nan], "counts must hold finite numbers"),
    ([], [], "means must be"), (["a"], [1], "means must be"), (None, [1], "means must be"), (1.0, [1], "means must be"),
    ([1.0], [None], "counts must be"), (torch.ones(1, 2), [1], "means must have the shape"),
])
def test_what_cannot_be_merged_is_refused(means, counts, said):
    with pytest.raises(ValueError, match=said):
        merge_losses(means, counts)


@needs_gpu
def test_a_gpu_keeps_ignored_rows_out_and_names_what_is_wrong_before_a_device_assert():
    logits, targets = random_logits(0, 4, 5, 9).float().cuda(), torch.randint(9, (4, 5)).cuda()
    targets[0], logits[0] = -100, math.nan
    logits.requires_grad_()
    loss = cross_entropy(logits, targets)
    loss.backward()
    assert loss.is_cuda
    assert (logits.grad[0] == 0).all()
    with pytest.raises(ValueError, match="targets must hold"):
        cross_entropy(logits, targets.clamp(min=0) + 9)
