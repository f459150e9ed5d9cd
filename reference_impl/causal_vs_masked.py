"""What may be seen: attention and its masks, leaks, masked language modelling, and GPT-2 as plain functions.

A mask is boolean and True means attend, everywhere. GPT-2's parameters are a dict with GPT-2's own names,
``wte.weight`` to ``ln_f.bias``, whose linear maps are stored as ``x @ W``. Log-probabilities are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from reference_impl import arguments
from reference_impl.chain_rule import wide
from reference_impl.transformer import (
    block_shapes,
    check_heads,
    check_mask,
    check_params,
    fused_attention,
    gpt_with,
    run_block,
)

LEAK = 1e-6  # a logit that moves by more than this has seen what was changed
PROBES = 16  # how many other ids a token is changed to in a large vocabulary
IGNORED = -100  # the label that cross-entropy skips


def causal_mask(T: int, S: int | None = None) -> torch.Tensor:
    """Which of S keys each of the last T positions may see: ``(T, S)`` of bool, True means attend.

    Query i stands at position i + S - T, so it sees key j where j <= i + S - T: the last query sees every key, and with
    T = 1 everything is seen. (torch's ``is_causal=True`` aligns the first query with the first key instead, which is
    the same only where S = T.) ``S`` is T unless given. The mask lives on torch's default device. Raises ValueError for
    T < 1 and for S < T.

    >>> causal_mask(2, 4).int()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    arguments.whole("T", T, low=1)
    S = T if S is None else S
    arguments.whole("S", S, low=T)
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v, scaled dot-product attention: ``(..., T, d), (..., S, d) twice -> (..., T, d)``.

    ``mask`` is boolean and broadcasts to ``(..., T, S)``; True means attend. The leading dims of q, k and v broadcast.
    A row that may attend to nothing gives zeros, and zero gradients. What stands in a masked key or value has no effect
    as long as it is finite. Half precision is computed in float32 and rounded once, at the end. Raises ValueError for
    shapes that do not fit, for dtypes that differ, for a mask that is not bool and for a NaN that reaches the result.
    Follows Vaswani et al. (2017), section 3.2.1.

    >>> q, k, v = torch.zeros(2, 1), torch.zeros(3, 1), torch.tensor([[3.0], [6.0], [9.0]])
    >>> attention(q, k, v, torch.tensor([[True, True, False], [False, False, False]]))
    tensor([[4.5000],
            [0.0000]])
    """
    sizes = arguments.tensor("q", q, "... T d")
    sizes = arguments.tensor("k", k, "... S d", known=sizes)
    arguments.tensor("v", v, "... S d", known=sizes)
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v must have one dtype, not {q.dtype}, {k.dtype} and {v.dtype}")
    try:
        leads = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except RuntimeError:
        shapes = f"{tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        raise ValueError(f"the leading dims of q, k and v must broadcast; their shapes are {shapes}") from None
    check_mask(mask, (*leads, sizes["T"], sizes["S"]))
    # q is scaled before the product: T d numbers to scale instead of T S, and further from overflow.
    scores = (wide(q) / math.sqrt(q.shape[-1])) @ wide(k).mT
    nothing = ~mask.any(-1, keepdim=True)
    # A row of -inf alone would be NaN on the way, forward and backward: it keeps its scores and is zeroed afterwards.
    weights = scores.masked_fill(~(mask | nothing), -math.inf).softmax(-1).masked_fill(nothing, 0)
    return _without_nan((weights @ wide(v)).to(q.dtype), q=q, k=k, v=v)


def find_leak(logits_fn: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor) -> tuple[int, int] | None:
    """The first position whose logits see the future, and the first token it sees: ``(T,) -> (t, s) or None``.

    ``logits_fn`` maps ids ``(T,)`` to logits ``(T, V)``. There is a leak (t, s), s > t, where changing token s alone
    moves a logit of position t by more than 1e-6. The result has the smallest t, then the smallest s.

    One replacement may be an unlucky one, which the model cannot tell from the token (the same embedding, say, or both
    below a threshold). So token s is changed to every other id where V <= 17, and else to up to 16: the 8 nearest,
    among which is every residue of a modulus up to 9, and 8 spread evenly from 0 to V - 1. A leak that only some other
    id sets off stays unseen. ``logits_fn`` is called at most 16 (T - 1) + 2 times, always with a tensor of its own.
    Raises ValueError where two calls with the same ids differ by more than 1e-6 (dropout, say), and for NaN logits.

    >>> sees_all = torch.tensor([[1.0, 0, 0], [1, 1, 1], [1, 1, 1]])  # row 1 sees token 2
    >>> find_leak(lambda ids: sees_all @ F.one_hot(ids, 5).float(), torch.tensor([3, 1, 4]))
    (1, 2)
    >>> find_leak(lambda ids: sees_all.tril() @ F.one_hot(ids, 5).float(), torch.tensor([3, 1, 4])) is None
    True
    """
    T = arguments.tensor("ids", ids, "T", "integer")["T"]

    def moved(probe: torch.Tensor) -> torch.Tensor:
        now = _logits("logits_fn", logits_fn, probe, known).detach().double()
        return ((now != before) & ~((now - before).abs() <= LEAK)).any(-1)  # two logits of -inf are equal

    known: dict[str, int] = {"T": T}
    before = _logits("logits_fn", logits_fn, ids, known).detach().double()
    known["V"] = V = before.shape[-1]
    arguments.ids("ids", ids, V)
    if moved(ids).any():
        raise ValueError("logits_fn must be a function of its ids: two calls with the same ids gave different logits")
    first: tuple[int, int] | None = None
    for s in range(1, T):
        for other in _others(int(ids[s]), V):
            probe = ids.clone()
            probe[s] = other
            seen = moved(probe)[:s].nonzero()
            if len(seen) and (first is None or int(seen[0]) < first[0]):
                first = int(seen[0]), s
        if first and first[0] == 0:
            break  # no later s can beat it
    return first


def mlm_corrupt(
    ids: torch.Tensor, special: torch.Tensor, mask_id: int, V: int, u: torch.Tensor, p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's corrupted inputs and what to predict from them: ``(B, T), (V,), (3, B, T) -> (B, T), (B, T)``.

    ``special[i]`` says whether id i is special: such a token is never picked. Any other is where u[0] < p. A picked
    token becomes ``mask_id`` where u[1] < .8, else the id floor(u[2] V), of all ids and computed in float64, where
    u[1] < .9, else it stays. Labels are the original id where picked, -100 elsewhere; both results have the dtype of
    ids. ``u`` holds uniforms of [0, 1). Raises ValueError for ids outside 0 .. V - 1, for uniforms outside [0, 1), for
    p outside [0, 1], and for ids of a dtype that cannot hold -100 and V - 1. Follows Devlin et al. (2019), section 3.1.

    >>> special, u = torch.tensor([True, True, False, False, False]), torch.tensor([[[0.1]], [[0.5]], [[0.9]]])
    >>> u = u.expand(3, 1, 5).clone()
    >>> u[1, 0, 3:] = torch.tensor([0.85, 0.95])
    >>> mlm_corrupt(torch.tensor([[0, 2, 3, 3, 2]]), special, mask_id=1, V=5, u=u, p=0.15)
    (tensor([[0, 1, 1, 4, 2]]), tensor([[-100,    2,    3,    3,    2]]))
    """
    arguments.whole("V", V, low=1)
    arguments.whole("mask_id", mask_id, low=0, high=V - 1)
    arguments.real("p", p, low=0, high=1)
    sizes = arguments.tensor("ids", ids, "B T", "integer")
    arguments.tensor("special", special, "V", "bool", {"V": V})
    arguments.tensor("u", u, "3 B T", "floating", sizes)
    if torch.iinfo(ids.dtype).min > IGNORED or torch.iinfo(ids.dtype).max < V - 1:
        raise ValueError(f"ids must have a dtype that can hold {IGNORED} and {V - 1}, not {ids.dtype}")
    arguments.ids("ids", ids, V)
    if not ((u >= 0) & (u < 1)).all():
        raise ValueError("u must hold uniforms of [0, 1)")
    picked = (u[0] < p) & ~special[ids.long()]
    drawn = (u[2].double() * V).floor().to(ids.dtype)
    changed = torch.where(u[1] < 0.8, torch.full_like(ids, mask_id), torch.where(u[1] < 0.9, drawn, ids))
    return torch.where(picked, changed, ids), ids.masked_fill(~picked, IGNORED)


def pad_causal(attend: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The causal mask and the positions of a padded batch: ``(B, T) -> (B, 1, T, T), (B, T)``, bool and int64.

    ``attend`` is boolean, True at a token and False at padding, which may stand anywhere; on the left, say. A token
    sees itself and the tokens before it, never padding; the rows of padding are all False. Positions count the tokens
    of a row from 0; padding has position 0. Raises ValueError unless ``attend`` is bool.

    >>> mask, positions = pad_causal(torch.tensor([[False, True, True]]))
    >>> mask.int()
    tensor([[[[0, 0, 0],
              [0, 1, 0],
              [0, 1, 1]]]], dtype=torch.int32)
    >>> positions
    tensor([[0, 0, 1]])
    """
    arguments.tensor("attend", attend, "B T", "bool")
    seen = (attend[:, None, None, :] & attend[:, None, :, None]).tril()
    return seen, (attend.long().cumsum(1) - 1) * attend


def gpt_block(x: torch.Tensor, params: Mapping[str, torch.Tensor], n_head: int, mask: torch.Tensor) -> torch.Tensor:
    """One transformer block of GPT-2: ``(B, T, D), (T, T) or (B, 1, T, T) -> (B, T, D)``.

    x + attention(layer norm(x)), then x + MLP(layer norm(x)): the norms come first, with epsilon 1e-5, and the MLP is
    4 D wide with the tanh GELU. ``params`` has GPT-2's names without a prefix: ``ln_1.weight``, ``ln_1.bias``,
    ``attn.c_attn.weight`` (D, 3D) whose columns are q, k and v, ``attn.c_attn.bias``, ``attn.c_proj.*``, ``ln_2.*``,
    ``mlp.c_fc.*`` and ``mlp.c_proj.*``. The mask is that of :func:`attention`, conventions included. No dropout. Raises
    ValueError for a parameter that is missing or has another shape or dtype, for a width that ``n_head`` does not
    divide, for a mask of another shape or dtype and for NaN. Follows Radford et al. (2019), section 2.3.

    >>> params = {name: torch.zeros(shape) for name, shape in block_shapes(4).items()}
    >>> params["attn.c_proj.bias"] += 1.0
    >>> gpt_block(torch.tensor([[[1.0, 2, 3, 4]]]), params, n_head=2, mask=causal_mask(1))
    tensor([[[2., 3., 4., 5.]]])
    """
    sizes = arguments.tensor("x", x, "B T D")
    B, T = sizes["B"], sizes["T"]
    check_params(params, "", block_shapes(sizes["D"]), x.dtype)
    check_heads(n_head, sizes["D"])
    check_mask(mask, (T, T) if isinstance(mask, torch.Tensor) and mask.ndim == 2 else (B, 1, T, T), exactly=True)
    return _without_nan(run_block(x, params, "", n_head, lambda q, k, v: fused_attention(q, k, v, mask)), x=x)


def pseudo_logprob(
    mlm_fn: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, mask_id: int, special: torch.Tensor
) -> torch.Tensor:
    """The sum of log p(token | all other tokens), each token masked in turn, in nats: ``(T,), (V,) -> ()``.

    ``mlm_fn`` maps ids ``(T,)`` to logits ``(T, V)`` and is called once for each token that is scored. Tokens whose id
    is special, ``special[id]``, are neither masked nor scored; where nothing is scored the result is 0. It is no
    log-probability of the text: over all texts its exp need not sum to 1 (two bits that are always equal sum to 2). The
    result has the dtype of the logits, float32 where they are of half precision, and gradients flow. Raises ValueError
    for ids outside 0 .. V - 1 and for NaN logits. Follows Salazar et al. (2020).

    >>> def equal_bits(ids):  # id 2 is the mask; what the one token is, the other is too
    ...     other = ids.flip(0)
    ...     return torch.stack([(other == i).float().log() for i in range(3)], dim=-1)
    >>> special = torch.tensor([False, False, True])
    >>> [pseudo_logprob(equal_bits, torch.tensor(text), 2, special).exp().item() for text in ([0, 0], [0, 1], [1, 1])]
    [1.0, 0.0, 1.0]
    """
    T = arguments.tensor("ids", ids, "T", "integer")["T"]
    V = arguments.tensor("special", special, "V", "bool")["V"]
    arguments.whole("mask_id", mask_id, low=0, high=V - 1)
    arguments.ids("ids", ids, V)
    total = torch.zeros((), device=ids.device)
    for place, t in enumerate((~special[ids.long()]).nonzero().squeeze(1).tolist()):
        masked = ids.clone()
        masked[t] = mask_id
        row = _logits("mlm_fn", mlm_fn, masked, {"T": T, "V": V})[t]
        score = wide(row).log_softmax(-1)[int(ids[t])]
        total = total + score if place else score
    return total


def gpt_logits(params: Mapping[str, torch.Tensor], ids: torch.Tensor, n_head: int) -> torch.Tensor:
    """The logits of GPT-2 at every position: ``(B, T) -> (B, T, V)``.

    ``params`` has GPT-2's names: ``wte.weight`` (V, D), ``wpe.weight`` (context, D), those of :func:`gpt_block` after
    ``h.0.``, ``h.1.`` ..., ``ln_f.weight`` and ``ln_f.bias``. The head is tied: logits are ln_f(x) @ wte^T. Other names
    are not read. Every position sees itself and what came before it. No dropout; gradients flow to every parameter,
    and that of position t's logits is exactly zero for what was embedded at later positions. Raises ValueError for more
    ids than the context holds, for ids outside 0 .. V - 1, and as :func:`gpt_block`. Follows Radford et al. (2019),
    section 2.3.

    >>> params = {"wte.weight": torch.eye(3), "wpe.weight": torch.zeros(8, 3)}  # no block: a bigram model
    >>> params |= {"ln_f.weight": torch.ones(3), "ln_f.bias": torch.zeros(3)}
    >>> gpt_logits(params, torch.tensor([[2, 0]]), n_head=1)
    tensor([[[-0.7071, -0.7071,  1.4142],
             [ 1.4142, -0.7071, -0.7071]]])
    """
    causal = F.scaled_dot_product_attention
    return gpt_with(params, ids, 0, n_head, lambda layer, q, k, v: causal(q, k, v, is_causal=True))


def _logits(
    name: str, function: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, known: dict[str, int]
) -> torch.Tensor:
    """What a caller's model gives for a copy of ids ``(T,)``: logits ``(T, V)`` without NaN, else ValueError."""
    logits = function(ids.clone())
    arguments.tensor(f"the result of {name}", logits, "T V", known=known)
    arguments.no_nan(f"the result of {name}", logits)
    return logits


def _without_nan(result: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    """The result; where it holds NaN, ValueError for an input that does."""
    if result.isnan().any():
        for name, value in inputs.items():
            arguments.no_nan(name, value)
    return result


def _others(token: int, V: int) -> list[int]:
    """The ids that :func:`find_leak` puts in a token's place."""
    if V <= PROBES + 1:
        return [i for i in range(V) if i != token]
    half = PROBES // 2
    first = min(max(token - half // 2, 0), V - half - 1)
    nearest, even = range(first, first + half + 1), [i * (V - 1) // (half - 1) for i in range(half)]
    return [i for i in dict.fromkeys((*nearest, *even)) if i != token]
