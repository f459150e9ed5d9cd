"""The search behind :func:`reference_impl.perplexity.fit_power_law`: two of three parameters solved, one searched."""

from __future__ import annotations

import math

import torch

STEP = 0.04  # of the grid, in ln a: the error changes over ranges of a that are some ten times as wide
DECADES = 15  # from the steepest law down to one that no float64 tells from a constant


def nearest(x: torch.Tensor, y: torch.Tensor, steepest: float) -> tuple[float, float, float]:
    """The (a, c, floor) with the least squared error of floor + c * exp(-a x), a in (0, steepest], c and floor >= 0.

    x are logarithms of sizes, ``(N,)``, the smallest 0. Where nothing that falls beats a constant: (1, 0, constant).

    >>> x = torch.tensor([0.0, 1, 2, 5], dtype=torch.float64)
    >>> a, c, floor = nearest(x, 2 + 3 * torch.exp(-0.5 * x), steepest=10)
    >>> round(a, 9), round(c, 9), round(floor, 9)
    (0.5, 3.0, 2.0)
    """
    span = DECADES * math.log(10)
    grid = steepest * torch.linspace(-span, 0, int(span / STEP), dtype=torch.float64).exp()
    error = torch.cat([solve(part, x, y)[0] for part in grid.split(max(10**6 // len(x), 1))])
    padded = torch.nn.functional.pad(error, (1, 1), value=math.inf)
    minima = ((error <= padded[:-2]) & (error <= padded[2:])).nonzero().squeeze(1)
    minima = minima[error[minima].argsort(stable=True)][:8]
    left, right = grid[(minima - 1).clamp(min=0)], grid[(minima + 1).clamp(max=len(grid) - 1)]
    for _ in range(48):
        middle = (left * right).sqrt()
        falls = solve(middle, x, y)[3] < 0
        left, right = torch.where(falls, middle, left), torch.where(falls, right, middle)
    tried = torch.cat([left, right, grid[minima]])
    error, c, floor, _ = solve(tried, x, y)
    best = int(error.argmin())
    return (tried[best].item() if c[best] > 0 else 1.0), c[best].item(), floor[best].item()


def solve(a: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """For each exponent of a ``(G,)``: the least squared error, its c and floor, and the slope of that error in a.

    >>> error, c, floor, slope = solve(torch.tensor([1.0]), torch.tensor([0.0, 1, 2]), torch.tensor([3.0, 3, 3]))
    >>> error, c, floor
    (tensor([0.]), tensor([0.]), tensor([3.]))
    """
    v = torch.expm1(-a[:, None] * x)  # u - 1, with all its digits when u is nearly constant
    u, centred, level = v + 1, v - v.mean(-1, keepdim=True), y.mean()
    c = (centred * y).sum(-1) / centred.square().sum(-1)
    floor = level - c * u.mean(-1)
    inside = (c >= 0) & (floor >= 0)
    # Where one of the two is negative, the best lies on an edge: no floor, or nothing that falls.
    alone = ((u * y).sum(-1) / u.square().sum(-1)).clamp(min=0)
    flat = level.clamp(min=0)
    on_edge = (y - alone[:, None] * u).square().sum(-1) < (y - flat).square().sum()
    c = torch.where(inside, c, torch.where(on_edge, alone, 0))
    floor = torch.where(inside, floor, torch.where(on_edge, 0, flat))
    rest = torch.where(inside[:, None], y - level - c[:, None] * centred, y - floor[:, None] - c[:, None] * u)
    return rest.square().sum(-1), c, floor, 2 * c * (rest * x * u).sum(-1)  # the last by the envelope theorem
