"""Compiling with numba, with types that mypy can follow, and reading a tensor's memory from compiled code."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile for the CPU, as a part of what a `kept` function calls."""
    return cast(Callable[_P, _R], numba.njit(nogil=True)(function))


def vectorised(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile like `compiled`, and let sums be reordered so that they use the CPU's vector units.

    NaN and Inf keep their meaning: only the order of additions is free.
    """
    options: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}}
    return cast(Callable[_P, _R], numba.njit(nogil=True, **options)(function))


def _pointers_to(kind: Any) -> Any:
    @intrinsic
    def at(_context: Any, address: Any) -> Any:
        result = types.CPointer(kind)

        def convert(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(result))

        return result(types.int64), convert

    return at


# The values that lie at an address in memory, to be indexed without any check; only for compiled code, whose caller
# keeps them alive. Compared with arrays they cost no reference counts, which small filters would feel.
floats_at = _pointers_to(types.float32)
doubles_at = _pointers_to(types.float64)
bits_at = _pointers_to(types.int32)
addresses_at = _pointers_to(types.int64)


def source_stamp(*names: str) -> int:
    """Return a number that changes with any of the named files of this folder, 0 where they cannot be read.

    numba's cache on disk notices changes of the file of the function it keeps, and of no other; but free variables
    of that function are part of its key.
    """
    try:
        sources = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in names]
    except OSError:
        return 0
    return int.from_bytes(sha256(b"".join(sources)).digest()[:7], "big")


def kept(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile like `compiled` what Python calls, and keep the machine code on disk for the next process.

    Where no folder can be written to, it is compiled anew by every process.
    """
    try:
        return cast(Callable[_P, _R], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return compiled(function)
