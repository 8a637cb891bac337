"""Rows that wait until there are enough of them for a shard: in memory where they are few, in a file where not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.arrays import Field
from deeptracker.data_model.rows import Place
from deeptracker.data_model.scratch import Scratch, scratch

_PORTION = 2 << 20


class Pending:
    """The rows of one array that wait for their shard.

    They lie as the chunks of the shard will: all rows of the first chunk's part of a row, then those of the next. So
    a chunk is read, and written, without touching the others.
    """

    def __init__(self, field: Field, capacity: int, folder: Path | None, blank: Any = None) -> None:
        """Make room for `capacity` rows of a field; `folder` as for `scratch`.

        `blank`, which is the field's fill value unless given, is what rows hold of entities that came after them.
        """
        self.field, self.capacity, self._folder = field, capacity, folder
        self._blank = field.fill if blank is None else blank
        self.count = 0
        self.places = list(_places(field.shape, field.chunks))
        self._numbers = {_starts(place): number for number, place in enumerate(self.places)}
        self._dtype = np.dtype(field.dtype)
        self._shapes = [_shape(place) for place in self.places]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self._starts = [capacity * start for start in itertools.accumulate(self._sizes, initial=0)]
        self._kept: Scratch | None = None

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, (rows, *shape)."""
        self.extend(len(rows), lambda place: rows[(slice(None), *place)])

    def extend(self, count: int, read: Callable[[Place], NDArray[Any]]) -> None:
        """Add rows, part by part: `read` returns (count, part) of each of `places`."""
        if self.count + count > self.capacity:
            raise ValueError(f"{count} rows more than {self.count}, where there is room for {self.capacity}")
        if count and self.places:
            kept = self._opened()
            for number, place in enumerate(self.places):
                kept.write(self._at(number, self.count), read(place))
        self.count += count

    def clear(self) -> None:
        """Have room for all rows again."""
        self.count = 0

    def block(self, place: Place, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """See `Rows`; from one of `places` exactly, it costs no more than reading it."""
        stop = self.count if stop is None else min(stop, self.count)
        number = self._numbers.get(_starts(place))
        if number is not None and self.places[number] == place:
            return self._part(number, start, stop)
        found = np.empty((stop - start, *_shape(place)), self._dtype)
        for number, one in enumerate(self.places):
            if _overlap(one, place):
                both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, place, strict=True)]
                part = self._part(number, start, stop)[(slice(None), *_within(both, one))]
                found[(slice(None), *_within(both, place))] = part
        return found

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """See `Rows`."""
        found = np.empty((stop - start, *self.field.shape), self._dtype)
        for number, place in enumerate(self.places):
            found[(slice(None), *place)] = self._part(number, start, stop)
        return found

    def portions(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Return whole rows [start, stop), few at a time."""
        step = max(1, _PORTION // max(1, self.field.record_bytes))
        return (self.rows(first, min(first + step, stop)) for first in range(start, stop, step))

    def grown(self, field: Field) -> Pending:
        """Return the same rows as those of a field with more entities; these rows are let go of."""
        grown, blank = (
            Pending(field, self.capacity, self._folder, self._blank),
            np.broadcast_to(self._blank, field.shape),
        )

        def widened(place: Place) -> NDArray[Any]:
            wide = np.empty((self.count, *_shape(place)), self._dtype)
            wide[...] = blank[place]
            known = tuple(
                slice(one.start, min(one.stop, size)) for one, size in zip(place, self.field.shape, strict=True)
            )
            if all(one.start < one.stop for one in known):
                wide[(slice(None), *_within(known, place))] = self.block(known)
            return wide

        grown.extend(self.count, widened)
        self._kept = None
        return grown

    def _part(self, number: int, start: int, stop: int) -> NDArray[Any]:
        part = np.empty((stop - start, *self._shapes[number]), self._dtype)
        if part.size:
            self._opened().read(self._at(number, start), part)
        return part

    def _at(self, number: int, row: int) -> int:
        """Return where a row of a place begins."""
        return self._starts[number] + row * self._sizes[number]

    def _opened(self) -> Scratch:
        if self._kept is None:
            self._kept = scratch(self._starts[-1], self._dtype, self._folder)
        return self._kept


def _places(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[Place]:
    """Return the parts that the chunks cut a row into."""
    along = (
        [slice(start, min(start + chunk, size)) for start in range(0, size, chunk)]
        for size, chunk in zip(shape, chunks, strict=True)
    )
    return itertools.product(*along)


def _starts(place: Place) -> tuple[int, ...]:
    return tuple(one.start for one in place)


def _shape(place: Sequence[slice]) -> tuple[int, ...]:
    return tuple(one.stop - one.start for one in place)


def _within(place: Sequence[slice], outer: Sequence[slice]) -> Place:
    """Return where a place lies in one around it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(place, outer, strict=True))


def _overlap(one: Place, other: Place) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
