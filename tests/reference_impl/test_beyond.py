"""The reference of the last chapter: whole answers, and what their rewards teach."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from reference_impl.beyond import exact_match, leave_one_out, pass_at_k, reinforce_loss

few = settings(max_examples=40, deadline=None)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# pass_at_k


@given(st.integers(1, 9), st.data())
@few
def test_pass_at_k_is_the_share_of_all_choices_of_k_that_hold_a_right_sample(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    choices = list(combinations(range(n), k))  # the first c samples are the right ones
    assert pass_at_k(n, c, k) == sum(min(choice) < c for choice in choices) / len(choices)


@given(st.integers(1, 300), st.data())
@few
def test_pass_at_k_is_the_stable_product_of_chen_et_al(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    product = math.prod(1 - k / i for i in range(n - c + 1, n + 1)) if n - c >= k else 0.0
    assert pass_at_k(n, c, k) == pytest.approx(1 - product, rel=1e-12, abs=1e-14)


@given(st.integers(1, 12), st.floats(0, 1), st.data())
@few
def test_pass_at_k_is_right_on_average_and_the_plug_in_is_too_low(n, p, data):
    k = data.draw(st.integers(1, n))
    chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = sum(chance * pass_at_k(n, c, k) for c, chance in enumerate(chances))
    plugged = sum(chance * (1 - (1 - c / n) ** k) for c, chance in enumerate(chances))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    assert plugged <= mean + 1e-12


def test_pass_at_k_by_hand():
    assert pass_at_k(5, 2, 3) == 9 / 10  # one of the ten triples misses both
    assert pass_at_k(10, 3, 1) == 3 / 10  # one sample: the share of right ones
    assert pass_at_k(7, 0, 7) == 0
    assert pass_at_k(7, 1, 7) == 1
    assert pass_at_k(7, 4, 4) == 1  # only three wrong ones are left
    assert pass_at_k(1, 1, 1) == 1


def test_pass_at_k_keeps_its_digits_where_binomials_leave_the_floats():
    assert pass_at_k(10**4, 1, 5000) == 0.5  # C(10000, 5000) has 3,009 digits
    assert pass_at_k(2 * 10**4, 2, 10**4) == pytest.approx(0.75, abs=1e-4)
    # The chance is 1e-15 and not what is left of 1 - (1 - 1e-15).
    assert pass_at_k(10**15, 1, 1) == 1e-15


def test_a_tensor_of_counts_gives_the_estimate_of_each_problem():
    c = torch.tensor([[0, 2, 5], [1, 2, 0]], dtype=torch.int32)
    found = pass_at_k(5, c.T.contiguous().T, 3)
    assert found.dtype == torch.get_default_dtype()
    assert_close(found, torch.tensor([[0.0, 0.9, 1.0], [0.6, 0.9, 0.0]]))
    assert pass_at_k(5, torch.tensor(2), 3).shape == ()
    assert c.tolist() == [[0, 2, 5], [1, 2, 0]]


@pytest.mark.parametrize(("n", "c", "k", "name"), [
    (0, 0, 1, "n"), (5, -1, 1, "c"), (5, 6, 1, "c"), (5, 2, 0, "k"), (5, 2, 6, "k"), (5, 2.0, 1, "c"), (5.0, 2, 1, "n"),
    (5, torch.tensor([1, 6]), 2, "c"), (5, torch.tensor([1.0]), 2, "c"), (5, torch.tensor([-1]), 2, "c")])
def test_pass_at_k_names_the_number_that_cannot_be(n, c, k, name):
    with pytest.raises(ValueError, match=rf"^{name} must"):
        pass_at_k(n, c, k)


# exact_match


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(0, 40))
@few
def test_exact_match_is_the_chain_rule_with_one_factor_a_token(p, L):
    p = torch.tensor(p, dtype=torch.float64)
    assert_close(exact_match(p, L), p[:, None].expand(-1, L).prod(1), rtol=1e-12, atol=1e-300)


def test_exact_match_counts_the_answers_that_are_right_in_every_token():
    answers = torch.cartesian_prod(*[torch.tensor([1, 1, 1, 0])] * 5)  # a token is right three times in four
    assert_close(exact_match(torch.tensor([0.75]), 5), answers.all(1).float().mean()[None])


def test_exact_match_by_hand():
    p = torch.tensor([0.0, 0.5, 1.0])
    assert_close(exact_match(p, 3), torch.tensor([0.0, 0.125, 1.0]))
    assert_close(exact_match(p, 1), p)
    assert_close(exact_match(p, 0), torch.ones(3))  # nothing to get wrong
    assert exact_match(torch.tensor([0.99], dtype=torch.float64), 100).item() == pytest.approx(0.99**100, rel=1e-14)


def test_what_is_smooth_per_token_is_sudden_per_answer():
    p = torch.linspace(0, 1, 101, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(exact_match(p, 20).sum(), p)[0]
    assert_close(slope, 20 * p.detach() ** 19)
    assert slope[50] < 1e-4
    assert slope[-1] == 20


@pytest.mark.parametrize("L", [3, 30])
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_exact_match_of_half_precision_rounds_once(dtype, L):
    p = torch.linspace(0.5, 1, 200, dtype=dtype)
    assert torch.equal(exact_match(p, L), exact_match(p.double(), L).float().to(dtype))


@pytest.mark.parametrize(("p", "L", "name"), [
    ([1.5], 2, "p_token"), ([-0.1], 2, "p_token"), ([math.nan], 2, "p_token"), ([], 2, "p_token"),
    ([[0.5]], 2, "p_token"), ([0.5], -1, "L"), ([0.5], 1.5, "L")])
def test_exact_match_names_what_is_wrong(p, L, name):
    with pytest.raises(ValueError, match=name):
        exact_match(torch.tensor(p), L)


# leave_one_out


@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 999))
@few
def test_leave_one_out_is_the_reward_minus_the_mean_of_the_others(G, K, seed):
    rewards = normal(G, K, seed=seed)
    expected = [[row[i] - sum(row[:i] + row[i + 1 :]) / (K - 1) for i in range(K)] for row in rewards.tolist()]
    found = leave_one_out(rewards)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert_close(found, (rewards - rewards.mean(1, keepdim=True)) * K / (K - 1), rtol=1e-12, atol=1e-12)
    assert found.sum(1).abs().max() < 1e-12
    assert_close(leave_one_out(rewards + 7.5), found, rtol=1e-12, atol=1e-12)
    assert_close(leave_one_out(rewards[:1]), found[:1])


def test_leave_one_out_by_hand():
    assert_close(leave_one_out(torch.tensor([[3.0, 1.0], [1.0, 3.0]])), torch.tensor([[2.0, -2.0], [-2.0, 2.0]]))
    assert_close(leave_one_out(torch.tensor([[1, 0, 0, 0]])), torch.tensor([[1, -1 / 3, -1 / 3, -1 / 3]]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_rewards_teach_exactly_nothing(dtype):
    rewards = torch.full((2, 7), 0.1, dtype=dtype)
    assert torch.equal(leave_one_out(rewards), torch.zeros_like(rewards))


def test_a_large_common_reward_costs_no_digits():
    far = torch.tensor([[2.0**24, 2.0**24 + 2, 2.0**24 + 4]])
    assert leave_one_out(far).tolist() == [[-3, 0, 3]]


@pytest.mark.parametrize("rewards", [torch.ones(2, 1), torch.ones(3), torch.ones(0, 2), torch.tensor([[1.0, math.nan]]),
                                     torch.tensor([[1.0, math.inf]]), torch.tensor([[True, False]]), [[1.0, 0.0]]])
def test_leave_one_out_names_rewards_that_have_no_baseline(rewards):
    with pytest.raises(ValueError, match=r"^rewards"):
        leave_one_out(rewards)


# reinforce_loss


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 999))
@few
def test_reinforce_loss_is_the_double_sum_of_its_definition(B, T, seed):
    logp, advantage, mask = -normal(B, T, seed=seed).abs(), normal(B, seed=seed + 1), normal(B, T, seed=seed + 2) > 0
    expected = sum(-advantage[b] * logp[b, t] for b in range(B) for t in range(T) if mask[b, t]) / B
    assert_close(reinforce_loss(logp, mask, advantage), torch.as_tensor(expected, dtype=torch.float64))
    one = [reinforce_loss(logp[b : b + 1], mask[b : b + 1], advantage[b : b + 1]) for b in range(B)]
    assert_close(reinforce_loss(logp, mask, advantage), torch.stack(one).mean())


def test_with_advantages_of_one_it_is_torchs_nll():
    logits, targets = normal(3, 5, 7), torch.tensor([[0, 1, 2, 3, 4], [6, 5, 4, -100, -100], [-100] * 5])
    logp = logits.log_softmax(2).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100, reduction="sum")
    assert_close(reinforce_loss(logp, targets >= 0, torch.ones(3)), nll / 3)


def test_reinforce_loss_by_hand():
    logp = torch.tensor([[0.5, 0.25], [0.5, 0.125]]).log()
    mask = torch.tensor([[True, True], [True, False]])
    assert_close(reinforce_loss(logp, mask, torch.tensor([2, -1])), torch.tensor((2 * math.log(8) - math.log(2)) / 2))
    assert reinforce_loss(logp, torch.zeros(2, 2, dtype=torch.bool), torch.ones(2)) == 0


def test_the_gradient_is_the_expected_policy_gradient():
    """Over all three tokens with their probabilities as weights: d/d theta of the expected reward."""
    theta, rewards = normal(3).requires_grad_(), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    p = theta.softmax(0)
    exact = torch.autograd.grad((p * rewards).sum(), theta, retain_graph=True)[0]
    each = [torch.autograd.grad(reinforce_loss(theta.log_softmax(0)[None, i : i + 1], torch.ones(1, 1).bool(),
                                               rewards[i : i + 1]), theta)[0] for i in range(3)]
    assert_close(-(p.detach()[:, None] * torch.stack(each)).sum(0), exact)


def test_no_gradient_flows_through_the_advantage_or_into_padding():
    logp, advantage = normal(2, 3).requires_grad_(), normal(2, seed=1).requires_grad_()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    reinforce_loss(logp, mask, advantage * logp.sum(1)).backward()
    assert advantage.grad is None
    expected = -(advantage * logp.sum(1)).detach()[:, None] * mask / 2
    assert_close(logp.grad, expected)
    assert torch.autograd.gradcheck(lambda x: reinforce_loss(x, mask, advantage), logp)


def test_what_does_not_count_has_no_effect():
    logp = torch.tensor([[-1.0, math.nan], [-math.inf, math.nan], [-2.0, -math.inf]], requires_grad=True)
    mask, advantage = torch.tensor([[True, False], [True, True], [True, False]]), torch.tensor([1.0, 0.0, -1.0])
    loss = reinforce_loss(logp, mask, advantage)
    loss.backward()
    assert_close(loss, torch.tensor(-1 / 3))
    assert_close(logp.grad, torch.tensor([[-1 / 3, 0], [0, 0], [1 / 3, 0]]))


def test_an_impossible_token_that_counts_costs_inf():
    assert reinforce_loss(torch.tensor([[-math.inf]]), torch.tensor([[True]]), torch.ones(1)) == math.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_of_half_precision_is_summed_in_float32(dtype):
    logp, mask = -normal(4, 3000, dtype=dtype).abs(), torch.ones(4, 3000, dtype=torch.bool)
    advantage = normal(4, seed=1).abs()
    loss = reinforce_loss(logp, mask, advantage.to(dtype))
    assert loss.dtype == dtype
    assert_close(loss, reinforce_loss(logp.double(), mask, advantage.to(dtype)).to(dtype), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("change", "name"), [
    ({"logp": torch.zeros(2)}, "logp"), ({"logp": torch.zeros(0, 3)}, "logp"), ({"mask": torch.ones(2, 3)}, "mask"),
    ({"logp": torch.full((2, 3), math.nan)}, "logp"), ({"mask": torch.ones(3, 2, dtype=torch.bool)}, "mask"),
    ({"advantage": torch.ones(3)}, "advantage"), ({"advantage": torch.ones(2, 1)}, "advantage"),
    ({"advantage": torch.tensor([1.0, math.nan])}, "advantage"),
    ({"advantage": torch.tensor([1, math.inf])}, "advantage"),
    ({"logp": torch.tensor([[math.inf, -math.inf, 0]] * 2)}, "logp")])
def test_reinforce_loss_names_what_is_wrong(change, name):
    right = {"logp": -torch.ones(2, 3), "mask": torch.ones(2, 3, dtype=torch.bool), "advantage": torch.ones(2)}
    with pytest.raises(ValueError, match=f"^{name}"):
        reinforce_loss(**right | change)
