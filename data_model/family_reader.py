"""Reading a family at any level: what is stored from its shards, the rest stitched from the level below."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.bucket_rows import Rows, empty_rows, reduce_buckets, reduce_records
from deeptracker.data_model.committed_arrays import CommittedArrays
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.families import family_value
from deeptracker.data_model.log_reader import LogReader, Renew
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.reduction import FACTOR
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tree import ArrayTree

Buckets = NDArray[np.floating[Any]]
Arrays = ArrayTree | CommittedArrays

_REBUILT = "The index can be rebuilt from the records, which are not affected."
_OTHERS = "The other arrays and records of the run are not affected."


class FamilyReader:
    """Reads one family as of one commit."""

    def __init__(
        self,
        storage: Storage,
        arrays: Arrays,
        family: str,
        entry: LogEntry,
        before: LogReader | None = None,
        renew: Renew | None = None,
    ) -> None:
        """Open the arrays that the commit names; `before` and `renew` as for `LogReader`."""
        self.storage, self.family, self.entry = storage, family, entry
        records = {key: arrays.readable(f"{family}/level_0/{key}") for key in ("value", "iteration")}
        above = range(1, len(entry.levels) + 1)
        self._levels = [records["value"], *(arrays.readable(f"{family}/level_{level}/summary") for level in above)]
        self.field: Field = family_value(family, records["value"].shape[0], entry.entities)
        self.log = LogReader(storage, records, entry, before, renew)

    def records(self, statistic: int, start: int, stop: int, entities: Any) -> Buckets:
        """Return raw records [start, stop) of one statistic, (records, entities)."""
        return self.log.rows("value", start, stop, self.field, (statistic, entities))

    def summaries(self, level: int, start: int, stop: int, statistic: int, entities: Any, merged: int = 1) -> Buckets:
        """Return buckets [start, stop) of a level, (buckets, 5, entities); level 0 is the records themselves.

        With `merged`, a power of two up to 8, so many buckets of the level make one, and `start` and `stop` count
        those. The run's last bucket may cover fewer records than the others.
        """
        rows = self._rows(level, start * merged, self._clip(level, stop * merged), merged, (statistic, entities))
        return rows.transpose(2, 0, 1)

    def _clip(self, level: int, stop: int) -> int:
        """Return `stop`, or the end of the level where that comes before."""
        span: int = FACTOR**level
        return min(stop, -(-self.entry.records // span))

    def _rows(self, level: int, start: int, stop: int, factor: int, index: tuple[int, Any]) -> Rows:
        """Reduce buckets [start, stop) of a level by a factor: (5, entities, ceil((stop - start) / factor)).

        What is not stored of the level is made from the level below, as the writer will make it.
        """
        stored = self._in_shards(level)
        # Of a reduced bucket that is stored in part, all is made from below.
        split = stop if stop <= stored else max(start, stored - (stored - start) % factor)
        entities = len(np.arange(self.field.shape[1])[index[1]])
        out = empty_rows(entities, -(-max(0, stop - start) // factor), np.dtype(self.field.dtype))
        if start < split:
            self._stored(level, start, split, factor, index, out)
        if split < stop and level == 0:
            values = np.ascontiguousarray(self.records(index[0], split, stop, index[1]).T)
            reduce_records(values, factor, out, (split - start) // factor)
        elif split < stop:
            below = self._rows(level - 1, split * FACTOR, self._clip(level - 1, stop * FACTOR), FACTOR, index)
            reduce_buckets(below, factor, out, (split - start) // factor)
        return out

    def _in_shards(self, level: int) -> int:
        """Return how many buckets of a level, or records, lie in shards."""
        if level == 0:
            return self.entry.sharded
        return self.entry.levels[level - 1] if level <= len(self.entry.levels) else 0

    def _stored(self, level: int, start: int, stop: int, factor: int, index: tuple[int, Any], out: Rows) -> None:
        """Reduce what is stored, chunk by chunk, into the first buckets of `out`."""
        array = self._levels[level]
        aggregates = (slice(None),) if level else ()
        reduce = reduce_buckets if level else reduce_records
        try:
            for chunk, within, (*_, put, into) in array.pieces((index[0], *aggregates, index[1], slice(start, stop))):
                statistic, *_, pick, span = within
                if chunk is None:
                    _blank(out, put, slice(into.start // factor, -(-into.stop // factor)))
                else:
                    reduce(chunk[statistic], factor, out, into.start // factor, span, pick, put)
        except (ValueError, RuntimeError, OSError) as error:
            what, then = ("buckets", _REBUILT) if level else ("records", _OTHERS)
            raise RunFormatError(
                f"{self.storage}/{array.path} cannot be read for {what} {start} to {stop} ({error}). {then}"
            ) from error


def _blank(out: Rows, put: Any, buckets: slice) -> None:
    """Say that nothing was recorded: of entities that came later."""
    out[:3, put, buckets] = np.nan
    out[3:, put, buckets] = 0
