"""The power-law fit: planted laws, a dense search by another solver, and a slope of zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.perplexity import fit_power_law
from reference_impl.power_law import solve

LOSSES = st.lists(st.floats(0.5, 8), min_size=4, max_size=9)
SIZES = st.sampled_from([1.0, 1e-6, 1e3, 1e8])


def law(N, a, c, floor) -> np.ndarray:
    return floor + c * np.asarray(N, dtype=np.float64) ** -a


def squares(N, y, parameters) -> float:
    return float(((law(N, *parameters) - np.asarray(y)) ** 2).sum())


def best_for(a, N, y) -> float:
    """The least error for one exponent: numpy's least squares on every set of terms whose result is not negative."""
    u = np.asarray(N) ** -a / (np.asarray(N) ** -a).max()
    errors = [float((np.asarray(y) ** 2).sum())]
    for terms in ([u], [np.ones_like(u)], [u, np.ones_like(u)]):
        found = np.linalg.lstsq(np.stack(terms, 1), y, rcond=None)[0]
        if (found >= 0).all():
            errors.append(float(((np.stack(terms, 1) @ found - y) ** 2).sum()))
    return min(errors)


@st.composite
def planted(draw):
    smallest, n = draw(SIZES), draw(st.integers(4, 12))
    N = smallest * np.logspace(0, draw(st.floats(1, 6)), n)
    a = draw(st.floats(0.05, 1.5))
    fall = draw(st.floats(0.5, 20))  # how much of the loss is not the floor, at the smallest size
    return N, a, fall * smallest**a, draw(st.sampled_from([0.0, 0.01, 1.69, 3.0]))


@given(planted())
@settings(max_examples=15, deadline=None)
def test_a_planted_law_is_found(case):
    N, *parameters = case
    y = law(N, *parameters)
    found = fit_power_law(N, y)
    assert all(type(x) is float for x in found)
    assert squares(N, y, found) < 1e-20 * float((y**2).sum())
    assert found[0] == pytest.approx(parameters[0], rel=1e-5)
    assert found[1] == pytest.approx(parameters[1], rel=1e-3)
    assert found[2] == pytest.approx(parameters[2], abs=1e-4 * y.max())
    order = np.random.default_rng(0).permutation(len(N))
    assert squares(N, y, fit_power_law(N[order], y[order])) < 1e-20 * float((y**2).sum())


def test_the_fit_of_hoffmann_et_al_by_hand():
    """Their equation 10, with the data unlimited: 1.69 + 406.4 / N**0.34."""
    N = [7e7, 4e8, 1e9, 7e9, 7e10]
    a, c, floor = fit_power_law(N, law(N, 0.34, 406.4, 1.69))
    assert a == pytest.approx(0.34, rel=1e-9)
    assert c == pytest.approx(406.4, rel=1e-8)
    assert floor == pytest.approx(1.69, rel=1e-9)
    # Three points fix three parameters: 9, 5, 3 fall by 4, then by half of that, at sizes that double twice over.
    a, c, floor = fit_power_law([1, 4, 16], [9, 5, 3])
    assert (a, c, floor) == pytest.approx((0.5, 8, 1))


@given(LOSSES, SIZES, st.floats(0.3, 6))
@settings(max_examples=8, deadline=None)
def test_no_exponent_has_a_smaller_error(y, smallest, decades):
    N = smallest * np.logspace(0, decades, len(y))
    found = fit_power_law(N, y)
    assert found[0] > 0
    assert found[1] >= 0
    assert found[2] >= 0
    steepest = 600 / np.abs(np.log(N)).max()
    errors = [best_for(a, N, np.array(y)) for a in steepest * np.logspace(-6, 0, 200)]
    assert squares(N, y, found) <= min(errors) * (1 + 1e-9) + 1e-14


@given(LOSSES)
@settings(max_examples=12, deadline=None)
def test_the_error_has_no_slope_at_what_was_found(y):
    """The conditions of Karush, Kuhn and Tucker: no slope, or at a bound and sloping into it."""
    N = torch.logspace(0, 4, len(y), dtype=torch.float64)
    start = torch.tensor(fit_power_law(N, y), dtype=torch.float64)
    if not 1e-6 < start[0] < 60 or not start[1]:
        return  # a constant, or a step at the end of the range of a
    parameters = start.clone().requires_grad_()
    error = ((parameters[2] + parameters[1] * N ** -parameters[0] - torch.tensor(y, dtype=torch.float64)) ** 2).sum()
    error.backward()
    scale = 1e-7 * (1 + start[1].item())
    assert abs(parameters.grad[0]) < scale
    assert abs(parameters.grad[1]) < 1e-7
    assert abs(parameters.grad[2]) < 1e-7 or (start[2] == 0 and parameters.grad[2] > 0)


@given(st.floats(-7, 3), st.lists(st.floats(0, 5), min_size=3, max_size=6))
@settings(max_examples=40, deadline=None)
def test_the_slope_of_the_error_is_that_of_finite_differences(log_a, y):
    x, y = torch.linspace(0, 3, len(y), dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    a = math.exp(log_a)
    near, at, far = (solve(torch.tensor([a * step], dtype=torch.float64), x, y) for step in (1 - 1e-5, 1, 1 + 1e-5))
    slope = (far[0] - near[0]).item() / (2e-5 * a)
    assert at[3].item() == pytest.approx(slope, rel=1e-3, abs=1e-4 * (1 + 1 / a))


# Bounds and corners


def test_what_would_need_a_floor_below_zero_gets_none():
    N = [1, 10, 100, 1000]
    a, c, floor = fit_power_law(N, [9, 6, 3, 0])  # straight in log N
    assert floor == 0
    assert squares(N, [9, 6, 3, 0], (a, c, floor)) <= best_for(a, N, np.array([9, 6, 3, 0])) + 1e-12
    assert fit_power_law(N, law(N, 0.3, 7, 0))[2] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("y", "slow"), [([6, 2, 7, 5, 4, 1], True), ([6, 2, 7, 5, 4, 2.5], False)])
def test_the_better_of_two_minima_is_found(y, slow):
    """A step after the first size, or a slow fall over all of them: both are minima, and the last loss decides."""
    N = 10.0 ** np.arange(6)
    step = squares(N, y, (300, y[0] - np.mean(y[1:]), np.mean(y[1:])))
    found = fit_power_law(N, y)
    assert (found[0] < 1) == slow
    assert squares(N, y, found) == pytest.approx(min(step, *(best_for(a, N, y) for a in np.linspace(0.03, 0.1, 1000))))


@pytest.mark.parametrize(("y", "constant"), [([1, 2, 3, 4], 2.5), ([3, 3, 3, 3], 3), ([0, 0, 0, 0], 0),
                                             ([-4, -3, 1, 2], 0)])
def test_a_loss_that_does_not_fall_is_a_constant(y, constant):
    a, c, floor = fit_power_law([10, 20, 40, 80], y)
    assert a > 0
    assert law([10, 20, 40, 80], a, c, floor) == pytest.approx(constant, abs=1e-9)
    if y[0] != y[-1]:
        assert (a, c, floor) == (1.0, 0.0, constant)


@pytest.mark.parametrize("N", [[1, 2, 3, 4], [1e6, 1e7, 1e8, 1e9], [0.001, 0.01, 0.1, 1], [1e-9, 1e-3, 1e3, 1e9]])
def test_a_step_is_fitted_as_steeply_as_float64_allows(N):
    found = fit_power_law(N, [5, 1, 1, 1])
    assert all(math.isfinite(x) for x in found)
    assert law(N, *found) == pytest.approx([5, 1, 1, 1], abs=1e-7)


def test_sizes_that_are_nearly_equal_and_sizes_that_repeat():
    N = [1e9, 1.001e9, 1.002e9, 1.003e9]
    assert squares(N, law(N, 0.5, 1e5, 1), fit_power_law(N, law(N, 0.5, 1e5, 1))) < 1e-18
    N, y = [1, 1, 4, 4, 16, 16], [9.5, 8.5, 5.25, 4.75, 3, 3]  # two runs a size, about the law 1 + 8 / sqrt(N)
    assert fit_power_law(N, y) == pytest.approx((0.5, 8, 1))
    twice = torch.arange(1, 1001).repeat(2)
    assert fit_power_law(twice, 1 + 8 * twice.double() ** -0.5) == pytest.approx((0.5, 8, 1))


def test_numbers_come_in_any_form():
    N, y = [1, 4, 16, 64], [9.0, 5.0, 3.0, 2.0]
    expected = fit_power_law(N, y)
    for kind in (tuple, np.array, torch.tensor, lambda row: [torch.tensor(one) for one in row]):
        assert fit_power_law(kind(N), kind(y)) == expected
    assert fit_power_law(N, torch.tensor(y, requires_grad=True)) == expected
    third = [1 / 3 + one for one in y]
    assert fit_power_law(N, third) == fit_power_law(N, torch.tensor(third, dtype=torch.float64)), "not through float32"


@pytest.mark.parametrize(("sizes", "losses", "says"), [
    ([1, 2], [2, 1], "sizes must hold at least 3 different"),
    ([1, 2, 2, 1], [2, 1, 1, 2], "sizes must hold at least 3 different"),
    ([], [], "sizes is empty"),
    ([1, 2, 3], [3, 2], "sizes and losses must be equally many, not 3 and 2"),
    ([0, 1, 2], [3, 2, 1], "sizes must be finite numbers above 0"),
    ([1, -2, 3], [3, 2, 1], "sizes must be finite numbers above 0"),
    ([1, math.inf, 3], [3, 2, 1], "sizes must be finite"),
    ([1, math.nan, 3], [3, 2, 1], "sizes must be finite"),
    ([1, 2, 3], [3, math.nan, 1], "losses must be finite"),
    ([1, 2, 3], [math.inf, 2, 1], "losses must be finite"),
    ([1, 2, 3], ["high", 2, 1], "losses must hold numbers"),
    ([1, 2, 3], 2, "losses must hold numbers"),
    (torch.ones(3, 1), [3, 2, 1], r"sizes must have the shape \(N,\)"),
    ([1, 2, 3], torch.ones(3, dtype=torch.complex64), "losses must have an integer or floating dtype"),
])
def test_a_bad_argument_is_named(sizes, losses, says):
    with pytest.raises(ValueError, match=says):
        fit_power_law(sizes, losses)
