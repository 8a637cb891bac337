"""The levels above a family's records, grown shard by shard while recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field, create_array
from deeptracker.data_model.family_reader import FamilyReader
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.pending import Pending
from deeptracker.data_model.reduction import AGGREGATES, FACTOR, MAX_LEVEL, merge_buckets, summarise_records
from deeptracker.data_model.rows import Place, Rows, write_rows
from deeptracker.data_model.tree import ArrayTree

Buckets = NDArray[np.floating[Any]]

BLANK = np.array([[np.nan]] * 3 + [[0]] * 2)
"""What a bucket holds, (5, entity), of an entity that came after it."""

FEWEST_BUCKETS = 64
"""A closed run gets no level with fewer buckets than this: the level below it is as quick to read."""


class Pyramid:
    """Writes level k + 1 of a family from level k: each level gathers whole shards, writes them once, pushes up.

    The levels of a network with many filters are large: they are made part by part, as the chunks cut them.
    """

    def __init__(self, tree: ArrayTree, family: str, value: Field, entry: LogEntry, folder: Path | None) -> None:
        """Continue the levels described by `entry`; `value` describes the family's records.

        Buckets wait for their shard in `folder`, as `scratch` says.
        """
        self.tree, self.family, self.entry = tree, family, entry
        self._describe(value)
        records = entry.records_per_shard
        self._pending = [Pending(self._summary, records, folder, BLANK) for _ in range(MAX_LEVEL)]

    def _describe(self, value: Field) -> None:
        """Describe a level's array: as the records', with the aggregates as a further axis."""
        statistic, entity = value.dims
        five = len(AGGREGATES)
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

    def restore(self, reader: FamilyReader, start: int) -> None:
        """Go on behind record `start` when recording resumes: from each level's full shards, and what lies behind them.

        `reader` reads what was committed.
        """
        available, kept, records = start, [], self.entry.records_per_shard
        for level in range(min(len(self.entry.levels) + 1, MAX_LEVEL)):
            available //= FACTOR
            stored = 0
            if level < len(self.entry.levels):
                stored = min(self.entry.levels[level], available) // records * records
                kept.append(stored)
            self._gather(reader, level, stored, available)
            available = stored
        for level, count in enumerate(kept):
            if count < self.entry.levels[level]:
                self.tree.declare(self._path(level), self._summary.place(self._summary.shape, count))
        self.entry.levels = kept

    def _gather(self, reader: FamilyReader, level: int, start: int, stop: int) -> None:
        """Have buckets [start, stop) of a level wait for their shard."""

        def read(place: Place) -> Buckets:
            statistics, _, entities = place
            parts = [
                reader.summaries(level + 1, start, stop, statistic, entities)
                for statistic in range(statistics.start, statistics.stop)
            ]
            return np.stack(parts, axis=1)

        self._pending[level].clear()
        self._pending[level].extend(stop - start, read)

    def push_records(self, records: Rows) -> None:
        """Take the records of a full shard, (records, statistic, entity)."""
        self._push(0, records.count // FACTOR, _summaries(records))

    def _push(self, level: int, count: int, buckets: Callable[[Place], Buckets]) -> None:
        pending = self._pending[level]
        pending.extend(count, buckets)
        if pending.count == pending.capacity:
            self._write(level)
            if level + 1 < MAX_LEVEL:
                self._push(level + 1, pending.count // FACTOR, _merged(pending))
            pending.clear()

    def _path(self, level: int) -> str:
        return f"{self.family}/level_{level + 1}/summary"

    def _write(self, level: int) -> None:
        """Write what has been gathered of a level."""
        pending = self._pending[level]
        if level == len(self.entry.levels):
            group = f"{self.family}/level_{level + 1}"
            span = FACTOR ** (level + 1)
            self.tree.describe(group, bucket=f"records [b * {span}, (b + 1) * {span}) of level_0; iterations likewise")
            create_array(self.tree, group, self._summary, "bucket", self.entry.records_per_shard)
            self.entry.levels.append(0)
        write_rows(self.tree, self._path(level), self._summary, self.entry.levels[level], pending)
        self.entry.levels[level] += pending.count

    def grow(self, value: Field) -> None:
        """Follow the records' family to more entities; `value` is its new description."""
        self._describe(value)
        for level, buckets in enumerate(self.entry.levels):
            self.tree.widen(self._path(level), self._summary.place(self._summary.shape, buckets))
        self._pending = [pending.grown(self._summary) for pending in self._pending]

    def close(self, rest: Rows) -> None:
        """Write every level's complete buckets, the run's last records (after its last full shard) being `rest`."""
        count, coming = rest.count // FACTOR, _summaries(rest)
        for level, pending in enumerate(self._pending):
            stored = self.entry.levels[level] if level < len(self.entry.levels) else 0
            if stored + pending.count + count < FEWEST_BUCKETS:
                return
            pending.extend(count, coming)
            # Where whole shards hold all of a level, the levels above it may still wait for theirs.
            if pending.count:
                self._write(level)
            count, coming = pending.count // FACTOR, _merged(pending)


def _summaries(records: Rows) -> Callable[[Place], Buckets]:
    """Return what summarises all complete eights of records, by part of a bucket: (buckets, statistic, 5, entity)."""

    def read(place: Place) -> Buckets:
        values = records.block((place[0], place[2]), 0, records.count // FACTOR * FACTOR)
        found = summarise_records(values.reshape(len(values), -1))
        return found.reshape(*found.shape[:2], *values.shape[1:]).swapaxes(1, 2)

    return read


def _merged(buckets: Rows) -> Callable[[Place], Buckets]:
    """Return what merges all complete eights of buckets, by part of a bucket: (buckets, statistic, 5, entity)."""

    def read(place: Place) -> Buckets:
        values = buckets.block(place, 0, buckets.count // FACTOR * FACTOR).swapaxes(1, 2)
        found = merge_buckets(values.reshape(*values.shape[:2], -1))
        return found.reshape(len(found), *values.shape[1:]).swapaxes(1, 2)

    return read
