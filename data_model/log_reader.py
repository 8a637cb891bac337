"""Reading records of a log: shards from zarr, the newest from the tail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.errors import MissingFileError, RunFormatError
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.shards import ReadableArray
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tail import TailPiece, read_piece

Columns = dict[str, NDArray[Any]]
Renew = Callable[[], "LogReader"]

_MOST_RENEWALS = 20


class LogReader:
    """Reads one log as of one commit. Tail pieces are read once and kept, across commits, by name."""

    def __init__(
        self,
        storage: Storage,
        arrays: Mapping[str, ReadableArray],
        entry: LogEntry,
        before: LogReader | None = None,
        renew: Renew | None = None,
    ) -> None:
        """Take the arrays and what is committed of them.

        Tail pieces that `before`, the reader of an earlier commit, has read are not read again. `renew` returns a
        reader of the newest commit, for when the writer has meanwhile moved the tail of this one into a shard.
        """
        self.storage, self.arrays, self.entry, self._renew = storage, arrays, entry, renew
        known: dict[str, Columns] = before._pieces if before else {}
        self._pieces: dict[str, Columns] = {
            piece.name: known[piece.name] for piece in entry.tail if piece.name in known
        }

    def rows(self, key: str, start: int, stop: int, field: Field, select: Any = None) -> NDArray[Any]:
        """Return records [start, stop) of a column, record axis first: (records, ...).

        `select` is an index along each other dimension; None takes all.
        """
        stop, reader = min(stop, self.entry.records), self
        for _ in range(_MOST_RENEWALS):
            try:
                return reader._rows(key, start, stop, field, select)
            except MissingFileError:
                newest = reader._renew() if reader._renew is not None else reader
                if newest._names() == reader._names():
                    raise
                reader = newest  # records never change, so a later commit has the very same ones
        raise RunFormatError(f"{self.storage} is committed faster than it can be read; try again.")

    def _names(self) -> tuple[Any, ...]:
        """Return what says in which files the records lie."""
        return self.entry.sharded, tuple(self.entry.tail)

    def _rows(self, key: str, start: int, stop: int, field: Field, select: Any) -> NDArray[Any]:
        index = tuple(slice(None) for _ in field.shape) if select is None else select
        parts = []
        if start < min(stop, self.entry.sharded):
            parts.append(self._sharded(key, start, min(stop, self.entry.sharded), field, index))
        if stop > self.entry.sharded:
            parts.extend(self._tail(key, max(start, self.entry.sharded), stop, field, index))
        if not parts:
            probe = np.empty((0, *field.shape), field.dtype)
            return probe[(slice(None), *index)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _sharded(self, key: str, start: int, stop: int, field: Field, index: tuple[Any, ...]) -> NDArray[Any]:
        array = self.arrays[key]
        try:
            block = array.read(field.place(index, slice(start, stop)))
        except (ValueError, RuntimeError, OSError) as error:
            raise RunFormatError(
                f"{self.storage}/{array.path} cannot be read for records {start} to {stop} ({error}). "
                "The other arrays and records of the run are not affected."
            ) from error
        return np.moveaxis(block, -1, 0) if field.record_last else block

    def _tail(self, key: str, start: int, stop: int, field: Field, index: tuple[Any, ...]) -> list[NDArray[Any]]:
        parts, first = [], self.entry.sharded
        for piece in self.entry.tail:
            if first < stop and first + piece.rows > start:
                values = widened(self._piece(piece)[key], field)
                values = values[max(0, start - first) : stop - first]
                parts.append(_select(values, index))
            first += piece.rows
        return parts

    def _piece(self, piece: TailPiece) -> Columns:
        if piece.name not in self._pieces:
            self._pieces[piece.name] = read_piece(self.storage, piece)
        return self._pieces[piece.name]


def _select(values: NDArray[Any], index: tuple[Any, ...]) -> NDArray[Any]:
    for axis, one in reversed(list(enumerate(index))):  # from the last on: a number takes its axis away
        values = values[(slice(None),) * (axis + 1) + (one,)]
    return values


def widened(values: NDArray[Any], field: Field) -> NDArray[Any]:
    """Return records as wide as the field is now: a piece written before new entities came lacks them."""
    if values.shape[1:] == field.shape:
        return values
    wide = np.full((len(values), *field.shape), field.fill, field.dtype)
    wide[(slice(None), *(slice(length) for length in values.shape[1:]))] = values
    return wide
