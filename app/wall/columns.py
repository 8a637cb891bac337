"""From buckets of iterations to columns of pixels: nothing that a bucket holds is lost on the way.

Every column takes the lowest low, the highest high and the mean of the middles of all buckets that reach into it, so a
spike of one iteration is in some column at every zoom. Columns in which the envelope stands far out of its own
surroundings are flagged, for the encodings that show the middle only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from deeptracker.app.wall.source import Envelope, Floats

NONFINITE, SPIKE = 1, 2
"""Flags of a column: a NaN or Inf was recorded in it; its envelope stands out of its surroundings."""

REACH = 12
"""Columns on either side that a spike is compared with; the nearest one is skipped."""
STANDS_OUT = 3.0
"""A spike rises over the envelope around it by more than this times that envelope's height..."""
WORTH = 0.15
"""...and by more than this share of the row's visible height, so that noise of a still row is no spike."""

compiled = numba.njit(cache=True, nogil=True)


@dataclass(frozen=True)
class Columns:
    """Values of rows in pixel columns: float32 (5, rows, columns) low, band low, middle, band high, high; and flags.

    NaN in `values` means missing. `logarithmic` says of which rows they are decimal logarithms (None: of none).
    """

    values: npt.NDArray[np.float32]
    flags: npt.NDArray[np.uint8]
    logarithmic: npt.NDArray[np.bool_] | None = None

    def part(self, rows: slice) -> Columns:
        """Return some of the rows, contiguous: the kernels are compiled for one memory layout only."""
        values, flags = np.ascontiguousarray(self.values[:, rows]), np.ascontiguousarray(self.flags[rows])
        return Columns(values, flags, None if self.logarithmic is None else self.logarithmic[rows])


def bucket_ranges(
    start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64], first: float, last: float, columns: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return for each column of [first, last) the buckets [from, to) that reach into it."""
    edges = first + (last - first) * np.arange(columns + 1) / columns
    begin = np.searchsorted(stop, edges[:-1], side="right")
    end = np.searchsorted(start, edges[1:], side="left")
    return begin.astype(np.int32), np.maximum(begin, end).astype(np.int32)


def to_columns(
    envelope: Envelope,
    first: float,
    last: float,
    columns: int,
    logarithmic: bool | npt.NDArray[np.bool_] = False,
) -> Columns:
    """Resample an envelope to `columns` columns over iterations [first, last); flag what stands out.

    `logarithmic` says whether all rows, or which ones (rows,), become decimal logarithms.
    """
    begin, end = bucket_ranges(envelope.start, envelope.stop, first, last, columns)
    rows = envelope.low.shape[0]
    values = np.empty((5, rows, columns), np.float32)
    flags = np.zeros((rows, columns), np.uint8)
    buckets = (envelope.low, envelope.band_low, envelope.middle, envelope.band_high, envelope.high)
    edges = first + (last - first) * np.arange(columns + 1) / columns
    resample(*buckets, envelope.nonfinite, envelope.start, envelope.stop, edges, begin, end, values, flags)
    chosen = np.broadcast_to(np.asarray(logarithmic, np.bool_), rows).copy()
    if chosen.any():
        to_logarithm(values, chosen)
    flag_spikes(values, flags)
    return Columns(values, flags, chosen)


@compiled
def resample(
    low: Floats,
    band_low: Floats,
    middle: Floats,
    band_high: Floats,
    high: Floats,
    nonfinite: npt.NDArray[np.bool_],
    start: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
    edges: npt.NDArray[np.float64],
    begin: npt.NDArray[np.int32],
    end: npt.NDArray[np.int32],
    values: Floats,
    flags: npt.NDArray[np.uint8],
) -> None:
    """Fill `values` (5, rows, columns) and the non-finite flags from the buckets [begin, end) of each column."""
    rows, columns = flags.shape
    # How much of each column each of its buckets covers is the same for all rows.
    offsets = np.zeros(columns + 1, np.int64)
    for column in range(columns):
        offsets[column + 1] = offsets[column] + max(0, end[column] - begin[column])
    shares = np.empty(offsets[columns], np.float32)
    for column in range(columns):
        for bucket in range(begin[column], end[column]):
            share = min(edges[column + 1], float(stop[bucket])) - max(edges[column], float(start[bucket]))
            shares[offsets[column] + bucket - begin[column]] = share / (edges[column + 1] - edges[column])
    for row in range(rows):
        for column in range(columns):
            first, count = begin[column], end[column] - begin[column]
            if count == 1:  # most columns of a close view, and the fastest way
                if nonfinite[row, first]:
                    flags[row, column] |= NONFINITE
                known = math.isfinite(middle[row, first])
                values[0, row, column] = low[row, first] if known else np.float32(np.nan)
                values[1, row, column] = band_low[row, first] if known else np.float32(np.nan)
                values[2, row, column] = middle[row, first] if known else np.float32(np.nan)
                values[3, row, column] = band_high[row, first] if known else np.float32(np.nan)
                values[4, row, column] = high[row, first] if known else np.float32(np.nan)
                continue
            lowest, highest = np.float32(np.inf), np.float32(-np.inf)
            below, mean, above, weight = 0.0, 0.0, 0.0, 0.0
            for number in range(count):
                bucket = first + number
                if nonfinite[row, bucket]:
                    flags[row, column] |= NONFINITE
                if not math.isfinite(middle[row, bucket]):
                    continue
                lowest = min(lowest, low[row, bucket])
                highest = max(highest, high[row, bucket])
                share = shares[offsets[column] + number]
                below += share * band_low[row, bucket]
                mean += share * middle[row, bucket]
                above += share * band_high[row, bucket]
                weight += share
            if weight <= 0.0:
                for kind in range(5):
                    values[kind, row, column] = np.nan
            else:
                values[0, row, column] = lowest
                values[1, row, column] = below / weight
                values[2, row, column] = mean / weight
                values[3, row, column] = above / weight
                values[4, row, column] = highest


@compiled
def to_logarithm(values: Floats, chosen: npt.NDArray[np.bool_]) -> None:
    """Replace the values of the chosen rows by their decimal logarithms, in place.

    Zero and below become the row's smallest logarithm.
    """
    kinds, rows, columns = values.shape
    for row in range(rows):
        if not chosen[row]:
            continue
        smallest = np.float32(np.inf)
        for kind in range(kinds):
            for column in range(columns):
                value = values[kind, row, column]
                if value > 0:
                    value = np.float32(math.log10(value))
                    values[kind, row, column] = value
                    smallest = min(smallest, value)
                elif value <= 0:
                    values[kind, row, column] = -np.inf
        floor = smallest if math.isfinite(smallest) else np.float32(0)
        for kind in range(kinds):
            for column in range(columns):
                if values[kind, row, column] == -np.inf:
                    values[kind, row, column] = floor


@compiled
def flag_spikes(values: Floats, flags: npt.NDArray[np.uint8]) -> None:
    """Flag columns whose low or high stands far out of the envelope of the `REACH` columns on either side."""
    rows, columns = flags.shape
    top = np.empty(columns, np.float32)
    bottom = np.empty(columns, np.float32)
    for row in range(rows):
        lowest, highest = np.float32(np.inf), np.float32(-np.inf)
        for column in range(columns):
            low, high = values[0, row, column], values[4, row, column]
            known = low <= high
            bottom[column] = low if known else np.float32(np.inf)
            top[column] = high if known else np.float32(-np.inf)
            lowest, highest = min(lowest, bottom[column]), max(highest, top[column])
        if not highest > lowest:
            continue
        worth = np.float32(WORTH) * (highest - lowest)
        for column in range(columns):
            # Cheap first: most columns are no extreme among their neighbours but one.
            left, right = max(0, column - 2), min(columns - 1, column + 2)
            rises = top[column] - max(top[left] if left < column else top[right], top[right])
            falls = min(bottom[left] if left < column else bottom[right], bottom[right]) - bottom[column]
            if not (rises > worth or falls > worth):
                continue
            above, below = np.float32(-np.inf), np.float32(np.inf)
            for near in range(max(0, column - REACH), min(columns, column + REACH + 1)):
                if abs(near - column) > 1:
                    above, below = max(above, top[near]), min(below, bottom[near])
            if not above >= below:
                continue
            out = max(top[column] - above, below - bottom[column])
            if math.isfinite(out) and out > worth and out > np.float32(STANDS_OUT) * (above - below):
                flags[row, column] |= SPIKE


def row_scales(columns: Columns, level: int, common: bool) -> npt.NDArray[np.float32]:
    """Return the value at the bottom and at the top of each row, float32 (rows, 2); NaN for a row without data.

    Envelopes (level 2) show everything from low to high; the flatter encodings show middles, stretched over all but
    their outliers. A common scale is the widest of all rows, for flat ones all but the outermost hundredths.
    """
    scales = np.empty((columns.flags.shape[0], 2), np.float32)
    find_scales(columns.values, level == 2, scales)
    if not common or not np.isfinite(scales).any():
        return scales
    if level == 2:
        bounds = np.array([np.nanmin(scales[:, 0]), np.nanmax(scales[:, 1])])
    else:
        middle = columns.values[2, :, :: max(1, columns.flags.size // 200_000)]
        known = middle[np.isfinite(middle)]
        bounds = np.percentile(known, (1, 99)) if known.size else np.array([np.nan, np.nan])
    return np.repeat(bounds[None].astype(np.float32), len(scales), axis=0)


@compiled
def find_scales(values: Floats, everything: bool, scales: Floats) -> None:
    """Fill `scales` (rows, 2) with each row's lowest and highest value, or its middles' mean +- 2.5 deviations."""
    rows, columns = values.shape[1], values.shape[2]
    low_kind, high_kind = (0, 4) if everything else (2, 2)
    for row in range(rows):
        lowest, highest, total, squares, count = np.inf, -np.inf, 0.0, 0.0, 0
        for column in range(columns):
            middle = values[2, row, column]
            if math.isnan(middle):
                continue
            lowest = min(lowest, values[low_kind, row, column])
            highest = max(highest, values[high_kind, row, column])
            total += middle
            squares += float(middle) * middle
            count += 1
        if count == 0:
            scales[row, 0], scales[row, 1] = np.nan, np.nan
            continue
        if not everything:
            mean = total / count
            spread = 2.5 * math.sqrt(max(0.0, squares / count - mean * mean))
            lowest, highest = max(lowest, mean - spread), min(highest, mean + spread)
        scales[row, 0], scales[row, 1] = lowest, highest


def warm(*arguments: Any) -> None:
    """Compile (or load from the disk's cache) every kernel here; `arguments` are ignored, for use as a thread."""
    envelope = Envelope.empty(1)
    row_scales(to_columns(envelope, 0.0, 1.0, 2, logarithmic=True), 2, common=False)
