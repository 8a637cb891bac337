"""From the sums of a stretch to its spread and change, and how the stretches of a filter or layer are put together.

Where a stretch shows NaN, Inf, overflow or underflow, it is summed again element by element in float64, over its finite
elements. Where the mean is far larger than the spread, the variance is taken again from deviations from the mean, with
the mean's rounding error taken out, so that it holds its digits.

Arguments are bare pointers, and the places where a part begins and ends: arrays, with their reference counts and
slices, would cost more than the work on a small filter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeptracker.tracker.compiled import compiled, vectorised
from deeptracker.tracker.lanes import (
    ABSOLUTE,
    BEFORE_ABSOLUTE,
    BEFORE_SUM_SQUARES,
    CHANGE_ABSOLUTE,
    CHANGE_SUM_SQUARES,
    COUNT_ABOVE,
    HIGHEST,
    LOWEST,
    NONZEROS,
    SUM_SQUARES,
    TOTAL,
)
from deeptracker.tracker.totals import (
    ABOVE,
    BEFORE_L1,
    BEFORE_SQUARES,
    CHANGE_L1,
    CHANGE_SQUARES,
    FILTER_COLUMNS,
    FINITE,
    GRADIENT,
    L1,
    MAXIMUM,
    MEAN,
    MINIMUM,
    NONFINITE,
    NONZERO,
    PAIRS,
    SQUARES,
    THRESHOLDS,
)

TINY = 1e-32
"""Mean square below which float32 may have underflowed: sum again in float64."""

CANCELLED = 0.1
"""Share of the mean square that must be left as variance: below, take the variance from the deviations instead."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@compiled
def merge(into: Float64, at: int, part: Float64, place: int) -> None:
    """Add one spread (8 values, see `totals`) to another, with the pairwise update of Chan et al. (1979)."""
    finite = into[at + FINITE] + part[place + FINITE]
    if part[place + FINITE] > 0:
        apart = part[place + MEAN] - into[at + MEAN]
        moved = apart * part[place + FINITE] / finite
        into[at + SQUARES] += part[place + SQUARES] + apart * moved * into[at + FINITE]
        into[at + MEAN] += moved
    into[at + FINITE] = finite
    into[at + NONFINITE] += part[place + NONFINITE]
    into[at + NONZERO] += part[place + NONZERO]
    into[at + L1] += part[place + L1]
    into[at + MINIMUM] = min(into[at + MINIMUM], part[place + MINIMUM])
    into[at + MAXIMUM] = max(into[at + MAXIMUM], part[place + MAXIMUM])


@compiled
def clear(out: Float64, at: int) -> None:
    """Make a spread that of no values at all."""
    for column in range(GRADIENT):
        out[at + column] = 0.0
    out[at + MINIMUM] = np.inf
    out[at + MAXIMUM] = -np.inf


@compiled
def _careful_spread(x: Float32, start: int, stop: int, out: Float64, at: int) -> None:
    clear(out, at)
    total = 0.0
    for i in range(start, stop):
        value = np.float64(x[i])
        if np.isfinite(value):
            out[at + FINITE] += 1
            out[at + NONZERO] += value != 0
            total += value
            out[at + L1] += abs(value)
            out[at + MINIMUM] = min(out[at + MINIMUM], value)
            out[at + MAXIMUM] = max(out[at + MAXIMUM], value)
    out[at + NONFINITE] = stop - start - out[at + FINITE]
    if out[at + FINITE] > 0:
        out[at + MEAN] = total / out[at + FINITE]
        for i in range(start, stop):
            if np.isfinite(x[i]):
                out[at + SQUARES] += (np.float64(x[i]) - out[at + MEAN]) ** 2


@vectorised
def _deviations(x: Float32, start: int, stop: int, centre: np.float32) -> tuple[np.float32, np.float32]:
    total, squares = np.float32(0), np.float32(0)
    for i in range(start, stop):
        deviation = x[i] - centre
        total += deviation
        squares += deviation * deviation
    return total, squares


@compiled
def spread(x: Float32, start: int, stop: int, sums: Float64, of: int, out: Float64, at: int) -> None:
    """Write the spread (8 values, see `totals`) of a stretch of float32 values, from its sums (see `lanes`)."""
    count = np.float64(stop - start)
    squares, absolute = sums[of + SUM_SQUARES], sums[of + ABSOLUTE]
    if not np.isfinite(absolute + squares) or (absolute > 0 and squares < count * TINY):
        _careful_spread(x, start, stop, out, at)
        return
    mean = sums[of + TOTAL] / count
    apart = squares - sums[of + TOTAL] * mean
    if apart < CANCELLED * squares:
        centre = np.float32(mean)
        rest, near = _deviations(x, start, stop, centre)
        if sums[of + LOWEST] < sums[of + HIGHEST] and near < count * TINY:
            _careful_spread(x, start, stop, out, at)
            return
        mean = np.float64(centre) + np.float64(rest) / count
        apart = max(np.float64(near) - np.float64(rest) ** 2 / count, 0.0)
    out[at + FINITE] = count
    out[at + NONFINITE] = 0
    out[at + NONZERO] = sums[of + NONZEROS]
    out[at + MEAN] = mean
    out[at + SQUARES] = apart
    out[at + L1] = absolute
    out[at + MINIMUM] = sums[of + LOWEST]
    out[at + MAXIMUM] = sums[of + HIGHEST]


@compiled
def _careful_change(after: Float32, before: Float32, start: int, stop: int, out: Float64, at: int) -> None:
    for i in range(start, stop):
        x, y = np.float64(before[i]), np.float64(after[i])
        if np.isfinite(x) and np.isfinite(y):
            change = abs(y - x)
            out[at + PAIRS] += 1
            out[at + CHANGE_L1] += change
            out[at + CHANGE_SQUARES] += change * change
            out[at + BEFORE_L1] += abs(x)
            out[at + BEFORE_SQUARES] += x * x
            for exponent in range(THRESHOLDS):
                out[at + ABOVE + exponent] += change > abs(x) * 10.0**-exponent


@compiled
def add_change(after: Float32, before: Float32, start: int, stop: int, sums: Float64, out: Float64, at: int) -> None:
    """Add what changed between two stretches, from its sums, to the change columns of a row (see `totals`).

    Pairs with a NaN or Inf on either side are left out. A weight that leaves zero counts as changed above every
    threshold.
    """
    count = np.float64(stop - start)
    squares, old_squares = sums[CHANGE_SUM_SQUARES], sums[BEFORE_SUM_SQUARES]
    overflow = not np.isfinite(squares + old_squares)
    underflow = sums[CHANGE_ABSOLUTE] > 0 and squares < count * TINY
    if overflow or underflow or (sums[BEFORE_ABSOLUTE] > 0 and old_squares < count * TINY):
        _careful_change(after, before, start, stop, out, at)
        return
    out[at + PAIRS] += count
    out[at + CHANGE_L1] += sums[CHANGE_ABSOLUTE]
    out[at + CHANGE_SQUARES] += squares
    out[at + BEFORE_L1] += sums[BEFORE_ABSOLUTE]
    out[at + BEFORE_SQUARES] += old_squares
    for exponent in range(THRESHOLDS):
        out[at + ABOVE + exponent] += sums[COUNT_ABOVE + exponent]


@compiled
def clear_row(out: Float64, at: int) -> None:
    """Make a row that of no values at all."""
    clear(out, at)
    clear(out, at + GRADIENT)
    for column in range(PAIRS, FILTER_COLUMNS):
        out[at + column] = 0.0
