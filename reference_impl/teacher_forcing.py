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
from reference_impl.chain_rule import wide


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
    whole = ids.long()  # not every operator takes uint16, in which long texts are kept
    padding = whole == pad
    if pad == eos:
        padding = padding.flip(1).cumprod(1).flip(1).bool()  # the run that ends the row
        padding[:, 1:] &= padding[:, :-1].clone()  # without its first
    return ids[:, :-1].clone(), whole[:, 1:].masked_fill(padding[:, 1:], ignore_index).to(ids.dtype)


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
        leading = tuple(logits.shape[:-1])
        raise ValueError(f"targets must have the shape of logits without V, {leading}, not {tuple(targets.shape)}")
    targets = targets.long()
    arguments.ids("targets", targets, V, besides=[ignore_index])
    rows, labels = logits.reshape(-1, V), targets.reshape(-1)
    scored = labels != ignore_index
    some_ignored = not scored.all()
    if some_ignored:  # left out before anything is computed: 0 times the gradient of a NaN would still be NaN
        place = scored.nonzero().squeeze(1)
        rows, labels = rows.index_select(0, place), labels[place]
    loss = F.cross_entropy(wide(rows), labels, reduction=reduction)
    if loss.isnan().any():  # of no row, of a row that holds inf or is all -inf, or of a NaN
        arguments.no_nan("logits", logits.detach().masked_fill((targets == ignore_index)[..., None], 0))
    if reduction == "none":
        loss = (loss.new_zeros(len(scored)).index_copy(0, place, loss) if some_ignored else loss).view(targets.shape)
    return loss


def merge_losses(means: Sequence[float] | torch.Tensor, counts: Sequence[int] | torch.Tensor) -> float | torch.Tensor:
    """The mean over all tokens from the means of parts and how many tokens each has: ``(n,), (n,) -> ()``.

    ``sum(means * counts) / sum(counts)``. A part with a count of 0 is left out, whatever its mean (that of no token is
    NaN). Tensors, or a list with 0-dim tensors among ``means``, give a 0-dim tensor through which gradients flow;
    numbers give a float. Computed in float64. Counts may be weights that are no whole numbers. Raises ValueError when
    all counts are 0, one is negative or not finite, or the lengths differ.

    >>> merge_losses([1.0, 4.0, float("nan")], [30, 10, 0])  # the mean of means would be 2.5
    1.75
    """
    values, weights = _numbers("means", means), _numbers("counts", counts).detach()
    if values.shape != weights.shape:
        raise ValueError(f"counts must have one number for each mean, {len(values)}, not {len(weights)}")
    weights = weights.to(values.device)
    if not ((weights >= 0) & weights.isfinite()).all():
        raise ValueError("counts must hold finite numbers of at least 0")
    counted = weights > 0
    if not counted.any():
        raise ValueError("counts must not all be 0: the mean over no token is undefined")
    weights = weights[counted]
    merged = (values[counted] * (weights / weights.sum())).sum()
    tensors = [one for one in ([means] if isinstance(means, torch.Tensor) else means) if isinstance(one, torch.Tensor)]
    if not tensors:
        return merged.item()
    return merged.to(tensors[0].dtype if tensors[0].is_floating_point() else torch.get_default_dtype())


def mixed_rollout(step: Callable[[list[int]], int], ids: Sequence[int], teacher_mask: Sequence[bool]) -> list[int]:
    """The prediction at every position when some positions are fed the truth and others the model's own: T ids.

    ``step(prefix)`` returns the next id after a list of ids, and gets a new list each time. Position 0 is fed
    ``ids[0]``. Position t > 0 is fed ``ids[t]`` where ``teacher_mask[t]`` is True, else prediction t - 1. Prediction t
    is ``step`` of what the positions 0 .. t were fed. So True everywhere is teacher forcing, and False everywhere is
    generation, which looks at no id but the first; ``teacher_mask[0]`` has no effect. Raises ValueError when ``ids`` is
    empty, ``teacher_mask`` has another length, or ``step`` returns anything but a whole number. Teacher forcing is the
    term of Williams and Zipser (1989); a mask drawn at random is the scheduled sampling of Bengio et al. (2015).

    >>> mixed_rollout(lambda prefix: prefix[-1] + 1, [10, 20, 30], [True, True, False])
    [11, 21, 22]
    """
    ids = _listed("ids must be a list of ids", ids, operator.index)
    mask = _listed("teacher_mask must be a list of True and False", teacher_mask, bool)
    if not ids:
        raise ValueError("ids is empty: position 0 must be fed the truth")
    if len(mask) != len(ids):
        raise ValueError(f"teacher_mask must have one entry for each of the {len(ids)} ids, not {len(mask)}")
    fed: list[int] = []
    predictions: list[int] = []
    for t, truth in enumerate(ids):
        fed.append(truth if t == 0 or mask[t] else predictions[-1])
        predictions += _listed("step must return an id", [step(list(fed))], operator.index)
    return predictions


def position_influence(
    losses_fn: Callable[[torch.Tensor], torch.Tensor], embeddings: torch.Tensor
) -> torch.Tensor:
    """How much each loss hangs on each input: the norms of d loss_t / d embedding_s: ``(T, D) -> (T, T)``.

    Row t, column s. ``losses_fn`` takes embeddings ``(T, D)`` and returns the T losses, a loss for each position. T
    backward passes through one graph; nothing is forced to zero, so a value above the diagonal is a leak. The Euclidean
    norm, in the dtype of ``embeddings``. Raises ValueError when the losses are not T numbers or do not depend on their
    argument, and for embeddings that make it NaN by holding one.

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
        with torch.enable_grad():  # one loss is taken out of all, and that is part of the graph
            (gradient,) = torch.autograd.grad(losses[t], leaf, retain_graph=True, allow_unused=True)
        if gradient is not None:
            influence[t] = torch.linalg.vector_norm(gradient, dim=1)
    if influence.isnan().any():
        arguments.no_nan("embeddings", embeddings.detach())
    return influence


def _numbers(name: str, value: Sequence[float] | torch.Tensor) -> torch.Tensor:
    """A float64 tensor (n,) of numbers, or of 0-dim tensors, which keep their graph; n is at least 1."""
    if not isinstance(value, torch.Tensor):
        try:
            value = torch.stack([torch.as_tensor(one, dtype=torch.float64) for one in value])
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{name} must be a tensor of shape (n,) or a list of n numbers, not {value!r}") from None
    arguments.tensor(name, value, "n", "number")
    return value.double()


def _listed(wanted: str, value: Sequence, kind: Callable) -> list:
    """A list of what ``kind`` makes of each entry; ValueError that begins with ``wanted`` where it cannot."""
    try:
        return [kind(one) for one in value]
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{wanted}, not {value!r}") from None
