"""From a distribution to a text: temperature, filters, a penalty, drawing one token, and the loop around it.

The filters take logits ``(..., V)`` over the last dim and return logits: what they take away is -inf, what they leave
keeps its value, its dtype and its gradient. An entry that is -inf already stays so, and so does a whole row of them. A
NaN or +inf logit is refused. Usual order: penalty, temperature, filters; then a softmax and :func:`sample`. Each
docstring says where transformers' class for the same step answers otherwise, and a test shows it; all of them let NaN
and +inf pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral

import torch

from reference_impl import arguments

SLACK = 1e-10  # a decimal threshold and a float64 sum carry rounding: equal is what differs by no larger part than this


def temperature(logits: torch.Tensor, T: float) -> torch.Tensor:
    """Logits divided by T: ``(..., V) -> (..., V)``.

    T = 0 is the limit: 0 at the largest logit, at the lowest id where several are largest, -inf elsewhere; no gradient
    flows. A row whose largest quotient would leave the dtype's range is first shifted by its maximum, which changes no
    probability, so every T gives a distribution. Raises ValueError for T below 0 or not finite. The T of Ackley, Hinton
    and Sejnowski (1985).

    Differs from transformers' TemperatureLogitsWarper, which refuses T = 0 and an int, and divides without a shift: a
    tiny T gives it inf or NaN probabilities, and a T above float32's range turns its -inf logits into NaN.

    >>> temperature(torch.tensor([3.0, 1.5, -1.0]), 0.5)
    tensor([ 6.,  3., -2.])
    >>> temperature(torch.tensor([1.5, 3.0, 3.0]), 0)
    tensor([-inf, 0., -inf])
    """
    arguments.tensor("logits", logits, "... V")
    arguments.real("T", T, low=0)
    if T == 0:
        impossible = _largest(logits) == -math.inf
        best = torch.full_like(logits, -math.inf).scatter_(-1, logits.argmax(-1, keepdim=True), 0)
        return best.masked_fill(impossible, -math.inf)
    divided = logits / T
    fine = divided.amax(-1, keepdim=True).isfinite()
    if fine.all():
        return divided
    largest = _largest(logits)
    shift = largest.masked_fill(largest == -math.inf, 0).double()
    return torch.where(fine, divided, ((logits.double() - shift) / T).to(logits.dtype))


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Logits with all but the k largest of a row at -inf: ``(..., V) -> (..., V)``.

    Exactly k are kept; of equal logits those with the lower ids. k >= V changes nothing. Where fewer than k are above
    -inf, those are kept. Raises ValueError for k below 1. Follows Fan, Lewis and Dauphin (2018).

    Differs from transformers' TopKLogitsWarper, which keeps every logit equal to the k-th largest, so more than k at a
    tie, and at least ``min_tokens_to_keep``; its ``generate`` takes k = 0 for "no filter".

    >>> top_k(torch.tensor([1.0, 2.0, 0.0, 2.0, 1.0]), 3)
    tensor([1., 2., -inf, 2., -inf])
    """
    V = arguments.tensor("logits", logits, "... V")["V"]
    arguments.whole("k", k, low=1)
    _largest(logits)
    last = logits.topk(min(k, V)).values[..., -1:]
    above, tied = logits > last, logits == last
    spare = min(k, V) - above.sum(-1, keepdim=True)
    return logits.masked_fill(~(above | tied & (tied.cumsum(-1) <= spare)), -math.inf)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Logits of the nucleus, the smallest set of likeliest tokens that holds p of the mass: ``(..., V) -> (..., V)``.

    In order of falling probability, equal ones by id, a token is kept if the mass strictly before it is below p, in
    other words if the mass from it on is above 1 - p; the first is always kept. So p = 0 keeps one token, and p = 1
    changes nothing. The mass from a token on is added up in float64, whatever the logits are, from the least likely
    one, and equals 1 - p if it differs by at most a 1e-10th: ten equal logits and p = 0.8 keep eight. A float32 answer
    can differ only where a mass lies within its rounding of p. float32 logits hold a table to 1e-7 only, so a tie with
    p on paper is one only in float64. Raises ValueError for p outside [0, 1]. Follows Holtzman et al. (2020), section
    3.1.

    Differs from transformers' TopPLogitsWarper, which adds and compares in the logits' dtype, without slack: ten equal
    float32 logits and p = 0.1 keep two, and in bfloat16 a large nucleus is off by dozens. Of equal logits at the cut
    its unstable sort decides, mostly for the higher ids. p = 1 drops tokens whose sum rounds to 0. It takes (B, V)
    only, and keeps at least ``min_tokens_to_keep``.

    >>> top_p(torch.tensor([0.1, 0.2, 0.4, 0.3]).log(), 0.65).exp()
    tensor([0.0000, 0.0000, 0.4000, 0.3000])
    """
    arguments.tensor("logits", logits, "... V")
    arguments.real("p", p, low=0, high=1)
    _largest(logits)
    if p == 1:
        return logits.clone()
    ordered, order = logits.detach().sort(dim=-1, descending=True, stable=True)
    onward = ordered.double().softmax(-1).flip(-1).cumsum(-1).flip(-1)  # its own mass and that of all behind it
    kept = onward > (1 - p) * (1 + SLACK)
    kept[..., 0] = True
    return logits.masked_fill(~torch.empty_like(kept).scatter_(-1, order, kept), -math.inf)


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Logits of the tokens at least p times as likely as the likeliest: ``(..., V) -> (..., V)``.

    p = 0 changes nothing; p = 1 keeps every token tied for the first place. Compared are differences of logits with
    ln p, in float64; a ratio below p by less than a 1e-10th of it is kept. float32 logits hold a table to 1e-7 only: a
    tie with p on paper is one only in float64. Raises ValueError for p outside [0, 1]. Follows Nguyen et al. (2025),
    *Turning Up the Heat*.

    Differs from transformers' MinPLogitsWarper, which compares probabilities in the logits' dtype: logits that differ
    by less than the rounding of a probability count as equal, and a token whose probability and threshold both round
    to 0 stays. It keeps at least ``min_tokens_to_keep``.

    >>> min_p(torch.tensor([0.85, 0.10, 0.03, 0.02]).log(), 0.1).exp()
    tensor([0.8500, 0.1000, 0.0000, 0.0000])
    """
    arguments.tensor("logits", logits, "... V")
    arguments.real("p", p, low=0, high=1)
    largest = _largest(logits)
    if p == 0:
        return logits.clone()
    return logits.masked_fill(~(logits.double() - largest.double() >= math.log(p) - SLACK), -math.inf)


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Logits with those of the ids that occurred made smaller: ``(..., V), (..., T) -> (..., V)``.

    Of every distinct id in a row of ``ids``, once however often it occurs, a positive logit is divided by ``penalty``
    and a negative one multiplied. 1 changes nothing, below 1 favours what occurred. All ids count, those of the prompt
    and of padding too; T = 0 is allowed. Not invariant to shifts: adding a constant to all logits changes what comes
    out. Raises ValueError for a penalty that is not above 0, or takes a logit above its dtype's range, and for an id
    outside 0 .. V - 1. Follows Keskar et al. (2019), section 4.1, where every logit is divided; the product for
    negative ones, without which they would grow, is the rule in general use.

    Agrees with transformers' RepetitionPenaltyLogitsProcessor, which refuses an int, takes (B, V) with (B, T), reads
    ids of shape (B,) as one id for each row, and lets a logit overflow to inf; its ``prompt_ignore_length`` is
    ``ids[:, n:]`` here.

    >>> logits, ids = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([0, 2, 0])
    >>> repetition_penalty(logits, ids, 1.25)
    tensor([ 1.6000,  1.0000, -1.2500])
    >>> [round(repetition_penalty(row, ids[:1], 1.3).softmax(0)[0].item(), 2) for row in (logits, logits + 10)]
    [0.6, 0.13]
    """
    V = arguments.tensor("logits", logits, "... V")["V"]
    arguments.tensor("ids", ids, "... T", "integer", empty="T")
    if ids.shape[:-1] != logits.shape[:-1]:
        raise ValueError(f"ids must have the rows of logits {tuple(logits.shape[:-1])}, not {tuple(ids.shape[:-1])}")
    arguments.real("penalty", penalty, low=0, above=True)
    arguments.ids("ids", ids, V)
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, ids.long(), True)
    penalised = torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if not (penalised.amax(-1) < math.inf).all():
        _largest(logits)
        raise ValueError(f"penalty must leave logits in the range of {logits.dtype}; {penalty!r} does not")
    return penalised


def sample(probs: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """One token of each row, the first id whose CDF exceeds u: ``(..., V), (...) -> (...)``, int64.

    This inverts the CDF: for uniform u in [0, 1) a token comes with its probability. The CDF is a float64 running sum
    in the order of ids; a float32 one can differ where u lies within its rounding of it. Where rounding leaves the
    whole sum at or below u, the last id of positive probability comes; one of probability 0 never does. Raises
    ValueError unless probabilities are 0 or more and sum to 1 within 1e-3 (1e-2 in half precision), and every u is in
    [0, 1). Follows Devroye (1986), chapter III.

    Differs from transformers' ``generate``, which leaves the draw to ``torch.multinomial`` and its hidden generator.

    >>> sample(torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.25, 0.75]]), torch.tensor([0.5, 0.0])).tolist()
    [2, 1]
    """
    V = arguments.tensor("probs", probs, "... V")["V"]
    if not isinstance(u, torch.Tensor) or not u.is_floating_point() or u.shape != probs.shape[:-1]:
        was = f"{u.dtype} of shape {tuple(u.shape)}" if isinstance(u, torch.Tensor) else type(u).__name__
        raise ValueError(f"u must be a floating tensor, one for each row {tuple(probs.shape[:-1])}, not {was}")
    cdf = probs.detach().double().cumsum(-1)
    allowed = 1e-2 if probs.dtype.itemsize == 2 else 1e-3
    sums = (cdf[..., -1] - 1).abs() <= allowed
    if not (sums & (probs.amin(-1) >= 0) & (u >= 0) & (u < 1)).all():
        arguments.no_nan("probs", probs)
        if (probs < 0).any():
            raise ValueError(f"probs must be 0 or more, not {probs.min().item()}")
        if not sums.all():
            raise ValueError(f"probs must sum to 1 within {allowed}, not to {cdf[..., -1][~sums][0].item()}")
        raise ValueError("u must be in [0, 1)")
    places, possible = torch.arange(V, device=probs.device), probs > 0
    # a sum made in parallel, as on a GPU, need not stand still at a probability of 0
    first = places.masked_fill(~((cdf > u.unsqueeze(-1)) & possible), V).amin(-1)
    return torch.minimum(first, places.masked_fill(~possible, -1).amax(-1))


def generate(
    step: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, max_new: int, eos: int | None, pad: int,
    stop_ids: Sequence[int] | None = (), context: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The prompts with what ``step`` adds to them, and how long each became: ``(B, T) -> (B, T + n), (B,)``.

    ``step(ids (B, t))`` returns the next id of every row, ``(B,)``. It sees the last ``context`` tokens at most, all
    where that is None, in a tensor of its own. A row ends after ``eos`` (None: there is none), after the last id of
    ``stop_ids``, one sequence that must lie in the new tokens as a whole (empty: there is none), and after ``max_new``
    tokens. The end token and the stop sequence stay; the rest of the row is ``pad``, for ``step`` too, and what it
    returns there is ignored. n is the number of steps: the longest row's new tokens, 0 where ``max_new`` is, since
    ``step`` is not called once every row has ended. Lengths, int64, count the prompt and what ended the row; an end
    token in the prompt ends nothing. Raises ValueError for ids below 0 and for a step that returns another shape. The
    loop of every autoregressive model, as in Shannon (1948), section 3.

    Differs from transformers' ``generate``, which crops nothing, so a text longer than the model's window fails in it;
    refuses ``max_new`` = 0; matches stop strings in text, so also across the prompt's end; goes on in ended rows where
    no end token is set; and returns no lengths.

    >>> ids, lengths = generate(lambda ids: ids[:, -1] + 1, torch.tensor([[3, 4], [1, 1]]), 4, eos=6, pad=0)
    >>> ids.tolist(), lengths.tolist()
    ([[3, 4, 5, 6, 0, 0], [1, 1, 2, 3, 4, 5]], [4, 6])
    """
    B, T = arguments.tensor("ids", ids, "B T", "integer", empty="T").values()
    if (ids < 0).any():
        raise ValueError(f"ids must be 0 or more; found {int(ids.min())}")
    arguments.whole("max_new", max_new, low=0)
    if not isinstance(stop_ids, (list, tuple, torch.Tensor, type(None))):
        raise ValueError(f"stop_ids must be one sequence of ids, not {type(stop_ids).__name__}")
    stop = torch.as_tensor(() if stop_ids is None else stop_ids).tolist()
    for name, value in [("pad", pad), *[("eos", eos)][: eos is not None], *[("stop_ids", i) for i in stop]]:
        arguments.whole(name, value, low=0)
    if context is not None:
        arguments.whole("context", context, low=1)
    text = torch.cat([ids, ids.new_full((B, max_new), pad)], 1)
    stop_ids, lengths = ids.new_tensor(stop), torch.full((B,), T, device=ids.device)
    running, t = torch.ones_like(lengths, dtype=torch.bool), T
    while t < T + max_new and running.any():
        drawn = step(text[:, max(t - (context or t), 0) : t].clone())
        arguments.tensor("step(ids)", drawn, "B", "integer", {"B": B})
        text[:, t] = torch.where(running, drawn.to(text), pad)
        t += 1
        lengths += running
        ended = torch.zeros_like(running) if eos is None else text[:, t - 1] == eos
        if 0 < len(stop) <= t - T:
            ended |= (text[:, t - len(stop) : t] == stop_ids).all(1)
        running &= ~ended
    return text[:, :t].contiguous(), lengths


def loop_stats(ids: Sequence[int] | torch.Tensor) -> tuple[int, int]:
    """The loop in which a text ends: its period and where it starts, both in tokens; ``(0, len(ids))`` if in none.

    A text loops with period p from start s if ``ids[i] == ids[i + p]`` from s on to its end, and at least three copies
    of p tokens lie there; the last one may be cut short. Of all such pairs the one with the earliest start is returned,
    then the smallest period. Linear in the length. Raises ValueError unless ids is one sequence of whole numbers. The
    degeneration that Holtzman et al. (2020) measure; by the Z-function (Gusfield 1997, chapter 1).

    >>> loop_stats([9, 7, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1])
    (3, 2)
    >>> loop_stats([1, 2, 1, 2, 1])
    (0, 5)
    """
    if isinstance(ids, torch.Tensor):
        arguments.tensor("ids", ids, "T", "integer", empty="T")
        ids = ids.tolist()
    if not isinstance(ids, (list, tuple)) or not all(isinstance(i, Integral) for i in ids):
        raise ValueError("ids must be one sequence of whole numbers, a list, a tuple or a tensor of shape (T,)")
    back, n = ids[::-1], len(ids)
    # shared[p] tokens at the end of the text are those p places before them, so a loop of period p has p + shared[p]
    shared, left, right = [0] * (n // 3 + 1), 0, 0
    period, longest = 0, 0
    for p in range(1, n // 3 + 1):
        same = min(right - p, shared[p - left]) if p < right else 0
        while p + same < n and back[same] == back[p + same]:
            same += 1
        shared[p] = same
        if p + same > right:
            left, right = p, p + same
        if same >= 2 * p and p + same > longest:
            period, longest = p, p + same
    return period, n - longest


def _largest(logits: torch.Tensor) -> torch.Tensor:
    """The largest logit of each row, (..., 1); ValueError if one is NaN or +inf."""
    largest = logits.detach().amax(-1, keepdim=True)
    if not (largest < math.inf).all():
        arguments.no_nan("logits", logits)
        raise ValueError("logits must be finite or -inf; found inf")
    return largest
