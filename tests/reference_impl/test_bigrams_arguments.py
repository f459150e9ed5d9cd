"""What the bigrams reference refuses, in which words, and how it treats half precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from reference_impl.bigrams import (
    additive,
    average_nll,
    count_ngrams,
    interpolate,
    kneser_ney,
    kneser_ney_table,
    normalize,
    sample_sequence,
)

COUNTS = torch.tensor([[0, 2, 1], [0, 0, 0], [0, 1, 3]])
TABLE = torch.tensor([[0, 0.5, 0.5], [0, 0, 0], [0, 0.25, 0.75]])
NAN = torch.tensor([[math.nan, 1.0], [0, 1]])
BELOW = torch.tensor([[1.5, -0.5], [0, 1]])
WIDE = torch.ones(2, 3)


@pytest.mark.parametrize(("function", "args", "says"), [
    (count_ngrams, ([[2]], 0, 4, 0, 1), "n must be a whole number of at least 1, not 0"),
    (count_ngrams, ([[2]], 1.5, 4, 0, 1), "n must be a whole number"),
    (count_ngrams, ([[2]], 2, 0, 0, 1), "V must be a whole number of at least 1, not 0"),
    (count_ngrams, ([[2], [3, 9]], 2, 4, 0, 1), "sequences must hold ids from 0 to 3; found 9 in sequence 1"),
    (count_ngrams, ([[-1]], 2, 4, 0, 1), "sequences must hold ids from 0 to 3; found -1 in sequence 0"),
    (count_ngrams, ([[2.0]], 2, 4, 0, 1), "sequences must hold ids from 0 to 3; found 2.0 in sequence 0"),
    (count_ngrams, ([2, 3], 2, 4, 0, 1), "sequences must be a list of lists of ids"),
    (count_ngrams, ([[2]], 2, 4, -1, 1), "bos must be a whole number from 0 to 3, not -1"),
    (count_ngrams, ([[2]], 2, 4, 0, 4), "eos must be a whole number from 0 to 3, not 4"),
    (count_ngrams, ([[2]], 9, 100, 0, 1), "n = 9 and V = 100 make a table of 1.0e[+]18 cells"),
    (normalize, ([[1, 2]],), "counts must be a tensor"),
    (normalize, (NAN,), r"counts must not hold NaN; found one at \(0, 0\)"),
    (normalize, (BELOW,), "counts must be at least 0; found -0.5"),
    (normalize, (torch.tensor([True]),), "counts must have an integer or floating dtype"),
    (normalize, (torch.zeros(3, 0),), "counts is empty"),
    (additive, (NAN, 1), "counts must not hold NaN"),
    (additive, (COUNTS, -0.5), "k must be a number of at least 0, not -0.5"),
    (additive, (COUNTS, math.nan), "k must be a number"),
    (average_nll, (TABLE, [], 0, 1), "sequences must hold at least one sequence"),
    (average_nll, (TABLE, [[3]], 0, 1), "sequences must hold ids from 0 to 2; found 3"),
    (average_nll, (TABLE, [[-1]], 0, 1), "sequences must hold ids from 0 to 2; found -1"),
    (average_nll, (TABLE, [[2]], 0, -2), "eos must be a whole number from 0 to 2, not -2"),
    (average_nll, (COUNTS, [[2]], 0, 1), "table must have a floating dtype"),
    (average_nll, (COUNTS.float(), [[2]], 0, 1), "table must hold probabilities; found 3"),
    (average_nll, (BELOW, [[1]], 0, 1), "table must hold probabilities; found -0.5"),
    (average_nll, (NAN, [[1]], 0, 1), "table must not hold NaN"),
    (average_nll, (WIDE, [[1]], 0, 1), r"table must have the shape \(V, V\), not \(2, 3\)"),
    (average_nll, (torch.tensor(1.0), [[1]], 0, 1), "table must have the shape"),
    (sample_sequence, (TABLE, [0.5, 1.0], 9, 0, 1), r"uniforms must lie in \[0, 1\); found 1.0 at position 1"),
    (sample_sequence, (TABLE, [-0.1], 9, 0, 1), "uniforms must lie"),
    (sample_sequence, (TABLE, [math.nan], 9, 0, 1), "uniforms must lie"),
    (sample_sequence, (TABLE, 0.5, 9, 0, 1), "uniforms must be a list of numbers"),
    (sample_sequence, (TABLE, [0.5], -1, 0, 1), "max_len must be a whole number of at least 0, not -1"),
    (sample_sequence, (TABLE, [0.5], 9, 3, 1), "bos must be a whole number from 0 to 2, not 3"),
    (sample_sequence, (TABLE, [0.5], 9, 0, -1), "eos must be a whole number from 0 to 2, not -1"),
    (sample_sequence, (2 * TABLE, [0.5], 9, 0, 1), "table must hold probabilities; found 1.5"),
    (sample_sequence, (NAN, [0.5], 9, 0, 1), "table must not hold NaN"),
    (sample_sequence, (WIDE, [0.5], 9, 0, 1), "table must have the shape"),
    (interpolate, ([], []), "tables must be a list of at least one table"),
    (interpolate, (TABLE, [1.0]), "tables must be a list"),
    (interpolate, ([TABLE], [0.5, 0.5]), "weights must be a list of 1 numbers, one for each table"),
    (interpolate, ([TABLE, TABLE[0]], [1, -1]), r"weights\[1\] must be a number of at least 0, not -1"),
    (interpolate, ([TABLE[0], NAN], [1, 1]), r"tables\[1\] must not hold NaN"),
    (interpolate, ([TABLE, torch.eye(2)], [1, 1]), r"tables must share one V; tables\[0\] has 3, tables\[1\] has 2"),
    (interpolate, ([COUNTS], [1]), r"tables\[0\] must have a floating dtype"),
    (interpolate, ([TABLE, WIDE], [1, 1]), r"tables\[1\] must have the shape \(V, V\)"),
    (kneser_ney, (COUNTS, [], 1.5, 0), "discount must be a number of at least 0 and of at most 1, not 1.5"),
    (kneser_ney, (COUNTS, [], -0.5, 0), "discount must be a number"),
    (kneser_ney, (COUNTS, [1, 2], 0.5, 0), "context must be a list of at most 1 ids for a table of order 2"),
    (kneser_ney, (COUNTS, [-1], 0.5, 0), r"context\[0\] must be a whole number from 0 to 2, not -1"),
    (kneser_ney, (COUNTS, [3], 0.5, 0), r"context\[0\] must be a whole number from 0 to 2, not 3"),
    (kneser_ney, (COUNTS, 1, 0.5, 0), "context must be a list"),
    (kneser_ney, (COUNTS, [1], 0.5, -1), "bos must be a whole number from 0 to 2, not -1"),
    (kneser_ney, (WIDE, [], 0.5, 0), r"counts must have the shape \(V, V\)"),
    (kneser_ney, (NAN, [], 0.5, 0), "counts must not hold NaN"),
    (kneser_ney, (-COUNTS, [], 0.5, 0), "counts must be at least 0; found -3"),
    (kneser_ney, (torch.ones(1), [], 0.5, 0), "counts must have V > 1"),
    (kneser_ney_table, (COUNTS, 1.5, 0), "discount must be a number"),
    (kneser_ney_table, (COUNTS, 0.5, 3), "bos must be a whole number from 0 to 2, not 3"),
    (kneser_ney_table, (WIDE, 0.5, 0), "counts must have the shape"),
])
def test_a_bad_argument_is_named(function, args, says):
    with pytest.raises(ValueError, match=says):
        function(*args)


def test_numbers_of_numpy_are_numbers():
    ids, u = list(np.array([2, 3])), list(np.array([0.25, 0.75], dtype=np.float32))
    counts = count_ngrams([ids], np.int64(2), 4, np.int32(0), 1)
    assert_close(counts, count_ngrams([[2, 3]], 2, 4, 0, 1))
    table = additive(counts, np.float32(0.5))
    assert sample_sequence(table, np.array(u), 9, 0, 1) == sample_sequence(table, torch.tensor(u), 9, 0, 1)
    assert_close(kneser_ney(counts, ids[:1], np.float64(0.5), 0), kneser_ney(counts, [2], 0.5, 0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    counts = torch.tensor([[40000.0, 30000, 2000], [3, 0, 1], [0, 0, 0]]).to(dtype)  # the sum is beyond float16
    exact = counts.double()
    for function in (normalize, lambda x: additive(x, 0.5), lambda x: kneser_ney(x, [1], 0.75, 0),
                     lambda x: kneser_ney_table(x, 0.75, 0),
                     lambda x: interpolate([normalize(exact).to(x), normalize(exact[0]).to(x)], [0.25, 0.5])):
        result = function(counts)
        assert result.dtype == dtype
        assert_close(result, function(exact).to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


def test_probabilities_that_rounding_lifted_above_one_are_let_through():
    table = torch.tensor([[0, 1.0039, 0], [0, 0, 0], [0, 0, 1.0]])
    assert math.isfinite(average_nll(table, [[]], 0, 1))
    assert sample_sequence(table, [0.5], 3, 0, 1) == []
