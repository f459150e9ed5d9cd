"""What is said about a bad argument: it is named, what was expected is said, and good ones pass without a word."""

from __future__ import annotations

import math

import pytest
import torch

from reference_impl import arguments


@pytest.mark.parametrize(("value", "shape", "kind", "said"), [
    ([1.0], "V", "floating", "must be a tensor of shape (V,), not list"),
    (torch.zeros(3, dtype=torch.int64), "V", "floating", "must have a floating dtype, not torch.int64"),
    (torch.zeros(3), "V", "integer", "must have an integer dtype, not torch.float32"),
    (torch.zeros(3, dtype=torch.bool), "V", "integer", "must have an integer dtype, not torch.bool"),
    (torch.zeros(3), "V", "bool", "must have the dtype bool, not torch.float32"),
    (torch.zeros(3, dtype=torch.complex64), "V", "number", "must have an integer or floating dtype"),
    (torch.zeros(3), "B V", "floating", "must have the shape (B, V), not (3,)"),
    (torch.zeros(2, 3), "V", "floating", "must have the shape (V,), not (2, 3)"),
    (torch.zeros(()), "... V", "floating", "must have the shape (..., V), not ()"),
    (torch.zeros(2, 3), "3 V", "floating", "must have the shape (3, V), not (2, 3)"),
    (torch.zeros(2, 3), "V V", "floating", "must have the shape (V, V), not (2, 3)"),
    (torch.zeros(0, 3), "B V", "floating", "is empty: its shape (B, V) is (0, 3)"),
    (torch.zeros(0, 3), "... V", "floating", "is empty: its shape is (0, 3)"),
])
def test_a_wrong_tensor_is_named_with_what_was_expected(value, shape, kind, said):
    with pytest.raises(ValueError, match=r"^x ") as raised:
        arguments.tensor("x", value, shape, kind)
    assert said in str(raised.value)


def test_letters_are_bound_and_held_to():
    sizes = arguments.tensor("logits", torch.zeros(2, 3, 5), "B T V")
    assert arguments.tensor("ids", torch.zeros(2, 3, dtype=torch.int32), "B T", "integer", sizes) == sizes
    assert arguments.tensor("q", torch.zeros(7, 1, 4, 6), "... T d") == {"T": 4, "d": 6}
    assert arguments.tensor("q", torch.zeros(4, 6), "... T d") == {"T": 4, "d": 6}
    assert arguments.tensor("u", torch.zeros(3, 2), "3 B", "number") == {"B": 2}
    with pytest.raises(ValueError, match=r"ids must have the shape \(B, T\) with B = 2, T = 3, not \(3, 3\)"):
        arguments.tensor("ids", torch.zeros(3, 3, dtype=torch.int64), "B T", "integer", sizes)


def test_only_the_dims_that_may_be_empty_may():
    assert arguments.tensor("ids", torch.zeros(2, 0), "B T", empty="T") == {"B": 2, "T": 0}
    assert arguments.tensor("x", torch.zeros(0, 3), "... V", empty="...") == {"V": 3}
    with pytest.raises(ValueError, match="x is empty"):
        arguments.tensor("x", torch.zeros(0, 0), "B T", empty="T")


def test_ids_outside_the_vocabulary_are_shown_with_their_place():
    arguments.ids("ids", torch.tensor([[0, 4], [-1, 2]]), 5, besides=[-1])
    for bad in (5, -1):
        with pytest.raises(ValueError, match=rf"ids must hold ids from 0 to 4; found {bad} at \(1, 0\)"):
            arguments.ids("ids", torch.tensor([[0, 4], [bad, 2]]), 5)


@pytest.mark.parametrize(("value", "said"), [
    (5, "list of lists"), ([1, 2], "list of lists"), ([[1], [2, 5]], "found 5 in sequence 1"),
    ([[-1]], "found -1 in sequence 0"), ([[1.5]], "found 1.5"), ([[True]], "found True"), ([["a"]], "found 'a'"),
])
def test_sequences_are_lists_of_lists_of_ids(value, said):
    with pytest.raises(ValueError, match=f"^sequences .*{said}"):
        arguments.sequences("sequences", value, 5)


def test_good_sequences_pass():
    import numpy as np

    for good in ([], [[]], [[0, 4], [2]], ((1, 2), [3]), [list(np.array([1, 2]))]):
        arguments.sequences("sequences", good, 5)


def test_nan_is_found_and_inf_is_not():
    arguments.no_nan("logits", torch.tensor([math.inf, -math.inf, 0]))
    with pytest.raises(ValueError, match=r"logits must not hold NaN; found one at \(1, 0\)"):
        arguments.no_nan("logits", torch.tensor([[0, 1], [math.nan, 2]]))


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True, math.nan, torch.tensor(2)])
def test_a_whole_number_is_a_whole_number(value):
    arguments.whole("k", 1, low=1)
    with pytest.raises(ValueError, match="k must be a whole number of at least 1, not "):
        arguments.whole("k", value, low=1)


def test_limits_of_numbers_are_said():
    arguments.real("p", 0, 0, 1)
    arguments.real("p", 1.0, 0, 1, above=True)
    for value, low, high, above, said in [
        (-1.0, 0, math.inf, False, "T must be a number of at least 0, not -1.0"),
        (0.0, 0, math.inf, True, "T must be a number above 0, not 0.0"),
        (2, 0, 1, False, "T must be a number of at least 0 and of at most 1, not 2"),
        (math.inf, -math.inf, math.inf, False, "T must be a finite number, not inf"),
        (math.nan, 0, 1, False, "T must be a number of at least 0 and of at most 1, not nan"),
        ("1", -math.inf, math.inf, False, "T must be a finite number, not '1'"),
    ]:
        with pytest.raises(ValueError, match="T must be") as raised:
            arguments.real("T", value, low, high, above)
        assert str(raised.value) == said


def test_choices_are_listed():
    with pytest.raises(ValueError, match="policy must be 'a', not 'b'"):
        arguments.one_of("policy", "b", ["a"])
    with pytest.raises(ValueError, match="policy must be 'a' or 'b', not 3"):
        arguments.one_of("policy", 3, ["a", "b"])
