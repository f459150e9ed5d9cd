"""The network's data, forward pass and hand-made gradients against torch.nn, autograd, one-hot products and counts."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_corpora import corpora, tally
from torch.nn import functional as F
from torch.testing import assert_close

from reference_impl.bigrams import count_ngrams
from reference_impl.neural_ngrams import build_dataset, embed, mlp_backward, mlp_logits

SIZES = st.tuples(*[st.integers(1, 5)] * 4, st.integers(2, 7))  # B, K, D, H, V
seeds = st.integers(0, 2**30)


def network(seed, B, K, D, H, V, dtype=torch.float64):
    """Random parameters, contexts and targets."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"C": (V, D), "W1": (K * D, H), "b1": (H,), "W2": (H, V), "b2": (V,)}
    params = {name: torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for name, shape in shapes.items()}
    return params, torch.randint(V, (B, K), generator=draw), torch.randint(V, (B,), generator=draw)


def by_modules(params, K):
    """The same network made of torch.nn's modules, whose weights stand the other way round."""
    (V, D), H = params["C"].shape, len(params["b1"])
    modules = torch.nn.Sequential(torch.nn.Embedding(V, D), torch.nn.Flatten(), torch.nn.Linear(K * D, H),
                                  torch.nn.GELU(), torch.nn.Linear(H, V)).to(params["C"].dtype)
    values = [params["C"], params["W1"].T, params["b1"], params["W2"].T, params["b2"]]
    for parameter, value in zip(modules.parameters(), values):
        parameter.data.copy_(value)
    return modules


# build_dataset


@settings(max_examples=40)
@given(corpora(orders=(2, 3, 4)))
def test_the_examples_are_the_ngrams_that_are_counted(corpus):
    sequences, n, V, bos, eos = corpus
    X, Y = build_dataset(sequences, n - 1, bos, eos)
    assert X.dtype == Y.dtype == torch.int64
    assert X.shape == (len(Y), n - 1)
    assert Counter((*x, y) for x, y in zip(X.tolist(), Y.tolist())) == tally(sequences, n, bos, eos)
    counts = torch.zeros((V,) * n, dtype=torch.int64)
    counts.index_put_((*X.T, Y), torch.ones_like(Y), accumulate=True)
    assert_close(counts, count_ngrams(*corpus))


@settings(max_examples=40)
@given(corpora(), st.integers(1, 9))
def test_the_targets_are_the_texts_in_order_and_contexts_go_back_to_the_begin_of_theirs_only(corpus, K):
    sequences, _, _, bos, eos = corpus
    X, Y = build_dataset(sequences, K, bos, eos)
    assert Y.tolist() == [i for sequence in sequences for i in [*sequence, eos]]
    rows = iter(X.tolist())
    for sequence in sequences:
        for t in range(len(sequence) + 1):
            before = sequence[max(t - K, 0) : t]
            assert next(rows) == [bos] * (K - len(before)) + before


def test_the_examples_of_two_texts_by_hand():
    X, Y = build_dataset([[5, 6], [], [7]], K=3, bos=0, eos=1)
    assert X.tolist() == [[0, 0, 0], [0, 0, 5], [0, 5, 6], [0, 0, 0], [0, 0, 0], [0, 0, 7]]
    assert Y.tolist() == [5, 6, 1, 1, 7, 1]
    assert X.is_contiguous()
    assert Y.is_contiguous()


def test_no_text_gives_no_example():
    X, Y = build_dataset([], K=3, bos=0, eos=1)
    assert (X.shape, Y.shape, X.dtype, Y.dtype) == ((0, 3), (0,), torch.int64, torch.int64)


@pytest.mark.parametrize(("change", "said"), [
    ({"K": 0}, "K must be"), ({"K": 1.5}, "K must be"), ({"bos": -1}, "bos must be"), ({"eos": None}, "eos must be"),
    ({"sequences": [2, 3]}, "sequences must be"), ({"sequences": [[2, -3]]}, "sequences must hold"),
    ({"sequences": [[2.0]]}, "sequences must hold"), ({"sequences": torch.tensor([[2]])}, "sequences must be"),
])
def test_what_is_no_data_set_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        build_dataset(**{"sequences": [[2]], "K": 2, "bos": 0, "eos": 1} | change)


# embed


@settings(max_examples=40)
@given(SIZES, seeds)
def test_embedding_is_a_product_with_one_hot_rows(sizes, seed):
    params, X, _ = network(seed, *sizes)
    one_hot = F.one_hot(X, len(params["C"])).double()
    assert_close(embed(params["C"], X), torch.cat([one_hot[:, k] @ params["C"] for k in range(X.shape[1])], 1))


@settings(max_examples=40)
@given(SIZES, seeds)
def test_the_gradients_of_a_repeated_id_add_up(sizes, seed):
    params, X, _ = network(seed, *sizes)
    C = params["C"].requires_grad_()
    embed(C, X).sum().backward()
    counts = torch.bincount(X.flatten(), minlength=len(C)).double()
    assert_close(C.grad, counts[:, None].expand(C.shape), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.int64])
def test_ids_may_have_any_integer_dtype(dtype):
    C = torch.arange(6.0).view(3, 2)
    assert embed(C, torch.tensor([[2, 0]], dtype=dtype)).tolist() == [[4, 5, 0, 1]]


@pytest.mark.parametrize(("C", "X", "said"), [
    (torch.zeros(3, 2), torch.tensor([[0, -1]]), r"X must hold ids from 0 to 2; found -1 at \(0, 1\)"),
    (torch.zeros(3, 2), torch.tensor([[3]]), "X must hold ids"), (torch.zeros(3, 2), torch.tensor([0]), "X must have"),
    (torch.zeros(3, 2), torch.tensor([[0.0]]), "X must have an integer"),
    (torch.zeros(3, 2).long(), torch.tensor([[0]]), "C must have a floating"),
    (torch.tensor([[math.nan], [1.0]]), torch.tensor([[0]]), "C must not hold NaN"),
])
def test_ids_and_tables_that_do_not_fit_are_refused(C, X, said):
    with pytest.raises(ValueError, match=said):
        embed(C, X)


# mlp_logits


@settings(max_examples=40)
@given(SIZES, seeds)
def test_the_logits_are_those_of_torchs_modules(sizes, seed):
    params, X, _ = network(seed, *sizes)
    assert_close(mlp_logits(params, X), by_modules(params, X.shape[1])(X), rtol=1e-12, atol=1e-12)


@settings(max_examples=40)
@given(SIZES, seeds)
def test_a_batch_is_its_rows_and_the_order_in_a_context_matters(sizes, seed):
    params, X, _ = network(seed, *sizes)
    assert_close(mlp_logits(params, X), torch.cat([mlp_logits(params, x[None]) for x in X]), rtol=1e-12, atol=1e-12)
    params, X, _ = network(seed, 1, 2, 3, 4, 5)
    if X[0, 0] != X[0, 1]:
        assert (mlp_logits(params, X) - mlp_logits(params, X.flip(1))).abs().max() > 1e-6


def test_logits_by_hand():
    params = {"C": torch.tensor([[0.0], [1.0]]), "W1": torch.tensor([[2.0], [-1.0]]), "b1": torch.tensor([0.5]),
              "W2": torch.tensor([[1.0, -3.0]]), "b2": torch.tensor([0.25, 0.0])}
    # x = (1, 0), a = 2.5, h = 2.5 * .99379 = 2.48448; the tanh approximation would give 2.48491
    h = 2.5 * 0.5 * (1 + math.erf(2.5 / math.sqrt(2)))
    assert_close(mlp_logits(params, torch.tensor([[1, 0]])), torch.tensor([[h + 0.25, -3 * h]]))


def test_a_network_that_diverged_says_so_in_its_logits():
    params, X, _ = network(0, 2, 2, 3, 4, 5)
    assert mlp_logits(params | {"W2": params["W2"] * math.nan, "C": params["C"] * math.nan}, X).isnan().all()


@pytest.mark.parametrize(("change", "said"), [
    ({"W1": torch.zeros(5, 4).double()}, r"W1 must have the shape \(6, H\)"),
    ({"b1": torch.zeros(3).double()}, "b1 must have"), ({"W2": torch.zeros(4, 6).double()}, "W2 must have"),
    ({"b2": torch.zeros(5, 1).double()}, "b2 must have"), ({"b2": torch.zeros(5)}, "b2 must have the dtype of C"),
    ({"C": torch.zeros(5, 3).long()}, "C must have a floating dtype"), ({"W2": None}, "W2 must be a tensor"),
])
def test_parameters_that_do_not_fit_are_named(change, said):
    params, X, Y = network(0, 2, 2, 3, 4, 5)
    for function, more in ((mlp_logits, ()), (mlp_backward, (Y,))):
        with pytest.raises(ValueError, match=said):
            function(params | change, X, *more)
    with pytest.raises(ValueError, match="lacks b2"):
        mlp_logits({name: value for name, value in params.items() if name != "b2"}, X)
    with pytest.raises(ValueError, match="params must be a dict"):
        mlp_logits(list(params.values()), X)


# mlp_backward


def by_autograd(params, X, Y):
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    loss = F.cross_entropy(by_formula(leaves, X), Y)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))


def by_formula(params, X):
    hidden = F.gelu(params["C"][X].flatten(1) @ params["W1"] + params["b1"])
    return hidden @ params["W2"] + params["b2"]


@settings(max_examples=40)
@given(SIZES, seeds)
def test_gradients_by_hand_are_those_of_autograd(sizes, seed):
    params, X, Y = network(seed, *sizes)
    assert_close(mlp_backward(params, X, Y), by_autograd(params, X, Y), rtol=1e-10, atol=1e-10)


def test_gradients_are_exact_where_units_are_far_from_zero():
    params, X, Y = network(3, 64, 2, 3, 16, 9)
    params["W1"] *= 12  # pre-activations of up to 100, where cdf and pdf underflow
    found = mlp_backward(params, X, Y)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert_close(found, by_autograd(params, X, Y), rtol=1e-10, atol=1e-10)


def test_gradients_of_one_example_by_hand():
    params = {"C": torch.tensor([[0.0], [1.0]]), "W1": torch.tensor([[3.0], [5.0]]), "b1": torch.tensor([0.0]),
              "W2": torch.tensor([[2.0, -2.0]]), "b2": torch.tensor([0.0, 0.0])}
    # a = 0, h = 0, logits 0: dlogits = (.5, -.5), dh = 2, da = 2 * cdf(0) = 1, dx = (3, 5), both on row 0 of C
    expected = {"C": [[8.0], [0.0]], "W1": [[0.0], [0.0]], "b1": [1.0], "W2": [[0.0, 0.0]], "b2": [0.5, -0.5]}
    found = mlp_backward(params, torch.tensor([[0, 0]]), torch.tensor([1]))
    assert {name: value.tolist() for name, value in found.items()} == expected


def test_gradients_of_parameters_that_ask_for_them_are_plain_tensors_and_nothing_is_left_behind():
    params, X, Y = network(0, 4, 2, 3, 4, 5)
    params = {name: value.requires_grad_() for name, value in params.items()}
    assert not any(gradient.requires_grad for gradient in mlp_backward(params, X, Y).values())
    assert all(value.grad is None for value in params.values())


@pytest.mark.parametrize("Y", [torch.tensor([0, 5]), torch.tensor([0, -100]), torch.tensor([0]), torch.zeros(2)])
def test_targets_that_do_not_fit_are_named(Y):
    params, X, _ = network(0, 2, 2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"\bY\b"):
        mlp_backward(params, X, Y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_gradients_are_those_of_float64_rounded_once(dtype):
    params, X, Y = network(1, 32, 3, 4, 8, 6, dtype)
    exact = by_autograd({name: value.double() for name, value in params.items()}, X, Y)
    eps = torch.finfo(dtype).eps
    for name, gradient in mlp_backward(params, X, Y).items():
        assert gradient.dtype == dtype
        assert_close(gradient.double(), exact[name], rtol=eps, atol=1e-6 if dtype == torch.float32 else eps / 100)
