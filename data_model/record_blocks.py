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

Floats = npt.NDArray[np.float64]

BLOCK = 32
"""Records in a block: four buckets of the index's first level."""
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
    # As many buckets as blocks: the index merges its own on the way, for they are aligned to the first record too.
    found = run.query(variable, family=family, iterations=window, buckets=stop - first)
    return Blocks(*(_columns(found[name].values) for name in ("mean", "max", "min")))


def _columns(values: npt.NDArray[Any]) -> Floats:
    return np.asarray(values.reshape(len(values), -1), np.float64)
