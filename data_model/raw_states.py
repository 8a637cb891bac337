"""States computed from the validations themselves, for runs that were recorded before states were stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.image_states import COUNTED, NEVER, Codes, Counts, Region, next_states
from deeptracker.data_model.reduction import FACTOR

ReadAnswers = Callable[[int, int, Any], tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Takes (first validation, last validation, images) and returns `seen` and `right`, (validation, image)."""

MOST_KEPT = 1 << 26
"""Codes up to which all are kept once they are known; of more, each question computes them again."""

_PORTION = 1 << 22


class RawStates:
    """The same as `StateReader`, slowly: an answer needs all validations up to it."""

    levels, image_levels = 0, 1

    def __init__(self, read: ReadAnswers, validations: int, images: int) -> None:
        """Take what reads the answers, and how many there are."""
        self._read, self._validations, self.images = read, validations, images
        self._known: Codes | None = None

    def codes(self, first: int, stop: int, images: Any) -> Codes:
        """Return the codes of validations [first, stop), (validation, image)."""
        if self._validations * self.images > MOST_KEPT:
            return self._computed(stop, images)[first:]
        if self._known is None:
            self._known = self._computed(self._validations, slice(None))
        return self._known[first:stop, images]

    def block(
        self, images: tuple[int, int], span: int, columns: tuple[int, int], level: int, *, coded: bool
    ) -> NDArray[Any]:
        """Return a block as the store holds it: codes (image, validation), or counts (4, group, bucket).

        Of images [first, stop) in groups of `span`, and buckets [first, stop) of 8**`level` validations each.
        """
        (low, high), (first, stop), merged = images, columns, FACTOR**level
        if coded:
            return self.codes(first, stop, slice(low, high)).T
        counts = np.zeros((len(COUNTED), -(-(high - low) // span), stop - first), np.int64)
        row_of = (np.arange(high - low) // span).astype(np.int32)
        self.add(Region(0, 0, images, (first * merged, stop * merged), row_of, merged, first), counts)
        return counts

    def _computed(self, stop: int, images: Any) -> Codes:
        width = len(np.arange(self.images)[images])
        codes = np.empty((stop, width), np.uint8)
        before, step = np.full(width, NEVER, np.uint8), max(1, _PORTION // max(1, width))
        for first in range(0, stop, step):
            seen, right = self._read(first, min(stop, first + step), images)
            codes[first : first + step] = next_states(before, seen, right)
            before = codes[min(stop, first + step) - 1]
        return codes

    def add(self, region: Region, counts: Counts) -> None:
        """Add a region to `counts`; there is only level 0 here."""
        (first, stop), (begin, end) = region.entities, region.columns
        end = max(begin, min(end, self._validations))
        step = max(1, _PORTION // max(1, end))
        for low in range(first, stop, step):
            block = np.ascontiguousarray(self.codes(begin, end, slice(low, min(stop, low + step))).T)
            region.count(block, counts, at=(low - first, 0))
