"""How good a model is: perplexity, units of loss, windows over long texts, codes as short as the loss, power laws.

A loss is a negative log-likelihood (NLL). Means are per predicted token unless they say otherwise: in nats (natural
logarithm), in bits (base 2), or as a perplexity, the number of equally likely choices with the same loss.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from numbers import Real

import torch

from reference_impl import arguments, intervals, power_law

UNITS = ("nats", "bits", "perplexity", "bits_per_byte")
IGNORED = -100  # as in torch.nn.functional.cross_entropy


def perplexity(nll_sum: float | torch.Tensor, n: int) -> float | torch.Tensor:
    """The perplexity exp(nll_sum / n) of n tokens whose losses add up to ``nll_sum`` nats: ``() -> ()``.

    1 for a model that is certain and right, V for the uniform guess, more than V for a model that is worse than that;
    inf where exp overflows. A tensor gives a tensor of its dtype and device, with a gradient; a number gives a float.
    Raises ValueError for n < 1 and for NaN. Follows Jelinek et al. (1977).

    >>> losses = -torch.tensor([0.5, 0.5, 0.5, 0.125]).log()
    >>> perplexity(losses.sum(), 4)
    tensor(2.8284)
    """
    total, n = _wide("nll_sum", nll_sum), _count("n", n)
    if total.ndim:
        raise ValueError(f"nll_sum must be one number, the sum over all tokens, not of shape {tuple(total.shape)}")
    return _like((total / n).exp(), nll_sum)


def convert(loss: float | torch.Tensor, from_unit: str, to_unit: str, tokens: int, bytes: int) -> float | torch.Tensor:
    """The same loss in another unit: ``(...) -> (...)``.

    The units are 'nats' and 'bits' (both per token), 'perplexity' and 'bits_per_byte'. ``tokens`` and ``bytes`` are the
    totals of the text; they change the result only on the way from or to bits per byte. A perplexity that is too large
    for its dtype is inf. A tensor gives a tensor of its dtype and device, with a gradient; a number gives a float.
    Raises ValueError for another unit, for totals below 1, for NaN, and for a perplexity that is not above 0.

    >>> convert(3.0, "bits", "perplexity", tokens=100, bytes=400)
    8.0
    >>> convert(8.0, "perplexity", "bits_per_byte", tokens=100, bytes=400)
    0.75
    """
    arguments.one_of("from_unit", from_unit, UNITS)
    arguments.one_of("to_unit", to_unit, UNITS)
    per_byte = _count("tokens", tokens) / _count("bytes", bytes)
    x = _wide("loss", loss)
    if from_unit == "perplexity" and not (x > 0).all():
        raise ValueError("loss must be above 0, since it is a perplexity")
    if from_unit == to_unit:
        return _like(x, loss)
    # The way leads through nats if one end is in nats, else through bits: 3 bits are a perplexity of exactly 8.
    nats = "nats" in (from_unit, to_unit)
    unit = {"nats": 1.0, "bits": math.log(2) if nats else 1.0}
    unit["bits_per_byte"] = unit["bits"] / per_byte
    x = (x.log() if nats else x.log2()) if from_unit == "perplexity" else x * unit[from_unit]
    if to_unit == "perplexity":
        return _like(x.exp() if nats else x.exp2(), loss)
    return _like(x / unit[to_unit], loss)


def bits_per_byte(nll: torch.Tensor, targets: torch.Tensor, token_bytes: torch.Tensor) -> torch.Tensor:
    """The loss in bits for each byte of the text, whatever its tokens are: ``(B, T), (B, T), (V,) -> ()``.

    ``nll`` is in nats per token; ``token_bytes`` has the length of each token in UTF-8. A target of -100 is ignored,
    and so is one of zero bytes (begin, end, padding): such a token adds neither loss nor bytes, and its loss may be
    anything, NaN included. Computed in float64, returned in the dtype of ``nll``, with a gradient. Raises ValueError
    when no byte is left, for other targets outside 0 .. V - 1, and for a NaN that counts.

    >>> nll = torch.tensor([[1.0, 2.0, 0.5, 9.0]]) * math.log(2)
    >>> bits_per_byte(nll, torch.tensor([[2, 3, 0, -100]]), token_bytes=torch.tensor([0, 0, 1, 3]))
    tensor(0.7500)
    """
    sizes = arguments.tensor("nll", nll, "B T")
    arguments.tensor("targets", targets, "B T", "integer", sizes)
    V = arguments.tensor("token_bytes", token_bytes, "V", "integer")["V"]
    targets = targets.long()
    arguments.ids("targets", targets, V, besides=[IGNORED])
    if not (token_bytes >= 0).all():
        raise ValueError("token_bytes must hold lengths of at least 0")
    read = targets != IGNORED
    lengths = token_bytes.to(targets.device)[torch.where(read, targets, 0)].long() * read
    total = lengths.sum()
    if total == 0:
        raise ValueError("targets hold no byte of text: all are ignored, or have the length 0 in token_bytes")
    losses = torch.where(lengths > 0, nll, 0)
    mean = losses.double().sum() / total
    if mean.isnan():
        arguments.no_nan("nll", losses)
    return (mean / math.log(2)).to(nll.dtype)


def merge_pair(ids: list[int] | torch.Tensor, pair: tuple[int, int], new_id: int) -> list[int] | torch.Tensor:
    """The ids with each occurrence of ``pair`` replaced by ``new_id``: a list, or ``(N,) -> (M,)`` with M <= N.

    One step of byte-pair encoding: one pass from left to right, where an id that was merged is not merged again, so
    that a a a becomes (a a) a; what the pass makes is not looked at. A tensor keeps its dtype and device. Raises
    ValueError unless ``pair`` are two ids and ``new_id`` is one. Follows Sennrich et al. (2016).

    >>> merge_pair([1, 1, 1, 2, 1, 2], (1, 1), 9), merge_pair([1, 1, 1, 2, 1, 2], (1, 2), 9)
    ([9, 1, 2, 1, 2], [1, 1, 9, 9])
    """
    given = ids if isinstance(ids, torch.Tensor) else torch.tensor(_id_list("ids", ids), dtype=torch.int64)
    arguments.tensor("ids", given, "N", "integer", empty="N")
    pair = _id_list("pair", pair)
    if len(pair) != 2:
        raise ValueError(f"pair must be two ids, not {len(pair)}")
    arguments.whole("new_id", new_id, 0, torch.iinfo(given.dtype).max)
    row = given.to(torch.int64, copy=True)
    match = (row[:-1] == pair[0]) & (row[1:] == pair[1])
    # Only a pair of two equal ids can overlap itself. In a run of matches, every other one counts, the first included.
    begins = match.clone()
    begins[1:] &= ~match[:-1]
    place = torch.arange(len(match), device=row.device)
    match &= (place - torch.where(begins, place, 0).cummax(0).values) % 2 == 0
    row[:-1][match] = int(new_id)
    kept = torch.ones_like(row, dtype=torch.bool)
    kept[1:] = ~match
    return row[kept].to(given.dtype) if isinstance(ids, torch.Tensor) else row[kept].tolist()


def strided_nll(nll_fn: Callable, ids: Sequence[int] | torch.Tensor, window: int, stride: int) -> tuple[float, int]:
    """The loss of a text longer than the model's window: (sum in nats, number of tokens scored).

    ``nll_fn(ids[s : s + window])`` gives the losses of all tokens of a window but its first: ``len - 1`` of them, a 1-D
    tensor or a list. Windows start at 0, stride, 2 stride ...; the last one is shorter, not moved. A token belongs to
    the first window that reaches it, so each token after the first of the text is scored once, and after the first
    window each token sees at least ``window - stride`` tokens before it. Windows that reach nothing new are not
    computed; fewer than two tokens give (0.0, 0). Sums are float64. Raises ValueError for window < 2, for a stride
    outside 1 .. window - 1, for another number of losses, and for a NaN among those that count. Follows the sliding
    window of Press et al. (2021).

    >>> strided_nll(lambda window: [0.5] * (len(window) - 1), list(range(10)), window=4, stride=2)
    (4.5, 9)
    """
    arguments.whole("window", window, 2)
    arguments.whole("stride", stride, 1, window - 1)
    if isinstance(ids, torch.Tensor):
        arguments.tensor("ids", ids, "N", "integer", empty="N")
    elif not isinstance(ids, (list, tuple)):
        raise ValueError(f"ids must be a list of ids or a tensor of shape (N,), not {type(ids).__name__}")
    parts, reached = [], 1
    for start in range(0, len(ids), stride):
        if reached >= len(ids):
            break
        end = min(start + window, len(ids))
        losses = _points("nll_fn", nll_fn(ids[start:end]))
        if len(losses) != end - start - 1:
            raise ValueError(f"nll_fn must give {end - start - 1} losses for {end - start} tokens, not {len(losses)}")
        parts.append(losses[reached - start - 1 :].sum())
        reached = end
    total = torch.stack(parts).sum().item() if parts else 0.0
    if math.isnan(total):
        raise ValueError("nll_fn must not give NaN for a token that is scored")
    return total, max(len(ids) - 1, 0)


def arithmetic_encode(cdf_fn: Callable, ids: Sequence[int] | torch.Tensor) -> list[int]:
    """The shortest bits from which :func:`arithmetic_decode` reads the ids: a list of 0 and 1.

    ``cdf_fn(prefix)`` gives V + 1 cumulative integers c (a list, or a 1-D array or tensor): after the list ``prefix``
    the next id is i with probability (c[i + 1] - c[i]) / c[V]. c[0] is 0; c[V] may be another after each prefix.

    Each id narrows [0, 1) to its own share of it, in exact integers; in the end the interval is as long as the message
    is probable, P. The bits b1 b2 ... are the number 0.b1b2... in it that needs the fewest. The interval holds a
    multiple of 2**-k as soon as 2**-k <= P, so there are fewer than NLL + 1 bits, with NLL = -log2 P, and none for an
    empty message. Nothing is rounded, so neither length nor skew adds to that. (Bits that stay right whatever bits come
    after them need one more: fewer than NLL + 2.)

    Raises ValueError for an id of probability zero, for one outside 0 .. V - 1, and for integers that do not go up from
    0 to a positive total. Follows Rissanen (1976).

    >>> arithmetic_encode(lambda prefix: [0, 1, 3, 4], [1, 1, 2])
    [1, 0, 0, 1]
    """
    ids, shares = _id_list("ids", ids), []
    for t, i in enumerate(ids):
        cdf = intervals.cumulative(cdf_fn, ids[:t])
        if i >= len(cdf) - 1:
            raise ValueError(f"ids must hold ids from 0 to {len(cdf) - 2}; found {i} at ({t},)")
        share = intervals.share(cdf, i)
        if not share.width:
            raise ValueError(f"ids cannot be encoded: {i} at ({t},) has probability zero")
        shares.append(share)
    return intervals.shortest_bits(intervals.compose(shares))


def arithmetic_decode(cdf_fn: Callable, bits: Sequence[int] | torch.Tensor, n: int) -> list[int]:
    """The n ids that :func:`arithmetic_encode` turned into ``bits`` with the same ``cdf_fn``: a list.

    Missing bits are read as zeros, so any bits are a message of any length: the ids in whose interval the number
    0.b1b2... lies. Exact, so it reads the bits of every encoder that names a number in the exact interval. An id of
    probability zero is never read. Raises ValueError for a bit that is not 0 or 1, for n < 0, and for integers that do
    not go up from 0 to a positive total.

    >>> arithmetic_decode(lambda prefix: [0, 1, 3, 4], [1, 0, 0, 1], 3)
    [1, 1, 2]
    """
    arguments.whole("n", n, 0)
    bits = _id_list("bits", bits)
    if any(bit > 1 for bit in bits):
        raise ValueError("bits must hold nothing but 0 and 1")
    number, ids = intervals.Number(bits), []
    for _ in range(n):
        ids.append(number.read(intervals.cumulative(cdf_fn, ids[:])))
    return ids


def fit_power_law(
    sizes: Sequence[float] | torch.Tensor, losses: Sequence[float] | torch.Tensor
) -> tuple[float, float, float]:
    """The exponent a, coefficient c and floor of the power law ``floor + c * N**-a`` nearest to the losses at sizes N.

    Nearest means the least sum of squared differences in the loss (not in its logarithm) over all a > 0, c >= 0 and
    floor >= 0. For a given a the other two solve a linear least-squares problem, in closed form. So the search is over
    a alone, and finds the best of all local minima: a fine grid from flat to steep, then bisection of the slope of the
    error (variable projection, Golub and Pereyra 1973). Where no law that falls beats a constant, c is 0 and a is 1.
    float64 must hold N**-a and c, which bounds a: a sudden step is fitted as steeply as that allows. Returns floats.
    Raises ValueError for fewer than 3 different sizes, for sizes that are not above 0 and for losses that are not
    finite. The form is that of Hoffmann et al. (2022), in one variable.

    >>> sizes = [1e6, 1e7, 1e8, 1e9]
    >>> a, c, floor = fit_power_law(sizes, [1.69 + 406.4 * N**-0.34 for N in sizes])
    >>> round(a, 6), round(c, 3), round(floor, 6)
    (0.34, 406.4, 1.69)
    """
    N, y = _points("sizes", sizes).cpu(), _points("losses", losses).cpu()
    if len(N) != len(y):
        raise ValueError(f"sizes and losses must be equally many, not {len(N)} and {len(y)}")
    if not ((N > 0) & N.isfinite()).all():
        raise ValueError("sizes must be finite numbers above 0")
    if not y.isfinite().all():
        raise ValueError("losses must be finite numbers")
    if len(N.unique()) < 3:
        raise ValueError("sizes must hold at least 3 different ones: three numbers are fitted to them")
    a, c, floor = power_law.nearest(N.log() - N.min().log(), y, steepest=600 / N.log().abs().max().item())
    return a, c * math.exp(a * N.min().log().item()), floor


def _wide(name: str, value: object) -> torch.Tensor:
    """A number or a floating tensor as float64; ValueError for anything else and for NaN."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        wide = value.double()
    elif isinstance(value, Real) and not isinstance(value, bool):
        wide = torch.tensor(float(value), dtype=torch.float64, device="cpu")
    else:
        what = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"{name} must be a number or a tensor of a floating dtype, not {what}")
    arguments.no_nan(name, wide)
    return wide


def _like(result: torch.Tensor, value: object) -> float | torch.Tensor:
    return result.to(value.dtype) if isinstance(value, torch.Tensor) else result.item()


def _count(name: str, value: object) -> int:
    """A whole number of at least 1, which may come as a tensor (a mask's sum)."""
    if isinstance(value, torch.Tensor) and value.ndim == 0 and not value.is_floating_point():
        value = value.item()
    arguments.whole(name, value, 1)
    return int(value)


def _id_list(name: str, ids: object) -> list[int]:
    """A list of whole numbers of at least 0, from a list, a tuple or a 1-D tensor of integers."""
    if isinstance(ids, torch.Tensor):
        arguments.tensor(name, ids, "N", "integer", empty="N")
        ids = ids.tolist()
    if not isinstance(ids, (list, tuple)):
        raise ValueError(f"{name} must be a list of whole numbers, not {type(ids).__name__}")
    try:
        found = list(map(operator.index, ids))
    except TypeError:
        raise ValueError(f"{name} must hold whole numbers only") from None
    if found and not 0 <= min(found) <= max(found) < 2**63:
        raise ValueError(f"{name} must hold numbers from 0 to 2**63 - 1; found {min(found)} to {max(found)}")
    return found


def _points(name: str, values: object) -> torch.Tensor:
    """Numbers as float64 ``(N,)``, without a gradient, from a list, a tuple, an array or a tensor."""
    try:
        points = values if isinstance(values, torch.Tensor) else torch.tensor(
            [float(value) for value in values], dtype=torch.float64, device="cpu")
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, in a list or a tensor of shape (N,)") from None
    arguments.tensor(name, points, "N", "number")
    return points.detach().double()
