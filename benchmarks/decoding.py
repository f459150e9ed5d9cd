"""Greedy decoding with a cache: tokens a second, against Hugging Face's ``generate`` and the bandwidth of memory.

Both sides decode the same weights from the same prompt, batch 1, in turns. The peer is at its best setting here: its
default attention (sdpa) and cache (dynamic), no end token to look for, one prompt of known length; the first run of
each side is not timed. A token cannot take less time than reading the weights of a step and the cache once. How fast
memory can be read is measured between the turns, by the fastest of several plain torch operations over a buffer that
no cache of the machine holds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from reference_impl.device import pick_device
from reference_impl.gpt import GPT, PRESETS, Config, from_state_dict
from reference_impl.kv_cache import decode_roofline, generate_cached, kv_bytes

PROMPT = 32
NEW = 256
BUFFER = 2**30  # bytes: ten times the last-level cache of a large server
REPEATS = {"tiny": 9, "gpt2": 5}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, with what it left running on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


class Memory:
    """A buffer to read, and the bytes a second of the fastest read so far."""

    def __init__(self, device: torch.device):
        self.device, self.bandwidth = device, 0.0
        buffer = torch.ones(BUFFER // 4, device=device)
        wide, tall = buffer.view(1024, -1), buffer.view(-1, 1024)
        row = torch.ones(1, 1024, device=device)
        self.reads = [buffer.sum, lambda: wide.sum(1), lambda: row @ wide, lambda: tall @ row[0], buffer.amax]
        for read in self.reads:
            read()

    def measure(self) -> None:
        with torch.inference_mode():
            for read in self.reads:
                self.bandwidth = max(self.bandwidth, BUFFER / seconds(read, self.device))


def peer(config: Config, device: torch.device):
    """Hugging Face's GPT-2 with random weights: nothing is downloaded."""
    import transformers

    torch.manual_seed(0)
    theirs = transformers.GPT2Config(
        vocab_size=config.V, n_positions=config.context, n_embd=config.D, n_layer=config.layers, n_head=config.H,
        bos_token_id=None, eos_token_id=None, pad_token_id=0)
    return transformers.GPT2LMHeadModel(theirs).eval().to(device)


def floor(config: Config, params: dict[str, torch.Tensor], bandwidth: float) -> float:
    """The least seconds a token can take: every weight but the two tables of embeddings, the head, and the cache."""
    size = params["wte.weight"].element_size()
    read = sum(one.numel() for name, one in params.items() if name != "wpe.weight")  # the head is wte
    held = kv_bytes(config.layers, config.H, config.D // config.H, PROMPT + NEW // 2, 1, size)  # on average
    return decode_roofline(read * size, held, 0, bandwidth, 1, batch=1)[0]


def compare(name: str, memory: Memory, device: torch.device) -> dict:
    """One row: tokens a second of both sides, medians over the turns, and ours as a part of what memory allows."""
    config = PRESETS[name]
    theirs = peer(config, device)
    params = from_state_dict(theirs.state_dict())
    ours = GPT(params, config.H)
    prompt = torch.randint(config.V, (1, PROMPT), generator=torch.Generator().manual_seed(0)).to(device)
    everything = torch.ones_like(prompt)
    sides = {
        "ours": lambda new: generate_cached(ours, prompt, new),
        "peer": lambda new: theirs.generate(prompt, attention_mask=everything, max_new_tokens=new, do_sample=False),
    }
    for work in sides.values():
        work(8)
    taken: dict[str, list[float]] = {side: [] for side in sides}
    texts: dict[str, torch.Tensor] = {}

    def decode(side: str) -> None:
        texts[side] = sides[side](NEW)

    for turn in range(REPEATS[name]):
        memory.measure()
        for side in sorted(sides, reverse=bool(turn % 2)):
            taken[side].append(seconds(lambda side=side: decode(side), device) / NEW)
    if texts["ours"].shape != texts["peer"].shape:
        raise SystemExit(f"bench: one side generated less: {[tuple(text.shape) for text in texts.values()]}")
    each = {side: statistics.median(times) for side, times in taken.items()}
    part = floor(config, params, memory.bandwidth) / each["ours"]
    what = (f"tokens a second, greedy with a cache, GPT-2 of {config.layers} layers x {config.D}, {device.type}, "
            f"float32 (peer: Hugging Face generate); ours: {part:.0%} of what {memory.bandwidth / 1e9:.1f} GB/s allow")
    return {"what": what, "ours": f"{1 / each['ours']:.1f}", "peer": f"{1 / each['peer']:.1f}",
            "ratio": each["peer"] / each["ours"], "of_roofline": part, "bandwidth": memory.bandwidth,
            "seconds_per_token": taken, "same_tokens": torch.equal(texts["ours"], texts["peer"]),
            "threads": torch.get_num_threads()}


def run() -> list[dict]:
    """A row for each of two sizes."""
    device = pick_device()
    memory = Memory(device)
    return [compare(name, memory, device) for name in ("tiny", "gpt2")]
