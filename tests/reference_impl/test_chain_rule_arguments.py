"""What the chain_rule reference refuses, in which words, and where its results live."""

from __future__ import annotations

import math

import pytest
import torch
from needs_gpu import needs_gpu
from random_logits import random_logits
from torch.testing import assert_close

from reference_impl.chain_rule import (
    best_constant_prediction,
    ce_grad,
    entropy,
    kl,
    log_softmax,
    sequence_logprob,
    total_probability,
)

X, IDS = torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.int64)
NAN = torch.tensor([[0.0, math.nan]])


@pytest.mark.parametrize(("function", "args", "says"), [
    (best_constant_prediction, (torch.tensor([], dtype=torch.int64), 3), "targets is empty"),
    (best_constant_prediction, (torch.tensor([0, 3]), 3), r"targets must hold ids from 0 to 2; found 3 at \(1,\)"),
    (best_constant_prediction, (torch.tensor([-1]), 3), "targets must hold ids from 0 to 2; found -1"),
    (best_constant_prediction, (torch.tensor([0.0]), 3), "targets must have an integer dtype"),
    (best_constant_prediction, (torch.tensor([[0]]), 3), r"targets must have the shape \(N,\)"),
    (best_constant_prediction, ([0, 1], 3), "targets must be a tensor"),
    (best_constant_prediction, (torch.tensor([0]), 0), "V must be a whole number of at least 1"),
    (log_softmax, (IDS,), "logits must have a floating dtype"),
    (log_softmax, (X, 3), "dim must be a whole number from -3 to 2"),
    (log_softmax, (torch.tensor(1.0),), "logits must have the shape"),
    (log_softmax, (torch.zeros(0, 3),), "logits is empty"),
    (log_softmax, (NAN, 0), r"logits must not hold NaN; found one at \(0, 1\)"),
    (entropy, (NAN,), "logits must not hold NaN"),
    (entropy, (torch.zeros(2, 0),), "logits is empty"),
    (kl, (NAN, torch.zeros(1, 2)), "p_logits must not hold NaN"),
    (kl, (torch.zeros(1, 2), NAN), "q_logits must not hold NaN"),
    (kl, (X, X[0]), r"q_logits must have the shape of p_logits, \(2, 3, 5\), not \(3, 5\)"),
    (ce_grad, (X[0], IDS[0, :2]), r"targets must have the shape \(B,\) with B = 3"),
    (ce_grad, (X[0], IDS[0] + 5), "targets must hold ids from 0 to 4; found 5"),
    (ce_grad, (X[0, :0], IDS[0, :0]), "logits is empty"),
    (ce_grad, (NAN, torch.tensor([0])), "logits must not hold NaN"),
    (sequence_logprob, (X, IDS[:, :2], torch.tensor([1, 1])), r"ids must have the shape \(B, T\) with B = 2, T = 3"),
    (sequence_logprob, (X, IDS, torch.tensor([1, 4])), "lengths must lie from 0 to T = 3; found 4"),
    (sequence_logprob, (X, IDS, torch.tensor([1, -1])), "lengths must lie from 0 to T = 3; found -1"),
    (sequence_logprob, (X, IDS, torch.tensor([1])), r"lengths must have the shape \(B,\)"),
    (sequence_logprob, (X, IDS, torch.tensor([1.0, 1.0])), "lengths must have an integer dtype"),
    (sequence_logprob, (X, IDS - 1, torch.tensor([0, 1])), r"ids must hold ids from 0 to 4; found -1 at \(1, 0\)"),
    (sequence_logprob, (X * math.nan, IDS, torch.tensor([0, 2])), r"logits must not hold NaN; .* at \(1, 0, 0\)"),
    (sequence_logprob, (X[:0], IDS[:0], IDS[0, :0]), "logits is empty"),
    (total_probability, (torch.ones(2), torch.eye(2), 0, 1), "p0 must hold probabilities that .* sum to 1"),
    (total_probability, (torch.tensor([1.5, -0.5]), torch.eye(2), 0, 1), "p0 must hold probabilities"),
    (total_probability, (torch.tensor([math.nan, 1]), torch.eye(2), 0, 1), "p0 must hold probabilities"),
    (total_probability, (torch.tensor([0.5, 0.5]), 2 * torch.eye(2), 0, 1), "P must hold .*; row 1 is none"),
    (total_probability, (torch.tensor([0.5, 0.5]), torch.zeros(2, 3), 0, 1), r"P must have the shape \(V, V\)"),
    (total_probability, (torch.tensor([0.5, 0.5]), torch.eye(2), 2, 1), "eos must be a whole number from 0 to 1"),
    (total_probability, (torch.tensor([0.5, 0.5]), torch.eye(2), 0, -1), "L must be a whole number of at least 0"),
])
def test_a_bad_argument_is_named(function, args, says):
    with pytest.raises(ValueError, match=says):
        function(*args)


@needs_gpu
def test_results_stay_on_the_device_of_their_inputs():
    logits, ids, lengths = random_logits(11, 2, 3, 5), torch.arange(6).view(2, 3) % 5, torch.tensor([3, 1])
    p = torch.softmax(logits[0, 0], -1)
    cases = ((log_softmax, logits, -1), (entropy, logits), (kl, logits, -logits), (ce_grad, logits[0], ids[0]),
             (best_constant_prediction, ids[0], 5), (sequence_logprob, logits, ids, lengths),
             (total_probability, p, p.expand(5, 5), 2, 4))
    for function, *args in cases:
        found = function(*[arg.cuda() if isinstance(arg, torch.Tensor) else arg for arg in args])
        for one, expected in zip(*[x if isinstance(x, tuple) else (x,) for x in (found, function(*args))]):
            assert one.device.type == "cuda"
            assert_close(one.cpu(), expected)
