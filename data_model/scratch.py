"""Room for values that are needed again later: in memory, or in a file that goes with the process."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 1 << 20
"""Bytes that are kept in memory; more than that go to a file."""


class Scratch(Protocol):
    """Values of one dtype, by their number."""

    def write(self, at: int, values: NDArray[Any]) -> None:
        """Keep values from number `at` on."""

    def read(self, at: int, values: NDArray[Any]) -> None:
        """Fill a contiguous array with the values from number `at` on, which were written before."""


def scratch(size: int, dtype: np.dtype[Any], folder: Path | None) -> Scratch:
    """Return room for `size` values; a file is made in `folder`, or, for None, where the system keeps such files.

    The file has no name, so that nothing of it stays however the process ends. It may raise OSError, as when the disk
    is full.
    """
    return _Memory(size, dtype) if size * dtype.itemsize <= IN_MEMORY else _File(dtype, folder)


class _Memory:
    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self._values = np.empty(size, dtype)

    def write(self, at: int, values: NDArray[Any]) -> None:
        self._values[at : at + values.size] = values.reshape(-1)

    def read(self, at: int, values: NDArray[Any]) -> None:
        values.reshape(-1)[:] = self._values[at : at + values.size]


class _File:
    def __init__(self, dtype: np.dtype[Any], folder: Path | None) -> None:
        self._dtype = dtype
        # Where a disk cannot do without a name, it is that of a write that was interrupted.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0, suffix=".partial")  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def write(self, at: int, values: NDArray[Any]) -> None:
        left, offset = np.ascontiguousarray(values, self._dtype).data.cast("B"), at * self._dtype.itemsize
        while left:
            done = os.pwrite(self._file.fileno(), left, offset)
            left, offset = left[done:], offset + done

    def read(self, at: int, values: NDArray[Any]) -> None:
        left, offset = values.data.cast("B"), at * self._dtype.itemsize
        while left:
            part = os.pread(self._file.fileno(), len(left), offset)
            if not part:
                raise OSError(f"The file of rows that wait for their shard ends {len(left)} bytes too early.")
            left[: len(part)] = part
            left, offset = left[len(part) :], offset + len(part)
