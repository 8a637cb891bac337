"""The fused kernel: one pass per filter over weight, gradient and previous weight of every layer.

It reads the tensors where they lie, by address, so that a step costs no copies and no allocation. Every value is
touched while it is in the CPU's first cache: `lanes` sums a stretch in float32 on the vector units; the sums of
stretches, filters and layers are put together in float64 (`stretches`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deeptracker.tracker.compiled import (
    bits_at,
    compiled,
    doubles_at,
    floats_at,
    kept,
    source_stamp,
)
from deeptracker.tracker.lanes import SUM_GRADIENT, SUM_WEIGHT, SUMS, sum_stretch
from deeptracker.tracker.quartiles import quartiles, sample
from deeptracker.tracker.stretches import Float32, Float64, add_change, clear_row, merge, spread
from deeptracker.tracker.totals import (
    FILTER_COLUMNS,
    FINITE,
    GRADIENT,
    GRADIENT_QUARTILES,
    L1,
    PAIRS,
    WEIGHT_QUARTILES,
)

STRETCH = 4096
"""Values summed in float32 before the sum goes on in float64: 3 x 16 kB stay in the first cache."""

_COMPILED_FROM = ("compiled", "kernel", "lanes", "quartiles", "stretches", "totals")

Integers = NDArray[np.int64]

# Pointers, and the places where a part begins and ends: see `stretches`.


@compiled
def _measure_row(
    weight: Float32,
    gradient: Float32,
    before: Float32,
    sloped: bool,
    keep: bool,
    first: int,
    last: int,
    out: Float64,
    at: int,
    work: Float64,
) -> None:
    """Measure one filter, stretch by stretch, into the columns of `totals`; without a gradient it is not `sloped`."""
    clear_row(out, at)
    for start in range(first, last, STRETCH):
        stop = min(start + STRETCH, last)
        sum_stretch(weight, gradient, before, start, stop - start, work)
        spread(weight, start, stop, work, SUM_WEIGHT, work, SUMS)
        merge(out, at, work, SUMS)
        if sloped:
            spread(gradient, start, stop, work, SUM_GRADIENT, work, SUMS)
            merge(out, at + GRADIENT, work, SUMS)
        add_change(weight, before, start, stop, work, out, at)
        if keep:
            for i in range(start, stop):
                before[i] = weight[i]


def _versioned(stamp: int) -> Callable[..., None]:
    def measure(
        addresses: NDArray[np.uint64],
        shapes: Integers,
        keep: bool,
        row_table: Float64,
        layer_table: Float64,
        offsets: Integers,
        indices: NDArray[np.int32],
        keys: NDArray[np.int32],
        guesses: Float64,
    ) -> None:
        """Measure every layer: fill one row per filter and one per layer with the columns of `totals`.

        `addresses` (3, layer) of contiguous float32 values: weights, gradients (0: none), previous weights; `shapes`
        (layer, 3): filters, values per filter, and the row of the first filter. With `keep`, the previous weights
        become a copy of the weights in the same pass. `row_table` is float64 (all filters, FILTER_COLUMNS),
        `layer_table` float64 (layer, at least FILTER_COLUMNS and the quartiles). The other four are the sampler's, see
        `quartiles`.
        """
        _ = stamp
        working = np.empty(SUMS + GRADIENT, np.float64)
        work = doubles_at(working.ctypes.data)
        filters, totals = doubles_at(row_table.ctypes.data), doubles_at(layer_table.ctypes.data)
        places, found, starts = (
            bits_at(indices.ctypes.data),
            bits_at(keys.ctypes.data),
            doubles_at(guesses.ctypes.data),
        )
        for layer in range(len(shapes)):
            rows, length, row = shapes[layer]
            sloped = addresses[1, layer] != 0
            weight, before = floats_at(addresses[0, layer]), floats_at(addresses[2, layer])
            gradient = floats_at(addresses[1 if sloped else 0, layer])
            total = layer * layer_table.shape[1]
            clear_row(totals, total)
            at = row * FILTER_COLUMNS
            for first in range(0, rows * length, length):
                _measure_row(weight, gradient, before, sloped, keep, first, first + length, filters, at, work)
                merge(totals, total, filters, at)
                merge(totals, total + GRADIENT, filters, at + GRADIENT)
                for column in range(PAIRS, FILTER_COLUMNS):
                    totals[total + column] += filters[at + column]
                at += FILTER_COLUMNS
            first, count, size = offsets[layer], offsets[layer + 1] - offsets[layer], rows * length
            for side in range(2):
                quarters = total + (GRADIENT_QUARTILES if side else WEIGHT_QUARTILES)
                values = bits_at(addresses[side, layer])
                taken = sample(values, size if addresses[side, layer] else 0, places, first, count, found)
                of = total + side * GRADIENT
                unit = totals[of + L1] / max(totals[of + FINITE], 1.0)
                quartiles(found, taken, unit, starts, 3 * (2 * layer + side), totals, quarters)

    return measure


measure = kept(_versioned(source_stamp(*_COMPILED_FROM)))
