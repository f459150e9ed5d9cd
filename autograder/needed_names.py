"""What a function needs that a grader will not have: names of demonstration cells, and packages outside the course."""

from __future__ import annotations

import builtins
import dis
import sys
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any

ALLOWED_PACKAGES = frozenset({"torch", "numpy"}) | frozenset(sys.stdlib_module_names)


def missing_at_grading(target: Any, namespace: Mapping[str, Any], demo_names: Collection[str],
                       ) -> tuple[list[str], list[str]]:
    """The demonstration's names and the foreign packages that ``target`` reads, itself or in a helper that it calls.

    >>> table = 3
    >>> missing_at_grading(lambda: table, {"table": table}, {"table"})
    (['table'], [])
    """
    names: dict[str, None] = {}
    packages: dict[str, None] = {}
    waiting, met = [target], set()
    while waiting:
        for code in _codes(waiting.pop()):
            if code in met:
                continue
            met.add(code)
            for opname, name in _reads(code):
                if opname == "IMPORT_NAME":
                    _note_package(name, packages)
                elif name in demo_names:
                    names[name] = None
                elif isinstance(value := namespace.get(name), types.ModuleType):
                    _note_package(value.__name__, packages)
                elif name in namespace and not hasattr(builtins, name) and _is_own(value, namespace):
                    waiting.append(value)
    return list(names), list(packages)


def _note_package(name: str, packages: dict[str, None]) -> None:
    root = name.partition(".")[0]
    if root and root not in ALLOWED_PACKAGES:
        packages[root] = None


def _is_own(value: Any, namespace: Mapping[str, Any]) -> bool:
    """Whether a function or class was defined in this very namespace (and not imported from somewhere)."""
    if isinstance(value, types.FunctionType):
        return value.__globals__ is namespace
    return isinstance(value, type) and value.__module__ == namespace.get("__name__")


def _codes(target: Any) -> Iterator[types.CodeType]:
    """The code objects of a function or of the methods of a class, nested ones included."""
    target = getattr(target, "__wrapped__", target)
    if isinstance(target, type):
        for member in vars(target).values():
            member = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(member, types.FunctionType):
                yield from _codes(member)
    elif isinstance(target, types.FunctionType):
        yield from _nested(target.__code__)
        for default in (*(target.__defaults__ or ()), *(target.__kwdefaults__ or {}).values()):
            if isinstance(default, types.FunctionType):
                yield from _nested(default.__code__)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _reads(code: types.CodeType) -> Iterator[tuple[str, str]]:
    """Every global name that a piece of code loads, and every module that it imports."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"):
            yield instruction.opname, instruction.argval
