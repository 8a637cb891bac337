"""The levels above a family's records, grown shard by shard while recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field, create_array
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.reduction import AGGREGATES, FACTOR, MAX_LEVEL, merge_buckets, summarise_records
from deeptracker.data_model.tree import ArrayTree

Buckets = NDArray[np.floating[Any]]

FEWEST_BUCKETS = 64
"""A closed run gets no level with fewer buckets than this: the level below it is as quick to read."""


class Pyramid:
    """Writes level k + 1 of a family from level k: each level buffers whole shards, writes them once, pushes up."""

    def __init__(self, tree: ArrayTree, family: str, value: Field, entry: LogEntry) -> None:
        """Continue the levels described by `entry`; `value` describes the family's records."""
        self.tree, self.family, self.entry = tree, family, entry
        self._describe(value)
        self._pending: list[list[Buckets]] = [[] for _ in range(MAX_LEVEL)]

    def _describe(self, value: Field) -> None:
        """Describe a level's array: as the records', with the aggregates as a further axis."""
        statistic, entity = value.dims
        five = len(AGGREGATES)
        self._shape = value.shape
        self._summary = Field(
            "summary",
            value.dtype,
            np.nan,
            (statistic, "aggregate", entity),
            (value.shape[0], five, value.shape[1]),
            (value.chunks[0], five, value.chunks[1]),
            (value.shards[0], five, value.shards[1]),
            record_last=True,
            meaning="min, max, mean, count of finite and count of non-finite records of each bucket",
        )

    def restore(self, kept: list[int], pending: list[Buckets]) -> None:
        """Go on from `kept` buckets in full shards of each level, and the `pending` ones behind them, when recording
        resumes; pending buckets are (buckets, 5, series).
        """
        for level, count in enumerate(kept):
            if count < self.entry.levels[level]:
                path = f"{self.family}/level_{level + 1}/summary"
                self.tree.declare(path, self._summary.place(self._summary.shape, count))
        self.entry.levels = kept
        for level, buckets in enumerate(pending):
            self._pending[level] = [buckets] if len(buckets) else []

    def push_records(self, values: NDArray[Any]) -> None:
        """Take the records of a full shard, (records, statistic, entity)."""
        self._push(0, summarise_records(values.reshape(len(values), -1)))

    def _push(self, level: int, buckets: Buckets) -> None:
        records = self.entry.records_per_shard
        self._pending[level].append(buckets)
        if sum(map(len, self._pending[level])) < records:
            return
        # Of a network with many filters this is the largest piece of memory by far: it is there once, and no longer
        # than needed.
        parts, self._pending[level] = self._pending[level], []
        joined = np.concatenate(parts)
        parts.clear()
        shard, rest = joined[:records], joined[records:]
        self._pending[level] = [rest.copy()] if len(rest) else []
        self._write(level, shard)
        if level + 1 < MAX_LEVEL:
            self._push(level + 1, merge_buckets(shard))

    def _write(self, level: int, buckets: Buckets) -> None:
        path = f"{self.family}/level_{level + 1}/summary"
        if level == len(self.entry.levels):
            group = f"{self.family}/level_{level + 1}"
            span = FACTOR ** (level + 1)
            self.tree.describe(group, bucket=f"records [b * {span}, (b + 1) * {span}) of level_0; iterations likewise")
            create_array(self.tree, group, self._summary, "bucket", self.entry.records_per_shard)
            self.entry.levels.append(0)
        start, stop = self.entry.levels[level], self.entry.levels[level] + len(buckets)
        block = buckets.reshape(len(buckets), len(AGGREGATES), *self._shape).swapaxes(1, 2)
        array = self.tree.resize(path, self._summary.place(self._summary.shape, stop))
        array[..., start:stop] = self._summary.oriented(block)
        self.entry.levels[level] = stop

    def grow(self, value: Field) -> None:
        """Follow the records' family to more entities; `value` is its new description."""
        before = self._shape
        self._describe(value)
        for level, buckets in enumerate(self.entry.levels):
            self.tree.widen(
                f"{self.family}/level_{level + 1}/summary", self._summary.place(self._summary.shape, buckets)
            )
        for level, parts in enumerate(self._pending):
            self._pending[level] = [self._widened(part, before) for part in parts]

    def _widened(self, buckets: Buckets, before: tuple[int, ...]) -> Buckets:
        wide = np.full((len(buckets), len(AGGREGATES), *self._shape), np.nan, buckets.dtype)
        wide[:, AGGREGATES.index("count") :] = 0
        wide[:, :, : before[0], : before[1]] = buckets.reshape(len(buckets), len(AGGREGATES), *before)
        return wide.reshape(len(buckets), len(AGGREGATES), -1)

    def close(self, rest: NDArray[Any]) -> None:
        """Write every level's complete buckets, the run's last records (after its last full shard) being `rest`."""
        complete = len(rest) // FACTOR * FACTOR
        coming = [summarise_records(rest[:complete].reshape(complete, -1))] if complete else []
        for level in range(MAX_LEVEL):
            parts = self._pending[level] + coming
            stored = self.entry.levels[level] if level < len(self.entry.levels) else 0
            if stored + sum(map(len, parts)) < FEWEST_BUCKETS:
                return
            # Where whole shards hold all of a level, the levels above it may still wait for theirs.
            coming = self._close_level(level, np.concatenate(parts)) if parts else []

    def _close_level(self, level: int, buckets: Buckets) -> list[Buckets]:
        """Write the level's last buckets, and return the complete buckets they give one level up."""
        records = self.entry.records_per_shard
        higher = []
        for start in range(0, len(buckets), records):
            self._write(level, buckets[start : start + records])
        complete = len(buckets) // FACTOR * FACTOR
        if complete:
            higher.append(merge_buckets(buckets[:complete]))
        self._pending[level] = []
        return higher
