"""One step of the index: eight records, or eight buckets, into one bucket.

A bucket is five numbers per series: minimum, maximum and mean of the finite values, how many were finite, and how
many were recorded but NaN or Inf. Every level is computed from the stored level below it, never from running sums:
so an index that grew while recording, one rebuilt after a crash and one built in one go are equal bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import bits, missing_bits

FACTOR = 8
AGGREGATES = ("min", "max", "mean", "count", "nonfinite")

MAX_LEVEL = 8
"""Counts are kept as float32 beside the other aggregates: exact up to 2**24 = FACTOR**MAX_LEVEL records."""


def summarise_records(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Reduce raw records to buckets of `FACTOR`; the last bucket may hold fewer.

    `values` is (records, series), float32 or float64; the result (ceil(records / 8), 5, series) of the same dtype.
    """
    values = np.ascontiguousarray(values)
    out = np.empty((-(-len(values) // FACTOR), len(AGGREGATES), values.shape[1]), values.dtype)
    _summarise(values, bits(values), missing_bits(values.dtype), FACTOR, out)
    return out


def merge_buckets(buckets: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Reduce `FACTOR` buckets to one: (buckets, 5, series) to (ceil(buckets / 8), 5, series); the last may be short."""
    buckets = np.ascontiguousarray(buckets)
    out = np.empty((-(-len(buckets) // FACTOR), *buckets.shape[1:]), buckets.dtype)
    _merge(buckets, FACTOR, out)
    return out


def combine_series(buckets: NDArray[np.floating[Any]], groups: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """Reduce (buckets, 5, series) across the series of each group: a block's envelope from its layers'.

    Every group lists the numbers of its series. Return (buckets, groups) by aggregate: min, max and mean of the dtype
    given, counts as int64, as those of all filters of a network exceed what float32 counts exactly. The mean is that
    of all finite values behind the group, whatever series they are of.
    """
    buckets = np.ascontiguousarray(buckets)
    shape = (len(buckets), len(groups))
    low, high, mean = (np.empty(shape, buckets.dtype) for _ in range(3))
    count, nonfinite = (np.zeros(shape, np.int64) for _ in range(2))
    edges = np.cumsum([0, *map(len, groups)])
    members = np.concatenate([np.empty(0, np.int64), *groups])
    _combine(buckets, members, edges, low, high, mean, count, nonfinite)
    return dict(zip(AGGREGATES, (low, high, mean, count, nonfinite), strict=True))


@numba.njit(cache=True, nogil=True)
def _summarise(values, pattern, missing, factor, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    records, series = values.shape
    total = np.empty(series, np.float64)
    for bucket in range(out.shape[0]):
        low, high, mean, count, nonfinite = out[bucket]
        low[:] = np.inf
        high[:] = -np.inf
        count[:] = 0
        nonfinite[:] = 0
        total[:] = 0
        for record in range(bucket * factor, min((bucket + 1) * factor, records)):
            for one in range(series):
                value = values[record, one]
                if np.isfinite(value):
                    low[one] = min(low[one], value)
                    high[one] = max(high[one], value)
                    total[one] += value
                    count[one] += 1
                elif pattern[record, one] != missing:
                    nonfinite[one] += 1
        _finish(low, high, mean, count, total)


@numba.njit(cache=True, nogil=True)
def _merge(buckets, factor, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    series = buckets.shape[2]
    total = np.empty(series, np.float64)
    for bucket in range(out.shape[0]):
        low, high, mean, count, nonfinite = out[bucket]
        low[:] = np.inf
        high[:] = -np.inf
        count[:] = 0
        nonfinite[:] = 0
        total[:] = 0
        for part in range(bucket * factor, min((bucket + 1) * factor, buckets.shape[0])):
            for one in range(series):
                nonfinite[one] += buckets[part, 4, one]
                finite = buckets[part, 3, one]
                if finite > 0:
                    low[one] = min(low[one], buckets[part, 0, one])
                    high[one] = max(high[one], buckets[part, 1, one])
                    total[one] += np.float64(buckets[part, 2, one]) * np.float64(finite)
                    count[one] += finite
        _finish(low, high, mean, count, total)


@numba.njit(cache=True, nogil=True)
def _combine(buckets, members, edges, low, high, mean, count, nonfinite):  # type: ignore[no-untyped-def]  # pragma: no cover
    total = np.empty(edges.size - 1, np.float64)
    for bucket in range(buckets.shape[0]):
        low[bucket] = np.inf
        high[bucket] = -np.inf
        total[:] = 0
        for group in range(edges.size - 1):
            for member in members[edges[group] : edges[group + 1]]:
                nonfinite[bucket, group] += np.int64(buckets[bucket, 4, member])
                finite = np.int64(buckets[bucket, 3, member])
                if finite > 0:
                    low[bucket, group] = min(low[bucket, group], buckets[bucket, 0, member])
                    high[bucket, group] = max(high[bucket, group], buckets[bucket, 1, member])
                    total[group] += np.float64(buckets[bucket, 2, member]) * finite
                    count[bucket, group] += finite
        _finish(low[bucket], high[bucket], mean[bucket], count[bucket], total)


@numba.njit(cache=True, nogil=True, inline="always")
def _finish(low, high, mean, count, total):  # type: ignore[no-untyped-def]  # pragma: no cover
    for one in range(count.size):
        if count[one] > 0:
            # Rounding of the mean of equal values may step outside them; an envelope must hold its line.
            mean[one] = min(max(total[one] / count[one], low[one]), high[one])
        else:
            low[one] = np.nan
            high[one] = np.nan
            mean[one] = np.nan
