"""Generation that keeps keys and values: what the cache holds, what it costs, and how it is read.

Shapes: B batch, T new positions, S positions seen so far, d the size of a head, Hq query heads, Hkv key/value heads.
Query head i reads key/value head ``i // (Hq / Hkv)``. The positions of a sequence are counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from reference_impl import arguments
from reference_impl.causal_vs_masked import attention, causal_mask


def kv_bytes(layers: int, kv_heads: int, head_dim: int, tokens: int, batch: int, bytes: float) -> int | float:
    """How many bytes the keys and values of ``batch`` sequences of ``tokens`` tokens take.

    ``bytes`` is the size of one number: 2 in half precision, 0.5 in four bits. The factor 2 stands for a key and a
    value. Nothing else is counted: no weights, no activations, no places that are allocated and empty. Zero tokens take
    0 bytes. Raises ValueError unless ``tokens`` is a whole number of at least 0, the other counts of at least 1, and
    ``bytes`` is positive. The size follows from the arithmetic in Pope et al. (2023).

    >>> kv_bytes(layers=32, kv_heads=8, head_dim=128, tokens=2048, batch=4, bytes=2) / 2**30
    1.0
    """
    for name, value in (("layers", layers), ("kv_heads", kv_heads), ("head_dim", head_dim), ("batch", batch)):
        arguments.whole(name, value, low=1)
    arguments.whole("tokens", tokens, low=0)
    arguments.real("bytes", bytes, low=0, above=True)
    return 2 * layers * kv_heads * head_dim * tokens * batch * bytes


class KVCache:
    """Room for the keys and values of all layers, allocated once: ``capacity`` positions for each sequence.

    ``keys[layer]`` and ``values[layer]`` are (B, Hkv, capacity, d); the first ``lengths[layer]`` positions are valid,
    and what stands behind them means nothing. Every layer fills up on its own, in the order of its calls of ``update``.
    A cache serves inference: what it stores is detached, so that no gradient flows through it. Raises ValueError for a
    size below 1 and for a dtype that is not floating.

    >>> cache = KVCache(layers=2, batch=1, kv_heads=1, capacity=4, head_dim=2)
    >>> k, v = cache.update(0, torch.ones(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))
    >>> tuple(k.shape), cache.lengths
    ((1, 1, 3, 2), [3, 0])
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ):
        sizes = {"layers": layers, "batch": batch, "kv_heads": kv_heads, "capacity": capacity, "head_dim": head_dim}
        for name, value in sizes.items():
            arguments.whole(name, value, low=1)
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ValueError(f"dtype must be a floating dtype, not {dtype}")
        self.capacity = capacity
        self.lengths = [0] * layers
        # One tensor for all, (layers, B, 2, Hkv, capacity, d), so that few operations reach every layer's place.
        store = torch.zeros(layers, 2, batch, kv_heads, capacity, head_dim, dtype=dtype, device=device)
        self.store = store.transpose(1, 2)
        self.keys, self.values = list(self.store[:, :, 0]), list(self.store[:, :, 1])

    def update(self, layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is valid in a layer after k and v were appended: two ``(B, Hkv, T, d) -> (B, Hkv, S, d)``.

        The results are views of the cache: they see what is written over these positions after ``reset``. Zero new
        positions are allowed. Raises ValueError, and changes nothing, when the new positions do not fit, when k or v
        has another shape, dtype or device than the cache, and for a layer that is not there.

        >>> cache = KVCache(layers=1, batch=1, kv_heads=1, capacity=4, head_dim=1)
        >>> _ = cache.update(0, torch.tensor([[[[1.0], [2.0]]]]), torch.zeros(1, 1, 2, 1))
        >>> cache.update(0, torch.tensor([[[[3.0]]]]), torch.zeros(1, 1, 1, 1))[0].flatten().tolist()
        [1.0, 2.0, 3.0]
        """
        arguments.whole("layer", layer, low=0, high=len(self.keys) - 1)
        keys, values, start = self.keys[layer], self.values[layer], self.lengths[layer]
        B, Hkv, _, d = keys.shape
        known = arguments.tensor("k", k, "B Hkv T d", known={"B": B, "Hkv": Hkv, "d": d}, empty="T")
        arguments.tensor("v", v, "B Hkv T d", known=known, empty="T")
        for name, new in (("k", k), ("v", v)):
            if new.dtype != keys.dtype or new.device != keys.device:
                wanted = f"{keys.dtype} on {keys.device}"
                raise ValueError(f"{name} must be {wanted} as the cache is, not {new.dtype} on {new.device}")
        end = start + known["T"]
        if end > self.capacity:
            raise ValueError(f"layer {layer} holds {start} of {self.capacity} positions: {known['T']} more do not fit")
        keys[:, :, start:end] = k.detach()
        values[:, :, start:end] = v.detach()
        self.lengths[layer] = end
        return keys[:, :, :end], values[:, :, :end]

    def reset(self) -> None:
        """Nothing; every layer is empty again, and its room is used anew.

        >>> cache = KVCache(layers=1, batch=1, kv_heads=1, capacity=2, head_dim=1)
        >>> _ = cache.update(0, torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2, 1))
        >>> cache.reset()
        >>> cache.lengths
        [0]
        """
        self.lengths = [0] * len(self.lengths)


def grouped_query_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention whose query heads share keys and values: ``(B, Hq, T, d), (B, Hkv, S, d) twice -> (B, Hq, T, d)``.

    Query head i reads key/value head ``i // (Hq / Hkv)``: neighbours share. Hkv = Hq is ordinary attention, Hkv = 1 is
    multi-query attention. Every query sees every key, as the newest token does; scores are divided by the root of d.
    Raises ValueError when Hq is not a multiple of Hkv. Follows Ainslie et al. (2023).

    >>> q, v = torch.zeros(1, 4, 1, 1), torch.tensor([[[[1.0], [3.0]], [[5.0], [9.0]]]])
    >>> grouped_query_attention(q, torch.zeros(1, 2, 2, 1), v).flatten().tolist()
    [2.0, 2.0, 7.0, 7.0]
    """
    sizes = arguments.tensor("q", q, "B Hq T d")
    arguments.tensor("k", k, "B Hkv S d", known=sizes)
    see_all = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
    return _grouped(q, k, v, see_all)


def cached_attention(q: torch.Tensor, cache: KVCache, layer: int, start: int) -> torch.Tensor:
    """Causal attention of the queries at ``start, start + 1, ...`` over a layer of a cache: ``(B, Hq, T, d)``.

    The cache already holds the keys and values of these T positions; query t sees the positions up to ``start + t`` and
    nothing behind them. So a sequence that is cut into chunks of any sizes gives what one pass gives. Query heads share
    as in ``grouped_query_attention``. The cache is only read. Raises ValueError when the layer does not hold
    ``start + T`` positions, and for shapes that do not fit the cache.

    >>> cache = KVCache(layers=1, batch=1, kv_heads=1, capacity=3, head_dim=1)
    >>> _ = cache.update(0, torch.zeros(1, 1, 3, 1), torch.tensor([[[[1.0], [3.0], [8.0]]]]))
    >>> cached_attention(torch.zeros(1, 1, 2, 1), cache, layer=0, start=1).flatten().tolist()
    [2.0, 4.0]
    """
    arguments.whole("layer", layer, low=0, high=len(cache.keys) - 1)
    arguments.whole("start", start, low=0)
    T = arguments.tensor("q", q, "B Hq T d")["T"]
    end, held = start + T, cache.lengths[layer]
    if end > held:
        raise ValueError(f"start must leave room for {T} queries in the {held} positions of layer {layer}, not {start}")
    keys, values = cache.keys[layer][:, :, :end], cache.values[layer][:, :, :end]
    return _grouped(q, keys, values, causal_mask(T, end).to(q.device))


def fit_context(
    ids: list[int] | torch.Tensor, window: int, keep: int = 0, policy: str = "truncate"
) -> list[int] | torch.Tensor:
    """The ids that a model with a limited window is shown: a list, or a tensor ``(..., T) -> (..., at most window)``.

    Ids that fit into the window come back as they are, whatever the policy. Of longer ones

    - ``"truncate"`` leaves the newest ``window``;
    - ``"keep_start"`` leaves the first ``keep`` and the newest ``window - keep``;
    - ``"summary"`` leaves the newest ``window - keep``: ``keep`` places stay free for a summary of the rest;
    - ``"refuse"`` raises ValueError.

    ``keep`` matters to the second and the third only. The result is always a copy. Raises ValueError for a window below
    1, a ``keep`` outside 0 .. window and another policy. That the first tokens are worth keeping: Xiao et al. (2024).

    >>> fit_context([0, 1, 2, 3, 4, 5], window=4, keep=1, policy="keep_start")
    [0, 3, 4, 5]
    """
    arguments.whole("window", window, low=1)
    arguments.whole("keep", keep, low=0, high=window)
    arguments.one_of("policy", policy, ("truncate", "keep_start", "refuse", "summary"))
    if isinstance(ids, torch.Tensor):
        T = arguments.tensor("ids", ids, "... T", "integer", empty="T ...")["T"]
    elif isinstance(ids, (list, tuple)):
        T = len(ids)
    else:
        raise ValueError(f"ids must be a list or a tensor of ids, not {type(ids).__name__}")
    fits = window >= T
    if not fits and policy == "refuse":
        raise ValueError(f"ids must fit into the window of {window}; there are {T}")
    first = 0 if fits or policy != "keep_start" else keep
    newest = T if fits else window if policy == "truncate" else window - keep
    behind = T - newest  # counted from the front: ids[-0:] would be all of them
    if isinstance(ids, torch.Tensor):
        return torch.cat([ids[..., :first], ids[..., behind:]], dim=-1)
    return [*ids[:first], *ids[behind:]]


def decode_roofline(
    param_bytes: float, kv_bytes_per_sequence: float, flops_per_token: float, bandwidth: float, peak: float, batch: int
) -> tuple[float, str]:
    """The least time of one decoding step of a batch, in seconds, and what sets it: ``"memory"`` or ``"compute"``.

    A step reads all weights once and the cache of every sequence, at ``bandwidth`` bytes a second, and computes one
    token for every sequence, at ``peak`` operations a second. Both go on at once, so the longer one counts; a tie is
    ``"memory"``. Raises ValueError for a negative size, a rate that is not positive and a batch below 1. Follows
    Williams, Waterman and Patterson (2009), and Pope et al. (2023).

    >>> decode_roofline(14e9, 1e9, 14e9, bandwidth=1e12, peak=1e14, batch=1)
    (0.015, 'memory')
    >>> decode_roofline(14e9, 0, 14e9, bandwidth=1e12, peak=1e14, batch=200)
    (0.028, 'compute')
    """
    sizes = {"param_bytes": param_bytes, "kv_bytes_per_sequence": kv_bytes_per_sequence}
    for name, value in (sizes | {"flops_per_token": flops_per_token}).items():
        arguments.real(name, value, low=0)
    for name, value in (("bandwidth", bandwidth), ("peak", peak)):
        arguments.real(name, value, low=0, above=True)
    arguments.whole("batch", batch, low=1)
    memory = (param_bytes + batch * kv_bytes_per_sequence) / bandwidth
    compute = batch * flops_per_token / peak
    return (memory, "memory") if memory >= compute else (compute, "compute")


def generate_cached(model: Callable, ids: torch.Tensor, max_new: int) -> torch.Tensor:
    """The prompts and ``max_new`` greedy tokens behind each: ``(B, T) -> (B, T + max_new)``, of the dtype of ids.

    ``model.new_cache(B)`` makes an empty cache, ``model(ids (B, t), cache)`` appends to it and returns the logits
    ``(B, t, V)``. The prompt goes in at once, then each token that was drawn but the last: T + max_new - 1 positions in
    all, and no call when ``max_new`` is 0. Ties go to the lowest id. Without a cache the same logits would be computed
    anew from the whole text; the tokens are the same up to ties within rounding. Raises ValueError when T + max_new
    exceeds ``model.context``, for an empty prompt, and for NaN logits. Follows Pope et al. (2023).

    >>> from types import SimpleNamespace
    >>> class Successor(SimpleNamespace):  # its next token is always one more
    ...     def __call__(self, ids, cache):
    ...         return torch.nn.functional.one_hot(ids + 1, 9)
    >>> generate_cached(Successor(context=8, new_cache=lambda B: None), torch.tensor([[3], [5]]), max_new=2)
    tensor([[3, 4, 5],
            [5, 6, 7]])
    """
    sizes = arguments.tensor("ids", ids, "B T", "integer")
    B, T = sizes["B"], sizes["T"]
    arguments.whole("max_new", max_new, low=0)
    if T + max_new > model.context:
        raise ValueError(f"max_new must leave {T} + max_new within the context of {model.context}, not {max_new}")
    text = torch.cat([ids, ids.new_empty(B, max_new)], dim=1)
    if not max_new:
        return text
    # The text is made outside: a tensor born in inference mode could never take part in training.
    with torch.inference_mode():
        cache, chunk, tops = model.new_cache(B), ids, []
        for t in range(T, T + max_new):
            token, top = _largest(model(chunk, cache)[:, -1])
            text[:, t] = token
            chunk = text[:, t : t + 1]
            tops.append(top)
        # Of a row that holds NaN the largest is NaN. Looked at once, so that a GPU is not waited for at every token.
        if torch.stack(tops).isnan().any():
            raise ValueError("the model's logits must not hold NaN")
    return text


def _largest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest id of the largest logit of each row, and that logit, NaN where there is one: ``(B, V) -> (B,), (B,)``.

    On a CPU numpy looks for it, ten times as fast as torch: over GPT-2's vocabulary that is felt in a small model.
    """
    if logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64):
        token = torch.from_numpy(logits.detach().numpy().argmax(-1))
    else:
        token = logits.argmax(-1)
    return token, logits.gather(-1, token[:, None])[:, 0]


def _grouped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention with shared keys; the heads of a group stand below one another as queries, so no key is copied."""
    sizes = arguments.tensor("q", q, "B Hq T d")
    known = arguments.tensor("k", k, "B Hkv S d", known=sizes)
    arguments.tensor("v", v, "B Hkv S d", known=known)
    B, Hq, T, d, Hkv = (known[letter] for letter in ("B", "Hq", "T", "d", "Hkv"))
    if Hq % Hkv:
        raise ValueError(f"q must have a multiple of the {Hkv} key/value heads, not {Hq}")
    rows = q.reshape(B, Hkv, Hq // Hkv * T, d)
    return attention(rows, k, v, mask.repeat(Hq // Hkv, 1)).view(B, Hq, T, d)
