"""Is this the answer? Type, shape, dtype and device first, then the values; and one sentence on the first difference.

A header (:func:`autograder.room.wire.describe`) is compared before anybody reads a payload. What no convention of the
course fixes is never held against an answer: a list may be a tuple, a number may come as a tensor with no dimension.

With ``show=False`` a sentence holds nothing that a student's code could have put there on purpose, nor any expected
value: it is meant for feedback on hidden inputs.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from autograder.room import wire

FLOATS = {"float16", "bfloat16", "float32", "float64"}
_OTHERS = {
    "builtins.generator": "a generator (use return, not yield, or put list(...) around it)",
    "builtins.function": "a function (was it called, with parentheses?)",
    "builtins.method": "a method (was it called, with parentheses?)",
    "builtins.builtin_function_or_method": "a method of Python or torch that was not called (parentheses are missing)",
    "builtins.type": "a class, not one of its objects",
    "builtins.NotImplementedType": "NotImplemented, which is a value; nothing was raised",
    "builtins.set": "a set (its order is not defined)",
    "builtins.range": "a range (put list(...) around it)",
    "builtins.zip": "a zip (put list(...) around it)",
    "builtins.map": "a map (put list(...) around it)",
    "builtins.dict_values": "the values of a dict (put list(...) around them)",
    "builtins.dict_keys": "the keys of a dict (put list(...) around them)",
    "builtins.complex": "a complex number",
    "builtins.bytes": "bytes",
    "collections.Counter": "a Counter (make it a tensor or a dict)",
    "collections.defaultdict": "a defaultdict (put dict(...) around it)",
    "collections.deque": "a deque (put list(...) around it)",
    "builtins.ellipsis": "... (the three dots are a value, not an answer)",
}
_NUMPY = {"bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
          "uint8", "uint16", "uint32", "uint64", "object"}


def first_difference(expected: Any, got: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> str | None:
    """What differs first between two values, or None when ``got`` is as good as ``expected``.

    >>> first_difference(torch.ones(2, 3), torch.ones(3))
    'the result has shape (3,), expected (2, 3)'
    >>> first_difference([1, 2], (1, 2)) is None
    True
    >>> first_difference(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.25]))
    'the result differs at [1]: got 0.25, expected 0.5'
    """
    return (check_header(wire.describe(expected), wire.describe(got))
            or check_value(expected, got, rtol=rtol, atol=atol))


def family(header: list) -> str:
    """What kind of thing a header describes: none, str, bool, int, float, tensor, sequence, dict or other.

    A tensor with no dimension counts as the number it holds.

    >>> family(["tensor", "int64", [], "cpu"]), family(["tensor", "int64", [3], "cpu"]), family(["tuple", []])
    ('int', 'tensor', 'sequence')
    """
    kind = header[0]
    if kind in ("list", "tuple"):
        return "sequence"
    if kind == "tensor" and header[2] == []:
        return "float" if header[1] in FLOATS else "bool" if header[1] == "bool" else "int"
    return kind


def name_of(header: list) -> str:
    """What a header describes, in words a student knows; nothing in them was chosen by the student's code.

    >>> name_of(["other", "numpy.ndarray of float64"]), name_of(["none"])
    ('a numpy array', 'None')
    """
    match header:
        case ["none"]:
            return "None"
        case ["tensor", dtype, [], _]:
            return f"a {dtype} tensor with no dimension"
        case ["tensor", dtype, _, _]:
            return f"a {dtype} tensor"
        case ["bool" | "float" | "list" | "tuple" | "dict" as kind, *_]:
            return f"a {kind}"
        case ["int", _]:
            return "an int"
        case ["str", _]:
            return "a string"
        case ["other", str(text)] if text.startswith("numpy.ndarray"):
            return "a numpy array"
        case ["other", str(text)] if text.startswith("numpy.") and text[6:] in _NUMPY:
            return f"a numpy {text[6:]}"
    return _OTHERS.get(header[1], "something that is neither number, text, list, dict nor dense tensor")


def check_header(expected: list, got: list, *, show: bool = True, what: str = "the result") -> str | None:
    """What differs first in type, shape, dtype or device; None when the payload may be read.

    >>> check_header(["tensor", "float32", [2], "cpu"], ["tensor", "float64", [2], "cpu"])
    'the result has dtype float64, expected float32'
    >>> check_header(["float", "0x0p0"], ["none"])
    'the result is None, expected a float (is a return missing?)'
    """
    want, have = family(expected), family(got)
    if want in ("bool", "int", "float"):
        fits = have == want or (want == "float" and have == "int" and got[0] == "int")
        if fits:
            both = expected[0] == got[0] == "tensor"
            return _dtype_and_device(expected, got, what) if both else None
        if have == "tensor":
            return f"{what} has {_shape(got, show)}, expected a single number"
        return f"{what} is {name_of(got)}, expected {_number(want)}{_advice(want, got)}"
    if want != have:
        if want == "tensor" and have in ("bool", "int", "float"):
            return (f"{what} is a single number, expected a tensor{_of_shape(expected, show)} "
                    "(was a sum or a mean taken over every dimension?)")
        return f"{what} is {name_of(got)}, expected {name_of(expected)}{_advice(want, got)}"
    if want == "tensor":
        return _shapes(expected, got, show, what) or _dtype_and_device(expected, got, what)
    if want == "sequence":
        if len(expected[1]) != len(got[1]):
            return (f"{what} has {len(got[1])} items, expected {len(expected[1])}" if show
                    else f"{what} has {'fewer' if len(got[1]) < len(expected[1]) else 'more'} items than expected")
        pairs = [(a, b, f"[{i}]") for i, (a, b) in enumerate(zip(expected[1], got[1]))]
        return _first(check_header(a, b, show=show, what=_part(what, at)) for a, b, at in pairs)
    if want == "dict":
        return _dicts(expected, got, show, what)
    return None


def check_value(expected: Any, got: Any, *, rtol: float = 1e-5, atol: float = 1e-6, show: bool = True,
                what: str = "the result") -> str | None:
    """What differs first in the values of two things whose headers agree; integers, text and booleans are exact.

    ``got`` is close where ``|got - expected| <= atol + rtol * |expected|``, computed in float64 after ``expected`` was
    rounded to the dtype of ``got``. NaN equals NaN; an infinity equals itself.

    >>> check_value([0.5, math.inf], [0.5, math.inf]) is None
    True
    >>> check_value({"a": 1}, {"a": 2})
    "result['a'] is 2, expected 1"
    """
    if isinstance(expected, (list, tuple)):
        return _first(check_value(a, b, rtol=rtol, atol=atol, show=show, what=_part(what, f"[{i}]"))
                      for i, (a, b) in enumerate(zip(expected, got)))
    if isinstance(expected, dict):
        return _first(check_value(value, got[key], rtol=rtol, atol=atol, show=show, what=_part(what, f"[{key!r}]"))
                      for key, value in expected.items())
    if torch.is_tensor(expected) and expected.dim() > 0:
        return _tensors(expected, got, rtol, atol, show, what)
    if isinstance(expected, str) or expected is None:
        same, shown = expected == got, (repr(got)[:80], repr(expected)[:80])
    else:
        same, shown = _same_number(expected, got, rtol, atol)
    if same:
        return None
    return f"{what} is {shown[0]}, expected {shown[1]}" if show else f"{what} is not the expected value"


def _first(messages: Any) -> str | None:
    return next((message for message in messages if message), None)


def _part(what: str, at: str) -> str:
    return f"{what.removeprefix('the ')}{at}"


def _number(want: str) -> str:
    return {"bool": "a bool", "int": "an int", "float": "a float"}[want]


def _advice(want: str, got: list) -> str:
    if got[0] == "none":
        return " (is a return missing?)"
    if want == "tensor" and got[0] in ("list", "tuple"):
        return " (torch.tensor makes one of a list)"
    if want == "tensor" and got[0] == "other" and got[1].startswith("numpy.ndarray"):
        return " (torch.from_numpy makes one of an array)"
    if want in ("bool", "int", "float") and got[0] == "other" and got[1].startswith("numpy."):
        return f" (put {want}(...) around it)"
    if want == "sequence" and got[0] == "tensor":
        return " (.tolist() makes one of a tensor)"
    return ""


def _shape(header: list, show: bool) -> str:
    return f"shape {tuple(header[2])}" if show else "dimensions"


def _of_shape(header: list, show: bool) -> str:
    return f" of shape {tuple(header[2])}" if show else ""


def _shapes(expected: list, got: list, show: bool, what: str) -> str | None:
    want, have = expected[2], got[2]
    if want == have:
        return None
    if show:
        return f"{what} has shape {tuple(have)}, expected {tuple(want)}"
    if len(want) != len(have):
        return f"{what} has too {'few' if len(have) < len(want) else 'many'} dimensions"
    return f"{what} has the wrong size in dimension {next(i for i, n in enumerate(want) if n != have[i])}"


def _dtype_and_device(expected: list, got: list, what: str) -> str | None:
    if expected[1] != got[1]:
        return f"{what} has dtype {got[1]}, expected {expected[1]}"
    if expected[3] != got[3]:
        return f"{what} is on the {_device(got[3])}, expected on the {_device(expected[3])}, where the inputs are"
    return None


def _device(name: str) -> str:
    return {"cpu": "CPU", "cuda": "GPU"}.get(name, "wrong device")


def _dicts(expected: list, got: list, show: bool, what: str) -> str | None:
    want = {repr(key): (key, value) for key, value in expected[1]}
    have = {repr(key): value for key, value in got[1]}
    for key, (plain, value) in want.items():
        at = f"[{plain[1]!r}]" if len(plain) > 1 else "[None]"
        if key not in have:
            return f"{what} has no key {at[1:-1]}" if show else f"{what} lacks a key"
        if message := check_header(value, have[key], show=show, what=_part(what, at if show else "[...]")):
            return message
    return f"{what} has a key too many" if len(got[1]) > len(expected[1]) else None


def _same_number(expected: Any, got: Any, rtol: float, atol: float) -> tuple[bool, tuple[str, str]]:
    """Whether two numbers agree, and both as text."""
    if torch.is_tensor(expected) and torch.is_tensor(got) and got.is_floating_point():
        expected = expected.to(got.dtype)
    a = expected.item() if torch.is_tensor(expected) else expected
    b = got.item() if torch.is_tensor(got) else got
    if isinstance(b, int) and b.bit_length() > 1000:  # too long to print, too large for a float
        return a == b, ("a huge integer", "something else")
    if not isinstance(a, float):
        return a == b, (str(b), str(a))
    same = a == b or (math.isnan(a) and math.isnan(b))
    if not same and math.isfinite(a) and math.isfinite(b):
        same = abs(b - a) <= atol + rtol * abs(a)
    return same, _texts(float(b), a)


def _tensors(expected: torch.Tensor, got: torch.Tensor, rtol: float, atol: float, show: bool, what: str) -> str | None:
    """The first entry in index order that differs, and what the whole looks like."""
    exact = not (expected.is_floating_point() and got.is_floating_point())
    a = expected if exact else expected.to(got.dtype).double()
    b = got if exact else got.double()
    wrong = a != b if exact else ~torch.isclose(b, a, rtol=rtol, atol=atol, equal_nan=True)
    count = int(wrong.sum())
    if not count:
        return None
    index = wrong.nonzero()[0].tolist()
    message = f"{what} differs at {index}"
    if show:
        texts = _texts(b[tuple(index)].item(), a[tuple(index)].item())
        message += f": got {texts[0]}, expected {texts[1]}"
        if count > 1:
            message += f" ({count} of {wrong.numel()} entries differ)"
    return message + _pattern(a, b, rtol, atol, show)


def _pattern(a: torch.Tensor, b: torch.Tensor, rtol: float, atol: float, show: bool) -> str:
    """A regularity of the whole that says more than one entry, or nothing."""
    a, b = a.double(), b.double()

    def close(x: torch.Tensor, y: torch.Tensor) -> bool:
        return torch.allclose(y, x, rtol=max(rtol, 1e-5), atol=atol, equal_nan=True)

    if b.isnan().all():
        return "; every entry is NaN"
    if b.numel() > 2 and (b == b.reshape(-1)[0]).all():
        return "; every entry of the result is the same number"
    if a.dim() == 2 and a.shape[0] == a.shape[1] and close(a.T, b):
        return "; rows and columns are exchanged"
    if a.dim() and a.shape[-1] > 2 and close(a.flip(-1), b):
        return "; the last dimension is in reverse order"
    inner = a.isfinite() & b.isfinite() & (a.abs() > atol)
    if inner.sum() > 2:
        ratio = (b[inner] / a[inner]).median()
        if ratio.abs() > 1e-6 and close(a * ratio, b):
            return f"; every entry is {ratio.item():.4g} times what it should be" if show else (
                "; every entry is the same multiple of what it should be")
    return ""


def _texts(got: Any, expected: Any) -> tuple[str, str]:
    """Both numbers with as many digits as tell them apart."""
    for digits in (6, 9, 17):
        texts = tuple(f"{x:.{digits}g}" if isinstance(x, float) else str(x) for x in (got, expected))
        if texts[0] != texts[1]:
            break
    return texts
