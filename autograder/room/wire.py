"""What may cross between a judge and a student's code: plain data, described before it is sent.

A value is split into a *header* (JSON: kinds, dtypes, shapes, small scalars) and *blobs* (the bytes of its tensors), so
that a judge can refuse a payload it did not expect before reading it. Nothing is pickled, and what is no plain data
becomes ``["other", "module.Class"]``, which carries no content.

This file runs on both sides of the wall; it imports torch, numpy and the standard library only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

DTYPES = {str(d).removeprefix("torch."): d for d in (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)}
MAX_DEPTH = 20


def describe(value: Any, depth: int = 0) -> list:
    """The header of ``value``: a list that JSON can carry.

    >>> describe(torch.zeros(2, 3))
    ['tensor', 'float32', [2, 3], 'cpu']
    >>> describe([1, 0.5, None])
    ['list', [['int', 1], ['float', '0x1.0000000000000p-1'], ['none']]]
    >>> describe(object())
    ['other', 'builtins.object']
    """
    if depth > MAX_DEPTH:
        return ["other", "nested too deeply"]
    kind = type(value)  # exact types only: a subclass may lie about anything
    if value is None:
        return ["none"]
    if kind is bool:
        return ["bool", value]
    if kind is int:
        return ["int", value]
    if kind is float:
        return ["float", value.hex()]
    if kind is str:
        return ["str", value]
    if kind in (list, tuple):
        return [kind.__name__, [describe(item, depth + 1) for item in value]]
    if kind is dict:
        return ["dict", [[describe(k, depth + 1), describe(v, depth + 1)] for k, v in value.items()]]
    if kind in (torch.Tensor, torch.nn.Parameter) and value.layout == torch.strided:
        name = str(value.dtype).removeprefix("torch.")
        if name in DTYPES:
            return ["tensor", name, list(value.shape), value.device.type]
    if kind is np.ndarray:
        return ["other", f"numpy.ndarray of {value.dtype.name}"]
    if isinstance(value, np.generic):
        return ["other", f"numpy.{value.dtype.name}"]
    return ["other", f"{kind.__module__}.{kind.__qualname__}"[:200]]


def blobs(value: Any) -> list[bytes]:
    """The bytes of the tensors of ``value``, in the order in which :func:`describe` met them."""
    kind = type(value)
    if kind in (list, tuple):
        return [blob for item in value for blob in blobs(item)]
    if kind is dict:
        return [blob for pair in value.items() for item in pair for blob in blobs(item)]
    if kind in (torch.Tensor, torch.nn.Parameter) and describe(value)[0] == "tensor":
        flat = value.detach().cpu().contiguous().reshape(-1)
        return [flat.view(torch.uint8).numpy().tobytes()] if flat.numel() else [b""]
    return []


def sizes(header: list) -> list[int]:
    """How many bytes each blob of a header must have; ValueError for a header that is malformed.

    >>> sizes(['tensor', 'float32', [2, 3], 'cpu'])
    [24]
    """
    match header:
        case ["none"] | ["bool", bool()] | ["int", int()] | ["float", str()] | ["str", str()] | ["other", str()]:
            return []
        case ["list" | "tuple", list() as items]:
            return [n for item in items for n in sizes(item)]
        case ["dict", list() as pairs] if all(isinstance(p, list) and len(p) == 2 for p in pairs):
            return [n for pair in pairs for item in pair for n in sizes(item)]
        case ["tensor", str(dtype), list(shape), str()] if dtype in DTYPES and all(
                type(n) is int and n >= 0 for n in shape):
            count = 1
            for n in shape:
                count *= n
            return [count * DTYPES[dtype].itemsize]
    raise ValueError("a header that is no description of plain data")


def build(header: list, payload: list[bytes], device: str = "cpu") -> Any:
    """The value that a header and its blobs describe; tensors arrive on ``device``. ValueError when they do not fit.

    >>> build(describe([1, (0.5, "a")]), [])
    [1, (0.5, 'a')]
    """
    if sizes(header) != [len(blob) for blob in payload]:
        raise ValueError("the payload does not have the size its header announces")
    return _build(header, iter(payload), device)


def _build(header: list, payload: Any, device: str) -> Any:
    match header:
        case ["none"]:
            return None
        case ["bool" | "int" | "str", value]:
            return value
        case ["float", text]:
            return float.fromhex(text)
        case ["list", items]:
            return [_build(item, payload, device) for item in items]
        case ["tuple", items]:
            return tuple(_build(item, payload, device) for item in items)
        case ["dict", pairs]:
            return {_build(k, payload, device): _build(v, payload, device) for k, v in pairs}
        case ["tensor", dtype, shape, _]:
            raw = torch.frombuffer(bytearray(next(payload)) or bytearray(1), dtype=torch.uint8)
            count = 1
            for n in shape:
                count *= n
            if count == 0:
                return torch.empty(shape, dtype=DTYPES[dtype], device=device)
            return raw.view(DTYPES[dtype]).reshape(shape).to(device)
    raise ValueError(f"no plain data: {header[1] if len(header) > 1 else header}")
