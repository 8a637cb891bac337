"""The fused kernel: one pass per filter over weight, gradient and previous weight of every layer.

It reads the tensors where they lie, by address, so that a step costs no copies and no allocation. Every value is
touched while it is in the CPU's first cache. The fast loops run in float32 on the vector units, over one stretch;
sums of stretches, filters and layers are reduced in float64. Where a stretch shows NaN, Inf, overflow or underflow,
it is summed again element by element in float64, over its finite elements. Variance is that of deviations from the
stretch's own mean, with the mean's rounding error taken out again, so that it holds its digits when the mean is far
larger than the spread.

All of it is one file because numba's cache on disk notices changes of the file of the function it calls, and of no
other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.tracker.compiled import compiled, floats_at, vectorised
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

STRETCH = 4096
"""Values summed in float32 before the sum goes on in float64: 3 x 16 kB stay in the first cache."""

TINY = 1e-32
"""Mean square below which float32 may have underflowed: sum again in float64."""

Addresses = NDArray[np.uint64]
Counts = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_LAST_CHANGE = ABOVE + THRESHOLDS

# Counters are cast back to int32 at every addition: numba widens the sum, which halves the speed of the vector units.


@vectorised
def _ordered(bits: np.int32) -> np.int32:
    """Map the bits of a float32 to an integer of the same order, and back."""
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@vectorised
def _sums(x: Float32) -> tuple[Any, ...]:
    """Return sum, sum of sizes, number of non-zeros, smallest and largest.

    Values are compared as integers: the compiler keeps the vector units for those, not for floats that may be NaN.
    """
    bits = x.view(np.int32)
    total, absolute, nonzero = np.float32(0), np.float32(0), np.int32(0)
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    for i in range(x.size):
        total += x[i]
        absolute += abs(x[i])
        nonzero = np.int32(nonzero + np.int32(x[i] != np.float32(0)))
        key = _ordered(bits[i])
        low, high = min(low, key), max(high, key)
    smallest, largest = np.int32(_ordered(low)).view(np.float32), np.int32(_ordered(high)).view(np.float32)
    return total, absolute, nonzero, smallest, largest


@vectorised
def _deviations(x: Float32, centre: np.float32) -> tuple[np.float32, np.float32]:
    total, squares = np.float32(0), np.float32(0)
    for i in range(x.size):
        deviation = x[i] - centre
        total += deviation
        squares += deviation * deviation
    return total, squares


@compiled
def merge(into: Float64, part: Float64) -> None:
    """Add one spread (8 values, see `totals`) to another, with the pairwise update of Chan et al. (1979)."""
    finite = into[FINITE] + part[FINITE]
    if part[FINITE] > 0:
        apart = part[MEAN] - into[MEAN]
        into[SQUARES] += part[SQUARES] + apart * apart * into[FINITE] * part[FINITE] / finite
        into[MEAN] += apart * part[FINITE] / finite
    into[FINITE] = finite
    into[NONFINITE] += part[NONFINITE]
    into[NONZERO] += part[NONZERO]
    into[L1] += part[L1]
    into[MINIMUM] = min(into[MINIMUM], part[MINIMUM])
    into[MAXIMUM] = max(into[MAXIMUM], part[MAXIMUM])


@compiled
def clear(spread: Float64) -> None:
    """Make a spread that of no values at all."""
    spread[:] = 0.0
    spread[MINIMUM] = np.inf
    spread[MAXIMUM] = -np.inf


@compiled
def _careful_spread(x: Float32, out: Float64) -> None:
    clear(out)
    total, absolute = 0.0, 0.0
    for i in range(x.size):
        value = np.float64(x[i])
        if np.isfinite(value):
            out[FINITE] += 1
            out[NONZERO] += value != 0
            total += value
            absolute += abs(value)
            out[MINIMUM] = min(out[MINIMUM], value)
            out[MAXIMUM] = max(out[MAXIMUM], value)
    out[NONFINITE] = x.size - out[FINITE]
    out[L1] = absolute
    if out[FINITE] > 0:
        out[MEAN] = total / out[FINITE]
        for i in range(x.size):
            if np.isfinite(x[i]):
                out[SQUARES] += (np.float64(x[i]) - out[MEAN]) ** 2


@compiled
def spread(x: Float32, out: Float64) -> None:
    """Write the spread (8 values, see `totals`) of a stretch of float32 values."""
    total, absolute, nonzero, low, high = _sums(x)
    count = np.float64(x.size)
    centre = np.float32(total / np.float32(count))
    rest, squares = _deviations(x, centre)
    too_small = absolute > 0 and squares < count * TINY
    if not np.isfinite(absolute) or not np.isfinite(squares) or too_small:
        _careful_spread(x, out)
        return
    out[FINITE] = count
    out[NONFINITE] = 0
    out[NONZERO] = nonzero
    out[L1] = absolute
    out[MEAN] = np.float64(centre) + np.float64(rest) / count
    out[SQUARES] = max(np.float64(squares) - np.float64(rest) ** 2 / count, 0.0)
    out[MINIMUM] = low
    out[MAXIMUM] = high


@vectorised
def _changes(after: Float32, before: Float32) -> tuple[Any, ...]:
    absolute, squares, old, old_squares = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = np.int32(0)
    for i in range(after.size):
        x = before[i]
        change = abs(after[i] - x)
        size = abs(x)
        absolute += change
        squares += change * change
        old += size
        old_squares += size * size
        a0 = np.int32(a0 + np.int32(change > size))
        a1 = np.int32(a1 + np.int32(change > size * np.float32(1e-1)))
        a2 = np.int32(a2 + np.int32(change > size * np.float32(1e-2)))
        a3 = np.int32(a3 + np.int32(change > size * np.float32(1e-3)))
        a4 = np.int32(a4 + np.int32(change > size * np.float32(1e-4)))
        a5 = np.int32(a5 + np.int32(change > size * np.float32(1e-5)))
        a6 = np.int32(a6 + np.int32(change > size * np.float32(1e-6)))
    return absolute, squares, old, old_squares, a0, a1, a2, a3, a4, a5, a6


@compiled
def _careful_change(after: Float32, before: Float32, out: Float64) -> None:
    for i in range(after.size):
        x, y = np.float64(before[i]), np.float64(after[i])
        if np.isfinite(x) and np.isfinite(y):
            change = abs(y - x)
            out[PAIRS] += 1
            out[CHANGE_L1] += change
            out[CHANGE_SQUARES] += change * change
            out[BEFORE_L1] += abs(x)
            out[BEFORE_SQUARES] += x * x
            for exponent in range(7):
                out[ABOVE + exponent] += change > abs(x) * 10.0**-exponent


@compiled
def add_change(after: Float32, before: Float32, out: Float64) -> None:
    """Add what changed between two stretches to the change columns of a row (see `totals`).

    Pairs with a NaN or Inf on either side are left out. A weight that leaves zero counts as changed above every
    threshold.
    """
    absolute, squares, old, old_squares, a0, a1, a2, a3, a4, a5, a6 = _changes(after, before)
    count = np.float64(after.size)
    overflow = not np.isfinite(squares + old_squares)
    underflow = (absolute > 0 and squares < count * TINY) or (old > 0 and old_squares < count * TINY)
    if overflow or underflow:
        _careful_change(after, before, out)
        return
    out[PAIRS] += count
    out[CHANGE_L1] += absolute
    out[CHANGE_SQUARES] += squares
    out[BEFORE_L1] += old
    out[BEFORE_SQUARES] += old_squares
    out[ABOVE] += a0
    out[ABOVE + 1] += a1
    out[ABOVE + 2] += a2
    out[ABOVE + 3] += a3
    out[ABOVE + 4] += a4
    out[ABOVE + 5] += a5
    out[ABOVE + 6] += a6


@compiled
def _measure_tensor(values: Float32, out: Float64, part: Float64) -> None:
    if values.size <= STRETCH:
        spread(values, out)
        return
    clear(out)
    for start in range(0, values.size, STRETCH):
        spread(values[start : start + STRETCH], part)
        merge(out, part)


@compiled
def _measure_change(weight: Float32, before: Float32, keep: bool, row: Float64) -> None:
    row[PAIRS:_LAST_CHANGE] = 0.0
    for start in range(0, weight.size, STRETCH):
        new, old = weight[start : start + STRETCH], before[start : start + STRETCH]
        add_change(new, old, row)
        if keep:
            old[:] = new


@compiled
def measure(
    weights: Addresses,
    gradients: Addresses,
    before: Addresses,
    rows: Counts,
    lengths: Counts,
    keep: bool,
    row_table: Float64,
    layer_table: Float64,
) -> None:
    """Measure every layer: fill one row per filter and one per layer with the columns of `totals`.

    `weights`, `gradients` (0: none) and `before` are addresses of contiguous float32 values, `rows` x `lengths` of
    them for each layer. With `keep`, `before` becomes a copy of the weights in the same pass.
    `row_table` is float64 (all rows, FILTER_COLUMNS), `layer_table` float64 (layer, at least FILTER_COLUMNS).
    """
    part = np.empty(GRADIENT, np.float64)
    number = 0
    for layer in range(weights.size):
        length = lengths[layer]
        size = rows[layer] * length
        weight = floats_at(weights[layer], size)
        old = floats_at(before[layer], size)
        gradient = weight[:0]
        if gradients[layer]:
            gradient = floats_at(gradients[layer], size)
        total = layer_table[layer, :FILTER_COLUMNS]
        clear(total[:GRADIENT])
        clear(total[GRADIENT : 2 * GRADIENT])
        total[PAIRS:_LAST_CHANGE] = 0.0
        for index in range(rows[layer]):
            first, last = index * length, (index + 1) * length
            row = row_table[number]
            _measure_tensor(weight[first:last], row[:GRADIENT], part)
            merge(total[:GRADIENT], row[:GRADIENT])
            if gradient.size:
                _measure_tensor(gradient[first:last], row[GRADIENT : 2 * GRADIENT], part)
                merge(total[GRADIENT : 2 * GRADIENT], row[GRADIENT : 2 * GRADIENT])
            else:
                clear(row[GRADIENT : 2 * GRADIENT])
            _measure_change(weight[first:last], old[first:last], keep, row)
            total[PAIRS:_LAST_CHANGE] += row[PAIRS:_LAST_CHANGE]
            number += 1
