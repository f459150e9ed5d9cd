"""GPT-2 parameters for tests, none of them 0 or 1: what is left out or taken twice shows."""

from __future__ import annotations

import torch

from reference_impl.transformer import block_shapes


def random_block(D: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    """The parameters of one block, of a size at which every part of it matters."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(shape, generator, dtype) for name, shape in block_shapes(D).items()}


def random_gpt(
    V: int, context: int, D: int, layers: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """The parameters of a whole GPT-2."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"wte.weight": (V, D), "wpe.weight": (context, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    params = {name: _random(shape, generator, dtype) for name, shape in shapes.items()}
    for layer in range(layers):
        block = random_block(D, seed + 1 + layer, dtype)
        params |= {f"h.{layer}.{name}": value for name, value in block.items()}
    return params


def _random(shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (drawn / shape[-1] ** 0.5 if len(shape) == 2 else 0.5 + 0.2 * drawn).to(dtype)
