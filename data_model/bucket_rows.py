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


def reduce_records(
    values: Rows, factor: int, out: Rows, at: int = 0, span: slice = slice(None), pick: Any = None, put: Any = None
) -> None:
    """Reduce records (series, records) to buckets of `factor`, into `out` from bucket `at` on; the last may be short.

    Those in `span`, of the series with the numbers `pick`, to series `put` of `out`; all, to the same places, without.
    Both arrays are float32 or float64, in C order.
    """
    first, stop, _ = span.indices(values.shape[1])
    if factor == 1:
        _single_records(values[:, span], slice(None) if pick is None else pick, out[..., at : at + stop - first], put)
        return
    picked, places = _places(pick, put, len(values), out.shape[1])
    marks, missing, top = bits(values), missing_bits(values.dtype), values.dtype.type(np.inf)
    end = stop - (stop - first) % factor
    _reduce_records(values, marks, missing, top, picked, places, first, end, factor, out, at)
    if end < stop:
        at += (end - first) // factor
        _reduce_records(values, marks, missing, top, picked, places, end, stop, stop - end, out, at)


def reduce_buckets(
    rows: Rows, factor: int, out: Rows, at: int = 0, span: slice = slice(None), pick: Any = None, put: Any = None
) -> None:
    """Reduce `factor` buckets to one, as `reduce_records` does with records.

    What was stored before an entity came holds NaN for its counts too: it is taken for 0.
    """
    first, stop, _ = span.indices(rows.shape[2])
    if factor == 1:
        _copy(rows[..., span], slice(None) if pick is None else pick, out[..., at : at + stop - first], put)
        return
    picked, places = _places(pick, put, rows.shape[1], out.shape[1])
    _reduce_buckets(rows, picked, places, first, stop, factor, out, at)


def reduce_levels(values: Rows, level: int, merged: int) -> Rows:
    """Reduce records (series, records) level by level, as the index does, and then by `merged`."""
    factors = [FACTOR] * level + [merged] if level else [merged]
    rows = empty_rows(len(values), -(-values.shape[1] // factors[0]), values.dtype)
    reduce_records(np.ascontiguousarray(values), factors[0], rows)
    for factor in factors[1:]:
        below, rows = rows, empty_rows(len(values), -(-rows.shape[2] // factor), values.dtype)
        reduce_buckets(below, factor, rows)
    return rows


def _single_records(values: Rows, pick: Any, out: Rows, put: Any) -> None:
    """What the kernel does with a factor of 1, at the speed of a copy."""
    put = pick if put is None else put
    values = values[pick]
    finite = np.isfinite(values)
    out[:3, put] = np.where(finite, values, np.nan)
    out[3, put] = finite
    out[4, put] = ~finite & (bits(values) != missing_bits(values.dtype))


def _copy(rows: Rows, pick: Any, out: Rows, put: Any) -> None:
    """What the kernel does with a factor of 1, at the speed of a copy."""
    put = pick if put is None else put
    out[:3, put] = rows[:3, pick]
    out[3:, put] = np.fmax(rows[3:, pick], 0)


def _places(pick: Any, put: Any, given: int, there: int) -> tuple[Numbers, Numbers]:
    """Return the numbers of the series to take, and of those to make of them."""
    picked = np.arange(given) if pick is None else _numbers(pick, given)
    return picked, picked if put is None else _numbers(put, there)


def _numbers(index: Any, size: int) -> Numbers:
    return np.arange(size)[index] if isinstance(index, slice) else np.asarray(index, np.int64)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _reduce_records(  # type: ignore[no-untyped-def]  # pragma: no cover
    values, pattern, missing, top, pick, put, first, stop, factor, out, at
):
    buckets = (stop - first) // factor
    for one in range(pick.size):
        line, marks, row = values[pick[one], first:stop], pattern[pick[one], first:stop], put[one]
        low, high, mean = out[0, row, at:], out[1, row, at:], out[2, row, at:]
        count, nonfinite = out[3, row, at:], out[4, row, at:]
        # The factors that queries take are known when this is compiled: then whole registers of buckets are reduced.
        if factor == 2:
            _reduce_line(line, marks, missing, top, buckets, 2, low, high, mean, count, nonfinite)
        elif factor == 4:
            _reduce_line(line, marks, missing, top, buckets, 4, low, high, mean, count, nonfinite)
        elif factor == 8:
            _reduce_line(line, marks, missing, top, buckets, 8, low, high, mean, count, nonfinite)
        else:
            _reduce_line(line, marks, missing, top, buckets, factor, low, high, mean, count, nonfinite)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _reduce_line(  # type: ignore[no-untyped-def]  # pragma: no cover
    line, marks, missing, top, buckets, factor, low, high, mean, count, nonfinite
):
    for bucket in range(buckets):
        least, most, total, finite, lost = top, -top, 0.0, np.int32(0), np.int32(0)
        for part in range(factor):  # without a branch: `top` is infinity, of the dtype of the values
            value = line[bucket * factor + part]
            good = np.abs(value) < top
            least = min(least, value if good else top)
            most = max(most, value if good else -top)
            total += value if good else 0.0
            finite += np.int32(good)
            lost += np.int32((not good) & (marks[bucket * factor + part] != missing))
        # Rounding of the mean of equal values may step outside them; an envelope must hold its line.
        middle = min(max(total / finite, least), most)
        low[bucket] = least if finite > 0 else np.nan
        high[bucket] = most if finite > 0 else np.nan
        mean[bucket] = middle if finite > 0 else np.nan
        count[bucket] = finite
        nonfinite[bucket] = lost


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
