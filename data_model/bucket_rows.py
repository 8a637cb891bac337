"""Buckets as queries make them: (5, series, buckets), so that what a picture draws of a series lies in one row.

The same numbers, to the bit, as those of `reduction`, which works on (buckets, 5, series) as they are recorded.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import bits, missing_bits
from deeptracker.data_model.reduction import AGGREGATES, FACTOR

Rows = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]


def empty_rows(series: int, buckets: int, dtype: np.dtype[Any]) -> Rows:
    """Return room for the buckets of some series."""
    return np.empty((len(AGGREGATES), series, buckets), dtype)


def reduce_records(values: Rows, factor: int, out: Rows, at: int = 0) -> None:
    """Reduce records (series, records) to buckets of `factor`, into `out` from bucket `at` on; the last may be short.

    `values` and `out` are float32 or float64, each row contiguous.
    """
    if factor == 1:
        _single_records(values, out[..., at : at + values.shape[1]])
        return
    _reduce_records(values, bits(values), missing_bits(values.dtype), factor, out, at)


def reduce_buckets(
    rows: Rows, factor: int, out: Rows, at: int = 0, span: slice = slice(None), pick: Any = None, put: Any = None
) -> None:
    """Reduce `factor` buckets to one, into `out` from bucket `at` on: those in `span` of `rows`, the last may be short.

    `pick` are numbers of series in `rows`, `put` where they go in `out`; all, to the same places, without. What was
    stored before an entity came holds NaN for its counts too: it is taken for 0.
    """
    first, stop, _ = span.indices(rows.shape[2])
    if factor == 1:
        _copy(rows[..., span], slice(None) if pick is None else pick, out[..., at : at + stop - first], put)
        return
    picked = np.arange(rows.shape[1]) if pick is None else _numbers(pick, rows.shape[1])
    _reduce_buckets(rows, picked, picked if put is None else _numbers(put, out.shape[1]), first, stop, factor, out, at)


def reduce_levels(values: Rows, level: int, merged: int) -> Rows:
    """Reduce records (series, records) level by level, as the index does, and then by `merged`."""
    factors = [FACTOR] * level + [merged] if level else [merged]
    rows = empty_rows(len(values), -(-values.shape[1] // factors[0]), values.dtype)
    reduce_records(np.ascontiguousarray(values), factors[0], rows)
    for factor in factors[1:]:
        below, rows = rows, empty_rows(len(values), -(-rows.shape[2] // factor), values.dtype)
        reduce_buckets(below, factor, rows)
    return rows


def _single_records(values: Rows, out: Rows) -> None:
    """What the kernel does with a factor of 1, at the speed of a copy."""
    finite = np.isfinite(values)
    out[0] = np.where(finite, values, np.nan)
    out[1:3] = out[0]
    out[3] = finite
    out[4] = ~finite & (bits(values) != missing_bits(values.dtype))


def _copy(rows: Rows, pick: Any, out: Rows, put: Any) -> None:
    """What the kernel does with a factor of 1, at the speed of a copy."""
    put = pick if put is None else put
    out[:3, put] = rows[:3, pick]
    out[3:, put] = np.fmax(rows[3:, pick], 0)


def _numbers(index: Any, size: int) -> Numbers:
    return np.arange(size)[index] if isinstance(index, slice) else np.asarray(index, np.int64)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _reduce_records(values, pattern, missing, factor, out, at):  # type: ignore[no-untyped-def]  # pragma: no cover
    records = values.shape[1]
    for one in range(values.shape[0]):
        for bucket in range((records + factor - 1) // factor):
            low, high, total, count, nonfinite = np.inf, -np.inf, 0.0, 0, 0
            for record in range(bucket * factor, min((bucket + 1) * factor, records)):
                value = values[one, record]
                if np.isfinite(value):
                    low = min(low, value)
                    high = max(high, value)
                    total += value
                    count += 1
                elif pattern[one, record] != missing:
                    nonfinite += 1
            _put(out, one, at + bucket, low, high, total, count, nonfinite)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _reduce_buckets(rows, pick, put, first, stop, factor, out, at):  # type: ignore[no-untyped-def]  # pragma: no cover
    for one in range(pick.size):
        mine, its = pick[one], put[one]
        for bucket in range((stop - first + factor - 1) // factor):
            low, high, total, count, nonfinite = np.inf, -np.inf, 0.0, 0.0, 0.0
            start = first + bucket * factor
            for part in range(start, min(start + factor, stop)):
                lost = rows[4, mine, part]
                if lost > 0:
                    nonfinite += lost
                finite = rows[3, mine, part]
                if finite > 0:
                    low = min(low, rows[0, mine, part])
                    high = max(high, rows[1, mine, part])
                    total += np.float64(rows[2, mine, part]) * np.float64(finite)
                    count += finite
            _put(out, its, at + bucket, low, high, total, count, nonfinite)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _put(out, one, bucket, low, high, total, count, nonfinite):  # type: ignore[no-untyped-def]  # pragma: no cover
    if count > 0:
        # Rounding of the mean of equal values may step outside them; an envelope must hold its line.
        out[0, one, bucket] = low
        out[1, one, bucket] = high
        out[2, one, bucket] = min(max(total / count, low), high)
    else:
        out[0, one, bucket] = np.nan
        out[1, one, bucket] = np.nan
        out[2, one, bucket] = np.nan
    out[3, one, bucket] = count
    out[4, one, bucket] = nonfinite
