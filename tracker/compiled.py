"""Compiling with numba, with types that mypy can follow, and reading a tensor's memory from compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

_P = ParamSpec("_P")
_R = TypeVar("_R")
_carray: Any = getattr(numba, "carray")  # noqa: B009 - numba types it for Python pointers only.


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile for the CPU, without the interpreter lock, and keep the machine code on disk for the next process."""
    return cast(Callable[_P, _R], numba.njit(nogil=True, cache=True)(function))


def vectorised(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile like `compiled`, and let sums be reordered so that they use the CPU's vector units.

    NaN and Inf keep their meaning: only the order of additions is free.
    """
    options: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}}
    return cast(Callable[_P, _R], numba.njit(nogil=True, cache=True, **options)(function))


@intrinsic
def _pointer(_context: Any, _address: Any) -> Any:
    def convert(_inner: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.uint64), convert


def _floats_at(address: np.uint64, size: int) -> NDArray[np.float32]:
    return _carray(_pointer(address), (size,), numba.float32)  # type: ignore[no-any-return, call-arg]


floats_at = compiled(_floats_at)
"""The float32 values that lie at an address in memory; only usable in compiled code, which must keep them alive."""
