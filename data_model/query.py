"""The one query behind every picture: at least so many buckets of a window, exact, never reading more than needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model.axis import IterationAxis, Iterations
from deeptracker.data_model.blocks import Groups
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.reduction import AGGREGATES, FACTOR, MAX_LEVEL, combine_series

Buckets = NDArray[np.floating[Any]]
ReadBuckets = Callable[[int, int, int], Buckets]
"""Takes (level, first bucket, last bucket) and returns (buckets, 5, entities)."""


@dataclass(frozen=True)
class BucketRange:
    """The buckets [first, stop) of a level."""

    level: int
    first: int
    stop: int


def choose_buckets(axis: IterationAxis, start: int, stop: int, buckets: int) -> BucketRange:
    """Return the coarsest level that still gives `buckets` buckets over [start, stop), snapped outward.

    Between `buckets` and 8 * `buckets` of them; fewer only where there are fewer records, then one per record.
    """
    if stop <= start:
        raise QueryError(f"The window [{start}, {stop}) is empty; its stop must lie above its start.")
    if buckets < 1:
        raise QueryError(f"{buckets} buckets were asked for; ask for 1 or more.")
    first, last = axis.record_range(start, stop)
    for level in range(MAX_LEVEL, 0, -1):
        span = FACTOR**level
        if -(-last // span) - first // span >= buckets:
            return BucketRange(level, first // span, -(-last // span))
    return BucketRange(0, first, last)


def bucket_bounds(axis: IterationAxis, chosen: BucketRange) -> Iterations:
    """Return the iterations where the chosen buckets start, and where the last one stops: (buckets + 1,)."""
    records = np.arange(chosen.first, chosen.stop + 1, dtype=np.int64) * FACTOR**chosen.level
    return axis.bounds(np.minimum(records, axis.records))


def to_dataset(
    read: ReadBuckets, axis: IterationAxis, chosen: BucketRange, variable: str, entity: str | None
) -> xr.Dataset:
    """Read the chosen buckets into a Dataset of min, max, mean, count and nonfinite over (bucket, entity).

    Without an `entity` (a scalar) over (bucket,). Coordinates `start` and `stop` are iterations; `record_count` is
    the number of records behind each bucket, which `count` falls short of where values are missing or not finite.
    """
    values = read(chosen.level, chosen.first, chosen.stop)
    dims = ("bucket", entity) if entity else ("bucket",)
    data = {}
    for number, aggregate in enumerate(AGGREGATES):
        series = values[:, number] if entity else values[:, number, 0]
        data[aggregate] = (dims, series.astype(np.int32) if aggregate in ("count", "nonfinite") else series)
    return _dataset(data, axis, chosen, variable)


def blocks_dataset(
    read: ReadBuckets, axis: IterationAxis, chosen: BucketRange, variable: str, groups: Groups, step: int
) -> xr.Dataset:
    """Read the chosen buckets into a Dataset like `to_dataset`'s, over (bucket, block), for groups of series.

    `groups` number the series among those that `read` returns. `step` buckets are read at once, which bounds the
    memory: a network has many more filters than blocks. The coordinate `members` counts the series of each block, so
    that `count` is at most `record_count` times `members`.
    """
    starts = [chosen.first, *range(-(-(chosen.first + 1) // step) * step, chosen.stop, step)]
    stops = [*starts[1:], chosen.stop]
    members = list(groups.values())
    parts = [
        combine_series(read(chosen.level, first, stop), members) for first, stop in zip(starts, stops, strict=True)
    ]
    data = {
        aggregate: (("bucket", "block"), np.concatenate([part[aggregate] for part in parts]))
        for aggregate in AGGREGATES
    }
    found = _dataset(data, axis, chosen, variable)
    counts = np.array([len(one) for one in members], np.int32)
    return found.assign_coords(block=np.array(list(groups), dtype=object), members=("block", counts))


def _dataset(data: Any, axis: IterationAxis, chosen: BucketRange, variable: str) -> xr.Dataset:
    bounds = bucket_bounds(axis, chosen)
    records = np.minimum(np.arange(chosen.first, chosen.stop + 1) * FACTOR**chosen.level, axis.records)
    return xr.Dataset(
        data,
        coords={
            "start": ("bucket", bounds[:-1]),
            "stop": ("bucket", bounds[1:]),
            "record_count": ("bucket", np.diff(records).astype(np.int32)),
        },
        attrs={"variable": variable, "level": chosen.level},
    )
