"""Comparison: what is right is never rejected for its form, what is wrong is never accepted, and why is said."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autograder.compare import check_header, check_value, first_difference
from autograder.room import wire

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(max_size=5))
dtypes = st.sampled_from(list(wire.DTYPES.values()))


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1 << 30)))
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 50).to(draw(dtypes))


values = st.recursive(st.one_of(scalars, tensors()), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6)
quick = settings(max_examples=60, deadline=None)


@quick
@given(values)
def test_everything_is_as_good_as_itself(value):
    assert first_difference(value, value) is None
    header = wire.describe(value)
    assert check_header(header, header, show=False) is None


@quick
@given(values, values, st.booleans())
def test_a_comparison_never_raises_and_always_says_one_line(a, b, show):
    message = check_header(wire.describe(a), wire.describe(b), show=show)
    if message is None:
        message = check_value(a, b, show=show)
    assert message is None or (message and "\n" not in message)


@quick
@given(tensors(), st.data())
def test_one_changed_entry_is_found_where_it_is(value, data):
    assume(value.numel() and value.dtype != torch.bool)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in value.shape)
    other = value.clone()
    other[index] = value[index] + 3 if value[index] < 100 else value[index] - 3
    assume(not torch.equal(value, other))
    message = first_difference(value, other, rtol=0, atol=1e-9)
    assert message is not None
    if value.dim():
        assert f"differs at {list(index)}" in message


@quick
@given(tensors())
def test_strides_and_gradients_do_not_matter(value):
    assume(value.dim() >= 2)
    turned = value.transpose(0, 1).contiguous().transpose(0, 1)
    assert first_difference(value, turned) is None
    if value.is_floating_point():
        assert first_difference(value, turned.requires_grad_()) is None


@quick
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(1e-8, 1e-2), st.floats(1e-8, 1e-2))
def test_the_tolerance_is_that_of_torch(numbers, rtol, atol):
    expected = torch.tensor(numbers, dtype=torch.float64)
    allowed = atol + rtol * expected.abs()
    assert check_value(expected, expected + 0.9 * allowed, rtol=rtol, atol=atol) is None
    assert check_value(expected, expected + 1.1 * allowed, rtol=rtol, atol=atol) is not None


@pytest.mark.parametrize(("expected", "got"), [
    (0.5, torch.tensor(0.5)), (torch.tensor(0.5), 0.5), (0.5, torch.tensor(0.5, dtype=torch.float64)),
    (2.0, 2), (3, torch.tensor(3)), (torch.tensor(3), 3), (True, torch.tensor(True)),
    ([1, 2], (1, 2)), ((1, 2), [1, 2]), ([1, 2], [torch.tensor(1), torch.tensor(2)]),
    (math.nan, math.nan), (math.inf, torch.tensor(math.inf)), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (torch.tensor([math.nan, -math.inf]), torch.tensor([math.nan, -math.inf])),
    (torch.tensor([0.0]), torch.tensor([-0.0])), (10 ** 400, 10 ** 400),
], ids=lambda _: "")
def test_no_convention_is_held_against_an_answer(expected, got):
    assert first_difference(expected, got) is None


@pytest.mark.parametrize(("expected", "got", "says"), [
    (torch.ones(2, 2), torch.tensor(1.0), "single number"),
    (torch.ones(2, 2), 1.0, "single number"),
    (torch.ones(2, 2), torch.ones(2, 1), "shape (2, 1), expected (2, 2)"),
    (torch.ones(2), torch.ones(2).double(), "dtype float64, expected float32"),
    (torch.ones(2).long(), torch.ones(2), "dtype float32, expected int64"),
    (torch.ones(2), [1.0, 1.0], "torch.tensor"),
    (torch.ones(2), np.ones(2), "a numpy array, expected a float32 tensor"),
    (torch.ones(2), None, "is a return missing"),
    (0.5, np.float64(0.5), "put float(...) around it"),
    (3, np.int64(3), "put int(...) around it"),
    (3, 3.0, "a float, expected an int"), (1, True, "a bool, expected an int"), (1.0, True, "a bool"),
    (0.5, torch.tensor([0.5]), "shape (1,), expected a single number"),
    ([1], (i for i in [1]), "a generator"), ([1, 2], [1], "1 items, expected 2"), ([1], {1}, "a set"),
    ([1], torch.tensor([1]), ".tolist()"), ({"a": 1}, Counter("a"), "a Counter"), ({"a": 1}, {}, "no key 'a'"),
    ({}, {"a": 1}, "a key too many"), (torch.ones(1), len, "not called"), (torch.ones(1), int, "class"),
    ("abc", "abd", "'abd', expected 'abc'"), (1.0, math.nan, "nan, expected 1"), (math.inf, 1e300, "1e+300"),
    (math.inf, -math.inf, "-inf, expected inf"), (3, 10 ** 5000, "huge"), (3.0, 10 ** 5000, "huge"),
    (torch.tensor([1.0, 2.0, 3.0]), torch.full((3,), math.nan), "every entry is NaN"),
    (torch.tensor([1.0, 2.0, 3.0]), torch.full((3,), 2.0), "the same number"),
    (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 3.0], [2.0, 4.0]]), "rows and columns are exchanged"),
    (torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0]) / math.log(2), "1.443 times"),
    (torch.tensor([1.0, 2.0, 4.0]), torch.tensor([4.0, 2.0, 1.0]), "reverse"),
    ({"W": torch.ones(2)}, {"W": torch.zeros(2)}, "result['W'] differs at [0]: got 0, expected 1"),
    ([[1, 2], [3]], [[1, 2], [4]], "result[1][0] is 4, expected 3"),
], ids=lambda part: part if isinstance(part, str) else "")
def test_what_differs_is_said(expected, got, says):
    message = first_difference(expected, got)
    assert message is not None
    assert says in message
    hidden = check_header(wire.describe(expected), wire.describe(got), show=False) or check_value(
        expected, got, show=False)
    assert hidden


def test_on_the_wrong_device():
    message = check_header(["tensor", "float32", [2], "cuda"], ["tensor", "float32", [2], "cpu"])
    assert message == "the result is on the CPU, expected on the GPU, where the inputs are"


def test_a_reference_beyond_the_range_of_half_precision_expects_an_infinity():
    expected = torch.tensor([1e6, 1.0], dtype=torch.float64)
    assert check_value(expected, torch.tensor([math.inf, 1.0], dtype=torch.float16)) is None
    assert check_value(expected, torch.tensor([60000.0, 1.0], dtype=torch.float16)) is not None


@quick
@given(values, values)
def test_hidden_messages_hold_nothing_that_was_put_there(a, b):
    secret = [torch.zeros(7777, 0), "7777", 7777, {"7777": b}, type("T7777", (), {})()]
    for got in (*secret, [b, *secret], b):
        message = check_header(wire.describe(a), wire.describe(got), show=False)
        assert message is None or "7777" not in message
