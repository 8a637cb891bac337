"""Appending records: gathered to whole shards that are written once, the unfinished rest in tail pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field, create_array
from deeptracker.data_model.axis import Iterations
from deeptracker.data_model.log_reader import LogReader
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.pending import Pending
from deeptracker.data_model.rows import GivenRows, Rows, write_rows
from deeptracker.data_model.shards import ReadableArray
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tail import FOLDER, Column, write_piece
from deeptracker.data_model.tree import ArrayTree

MOST_PIECES = 16
"""More tail pieces than this are written again as one: opening a live run reads them all."""

ITERATION = Field("iteration", "int64", 0, meaning="optimizer step, counted from the start of the run")


class RecordLog:
    """The growing arrays of one group. Nothing is committed here: the caller commits by writing the run's root."""

    def __init__(
        self,
        storage: Storage,
        tree: ArrayTree,
        group: str,
        name: str,
        record_dim: str,
        fields: Sequence[Field],
        entry: LogEntry,
        on_shard: Callable[[Mapping[str, Rows]], None] | None = None,
    ) -> None:
        """Continue the log described by `entry`, creating arrays that do not exist yet.

        `on_shard` gets the records of every full shard, by array, right after it was written.
        """
        self.storage, self.name, self.entry, self._tree = storage, name, entry, tree
        self.fields = {field.name: field for field in (*fields, ITERATION)}
        self.records = entry.records_per_shard
        self.paths = {key: f"{group}/{key}" for key in self.fields}
        for key, field in self.fields.items():
            if self.paths[key] not in tree:
                create_array(tree, group, field, record_dim, self.records)
        self._on_shard = on_shard
        self._pending = {key: Pending(field, self.records, storage.local) for key, field in self.fields.items()}
        self._filled = entry.records - entry.sharded
        self._pieced = self._filled
        self._dropped: list[str] = []
        self._droppable: list[str] = []

    @property
    def readable(self) -> dict[str, ReadableArray]:
        """What reads the arrays, by name."""
        return {key: self._tree.readable(path) for key, path in self.paths.items()}

    def restore(self, columns: Mapping[str, NDArray[Any]], *, in_tail: bool) -> None:
        """Have the records behind the last full shard wait for theirs again when recording resumes.

        Without `in_tail` they came from a partial shard, or the log was cut: the next commit writes them to the tail
        and names arrays that end before them; the shard is replaced, in one rename, once it is full.
        """
        count = len(columns["iteration"])
        for key, values in columns.items():
            self._pending[key].clear()
            self._pending[key].append(values)
        self._filled, self._pieced = count, count if in_tail else 0
        self.entry.sharded = self.entry.records - count
        if not in_tail:
            self._dropped.extend(piece.name for piece in self.entry.tail)
            self.entry.tail = []
            for key, field in self.fields.items():
                self._tree.declare(self.paths[key], field.place(field.shape, self.entry.sharded))

    def rows(self, key: str, start: int, stop: int) -> NDArray[Any]:
        """Return records [start, stop) of a column, record axis first: from the shards, or not written yet."""
        field, sharded = self.fields[key], self.entry.sharded
        parts = [self._pending[key].rows(max(0, start - sharded), max(0, stop - sharded))]
        if start < sharded:
            reader = LogReader(self.storage, self.readable, self.entry)
            parts.insert(0, reader.rows(key, start, min(stop, sharded), field))
        return np.concatenate(parts)

    def append(self, iterations: Iterations, interval: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append records, column by column with the record axis first; full shards are written at once."""
        self.entry.axis.extend(iterations, interval)
        columns = {**columns, "iteration": iterations}
        done = 0
        while done < len(iterations):
            count = min(self.records - self._filled, len(iterations) - done)
            given = {key: values[done : done + count] for key, values in columns.items()}
            if count == self.records:
                self._full({key: GivenRows(values) for key, values in given.items()})
            else:
                for key, values in given.items():
                    self._pending[key].append(values)
                self._filled += count
                if self._filled == self.records:
                    self._full(self._pending)
            done += count

    def grow(self, dim: str, size: int) -> None:
        """Make room for `size` entities along a dimension; records so far hold the fill value there."""
        for key, field in self.fields.items():
            if dim in field.dims and field.shape[field.dims.index(dim)] < size:
                axis = field.dims.index(dim)
                grown = replace(field, shape=(*field.shape[:axis], size, *field.shape[axis + 1 :]))
                self.fields[key], self._pending[key] = grown, self._pending[key].grown(grown)
                self._tree.widen(self.paths[key], grown.place(grown.shape, self.entry.sharded))

    def _full(self, columns: Mapping[str, Rows]) -> None:
        """Write a full shard; from here on nothing waits."""
        self._write_shard(columns)
        if self._on_shard is not None:
            self._on_shard(columns)
        for pending in self._pending.values():
            pending.clear()
        self._filled = self._pieced = 0

    def _write_shard(self, columns: Mapping[str, Rows]) -> None:
        """Write records as the next shard, and let go of their tail pieces."""
        for key, field in self.fields.items():
            write_rows(self._tree, self.paths[key], field, self.entry.sharded, columns[key])
        self.entry.sharded += columns["iteration"].count
        self._dropped.extend(piece.name for piece in self.entry.tail)
        self.entry.tail = []

    def write_tail(self, commit: int) -> None:
        """Write the records that came since the last flush as a new tail piece.

        It is named after the number of the commit to come, which no other of the run has: readers keep pieces by name.
        """
        if self._filled == self._pieced:
            return
        if len(self.entry.tail) >= MOST_PIECES:
            self._dropped.extend(piece.name for piece in self.entry.tail)
            self.entry.tail, self._pieced = [], 0
        count = self._filled - self._pieced
        columns = {
            key: Column((count, *field.shape), field.dtype, self._pending[key].portions(self._pieced, self._filled))
            for key, field in self.fields.items()
        }
        self.entry.tail.append(write_piece(self.storage, f"{self.name}-{commit:08d}.npz", columns))
        self._pieced = self._filled

    def forget_dropped(self) -> None:
        """After a commit, delete the pieces that already the commit before no longer named.

        One commit of grace, because readers may still be reading by the root before this one.
        """
        for name in self._droppable:
            self.storage.delete(f"{FOLDER}/{name}")
        self._droppable, self._dropped = self._dropped, []

    def close(self) -> Mapping[str, Rows]:
        """Write what is left as a partial shard, and return those records."""
        if self._filled:
            self._write_shard(self._pending)
        self._droppable.extend(self._dropped)
        self._filled, self._pieced, self._dropped = 0, 0, []
        return self._pending
