"""Rows of an array that are to be written: whatever holds them, they are asked for part by part."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.shards import Region
from deeptracker.data_model.tree import ArrayTree

Place = tuple[slice, ...]
"""A part of a row: entries [start, stop) along each of its axes."""


class Rows(Protocol):
    """Rows of one array, (rows, ...), of which parts can be read."""

    @property
    def count(self) -> int:
        """The number of rows."""

    def block(self, place: Place, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return a part of rows [start, stop), (rows, part); None for all rows from `start` on."""

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return whole rows [start, stop), (rows, ...)."""


class GivenRows:
    """Rows that are in memory anyway."""

    def __init__(self, values: NDArray[Any]) -> None:
        """Take the rows, (rows, ...)."""
        self._values = values

    @property
    def count(self) -> int:
        """See `Rows`."""
        return len(self._values)

    def block(self, place: Place, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """See `Rows`."""
        return self._values[(slice(start, stop), *place)]

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """See `Rows`."""
        return self._values[start:stop]


def write_rows(tree: ArrayTree, path: str, field: Field, start: int, rows: Rows) -> None:
    """Write rows as the last records of an array, from record `start` on, where a shard begins.

    Rows that fill no shard end a run: the rest of their chunks is padding, and nobody waits for them.
    """
    stop = start + rows.count
    array = tree.resize(path, field.place(field.shape, stop))
    shard = (array.shards or array.chunks)[-1 if field.record_last else 0]

    def read(region: Region) -> NDArray[Any]:
        *place, record = region if field.record_last else (*region[1:], region[0])
        return field.oriented(rows.block(tuple(place), record.start - start, record.stop - start))

    region = field.place([slice(0, size) for size in field.shape], slice(start, stop))
    tree.write(path, region, read, thorough=rows.count < shard)
