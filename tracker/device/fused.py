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
def _spread(x, inside, out):
    finite = inside & (x - x == 0)
    known = tl.where(finite, x, 0.0).to(tl.float64)
    count = tl.sum(finite.to(tl.int32), axis=0)
    mean = tl.sum(known, axis=0) / tl.maximum(count, 1)
    apart = tl.where(finite, known - mean, 0.0)
    tl.store(out + _FINITE, count.to(tl.float64))
    tl.store(out + _NONFINITE, (tl.sum(inside.to(tl.int32), axis=0) - count).to(tl.float64))
    tl.store(out + _NONZERO, tl.sum((known != 0).to(tl.int32), axis=0).to(tl.float64))
    tl.store(out + _MEAN, mean)
    tl.store(out + _SQUARES, tl.sum(apart * apart, axis=0))
    tl.store(out + _L1, tl.sum(tl.abs(known), axis=0))
    tl.store(out + _MINIMUM, tl.min(tl.where(finite, x, float("inf")), axis=0).to(tl.float64))
    tl.store(out + _MAXIMUM, tl.max(tl.where(finite, x, float("-inf")), axis=0).to(tl.float64))
    return known


@triton.jit
def _above(change, size, share: tl.constexpr, out):
    tl.store(out, tl.sum((change > size * share).to(tl.int32), axis=0).to(tl.float64))


@triton.jit
def measure_pieces(
    weights,
    gradients,
    before,
    pieces,
    layer_of,
    starts,
    lengths,
    out,
    KEEP: tl.constexpr,  # noqa: N803 - constants of a Triton kernel are written in capitals.
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Fill one row of `totals` per piece; `weights`, `gradients` (0: none) and `before` are addresses by layer.

    `pieces` are the numbers of the pieces to measure, none longer than BLOCK. With KEEP the weights before the step
    become those of now.
    """
    piece = tl.load(pieces + tl.program_id(0))
    layer = tl.load(layer_of + piece)
    start = tl.load(starts + piece)
    within = tl.arange(0, BLOCK)
    length = tl.load(lengths + piece)
    inside = within < length
    place = start + within
    row = out + piece * _COLUMNS

    weight = tl.load(weights + layer).to(tl.pointer_type(tl.float32))
    value = tl.load(weight + place, mask=inside, other=0.0)
    wide = _spread(value, inside, row)

    address = tl.load(gradients + layer)
    sloped = within < tl.where(address != 0, length, 0)
    slope = tl.load(address.to(tl.pointer_type(tl.float32)) + place, mask=sloped, other=0.0)
    _spread(slope, sloped, row + _GRADIENT)

    memory = tl.load(before + layer).to(tl.pointer_type(tl.float32))
    old = tl.load(memory + place, mask=inside, other=0.0)
    pair = inside & (value - value == 0) & (old - old == 0)
    change = tl.where(pair, tl.abs(value - old), 0.0)
    known = tl.where(pair, old, 0.0)
    size = tl.abs(known)
    # To float64 as seldom as can be: devices are slow at it.
    wide_old = known.to(tl.float64)
    exact = tl.abs(tl.where(pair, wide, 0.0) - wide_old)
    exact_size = tl.abs(wide_old)
    tl.store(row + _PAIRS, tl.sum(pair.to(tl.int32), axis=0).to(tl.float64))
    tl.store(row + _CHANGE_L1, tl.sum(exact, axis=0))
    tl.store(row + _CHANGE_SQUARES, tl.sum(exact * exact, axis=0))
    tl.store(row + _BEFORE_L1, tl.sum(exact_size, axis=0))
    tl.store(row + _BEFORE_SQUARES, tl.sum(exact_size * exact_size, axis=0))
    _above(change, size, 1.0, row + _ABOVE)
    _above(change, size, 1e-1, row + _ABOVE + 1)
    _above(change, size, 1e-2, row + _ABOVE + 2)
    _above(change, size, 1e-3, row + _ABOVE + 3)
    _above(change, size, 1e-4, row + _ABOVE + 4)
    _above(change, size, 1e-5, row + _ABOVE + 5)
    _above(change, size, 1e-6, row + _ABOVE + 6)
    if KEEP:
        tl.store(memory + place, value, mask=inside)


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
