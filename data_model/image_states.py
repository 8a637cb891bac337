"""The state of every image at every validation, as one small number, and counts of the states of whole blocks.

A state says whether the image's answer is right, whether it changed, and, where a validation did not see the image,
what its last answer was: so the states of one validation are all that the next one needs. Counts of a block of images
and validations are four numbers: how often an image was seen, right, learned and forgotten; all else follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.reduction import FACTOR

Codes = NDArray[np.uint8]
Counts = NDArray[np.integer[Any]]

NEVER, WAS_WRONG, WAS_RIGHT, WRONG, RIGHT, FORGOTTEN, LEARNED = 0, 2, 3, 4, 5, 6, 7
"""Bit 0: the answer is (or, where the image is missing, was) right. Bit 1: it changed, or the image is missing.
Bit 2: this validation saw the image."""

MEANINGS = {
    NEVER: "not seen so far",
    WAS_WRONG: "missing, was wrong",
    WAS_RIGHT: "missing, was right",
    WRONG: "wrong",
    RIGHT: "right",
    FORGOTTEN: "wrong, was right before",
    LEARNED: "right, was wrong before",
}
COUNTED = ("seen", "right", "learned", "forgotten")
"""What is counted in a block; learned ones are right too, and forgotten ones are not."""


def next_states(before: Codes, seen: NDArray[np.bool_], right: NDArray[np.bool_]) -> Codes:
    """Return the states (validation, image) that follow, validation by validation, on the states `before` (image,).

    `seen` and `right` are (validation, image). An image's first answer is no change.
    """
    codes = np.empty(seen.shape, np.uint8)
    _next(np.ascontiguousarray(before), np.ascontiguousarray(seen), np.ascontiguousarray(right), codes)
    return codes


def group_counts(codes: Codes, span: int) -> Counts:
    """Count the states of groups of `span` neighbouring images: (validation, image) to (validation, 4, group)."""
    validations, images = codes.shape
    counts = np.zeros((validations, len(COUNTED), -(-images // span)), count_dtype(span))
    _count_groups(np.ascontiguousarray(codes), span, counts)
    return counts


def merge_groups(counts: Counts, factor: int, span: int) -> Counts:
    """Add up `factor` neighbouring groups each: (record, 4, group) to (record, 4, ceil(group / factor)).

    `span` is how many states a merged group counts at most; it decides the dtype.
    """
    starts = np.arange(0, counts.shape[2], factor)
    merged: Counts = np.add.reduceat(counts, starts, axis=2, dtype=count_dtype(span))
    return merged


def sum_codes(codes: Codes) -> Counts:
    """Count the states of each image over `FACTOR` validations: (validation, image) to (bucket, 4, image)."""
    validations, images = codes.shape
    counts = np.zeros((-(-validations // FACTOR), len(COUNTED), images), np.uint8)
    _count_buckets(np.ascontiguousarray(codes), FACTOR, counts)
    return counts


def sum_counts(counts: Counts, span: int) -> Counts:
    """Add up `FACTOR` records or buckets each: (record, 4, entity) to (ceil(record / 8), 4, entity).

    `span` is how many states a sum counts at most; it decides the dtype.
    """
    starts = np.arange(0, len(counts), FACTOR)
    summed: Counts = np.add.reduceat(counts, starts, axis=0, dtype=count_dtype(span))
    return summed


def count_dtype(span: int) -> type[np.uint8] | type[np.int32] | type[np.int64]:
    """Return the dtype that holds counts of `span` states."""
    return np.uint8 if span < 1 << 8 else np.int32 if span < 1 << 31 else np.int64


@dataclass(frozen=True)
class Region:
    """Entities [first, stop) of an image level over buckets [first, stop) of a level, and where each is counted.

    Entity `entities[0] + e` belongs to row `row_of[e]`, none where that is negative; entities of one row should lie
    side by side. Bucket c belongs to bucket `c // merged` of the counts, which begin with bucket `start`.
    """

    level: int
    image_level: int
    entities: tuple[int, int]
    columns: tuple[int, int]
    row_of: NDArray[np.int32]
    merged: int = 1
    start: int = 0

    def over(self, begin: int, end: int) -> Region:
        """Return the same over other buckets of the level."""
        return replace(self, columns=(begin, end))

    def below(self) -> Region:
        """Return the same one level lower, where there are eight buckets for each."""
        begin, end = self.columns
        columns = (begin * FACTOR, end * FACTOR)
        return replace(self, level=self.level - 1, columns=columns, merged=self.merged * FACTOR)

    def count(
        self,
        block: NDArray[Any],
        counts: Counts,
        within: tuple[slice, slice] | None = None,
        at: tuple[int, int] = (0, 0),
    ) -> None:
        """Add a block, or the part `within` it, to `counts` (4, row, bucket), in place.

        `block` is codes (image, validation) or counts (4, group, bucket); its first entity and column are `at` those
        of the region.
        """
        entities, columns = within or (slice(0, block.shape[-2]), slice(0, block.shape[-1]))
        part = (entities.start, entities.stop, columns.start, columns.stop)
        row_of = self.row_of[at[0] : at[0] + entities.stop - entities.start]
        kernel = _add_codes if block.ndim == 2 else _add_counts
        kernel(block, part, row_of, self.columns[0] + at[1] - self.start * self.merged, self.merged, counts)


@numba.njit(cache=True, nogil=True)
def _next(before, seen, right, codes):  # type: ignore[no-untyped-def]  # pragma: no cover
    validations, images = seen.shape
    for validation in range(validations):
        for image in range(images):
            last = before[image] if validation == 0 else codes[validation - 1, image]
            if seen[validation, image]:
                answer = np.uint8(right[validation, image])
                changed = np.uint8(last != 0 and (last & 1) != answer)
                codes[validation, image] = 4 + answer + 2 * changed
            else:
                codes[validation, image] = 2 + (last & 1) if last != 0 else 0


@numba.njit(cache=True, nogil=True)
def _count_groups(codes, span, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    validations, images = codes.shape
    for validation in range(validations):
        for image in range(images):
            _count(counts[validation], image // span, codes[validation, image])


@numba.njit(cache=True, nogil=True)
def _count_buckets(codes, span, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    validations, images = codes.shape
    for validation in range(validations):
        for image in range(images):
            _count(counts[validation // span], image, codes[validation, image])


@numba.njit(cache=True, nogil=True, inline="always")
def _count(counts, place, code):  # type: ignore[no-untyped-def]  # pragma: no cover
    seen = code >> 2
    right = seen & code
    changed = seen & (code >> 1)
    counts[0, place] += seen
    counts[1, place] += right
    counts[2, place] += right & changed
    counts[3, place] += changed & ~code


@numba.njit(cache=True, nogil=True)
def _add_codes(codes, part, row_of, first, merged, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    low, high, begin, end = part
    # Bytes, because a register adds up 32 of them at once; they are emptied before they overflow.
    sums = np.zeros((4, end - begin), np.uint8)
    seens, rights, learns, forgets = sums[0], sums[1], sums[2], sums[3]
    entity = low
    while entity < high:
        row, stop = row_of[entity - low], entity + 1
        while stop < high and row_of[stop - low] == row and stop - entity < 255:
            stop += 1
        if row >= 0:
            sums[:] = 0
            for one in range(entity, stop):
                line = codes[one, begin:end]
                for column in range(end - begin):
                    code = line[column]
                    seen = np.uint8(code >> 2)
                    right = np.uint8(seen & code)
                    changed = np.uint8(seen & (code >> 1))
                    seens[column] += seen
                    rights[column] += right
                    learns[column] += np.uint8(right & changed)
                    forgets[column] += np.uint8(changed & (right ^ 1))
            _add_row(sums, first, merged, counts[:, row])
        entity = stop


@numba.njit(cache=True, nogil=True)
def _add_counts(block, part, row_of, first, merged, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    low, high, begin, end = part
    sums = np.zeros((4, end - begin), counts.dtype)
    entity = low
    while entity < high:
        row, stop = row_of[entity - low], entity + 1
        while stop < high and row_of[stop - low] == row:
            stop += 1
        if row >= 0:
            sums[:] = 0
            for number in range(4):
                total = sums[number]
                for one in range(entity, stop):
                    line = block[number, one, begin:end]
                    for column in range(end - begin):
                        total[column] += line[column]
            _add_row(sums, first, merged, counts[:, row])
        entity = stop


@numba.njit(cache=True, nogil=True, inline="always")
def _add_row(sums, first, merged, row):  # type: ignore[no-untyped-def]  # pragma: no cover
    columns = sums.shape[1]
    if merged == 1:
        for number in range(4):
            line, total = sums[number], row[number]
            for column in range(columns):
                total[first + column] += line[column]
        return
    column = 0
    bucket = first // merged
    while column < columns:
        stop = min(columns, (bucket + 1) * merged - first)
        seen, right, learned, forgotten = row[0, bucket], row[1, bucket], row[2, bucket], row[3, bucket]
        for one in range(column, stop):
            seen += sums[0, one]
            right += sums[1, one]
            learned += sums[2, one]
            forgotten += sums[3, one]
        row[0, bucket], row[1, bucket], row[2, bucket], row[3, bucket] = seen, right, learned, forgotten
        column = stop
        bucket += 1
