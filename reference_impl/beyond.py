"""Beyond the objective: whole answers and their rewards, probes, filling in masks, and attention without foresight.

Everything before this chapter scores one token at a time. Here an answer counts as a whole (:func:`exact_match`,
:func:`pass_at_k`), a reward teaches (:func:`leave_one_out`, :func:`reinforce_loss`), states are read
(:func:`fit_probe`), tokens are drawn in any order (:func:`unmask_step`), and losses are kept from the states of other
positions (:func:`myopic_attention`).
"""

from __future__ import annotations

from math import comb

import torch

from reference_impl import arguments
from reference_impl.chain_rule import wide
from reference_impl.transformer import check_mask


def pass_at_k(n: int, c: int | torch.Tensor, k: int) -> float | torch.Tensor:
    """The chance that at least one of k samples is right, estimated from n samples of which c are right.

    It is 1 - C(n - c, k) / C(n, k), the share of the ways to pick k of the n samples that pick a right one. Its mean
    over draws of the n samples is 1 - (1 - p)**k, where p is the chance that one sample is right; 1 - (1 - c/n)**k is
    too low on average. ``c`` is a whole number, which gives a float, or an integer tensor of any shape with an entry
    for each problem, which gives a tensor of that shape in torch's default dtype. Binomials are whole numbers here and
    divided once, so the float is right to its last digit for any n. Raises ValueError unless 0 <= c <= n and
    1 <= k <= n. Follows Chen et al. (2021), section 2.1.

    >>> pass_at_k(n=5, c=2, k=3)  # 1 - 1/10: of the ten ways to pick three, one misses both
    0.9
    >>> pass_at_k(n=5, c=torch.tensor([0, 2, 5]), k=3)
    tensor([0.0000, 0.9000, 1.0000])
    """
    arguments.whole("n", n, 1)
    arguments.whole("k", k, 1, n)
    if not isinstance(c, torch.Tensor):
        arguments.whole("c", c, 0, n)
        return _share_with_a_right_one(n, c, k)
    arguments.tensor("c", c, "...", "integer")
    arguments.ids("c", c, n + 1)
    different, place = c.unique(return_inverse=True)
    shares = [_share_with_a_right_one(n, one, k) for one in different.tolist()]
    return torch.tensor(shares, dtype=torch.get_default_dtype(), device=c.device)[place]


def exact_match(p_token: torch.Tensor, L: int) -> torch.Tensor:
    """The chance that an answer of L tokens is right in every token, ``p_token ** L``: ``(N,), L -> (N,)``.

    ``p_token`` is the chance that a token is right given that all before it were, taken to be the same at each of the L
    places; the chain rule multiplies them. What climbs evenly per token climbs late and fast per answer: the step lies
    in the measure, not in the model. The empty answer, L = 0, is right for certain. Raises ValueError for a probability
    outside [0, 1] and for a negative L. Follows Schaeffer, Miranda and Koyejo (2023), section 2.

    >>> exact_match(torch.tensor([0.5, 0.9, 0.99]), L=10)
    tensor([0.0010, 0.3487, 0.9044])
    """
    arguments.tensor("p_token", p_token, "N")
    arguments.whole("L", L, 0)
    if not bool(((p_token >= 0) & (p_token <= 1)).all()):  # NaN is in no range
        raise ValueError("p_token must hold probabilities from 0 to 1")
    return wide(p_token).pow(L).to(p_token.dtype)


def leave_one_out(rewards: torch.Tensor) -> torch.Tensor:
    """Each reward minus the mean of the others in its row: ``(G, K) -> (G, K)``.

    A row holds the rewards of K samples for one prompt. The others are drawn without regard to this sample, so their
    mean is a baseline that leaves the expected gradient as it is and lowers its variance. A row of equal rewards gives
    exact zeros, and every row sums to 0. Integer rewards give torch's default dtype, floating ones keep theirs. Raises
    ValueError for K = 1, where there are no others, and for a reward that is not finite. Follows Kool, van Hoof and
    Welling (2019).

    >>> leave_one_out(torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]))
    tensor([[ 1.0000, -0.3333, -0.3333, -0.3333],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    K = arguments.tensor("rewards", rewards, "G K", "number")["K"]
    if K == 1:
        raise ValueError("rewards must have the shape (G, K) with K of at least 2; with K = 1 there are no others")
    _finite("rewards", rewards)
    dtype = rewards.dtype if rewards.is_floating_point() else torch.get_default_dtype()
    above = rewards.to(dtype)
    # From the row's first reward up: equal rewards then leave no rounding, and a large common part costs no digits.
    above = wide(above) - above[:, :1]
    return (above - (above.sum(1, keepdim=True) - above) / (K - 1)).to(dtype)


def reinforce_loss(logp: torch.Tensor, mask: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
    """The loss whose gradient is the policy gradient: ``(B, T), (B, T), (B,) -> ()``, in nats.

    ``-(advantage * logp)`` summed over the tokens of a sequence where ``mask`` (bool) is True, and averaged over all B
    sequences, one without such tokens included. No gradient flows through the advantage. With advantages of one this is
    the NLL, summed over tokens and averaged over sequences: learning from rewards is reward-weighted likelihood of own
    samples. What ``logp`` holds where the mask is False, or in a row of advantage 0, has no effect, NaN and -inf
    included; a -inf that counts makes the loss infinite. Keeps the dtype of ``logp``; half precision is summed in
    float32. Raises ValueError for a NaN that counts and for an advantage that is not finite. Follows Williams (1992).

    >>> logp = torch.tensor([[0.5, 0.25], [0.5, 0.0]]).log()
    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> reinforce_loss(logp, mask, torch.tensor([1.0, -1.0]))  # (ln 2 + ln 4 - ln 2) / 2
    tensor(0.6931)
    """
    sizes = arguments.tensor("logp", logp, "B T")
    arguments.tensor("mask", mask, "B T", "bool", sizes)
    arguments.tensor("advantage", advantage, "B", "number", sizes)
    logs = wide(logp)
    weight = mask * advantage.detach().to(logs.dtype)[:, None]
    loss = -(weight * logs.masked_fill(weight == 0, 0)).sum(1).mean()
    if not loss.isfinite():
        _finite("advantage", advantage)
        if loss.isnan():
            _finite("logp, where it counts,", logp.masked_fill(weight == 0, 0))
    return loss.to(logp.dtype)


def fit_probe(H: torch.Tensor, y: torch.Tensor, C: int, ridge: float) -> torch.Tensor:
    """A linear probe by least squares on one-hot targets: ``(N, D), (N,) -> (D + 1, C)``, the bias in the last row.

    Scores are ``H @ W[:-1] + W[-1]``. W minimises the squared errors, summed over examples and classes, plus ``ridge``
    times the sum of the squared weights; the bias is not penalised. Where several W do, as with ``ridge`` = 0 and
    fewer examples than dims or columns that depend on one another, the one with the smallest weights (sum of squares,
    the bias left out) is given: the limit of a ridge that shrinks to 0. A constant column gets weight 0, and a class
    that does not occur gets score 0. Solved in float64 by the pseudo-inverse of the centred H, with the ridge as D more
    rows; singular values at or below max(N, D) times float64's epsilon times the norm of H count as 0. Keeps the dtype
    and device of H, to which gradients flow. Raises ValueError for labels outside 0 .. C - 1, a negative ridge, and
    values that are not finite. The probe of Alain and Bengio (2016), with the ridge of Hoerl and Kennard (1970).

    >>> fit_probe(torch.tensor([[-1.0], [0.0], [0.0], [1.0]]), torch.tensor([0, 0, 1, 1]), C=2, ridge=2.0)
    tensor([[-0.2500,  0.2500],
            [ 0.5000,  0.5000]])
    """
    sizes = arguments.tensor("H", H, "N D")
    arguments.tensor("y", y, "N", "integer", sizes)
    arguments.whole("C", C, 1)
    arguments.real("ridge", ridge, low=0)
    arguments.ids("y", y, C)
    _finite("H", H)
    X, Y = H.double(), torch.nn.functional.one_hot(y.long(), C).double()
    # A bias without a penalty takes up the means, so the weights are those of centred data. A ridge is D more examples.
    x_mean, y_mean = X.mean(0), Y.mean(0)
    more = ridge**0.5 * torch.eye(X.shape[1], dtype=X.dtype, device=X.device)
    # Against the norm of X as it came: where all columns are constant, what centring leaves is rounding alone.
    least = max(X.shape) * torch.finfo(X.dtype).eps * X.detach().norm()
    inverse = torch.linalg.pinv(torch.cat([X - x_mean, more]), atol=least, rtol=0)
    weights = inverse[:, : len(X)] @ (Y - y_mean)
    return torch.cat([weights, (y_mean - x_mean @ weights)[None]]).to(H.dtype)


def unmask_step(logits: torch.Tensor, ids: torch.Tensor, mask_id: int, n: int) -> torch.Tensor:
    """``ids`` with the n most confident masks of each row filled in: ``(B, T, V), (B, T) -> (B, T)``.

    A mask is a position that holds ``mask_id``; its confidence is the probability of its most probable id, and that id
    is what it is filled with. Ties go to the lowest position and to the lowest id. ``mask_id`` itself is never filled
    in: where it is one of the V ids, its logit counts as -inf, so that n steps of one mask each end any row of n masks.
    A row with fewer than n masks loses all of them; n = 0 changes nothing. Other positions keep their ids, whatever
    their logits. Confidences are compared as odds, which differ where probabilities would round to 1. Raises ValueError
    for NaN in the logits, for ids that are neither mask_id nor one of V, for a negative n, and where a mask has an
    infinite logit or no id of positive probability. Follows Chang et al. (2022), section 3.2, without the noise.

    >>> logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]])
    >>> ids = torch.tensor([[3, 3, 3]])
    >>> unmask_step(logits, ids, mask_id=3, n=1), unmask_step(logits, ids, mask_id=3, n=2)
    (tensor([[3, 3, 1]]), tensor([[0, 3, 1]]))
    """
    sizes = arguments.tensor("logits", logits, "B T V")
    arguments.tensor("ids", ids, "B T", "integer", sizes)
    arguments.whole("mask_id", mask_id, 0)
    arguments.whole("n", n, 0)
    arguments.ids("ids", ids, sizes["V"], besides=[mask_id])
    arguments.no_nan("logits", logits)
    masked = ids == mask_id
    scores = wide(logits.detach())
    if mask_id < sizes["V"]:
        scores = scores.index_fill(2, torch.tensor([mask_id], device=logits.device), -torch.inf)
    top, best = scores.max(2)  # the first of equal ones
    if not bool(top.isfinite().logical_or(~masked).all()):
        raise ValueError("logits must be below inf, and above -inf for at least one id besides mask_id at every mask")
    others = scores.scatter(2, best[..., None], -torch.inf).sub(top[..., None]).exp().sum(2)  # 1 / confidence - 1
    first = others.masked_fill(~masked, torch.inf).argsort(dim=1, stable=True)[:, :n]
    filled = torch.zeros_like(masked).scatter(1, first, True) & masked
    return torch.where(filled, best.to(ids.dtype), ids)


def myopic_attention(
    x: torch.Tensor, Wq: torch.Tensor, Wk: torch.Tensor, Wv: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Attention that sends no gradient into the states of other positions: ``(..., T, D) -> (..., T, Dv)``.

    Queries, keys and values are ``x @ Wq``, ``x @ Wk`` (both (D, d)) and ``x @ Wv`` (D, Dv); the output is that of
    ordinary attention, softmax(q k' / sqrt(d)) v under ``mask`` (bool, (T, T) or broadcastable to (..., T, T), True
    attends, a row of False gives zeros). Only gradients differ: position t computes the keys and values of every
    position s != t from x[s] held constant. So a loss at t trains the state at t, with the past as given, and never
    shapes another state for its own sake. Wq, Wk and Wv learn from all pairs: for a given x, their gradients are those
    of ordinary attention. Keeps dtype and device; half precision takes scores and softmax in float32. Raises ValueError
    for shapes and dtypes that do not fit, and for x or weights whose NaN or inf reaches the output as NaN. Follows Wu,
    Morris and Levine (2024), who hold the hidden states of the past constant and not the weights that read them.

    >>> x = torch.tensor([[1.0], [2.0]], requires_grad=True)
    >>> one, mask = torch.ones(1, 1), torch.tensor([[True, False], [True, True]])
    >>> out = myopic_attention(x, 0 * one, one, one, mask)
    >>> out.tolist(), torch.autograd.grad(out[1, 0], x)[0].tolist()  # ordinary attention sends 0.5 to both
    ([[1.0], [1.5]], [[0.0], [0.5]])
    """
    sizes = arguments.tensor("x", x, "... T D")
    sizes = arguments.tensor("Wq", Wq, "D d", known=sizes)
    arguments.tensor("Wk", Wk, "D d", known=sizes)
    arguments.tensor("Wv", Wv, "D Dv", known=sizes)
    for name, value in {"Wq": Wq, "Wk": Wk, "Wv": Wv}.items():
        if value.dtype != x.dtype:
            raise ValueError(f"{name} must have the dtype of x, {x.dtype}, not {value.dtype}")
    check_mask(mask, (*x.shape[:-1], sizes["T"]))
    given = x.detach()
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    own = torch.eye(sizes["T"], dtype=torch.bool, device=x.device)
    from_others = wide(q) @ wide(given @ Wk).mT
    from_itself = (wide(q) * wide(k)).sum(-1, keepdim=True)
    scores = torch.where(own, from_itself, from_others) * sizes["d"] ** -0.5
    nothing = ~mask.any(-1, keepdim=True)  # such a row keeps its scores, so that no NaN comes up, and is zeroed then
    weights = scores.masked_fill(~(mask | nothing), -torch.inf).softmax(-1).masked_fill(nothing, 0)
    out = weights.masked_fill(own, 0) @ wide(given @ Wv)
    out = out + weights.diagonal(dim1=-2, dim2=-1).unsqueeze(-1) * wide(v)
    if bool(out.isnan().any()):
        for name, value in {"x": x, "Wq": Wq, "Wk": Wk, "Wv": Wv}.items():
            _finite(name, value)
    return out.to(x.dtype)


def _share_with_a_right_one(n: int, c: int, k: int) -> float:
    ways = comb(n, k)
    return (ways - comb(n - c, k)) / ways


def _finite(name: str, value: torch.Tensor) -> None:
    arguments.no_nan(name, value)
    if value.isinf().any():
        raise ValueError(f"{name} must be finite; found an infinity")
