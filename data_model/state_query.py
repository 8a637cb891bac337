"""Counting the states of images in blocks of images and validations, as many blocks as a screen has pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.image_states import COUNTED, Counts, Region, count_dtype
from deeptracker.data_model.reduction import FACTOR
from deeptracker.data_model.state_layout import entities_of, span_of
from deeptracker.data_model.state_reader import StateSource

STATES = ("right", "wrong", "missing", "learned", "forgotten")
"""What `Run.image_states` counts: right, wrong and missing are everything; learned are right, forgotten are wrong."""


@dataclass(frozen=True)
class Buckets:
    """Blocks of validations: block b is columns [b * merged, (b + 1) * merged) of a level, b from `first` to `stop`."""

    level: int
    merged: int
    first: int
    stop: int

    def bounds(self, records: int) -> NDArray[np.int64]:
        """Return the validations at which the blocks begin, and where the last one ends."""
        edges = np.arange(self.first, self.stop + 1, dtype=np.int64) * (self.merged * FACTOR**self.level)
        ends: NDArray[np.int64] = np.minimum(edges, records)
        return ends


@dataclass(frozen=True)
class Pick:
    """Entities [first, stop) of an image level, and the row that each belongs to; -1: none."""

    image_level: int
    first: int
    stop: int
    row_of: NDArray[np.int32]


def choose_buckets(first: int, stop: int, buckets: int, levels: int) -> Buckets:
    """Return blocks of validations that cover records [first, stop), at least `buckets` if there are as many.

    From the highest of `levels` that has enough, merged to fewer than twice as many (and one at either end).
    """
    for level in range(levels, -1, -1):
        span = FACTOR**level
        low, high = first // span, -(-stop // span)
        if level == 0 or high - low >= buckets:
            merged = max(1, (high - low) // buckets)
            return Buckets(level, merged, low // merged, -(-high // merged))
    raise AssertionError("level 0 is always taken")


def choose_rows(first: int, stop: int, rows: int, levels: int, images: int) -> tuple[Pick, NDArray[np.int64]]:
    """Return what to read for at least `rows` equal blocks of images that cover [first, stop), and their bounds."""
    for level in range(levels - 1, -1, -1):
        span = span_of(level)
        low, high = first // span, -(-stop // span)
        if level == 0 or high - low >= rows:
            merged = max(1, (high - low) // rows)
            low, high = low // merged * merged, min(-(-high // merged) * merged, entities_of(images, level))
            row_of = ((np.arange(low, high) - low) // merged).astype(np.int32)
            edges = np.arange(low // merged, -(-high // merged) + 1, dtype=np.int64) * merged * span
            return Pick(level, low, high, row_of), np.minimum(edges, images)
    raise AssertionError("level 0 is always taken")


def gather(image: NDArray[np.int64], row: NDArray[np.int64], levels: int, images: int) -> list[Pick]:
    """Return what to read for rows of any images: `image[i]` belongs to row `row[i]`.

    Groups of an image level that lie in a row whole are read as one number.
    """
    picks: list[Pick] = []
    largest = int(np.bincount(row).max(initial=0))
    for level in range(levels - 1, 0, -1):
        span, count = span_of(level), entities_of(images, level)
        if largest < span:
            continue
        key, place, size = np.unique(row * count + image // span, return_inverse=True, return_counts=True)
        whole = size == np.minimum(span, images - key % count * span)
        if np.any(whole):
            picks += _runs(level, key[whole] % count, key[whole] // count)
            left = ~whole[place]
            row, image = row[left], image[left]
    return picks + _runs(0, image, row)


_GAP = 1024
"""Entities between two that are asked for that are rather read too than begun anew behind them: about a chunk."""


def _runs(level: int, entity: NDArray[np.int64], row: NDArray[np.int64]) -> list[Pick]:
    """Return picks of entities that lie near each other; an entity in several rows takes several picks."""
    picks = []
    while len(entity):
        order = np.lexsort((row, entity))
        entity, row = entity[order], row[order]
        first = np.append(True, np.diff(entity) > 0)
        once, rows = entity[first], row[first]
        for part in np.split(np.arange(len(once)), np.flatnonzero(np.diff(once) > _GAP) + 1):
            low, high = int(once[part[0]]), int(once[part[-1]]) + 1
            row_of = np.full(high - low, -1, np.int32)
            row_of[once[part] - low] = rows[part]
            picks.append(Pick(level, low, high, row_of))
        entity, row = entity[~first], row[~first]
    return picks


def count_states(source: StateSource, picks: Sequence[Pick], buckets: Buckets, sizes: NDArray[np.int64]) -> Counts:
    """Return the counts (4, row, bucket) of `image_states.COUNTED`; `sizes` are the images of each row."""
    most = int(sizes.max(initial=0)) * buckets.merged * FACTOR**buckets.level
    counts = np.zeros((len(COUNTED), len(sizes), buckets.stop - buckets.first), max_dtype(most))
    columns = (buckets.first * buckets.merged, buckets.stop * buckets.merged)
    for pick in picks:
        entities = (pick.first, pick.stop)
        region = Region(buckets.level, pick.image_level, entities, columns, pick.row_of, buckets.merged, buckets.first)
        source.add(region, counts)
    return counts


def max_dtype(most: int) -> type[np.integer[Any]]:
    """Return int32, or int64 where counts up to `most` need it."""
    return np.int64 if count_dtype(most) is np.int64 else np.int32


def image_states(
    source: StateSource,
    axis: IterationAxis,
    images: int,
    chosen: tuple[int, int] | Sequence[Any] | None,
    window: tuple[int, int] | None,
    rows: int,
    buckets: int,
) -> xr.Dataset:
    """Return the counts over (row, bucket, state); see `Run.image_states`."""
    first, stop = _validations(axis, window)
    if rows < 1 or buckets < 1:
        raise QueryError(f"{rows} rows and {buckets} buckets were asked for; ask for 1 or more of each.")
    blocks = choose_buckets(first, stop, buckets, source.levels)
    picks, sizes, labels = _picks(source, images, chosen, rows)
    counts = count_states(source, picks, blocks, sizes)
    edges = blocks.bounds(axis.records)
    cells = sizes[:, None] * np.diff(edges)
    found = np.empty((len(STATES), *counts.shape[1:]), counts.dtype)
    seen, right, learned, forgotten = counts
    found[0], found[3], found[4] = right, learned, forgotten
    np.subtract(seen, right, out=found[1])
    np.subtract(cells, seen, out=found[2], casting="unsafe")
    bounds = axis.bounds(edges)
    return xr.Dataset(
        {"count": (("row", "bucket", "state"), np.moveaxis(found, 0, -1))},
        coords={
            "state": list(STATES),
            "start": ("bucket", bounds[:-1]),
            "stop": ("bucket", bounds[1:]),
            "first_validation": ("bucket", edges[:-1]),
            "validations": ("bucket", np.diff(edges).astype(np.int32)),
            "images": ("row", sizes.astype(np.int32)),
            **labels,
        },
        attrs={"level": blocks.level, "image_level": max((pick.image_level for pick in picks), default=0)},
    )


def _validations(axis: IterationAxis, window: tuple[int, int] | None) -> tuple[int, int]:
    if window is None:
        return 0, axis.records
    start, stop = (int(value) for value in window)
    if stop <= start:
        raise QueryError(f"The window [{start}, {stop}) is empty; its stop must lie above its start.")
    return axis.record_range(start, stop)


def _picks(
    source: StateSource, images: int, chosen: Any, rows: int
) -> tuple[list[Pick], NDArray[np.int64], dict[str, Any]]:
    """Return what to read, how many images each row has, and the coordinates that say which."""
    if chosen is None or isinstance(chosen, tuple):
        first, stop = (0, images) if chosen is None else (int(chosen[0]), int(chosen[-1]))
        if not 0 <= first <= stop <= images or (chosen is not None and len(chosen) != 2):
            raise QueryError(f"images={chosen!r} is no range (first, stop) of the run's {images} images.")
        if first == stop:
            return [], np.zeros(0, np.int64), {"first_image": ("row", np.zeros(0, np.int64))}
        pick, bounds = choose_rows(first, stop, rows, source.image_levels, images)
        return [pick], np.diff(bounds), {"first_image": ("row", bounds[:-1])}
    image, row = _members(chosen, rows)
    wrong = image[(image < 0) | (image >= images)]
    if len(wrong):
        raise QueryError(f"Images are numbered 0 to {images - 1}; {wrong[0]} was asked for.")
    if len(np.unique(row * max(1, images) + image)) < len(image):
        raise QueryError("An image comes twice in one row; name it once.")
    sizes = np.bincount(row, minlength=len(chosen) if _nested(chosen) else 0)
    return gather(image, row, source.image_levels, images), sizes, {}


def _members(chosen: Any, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images asked for and the row of each: as given, or, of single images, as many side by side as make
    enough rows.
    """
    try:
        if _nested(chosen):
            row = np.repeat(np.arange(len(chosen)), [len(group) for group in chosen])
            image = np.concatenate([np.asarray(group, None if len(group) else np.int64) for group in chosen])
        else:
            image = np.asarray(chosen, None if len(chosen) else np.int64)
            row = np.arange(len(image)) // max(1, len(image) // rows)
        return image.astype(np.int64, casting="safe"), row
    except (TypeError, ValueError) as error:
        raise QueryError(
            "images are a range (first, stop), a list of numbers, or a list of such lists, one for each row."
        ) from error


def _nested(chosen: Any) -> bool:
    return len(chosen) > 0 and np.ndim(chosen[0]) == 1
