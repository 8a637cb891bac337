"""A family as lazy Datasets that grow along one dimension, and the pieces in which they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

PIECE_BYTES = 32 << 20
"""Values of about so many bytes are in memory at once."""

NOT_RECORDED = "not_recorded"
"""Attribute of an integer variable: the value that stands for what was not recorded."""

CELL_DIMS = frozenset({"height", "width", "colour"})
"""Dimensions within a cell of a table: of pictures."""


@dataclass(frozen=True)
class Source:
    """One family, lazily.

    `dataset` is what a tree of arrays gets; `tables` are the same values as Datasets whose variables share their
    dimensions, so that each can be flattened to rows: `dataset` itself where it is like that. `dim` is the dimension
    along which they are read, `align` entries of which lie in a file.
    """

    family: str
    dataset: xr.Dataset
    dim: str
    align: int = 1
    tables: Sequence[xr.Dataset] = ()

    @property
    def flat(self) -> Sequence[xr.Dataset]:
        """The Datasets to be flattened."""
        return self.tables or (self.dataset,)

    def rows(self, dataset: xr.Dataset) -> int:
        """Return how many entries along `dim` make a piece."""
        fitting = PIECE_BYTES // max(1, bytes_of(dataset) // max(1, dataset.sizes[self.dim]))
        return max(self.align, fitting // self.align * self.align)

    def pieces(self, dataset: xr.Dataset) -> Iterator[slice]:
        """Return the pieces along `dim`, in order."""
        rows, size = self.rows(dataset), dataset.sizes[self.dim]
        return (slice(start, min(start + rows, size)) for start in range(0, size, rows))


def bytes_of(dataset: xr.Dataset) -> int:
    """Return the bytes of the data variables, uncompressed; nothing is read."""
    return sum(math.prod(one.shape) * one.dtype.itemsize for one in dataset.data_vars.values())


class LazyBlocks(BackendArray):
    """An array of any number of axes that is read on demand, in contiguous spans of its first."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: Callable[[int, int], NDArray[Any]]) -> None:
        """Take the shape, the dtype, and the function that returns entries [start, stop) of the first axis."""
        self.shape, self.dtype, self._read = shape, np.dtype(dtype), read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return the values of an xarray index, as numpy."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

    def _outer(self, key: tuple[Any, ...]) -> NDArray[Any]:
        first = np.arange(self.shape[0])[key[0]]
        start, stop = (int(first.min()), int(first.max()) + 1) if first.size else (0, 0)
        block = self._read(start, stop) if first.size else np.empty((0, *self.shape[1:]), self.dtype)
        for axis in reversed(range(1, len(self.shape))):  # from the last on: a number takes its axis away
            block = block[(slice(None),) * axis + (key[axis],)]
        found: NDArray[Any] = block[first - start]
        return found


def lazy_blocks(
    dims: Sequence[str],
    shape: tuple[int, ...],
    dtype: Any,
    read: Callable[[int, int], NDArray[Any]],
    attrs: dict[str, Any] | None = None,
) -> xr.Variable:
    """Return an xarray variable over `LazyBlocks`."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(LazyBlocks(shape, dtype, read)), attrs=attrs)
