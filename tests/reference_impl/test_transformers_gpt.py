"""GPT-2 and BERT's corruption against Hugging Face transformers: random weights built in code, nothing downloaded."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from reference_impl.causal_vs_masked import gpt_block, gpt_logits, mlm_corrupt, pad_causal
from reference_impl.transformer import block_shapes, fused_attention, gpt_with

transformers = pytest.importorskip("transformers", reason="'make test-all' installs transformers")
pytestmark = pytest.mark.transformers

SIZES = {  # V, context, D, layers, heads
    "one token wide": (3, 4, 2, 1, 1),
    "one layer": (17, 8, 8, 1, 2),
    "tiny": (97, 64, 48, 4, 6),
    "one head": (50, 33, 20, 2, 1),
    "wide heads": (300, 40, 96, 3, 2),
    "narrow heads": (61, 128, 64, 2, 32),
    "GPT-2's vocabulary and context": (50257, 1024, 64, 2, 4),
}
NEAR = {torch.float32: 1e-4, torch.float64: 1e-10}


def hugging_face(size: str, dtype: torch.dtype, kind: str = "sdpa", seed: int = 0):
    """Their model in eval mode, and its weights under GPT-2's names without a prefix."""
    V, context, D, layers, heads = SIZES[size]
    config = transformers.GPT2Config(
        vocab_size=V, n_positions=context, n_embd=D, n_layer=layers, n_head=heads, bos_token_id=0, eos_token_id=0,
        attn_implementation=kind)
    model = transformers.GPT2LMHeadModel(config).eval().to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():  # initial biases are 0 and gains 1, which would hide their absence
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            matrix = parameter.ndim == 2
            parameter.copy_(noise / parameter.shape[-1] ** 0.5 if matrix else 0.5 + 0.2 * noise)
    state = {name.removeprefix("transformer."): value for name, value in model.state_dict().items()}
    assert state.pop("lm_head.weight").data_ptr() == state["wte.weight"].data_ptr()
    return model, state, heads


def draw(size: str, B: int, T: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(SIZES[size][0], (B, T), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_logits_are_theirs(size, kind, dtype):
    model, params, heads = hugging_face(size, dtype, kind)
    context = SIZES[size][1]
    for B, T in ((1, 1), (3, min(context, 20)), (1, min(context, 200))):
        ids = draw(size, B, T)
        found, theirs = gpt_logits(params, ids, heads), model(ids).logits
        assert theirs.std() > 0.1
        assert_close(found, theirs, rtol=NEAR[dtype], atol=NEAR[dtype])


@torch.no_grad()
def test_a_full_context_of_1024_is_theirs():
    size = "GPT-2's vocabulary and context"
    model, params, heads = hugging_face(size, torch.float32)
    ids = draw(size, 1, 1024)
    assert_close(gpt_logits(params, ids, heads), model(ids).logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="context of 1024"):
        gpt_logits(params, draw(size, 1, 1025), heads)


@pytest.mark.parametrize("size", ["tiny", "narrow heads"])
@torch.no_grad()
def test_in_bfloat16_both_are_as_far_from_float64(size):
    model, params, heads = hugging_face(size, torch.bfloat16)
    ids = draw(size, 2, 30)
    wide = gpt_logits({name: value.double() for name, value in params.items()}, ids, heads)
    ours, theirs = ((one.double() - wide).pow(2).mean().sqrt() for one in (
        gpt_logits(params, ids, heads), model(ids).logits))
    assert ours < 1.5 * theirs
    assert ours < 0.05 * wide.std()


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_every_gradient_of_a_training_step_is_theirs(kind):
    model, params, heads = hugging_face("tiny", torch.float64, kind)
    ids = draw("tiny", 3, 21)
    params = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
    for logits in (model(ids).logits, gpt_logits(params, ids, heads)):  # their own loss rounds logits to float32
        F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    theirs = {name.removeprefix("transformer."): one.grad for name, one in model.named_parameters()}
    assert theirs.keys() == params.keys()
    assert_close({name: one.grad for name, one in params.items()}, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@torch.no_grad()
def test_left_padding_with_our_mask_and_positions_gives_theirs_at_every_token(kind, dtype):
    model, params, heads = hugging_face("tiny", dtype, kind)
    ids, T = draw("tiny", 4, 25), 25
    attend = torch.stack([torch.arange(T) >= T - n for n in (25, 17, 2, 1)])
    mask, positions = pad_causal(attend)
    theirs = model(ids, attention_mask=attend.long(), position_ids=positions).logits
    ours = gpt_with(params, ids, positions, heads, lambda layer, q, k, v: fused_attention(q, k, v, mask))
    # At padding they differ: there our attention gives zeros, theirs a mean of values that nobody reads.
    assert_close(ours[attend], theirs[attend], rtol=NEAR[dtype], atol=NEAR[dtype])
    x = params["wte.weight"][ids] + params["wpe.weight"][positions]
    for layer in range(SIZES["tiny"][3]):
        block = {name: params[f"h.{layer}.{name}"] for name in block_shapes(SIZES["tiny"][2])}
        x = gpt_block(x, block, heads, mask)
    x = F.layer_norm(x, x.shape[-1:], params["ln_f.weight"], params["ln_f.bias"])
    assert_close((x @ params["wte.weight"].T)[attend], theirs[attend], rtol=NEAR[dtype], atol=NEAR[dtype])
    for b in range(4):
        alone = model(ids[b][attend[b]][None]).logits[0]
        assert_close(ours[b][attend[b]], alone, rtol=NEAR[dtype], atol=NEAR[dtype])


def collator(V: int, mask_id: int, p: float):
    """Their collator for masked language modelling over the words w0 .. w(V - 1)."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {f"w{i}": i for i in range(V)}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="w0", mask_token=f"w{mask_id}", pad_token="w1")
    assert len(tokenizer) == V
    return transformers.DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=p)


@pytest.mark.parametrize("p", [0.15, 0.5])
def test_fed_our_uniforms_their_collator_corrupts_the_same_tokens_in_the_same_way(p, monkeypatch):
    V, B, T, mask_id, special_ids = 40, 8, 500, 3, torch.arange(40) < 5
    u = torch.rand(3, B, T, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    # They draw thrice: who is picked, who of these is masked (.8), and who of the rest is replaced (.1 / .2).
    draws = iter([u[0], u[1], (u[1] - 0.8) / 0.2])
    monkeypatch.setattr(torch, "bernoulli", lambda p, generator=None: (next(draws) < p).float())
    monkeypatch.setattr(torch, "randint", lambda high, shape, **kind: (u[2] * high).long())
    theirs = collator(V, mask_id, p).torch_mask_tokens(ids.clone(), special_ids[ids])
    ours = mlm_corrupt(ids, special_ids, mask_id, V, u, p)
    monkeypatch.undo()
    assert_close(ours[0], theirs[0], rtol=0, atol=0)
    assert_close(ours[1], theirs[1], rtol=0, atol=0)
    assert next(draws, None) is None


def test_the_rates_are_those_of_their_collator():
    V, n, mask_id, special = 500, 400_000, 3, torch.arange(500) < 5
    ids = torch.randint(V, (1, n), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    theirs = collator(V, mask_id, 0.15).torch_mask_tokens(ids.clone(), special[ids])
    u = torch.rand(3, 1, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = mlm_corrupt(ids, special, mask_id, V, u, 0.15)
    counts = []
    for inputs, labels in (ours, theirs):
        picked = labels != -100
        assert not picked[special[ids]].any()
        kinds = (inputs == mask_id, inputs == ids, (inputs != mask_id) & (inputs != ids))
        counts.append([int(picked.sum()), *(int((kind & picked).sum()) for kind in kinds)])
    for mine, other in zip(*counts):
        assert abs(mine - other) < 4 * math.sqrt(mine + other)
