"""The reference of the last chapter: states that are read by a probe, and states that no other position shapes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from reference_impl.beyond import fit_probe, myopic_attention
from reference_impl.causal_vs_masked import attention, causal_mask

few = settings(max_examples=40, deadline=None)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def labels(N: int, C: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, C, (N,), generator=torch.Generator().manual_seed(seed))


# fit_probe


def augmented(H, y, C: int, ridge: float) -> torch.Tensor:
    """torch's own least squares, where each penalised weight is one more example and the bias a column of ones."""
    N, D = H.shape
    examples = torch.cat([H, torch.ones(N, 1).to(H)], 1)
    penalties = math.sqrt(ridge) * torch.eye(D, D + 1).to(H)  # a row for each weight, none for the bias
    targets = torch.cat([torch.nn.functional.one_hot(y, C).to(H), torch.zeros(D, C).to(H)])
    return torch.linalg.lstsq(torch.cat([examples, penalties]), targets).solution


def penalised_error(W, H, y, ridge: float) -> torch.Tensor:
    scores = H @ W[:-1] + W[-1]
    targets = torch.nn.functional.one_hot(y, W.shape[1])
    return (scores - targets).square().sum() + ridge * W[:-1].square().sum()


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.floats(1e-3, 1e3), st.integers(0, 999))
@few
def test_a_probe_is_torchs_least_squares_with_a_row_for_each_penalty(N, D, C, ridge, seed):
    H, y = normal(N, D, seed=seed), labels(N, C, seed)
    assert_close(fit_probe(H, y, C, ridge), augmented(H, y, C, ridge), rtol=1e-9, atol=1e-10)


@given(st.integers(8, 20), st.integers(1, 4), st.integers(0, 999))
@few
def test_without_a_ridge_a_probe_is_plain_least_squares(N, D, seed):
    H, y = normal(N, D, seed=seed), labels(N, 3, seed)
    assert_close(fit_probe(H, y, 3, 0), augmented(H, y, 3, 0), rtol=1e-8, atol=1e-9)


@given(st.integers(1, 9), st.integers(1, 6), st.sampled_from([0, 1e-3, 1.0]), st.integers(0, 999))
@few
def test_the_gradient_of_the_penalised_error_is_zero_at_the_probe(N, D, ridge, seed):
    H, y = normal(N, D, seed=seed), labels(N, 3, seed)
    W = fit_probe(H, y, 3, ridge).requires_grad_()
    slope = torch.autograd.grad(penalised_error(W, H, y, ridge), W)[0]
    assert slope.abs().max() < 1e-9


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0, 0.5]), st.integers(0, 999))
@few
def test_scores_sum_to_one_as_one_hot_targets_do(N, D, C, ridge, seed):
    W = fit_probe(normal(N, D, seed=seed), labels(N, C, seed), C, ridge)
    assert_close(W.sum(1), torch.tensor([0.0] * D + [1.0], dtype=torch.float64), rtol=1e-9, atol=1e-9)


@given(st.sampled_from([0, 0.5, 50.0]), st.floats(-1e4, 1e4), st.integers(0, 999))
@few
def test_the_bias_is_not_penalised_so_that_a_shift_of_the_states_is_free(ridge, shift, seed):
    H, y = normal(9, 3, seed=seed), labels(9, 3, seed)
    W, moved = fit_probe(H, y, 3, ridge), fit_probe(H + shift, y, 3, ridge)
    assert_close(moved[:-1], W[:-1], rtol=1e-6, atol=1e-9)  # the shift costs H some of its digits
    assert_close((H + shift) @ moved[:-1] + moved[-1], H @ W[:-1] + W[-1], rtol=1e-6, atol=1e-6)


def test_a_probe_by_hand():
    H, y = torch.tensor([[-1.0], [0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1, 1])
    # Centred already; H'H = 2 and H'Y = (-1, 1), so the weights are (-1, 1) / (2 + ridge), the bias the class shares.
    for ridge in (0.0, 2.0, 6.0):
        w = 1 / (2 + ridge)
        assert_close(fit_probe(H, y, 2, ridge), torch.tensor([[-w, w], [0.5, 0.5]]))


def test_a_huge_ridge_leaves_the_class_shares():
    W = fit_probe(normal(10, 3), torch.tensor([0] * 7 + [2] * 3), 4, 1e15)
    assert W[:-1].abs().max() < 1e-12
    assert_close(W[-1], torch.tensor([0.7, 0, 0.3, 0], dtype=torch.float64))


@pytest.mark.parametrize("H", [
    normal(3, 8), normal(6, 2) @ normal(2, 5, seed=1), normal(7, 2)[:, [0, 0, 1]], torch.full((5, 3), 0.1).double(),
    normal(1, 4), torch.cat([normal(9, 2), torch.full((9, 1), 1 / 3)], 1)], ids=str)
def test_where_many_probes_fit_the_one_with_the_smallest_weights_is_given(H):
    y = labels(len(H), 3)
    W = fit_probe(H, y, 3, 0)
    centred = H - H.mean(0)
    Y = torch.nn.functional.one_hot(y, 3).double()
    smallest = torch.linalg.pinv(centred, rtol=1e-10, atol=1e-12) @ (Y - Y.mean(0))
    assert_close(W[:-1], smallest, rtol=1e-9, atol=1e-9)
    assert_close(W[-1], Y.mean(0) - H.mean(0) @ smallest, rtol=1e-9, atol=1e-9)
    assert_close(fit_probe(H, y, 3, 1e-9), W, rtol=1e-6, atol=1e-6)  # the limit of a small ridge


def test_equal_columns_share_a_weight_a_constant_one_has_none_and_a_class_never_seen_scores_nothing():
    H = torch.cat([normal(9, 1)[:, [0, 0]], torch.full((9, 1), 7.0)], 1).double()
    W = fit_probe(H, labels(9, 2), 3, 0)
    assert_close(W[0], W[1])
    assert W[2].abs().max() < 1e-12
    assert W[:, 2].abs().max() < 1e-12


def test_a_probe_that_can_tell_the_classes_apart_does():
    y = labels(60, 3)
    H = normal(3, 8, seed=5)[y] * 4 + normal(60, 8, seed=6) * 0.1
    W = fit_probe(H.float(), y, 3, 1e-3)
    assert W.dtype == torch.float32
    assert ((H.float() @ W[:-1] + W[-1]).argmax(1) == y).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_probe_is_solved_in_float64_and_rounded_once(dtype):
    H, y = normal(20, 4, dtype=dtype), labels(20, 3)
    assert torch.equal(fit_probe(H, y, 3, 0.1), fit_probe(H.double(), y, 3, 0.1).to(dtype))
    assert torch.equal(fit_probe(H, y.int(), 3, 0.1), fit_probe(H, y, 3, 0.1))


@pytest.mark.parametrize("ridge", [0, 0.3])
def test_gradients_flow_to_the_states(ridge):
    H = normal(7, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda H: fit_probe(H, labels(7, 2), 2, ridge), H)


@pytest.mark.parametrize(("change", "name"), [
    ({"H": torch.ones(4)}, "H"), ({"H": torch.ones(0, 2)}, "H"), ({"H": torch.ones(4, 2, dtype=torch.int64)}, "H"),
    ({"H": torch.full((4, 2), math.nan)}, "H"), ({"H": torch.full((4, 2), math.inf)}, "H"),
    ({"y": torch.tensor([0, 1, 2, 3])}, "y"), ({"y": torch.tensor([0, 1, -1, 2])}, "y"), ({"y": torch.ones(4)}, "y"),
    ({"y": torch.tensor([0, 1])}, "y"), ({"C": 0}, "C"), ({"ridge": -1e-9}, "ridge"), ({"ridge": math.nan}, "ridge"),
    ({"ridge": math.inf}, "ridge")])
def test_fit_probe_names_what_is_wrong(change, name):
    right = {"H": torch.ones(4, 2), "y": torch.tensor([0, 1, 2, 0]), "C": 3, "ridge": 1.0}
    with pytest.raises(ValueError, match=f"^{name} "):
        fit_probe(**right | change)


# myopic_attention


def weights(D: int, d: int, Dv: int, seed: int = 0) -> list[torch.Tensor]:
    return [normal(D, size, seed=seed + i + 1) for i, size in enumerate((d, d, Dv))]


def masks(T: int, seed: int) -> torch.Tensor:
    """A causal mask, one that may also see later positions or not itself, and one of rows that see nothing."""
    drawn = torch.rand(T, T, generator=torch.Generator().manual_seed(seed)) < 0.6
    return [causal_mask(T, T), drawn, drawn & (torch.arange(T) % 2 == 0)[:, None]][seed % 3]


@given(st.sampled_from([(), (1,), (3,), (2, 2)]), st.integers(1, 5), st.integers(1, 4), st.integers(0, 999))
@few
def test_forward_it_is_ordinary_attention(leads, T, D, seed):
    x, (Wq, Wk, Wv), mask = normal(*leads, T, D, seed=seed), weights(D, 3, 3, seed), masks(T, seed)
    found = myopic_attention(x, Wq, Wk, Wv, mask)
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    assert_close(found, attention(q, k, v, mask), rtol=1e-10, atol=1e-10)
    seen = mask.any(1)
    assert_close(found[..., seen, :], torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)[..., seen, :])
    assert not found[..., ~seen, :].any()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 999))
@few
def test_position_t_shapes_only_its_own_state_and_as_if_the_others_were_given(T, D, seed):
    x, (Wq, Wk, Wv), mask = normal(T, D, seed=seed).requires_grad_(), weights(D, 3, 3, seed), masks(T, seed)
    along = normal(T, 3, seed=seed + 9)
    out = myopic_attention(x, Wq, Wk, Wv, mask)
    for t in range(T):
        slope = torch.autograd.grad((out[t] * along[t]).sum(), x, retain_graph=True)[0]
        assert not slope[torch.arange(T) != t].any()
        # Ordinary attention of one query, over keys and values that are constants except the one of t itself.
        mine = x[t].detach().requires_grad_()
        states = torch.cat([x.detach()[:t], mine[None], x.detach()[t + 1 :]])
        ordinary = attention(mine[None] @ Wq, states @ Wk, states @ Wv, mask[t : t + 1])
        assert_close(slope[t], torch.autograd.grad((ordinary[0] * along[t]).sum(), mine)[0], rtol=1e-10, atol=1e-10)


@given(st.integers(1, 5), st.integers(0, 999))
@few
def test_the_weights_learn_from_all_pairs_as_in_ordinary_attention(T, seed):
    x, three, mask = normal(2, T, 3, seed=seed), weights(3, 3, 3, seed), masks(T, seed)
    three = [w.requires_grad_() for w in three]
    along = normal(2, T, 3, seed=seed + 9)
    mine = torch.autograd.grad((myopic_attention(x, *three, mask) * along).sum(), three)
    q, k, v = (x @ w for w in three)
    ordinary = torch.autograd.grad((attention(q, k, v, mask) * along).sum(), three)
    for one, other in zip(mine, ordinary):
        assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_where_each_position_sees_itself_alone_nothing_is_cut():
    x, three, alone = normal(4, 3).requires_grad_(), weights(3, 3, 2), torch.eye(4, dtype=torch.bool)
    mine = torch.autograd.grad(myopic_attention(x, *three, alone).square().sum(), x)[0]
    assert_close(mine, torch.autograd.grad((x @ three[2]).square().sum(), x)[0])


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_rows_that_see_nothing_give_zeros_and_zero_gradients_with_no_nan_on_the_way():
    x, three = normal(4, 3).requires_grad_(), weights(3, 3, 2)
    with torch.autograd.detect_anomaly():
        out = myopic_attention(x, *three, torch.zeros(4, 4, dtype=torch.bool))
        slope = torch.autograd.grad(out.sum(), x)[0]
    assert not out.any()
    assert not slope.any()


def test_myopic_attention_by_hand():
    """Two positions, equal scores: position 1 averages both values. Ordinary attention sends half to each state."""
    x, one, mask = torch.tensor([[1.0], [2.0]], requires_grad=True), torch.ones(1, 1), causal_mask(2, 2)
    out = myopic_attention(x, 0 * one, one, one, mask)
    assert out.tolist() == [[1.0], [1.5]]
    assert torch.autograd.grad(out[1, 0], x, retain_graph=True)[0].tolist() == [[0.0], [0.5]]
    assert torch.autograd.grad(out.sum(), x)[0].tolist() == [[1.0], [0.5]]


def test_through_two_layers_no_state_learns_from_a_later_loss():
    x, three, mask = normal(5, 3).requires_grad_(), weights(3, 3, 3), causal_mask(5, 5)
    hidden = x + myopic_attention(x, *three, mask)
    out = hidden + myopic_attention(hidden, *three, mask)
    assert not torch.autograd.grad(out[4].sum(), x, retain_graph=True)[0][:4].any()
    ordinary = x + attention(*(x @ w for w in three), mask)
    ordinary = ordinary + attention(*(ordinary @ w for w in three), mask)
    assert torch.autograd.grad(ordinary[4].sum(), x)[0][:4].any(1).all()
    assert_close(out, ordinary)


def test_a_mask_for_each_row_of_a_batch_broadcasts():
    x, three = normal(2, 4, 3), weights(3, 2, 5)
    mask = torch.stack([causal_mask(4, 4), torch.ones(4, 4, dtype=torch.bool)])
    found = myopic_attention(x, *three, mask)
    for b in range(2):
        assert_close(found[b], myopic_attention(x[b], *three, mask[b]))
    sdpa = torch.nn.functional.scaled_dot_product_attention
    assert_close(found, sdpa(*(x @ w for w in three), mask))  # values may have another width than keys
    turned = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert_close(myopic_attention(turned, *three, mask), found)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_half_precision_is_rounded_in_the_projections_and_once_at_the_end(dtype, own):
    x, three, mask = normal(2, 64, 8, dtype=dtype), [w.to(dtype) for w in weights(8, 8, 8)], causal_mask(64, 64)
    if own:  # itself and the first position: half of the weight hangs on its own score
        mask = torch.eye(64, dtype=torch.bool) | (torch.arange(64) == 0)
    found = myopic_attention(x, *three, mask)
    exact = attention(*((x @ w).double() for w in three), mask)
    assert found.dtype == dtype
    assert (found.double() - exact).abs().max() < torch.finfo(dtype).eps * exact.abs().max()


@pytest.mark.parametrize(("change", "name"), [
    ({"x": torch.ones(3)}, "x"), ({"x": torch.ones(0, 3)}, "x"), ({"x": torch.full((4, 3), math.nan)}, "x"),
    ({"Wq": torch.ones(2, 2)}, "Wq"), ({"Wk": torch.ones(3, 5)}, "Wk"), ({"Wv": torch.ones(2, 2)}, "Wv"),
    ({"Wv": torch.ones(3, 2).double()}, "Wv"), ({"Wk": torch.full((3, 2), math.nan)}, "Wk"),
    ({"mask": torch.ones(4, 4)}, "mask"), ({"mask": causal_mask(3, 3)}, "mask"),
    ({"mask": causal_mask(4, 4)[None]}, "mask")])
def test_myopic_attention_names_what_is_wrong(change, name):
    right = {"x": torch.ones(4, 3), "Wq": torch.ones(3, 2), "Wk": torch.ones(3, 2), "Wv": torch.ones(3, 2),
             "mask": causal_mask(4, 4)}
    with pytest.raises(ValueError, match=f"^{name} "):
        myopic_attention(**right | change)
