"""The one query behind every picture: at least so many buckets of a window, exact, never reading more than needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.indexes import PandasIndex

from deeptracker.data_model.axis import IterationAxis, Iterations
from deeptracker.data_model.blocks import Groups
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.reduction import AGGREGATES, FACTOR, MAX_LEVEL, combine_series

Buckets = NDArray[np.floating[Any]]
_MERGES = (4, 2, 1)


@dataclass(frozen=True)
class BucketRange:
    """The buckets [first, stop) of a level, or of so many of its buckets `merged` to one."""

    level: int
    first: int
    stop: int
    merged: int = 1

    @property
    def span(self) -> int:
        """How many records a bucket stands for, except perhaps the last."""
        records: int = FACTOR**self.level * self.merged
        return records


ReadBuckets = Callable[[BucketRange], Buckets]
"""Takes what `choose_buckets` returns, or a part of it, and returns (buckets, 5, entities)."""


def choose_buckets(axis: IterationAxis, start: int, stop: int, buckets: int) -> BucketRange:
    """Return the coarsest buckets that are still `buckets` or more over [start, stop), snapped outward.

    They are of a level, or 2 or 4 of its buckets merged to one, which spares whatever follows up to 8 times the
    buckets that were asked for: there are at most about twice as many, and at most 8 times as many are read. Fewer
    only where there are fewer records, then one per record.
    """
    if stop <= start:
        raise QueryError(f"The window [{start}, {stop}) is empty; its stop must lie above its start.")
    if buckets < 1:
        raise QueryError(f"{buckets} buckets were asked for; ask for 1 or more.")
    first, last = axis.record_range(start, stop)
    for level in range(MAX_LEVEL, -1, -1):
        for merged in _MERGES if level < MAX_LEVEL else (1,):  # beyond, float32 would not count exactly
            span = FACTOR**level * merged
            if -(-last // span) - first // span >= buckets:
                return BucketRange(level, first // span, -(-last // span), merged)
    return BucketRange(0, first, last)


def bucket_bounds(axis: IterationAxis, chosen: BucketRange) -> Iterations:
    """Return the iterations where the chosen buckets start, and where the last one stops: (buckets + 1,)."""
    records = np.arange(chosen.first, chosen.stop + 1, dtype=np.int64) * chosen.span
    return axis.bounds(np.minimum(records, axis.records))


def labels(entity: str, values: Any) -> xr.Coordinates:
    """Return the names or numbers of entities as a coordinate with an index, to give to `to_dataset`."""
    values = np.asarray(values)
    return xr.Coordinates.from_xindex(PandasIndex(values, entity, coord_dtype=values.dtype))


def to_dataset(
    read: ReadBuckets,
    axis: IterationAxis,
    chosen: BucketRange,
    variable: str,
    entity: str | None,
    labelled: xr.Coordinates | None = None,
) -> xr.Dataset:
    """Read the chosen buckets into a Dataset of min, max, mean, count and nonfinite over (bucket, entity).

    Without an `entity` (a scalar) over (bucket,). Coordinates `start` and `stop` are iterations; `record_count` is
    the number of records behind each bucket, which `count` falls short of where values are missing or not finite;
    `labelled` names the entities.
    """
    values = read(chosen)
    dims = ("bucket", entity) if entity else ("bucket",)
    data = {}
    for number, aggregate in enumerate(AGGREGATES):
        series = values[:, number] if entity else values[:, number, 0]
        data[aggregate] = xr.Variable(dims, series.astype(np.int32) if aggregate in ("count", "nonfinite") else series)
    return _dataset(data, axis, chosen, variable, labelled)


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
    spans = [replace(chosen, first=first, stop=stop) for first, stop in zip(starts, stops, strict=True)]
    parts = [combine_series(read(span), members) for span in spans]
    data = {
        aggregate: xr.Variable(("bucket", "block"), np.concatenate([part[aggregate] for part in parts]))
        for aggregate in AGGREGATES
    }
    found = _dataset(data, axis, chosen, variable, labels("block", np.array(list(groups), dtype=object)))
    return found.assign_coords(members=("block", np.array([len(one) for one in members], np.int32)))


@dataclass(frozen=True)
class Plan:
    """How a query is answered: which buckets of which axis, what reads them, and how they are labelled.

    With `groups`, the series of each group make one, and `step` buckets are read at once.
    """

    variable: str
    read: ReadBuckets
    axis: IterationAxis
    chosen: BucketRange
    entity: str | None = None
    labelled: xr.Coordinates | None = None
    groups: Groups | None = None
    step: int = 1

    def dataset(self) -> xr.Dataset:
        """Return the answer, see `to_dataset` and `blocks_dataset`."""
        if self.groups is not None:
            return blocks_dataset(self.read, self.axis, self.chosen, self.variable, self.groups, self.step)
        return to_dataset(self.read, self.axis, self.chosen, self.variable, self.entity, self.labelled)

    def part(self, first: int, stop: int) -> xr.Dataset:
        """Return the same as `dataset().isel(bucket=slice(first, stop))`; nothing else is read."""
        start = self.chosen.first
        return replace(self, chosen=replace(self.chosen, first=start + first, stop=start + stop)).dataset()

    def bounds(self) -> dict[str, xr.Variable]:
        """Return `start`, `stop` and `record_count` of every bucket of the answer; nothing is read."""
        return _along(self.axis, self.chosen)


def _along(axis: IterationAxis, chosen: BucketRange) -> dict[str, xr.Variable]:
    bounds = bucket_bounds(axis, chosen)
    records = np.minimum(np.arange(chosen.first, chosen.stop + 1) * chosen.span, axis.records)
    along = {"start": bounds[:-1], "stop": bounds[1:], "record_count": np.diff(records).astype(np.int32)}
    return {name: xr.Variable(("bucket",), one) for name, one in along.items()}


def _dataset(
    data: dict[str, xr.Variable],
    axis: IterationAxis,
    chosen: BucketRange,
    variable: str,
    labelled: xr.Coordinates | None,
) -> xr.Dataset:
    # Given with their index, coordinates cost a fifth of what xarray takes to find out about them.
    coordinates = _along(axis, chosen)
    coords = xr.Coordinates(
        {**coordinates, **(labelled.variables if labelled is not None else {})},
        indexes=labelled.xindexes if labelled is not None else {},
    )
    attributes = {"variable": variable, "level": chosen.level, "records_per_bucket": chosen.span}
    return xr.Dataset(data, coords, attributes)
