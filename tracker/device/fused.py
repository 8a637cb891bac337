"""The same statistics as in `plain`, by Triton: one program per piece of a row, and few launches a step.

Importing this module needs Triton. Programs read the layers' tensors where they lie, by address; sums are float64.
"""

from __future__ import annotations

import triton
import triton.language as tl

from deeptracker.tracker import totals

_FINITE = tl.constexpr(totals.FINITE)
_NONFINITE = tl.constexpr(totals.NONFINITE)
_NONZERO = tl.constexpr(totals.NONZERO)
_MEAN = tl.constexpr(totals.MEAN)
_SQUARES = tl.constexpr(totals.SQUARES)
_L1 = tl.constexpr(totals.L1)
_MINIMUM = tl.constexpr(totals.MINIMUM)
_MAXIMUM = tl.constexpr(totals.MAXIMUM)
_GRADIENT = tl.constexpr(totals.GRADIENT)
_PAIRS = tl.constexpr(totals.PAIRS)
_CHANGE_L1 = tl.constexpr(totals.CHANGE_L1)
_CHANGE_SQUARES = tl.constexpr(totals.CHANGE_SQUARES)
_BEFORE_L1 = tl.constexpr(totals.BEFORE_L1)
_BEFORE_SQUARES = tl.constexpr(totals.BEFORE_SQUARES)
_ABOVE = tl.constexpr(totals.ABOVE)
_COLUMNS = tl.constexpr(totals.FILTER_COLUMNS)
_NOWHERE = tl.constexpr(1 << 62)


@triton.jit
def _store_spread(out, inside, finite, nonzero, shift, apart, squares, l1, low, high):
    """Put together what a program's lanes have summed up of one tensor's values."""
    count = tl.sum(finite, axis=0)
    total = tl.sum(apart, axis=0)
    mean = total / tl.maximum(count, 1)
    tl.store(out + _FINITE, count.to(tl.float64))
    tl.store(out + _NONFINITE, (inside - count).to(tl.float64))
    tl.store(out + _NONZERO, tl.sum(nonzero, axis=0).to(tl.float64))
    tl.store(out + _MEAN, tl.where(count > 0, shift + mean, 0.0))
    tl.store(out + _SQUARES, tl.maximum(tl.sum(squares, axis=0) - total * mean, 0.0))
    tl.store(out + _L1, tl.sum(l1, axis=0))
    tl.store(out + _MINIMUM, tl.min(low, axis=0).to(tl.float64))
    tl.store(out + _MAXIMUM, tl.max(high, axis=0).to(tl.float64))


@triton.jit
def measure_pieces(
    weights,
    gradients,
    before,
    layer_of,
    starts,
    lengths,
    out,
    KEEP: tl.constexpr,  # noqa: N803 - constants of a Triton kernel are written in capitals.
    CHUNK: tl.constexpr,  # noqa: N803
):
    """Fill one row of `totals` per piece; `weights`, `gradients` (0: none) and `before` are addresses by layer.

    A piece is gone through by CHUNK values at a time. With KEEP the weights before the step become those of now.

    The squares are those of the distances from the first value, in float64: what cancels is below 1e-6 of them unless
    values lie 1e5 times as far from the first as from each other.
    """
    piece = tl.program_id(0)
    layer = tl.load(layer_of + piece)
    start = tl.load(starts + piece)
    length = tl.load(lengths + piece).to(tl.int32)
    row = out + piece.to(tl.int64) * _COLUMNS
    weight = tl.load(weights + layer).to(tl.pointer_type(tl.float32)) + start
    address = tl.load(gradients + layer)
    slopes = address.to(tl.pointer_type(tl.float32)) + start
    sloped = tl.where(address != 0, length, 0)
    memory = tl.load(before + layer).to(tl.pointer_type(tl.float32)) + start
    weight_first = tl.load(weight)
    weight_shift = tl.where(weight_first - weight_first == 0, weight_first, 0.0).to(tl.float64)
    slope_first = tl.load(slopes, mask=address != 0, other=0.0)
    slope_shift = tl.where(slope_first - slope_first == 0, slope_first, 0.0).to(tl.float64)

    lanes = tl.arange(0, CHUNK)
    none = tl.zeros((CHUNK,), tl.int32)
    zero = tl.zeros((CHUNK,), tl.float64)
    most = tl.full((CHUNK,), float("inf"), tl.float32)
    w_finite, w_nonzero, w_apart, w_squares, w_l1, w_low, w_high = none, none, zero, zero, zero, most, -most
    g_finite, g_nonzero, g_apart, g_squares, g_l1, g_low, g_high = none, none, zero, zero, zero, most, -most
    pairs, moved, moved_squares, old_l1, old_squares = none, zero, zero, zero, zero
    # Two counts in one number, of which a piece is too short to fill either half.
    above_0, above_12, above_34, above_56 = none, none, none, none
    for at in range(0, length, CHUNK):
        place = at + lanes
        inside = place < length
        value = tl.load(weight + place, mask=inside, other=0.0)
        finite = inside & (value - value == 0)
        known = tl.where(finite, value, 0.0)
        wide = known.to(tl.float64)
        apart = tl.where(finite, wide - weight_shift, 0.0)
        w_finite += finite.to(tl.int32)
        w_nonzero += (known != 0).to(tl.int32)
        w_apart += apart
        w_squares += apart * apart
        w_l1 += tl.abs(wide)
        w_low = tl.minimum(w_low, tl.where(finite, value, float("inf")))
        w_high = tl.maximum(w_high, tl.where(finite, value, float("-inf")))

        old = tl.load(memory + place, mask=inside, other=0.0)
        pair = finite & (old - old == 0)
        change = tl.where(pair, tl.abs(value - old), 0.0)
        old_known = tl.where(pair, old, 0.0)
        size = tl.abs(old_known)
        wide_old = old_known.to(tl.float64)
        exact = tl.where(pair, wide, 0.0) - wide_old
        pairs += pair.to(tl.int32)
        moved += tl.abs(exact)
        moved_squares += exact * exact
        old_l1 += tl.abs(wide_old)
        old_squares += wide_old * wide_old
        above_0 += (change > size).to(tl.int32)
        above_12 += (change > size * 1e-1).to(tl.int32) + ((change > size * 1e-2).to(tl.int32) << 16)
        above_34 += (change > size * 1e-3).to(tl.int32) + ((change > size * 1e-4).to(tl.int32) << 16)
        above_56 += (change > size * 1e-5).to(tl.int32) + ((change > size * 1e-6).to(tl.int32) << 16)
        if KEEP:
            tl.store(memory + place, value, mask=inside)

        slope_inside = place < sloped
        slope = tl.load(slopes + place, mask=slope_inside, other=0.0)
        slope_finite = slope_inside & (slope - slope == 0)
        slope_known = tl.where(slope_finite, slope, 0.0)
        slope_wide = slope_known.to(tl.float64)
        slope_apart = tl.where(slope_finite, slope_wide - slope_shift, 0.0)
        g_finite += slope_finite.to(tl.int32)
        g_nonzero += (slope_known != 0).to(tl.int32)
        g_apart += slope_apart
        g_squares += slope_apart * slope_apart
        g_l1 += tl.abs(slope_wide)
        g_low = tl.minimum(g_low, tl.where(slope_finite, slope, float("inf")))
        g_high = tl.maximum(g_high, tl.where(slope_finite, slope, float("-inf")))

    _store_spread(row, length, w_finite, w_nonzero, weight_shift, w_apart, w_squares, w_l1, w_low, w_high)
    _store_spread(row + _GRADIENT, sloped, g_finite, g_nonzero, slope_shift, g_apart, g_squares, g_l1, g_low, g_high)
    tl.store(row + _PAIRS, tl.sum(pairs, axis=0).to(tl.float64))
    tl.store(row + _CHANGE_L1, tl.sum(moved, axis=0))
    tl.store(row + _CHANGE_SQUARES, tl.sum(moved_squares, axis=0))
    tl.store(row + _BEFORE_L1, tl.sum(old_l1, axis=0))
    tl.store(row + _BEFORE_SQUARES, tl.sum(old_squares, axis=0))
    tl.store(row + _ABOVE, tl.sum(above_0, axis=0).to(tl.float64))
    _store_two(row + _ABOVE + 1, above_12)
    _store_two(row + _ABOVE + 3, above_34)
    _store_two(row + _ABOVE + 5, above_56)


@triton.jit
def _store_two(out, counts):
    """Store two counts that are kept in one number, of 16 bits each."""
    total = tl.sum(counts, axis=0)
    tl.store(out, (total & 0xFFFF).to(tl.float64))
    tl.store(out + 1, (total >> 16).to(tl.float64))


@triton.jit
def _total(table, first, last, column: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    total = tl.zeros((BLOCK,), tl.float64)
    for at in range(first, last, BLOCK):
        row = at + tl.arange(0, BLOCK)
        total += tl.load(table + row * _COLUMNS + column, mask=row < last, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def merge(table, begins, out, BLOCK: tl.constexpr):  # noqa: N803
    """Put rows of `totals` together: those from begins[i] to begins[i + 1] of `table` become row i of `out`."""
    number = tl.program_id(0)
    first = tl.load(begins + number)
    last = tl.load(begins + number + 1)
    row = out + number.to(tl.int64) * _COLUMNS
    for base in tl.static_range(0, 2 * _GRADIENT, _GRADIENT):
        count = _total(table, first, last, base + _FINITE, BLOCK)
        tl.store(row + base + _FINITE, count)
        tl.store(row + base + _NONFINITE, _total(table, first, last, base + _NONFINITE, BLOCK))
        tl.store(row + base + _NONZERO, _total(table, first, last, base + _NONZERO, BLOCK))
        tl.store(row + base + _L1, _total(table, first, last, base + _L1, BLOCK))
        weighted = tl.zeros((BLOCK,), tl.float64)
        low = tl.full((BLOCK,), float("inf"), tl.float64)
        high = tl.full((BLOCK,), float("-inf"), tl.float64)
        for at in range(first, last, BLOCK):
            here = at + tl.arange(0, BLOCK)
            source = table + here * _COLUMNS + base
            inside = here < last
            weighted += tl.load(source + _FINITE, mask=inside, other=0.0) * tl.load(
                source + _MEAN, mask=inside, other=0.0
            )
            low = tl.minimum(low, tl.load(source + _MINIMUM, mask=inside, other=float("inf")))
            high = tl.maximum(high, tl.load(source + _MAXIMUM, mask=inside, other=float("-inf")))
        mean = tl.sum(weighted, axis=0) / tl.maximum(count, 1.0)
        squares = tl.zeros((BLOCK,), tl.float64)
        for at in range(first, last, BLOCK):
            here = at + tl.arange(0, BLOCK)
            source = table + here * _COLUMNS + base
            inside = here < last
            apart = tl.load(source + _MEAN, mask=inside, other=0.0) - mean
            squares += tl.load(source + _SQUARES, mask=inside, other=0.0)
            squares += tl.load(source + _FINITE, mask=inside, other=0.0) * apart * apart
        tl.store(row + base + _MEAN, mean)
        tl.store(row + base + _SQUARES, tl.sum(squares, axis=0))
        tl.store(row + base + _MINIMUM, tl.min(low, axis=0))
        tl.store(row + base + _MAXIMUM, tl.max(high, axis=0))
    for column in tl.static_range(_PAIRS, _COLUMNS):
        tl.store(row + column, _total(table, first, last, column, BLOCK))


@triton.jit
def pick(addresses, samples, out, layers, BLOCK: tl.constexpr):  # noqa: N803
    """Write the sampled values of one tensor, Inf for all that is missing or not finite; weights, then gradients."""
    number = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    sample = tl.load(samples + (number % layers) * BLOCK + place)
    address = tl.load(addresses + number)
    there = sample >= tl.where(address != 0, 0, _NOWHERE)
    value = tl.load(address.to(tl.pointer_type(tl.float32)) + sample, mask=there, other=0.0)
    tl.store(out + number * BLOCK + place, tl.where(there & (value - value == 0), value, float("inf")))


@triton.jit
def interpolate(ordered, out, BLOCK: tl.constexpr):  # noqa: N803
    """Write the quartiles of ordered values, of which Inf are none; NaN where all are."""
    number = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    value = tl.load(ordered + number * BLOCK + place)
    finite = tl.sum((value < float("inf")).to(tl.int32), axis=0)
    known = tl.where(value < float("inf"), value, 0.0).to(tl.float64)
    for quarter in tl.static_range(3):
        position = (quarter + 1) * 0.25 * (finite - 1).to(tl.float64)
        rank = tl.maximum(position, 0.0).to(tl.int32)
        low = tl.sum(tl.where(place == rank, known, 0.0), axis=0)
        high = tl.sum(tl.where(place == tl.minimum(rank + 1, finite - 1), known, 0.0), axis=0)
        found = low + (high - low) * (position - rank)
        tl.store(out + number * 3 + quarter, tl.where(finite > 0, found, float("nan")))
