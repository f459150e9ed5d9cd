"""Random logits for the tests of distributions, some tokens of which are excluded."""

from __future__ import annotations

import math

import torch
from hypothesis import settings
from hypothesis import strategies as st

settings.register_profile("logits", deadline=None, max_examples=50)  # no deadline: first calls of torch take seconds
settings.load_profile("logits")

INF = math.inf
HALVES = (torch.float16, torch.bfloat16)
seeds = st.integers(0, 2**30)


def random_logits(seed, *shape, scale=3.0, excluded=0.0):
    """Normal float64 logits; a share ``excluded`` of them is -inf, but the first of each row never."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    out = torch.rand(shape, generator=generator) < excluded
    out[..., 0] = False
    return logits.masked_fill(out, -INF)
