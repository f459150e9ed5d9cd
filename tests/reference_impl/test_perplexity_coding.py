"""The arithmetic coder against the definition in fractions, against every shorter code, and at the cross-entropy."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.corpus import MESSAGES, Bytes
from reference_impl.intervals import Number
from reference_impl.perplexity import arithmetic_decode, arithmetic_encode

WEIGHTS = st.lists(st.sampled_from([0, 1, 1, 2, 3, 8, 2**40]), min_size=1, max_size=4).filter(any)
MODELS = st.lists(WEIGHTS, min_size=1, max_size=3)  # which of them is next depends on the ids so far


def cdf_of(weights) -> list[int]:
    return list(itertools.accumulate(weights, initial=0))


def model(rows):
    return lambda prefix: cdf_of(rows[(len(prefix) + sum(prefix)) % len(rows)])


def interval(cdf_fn, ids) -> tuple[Fraction, Fraction]:
    """(low, width) of a message, by the definition."""
    low, width = Fraction(0), Fraction(1)
    for t, i in enumerate(ids):
        cdf = cdf_fn(ids[:t])
        low += width * Fraction(cdf[i], cdf[-1])
        width *= Fraction(cdf[i + 1] - cdf[i], cdf[-1])
    return low, width


def value(bits) -> Fraction:
    return sum((Fraction(bit, 2**k) for k, bit in enumerate(bits, start=1)), Fraction(0))


def decode_by_definition(cdf_fn, bits, n) -> list[int]:
    x, ids = value(bits), []
    for _ in range(n):
        cdf = cdf_fn(ids)
        i = next(i for i in range(len(cdf) - 1) if Fraction(cdf[i], cdf[-1]) <= x < Fraction(cdf[i + 1], cdf[-1]))
        x = (x - Fraction(cdf[i], cdf[-1])) / Fraction(cdf[i + 1] - cdf[i], cdf[-1])
        ids.append(i)
    return ids


@st.composite
def messages(draw, longest=12):
    """A model and a message that it does not hold impossible."""
    cdf_fn, ids = model(draw(MODELS)), []
    for _ in range(draw(st.integers(0, longest))):
        cdf = cdf_fn(ids)
        ids.append(draw(st.sampled_from([i for i in range(len(cdf) - 1) if cdf[i] < cdf[i + 1]])))
    return cdf_fn, ids


# The code


def test_by_hand():
    # [0, 1) -> 1: [1/4, 3/4) -> 1: [3/8, 5/8) -> 2: [9/16, 10/16), and 9/16 is 0.1001
    assert arithmetic_encode(lambda prefix: [0, 1, 3, 4], [1, 1, 2]) == [1, 0, 0, 1]
    assert arithmetic_decode(lambda prefix: [0, 1, 3, 4], [1, 0, 0, 1], 3) == [1, 1, 2]
    assert arithmetic_encode(lambda prefix: [0, 1, 3, 4], [1]) == [1], "1/2 lies in [1/4, 3/4)"
    assert arithmetic_encode(lambda prefix: [0, 1, 3, 4], [0, 0, 0]) == [], "0 lies in [0, 1/64)"
    assert arithmetic_encode(lambda prefix: [0, 1, 3, 4], []) == []
    assert arithmetic_encode(lambda prefix: [0, 7], [0] * 5) == [], "what is certain costs nothing"
    assert arithmetic_decode(lambda prefix: [0, 7], [1, 1], 5) == [0] * 5
    assert arithmetic_decode(lambda prefix: [0, 1, 3, 4], [1, 1, 1], 0) == []


@given(messages())
@settings(max_examples=100, deadline=None)
def test_a_code_lies_in_the_interval_comes_back_and_is_shorter_than_the_loss_plus_one(message):
    cdf_fn, ids = message
    low, width = interval(cdf_fn, ids)
    bits = arithmetic_encode(cdf_fn, ids)
    assert low <= value(bits) < low + width
    assert all(type(bit) is int and bit in (0, 1) for bit in bits)
    assert width * 2 ** len(bits) < 2 or not bits, "len < NLL + 1, with no rounding: 2**-NLL is the width"
    assert arithmetic_decode(cdf_fn, bits, len(ids)) == decode_by_definition(cdf_fn, bits, len(ids)) == ids
    assert arithmetic_decode(cdf_fn, [*bits, 0, 0], len(ids)) == ids, "missing bits are zeros"


@given(messages(longest=4))
@settings(max_examples=50, deadline=None)
def test_nothing_shorter_names_the_message(message):
    cdf_fn, ids = message
    low, width = interval(cdf_fn, ids)
    for k in range(min(len(arithmetic_encode(cdf_fn, ids)), 12)):
        assert not any(low <= Fraction(code, 2**k) < low + width for code in range(2**k))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_powers_of_two_cost_at_most_their_loss(exponents):
    """Where each id has the probability 2**-e, the loss is a whole number of bits."""
    def cdf_fn(prefix):
        return [0, 1, 2 ** exponents[len(prefix)]] if len(prefix) % 2 else [0, 2 ** exponents[len(prefix)] - 1,
                                                                            2 ** exponents[len(prefix)]]

    ids = [1 - t % 2 for t in range(len(exponents))]  # always the one of weight 1
    assert len(arithmetic_encode(cdf_fn, ids)) <= sum(exponents)


# The decoder


@given(MODELS, st.lists(st.integers(0, 1), max_size=8), st.integers(0, 80))
@settings(max_examples=50, deadline=None)
def test_any_bits_are_a_message_of_any_length(rows, bits, n):
    """Few bits and many ids: where the number is a border between two ids, or says nothing for long."""
    ids = arithmetic_decode(model(rows), bits, n)
    assert ids == decode_by_definition(model(rows), bits, n)
    assert len(ids) == n
    low, width = interval(model(rows), ids)
    assert low <= value(bits) < low + width


@pytest.mark.parametrize("bits", [[1], [0, 1], [1, 1, 0, 1]])
def test_the_exact_number_is_kept_far_beyond_the_digits_it_was_given(bits):
    cdf_fn = model([[2, 1, 4], [5, 5, 1], [3, 2]])
    assert arithmetic_decode(cdf_fn, bits, 600) == decode_by_definition(cdf_fn, bits, 600)


def test_a_number_on_a_border_belongs_to_the_id_above_it():
    thirds = [0, 1, 2, 3]
    # 1/2 = 0.111... in base 3, for ever; after one id of [0, 1/4, 1): 1/3 = 0.1 in base 3, then zeros.
    assert arithmetic_decode(lambda prefix: thirds, [1], 300) == [1] * 300
    after = arithmetic_decode(lambda prefix: thirds if prefix else [0, 1, 4], [1], 300)
    assert after == [1, 1, *[0] * 298]
    late = arithmetic_decode(lambda prefix: [0, 1, 4] if len(prefix) == 200 else thirds, [1], 300)
    assert late == [1] * 200 + [1, 1] + [0] * 98, "found when all digits that were kept are used up"


def test_a_text_is_as_long_as_its_loss_under_a_model_that_learns_as_it_reads():
    text = Bytes().encode(". ".join(MESSAGES * 8))

    def adaptive(prefix):  # add-one counts of the ids so far, on a total that grows
        counts = [1] * 258
        for i in prefix:
            counts[i] += 1
        return cdf_of(counts)

    loss = sum(math.log2((258 + t) / (1 + text[:t].count(i))) for t, i in enumerate(text))
    bits = arithmetic_encode(adaptive, text)
    assert loss - 8 < len(bits) < loss + 1, "a number with fewer bits is there by luck only"
    assert len(bits) < 5.5 * len(text), "of eight bits a byte"
    assert arithmetic_decode(adaptive, bits, len(text)) == text


@pytest.mark.parametrize("rare", [0, 1, 50, 3000])
def test_thousands_of_ids_that_are_all_but_certain_or_all_but_impossible(rare):
    total = 2**32 + 1
    ids = [int(t % (3000 // rare) == 0) if rare else 0 for t in range(3000)]
    cdf = [0, total - 3, total]
    loss = -sum(ids) * math.log2(3 / total) - (3000 - sum(ids)) * math.log2(1 - 3 / total)
    bits = arithmetic_encode(lambda prefix: cdf, ids)
    assert len(bits) < loss + 1
    assert arithmetic_decode(lambda prefix: cdf, bits, 3000) == ids


def test_the_digits_in_use_become_fewer_as_the_bits_are_read():
    random.seed(0)
    cdf = cdf_of([3, 1, 7, 5, 11])
    ids = random.choices(range(5), weights=[3, 1, 7, 5, 11], k=3000)
    number = Number(arithmetic_encode(lambda prefix: cdf, ids))
    widths = []
    for i in ids:
        assert number.read(cdf) == i
        widths.append(max(number.high.bit_length(), number.p))
    assert widths[0] < number.bits + 150
    assert max(widths[1500:]) < 0.6 * widths[0]
    assert max(widths[-30:]) < 400


@given(st.integers(0, 2**90), st.integers(1, 2**90), st.sampled_from([[1], [3, 1], [7, 0, 2]]))
@settings(max_examples=40, deadline=None)
def test_what_is_known_of_a_number_is_rounded_outwards(low, width, weights):
    cdf, number = cdf_of(weights), Number([])
    number.p, number.low, number.high = 100, low, low + width
    assert number.read(cdf) == 0, "all of it, up to 2**-9, lies in the first share"
    share = Fraction(weights[0], cdf[-1])
    assert Fraction(number.low, 2**number.p) <= Fraction(low, 2**100) / share
    assert Fraction(number.high, 2**number.p) >= Fraction(low + width, 2**100) / share


# What it takes, and what it refuses


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda cdf: np.array(cdf, dtype=np.uint8),
                                  lambda cdf: torch.tensor(cdf, dtype=torch.int32), iter])
def test_cumulative_integers_come_in_any_form(kind):
    ids = [2, 0, 2, 2, 1, 0]
    bits = arithmetic_encode(lambda prefix: [0, 3, 5, 250], ids)
    assert arithmetic_encode(lambda prefix: kind([0, 3, 5, 250]), torch.tensor(ids)) == bits
    assert arithmetic_decode(lambda prefix: kind([0, 3, 5, 250]), torch.tensor(bits), 6) == ids


def test_the_model_sees_the_ids_before_and_cannot_change_them():
    ids, seen = (2, 0, 1), []

    def cdf_fn(prefix):
        seen.append(list(prefix))
        prefix.append(9)
        return [0, 1, 2, 4]

    bits = arithmetic_encode(cdf_fn, ids)
    assert seen == [[], [2], [2, 0]]
    seen.clear()
    assert arithmetic_decode(cdf_fn, bits, 3) == [2, 0, 1]
    assert seen == [[], [2], [2, 0]]


@pytest.mark.parametrize("cdf", [[1, 2, 3], [0, 2, 1], [0, 0, 0], [0], [], [0.0, 1.0], [0, 2, 1, 3], [-1, 0, 2], None,
                                 5, torch.tensor([0.0, 1.0]), torch.tensor([[0, 1]]), torch.tensor([0, 3, 2]),
                                 np.array([0, 2, 1], dtype=np.uint8), torch.tensor([0.0, 1.0], dtype=torch.bfloat16)])
def test_malformed_cumulative_integers_are_refused_at_any_place(cdf):
    for call in (lambda fn: arithmetic_encode(fn, [0, 0]), lambda fn: arithmetic_decode(fn, [], 2)):
        for first in ([0, 1], cdf):
            with pytest.raises(ValueError, match="cdf_fn must give"):
                call(lambda prefix, first=first: cdf if prefix else first)


@pytest.mark.parametrize(("call", "says"), [
    (lambda fn: arithmetic_encode(fn, [0, 1]), r"ids cannot be encoded: 1 at \(1,\) has probability zero"),
    (lambda fn: arithmetic_encode(fn, [0, 3]), r"ids must hold ids from 0 to 2; found 3 at \(1,\)"),
    (lambda fn: arithmetic_encode(fn, [-1]), "ids must hold numbers from 0"),
    (lambda fn: arithmetic_encode(fn, [0.0]), "ids must hold whole numbers"),
    (lambda fn: arithmetic_encode(fn, torch.zeros(1, 2).long()), "ids must have the shape"),
    (lambda fn: arithmetic_encode(fn, 0), "ids must be a list"),
    (lambda fn: arithmetic_decode(fn, [0, 2], 1), "bits must hold nothing but 0 and 1"),
    (lambda fn: arithmetic_decode(fn, [0, -1], 1), "bits must"),
    (lambda fn: arithmetic_decode(fn, "01", 1), "bits must be a list"),
    (lambda fn: arithmetic_decode(fn, [0], -1), "n must be a whole number of at least 0"),
])
def test_a_bad_argument_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call(lambda prefix: [0, 1, 1, 2])
