"""One ordinary call of every function of the course: its signature, and arguments that are right.

``CALLS[name]`` is (module, signature, arguments): the signature as the course's outline gives it, and a function of a
floating dtype that draws keyword arguments, the same ones every time.
"""

# ruff: noqa: C408 -- the arguments of a call read best as arguments

from __future__ import annotations

import torch


def _draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same in every dtype but for rounding."""
    return torch.randn(*shape, generator=_draw(seed), dtype=torch.float64).to(dtype)


def uniform(*shape: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    """Numbers in [0, 1), drawn with eleven bits so that rounding to half precision cannot reach 1."""
    return (torch.randint(0, 2**8, shape, generator=_draw(seed)) / 2**8).to(dtype)


def draw_ids(*shape: int, V: int = 7, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, V, shape, generator=_draw(seed))


def mlp_params(dtype) -> dict[str, torch.Tensor]:
    """V = 7, D = 3, K = 2, H = 4."""
    shapes = {"C": (7, 3), "W1": (6, 4), "b1": (4,), "W2": (4, 7), "b2": (7,)}
    return {name: normal(*shape, dtype=dtype, seed=i) for i, (name, shape) in enumerate(shapes.items())}


def block_params(dtype, D: int = 8) -> dict[str, torch.Tensor]:
    shapes = {"ln_1.weight": (D,), "ln_1.bias": (D,), "attn.c_attn.weight": (D, 3 * D), "attn.c_attn.bias": (3 * D,),
              "attn.c_proj.weight": (D, D), "attn.c_proj.bias": (D,), "ln_2.weight": (D,), "ln_2.bias": (D,),
              "mlp.c_fc.weight": (D, 4 * D), "mlp.c_fc.bias": (4 * D,),
              "mlp.c_proj.weight": (4 * D, D), "mlp.c_proj.bias": (D,)}
    return {name: 0.3 * normal(*shape, dtype=dtype, seed=i) for i, (name, shape) in enumerate(shapes.items())}


def gpt_params(dtype) -> dict[str, torch.Tensor]:
    """Two layers, D = 8, V = 7, a context of 6."""
    params = {"wte.weight": normal(7, 8, dtype=dtype), "wpe.weight": normal(6, 8, dtype=dtype, seed=9)}
    for layer in range(2):
        params |= {f"h.{layer}.{name}": value for name, value in block_params(dtype).items()}
    return params | {"ln_f.weight": normal(8, dtype=dtype), "ln_f.bias": normal(8, dtype=dtype, seed=3)}


def rows(*shape: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    return normal(*shape, dtype=torch.float64, seed=seed).softmax(-1).to(dtype)


CALLS = {
    "best_constant_prediction": ("chain_rule", "targets V", lambda d: dict(targets=draw_ids(5), V=7)),
    "log_softmax": ("chain_rule", "logits dim", lambda d: dict(logits=normal(3, 7, dtype=d), dim=-1)),
    "entropy": ("chain_rule", "logits", lambda d: dict(logits=normal(3, 7, dtype=d))),
    "kl": ("chain_rule", "p_logits q_logits",
           lambda d: dict(p_logits=normal(3, 7, dtype=d), q_logits=normal(3, 7, dtype=d, seed=1))),
    "ce_grad": ("chain_rule", "logits targets", lambda d: dict(logits=normal(3, 7, dtype=d), targets=draw_ids(3))),
    "sequence_logprob": ("chain_rule", "logits ids lengths", lambda d: dict(
        logits=normal(3, 5, 7, dtype=d), ids=draw_ids(3, 5), lengths=torch.tensor([5, 0, 2]))),
    "total_probability": ("chain_rule", "p0 P eos L", lambda d: dict(
        p0=rows(5, dtype=d), P=rows(5, 5, dtype=d, seed=1), eos=1, L=4)),
    "count_ngrams": ("bigrams", "sequences n V bos eos", lambda d: dict(
        sequences=[[2, 3], [4]], n=2, V=5, bos=0, eos=1)),
    "normalize": ("bigrams", "counts", lambda d: dict(counts=uniform(5, 5, dtype=d))),
    "average_nll": ("bigrams", "table sequences bos eos",
                    lambda d: dict(table=rows(5, 5, dtype=d), sequences=[[2, 3], [4]], bos=0, eos=1)),
    "sample_sequence": ("bigrams", "table uniforms max_len bos eos",
                        lambda d: dict(table=rows(5, 5, dtype=d), uniforms=[0.9, 0.9, 0.9], max_len=2, bos=0, eos=1)),
    "additive": ("bigrams", "counts k", lambda d: dict(counts=uniform(5, 5, dtype=d), k=0.5)),
    "interpolate": ("bigrams", "tables weights",
                    lambda d: dict(tables=[rows(5, dtype=d), rows(5, 5, dtype=d)], weights=[0.25, 0.75])),
    "kneser_ney": ("bigrams", "counts context discount bos", lambda d: dict(
        counts=draw_ids(5, 5, V=3).to(d), context=[2], discount=0.75, bos=0)),
    "build_dataset": ("neural_ngrams", "sequences K bos eos", lambda d: dict(
        sequences=[[2, 3], []], K=2, bos=0, eos=1)),
    "embed": ("neural_ngrams", "C X", lambda d: dict(C=normal(7, 3, dtype=d), X=draw_ids(4, 2))),
    "mlp_logits": ("neural_ngrams", "params X", lambda d: dict(params=mlp_params(d), X=draw_ids(4, 2))),
    "initial_params": ("neural_ngrams", "V D H K generator", lambda d: dict(V=7, D=3, H=4, K=2, generator=_draw())),
    "train_step": ("neural_ngrams", "loss_fn params lr", lambda d: dict(
        loss_fn=lambda params: (params["w"] ** 2).sum(), params={"w": normal(3, dtype=d)}, lr=0.1)),
    "mlp_backward": ("neural_ngrams", "params X Y",
                     lambda d: dict(params=mlp_params(d), X=draw_ids(4, 2), Y=draw_ids(4, seed=2))),
    "shift_targets": ("teacher_forcing", "ids pad eos ignore_index",
                      lambda d: dict(ids=draw_ids(3, 5), pad=0, eos=1, ignore_index=-100)),
    "get_batch": ("teacher_forcing", "data T u", lambda d: dict(data=draw_ids(30), T=4, u=uniform(3))),
    "cross_entropy": ("teacher_forcing", "logits targets ignore_index reduction", lambda d: dict(
        logits=normal(3, 5, 7, dtype=d), targets=draw_ids(3, 5), ignore_index=-100, reduction="mean")),
    "merge_losses": ("teacher_forcing", "means counts", lambda d: dict(means=[1.0, 3.0], counts=[3, 1])),
    "mixed_rollout": ("teacher_forcing", "step ids teacher_mask", lambda d: dict(
        step=lambda prefix: sum(prefix) % 7, ids=[3, 1, 4], teacher_mask=[True, False, True])),
    "position_influence": ("teacher_forcing", "losses_fn embeddings", lambda d: dict(
        losses_fn=lambda x: x.cumsum(0).pow(2).sum(-1), embeddings=normal(4, 3, dtype=d))),
    "perplexity": ("perplexity", "nll_sum n", lambda d: dict(nll_sum=4.0, n=3)),
    "convert": ("perplexity", "loss from_unit to_unit tokens bytes",
                lambda d: dict(loss=1.5, from_unit="nats", to_unit="bits", tokens=10, bytes=40)),
    "bits_per_byte": ("perplexity", "nll targets token_bytes", lambda d: dict(
        nll=uniform(3, 5, dtype=d), targets=draw_ids(3, 5), token_bytes=torch.tensor([2, 1, 1, 2, 3, 1, 4]))),
    "merge_pair": ("perplexity", "ids pair new_id", lambda d: dict(ids=[1, 2, 1, 2], pair=(1, 2), new_id=7)),
    "strided_nll": ("perplexity", "nll_fn ids window stride", lambda d: dict(
        nll_fn=lambda window: torch.ones(len(window) - 1), ids=draw_ids(9).tolist(), window=4, stride=2)),
    "arithmetic_encode": ("perplexity", "cdf_fn ids", lambda d: dict(
        cdf_fn=lambda prefix: [0, 1, 2, 4], ids=[2, 0, 1])),
    "arithmetic_decode": ("perplexity", "cdf_fn bits n",
                          lambda d: dict(cdf_fn=lambda prefix: [0, 1, 2, 4], bits=[1, 0, 1], n=3)),
    "fit_power_law": ("perplexity", "sizes losses", lambda d: dict(
        sizes=[1e3, 1e4, 1e5, 1e6], losses=[1.5 + 30 * n**-0.5 for n in (1e3, 1e4, 1e5, 1e6)])),
    "causal_mask": ("causal_vs_masked", "T S", lambda d: dict(T=2, S=4)),
    "attention": ("causal_vs_masked", "q k v mask", lambda d: dict(
        q=normal(2, 2, 3, 4, dtype=d), k=normal(2, 2, 5, 4, dtype=d, seed=1), v=normal(2, 2, 5, 4, dtype=d, seed=2),
        mask=torch.ones(3, 5, dtype=torch.bool).tril(2))),
    "find_leak": ("causal_vs_masked", "logits_fn ids", lambda d: dict(
        logits_fn=lambda ids: (ids[..., None] == torch.arange(7)).double().cumsum(-2), ids=draw_ids(4))),
    "mlm_corrupt": ("causal_vs_masked", "ids special mask_id V u p", lambda d: dict(
        ids=draw_ids(2, 5), special=torch.tensor([True, True] + [False] * 5), mask_id=6, V=7,
        u=uniform(3, 2, 5), p=0.5)),
    "pad_causal": ("causal_vs_masked", "attend", lambda d: dict(
        attend=torch.tensor([[False, True, True], [True] * 3]))),
    "gpt_block": ("causal_vs_masked", "x params n_head mask", lambda d: dict(
        x=normal(2, 3, 8, dtype=d), params=block_params(d), n_head=2, mask=torch.ones(3, 3, dtype=torch.bool).tril())),
    "pseudo_logprob": ("causal_vs_masked", "mlm_fn ids mask_id special", lambda d: dict(
        mlm_fn=lambda ids: (ids[..., None] == torch.arange(7)).to(d).cumsum(-2), ids=draw_ids(4, V=5), mask_id=6,
        special=torch.tensor([True, False, False, False, False, False, True]))),
    "gpt_logits": ("causal_vs_masked", "params ids n_head", lambda d: dict(
        params=gpt_params(d), ids=draw_ids(2, 5), n_head=2)),
    "temperature": ("sampling", "logits T", lambda d: dict(logits=normal(3, 7, dtype=d), T=0.5)),
    "top_k": ("sampling", "logits k", lambda d: dict(logits=normal(3, 7, dtype=d), k=2)),
    "top_p": ("sampling", "logits p", lambda d: dict(logits=normal(3, 7, dtype=d), p=0.6)),
    "min_p": ("sampling", "logits p", lambda d: dict(logits=normal(3, 7, dtype=d), p=0.2)),
    "repetition_penalty": ("sampling", "logits ids penalty",
                           lambda d: dict(logits=normal(3, 7, dtype=d), ids=draw_ids(3, 4), penalty=1.25)),
    "sample": ("sampling", "probs u", lambda d: dict(probs=rows(3, 7, dtype=d), u=uniform(3))),
    "generate": ("sampling", "step ids max_new eos pad stop_ids context", lambda d: dict(
        step=lambda ids: (ids[:, -1] + 1) % 7, ids=draw_ids(2, 3, V=5), max_new=4, eos=6, pad=0, stop_ids=[4, 5],
        context=3)),
    "loop_stats": ("sampling", "ids", lambda d: dict(ids=[5, 1, 2, 1, 2, 1, 2])),
    "kv_bytes": ("kv_cache", "layers kv_heads head_dim tokens batch bytes", lambda d: dict(
        layers=2, kv_heads=2, head_dim=4, tokens=8, batch=1, bytes=2)),
    "KVCache": ("kv_cache", "layers batch kv_heads capacity head_dim dtype device", lambda d: dict(
        layers=2, batch=1, kv_heads=2, capacity=8, head_dim=4, dtype=d, device="cpu")),
    "grouped_query_attention": ("kv_cache", "q k v", lambda d: dict(
        q=normal(2, 4, 3, 4, dtype=d), k=normal(2, 2, 3, 4, dtype=d, seed=1), v=normal(2, 2, 3, 4, dtype=d, seed=2))),
    "cached_attention": ("kv_cache", "q cache layer start", None),
    "fit_context": ("kv_cache", "ids window keep policy", lambda d: dict(
        ids=list(range(9)), window=5, keep=2, policy="keep_start")),
    "decode_roofline": (
        "kv_cache", "param_bytes kv_bytes_per_sequence flops_per_token bandwidth peak batch", lambda d: dict(
        param_bytes=1e9, kv_bytes_per_sequence=1e8, flops_per_token=1e9, bandwidth=1e11, peak=1e13, batch=4)),
    "generate_cached": ("kv_cache", "model ids max_new", None),
    "pass_at_k": ("beyond", "n c k", lambda d: dict(n=10, c=3, k=2)),
    "exact_match": ("beyond", "p_token L", lambda d: dict(p_token=uniform(5, dtype=d), L=3)),
    "leave_one_out": ("beyond", "rewards", lambda d: dict(rewards=normal(2, 4, dtype=d))),
    "reinforce_loss": ("beyond", "logp mask advantage", lambda d: dict(
        logp=-uniform(3, 4, dtype=d), mask=torch.ones(3, 4, dtype=torch.bool).tril(), advantage=normal(3, dtype=d))),
    "fit_probe": ("beyond", "H y C ridge", lambda d: dict(H=normal(9, 3, dtype=d), y=draw_ids(9, V=2), C=2, ridge=0.5)),
    "unmask_step": ("beyond", "logits ids mask_id n",
                    lambda d: dict(logits=normal(2, 4, 7, dtype=d), ids=torch.full((2, 4), 6), mask_id=6, n=2)),
    "myopic_attention": ("beyond", "x Wq Wk Wv mask", lambda d: dict(
        x=normal(2, 4, 3, dtype=d), Wq=normal(3, 3, dtype=d, seed=1), Wk=normal(3, 3, dtype=d, seed=2),
        Wv=normal(3, 3, dtype=d, seed=3), mask=torch.ones(4, 4, dtype=torch.bool).tril())),
}
