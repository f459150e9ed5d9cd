"""One training step of the course's GPT against Hugging Face's GPT2LMHeadModel: forward, loss, backward, AdamW.

Both start from the same random weights and see the same batches with the same optimiser; the peer computes its own
loss, as its users have it do. Steps alternate, so that whatever else the machine does hits both, and the medians are
compared. That both compute the same is checked at every step: their losses agree.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from reference_impl.causal_vs_masked import gpt_logits
from reference_impl.device import pick_device
from reference_impl.gpt import Config, from_state_dict
from reference_impl.teacher_forcing import cross_entropy

SIZES = (  # batch, length, model: what a demonstration trains, and one that is four times as large
    (16, 128, Config(V=512, context=128, D=128, layers=4, H=4)),
    (8, 256, Config(V=512, context=256, D=256, layers=4, H=4)),
)
STEPS = 20
Step = Callable[[torch.Tensor], torch.Tensor]


def peer_model(config: Config, device: torch.device) -> torch.nn.Module:
    """Hugging Face's model of that size, with random weights, no dropout and its default attention."""
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": config.V, "n_positions": config.context, "n_embd": config.D}
    layers = {"n_layer": config.layers, "n_head": config.H}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **layers, **dropout, **ends))
    return model.to(device).train()


def optimizer_of(parameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(list(parameters), lr=3e-4, weight_decay=0.1, fused=True)


def seconds(step: Step, ids: torch.Tensor) -> tuple[float, float]:
    """How long one step took, and its loss; a GPU is waited for."""
    started = time.perf_counter()
    loss = step(ids).item()
    if ids.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started, loss


def both(config: Config) -> tuple[Step, Step, dict[str, torch.Tensor], torch.nn.Module]:
    """Our step and the peer's, and the two sets of weights that they change, which begin equal."""
    model = peer_model(config, pick_device())
    params = {name: p.detach().clone().requires_grad_() for name, p in from_state_dict(model.state_dict()).items()}
    mine, theirs = optimizer_of(params.values()), optimizer_of(model.parameters())

    def ours(ids: torch.Tensor) -> torch.Tensor:
        # The peer predicts from all T tokens and scores T - 1, so this does too.
        loss = cross_entropy(gpt_logits(params, ids, config.H)[:, :-1], ids[:, 1:], ignore_index=-100, reduction="mean")
        mine.zero_grad()
        loss.backward()
        mine.step()
        return loss.detach()

    def peer(ids: torch.Tensor) -> torch.Tensor:
        loss = model(input_ids=ids, labels=ids).loss
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        return loss.detach()

    return ours, peer, params, model


def compare(B: int, T: int, config: Config, steps: int = STEPS) -> dict:
    """One row: the medians of alternating steps, after three that do not count."""
    ours, peer, _, model = both(config)
    generator = torch.Generator().manual_seed(0)
    times: list[tuple[float, float]] = []
    for number in range(steps + 3):
        ids = torch.randint(config.V, (B, T), generator=generator).to(model.device)
        order = (ours, peer) if number % 2 else (peer, ours)
        found = {step: seconds(step, ids) for step in order}
        if abs(found[ours][1] - found[peer][1]) > 1e-3:
            raise SystemExit(f"bench: step {number}: the losses differ, {found[ours][1]} and {found[peer][1]}")
        times.append((found[ours][0], found[peer][0]))
    fast, slow = (statistics.median(each) for each in zip(*times[3:]))
    size = f"{config.layers} layers of {config.D}, {B} x {T} tokens, {model.device.type}"
    return {"what": f"one training step of a GPT, {size} (peer: transformers' GPT2LMHeadModel)",
            "ours": f"{1e3 * fast:.0f} ms", "peer": f"{1e3 * slow:.0f} ms", "ratio": slow / fast, "seconds": times[3:]}


def run() -> list[dict]:
    """One row for each of SIZES."""
    return [compare(*size) for size in SIZES]
