"""The levels above the states of images, grown shard by shard while recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field, create_array, records_per_shard
from deeptracker.data_model.image_states import Counts, sum_codes, sum_counts
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.reduction import FACTOR, MAX_LEVEL
from deeptracker.data_model.rows import GivenRows, Rows, write_rows
from deeptracker.data_model.state_layout import STATES, count_field, span_of
from deeptracker.data_model.state_reader import StateReader
from deeptracker.data_model.tree import ArrayTree

FEWEST_BUCKETS = 64
"""A closed run gets no level with fewer buckets than this: the level below it is as quick to read."""

Buckets = list[Counts]
"""One array (bucket, 4, group) per image level."""


class StatePyramid:
    """Writes level k + 1 of the states from level k: each buffers whole shards, writes them once, pushes up.

    All image levels of a level grow together, so one number of buckets says how far it has come.
    """

    def __init__(self, tree: ArrayTree, entry: LogEntry, images: int, image_levels: int) -> None:
        """Continue the levels described by `entry`."""
        self.tree, self.entry, self.images, self.image_levels = tree, entry, images, image_levels
        self._pending: list[list[Buckets]] = [[] for _ in range(MAX_LEVEL)]

    def records(self, level: int) -> int:
        """Return how many buckets a shard of a level has: as its arrays say, or as its first shard will."""
        path = f"{STATES}/level_{level}/images_0"
        if path in self.tree:
            shards = self.tree[path].shards
            assert shards is not None
            return shards[-1]
        return records_per_shard([count_field(self.images, one, level, 1) for one in range(self.image_levels)])

    def fields(self, level: int) -> list[Field]:
        """Describe the arrays of a level, one per image level."""
        records = self.records(level)
        return [count_field(self.images, one, level, records) for one in range(self.image_levels)]

    def restore(self, reader: StateReader, start: int) -> None:
        """Go on behind record `start` when recording resumes: from each level's full shards, and what lies behind them.

        `reader` reads what was committed.
        """
        available, kept = start, []
        for level in range(1, len(self.entry.levels) + 2):
            available //= FACTOR
            records, stored = self.records(level), 0
            if level <= len(self.entry.levels):
                stored = min(self.entry.levels[level - 1], available) // records * records
                kept.append(stored)
            pending = [reader.summaries(level, one, stored, available) for one in range(self.image_levels)]
            self._pending[level - 1] = [pending] if stored < available else []
            available = stored
        for level, count in enumerate(kept, 1):
            if count < self.entry.levels[level - 1]:
                for field in self.fields(level):
                    self.tree.declare(f"{STATES}/level_{level}/{field.name}", field.place(field.shape, count))
        self.entry.levels = kept

    def push_records(self, columns: Mapping[str, Rows]) -> None:
        """Take the records of a full shard of `level_0`."""
        self._push(1, _above(0, self._rows(columns, columns["images_0"].count)))

    def _rows(self, columns: Mapping[str, Rows], count: int) -> list[NDArray[Any]]:
        return [columns[f"images_{one}"].rows(0, count) for one in range(self.image_levels)]

    def _push(self, level: int, buckets: Buckets) -> None:
        records = self.records(level)
        self._pending[level - 1].append(buckets)
        if sum(len(part[0]) for part in self._pending[level - 1]) < records:
            return
        joined = _joined(self._pending[level - 1])
        self._pending[level - 1].clear()
        complete = len(joined[0]) // records * records
        for start in range(0, complete, records):
            shard = [part[start : start + records] for part in joined]
            self._write(level, shard)
            if level < MAX_LEVEL:
                self._push(level + 1, _above(level, shard))
        if complete < len(joined[0]):
            self._pending[level - 1].append([part[complete:].copy() for part in joined])

    def _write(self, level: int, buckets: Buckets) -> None:
        group, fields = f"{STATES}/level_{level}", self.fields(level)
        if level > len(self.entry.levels):
            span, records = FACTOR**level, self.records(level)
            self.tree.describe(group, bucket=f"validations [b * {span}, (b + 1) * {span})")
            for field in fields:
                create_array(self.tree, group, field, "bucket", records)
            self.entry.levels.append(0)
        start, stop = self.entry.levels[level - 1], self.entry.levels[level - 1] + len(buckets[0])
        for field, counts in zip(fields, buckets, strict=True):
            write_rows(self.tree, f"{group}/{field.name}", field, start, GivenRows(counts))
        self.entry.levels[level - 1] = stop

    def grow(self, images: int) -> None:
        """Follow the states to more images: earlier validations have not seen them."""
        self.images = images
        for level, buckets in enumerate(self.entry.levels, 1):
            for field in self.fields(level):
                self.tree.widen(f"{STATES}/level_{level}/{field.name}", field.place(field.shape, buckets))
        for level, parts in enumerate(self._pending, 1):
            self._pending[level - 1] = [self._widened(part, level) for part in parts]

    def _widened(self, buckets: Buckets, level: int) -> Buckets:
        wide = []
        for field, counts in zip(self.fields(level), buckets, strict=True):
            more = field.shape[1] - counts.shape[2]
            wide.append(np.pad(counts, ((0, 0), (0, 0), (0, more))) if more else counts)
        return wide

    def close(self, columns: Mapping[str, Rows]) -> None:
        """Write every level's complete buckets, `columns` being the last records, after the last full shard."""
        complete = columns["images_0"].count // FACTOR * FACTOR
        coming = [_above(0, self._rows(columns, complete))] if complete else []
        for level in range(1, MAX_LEVEL + 1):
            parts = self._pending[level - 1] + coming
            self._pending[level - 1] = []
            stored = self.entry.levels[level - 1] if level <= len(self.entry.levels) else 0
            if not parts or stored + sum(len(part[0]) for part in parts) < FEWEST_BUCKETS:
                return
            coming = self._close_level(level, _joined(parts))

    def _close_level(self, level: int, buckets: Buckets) -> list[Buckets]:
        """Write the level's last buckets, and return the complete buckets they give one level up."""
        records, count = self.records(level), len(buckets[0])
        for start in range(0, count, records):
            self._write(level, [part[start : start + records] for part in buckets])
        complete = count // FACTOR * FACTOR
        return [_above(level, [part[:complete] for part in buckets])] if complete else []


def _above(level: int, records: Sequence[NDArray[Any]]) -> Buckets:
    """Return the buckets of the level above a level's records or buckets."""
    return [
        sum_counts(part, span_of(number) * FACTOR ** (level + 1)) if part.ndim == 3 else sum_codes(part)
        for number, part in enumerate(records)
    ]


def _joined(parts: Sequence[Buckets]) -> Buckets:
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]
