"""gpt_block and gpt_logits against torch.nn.TransformerEncoderLayer, values by hand, and what causality promises."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from needs_gpu import needs_gpu
from random_gpt import random_block, random_gpt
from torch import nn
from torch.testing import assert_close

from reference_impl.causal_vs_masked import attention, causal_mask, find_leak, gpt_block, gpt_logits, pad_causal
from reference_impl.transformer import block_shapes, fused_attention, gpt_with

settings.register_profile("gpt", deadline=None, max_examples=15)
settings.load_profile("gpt")
seeds = st.integers(0, 2**30)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(seed: int, V: int, *shape: int) -> torch.Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def torchs_block(params: dict, prefix: str, n_head: int) -> nn.TransformerEncoderLayer:
    """torch's own pre-norm layer with the same weights; its linear maps are stored transposed."""
    D = len(params[f"{prefix}ln_1.weight"])
    layer = nn.TransformerEncoderLayer(
        D, n_head, 4 * D, dropout=0.0, activation=lambda x: F.gelu(x, approximate="tanh"), layer_norm_eps=1e-5,
        batch_first=True, norm_first=True, dtype=params[f"{prefix}ln_1.weight"].dtype)
    names = {"norm1": "ln_1", "norm2": "ln_2", "self_attn.in_proj_": "attn.c_attn", "self_attn.out_proj": "attn.c_proj",
             "linear1": "mlp.c_fc", "linear2": "mlp.c_proj"}
    state = {}
    for theirs, ours in names.items():
        dot = "" if theirs.endswith("_") else "."
        weight = params[f"{prefix}{ours}.weight"]
        state[f"{theirs}{dot}weight"] = weight.T if weight.ndim == 2 else weight
        state[f"{theirs}{dot}bias"] = params[f"{prefix}{ours}.bias"]
    layer.load_state_dict(state)
    return layer


# gpt_block


@given(seeds, st.integers(1, 3), st.integers(1, 6), st.sampled_from([(4, 1), (6, 3), (8, 8), (12, 2)]), st.booleans())
def test_a_block_is_torchs_pre_norm_layer(seed, B, T, width, per_row):
    D, n_head = width
    params, x = random_block(D, seed), normal(seed, B, T, D)
    mask = normal(seed + 1, *((B, 1) if per_row else ()), T, T) > 0
    mask = mask | torch.eye(T, dtype=torch.bool)  # torch's layer makes NaN of a row that may attend to nothing
    excluded = ~mask if not per_row else ~mask.expand(B, n_head, T, T).reshape(B * n_head, T, T)
    theirs = torchs_block(params, "", n_head)(x, src_mask=excluded)
    assert_close(gpt_block(x, params, n_head, mask), theirs, **CLOSE)


def test_a_block_by_hand():
    D = 4
    params = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in block_shapes(D).items()}
    params["ln_1.weight"], params["ln_2.weight"] = torch.ones(2, D, dtype=torch.float64)
    params["attn.c_attn.weight"][:, 2 * D :] = torch.eye(D)  # q = k = 0: the mean of what is seen
    params["attn.c_proj.weight"] += torch.eye(D)
    params["mlp.c_fc.bias"] += 1.0
    params["mlp.c_proj.weight"][0] = 1.0
    x = torch.tensor([[[1.0, -1, 1, -1], [3, 3, -3, -3]]], dtype=torch.float64)
    signs, scales = x.sign(), torch.tensor([[1.0], [3]]).double()
    normed = signs * scales / (scales**2 + 1e-5).sqrt()
    gelu = 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715))  # the tanh form at 1; the exact one differs
    mean = torch.stack([normed[0, 0], normed[0].mean(0)])
    assert_close(gpt_block(x, params, 2, causal_mask(2)), x + mean + gelu, **CLOSE)


def test_in_a_block_a_row_that_may_attend_to_nothing_gets_zeros_from_attention():
    D, H, mask = 6, 2, torch.tensor([[False, False, False], [True, True, False], [False, True, False]])
    params, x = random_block(D), normal(1, 2, 3, D).requires_grad_()

    def norm(h, name):
        return F.layer_norm(h, (D,), params[f"{name}.weight"], params[f"{name}.bias"])

    qkv = norm(x, "ln_1") @ params["attn.c_attn.weight"] + params["attn.c_attn.bias"]
    q, k, v = (part.unflatten(-1, (H, -1)).transpose(1, 2) for part in qkv.split(D, -1))
    seen = attention(q, k, v, mask).transpose(1, 2).flatten(2)
    h = x + seen @ params["attn.c_proj.weight"] + params["attn.c_proj.bias"]
    inner = norm(h, "ln_2") @ params["mlp.c_fc.weight"] + params["mlp.c_fc.bias"]
    expected = h + F.gelu(inner, approximate="tanh") @ params["mlp.c_proj.weight"] + params["mlp.c_proj.bias"]
    found = gpt_block(x, params, H, mask)
    assert_close(found, expected, **CLOSE)
    weight = normal(2, 2, 3, D)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, expected)]
    assert_close(*gradients, **CLOSE)
    assert not gradients[0].isnan().any()


def test_a_batch_equals_its_rows():
    params, x = random_block(8), normal(1, 3, 5, 8)
    mask, _ = pad_causal(torch.tensor([[False] * n + [True] * (5 - n) for n in (0, 2, 5)]))
    rows = [gpt_block(x[b : b + 1], params, 4, mask[b : b + 1]) for b in range(3)]
    assert_close(gpt_block(x, params, 4, mask), torch.cat(rows), **CLOSE)


BLOCK = {"x": torch.zeros(2, 3, 8), "params": random_block(8, dtype=torch.float32), "n_head": 2, "mask": causal_mask(3)}
WITHOUT = {name: value for name, value in BLOCK["params"].items() if name != "mlp.c_fc.bias"}


@pytest.mark.parametrize(("change", "said"), [
    ({"x": torch.zeros(3, 8)}, r"x must have the shape \(B, T, D\)"),
    ({"x": torch.zeros(2, 3, 8).long()}, "x must have a floating dtype"),
    ({"x": torch.full((2, 3, 8), math.nan)}, "x must not hold NaN"),
    ({"x": torch.zeros(0, 3, 8)}, "x is empty"),
    ({"params": WITHOUT}, r"params must hold 'mlp.c_fc.bias', a tensor of shape \(32,\)"),
    ({"params": BLOCK["params"] | {"attn.c_attn.weight": torch.zeros(24, 8)}},
     r"params\['attn.c_attn.weight'\] must be \(8, 24\) of torch.float32, not \(24, 8\) of torch.float32"),
    ({"params": random_block(8)}, r"params\['ln_1.weight'\] must be .* of torch.float32, not .* of torch.float64"),
    ({"params": BLOCK["params"] | {"ln_1.bias": [0.0] * 8}}, r"params\['ln_1.bias'\] must be .*, not list"),
    ({"params": list(BLOCK["params"])}, "params must be a dict of GPT-2's parameters by name, not list"),
    ({"n_head": 3}, "n_head must divide the width 8, not be 3"),
    ({"n_head": 0}, "n_head must be a whole number of at least 1"),
    ({"mask": causal_mask(3).float()}, "mask must be a tensor of bool"),
    ({"mask": causal_mask(2)}, r"mask must have the shape \(3, 3\), not \(2, 2\)"),
    ({"mask": causal_mask(3).expand(2, 3, 3)}, r"mask must have the shape \(2, 1, 3, 3\), not \(2, 3, 3\)"),
    ({"mask": causal_mask(3).expand(2, 2, 3, 3)}, "mask must have the shape"),
])
def test_gpt_block_says_what_is_wrong(change, said):
    with pytest.raises(ValueError, match=said):
        gpt_block(**(BLOCK | change))


# gpt_logits


@given(seeds, st.integers(0, 3), st.sampled_from([(4, 1), (12, 3)]), st.integers(1, 7), st.integers(1, 3))
def test_logits_and_gradients_are_those_of_a_stack_of_torchs_layers(seed, layers, width, T, B):
    (D, n_head), V, context = width, 11, 7
    params = {name: value.requires_grad_() for name, value in random_gpt(V, context, D, layers, seed).items()}
    ids = draw(seed, V, B, T)
    x = params["wte.weight"][ids] + params["wpe.weight"][:T]
    stack = [torchs_block(params, f"h.{i}.", n_head) for i in range(layers)]
    for layer in stack:
        x = layer(x, src_mask=~causal_mask(T))
    x = F.layer_norm(x, (D,), params["ln_f.weight"], params["ln_f.bias"])
    theirs, ours = x @ params["wte.weight"].T, gpt_logits(params, ids, n_head)
    assert_close(ours, theirs, **CLOSE)
    weight, shared = normal(seed, B, T, V), [params["wte.weight"], params["wpe.weight"], params["ln_f.weight"]]
    expected = torch.autograd.grad((theirs * weight).sum(), [*shared, *(one.linear1.weight for one in stack)])
    of_blocks = [params[f"h.{i}.mlp.c_fc.weight"] for i in range(layers)]
    found = torch.autograd.grad((ours * weight).sum(), [*shared, *of_blocks])
    assert_close(found[:3], expected[:3], **CLOSE)
    assert_close([one.T for one in found[3:]], list(expected[3:]), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_derivative_with_respect_to_what_comes_later_is_exactly_zero(dtype):
    T, params = 40, random_gpt(7, 40, 8, 2, dtype=dtype)
    where = params["wpe.weight"].requires_grad_()  # a position's row is added to its token's embedding alone
    logits = gpt_logits(params, draw(0, 7, 1, T), 2)
    for t in (0, 1, 17, 31, 32, T - 2):
        (gradient,) = torch.autograd.grad(logits[0, t].float().pow(2).sum(), where, retain_graph=True)
        assert not gradient[t + 1 :].any()
        assert gradient[: t + 1].any(1).all()


def test_later_tokens_change_nothing_and_prefixes_give_the_same_logits():
    params, ids = random_gpt(11, 9, 8, 2), draw(0, 11, 1, 9)
    whole = gpt_logits(params, ids, 4)
    for t in range(1, 10):
        assert_close(gpt_logits(params, ids[:, :t], 4), whole[:, :t], **CLOSE)
    assert find_leak(lambda one: gpt_logits(params, one[None], 4)[0], ids[0]) is None


def test_every_parameter_gets_a_gradient_and_none_is_changed():
    params = random_gpt(11, 6, 8, 2)
    before = {name: value.clone() for name, value in params.items()}
    loss = gpt_logits({name: value.requires_grad_() for name, value in params.items()}, draw(0, 11, 2, 6), 2)
    F.cross_entropy(loss.flatten(0, 1), draw(1, 11, 12)).backward()
    assert all(value.grad is not None and value.grad.any() for value in params.values())
    assert_close({name: value.detach() for name, value in params.items()}, before, rtol=0, atol=0)


def test_other_names_are_not_read_ids_may_be_of_any_integer_dtype_and_the_context_may_be_filled():
    params, ids = random_gpt(11, 6, 8, 1), draw(0, 11, 2, 6)
    expected = gpt_logits(params, ids, 2)
    assert expected.shape == (2, 6, 11)
    for other in (torch.int32, torch.int16, torch.uint8):
        found = gpt_logits(params | {"lm_head.weight": torch.zeros(11, 8)}, ids.to(other), 2)
        assert_close(found, expected, rtol=0, atol=0)


@given(seeds)
def test_a_left_padded_batch_gives_each_row_what_it_gives_alone(seed):
    V, T, H = 11, 7, 2
    params, ids = random_gpt(V, T, 8, 2, seed), draw(seed, V, 3, T)
    lengths = [7, 1 + int(draw(seed, 6, 1)), 1]
    mask, positions = pad_causal(torch.stack([torch.arange(T) >= T - n for n in lengths]))
    padded = gpt_with(params, ids, positions, H, lambda layer, q, k, v: fused_attention(q, k, v, mask))
    for b, n in enumerate(lengths):
        alone = gpt_logits(params, ids[b : b + 1, T - n :], H)
        assert_close(padded[b : b + 1, T - n :], alone, **CLOSE)


def test_gpt_with_starts_anywhere_and_tells_attention_its_layer():
    params, ids, asked = random_gpt(11, 9, 8, 3), draw(0, 11, 2, 4), []

    def attend(layer, q, k, v):
        asked.append((layer, tuple(q.shape)))
        return attention(q, k, v, causal_mask(4))

    found = gpt_with(params, ids, 5, 2, attend)
    assert asked == [(layer, (2, 2, 4, 4)) for layer in range(3)]
    shifted = params | {"wpe.weight": params["wpe.weight"][5:]}
    assert_close(found, gpt_logits(shifted, ids, 2), **CLOSE)
    assert_close(gpt_with(params, ids, torch.arange(5, 9), 2, attend), found, **CLOSE)


GPT = {"params": random_gpt(11, 4, 8, 2, dtype=torch.float32), "ids": torch.tensor([[1, 2, 3]]), "n_head": 2}
NAMES = GPT["params"]


@pytest.mark.parametrize(("change", "said"), [
    ({"ids": torch.zeros(1, 5).long()}, "ids must fit into the context of 4 positions: 5 from 0 on do not"),
    ({"ids": torch.tensor([[1, 11]])}, r"ids must hold ids from 0 to 10; found 11 at \(0, 1\)"),
    ({"ids": torch.tensor([[-1, 1]])}, "ids must hold ids from 0 to 10; found -1"),
    ({"ids": torch.tensor([1, 2])}, r"ids must have the shape \(B, t\)"),
    ({"ids": torch.zeros(1, 0).long()}, "ids is empty"),
    ({"ids": torch.zeros(1, 2)}, "ids must have an integer dtype"),
    ({"n_head": 3}, "n_head must divide the width 8"),
    ({"params": None}, "params must be a dict of GPT-2's parameters by name, not NoneType"),
    ({"params": {f"transformer.{name}": value for name, value in NAMES.items()}}, "params must hold 'wte.weight'; GPT"),
    ({"params": {n: p for n, p in NAMES.items() if n != "wpe.weight"}}, "params must hold 'wpe.weight'"),
    ({"params": {n: p for n, p in NAMES.items() if n != "h.0.ln_1.weight"}}, "params must hold 'h.0.ln_1.weight'"),
    ({"params": {n: p for n, p in NAMES.items() if n != "h.1.ln_1.weight"}}, "params must hold 'h.1.ln_1.weight'"),
    ({"params": {n.replace("h.1", "h.2"): p for n, p in NAMES.items()}}, "params must hold 'h.1.ln_1.weight'"),
    ({"params": NAMES | {"ln_f.weight": torch.ones(8).double()}}, r"params\['ln_f.weight'\] must be"),
    ({"params": NAMES | {"h.1.mlp.c_proj.weight": torch.ones(8, 32)}}, r"params\['h.1.mlp.c_proj.weight'\] must be"),
])
def test_gpt_logits_says_what_is_wrong(change, said):
    with pytest.raises(ValueError, match=said):
        gpt_logits(**(GPT | change))


@pytest.mark.parametrize(("positions", "said"), [
    (2, "ids must fit into the context of 4 positions: 3 from 2 on do not"),
    (torch.tensor([0, 1, 4]), "positions must hold ids from 0 to 3; found 4"),
    (torch.tensor([0, 1]), "positions must have the shape"),
    (torch.zeros(2, 3).long(), "positions must have the shape .* B = 1"),
])
def test_gpt_with_says_what_is_wrong_with_positions(positions, said):
    with pytest.raises(ValueError, match=said):
        gpt_with(**GPT, positions=positions, attend=lambda layer, q, k, v: v)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_logits_are_those_of_the_cpu_and_a_wrong_id_is_an_error_not_a_dead_device(dtype):
    params = random_gpt(11, 40, 32, 2, dtype=dtype)
    there = {name: value.cuda() for name, value in params.items()}
    ids = draw(0, 11, 2, 40)
    near = 1e-4 if dtype == torch.float32 else 32 * torch.finfo(dtype).eps
    found = gpt_logits(there, ids.cuda(), 4)
    assert found.is_cuda
    assert_close(found.cpu(), gpt_logits(params, ids, 4), rtol=near, atol=near)
    with pytest.raises(ValueError, match="ids must hold"):
        gpt_logits(there, ids.cuda() + 1, 4)
