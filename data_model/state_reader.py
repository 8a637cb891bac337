"""Reading states of images at any level, in both directions: stored buckets from their shards, the rest from below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.image_states import Codes, Counts, Region, count_dtype
from deeptracker.data_model.log_reader import LogReader
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.reduction import FACTOR
from deeptracker.data_model.shards import ReadableArray
from deeptracker.data_model.state_layout import STATES, entities_of, span_of, state_fields
from deeptracker.data_model.storage import Storage

_SPARSE = 8
"""Where less than one entity of so many is asked for, those are kept, and not the chunks in which they lie."""


class StateSource(Protocol):
    """Where states come from: the store, or the validations themselves."""

    @property
    def levels(self) -> int:
        """The highest level worth asking for."""
        ...

    @property
    def image_levels(self) -> int:
        """How many image levels there are, the images themselves included."""
        ...

    def codes(self, first: int, stop: int, images: Any) -> Codes:
        """Return the codes of validations [first, stop), (validation, image)."""
        ...

    def add(self, region: Region, counts: Counts) -> None:
        """Add a region to `counts` (4, row, bucket)."""
        ...


class StateReader:
    """Reads the states as of one commit."""

    def __init__(
        self,
        storage: Storage,
        array: Callable[[str], ReadableArray],
        entry: LogEntry,
        log: LogReader,
        image_levels: int,
    ) -> None:
        """Take what is committed: `array` opens one by path, `log` reads the records of `level_0`."""
        self.storage, self.entry, self.log, self.image_levels = storage, entry, log, image_levels
        self._array = array
        self.fields = state_fields(entry.entities, image_levels, entry.records_per_shard)

    @property
    def levels(self) -> int:
        """The levels stored, and as many as the newest validations need."""
        return len(self.entry.levels)

    def codes(self, first: int, stop: int, images: Any) -> Codes:
        """Return the codes of validations [first, stop), (validation, image)."""
        return self.log.rows("images_0", first, stop, self.fields[0], (images,))

    def add(self, region: Region, counts: Counts) -> None:
        """Add a region to `counts` (4, row, bucket)."""
        begin, end = region.columns
        end = min(end, -(-self.entry.records // FACTOR**region.level))
        stored = max(begin, min(end, self._stored(region.level)))
        if begin < stored:
            self._add_stored(region.over(begin, stored), counts)
        if stored < end and region.level == 0:
            self._add_tail(region.over(stored, end), counts)
        elif stored < end:
            self.add(region.over(stored, end).below(), counts)

    def _stored(self, level: int) -> int:
        """Return how many buckets of a level lie in shards."""
        if level == 0:
            return self.entry.sharded
        return self.entry.levels[level - 1] if level <= len(self.entry.levels) else 0

    def _add_stored(self, region: Region, counts: Counts) -> None:
        """Add what lies in shards, chunk by chunk; what they do not have is of images that came later."""
        array = self._array(f"{STATES}/level_{region.level}/images_{region.image_level}")
        chosen = np.flatnonzero(region.row_of >= 0)
        few = len(chosen) * _SPARSE <= len(region.row_of)
        entities = region.entities[0] + chosen if few else slice(*region.entities)
        region = replace(region, row_of=region.row_of[chosen]) if few else region
        coded = region.level == region.image_level == 0
        index = (*(() if coded else (slice(None),)), entities, slice(*region.columns))
        try:
            for chunk, within, into in array.gathered(index) if few else array.pieces(index):
                if chunk is not None:
                    region.count(chunk, counts, within[-2:], (into[-2].start, into[-1].start))
        except (ValueError, RuntimeError, OSError) as error:
            first, stop = region.columns
            raise RunFormatError(
                f"{self.storage}/{array.path} cannot be read for buckets {first} to {stop} ({error}). "
                "States can be computed again from the validations, which are not affected."
            ) from error

    def _add_tail(self, region: Region, counts: Counts) -> None:
        """Add records that do not fill a shard yet."""
        field, span = self.fields[region.image_level], slice(*region.entities)
        rows = self.log.rows(field.name, *region.columns, field, (slice(None), span) if region.image_level else (span,))
        region.count(np.ascontiguousarray(np.moveaxis(rows, 0, -1)), counts)

    def summaries(self, level: int, image_level: int, begin: int, end: int) -> Counts:
        """Return buckets [begin, end) of a level, for all entities: (bucket, 4, group)."""
        groups = entities_of(self.entry.entities, image_level)
        counts = np.zeros((4, groups, end - begin), count_dtype(span_of(image_level) * FACTOR**level))
        every = np.arange(groups, dtype=np.int32)
        self.add(Region(level, image_level, (0, groups), (begin, end), every, start=begin), counts)
        return np.moveaxis(counts, -1, 0)
