"""Distributions over the next token, made from logits, and the chain rule that joins them into texts.

Logits are any finite numbers, or -inf for a token of probability zero; only their differences matter. A row of logits
is a slice along the last dim. A row that is -inf throughout, or that holds +inf, describes no distribution: what is
computed from it is NaN. Logs are natural, so entropies, divergences and losses are in nats. float16 and bfloat16 are
widened to float32 for the computation.
"""

from __future__ import annotations

import math

import torch

from reference_impl import arguments


def best_constant_prediction(targets: torch.Tensor, V: int) -> torch.Tensor:
    """The one distribution with the lowest mean cross-entropy on all ``targets``: ``(N,) -> (V,)``.

    It is the share that each id has among the targets; an id that never occurs gets 0. Its mean cross-entropy, in nats,
    is the entropy of the shares. ``targets`` has an integer dtype; the result has torch's default dtype, on the device
    of ``targets``. Raises ValueError when there is no target, and for an id outside 0 .. V - 1. Follows Cover and
    Thomas (2006), theorem 2.6.3: no distribution costs less on data than that of the data.

    >>> best_constant_prediction(torch.tensor([2, 0, 2, 3]), V=5)
    tensor([0.2500, 0.0000, 0.5000, 0.2500, 0.0000])
    """
    arguments.whole("V", V, low=1)
    N = arguments.tensor("targets", targets, "N", "integer")["N"]
    targets = targets.long()
    arguments.ids("targets", targets, V)
    return torch.bincount(targets, minlength=V) / N


def log_softmax(logits: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """The logarithms of the probabilities along ``dim``, in nats: ``(...) -> (...)``.

    ``log p_i = x_i - log sum over j of exp x_j``. The largest logit is taken off first, so that nothing overflows,
    however large the logits are. A logit of -inf gives -inf, and takes no part in the gradient of the others. A slice
    that is -inf throughout, or holds +inf, gives NaN, as ``torch.log_softmax``. The dtype is that of ``logits``;
    float16 and bfloat16 are computed in float32. Raises ValueError for NaN, for an empty tensor, for a dtype that is
    not floating and for a ``dim`` that is not there. Follows Goodfellow, Bengio and Courville (2016), section 4.1.

    >>> log_softmax(torch.tensor([[3.0, 1.5, -1, -2, -3], [0, 0, -torch.inf, -torch.inf, -torch.inf]]), dim=-1).exp()
    tensor([[0.7996, 0.1784, 0.0146, 0.0054, 0.0020],
            [0.5000, 0.5000, 0.0000, 0.0000, 0.0000]])
    """
    arguments.tensor("logits", logits, "... V")
    arguments.whole("dim", dim, -logits.ndim, logits.ndim - 1)
    return _log_softmax("logits", logits, dim).to(logits.dtype)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of each row's distribution, in nats: ``(..., V) -> (...)``.

    ``H = - sum over i of p_i log p_i``, with 0 log 0 = 0: from 0, where one token is certain, to ln V, where all V are
    equally likely. A logit of -inf is probability 0 and has no gradient. The dtype is that of ``logits``; float16 and
    bfloat16 are computed in float32. Raises ValueError for NaN, an empty tensor and a dtype that is not floating.
    Follows Shannon (1948), section 6.

    >>> entropy(torch.tensor([[0.0, 0, 0, 0], [0, 0, -torch.inf, -torch.inf]]))  # ln 4 and ln 2
    tensor([1.3863, 0.6931])
    """
    arguments.tensor("logits", logits, "... V")
    logp = _log_softmax("logits", logits)
    # A finite number stands in for -inf: 0 times -inf would be NaN, in the value and in the gradient.
    H = 0 - (logp.exp() * logp.masked_fill(logp == -math.inf, 0)).sum(-1)
    return H.to(logits.dtype)


def kl(p_logits: torch.Tensor, q_logits: torch.Tensor) -> torch.Tensor:
    """The Kullback-Leibler divergence of each row's q from its p, in nats: ``(..., V), (..., V) -> (...)``.

    ``KL(p || q) = sum over i of p_i (log p_i - log q_i)``: what a text of p costs more when it is predicted with q. It
    is never negative, 0 for equal rows, and not symmetric. A token that p excludes (its logit is -inf) adds nothing;
    one that q excludes and p does not makes it inf, however small p is there. The divergence of finite logits is
    finite, as far as the dtype reaches. Two dtypes are promoted as torch does; float16 and bfloat16 are computed in
    float32. Raises ValueError for NaN, for empty tensors, where the shapes differ, and for dtypes that are not
    floating. Follows Kullback and Leibler (1951).

    >>> p, q = torch.tensor([0.5, 0.5, 0]).log(), torch.tensor([0.25, 0.5, 0.25]).log()
    >>> kl(p, q), kl(q, p)  # ln 2 / 2; q allows what p excludes
    (tensor(0.3466), tensor(inf))
    """
    arguments.tensor("p_logits", p_logits, "... V")
    arguments.tensor("q_logits", q_logits, "... V")
    if p_logits.shape != q_logits.shape:
        shapes = f"{tuple(p_logits.shape)}, not {tuple(q_logits.shape)}"
        raise ValueError(f"q_logits must have the shape of p_logits, {shapes}")
    logp, logq = _log_softmax("p_logits", p_logits), _log_softmax("q_logits", q_logits)
    p, q, excluded = logp.exp(), logq.exp(), logp == -math.inf
    gap = logp - logq
    # The sum of p gap + q - p is the same, since p and q sum to 1. But none of its terms is negative, and what rounding
    # did to the two normalisers cancels, so a small divergence keeps its digits. The branches are computed everywhere:
    # each is fed a harmless 0 where the other one is taken, or a gradient there would be NaN.
    missed, near = gap == math.inf, gap >= -1
    small = gap.masked_fill(~near | missed, 0)
    near_term = p * (small + torch.expm1(-small))
    far_term = p * gap.masked_fill(near | excluded, 0) + (q - p)
    terms = torch.where(near, near_term, far_term).masked_fill(missed, math.inf)
    return terms.sum(-1).to(torch.promote_types(p_logits.dtype, q_logits.dtype))


def ce_grad(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean cross-entropy with respect to the logits: ``(B, V), (B,) -> (B, V)``.

    ``(softmax(logits) - onehot(targets)) / B``, in nats per unit of logit. Every row sums to 0: what the target gains,
    the others lose, each in proportion to its probability. Where the same logits meet several targets the gradients
    cancel when the probabilities are the targets' shares, which is why a model hedges. The dtype is that of ``logits``;
    float16 and bfloat16 are computed in float32. Raises ValueError for NaN, for an id outside 0 .. V - 1, for shapes
    that do not fit and for an empty batch. Follows Goodfellow, Bengio and Courville (2016), section 6.2.2.3.

    >>> ce_grad(torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 0]]), torch.tensor([1, 3]))
    tensor([[ 0.1250, -0.3750,  0.1250,  0.1250],
            [ 0.1250,  0.1250,  0.1250, -0.3750]])
    """
    sizes = arguments.tensor("logits", logits, "B V")
    arguments.tensor("targets", targets, "B", "integer", sizes)
    targets = targets.long()
    arguments.ids("targets", targets, sizes["V"])
    p = _log_softmax("logits", logits).exp()
    at = targets.unsqueeze(1)
    return (p.scatter_add(1, at, -torch.ones_like(at, dtype=p.dtype)) / sizes["B"]).to(logits.dtype)


def sequence_logprob(logits: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The log-probability of each sequence, in nats: ``(B, T, V), (B, T), (B,) -> (B,)``.

    The chain rule: ``log p(x) = sum over t of log p(x_t | x_1 .. x_(t-1))``, where ``logits[:, t]`` scores
    ``ids[:, t]``. Of row b the first ``lengths[b]`` positions count, from none (the sum is 0) to T. What stands behind
    them, be it an id outside the vocabulary or a logit of NaN, has no effect and no gradient. A token of probability
    zero makes the sum -inf. The dtype is that of ``logits``, but float32 for float16 and bfloat16. Raises ValueError
    for a NaN or an id outside 0 .. V - 1 that would count, for a length outside 0 .. T, for shapes that do not fit and
    for an empty batch. Follows Bengio et al. (2003), section 1.

    >>> logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(2, 3, 3)
    >>> sequence_logprob(logits, torch.tensor([[0, 1, 2], [0, 0, -100]]), torch.tensor([3, 2])).exp()
    tensor([0.0312, 0.2500])
    """
    sizes = arguments.tensor("logits", logits, "B T V", empty="T")
    arguments.tensor("ids", ids, "B T", "integer", sizes, empty="T")
    arguments.tensor("lengths", lengths, "B", "integer", sizes)
    B, T, V = (sizes[letter] for letter in "BTV")
    wrong = (lengths < 0) | (lengths > T)
    if wrong.any():
        raise ValueError(f"lengths must lie from 0 to T = {T}; found {int(lengths[wrong][0])}")
    counts = torch.arange(T, device=logits.device) < lengths.unsqueeze(1)
    arguments.ids("ids", torch.where(counts, ids.long(), 0), V)
    # Only the rows that count are looked at, so that nothing in the others can reach the sum or the gradient.
    rows, chosen = logits[counts], ids[counts].long()
    top, log_sum = _top_and_log_sum(rows)
    if top.isnan().any():
        arguments.no_nan("logits", logits.masked_fill(~counts.unsqueeze(-1), 0))
    logp = (rows.gather(1, chosen.unsqueeze(1)) - top - log_sum).squeeze(1)
    return torch.zeros(B, T, dtype=logp.dtype, device=logp.device).masked_scatter(counts, logp).sum(1)


def total_probability(p0: torch.Tensor, P: torch.Tensor, eos: int, L: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The probabilities that a text has ended within L drawn tokens, and that it has not: ``(V,), (V, V) -> (), ()``.

    The first token is drawn from ``p0``, each later one from the row of ``P`` of the token before. The text ends when
    ``eos`` is drawn, which counts as one of the L; the row of ``eos`` is never read. The two sum to 1: an
    autoregressive model shares one unit of probability among all texts, those that never end included. L = 0 gives 0
    and 1. A token whose row is zero has no successor: a text that comes to it never ends. Two dtypes are promoted as
    torch does; the sum over many draws is formed in float64. Raises ValueError for shapes that do not fit, for L < 0,
    for ``eos`` outside 0 .. V - 1, and where ``p0`` or a row of ``P`` is no distribution: an entry is negative or NaN,
    or the sum differs from 1 by more than 0.01. Du et al. (2023) treat texts that never end.

    >>> p0, P = torch.tensor([0.0, 0.5, 0.5]), torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5]])
    >>> total_probability(p0, P, eos=0, L=2)  # one token and the end: .5 x .5 + .5 x .25
    (tensor(0.3750), tensor(0.6250))
    """
    sizes = arguments.tensor("p0", p0, "V")
    arguments.tensor("P", P, "V V", known=sizes)
    arguments.whole("eos", eos, 0, sizes["V"] - 1)
    arguments.whole("L", L, low=0)
    dtype = torch.promote_types(p0.dtype, P.dtype)
    others = torch.arange(sizes["V"], device=P.device) != eos
    first, P = p0.double(), P.double().masked_fill(~others.unsqueeze(1), 0)
    _no_distribution("p0", (first < 0) | first.isnan() | ((first.sum() - 1).abs() > 0.01))
    off = (P.sum(1, keepdim=True) - 1).abs() > 0.01
    dead_end = (P == 0).all(1)
    _no_distribution("P", (P < 0) | P.isnan() | (off & ~dead_end.unsqueeze(1)))
    P = P + torch.diag(dead_end.to(P))  # a text that cannot go on stays where it is
    alive, step = first.new_ones(1), first.unsqueeze(0)  # nothing is drawn yet: one state, the beginning
    finished = first.new_zeros(())
    for _ in range(L):
        drawn = alive @ step
        finished, alive, step = finished + drawn[eos], drawn * others, P
    return finished.to(dtype), alive.sum().to(dtype)


def wide(x: torch.Tensor) -> torch.Tensor:
    """The same numbers in float32, if they are in half precision: sums and differences of them need the digits.

    >>> wide(torch.tensor([0.5], dtype=torch.float16)).dtype, wide(torch.tensor([0.5], dtype=torch.float64)).dtype
    (torch.float32, torch.float64)
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _no_distribution(name: str, wrong: torch.Tensor) -> None:
    """ValueError where an entry is marked as wrong."""
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        where = f"row {at[0]} is none" if len(at) > 1 else "it is none"
        raise ValueError(f"{name} must hold probabilities that are not negative and sum to 1; {where}")


def _log_softmax(name: str, logits: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """:func:`log_softmax` before it goes back to half precision."""
    top, log_sum = _top_and_log_sum(logits, dim)
    if top.isnan().any():  # the maximum of a slice with a NaN is NaN, so one look at each slice is enough
        arguments.no_nan(name, logits)
    return wide(logits) - top - log_sum


def _top_and_log_sum(logits: torch.Tensor, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest logit, and the log of the sum of exp of all logits less it; both keep ``dim``, with size 1."""
    logits = wide(logits)
    top = logits.detach().amax(dim, keepdim=True)  # a constant to the gradient: it cancels, whatever it is
    return top, (logits - top).exp().sum(dim, keepdim=True).log()
