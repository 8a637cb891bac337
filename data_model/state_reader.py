"""Reading states of images at any level, in both directions: stored buckets from their shards, the rest from below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import RunFormatError
from deeptracker.data_model.image_states import Codes, Counts, add_block, count_dtype
from deeptracker.data_model.log_reader import LogReader
from deeptracker.data_model.manifest import LogEntry
from deeptracker.data_model.reduction import FACTOR
from deeptracker.data_model.shards import ReadableArray
from deeptracker.data_model.state_layout import STATES, entities_of, span_of, state_fields
from deeptracker.data_model.storage import Storage


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

    def add(
        self,
        level: int,
        image_level: int,
        entities: tuple[int, int],
        row_of: NDArray[np.int32],
        columns: tuple[int, int],
        merged: int,
        counts: Counts,
        start: int,
    ) -> None:
        """Add entities [first, stop) of an image level over buckets `columns` of a level to `counts`.

        See `image_states.add_block` for `row_of`, `merged`, `counts` and `start`.
        """
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

    def add(
        self,
        level: int,
        image_level: int,
        entities: tuple[int, int],
        row_of: NDArray[np.int32],
        columns: tuple[int, int],
        merged: int,
        counts: Counts,
        start: int,
    ) -> None:
        """Add entities [first, stop) of an image level over buckets `columns` of a level to `counts`."""
        begin, end = columns
        end = min(end, -(-self.entry.records // FACTOR**level))
        stored = max(begin, min(end, self._stored(level)))
        if begin < stored:
            self._add_stored(level, image_level, entities, row_of, (begin, stored), merged, counts, start)
        if stored < end and level == 0:
            self._add_tail(image_level, entities, row_of, (stored, end), merged, counts, start)
        elif stored < end:
            below = (stored * FACTOR, end * FACTOR)
            self.add(level - 1, image_level, entities, row_of, below, merged * FACTOR, counts, start)

    def _stored(self, level: int) -> int:
        """Return how many buckets of a level lie in shards."""
        if level == 0:
            return self.entry.sharded
        return self.entry.levels[level - 1] if level <= len(self.entry.levels) else 0

    def _add_stored(
        self,
        level: int,
        image_level: int,
        entities: tuple[int, int],
        row_of: NDArray[np.int32],
        columns: tuple[int, int],
        merged: int,
        counts: Counts,
        start: int,
    ) -> None:
        """Add what lies in shards, chunk by chunk; what they do not have is of images that came later."""
        array = self._array(f"{STATES}/level_{level}/images_{image_level}")
        index = (slice(*entities), slice(*columns))
        try:
            for chunk, within, into in array.pieces(index if level == image_level == 0 else (slice(None), *index)):
                if chunk is not None:
                    first = columns[0] + into[-1].start
                    add_block(chunk, within[-2:], row_of[into[-2]], first, merged, counts, start)
        except (ValueError, RuntimeError, OSError) as error:
            raise RunFormatError(
                f"{self.storage}/{array.path} cannot be read for buckets {columns[0]} to {columns[1]} ({error}). "
                "States can be computed again from the validations, which are not affected."
            ) from error

    def _add_tail(
        self,
        image_level: int,
        entities: tuple[int, int],
        row_of: NDArray[np.int32],
        columns: tuple[int, int],
        merged: int,
        counts: Counts,
        start: int,
    ) -> None:
        """Add records that do not fill a shard yet."""
        field, span = self.fields[image_level], slice(*entities)
        rows = self.log.rows(field.name, *columns, field, (slice(None), span) if image_level else (span,))
        block = np.ascontiguousarray(np.moveaxis(rows, 0, -1))
        whole = (slice(0, block.shape[-2]), slice(0, block.shape[-1]))
        add_block(block, whole, row_of, columns[0], merged, counts, start)

    def summaries(self, level: int, image_level: int, begin: int, end: int) -> Counts:
        """Return buckets [begin, end) of a level, for all entities: (bucket, 4, group)."""
        groups = entities_of(self.entry.entities, image_level)
        counts = np.zeros((4, groups, end - begin), count_dtype(span_of(image_level) * FACTOR**level))
        self.add(level, image_level, (0, groups), np.arange(groups, dtype=np.int32), (begin, end), 1, counts, begin)
        return np.moveaxis(counts, -1, 0)
