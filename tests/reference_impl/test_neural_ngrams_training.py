"""Where training starts and what a step does, against torch.optim, torch.nn and the course's own numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from torch.nn import functional as F
from torch.testing import assert_close

from reference_impl.neural_ngrams import build_dataset, initial_params, mlp_backward, mlp_logits, train_step

SENTENCES = [f"{thing} left {place}".split()
             for thing in ("package", "parcel", "order") for place in ("regional hub", "local warehouse")]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The numbers of the course


def six_sentences() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """The eight words in alphabetical order, and every window of two words and the word after them.

    No begin and end tokens: after two words of "X left" both places are as likely, after "left X" one word is certain,
    so that no model can go below half of ln 2.
    """
    words = sorted({word for sentence in SENTENCES for word in sentence})
    bos, eos = len(words), len(words) + 1
    X, Y = build_dataset([[words.index(word) for word in sentence] for sentence in SENTENCES], 2, bos, eos)
    inside = X.ne(bos).all(1) & Y.ne(eos)
    return words, X[inside], Y[inside]


def seed_seven(V: int) -> torch.nn.Sequential:
    """The network in torch's own modules, made in this order, with their own initialisation."""
    torch.manual_seed(7)
    return torch.nn.Sequential(torch.nn.Embedding(V, 6), torch.nn.Flatten(), torch.nn.Linear(2 * 6, 16),
                               torch.nn.GELU(), torch.nn.Linear(16, V))


def as_params(modules: torch.nn.Sequential) -> dict[str, torch.Tensor]:
    C, W1, b1, W2, b2 = (value.detach().clone() for value in modules.parameters())
    return {"C": C, "W1": W1.T, "b1": b1, "W2": W2.T, "b2": b2}


@pytest.fixture(autouse=True)
def global_generator():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def test_the_two_token_network_falls_from_2_121_to_0_347_and_says_hub_after_left_regional():
    words, X, Y = six_sentences()
    assert (len(words), len(Y)) == (8, 12)
    modules = seed_seven(len(words))
    params = as_params(modules)
    assert_close(mlp_logits(params, X), modules(X))
    assert round(F.cross_entropy(mlp_logits(params, X), Y).item(), 3) == 2.121

    leaves = {name: value.requires_grad_() for name, value in params.items()}
    adam = torch.optim.Adam(leaves.values(), lr=0.05)
    for _ in range(120):
        adam.zero_grad()
        loss = F.cross_entropy(mlp_logits(leaves, X), Y)
        loss.backward()
        adam.step()
    after = F.cross_entropy(mlp_logits(leaves, X), Y).item()
    assert round(loss.item(), 3) == round(after, 3) == 0.347
    assert math.log(2) / 2 < after < math.log(2) / 2 + 1e-3  # the floor

    context = torch.tensor([[words.index("left"), words.index("regional")]])
    probs = mlp_logits(leaves, context).softmax(1)[0]
    assert words[probs.argmax()] == "hub"
    assert probs.max() > 0.999


def test_the_floor_is_half_of_ln_2_because_half_of_the_windows_leave_two_words_as_likely():
    _, X, Y = six_sentences()
    same = X[:, None].eq(X).all(2).double()
    shares = same @ F.one_hot(Y).double() / same.sum(1, keepdim=True)
    assert torch.special.entr(shares).sum(1).mean().item() == pytest.approx(math.log(2) / 2)


# initial_params


@pytest.mark.parametrize(("V", "D", "H", "K"), [(3, 1, 1, 1), (3, 6, 16, 2), (3, 64, 512, 8), (111, 16, 64, 4),
                                                (3000, 32, 128, 3), (50000, 16, 32, 2)])
def test_the_first_loss_is_ln_V_even_on_one_example(V, D, H, K):
    draw = generator(V)
    for _ in range(20 if V < 10000 else 2):
        params = initial_params(V, D, H, K, draw)
        logits = mlp_logits(params, torch.randint(V, (64, K), generator=draw))
        losses = F.cross_entropy(logits, torch.randint(V, (64,), generator=draw), reduction="none")
        assert abs(losses.mean() - math.log(V)) < 0.02  # a fifth of what is promised
        assert (losses - math.log(V)).abs().max() < 0.1


@pytest.mark.parametrize(("V", "D", "H", "K"), [(3, 2, 4, 1), (50, 8, 64, 3), (1000, 32, 256, 8)])
def test_units_differ_and_none_is_dead_or_saturated(V, D, H, K):
    draw = generator(1)
    params = initial_params(V, D, H, K, draw)
    X, Y = torch.randint(V, (512, K), generator=draw), torch.randint(V, (512,), generator=draw)
    a = params["C"][X].flatten(1) @ params["W1"] + params["b1"]
    assert torch.pdist(F.gelu(a).T.contiguous()).min() > 0.1
    assert F.gelu(a).std(0).min() > 1e-3
    if K * D > 20:
        assert 0.5 < a.std(0).min() <= a.std(0).max() < 2
    gradients = mlp_backward(params, X, Y)
    assert (gradients["W1"].abs().sum(0) > 0).all()
    assert (gradients["W2"].abs().sum(1) > 0).all()


def test_the_same_state_gives_the_same_parameters_and_another_state_others():
    one, same, draw = (initial_params(9, 3, 4, 2, generator(0)) for _ in range(3))
    assert_close(one, same, rtol=0, atol=0)
    draw = generator(0)
    first, second = initial_params(9, 3, 4, 2, draw), initial_params(9, 3, 4, 2, draw)
    assert_close(first, one, rtol=0, atol=0)
    assert all((first[name] != second[name]).any() for name in ("C", "W1", "W2"))


def test_shapes_dtype_and_no_gradients():
    torch.manual_seed(5)
    params = initial_params(9, 3, 4, 2, generator(0))
    expected = torch.rand(3, generator=generator(5))
    assert_close(torch.rand(3), expected, rtol=0, atol=0)  # torch's global generator was not used
    assert {name: tuple(value.shape) for name, value in params.items()} == {
        "C": (9, 3), "W1": (6, 4), "b1": (4,), "W2": (4, 9), "b2": (9,)}
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in params.values())


@pytest.mark.parametrize("name", ["V", "D", "H", "K"])
def test_sizes_below_one_and_a_seed_for_a_generator_are_refused(name):
    sizes = {"V": 9, "D": 3, "H": 4, "K": 2}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        initial_params(**sizes | {name: 0}, generator=generator(0))
    with pytest.raises(ValueError, match=r"generator must be a torch\.Generator"):
        initial_params(**sizes, generator=0)


# train_step


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**30), st.floats(1e-4, 3))
def test_steps_are_those_of_torchs_sgd(seed, lr):
    draw = generator(seed)
    params = {name: value.double() for name, value in initial_params(7, 3, 5, 2, draw).items()}
    X, Y = torch.randint(7, (6, 2), generator=draw), torch.randint(7, (6,), generator=draw)

    def loss_fn(p):
        return F.cross_entropy(mlp_logits(p, X), Y)

    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    sgd = torch.optim.SGD(leaves.values(), lr=lr)
    for _ in range(3):
        sgd.zero_grad()
        expected = loss_fn(leaves)
        expected.backward()
        sgd.step()
        params, loss = train_step(loss_fn, params, lr)
        assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
        assert_close(params, {name: value.detach() for name, value in leaves.items()}, rtol=1e-12, atol=1e-12)


def test_a_step_by_hand():
    params = {"w": torch.tensor([3.0, -1.0]), "c": torch.tensor(2.0)}
    stepped, loss = train_step(lambda p: p["c"] * (p["w"] ** 2).sum(), params, lr=0.125)
    assert loss.item() == 20  # before the step
    assert stepped["w"].tolist() == [3 - 0.125 * 12, -1 + 0.125 * 4]
    assert stepped["c"].item() == 2 - 0.125 * 10


def test_the_callers_parameters_stay_as_they_were_whoever_asked_for_gradients():
    params = {"w": torch.nn.Parameter(torch.ones(3)), "v": torch.ones(2, 3).T}
    with torch.no_grad():  # a caller's own business
        stepped, loss = train_step(lambda p: (p["w"].sum() * p["v"]).sum(), params, lr=0.5)
    for value, after in zip(params.values(), stepped.values()):
        assert value.grad is None
        assert (value == 1).all()
        assert not after.requires_grad
        assert after.data_ptr() != value.data_ptr()
    assert (loss.requires_grad, loss.ndim) == (False, 0)
    assert stepped["v"].shape == (3, 2)
    assert params["w"].requires_grad
    assert not params["v"].requires_grad


def test_a_rate_of_zero_and_an_unused_parameter_change_nothing_but_give_new_tensors():
    params = {"w": torch.tensor([3.0, -1.0]), "idle": torch.tensor([7.0])}
    for lr, used in ((0, ["w", "idle"]), (0.5, ["idle"])):
        stepped, _ = train_step(lambda p: (p["w"] ** 2).sum(), params, lr)
        for name in used:
            assert_close(stepped[name], params[name], rtol=0, atol=0)
            stepped[name] += 1
    assert (params["w"].tolist(), params["idle"].tolist()) == ([3, -1], [7])


def test_a_diverging_run_shows_inf_and_nan_and_does_not_stop():
    params = {"w": torch.tensor(10.0)}
    for _ in range(200):
        params, loss = train_step(lambda p: p["w"] ** 2, params, lr=100.0)
    assert not math.isfinite(loss)


@pytest.mark.parametrize(("change", "said"), [
    ({"lr": -0.1}, "lr must be a number of at least 0"), ({"lr": math.nan}, "lr must"), ({"params": {}}, "params must"),
    ({"params": [torch.ones(2)]}, "params must"), ({"params": {"w": torch.ones(2).long()}}, "params.*floating dtype"),
    ({"params": {"w": 1.0}}, "params.*tensor"), ({"loss_fn": lambda p: p["w"]}, "loss_fn must return"),
    ({"loss_fn": lambda p: p["w"].sum().item()}, "loss_fn must return"),
    ({"loss_fn": lambda p: torch.tensor(1.0)}, "loss_fn must return a loss that depends"),
])
def test_what_gives_no_step_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        train_step(**{"loss_fn": lambda p: p["w"].sum(), "params": {"w": torch.ones(2)}, "lr": 0.1} | change)


@needs_gpu
def test_a_generator_on_a_gpu_gives_parameters_there():
    draw = torch.Generator("cuda").manual_seed(0)
    params = initial_params(50, 8, 16, 2, draw)
    assert all(value.is_cuda for value in params.values())
    X, Y = (torch.randint(50, shape, device="cuda") for shape in ((64, 2), (64,)))
    stepped, loss = train_step(lambda p: F.cross_entropy(mlp_logits(p, X), Y), params, lr=0.1)
    assert loss.is_cuda
    by_hand = {name: params[name] - 0.1 * gradient for name, gradient in mlp_backward(params, X, Y).items()}
    assert_close(stepped, by_hand, rtol=1e-4, atol=1e-6)  # matrix products in another order
