"""Shares of [0, 1) in exact integers: what an arithmetic coder narrows an interval with, and reads a number by."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch


class Share(NamedTuple):
    """The part [low / total, (low + width) / total) of an interval."""

    low: int
    width: int
    total: int


def cumulative(cdf_fn: Callable, prefix: list[int]) -> Sequence[int]:
    """What ``cdf_fn(prefix)`` gives: whole numbers c, c[0] = 0, that never fall and end above 0; else ValueError.

    >>> cumulative(lambda prefix: torch.tensor([0, 1, 1, 4]), []).tolist()
    [0, 1, 1, 4]
    """
    cdf = cdf_fn(prefix)
    if isinstance(cdf, torch.Tensor) and not cdf.is_floating_point():
        cdf = cdf.cpu().numpy()
    if isinstance(cdf, np.ndarray) and cdf.dtype.kind in "iu" and cdf.ndim == 1:  # large vocabularies: no list is made
        falls = bool((cdf[1:] < cdf[:-1]).any())
    else:
        try:
            cdf = list(map(operator.index, cdf))
        except TypeError:
            raise ValueError("cdf_fn must give a list or a 1-D tensor of whole numbers") from None
        falls = cdf != sorted(cdf)
    if len(cdf) < 2 or cdf[0] != 0 or falls or not cdf[-1] > 0:
        raise ValueError(f"cdf_fn must give numbers that go up from 0 to a total above 0 (after {len(prefix)} ids)")
    return cdf


def share(cdf: Sequence[int], i: int) -> Share:
    """The share of id i.

    >>> share([0, 1, 3, 4], 1)
    Share(low=1, width=2, total=4)
    """
    return Share(int(cdf[i]), int(cdf[i + 1]) - int(cdf[i]), int(cdf[-1]))


def compose(shares: Sequence[Share]) -> Share:
    """The share of a share of a share ..., the first one outermost; all of [0, 1) for none.

    They are put together in pairs, then pairs of pairs, so that long integers are only multiplied by long ones, at
    which Python is far better than quadratic. Taken one by one, each id would touch all the digits so far.

    >>> compose([Share(1, 2, 4), Share(3, 1, 4)])
    Share(low=10, width=2, total=16)
    """
    shares = list(shares) or [Share(0, 1, 1)]
    while len(shares) > 1:
        pairs = zip(shares[::2], shares[1::2])
        left_over = shares[len(shares) - len(shares) % 2 :]
        shares = [Share(a.low * b.total + a.width * b.low, a.width * b.width, a.total * b.total) for a, b in pairs]
        shares += left_over
    return shares[0]


def shortest_bits(part: Share) -> list[int]:
    """The fewest bits b1 b2 ... for which the number 0.b1b2... lies in a share.

    >>> shortest_bits(Share(10, 2, 16))  # [0.625, 0.75) holds 0.101
    [1, 0, 1]
    """
    low, width, total = part
    k = max(total.bit_length() - width.bit_length(), 0)
    k += width << k < total  # the smallest k with 2**-k <= width / total
    number = -(-(low << k) // total)
    # One or two multiples of 2**-k lie in the share. A number with fewer bits is one of them, with zeros at its end.
    if number & 1 and (number + 1) * total < (low + width) << k:
        number += 1
    return [int(bit) for bit in f"{number:0{k}b}".rstrip("0")]


class Number:
    """A number 0.b1b2... in [0, 1) that is read id by id: exact, with integers as long as the bits still to be read.

    Let x be where the number lies in the interval of the ids read so far, from 0 to 1. Then low <= x * 2**p <= high: at
    first exactly, with p 128 digits finer than the bits, and each id rounds outwards and uses up as many digits as it
    tells bits. Where the two cannot tell the next id (x may be a border between two) x is computed from all ids so far,
    without rounding, and p doubled. So no id is ever guessed.

    >>> number = Number([1, 0, 1])
    >>> number.read([0, 1, 3, 4]), number.read([0, 1, 3, 4])
    (1, 2)
    """

    def __init__(self, bits: Sequence[int]):
        self.number, self.bits = int("".join(map(str, bits)) or "0", 2), len(bits)
        self.p = self.bits + 128
        self.low = self.high = self.number << 128
        self.shares: list[Share] = []

    def read(self, cdf: Sequence[int]) -> int:
        """The next id, in whose share of the interval the number lies. That share is the interval from now on."""
        total = int(cdf[-1])
        i = bisect_right(cdf, self.low * total >> self.p) - 1
        below, width, _ = part = share(cdf, i)
        if min(self.high * total >> self.p, total - 1) < below + width:
            start = below << self.p
            self.low, self.high = (self.low * total - start) // width, -((start - self.high * total) // width)
            spare = (self.high - self.low).bit_length() - 32
            if spare > 32:  # digits of which nothing is known
                self.low, self.high, self.p = self.low >> spare, -(-self.high >> spare), self.p - spare
        else:
            low, whole_width, whole_total = compose(self.shares)
            above, under = (self.number * whole_total - (low << self.bits)) * total, whole_width << self.bits
            i = bisect_right(cdf, above // under) - 1
            below, width, _ = part = share(cdf, i)
            self.p = 128 + 2 * (whole_total.bit_length() - whole_width.bit_length())
            self.low, rest = divmod((above - below * under) << self.p, under * width)
            self.high = self.low + (rest > 0)
        self.shares.append(part)
        return i
