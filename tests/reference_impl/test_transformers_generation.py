"""Greedy generation against Hugging Face transformers: random weights built in code, nothing downloaded.

In float64 two implementations differ by 1e-13 or so. The models are chosen so that at every step the largest logit
leads by far more, which a test holds, so that there is one right text.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from reference_impl.causal_vs_masked import gpt_logits
from reference_impl.gpt import GPT, from_state_dict, gpt_parameters
from reference_impl.gpt import Config as Sizes
from reference_impl.kv_cache import generate_cached
from reference_impl.sampling import generate

transformers = pytest.importorskip("transformers", reason="'make test-all' installs transformers")
pytestmark = pytest.mark.transformers

MODELS = {
    "one layer": Sizes(V=17, context=24, D=8, layers=1, H=2),
    "tiny": Sizes(V=97, context=64, D=48, layers=4, H=6),
    "one head": Sizes(V=50, context=33, D=20, layers=2, H=1),
    "GPT-2's vocabulary": Sizes(V=50257, context=40, D=64, layers=2, H=4),
}
LEAD = 1e-6


def hugging_face(name: str, kind: str = "sdpa", dtype: torch.dtype = torch.float64):
    """Their model in eval mode, with weights whose greedy texts wander: no token is the likeliest everywhere."""
    c = MODELS[name]
    config = transformers.GPT2Config(
        vocab_size=c.V, n_positions=c.context, n_embd=c.D, n_layer=c.layers, n_head=c.H, bos_token_id=None,
        eos_token_id=None, pad_token_id=0, attn_implementation=kind)
    model = transformers.GPT2LMHeadModel(config).eval().to(dtype)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.ndim == 2:
                parameter.copy_(2 * noise / parameter.shape[-1] ** 0.5)
            elif parameter_name.endswith("ln_f.weight"):  # of both signs, or the last token would score best
                parameter.copy_(noise)
            else:
                parameter.copy_(0.2 * noise + float(parameter_name.endswith("weight")))
    return model


def prompts(name: str, B: int, T: int) -> torch.Tensor:
    return torch.randint(MODELS[name].V, (B, T), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize(("B", "T"), [(1, 1), (3, 5)])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_tokens_are_theirs_with_a_cache_and_without(name, B, T, kind, use_cache):
    model = hugging_face(name, kind)
    c, ids, params = MODELS[name], prompts(name, B, T), from_state_dict(model.state_dict())
    new = c.context - T
    theirs = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, use_cache=use_cache)
    top = gpt_logits(params, theirs[:, :-1], c.H)[:, T - 1 :].topk(2).values
    assert (top[..., 0] - top[..., 1]).min() > LEAD  # no step is a tie
    assert all(len(row.unique()) > 3 for row in theirs[:, T:])  # not one token over and over
    uncached, lengths = generate(lambda seen: gpt_logits(params, seen, c.H)[:, -1].argmax(-1), ids, new, None, 0)
    assert torch.equal(uncached, theirs)
    assert torch.equal(generate_cached(GPT(params, c.H), ids, new), theirs)
    assert lengths.tolist() == [c.context] * B


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunks", [[20], [1] * 20, [7, 1, 1, 9, 2], [19, 1]], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_logits_of_any_chunking_are_theirs(name, chunks, dtype):
    model, ids = hugging_face(name, dtype=dtype), prompts(name, 2, 20)
    gpt = GPT(from_state_dict(model.state_dict()), MODELS[name].H)
    cache, their_cache = gpt.new_cache(2), None
    with torch.no_grad():
        whole = model(ids).logits
        for part, wanted in zip(ids.split(chunks, 1), whole.split(chunks, 1)):
            logits = gpt(part, cache)
            theirs = model(part, past_key_values=their_cache, use_cache=True)
            their_cache = theirs.past_key_values
            near = 1e-4 if dtype == torch.float32 else 1e-10
            assert_close(logits, wanted, atol=near, rtol=0)
            assert_close(logits, theirs.logits, atol=near, rtol=0)
    for layer, held in enumerate(their_cache.layers):  # and so are the keys and values themselves
        assert_close(cache.keys[layer][:, :, :20], held.keys, atol=near, rtol=0)
        assert_close(cache.values[layer][:, :, :20], held.values, atol=near, rtol=0)


def test_both_state_dicts_of_theirs_are_taken_and_an_untied_head_is_not():
    model = hugging_face("tiny")
    whole, body = from_state_dict(model.state_dict()), from_state_dict(model.transformer.state_dict())
    assert list(whole) == list(body)
    assert all(torch.equal(whole[name], body[name]) for name in whole)
    untied = model.state_dict() | {"lm_head.weight": model.lm_head.weight.detach() + 1}
    with pytest.raises(ValueError, match="tied"):
        from_state_dict(untied)


def test_our_initial_parameters_have_their_names_shapes_and_spread():
    c = Sizes(V=1000, context=256, D=64, layers=8, H=4)
    config = transformers.GPT2Config(
        vocab_size=c.V, n_positions=c.context, n_embd=c.D, n_layer=c.layers, n_head=c.H)
    torch.manual_seed(0)
    theirs = from_state_dict(transformers.GPT2LMHeadModel(config).state_dict())
    ours = gpt_parameters(c, torch.Generator().manual_seed(0))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.shape == theirs[name].shape
        if value.ndim == 1:
            assert torch.equal(value, theirs[name])
        else:  # two estimates from 4096 numbers or more, each off by 1.1 % of it, give or take
            assert abs(value.std() / theirs[name].std() - 1) < 0.08, name
