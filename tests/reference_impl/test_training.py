"""The training loop learns, repeats itself, leaves what it was given alone, and says what is wrong with its input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from torch.nn.functional import cross_entropy, embedding
from torch.testing import assert_close

from reference_impl import parcels
from reference_impl.training import IGNORE, batches, fit, learning_rate, pad

WORDS = parcels.PARCELS.vocabulary
LISTS = st.lists(st.lists(st.integers(2, 9), max_size=5), min_size=1, max_size=12)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def squares(params, x):
    return ((params["w"] - x) ** 2).sum()


def endless(value=1.0, shape=(1,)):
    while True:
        yield (torch.full(shape, value),)


def bigram_loss(params, inputs, targets):
    # An embedding and not params["table"][inputs], whose gradient adds up in another order from run to run.
    return cross_entropy(embedding(inputs, params["table"]).flatten(0, 1), targets.flatten(), ignore_index=IGNORE)


# pad and batches


@given(LISTS)
@settings(deadline=None, max_examples=50)
def test_padding_keeps_every_token_once_as_input_and_once_as_target(documents):
    inputs, targets = pad(documents, bos=0, eos=1)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.shape == targets.shape == (len(documents), max(map(len, documents)) + 1)
    for document, row, aims in zip(documents, inputs.tolist(), targets.tolist()):
        n = len(document) + 1
        assert row == [0, *document] + [1] * (len(row) - n)
        assert aims == [*document, 1] + [-100] * (len(row) - n)


def test_padding_has_no_part_in_the_loss():
    documents = [[5, 6, 7], [], [8]]
    table = {"table": torch.randn(10, 10, generator=seeded())}
    apart = [bigram_loss(table, *pad([document], 0, 1)) * (len(document) + 1) for document in documents]
    assert_close(bigram_loss(table, *pad(documents, 0, 1)), sum(apart) / 7)


@given(LISTS, st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_an_epoch_holds_each_document_once_and_the_generator_decides_the_order(documents, size, pool, seed):
    drawn = batches(documents, size, seeded(seed), 0, 1, pool)
    again = batches(documents, size, seeded(seed), 0, 1, pool)
    for _ in range(2):
        met = []
        while len(met) < len(documents):
            inputs, targets = next(drawn)
            assert 1 <= len(inputs) <= size
            assert all(torch.equal(a, b) for a, b in zip((inputs, targets), next(again)))
            met += [[i for i in row if i != IGNORE][:-1] for row in targets.tolist()]
        assert sorted(met) == sorted(documents)


def test_batches_are_of_like_length_and_epochs_differ():
    documents = parcels.sample(256, seed=1)
    sorted_by_length, loose = (batches(documents, 16, seeded(), 0, 1, pool) for pool in (16, 1))
    alike, first, second = ([next(b)[1] for _ in range(16)] for b in (sorted_by_length, loose, loose))
    padding = [sum(int((t == IGNORE).sum()) for t in each) for each in (alike, first)]
    assert padding[0] < padding[1] / 5
    assert [t.shape[1] for t in alike] != sorted(t.shape[1] for t in alike), "not from short to long"
    groups = [{frozenset(map(tuple, t.tolist())) for t in epoch} for epoch in (first, second)]
    assert not groups[0] & groups[1], "in the next epoch, others meet in a batch"


# fit


def test_it_learns_a_table_to_its_best_loss():
    documents = parcels.sample(20, seed=0)
    inputs, targets = pad(documents, WORDS.bos, WORDS.eos)
    scored = targets != IGNORE
    pairs = torch.stack([inputs[scored], targets[scored]])
    counts = torch.zeros(WORDS.V, WORDS.V).index_put_(tuple(pairs), torch.ones(()), accumulate=True)
    best = -(counts * (counts / counts.sum(1, keepdim=True)).log().nan_to_num(0, 0, 0)).sum() / counts.sum()
    drawn = batches(documents, 20, seeded(), WORDS.bos, WORDS.eos)
    trained, losses = fit({"table": torch.zeros(WORDS.V, WORDS.V)}, bigram_loss, drawn, 150, lr=0.5, weight_decay=0)
    assert losses[0] == pytest.approx(math.log(WORDS.V), abs=1e-4)
    assert best < losses[-1] < best + 0.02
    assert bigram_loss({"table": trained["table"].cpu()}, inputs, targets) < best + 0.02


def test_one_step_is_adamw_of_the_clipped_gradient_by_hand():
    start = {"w": torch.tensor([[3.0, -4.0]]), "b": torch.tensor([10.0])}

    def loss(params, x):
        return (params["w"] * x).sum() ** 2 / 2 + params["b"].sum()

    trained, losses = fit(start, loss, endless(1.0, (2,)), 1, lr=0.1, warmup=0, weight_decay=0.5, device="cpu")
    # Adam's first step is lr * sign(gradient); the gradient of w is (sum of w) * x = (-1, -1), that of b is 1.
    # The matrix decays by lr * .5 of itself before, the bias does not.
    assert_close(trained["w"], start["w"] * 0.95 + 0.1)
    assert_close(trained["b"], torch.tensor([9.9]))
    assert losses.tolist() == [10.5]


def test_many_steps_are_those_of_torchs_own_optimizer():
    start = {"w": torch.randn(3, 2, generator=seeded()), "b": torch.zeros(2)}
    data = [(torch.randn(4, 3, generator=seeded(step)),) for step in range(30)]

    def loss(params, x):
        return ((x @ params["w"] + params["b"] - 3) ** 2).mean()

    trained, losses = fit(start, loss, data, 30, lr=0.1, warmup=0.2, weight_decay=0.3, clip=0.5, device="cpu")
    w, b = (p.clone().requires_grad_() for p in start.values())
    optimizer = torch.optim.AdamW([{"params": [w], "weight_decay": 0.3}, {"params": [b], "weight_decay": 0.0}],
                                  lr=0.1, betas=(0.9, 0.99), foreach=False)
    rates = [0.1 * min((step + 1) / 7, 1) for step in range(6)]  # a fifth of the steps, then a cosine
    rates += [0.1 * (1 + math.cos(math.pi * step / 24)) / 2 for step in range(24)]
    for rate, (x,), seen in zip(rates, data, losses):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        value = loss({"w": w, "b": b}, x)
        value.backward()
        norm = torch.sqrt((w.grad**2).sum() + (b.grad**2).sum())
        for p in (w, b):
            p.grad *= min(1.0, 0.5 / float(norm))
        optimizer.step()
        assert_close(seen, value.detach(), atol=1e-5, rtol=1e-4)
    assert_close(trained, {"w": w.detach(), "b": b.detach()}, atol=1e-5, rtol=1e-4)


def test_gradients_are_scaled_down_to_the_norm_together():
    seen = {}

    class Spy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    def loss(params, x):
        seen.update(params)
        return 3 * Spy.apply(params["w"]).sum() + 4 * params["v"].sum()

    start = {"w": torch.zeros(1), "v": torch.zeros(1)}
    fit(start, loss, endless(), 1, clip=1.0, device="cpu")
    assert_close(torch.cat([seen["w"].grad, seen["v"].grad]), torch.tensor([0.6, 0.8]))
    fit(start, loss, endless(), 1, clip=10.0, device="cpu")
    assert_close(torch.cat([seen["w"].grad, seen["v"].grad]), torch.tensor([3.0, 4.0]))


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine():
    rates = [learning_rate(step, 100, 2.0, 10) for step in range(100)]
    assert max(rates) == rates[10] == 2.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] == pytest.approx(2 / 11)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(1.0), "half way down"
    assert 0 < rates[-1] < 0.001
    assert learning_rate(0, 1, 2.0, 0) == 2.0
    assert all(0 < learning_rate(s, 5, 1.0, 4) <= 1 for s in range(5)), "all warm-up"


def test_the_same_generator_gives_the_same_result_and_another_gives_another():
    documents = parcels.sample(40, seed=0)
    start = {"table": torch.randn(WORDS.V, WORDS.V, generator=seeded(3))}

    def trained(seed):
        return fit(start, bigram_loss, batches(documents, 8, seeded(seed), 0, 1), 12)

    (one, losses), (same, losses_again), (other, _) = trained(0), trained(0), trained(1)
    assert torch.equal(one["table"], same["table"])
    assert torch.equal(losses, losses_again)
    assert not torch.equal(one["table"], other["table"])


def test_what_the_caller_gave_is_left_alone_and_the_result_is_the_callers():
    start = {"w": torch.zeros(3, 2, dtype=torch.float64, requires_grad=True), "b": torch.zeros(2)}
    before = {name: p.detach().clone() for name, p in start.items()}

    def loss(params, x):
        return ((x @ params["w"].float() + params["b"] - 3) ** 2).mean()

    trained, losses = fit(start, loss, endless(1.0, (4, 3)), 5)
    assert all(torch.equal(start[name].detach(), p) for name, p in before.items())
    assert start["w"].grad is None
    assert list(trained) == ["w", "b"]
    assert trained["w"].dtype == torch.float64
    assert not any(p.requires_grad for p in trained.values())
    assert losses.shape == (5,)
    assert losses[-1] < losses[0]
    assert not losses.requires_grad


def test_a_rate_of_zero_changes_nothing():
    trained, losses = fit({"w": torch.tensor([2.0])}, squares, endless(), 3, lr=0.0, device="cpu")
    assert trained["w"].tolist() == [2.0]
    assert losses.tolist() == [1.0] * 3


@pytest.mark.parametrize(("name", "value"), [
    ("steps", 0), ("steps", 2.5), ("lr", -1.0), ("lr", math.nan), ("warmup", 1.5), ("warmup", -0.1), ("clip", 0.0),
    ("weight_decay", -0.1), ("params", {}), ("params", {"w": [1.0]}), ("params", torch.ones(1)),
    ("params", {"w": torch.ones(1, dtype=torch.int64)}), ("batches", []), ("batches", [(torch.ones(1),)] * 2),
    ("loss_fn", lambda params, x: params["w"].repeat(2)), ("loss_fn", lambda params, x: 1.0),
])
def test_fit_names_the_argument_that_is_wrong(name, value):
    right = {"params": {"w": torch.zeros(1)}, "loss_fn": squares, "batches": endless(), "steps": 3}
    with pytest.raises(ValueError, match=name):
        fit(**{**right, name: value})


@pytest.mark.parametrize("at", [0, 57, 140, 149])
def test_a_loss_that_is_not_finite_is_named_by_its_step(at):
    stream = ((torch.tensor([math.nan if step == at else 1.0]),) for step in range(150))
    with pytest.raises(ValueError, match=f"loss of step {at} is not finite"):
        fit({"w": torch.zeros(1)}, squares, stream, 150)


def test_bad_documents_are_named():
    for bad in ([], [["a"]], [[2.5]], [[None]], [5], 3):
        with pytest.raises(ValueError, match="documents"):
            pad(bad, 0, 1)
    with pytest.raises(ValueError, match="documents"):
        batches([], 2, seeded(), 0, 1)
    with pytest.raises(ValueError, match="size"):
        batches([[2]], 0, seeded(), 0, 1)
    with pytest.raises(ValueError, match="pool"):
        batches([[2]], 1, seeded(), 0, 1, pool=0)


@needs_gpu
def test_training_runs_where_the_device_rule_says():
    trained, losses = fit({"w": torch.zeros(2)}, squares, endless(1.0, (2,)), 20, lr=0.1)
    assert trained["w"].device.type == "cuda"
    assert losses.device.type == "cpu"
    assert losses[-1] < losses[0]
