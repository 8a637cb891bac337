"""Blocks of 32 records, read from the index: mean, largest and smallest of what was finite in each.

Blocks are aligned to the first record of the run, and only whole ones are read: so a block is the same whenever one
looks, and a run that grows only adds more of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from deeptracker.data_model.reduction import FACTOR

Floats = npt.NDArray[np.float64]

BLOCK = 32
"""Records in a block: four buckets of the index's first level."""

_BUCKETS = BLOCK // FACTOR
AT_ONCE = 2048
"""Blocks that are read at once; bounds the memory."""


class Queried(Protocol):
    """What answers queries: a run."""

    def query(
        self, variable: str, *, family: str | None = ..., iterations: tuple[int, int] | None = ..., buckets: int = ...
    ) -> xr.Dataset:
        """Return min, max, mean and count of a variable in at least so many buckets of a window."""
        ...


@dataclass(frozen=True)
class Blocks:
    """Mean, largest and smallest value of each block, float64 (blocks, entities); NaN where nothing was finite."""

    mean: Floats
    max: Floats
    min: Floats


def whole_blocks(records: int) -> int:
    """Return how many whole blocks so many records make."""
    return records // BLOCK


def read_blocks(
    run: Queried, family: str, variable: str, iteration: npt.NDArray[np.int64], first: int, stop: int
) -> Blocks:
    """Return the blocks [first, stop) of a variable; `iteration` (records,) is the axis of its family."""
    records = (first * BLOCK, stop * BLOCK)
    window = (int(iteration[records[0]]), int(iteration[records[1] - 1]) + 1)
    buckets = run.query(variable, family=family, iterations=window, buckets=(stop - first) * _BUCKETS)
    return merged(*(_in_blocks(buckets[name].values) for name in ("mean", "max", "min", "count")))


def merged(mean: Any, high: Any, low: Any, count: Any) -> Blocks:
    """Merge buckets (blocks, buckets, entities) into blocks; `count` is what was finite in each bucket."""
    if count.size and np.all(count == count.flat[0]):
        return Blocks(*(np.asarray(part, np.float64) for part in (mean.mean(1), high.max(1), low.min(1))))
    total = count.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weighted = np.where(count > 0, mean.astype(np.float64) * count, 0).sum(1) / total
    empty = total == 0
    highest = np.where(empty, np.nan, np.where(count > 0, high, -np.inf).max(1))
    lowest = np.where(empty, np.nan, np.where(count > 0, low, np.inf).min(1))
    return Blocks(weighted, highest.astype(np.float64), lowest.astype(np.float64))


def _in_blocks(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    columns = values.reshape(len(values), -1)
    return columns.reshape(len(columns) // _BUCKETS, _BUCKETS, columns.shape[1])
