"""GPT-2 as an object that generates: configurations, parameters, a loader for others' weights, and the cached model.

Parameters are a dict with GPT-2's own names, as :func:`reference_impl.causal_vs_masked.gpt_logits` takes them:
``wte.weight`` (V, D), ``wpe.weight`` (context, D), ``h.0.ln_1.weight`` ... ``ln_f.bias``. The head is tied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from reference_impl import arguments
from reference_impl.causal_vs_masked import causal_mask, gpt_logits
from reference_impl.kv_cache import KVCache
from reference_impl.transformer import EPSILON, block_shapes, check_params, fused_attention, gpt_with, layer_count

STD = 0.02  # of every weight at the start


@dataclass(frozen=True)
class Config:
    """The sizes of a GPT-2: vocabulary V, context, width D, layers, heads H."""

    V: int
    context: int
    D: int
    layers: int
    H: int

    def __post_init__(self):
        for name in ("V", "context", "D", "layers", "H"):
            arguments.whole(name, getattr(self, name), low=1)
        if self.D % self.H:
            raise ValueError(f"H must divide the width {self.D}, not be {self.H}")


PRESETS = {
    "tiny": Config(V=50257, context=1024, D=128, layers=4, H=4),
    "gpt2": Config(V=50257, context=1024, D=768, layers=12, H=12),  # the smallest that OpenAI released
}


def gpt_parameters(
    config: Config,
    generator: torch.Generator,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """Parameters to start training from, by name, drawn as GPT-2's were.

    Weights are normal with a standard deviation of 0.02; those of the projections back into the residual stream,
    ``attn.c_proj`` and ``mlp.c_proj``, have it divided by the root of 2 ``layers``, one for each sum into the stream.
    Biases are 0, gains of layer norms 1. The numbers are drawn in float32 on the generator's device, so that the same
    state gives the same weights anywhere. Follows Radford et al. (2019), section 2.3.

    >>> params = gpt_parameters(Config(V=11, context=8, D=4, layers=1, H=2), torch.Generator().manual_seed(0))
    >>> list(params)[:3], tuple(params["h.0.attn.c_attn.weight"].shape)
    (['wte.weight', 'wpe.weight', 'h.0.ln_1.weight'], (4, 12))
    """
    params = {}
    for name, shape in _shapes(config.V, config.context, config.D, config.layers).items():
        if len(shape) == 1:
            value = torch.full(shape, float(name.endswith("weight")), device=generator.device)
        else:
            std = STD / (2 * config.layers) ** 0.5 if name.endswith("c_proj.weight") else STD
            value = torch.randn(shape, generator=generator, device=generator.device).mul_(std)
        params[name] = value.to(device=device, dtype=dtype)
    return params


def from_state_dict(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parameters in a state dict of Hugging Face's ``GPT2LMHeadModel`` or ``GPT2Model``, by GPT-2's own names.

    The prefix ``transformer.`` is dropped, and so are the tied head and the buffers that hold masks. The tensors are
    those of the state dict, detached. Raises ValueError for a parameter that is missing, has the wrong shape or another
    dtype than ``wte.weight``, for a name that GPT-2 does not have, and for a head that is not tied to the embeddings.

    >>> state = gpt_parameters(Config(V=11, context=8, D=4, layers=1, H=2), torch.Generator().manual_seed(0))
    >>> theirs = {f"transformer.{name}": value for name, value in state.items()}
    >>> list(from_state_dict(theirs | {"lm_head.weight": state["wte.weight"]})) == list(state)
    True
    """
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError("state must be a dict of tensors by name")
    found = {name.removeprefix("transformer."): value.detach() for name, value in state.items()}
    head = found.pop("lm_head.weight", None)
    found = {name: value for name, value in found.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    for name in ("wte.weight", "wpe.weight"):
        if name not in found:
            raise ValueError(f"state must hold {name!r}")
        arguments.tensor(f"state[{name!r}]", found[name], "rows D")
    (V, D), context = found["wte.weight"].shape, len(found["wpe.weight"])
    layers = layer_count(found)
    shapes = _shapes(V, context, D, layers)
    check_params(found, "", shapes, found["wte.weight"].dtype)
    if unknown := sorted(set(found) - set(shapes)):
        raise ValueError(f"state must hold GPT-2's parameters only; it has {unknown[0]!r}")
    if head is not None and not torch.equal(head, found["wte.weight"]):
        raise ValueError("state must have a head that is tied: 'lm_head.weight' is not 'wte.weight'")
    return {name: found[name] for name in shapes}


class GPT:
    """GPT-2 with ``n_head`` heads, a model as :func:`reference_impl.kv_cache.generate_cached` wants it.

    ``model(ids)`` is ``gpt_logits``, gradients included. ``model(ids, cache)`` takes the ids that follow those in the
    cache, appends their keys and values to it, and returns their logits, with no gradients; it raises ValueError, and
    leaves the cache as it was, when they do not fit into the context. ``context`` and ``V`` are the model's sizes. The
    parameters are not to be changed while the model is in use. Raises ValueError as ``gpt_logits``.

    >>> config = Config(V=11, context=8, D=4, layers=1, H=2)
    >>> model = GPT(gpt_parameters(config, torch.Generator().manual_seed(0)), n_head=config.H)
    >>> ids, cache = torch.tensor([[3, 1, 4]]), model.new_cache(1)
    >>> parts = torch.cat([model(ids[:, :2], cache), model(ids[:, 2:], cache)], dim=1)
    >>> torch.allclose(parts, model(ids), atol=1e-6)
    True
    """

    def __init__(self, params: Mapping[str, torch.Tensor], n_head: int):
        gpt_logits(params, torch.zeros(1, 1, dtype=torch.int64, device=_device(params)), n_head)  # checks them all
        self.params, self.n_head = dict(params), n_head
        (self.V, self.D), self.context = params["wte.weight"].shape, len(params["wpe.weight"])
        self._heads, self._dtype = (n_head, self.D // n_head), params["wte.weight"].dtype
        names = block_shapes(self.D)
        self._blocks = [[params[f"h.{layer}.{name}"] for name in names] for layer in range(layer_count(params))]
        self._head: torch.Tensor | None = None

    def new_cache(self, B: int) -> KVCache:
        """An empty cache for B sequences of up to ``context`` tokens, of the parameters' dtype and device."""
        (H, d), device = self._heads, self.params["wte.weight"].device
        return KVCache(len(self._blocks), B, H, self.context, d, self._dtype, device)

    def __call__(self, ids: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        """The logits of ids: ``(B, t) -> (B, t, V)``."""
        if cache is None:
            return gpt_logits(self.params, ids, self.n_head)
        keys, layers = cache.keys[0], len(self._blocks)
        if (len(cache.keys), *keys.shape[1::2], keys.dtype) != (layers, *self._heads, self._dtype):
            raise ValueError("cache must be one that the model's new_cache made: its layers, heads or dtype differ")
        if cache.lengths != cache.lengths[:1] * layers:
            raise ValueError(f"cache must hold as many positions in every layer, not {cache.lengths}")
        if isinstance(ids, torch.Tensor) and ids.ndim == 2 and len(ids) != len(keys):
            raise ValueError(f"ids must have the {len(keys)} rows of the cache, not {len(ids)}")
        one = isinstance(ids, torch.Tensor) and ids.shape[1:] == (1,) and ids.dtype == torch.int64
        with torch.no_grad():
            return self._step(ids, cache) if one else self._chunk(ids, cache)

    def _chunk(self, ids: torch.Tensor, cache: KVCache) -> torch.Tensor:
        start = cache.lengths[0]

        def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            k, v = cache.update(layer, k, v)
            if start == 0:
                return F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return fused_attention(q, k, v, causal_mask(q.shape[2], k.shape[2]).to(q.device))

        return gpt_with(self.params, ids, start, self.n_head, attend)

    def _step(self, ids: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """:meth:`_chunk` for one token a sequence, in as few operations as it takes: each costs as much as its work."""
        start, D, norm, linear = cache.lengths[0], (self.D,), torch.layer_norm, torch.addmm
        end, heads = start + 1, (len(ids), 3, self._heads[0], 1, self._heads[1])
        if end > min(self.context, cache.capacity):
            raise ValueError(f"ids must fit into the {min(self.context, cache.capacity)} positions; {start} are taken")
        if ids.is_cuda:
            arguments.ids("ids", ids, self.V)
        try:
            x = F.embedding(ids[:, 0], self.params["wte.weight"]) + self.params["wpe.weight"][start]
        except IndexError:  # which on a CPU is looked for anyway
            arguments.ids("ids", ids, self.V)
            raise
        places = cache.store.narrow(4, start, 1).unbind()
        all_keys, all_values = (held.unbind() for held in cache.store.narrow(4, 0, end).unbind(2))
        for block, place, keys, values in zip(self._blocks, places, all_keys, all_values):
            gain1, shift1, W_qkv, b_qkv, W_proj, b_proj, gain2, shift2, W_in, b_in, W_out, b_out = block
            qkv = linear(b_qkv, norm(x, D, gain1, shift1, EPSILON), W_qkv).view(heads)
            place.copy_(qkv.narrow(1, 1, 2))
            seen = F.scaled_dot_product_attention(qkv.select(1, 0), keys, values)
            x += linear(b_proj, seen.view(x.shape), W_proj)
            h = F.gelu(linear(b_in, norm(x, D, gain2, shift2, EPSILON), W_in), approximate="tanh")
            x += linear(b_out, h, W_out)
        cache.lengths = [end] * len(self._blocks)
        x = norm(x, D, self.params["ln_f.weight"], self.params["ln_f.bias"], EPSILON)
        return (x @ self._tied_head())[:, None]

    def _tied_head(self) -> torch.Tensor:
        """The embeddings as a matrix (D, V); on a CPU a copy laid out so: a row times it takes half the time."""
        if self._head is None:
            wte = self.params["wte.weight"]
            self._head = wte.t().contiguous() if wte.device.type == "cpu" else wte.t()
        return self._head


def _shapes(V: int, context: int, D: int, layers: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of all parameters, in GPT-2's order."""
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (V, D), "wpe.weight": (context, D)}
    for layer in range(layers):
        shapes |= {f"h.{layer}.{name}": shape for name, shape in block_shapes(D).items()}
    return shapes | {"ln_f.weight": (D,), "ln_f.bias": (D,)}


def _device(params: object) -> torch.device | None:
    wte = params.get("wte.weight") if isinstance(params, Mapping) else None
    return getattr(wte, "device", None)
