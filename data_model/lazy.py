"""A run's records as xarray Datasets that read only what is asked for, the live tail included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

Read = Callable[[int, int, Any], NDArray[Any]]
"""Takes (first record, last record, index of entities) and returns (records, entities)."""


class LazyRecords(BackendArray):
    """A (record, entity) array read on demand; only contiguous spans of records are ever read."""

    def __init__(self, shape: tuple[int, ...], dtype: str, read: Read) -> None:
        """Take the shape, the dtype and the function that reads."""
        self.shape, self.dtype, self._read = shape, np.dtype(dtype), read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return the values of an xarray index, as numpy."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

    def _outer(self, key: tuple[Any, ...]) -> NDArray[Any]:
        records = np.arange(self.shape[0])[key[0]]
        entities = key[1] if len(key) > 1 else 0
        if records.size == 0:
            return np.empty((*records.shape, *np.empty(self.shape[1:])[key[1:]].shape), self.dtype)
        start, stop = int(records.min()), int(records.max()) + 1
        block = self._read(start, stop, np.atleast_1d(np.arange(self.shape[1])[entities]) if len(key) > 1 else entities)
        if len(key) > 1 and np.isscalar(entities):
            block = block[:, 0]
        found: NDArray[Any] = block[records - start]
        return found


def lazy_variable(
    dims: tuple[str, ...], shape: tuple[int, ...], dtype: str, read: Read, attrs: Mapping[str, Any]
) -> xr.Variable:
    """Return an xarray variable over `LazyRecords`."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(LazyRecords(shape, dtype, read)), attrs=dict(attrs))
