"""Reading a family at any level: what is stored from its shards, the rest stitched from the level below."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.committed_arrays import CommittedArrays
from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.families import family_value
from deeptracker.data_model.log_reader import LogReader, Renew
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.reduction import (
    AGGREGATES,
    FACTOR,
    merge_buckets,
    records_as_buckets,
    summarise_records,
)
from deeptracker.data_model.storage import Storage
from deeptracker.data_model.tree import ArrayTree

Buckets = NDArray[np.floating[Any]]
Arrays = ArrayTree | CommittedArrays
_COUNTS = slice(AGGREGATES.index("count"), None)


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
        records = {key: arrays[f"{family}/level_0/{key}"] for key in ("value", "iteration")}
        self._levels = [arrays[f"{family}/level_{level + 1}/summary"] for level in range(len(entry.levels))]
        self.field: Field = family_value(family, records["value"].shape[0], entry.entities)
        self.log = LogReader(storage, records, entry, before, renew)

    def records(self, statistic: int, start: int, stop: int, entities: Any) -> Buckets:
        """Return raw records [start, stop) of one statistic, (records, entities)."""
        return self.log.rows("value", start, stop, self.field, (statistic, entities))

    def summaries(self, level: int, start: int, stop: int, statistic: int, entities: Any) -> Buckets:
        """Return buckets [start, stop) of a level, (buckets, 5, entities); level 0 is the records themselves.

        The run's last bucket may cover fewer than 8**level records.
        """
        if level == 0:
            return records_as_buckets(self.records(statistic, start, stop, entities))
        stored = self.entry.levels[level - 1] if level <= len(self.entry.levels) else 0
        parts = []
        if stop <= start:
            return np.empty((0, len(AGGREGATES), self.records(statistic, 0, 0, entities).shape[1]), self.field.dtype)
        if start < min(stop, stored):
            parts.append(self._stored(level, start, min(stop, stored), statistic, entities))
        if stop > stored:
            first = max(start, stored)
            if level == 1:
                parts.append(summarise_records(self.records(statistic, first * FACTOR, stop * FACTOR, entities)))
            else:
                below = self.summaries(level - 1, first * FACTOR, self._clip(level - 1, stop), statistic, entities)
                parts.append(merge_buckets(below))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _clip(self, level: int, stop_above: int) -> int:
        """Return how many buckets of a level lie below bucket `stop_above` of the level above."""
        span: int = FACTOR**level
        return min(stop_above * FACTOR, -(-self.entry.records // span))

    def _stored(self, level: int, start: int, stop: int, statistic: int, entities: Any) -> Buckets:
        array = self._levels[level - 1]
        try:
            block = np.asarray(array.oindex[statistic, slice(None), entities, slice(start, stop)])
        except (ValueError, RuntimeError, OSError) as error:
            raise RunFormatError(
                f"{self.storage}/{array.path} cannot be read for buckets {start} to {stop} ({error}). "
                "The index can be rebuilt from the records, which are not affected."
            ) from error
        buckets: Buckets = np.moveaxis(block, -1, 0).copy()
        # Shards from before an entity came hold the fill value also where counts belong.
        np.nan_to_num(buckets[:, _COUNTS], copy=False)
        return buckets

    def all_summaries(self, level: int, start: int, stop: int) -> Buckets:
        """Return buckets of a level for every series, statistic by statistic: (buckets, 5, statistics * entities)."""
        if not all(self.field.shape):
            return np.empty((stop - start, len(AGGREGATES), 0), self.field.dtype)
        statistics = range(self.field.shape[0])
        parts = [self.summaries(level, start, stop, statistic, slice(None)) for statistic in statistics]
        return np.concatenate(parts, axis=2)
