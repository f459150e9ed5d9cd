"""What a function says when an argument is not what it takes: one ValueError that names it, and what was expected.

Every public function of the chapters looks at its arguments here before it computes anything. Shapes are written as in
the docstrings: ``"B T V"`` is three dims, ``"... V"`` any number of them before the last, a number is that size, and a
letter that was bound before must have the same size again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real

import torch

KINDS = {
    "floating": "a floating dtype",
    "integer": "an integer dtype",
    "bool": "the dtype bool",
    "number": "an integer or floating dtype",
}


def tensor(
    name: str, value: object, shape: str, kind: str = "floating", known: dict[str, int] | None = None, empty: str = ""
) -> dict[str, int]:
    """The sizes by letter of a tensor that is right; ValueError where it is none, or has another dtype or shape.

    ``kind`` is one of KINDS. ``known`` are letters bound by an earlier argument; the result holds them too. A dim may
    have the size 0 only if its letter stands in ``empty`` (``"..."`` for the leading dims).

    >>> sizes = tensor("logits", torch.zeros(2, 3, 5), "B T V")
    >>> sizes
    {'B': 2, 'T': 3, 'V': 5}
    >>> tensor("ids", torch.zeros(2, 4, dtype=torch.int64), "B T", "integer", sizes)
    Traceback (most recent call last):
        ...
    ValueError: ids must have the shape (B, T) with B = 2, T = 3, not (2, 4)
    """
    letters, sizes = shape.split(), dict(known or {})
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} must be a tensor of shape {_shown(letters)}, not {type(value).__name__}")
    if not _is_kind(value.dtype, kind):
        raise ValueError(f"{name} must have {KINDS[kind]}, not {value.dtype}")
    dims, leads = list(value.shape), 0
    if letters[:1] == ["..."]:
        letters, leads = letters[1:], max(len(dims) - len(letters) + 1, 0)
    if len(dims) - leads != len(letters):
        raise ValueError(f"{name} must have the shape {_shown(shape.split())}, not {tuple(dims)}")
    for letter, size in zip(letters, dims[leads:]):
        if size != (int(letter) if letter.isdigit() else sizes.setdefault(letter, size)):
            bound = ", ".join(f"{one} = {sizes[one]}" for one in letters if one in sizes and one in (known or {}))
            wanted = _shown(shape.split()) + (bound and f" with {bound}")
            raise ValueError(f"{name} must have the shape {wanted}, not {tuple(dims)}")
        if size == 0 and letter not in empty.split():
            raise ValueError(f"{name} is empty: its shape {_shown(shape.split())} is {tuple(dims)}")
    if 0 in dims[:leads] and "..." not in empty.split():
        raise ValueError(f"{name} is empty: its shape is {tuple(dims)}")
    return sizes


def ids(name: str, value: torch.Tensor, V: int, besides: Iterable[int] = ()) -> None:
    """ValueError unless all ids lie in 0 .. V - 1 or are among ``besides`` (an ``ignore_index``, say).

    >>> ids("targets", torch.tensor([[1, -100], [7, 0]]), V=5, besides=[-100])
    Traceback (most recent call last):
        ...
    ValueError: targets must hold ids from 0 to 4 or -100; found 7 at (1, 0)
    """
    wrong = (value < 0) | (value >= V)
    for allowed in besides:
        wrong &= value != allowed
    if wrong.any():
        at = tuple(wrong.nonzero()[0].tolist())
        allowed = "".join(f" or {one}" for one in besides)
        raise ValueError(f"{name} must hold ids from 0 to {V - 1}{allowed}; found {int(value[at])} at {_place(at)}")


def sequences(name: str, value: object, V: int) -> None:
    """ValueError unless it is a list (or tuple) of lists of ids from 0 to V - 1.

    >>> sequences("sequences", [[2, 3], [9]], V=5)
    Traceback (most recent call last):
        ...
    ValueError: sequences must hold ids from 0 to 4; found 9 in sequence 1
    """
    if not isinstance(value, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in value):
        raise ValueError(f"{name} must be a list of lists of ids")
    for number, row in enumerate(value):
        if all(type(i) is int for i in row) and (not row or (min(row) >= 0 and max(row) < V)):
            continue  # the quick way: texts are long
        for i in row:
            if not isinstance(i, Integral) or isinstance(i, bool) or not 0 <= i < V:
                raise ValueError(f"{name} must hold ids from 0 to {V - 1}; found {i!r} in sequence {number}")


def no_nan(name: str, value: torch.Tensor) -> None:
    """ValueError if a value is NaN: no distribution can be read from it.

    >>> no_nan("logits", torch.tensor([0.0, math.nan]))
    Traceback (most recent call last):
        ...
    ValueError: logits must not hold NaN; found one at (1,)
    """
    if value.isnan().any():
        raise ValueError(f"{name} must not hold NaN; found one at {_place(tuple(value.isnan().nonzero()[0].tolist()))}")


def whole(name: str, value: object, low: int, high: int | None = None) -> None:
    """ValueError unless it is a whole number from ``low`` to ``high``, both allowed.

    >>> whole("k", 0, low=1)
    Traceback (most recent call last):
        ...
    ValueError: k must be a whole number of at least 1, not 0
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low or (high is not None and value > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {wanted}, not {value!r}")


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf, above: bool = False) -> None:
    """ValueError unless it is a finite number from ``low`` to ``high``; ``above`` leaves out ``low`` itself.

    >>> real("T", -1.0, low=0)
    Traceback (most recent call last):
        ...
    ValueError: T must be a number of at least 0, not -1.0
    """
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high or (above and value == low):
        limits = [f"above {low}" if above else f"of at least {low}"] if low > -math.inf else []
        limits += [f"of at most {high}"] if high < math.inf else []
        wanted = f"a number {' and '.join(limits)}" if limits else "a finite number"
        raise ValueError(f"{name} must be {wanted}, not {value!r}")


def one_of(name: str, value: object, choices: Iterable[str]) -> None:
    """ValueError unless it is one of some words.

    >>> one_of("reduction", "avg", ["mean", "sum", "none"])
    Traceback (most recent call last):
        ...
    ValueError: reduction must be 'mean', 'sum' or 'none', not 'avg'
    """
    choices = list(choices)
    if value not in choices:
        *most, last = map(repr, choices)
        raise ValueError(f"{name} must be {' or '.join([', '.join(most), last]) if most else last}, not {value!r}")


def _is_kind(dtype: torch.dtype, kind: str) -> bool:
    if kind == "floating":
        return dtype.is_floating_point
    if kind == "bool":
        return dtype == torch.bool
    return dtype != torch.bool and not dtype.is_complex and (kind == "number" or not dtype.is_floating_point)


def _shown(letters: list[str]) -> str:
    return f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"


def _place(at: tuple[int, ...]) -> str:
    return _shown([str(i) for i in at])
