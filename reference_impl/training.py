"""The training loop of the course's demonstrations: AdamW over a dict of parameters, warm-up, cosine, clipping.

A chapter that shows *how* to train has a loop of its own; this one is for where a trained model is needed. Documents
become padded batches (:func:`batches`, which an epoch shuffles), and :func:`fit` takes one step for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch

from reference_impl import arguments
from reference_impl.device import pick_device

IGNORE = -100  # the target of padding, as torch.nn.functional.cross_entropy ignores it by default
Parameters = dict[str, torch.Tensor]


def pad(documents: Sequence[Sequence[int]], bos: int, eos: int, device: torch.device | None = None) -> tuple:
    """Inputs and targets of some documents side by side: ids ``(B, T), (B, T)`` int64, T = longest document + 1.

    A row of inputs is the begin token and the document, its targets are the document and the end token. After that come
    ``eos`` among the inputs and -100 among the targets: a causal model never sees the one, a loss with
    ``ignore_index=-100`` never the other. Raises ValueError for no documents and for an id that is no whole number.

    >>> inputs, targets = pad([[5, 6], [7]], bos=0, eos=1)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 5, 6], [0, 7, 1]], [[5, 6, 1], [7, 1, -100]])
    """
    if not isinstance(documents, (list, tuple)) or not all(isinstance(one, (list, tuple)) for one in documents):
        raise ValueError("documents must be a list of lists of ids")
    if not documents:
        raise ValueError("documents must not be empty")
    T = max(map(len, documents)) + 1
    rows = [[bos, *document, *[eos] * (T - 1 - len(document))] for document in documents]
    aims = [[*document, eos, *[IGNORE] * (T - 1 - len(document))] for document in documents]
    try:
        ids = [torch.tensor(numbers, device=device) for numbers in (rows, aims)]
    except (TypeError, ValueError, RuntimeError):
        ids = []
    if not ids or any(each.dtype != torch.int64 for each in ids):
        raise ValueError("documents must hold ids, which are whole numbers")
    return tuple(ids)


def batches(
    documents: Sequence[Sequence[int]],
    size: int,
    generator: torch.Generator,
    bos: int,
    eos: int,
    pool: int = 16,
    device: torch.device | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of ``size`` documents as :func:`pad` gives them, without end: every epoch holds each document once.

    An epoch shuffles the documents, sorts ``pool`` batches at a time by length, so that little is padding, and shuffles
    the batches; its last batch may be smaller. ``pool=1`` does not sort across batches. The ``generator`` (on the CPU)
    alone decides the order. Raises ValueError for no documents and for a ``size`` or ``pool`` below 1.

    >>> some = batches([[5], [6], [7, 8]], 2, torch.Generator().manual_seed(0), bos=0, eos=1)
    >>> [len(next(some)[0]) for _ in range(4)]
    [1, 2, 1, 2]
    """
    if not len(documents):
        raise ValueError("documents must not be empty")
    arguments.whole("size", size, low=1)
    arguments.whole("pool", pool, low=1)
    return _epochs(documents, size, generator, bos, eos, pool, device)


def _epochs(documents, size, generator, bos, eos, pool, device):
    while True:
        order = torch.randperm(len(documents), generator=generator).tolist()
        groups = []
        for start in range(0, len(order), size * pool):
            alike = sorted(order[start : start + size * pool], key=lambda i: len(documents[i]))
            groups += [alike[i : i + size] for i in range(0, len(alike), size)]
        for i in torch.randperm(len(groups), generator=generator).tolist():
            yield pad([documents[j] for j in groups[i]], bos, eos, device)


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """The rate of a step, counted from 0: ``warmup`` steps rise in a line to the peak, a cosine falls from it to 0.

    The first step takes 1 / (warmup + 1) of the peak, so no step is wasted. Follows Loshchilov and Hutter (2017),
    without their restarts.

    >>> [round(learning_rate(step, steps=8, peak=1.0, warmup=3), 3) for step in range(8)]
    [0.25, 0.5, 0.75, 1.0, 0.905, 0.655, 0.345, 0.095]
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def fit(
    params: Mapping[str, torch.Tensor],
    loss_fn: Callable[..., torch.Tensor],
    batches: Iterable[Sequence[torch.Tensor]],
    steps: int,
    lr: float = 3e-3,
    warmup: float = 0.05,
    weight_decay: float = 0.1,
    clip: float = 1.0,
    device: torch.device | str | None = None,
) -> tuple[Parameters, torch.Tensor]:
    """Trained parameters and the loss before each step: a dict like ``params``, and ``(steps,)`` on the CPU.

    ``loss_fn(params, *batch)`` is the mean loss of a batch, which comes as a sequence of tensors. Each of the ``steps``
    takes the next batch, scales the gradients down to the norm ``clip`` together, and makes one step of AdamW (betas .9
    and .99) at the rate of :func:`learning_rate`; ``warmup`` is a share of the steps. Weights of two dims and more
    decay, biases and norms do not. Where ``device`` is None, :func:`reference_impl.device.pick_device` says where to
    train; parameters keep their dtype. The caller's parameters and batches are left alone, and the result needs no
    gradient. The same parameters and batches give the same result on the same machine.

    Raises ValueError for settings out of range, parameters that are no dict of floating tensors, batches that end too
    early, and a loss that is no scalar or no longer finite. Follows Loshchilov and Hutter (2019).

    >>> start = {"w": torch.tensor([4.0])}
    >>> trained, losses = fit(start, lambda params, x: ((params["w"] - x) ** 2).sum(), [(torch.ones(1),)] * 80,
    ...                       steps=80, lr=0.3, device="cpu")
    >>> bool((trained["w"] - 1).abs() < 0.05), start["w"], losses[0], losses.shape
    (True, tensor([4.]), tensor(9.), torch.Size([80]))
    """
    arguments.whole("steps", steps, low=1)
    arguments.real("lr", lr, low=0)
    arguments.real("warmup", warmup, low=0, high=1)
    arguments.real("weight_decay", weight_decay, low=0)
    arguments.real("clip", clip, low=0, above=True)
    device = pick_device() if device is None else torch.device(device)
    trained = _copied(params, device)
    groups = [
        {"params": [p for p in trained.values() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One kernel for all tensors: on small models the steps of single tensors cost more than the gradients.
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.99), fused=True)
    losses, coming = [], iter(batches)
    for step in range(steps):
        batch = next(coming, None)
        if batch is None:
            raise ValueError(f"batches ended after {step} of {steps} steps")
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, lr, round(warmup * (steps - 1)))
        loss = loss_fn(trained, *(tensor.to(device) for tensor in batch))
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise ValueError("loss_fn must give one number for a batch: a tensor of one value")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), clip)
        optimizer.step()
        losses.append(loss.detach().reshape(()))
        if step % 100 == 0 or step == steps - 1:  # not at each step: asking a GPU for a number makes it wait
            _still_finite(losses[-100:], step)
    return {name: p.detach() for name, p in trained.items()}, torch.stack(losses).cpu()


def _copied(params: Mapping[str, torch.Tensor], device: torch.device) -> Parameters:
    """Leaves of their own for a training run."""
    good = isinstance(params, Mapping) and len(params) > 0
    if not good or not all(isinstance(p, torch.Tensor) and p.is_floating_point() for p in params.values()):
        raise ValueError("params must be a dict of floating tensors, one of them at least")
    return {name: p.detach().to(device, copy=True).requires_grad_() for name, p in params.items()}


def _still_finite(losses: list[torch.Tensor], step: int) -> None:
    finite = torch.stack(losses).isfinite()
    if not finite.all():
        first = step - len(losses) + 1 + int((~finite).nonzero()[0])
        raise ValueError(f"the loss of step {first} is not finite: lr may be too high, or a batch holds no target")
