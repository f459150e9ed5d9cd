"""Learning from the true past: shifted targets, batches, the loss, how losses merge, what a position is fed.

``inputs[:, t]`` is what a model sees last when it predicts ``targets[:, t]``. A target equal to ``ignore_index`` is not
scored. Losses are in nats per token.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from reference_impl import arguments


def shift_targets(
    ids: torch.Tensor, pad: int, eos: int, ignore_index: int = -100
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a model reads and what it is to predict, one position apart: ``(B, T) -> inputs, targets (B, T - 1)``.

    ``inputs`` are all ids but the last, ``targets`` all but the first, with ``ignore_index`` where they are ``pad``.
    When ``pad`` is also ``eos``, only the run that ends a row can be padding, and the first id of that run is the
    sequence's own end, so it is kept; an ``eos`` further left ends an earlier text of the row and is kept too. A row
    of nothing but ``pad`` has no target. T = 1 gives T - 1 = 0 positions. Both results are copies in the dtype of
    ``ids``. Raises ValueError when that dtype cannot hold ``ignore_index``.

    >>> inputs, targets = shift_targets(torch.tensor([[5, 6, 1, 1, 1]]), pad=1, eos=1)
    >>> inputs.tolist(), targets.tolist()
    ([[5, 6, 1, 1]], [[6, 1, -100, -100]])
    >>> shift_targets(torch.tensor([[5, 6, 1, 0, 0]]), pad=0, eos=1)[1].tolist()
    [[6, 1, -100, -100]]
    """
    arguments.tensor("ids", ids, "B T", "integer")
    arguments.whole("pad", pad, low=0)
    arguments.whole("eos", eos, low=0)
    limits = torch.iinfo(ids.dtype)
    arguments.whole("ignore_index", ignore_index, low=limits.min, high=limits.max)
    padding = ids == pad
    if pad == eos:
        trailing = padding.flip(1).long().cumprod(1).flip(1).bool()
        padding = torch.zeros_like(trailing)
        padding[:, 1:] = trailing[:, 1:] & trailing[:, :-1]  # all of the run but its first
    return ids[:, :-1].clone(), ids[:, 1:].masked_fill(padding[:, 1:], ignore_index)


def get_batch(data: torch.Tensor, T: int, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Chunks of a long text and the same chunks one position later: ``(N,), (B,) -> x, y (B, T)``, int64.

    Chunk b starts at ``floor(u[b] * (N - T))``, computed in float64, so that each of the N - T starts is equally likely
    when ``u`` is uniform on [0, 1); ``y[:, t]`` is the token after ``x[:, t]``. ``data`` may have any integer dtype;
    the results are copies on its device. Raises ValueError when the text is shorter than T + 1 and for a u outside
    [0, 1).

    >>> x, y = get_batch(torch.arange(10, 20), T=3, u=torch.tensor([0.0, 0.5, 0.99]))
    >>> x.tolist(), y.tolist()
    ([[10, 11, 12], [13, 14, 15], [16, 17, 18]], [[11, 12, 13], [14, 15, 16], [17, 18, 19]])
    """
    N = arguments.tensor("data", data, "N", "integer")["N"]
    arguments.tensor("u", u, "B")
    arguments.whole("T", T, low=1)
    if N < T + 1:
        raise ValueError(f"data must hold at least T + 1 = {T + 1} ids, not {N}")
    if not ((u >= 0) & (u < 1)).all():  # also what a NaN fails
        raise ValueError("u must hold numbers of at least 0 and below 1")
    start = (u.double() * (N - T)).long().to(data.device)
    place = start[:, None] + torch.arange(T, device=data.device)
    # Two look-ups and not two views of one: who masks targets in place must not change the inputs.
    return data[place].long(), data[place + 1].long()


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, ignore_index: int = -100, reduction: str = "mean"
) -> torch.Tensor:
    """The negative log-probability of the targets, in nats: ``(..., V), (...) -> ()``, or ``(...)`` unreduced.

    ``reduction`` is ``"mean"`` over the scored positions, their ``"sum"``, or ``"none"``: a loss for each position, 0
    where it is ignored. A position whose target is ``ignore_index`` has no effect on the result, whatever its logits
    hold, NaN included, and its gradient is exactly 0. When all are ignored the sum is 0 and the mean NaN, as in torch.
    Half-precision logits are computed in float32 and give float32. A target whose logit is -inf costs inf; a scored row
    that is all -inf, or holds inf, gives NaN. Raises ValueError for a NaN in a scored row, for a target outside
    0 .. V - 1 that is not ``ignore_index``, and when there is no position at all.

    >>> logits = torch.tensor([[0.0, 3.0, 0.5, -1.0, -2.0], [-1.0, 0.1, 2.5, 0.0, -2.0], [9.0, 9.0, 9.0, 9.0, 9.0]])
    >>> targets = torch.tensor([1, 2, -100])
    >>> cross_entropy(logits, targets, reduction="none")
    tensor([0.1458, 0.1940, 0.0000])
    >>> cross_entropy(logits, targets)
    tensor(0.1699)
    """
    V = arguments.tensor("logits", logits, "... V")["V"]
    arguments.one_of("reduction", reduction, ("mean", "sum", "none"))
    arguments.whole("ignore_index", ignore_index, low=-(2**63), high=2**63 - 1)
    arguments.tensor("targets", targets, "...", "integer")
    if targets.shape != logits.shape[:-1]:
        wanted = tuple(logits.shape[:-1])
        raise ValueError(f"targets must have the shape of logits without V, {wanted}, not {tuple(targets.shape)}")
    arguments.ids("targets", targets, V, besides=[ignore_index])
    rows, wanted = logits.reshape(-1, V), targets.reshape(-1).long()
    scored = wanted != ignore_index
    some_ignored = not scored.all()
    if some_ignored:  # left out before anything is computed: 0 times the gradient of a NaN would still be NaN
        rows, wanted = rows[scored], wanted[scored]
    losses = F.cross_entropy(rows if rows.dtype == torch.float64 else rows.float(), wanted, reduction="none")
    if losses.isnan().any():
        arguments.no_nan("logits", logits.detach().masked_fill(~scored.view(targets.shape)[..., None], 0))
    if reduction != "none":
        return losses.mean() if reduction == "mean" else losses.sum()
    if some_ignored:
        losses = losses.new_zeros(scored.shape).masked_scatter(scored, losses)
    return losses.view(targets.shape)


def merge_losses(means: Sequence[float] | torch.Tensor, counts: Sequence[int] | torch.Tensor) -> float | torch.Tensor:
    """The mean over all tokens from the means of parts and how many tokens each has: ``(n,), (n,) -> ()``.

    ``sum(means * counts) / sum(counts)``. A part with a count of 0 is left out, whatever its mean (that of no token is
    NaN). Tensors, or a list with 0-dim tensors among ``means``, give a 0-dim tensor through which gradients flow;
    numbers give a float. Computed in float64. Counts may be weights that are no whole numbers. Raises ValueError when
    all counts are 0, one is negative or not finite, or the lengths differ.

    >>> merge_losses([1.0, 4.0, float("nan")], [30, 10, 0])  # the mean of means would be 2.5
    1.75
    """
    plain = not isinstance(means, torch.Tensor) and not any(isinstance(mean, torch.Tensor) for mean in means)
    values = _numbers("means", means)
    weights = _numbers("counts", counts).detach().to(values.device, torch.float64)
    if values.shape != weights.shape:
        raise ValueError(f"counts must have one number for each mean, {len(values)}, not {len(weights)}")
    if not ((weights >= 0) & weights.isfinite()).all():
        raise ValueError("counts must hold finite numbers of at least 0")
    counted = weights > 0
    if not counted.any():
        raise ValueError("counts must not all be 0: the mean over no token is undefined")
    weights = weights[counted]
    merged = (values[counted].double() * (weights / weights.sum())).sum()
    return merged.item() if plain else merged.to(values.dtype)


def mixed_rollout(step: Callable[[list[int]], int], ids: Sequence[int], teacher_mask: Sequence[bool]) -> list[int]:
    """The prediction at every position when some positions are fed the truth and others the model's own: T ids.

    ``step(prefix)`` returns the next id after a list of ids, and gets a new list each time. Position 0 is fed
    ``ids[0]``. Position t > 0 is fed ``ids[t]`` where ``teacher_mask[t]`` is True, else prediction t - 1. Prediction t
    is ``step`` of what the positions 0 .. t were fed. So True everywhere is teacher forcing, and False everywhere is
    generation, which looks at no id but the first; ``teacher_mask[0]`` has no effect. Raises ValueError when ``ids`` is
    empty or ``teacher_mask`` has another length. A mask drawn at random is the scheduled sampling of Bengio et al.
    (2015).

    >>> mixed_rollout(lambda prefix: prefix[-1] + 1, [10, 20, 30], [True, True, False])
    [11, 21, 22]
    """
    ids, mask = _plain(ids), _plain(teacher_mask)
    if not ids:
        raise ValueError("ids is empty: position 0 must be fed the truth")
    if len(mask) != len(ids):
        raise ValueError(f"teacher_mask must have one entry for each of the {len(ids)} ids, not {len(mask)}")
    fed: list[int] = []
    predictions: list[int] = []
    for t, truth in enumerate(ids):
        fed.append(truth if t == 0 or mask[t] else predictions[-1])
        predicted = step(list(fed))
        try:
            predictions.append(operator.index(predicted))
        except TypeError:
            raise ValueError(f"step must return an id, not {predicted!r}") from None
    return predictions


def position_influence(
    losses_fn: Callable[[torch.Tensor], torch.Tensor], embeddings: torch.Tensor
) -> torch.Tensor:
    """How much each loss hangs on each input: the norms of d loss_t / d embedding_s: ``(T, D) -> (T, T)``.

    Row t, column s. ``losses_fn`` takes embeddings ``(T, D)`` and returns the T losses, a loss for each position. T
    backward passes through one graph; nothing is forced to zero, so a value above the diagonal is a leak. The Euclidean
    norm, in the dtype of ``embeddings``. Raises ValueError when the losses are not T numbers or do not depend on their
    argument.

    >>> position_influence(lambda e: (e**2).sum(1).cumsum(0), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[10.,  0.],
            [10.,  2.]])
    """
    sizes = arguments.tensor("embeddings", embeddings, "T D")
    with torch.enable_grad():
        leaf = embeddings.detach().requires_grad_()
        losses = losses_fn(leaf)
    if not isinstance(losses, torch.Tensor) or losses.shape != (sizes["T"],):
        found = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
        raise ValueError(f"losses_fn must return a tensor of T = {sizes['T']} losses, not {found}")
    if not losses.requires_grad:
        raise ValueError("losses_fn must return losses that depend on the embeddings it is given")
    influence = torch.zeros(sizes["T"], sizes["T"], dtype=embeddings.dtype, device=embeddings.device)
    for t in range(sizes["T"]):
        (gradient,) = torch.autograd.grad(losses[t], leaf, retain_graph=True, allow_unused=True)
        if gradient is not None:
            influence[t] = torch.linalg.vector_norm(gradient, dim=1)
    return influence


def _numbers(name: str, value: Sequence[float] | torch.Tensor) -> torch.Tensor:
    """A 1-D tensor of what is one already or a list of numbers and 0-dim tensors, which keep their graph."""
    if not isinstance(value, torch.Tensor):
        value = list(value)
        tensors = [one for one in value if isinstance(one, torch.Tensor)]
        like = tensors[0] if tensors else torch.empty((), dtype=torch.float64)
        value = torch.stack([torch.as_tensor(one, dtype=like.dtype, device=like.device) for one in value] or [like])
    arguments.tensor(name, value, "n", "number")
    return value


def _plain(value: Sequence | torch.Tensor) -> list:
    return value.tolist() if isinstance(value, torch.Tensor) else list(value)
