"""GPT-2 around any attention: the machinery that :func:`gpt_block`, :func:`gpt_logits` and the cached model share.

Parameters are a dict with GPT-2's own names, see :mod:`reference_impl.causal_vs_masked`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import torch
import torch.nn.functional as F

from reference_impl import arguments

EPSILON = 1e-5  # of every layer norm


def gpt_with(
    params: Mapping[str, torch.Tensor],
    ids: torch.Tensor,
    positions: int | torch.Tensor,
    n_head: int,
    attend: Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """:func:`gpt_logits` with positions and an attention of the caller's own: ``(B, t) -> (B, t, V)``.

    ``positions`` is the position of the first id, or all of them: ``(t,)`` or ``(B, t)``. Every layer calls
    ``attend(layer, q, k, v)`` with tensors ``(B, H, t, d)`` and goes on with what it returns, of the same shape: the
    place for a mask of padding or a cache of keys and values. Raises ValueError as :func:`gpt_logits`.
    """
    V, D, layers = _gpt_sizes(params)
    sizes = arguments.tensor("ids", ids, "B t", "integer")
    check_heads(n_head, D)
    arguments.ids("ids", ids, V)
    table, t = params["wpe.weight"], sizes["t"]
    if isinstance(positions, torch.Tensor):
        arguments.tensor("positions", positions, "t" if positions.ndim == 1 else "B t", "integer", sizes)
        arguments.ids("positions", positions, len(table))
        places = F.embedding(positions, table)
    else:
        if positions + t > len(table):
            raise ValueError(f"ids must fit into the context of {len(table)} positions: {t} from {positions} on do not")
        places = table[positions : positions + t]
    x = F.embedding(ids if ids.dtype in (torch.int32, torch.int64) else ids.long(), params["wte.weight"]) + places
    for layer in range(layers):
        x = run_block(x, params, f"h.{layer}.", n_head, lambda q, k, v, layer=layer: attend(layer, q, k, v))
    return F.linear(F.layer_norm(x, (D,), params["ln_f.weight"], params["ln_f.bias"], EPSILON), params["wte.weight"])


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """:func:`attention` by torch's fused kernels, conventions included, without its checks."""
    something = mask.any(-1, keepdim=True)
    # What a kernel does with a row that may attend to nothing differs between kernels. Here such a row attends to all.
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask | ~something)
    return out.masked_fill(~something, 0)


@cache
def block_shapes(D: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a block's parameters at width D, in GPT-2's order."""
    names = {"ln_1": (), "attn.c_attn": (D, 3 * D), "attn.c_proj": (D, D),
             "ln_2": (), "mlp.c_fc": (D, 4 * D), "mlp.c_proj": (4 * D, D)}
    return {f"{name}.{part}": shape if part == "weight" and shape else (shape or (D,))[-1:]
            for name, shape in names.items() for part in ("weight", "bias")}


def run_block(
    x: torch.Tensor, params: Mapping[str, torch.Tensor], prefix: str, n_head: int,
    attend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """The block itself, around any attention of q, k, v ``(B, H, T, d)``; nothing is checked."""
    B, T, D = x.shape

    def norm(name: str) -> torch.Tensor:
        return F.layer_norm(x, (D,), params[f"{prefix}{name}.weight"], params[f"{prefix}{name}.bias"], EPSILON)

    def linear(h: torch.Tensor, name: str) -> torch.Tensor:
        return torch.addmm(params[f"{prefix}{name}.bias"], h.reshape(B * T, -1), params[f"{prefix}{name}.weight"])

    q, k, v = linear(norm("ln_1"), "attn.c_attn").view(B, T, 3, n_head, -1).permute(2, 0, 3, 1, 4).unbind(0)
    x = x + linear(attend(q, k, v).transpose(1, 2), "attn.c_proj").view(B, T, D)
    return x + linear(F.gelu(linear(norm("ln_2"), "mlp.c_fc"), approximate="tanh"), "mlp.c_proj").view(B, T, D)


def layer_count(names: Iterable[str]) -> int:
    """How many blocks the names of a GPT-2's parameters belong to.

    >>> layer_count(["wte.weight", "h.0.ln_1.weight", "h.0.ln_1.bias", "h.1.ln_1.weight"])
    2
    """
    return len({name.split(".")[1] for name in names if name.startswith("h.")})


def _gpt_sizes(params: Mapping[str, torch.Tensor]) -> tuple[int, int, int]:
    """V, D and the number of layers of parameters that are right; ValueError where they are not."""
    if not isinstance(params, Mapping):
        raise ValueError(f"params must be a dict of GPT-2's parameters by name, not {type(params).__name__}")
    if "wte.weight" not in params:
        raise ValueError("params must hold 'wte.weight'; GPT-2's names stand in it without a prefix")
    sizes = arguments.tensor("params['wte.weight']", params["wte.weight"], "V D")
    V, D, dtype = sizes["V"], sizes["D"], params["wte.weight"].dtype
    context = len(params.get("wpe.weight", ()))
    check_params(params, "", {"wpe.weight": (context, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}, dtype)
    layers = layer_count(params)
    for layer in range(layers):
        check_params(params, f"h.{layer}.", block_shapes(D), dtype)
    return V, D, layers


def check_params(
    params: Mapping[str, torch.Tensor], prefix: str, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype
) -> None:
    if not isinstance(params, Mapping):
        raise ValueError(f"params must be a dict of GPT-2's parameters by name, not {type(params).__name__}")
    for name, shape in shapes.items():
        value = params.get(prefix + name)
        if value is None:
            raise ValueError(f"params must hold {prefix + name!r}, a tensor of shape {shape}")
        if getattr(value, "shape", None) != shape or getattr(value, "dtype", None) != dtype:
            is_tensor = isinstance(value, torch.Tensor)
            found = f"{tuple(value.shape)} of {value.dtype}" if is_tensor else type(value).__name__
            raise ValueError(f"params[{prefix + name!r}] must be {shape} of {dtype}, not {found}")


def check_heads(n_head: int, D: int) -> None:
    arguments.whole("n_head", n_head, low=1)
    if D % n_head:
        raise ValueError(f"n_head must divide the width {D}, not be {n_head}")


def check_mask(mask: object, wanted: tuple[int, ...], exactly: bool = False) -> None:
    """ValueError unless it is a boolean mask of that shape, or broadcasts to it."""
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise ValueError(f"mask must be a tensor of bool, True where attention is allowed, not {found}")
    fits = len(mask.shape) <= len(wanted) and all(a in (1, b) for a, b in zip(mask.shape[::-1], wanted[::-1]))
    if mask.shape != wanted if exactly else not fits:
        verb = "have the shape" if exactly else "broadcast to"
        raise ValueError(f"mask must {verb} {wanted}, not {tuple(mask.shape)}")
