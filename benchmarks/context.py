"""What one more token costs as the text grows, with a cache and without: curves, and the shapes fitted to them.

With a cache a token attends to the t before it: a + b t. Without one the whole text is computed anew, in which every
token attends to all before it: a + b t + c t^2. (A text of t tokens costs one power more of each.) That these are the
shapes is shown by least squares: by how well the right one fits, and by how much a simpler one misses.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from reference_impl.device import pick_device
from reference_impl.gpt import GPT, Config, gpt_parameters

CONFIG = Config(V=256, context=4097, D=64, layers=2, H=2)  # narrow, so that attention is soon most of the work
LENGTHS = range(256, 4097, 256)
REPEATS = 20
UNITS = ((1e3, "ms"), (1e6, "us t"), (1e9, "ns t^2"))  # of a, b and c, so that they are readable


def seconds(work: Callable[[], torch.Tensor]) -> float:
    """How long a call takes until its token is known; on a CPU the thread's own time, in which no other work counts."""
    clock = time.perf_counter if pick_device().type == "cuda" else time.thread_time
    started = clock()
    work().argmax(-1).tolist()
    return clock() - started


def curves(model: GPT) -> dict[str, list[float]]:
    """Seconds for the next token after each length, both ways; every repeat goes through all lengths.

    The least of the repeats is taken: what else the machine does only adds, and a shape is asked for here.
    """
    ids = torch.randint(model.V, (1, model.context), generator=torch.Generator().manual_seed(0)).to(pick_device())
    cache = model.new_cache(1)
    model(ids[:, :-1], cache)
    taken: dict[str, list[list[float]]] = {"with": [[] for _ in LENGTHS], "without": [[] for _ in LENGTHS]}
    for _ in range(REPEATS + 1):
        for place, t in enumerate(LENGTHS):

            def step(t=t):
                cache.lengths = [t] * len(cache.lengths)  # what stands behind is written over
                return model(ids[:, t : t + 1], cache)[:, -1]

            taken["with"][place].append(min(seconds(step) for _ in range(5)))
            taken["without"][place].append(seconds(lambda t=t: model(ids[:, : t + 1])[:, -1]))
    return {side: [min(times[1:]) for times in lists] for side, lists in taken.items()}  # first: warm-up


def fit(times: list[float], degree: int) -> dict:
    """The polynomial of least squares in t, its R^2, its rms error in seconds, and how far it foretells the last time.

    That is its relative error there when it is fitted to the shorter half of the lengths only.
    """
    t = torch.tensor(list(LENGTHS), dtype=torch.float64)
    y, size = torch.tensor(times, dtype=torch.float64), t[-1]
    powers = (t / size)[:, None] ** torch.arange(degree + 1)  # from 0 to 1: well conditioned

    def solve(n: int) -> torch.Tensor:
        return torch.linalg.lstsq(powers[:n], y[:n, None], driver="gelsd").solution[:, 0]

    off = y - powers @ solve(len(y))
    return {"coefficients": (solve(len(y)) / size ** torch.arange(degree + 1)).tolist(),
            "r2": 1 - (off.square().sum() / (y - y.mean()).square().sum()).item(),
            "rms": off.square().mean().sqrt().item(),
            "ahead": ((powers[-1] @ solve(len(y) // 2)) / y[-1] - 1).item()}


@torch.inference_mode()
def run() -> list[dict]:
    """What a token costs at both ends with a cache and without, and how well each shape fits against a simpler one.

    On a CPU with one thread: how work is divided among several changes with its size, and that is not the shape asked
    for.
    """
    device, threads = pick_device(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = curves(GPT(gpt_parameters(CONFIG, torch.Generator().manual_seed(0), device), CONFIG.H))
    finally:
        torch.set_num_threads(threads)
    rows = []
    for place in (0, -1):
        ours, peer = found["with"][place], found["without"][place]
        rows.append({"what": f"one more token after {LENGTHS[place]}, {device.type}, with a cache (peer: without)",
                     "ours": f"{1e3 * ours:.2f} ms", "peer": f"{1e3 * peer:.2f} ms", "ratio": peer / ours})
    for side, degree, shape, rejected in (
            ("with", 1, "a + b t", "a"), ("without", 2, "a + b t + c t^2", "a + b t")):
        fits = [fit(found[side], degree + more) for more in (0, -1, 1)]
        right, simpler, _ = fits
        terms = " + ".join(f"{value * unit:.3g} {name}" for value, (unit, name) in zip(right["coefficients"], UNITS))
        what = f"R^2 of {shape} for a token {side} a cache: {terms} (peer: {rejected}); ratio of their rms errors"
        rows.append({"what": what, "ours": f"{right['r2']:.4f}", "peer": f"{simpler['r2']:.4f}",
                     "ratio": simpler["rms"] / right["rms"], "lengths": list(LENGTHS), "seconds": found[side],
                     "fits": dict(zip(("shape", "simpler", "richer"), fits))})
    return rows
