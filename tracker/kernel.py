"""The fused kernel: one pass per filter over weight, gradient and previous weight of every layer.

It reads the tensors where they lie, by address, so that a step costs no copies and no allocation. Every value is
touched while it is in the CPU's first cache: `lanes` sums a stretch in float32 on the vector units; the sums of
stretches, filters and layers are put together in float64 (`stretches`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from deeptracker.tracker.compiled import (
    addresses_at,
    bits_at,
    compiled,
    doubles_at,
    floats_at,
    kept,
    source_stamp,
)
from deeptracker.tracker.lanes import SUM_GRADIENT, SUM_WEIGHT, SUMS, sum_stretch
from deeptracker.tracker.quartiles import Sampler, quartiles, sample
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

# Columns of `Places.table`: of the first row, and of every other one, which is a layer's.
GRADIENTS, INDICES, KEYS, GUESSES = range(4)
WEIGHT, BEFORE, LENGTH, SIZE, FIRST, COUNT = range(6)
_PLACES = 8

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
    def measure(places: Integers, layer_table: Float64, row_table: Float64, keep: bool, rowwise: bool) -> None:
        """Measure every layer: fill one row per layer with the columns of `totals`, and `rowwise` one per filter.

        `places` tells where everything lies, see `Places`. With `keep`, the previous weights become a copy of the
        weights in the same pass. `layer_table` is float64 (layer, at least FILTER_COLUMNS and the quartiles),
        `row_table` float64 (filter of all layers that have some, at least FILTER_COLUMNS).
        """
        _ = stamp
        working = np.empty(SUMS + GRADIENT + FILTER_COLUMNS, np.float64)
        work = doubles_at(working.ctypes.data)
        filters, totals = doubles_at(row_table.ctypes.data), doubles_at(layer_table.ctypes.data)
        indices, found = bits_at(places[0, INDICES]), bits_at(places[0, KEYS])
        starts, gradients = doubles_at(places[0, GUESSES]), addresses_at(places[0, GRADIENTS])
        at = 0
        for layer in range(len(places) - 1):
            here = places[layer + 1]
            length, size = here[LENGTH], here[SIZE]
            sloped = gradients[layer] != 0
            weight, before = floats_at(here[WEIGHT]), floats_at(here[BEFORE])
            slope = gradients[layer] if sloped else here[WEIGHT]
            gradient = floats_at(slope)
            total = layer * layer_table.shape[1]
            clear_row(totals, total)
            # Rows of what has no filters, or of which none are wanted, are measured aside.
            kept_rows = rowwise and length > 0
            step = length if kept_rows else size
            rows, row = (filters, at) if kept_rows else (work, SUMS + GRADIENT)
            for first in range(0, size, step):
                _measure_row(weight, gradient, before, sloped, keep, first, first + step, rows, row, work)
                merge(totals, total, rows, row)
                merge(totals, total + GRADIENT, rows, row + GRADIENT)
                for column in range(PAIRS, FILTER_COLUMNS):
                    totals[total + column] += rows[row + column]
                row += row_table.shape[1]
            at = row if kept_rows else at
            first, count = here[FIRST], here[COUNT]
            for side in range(2):
                quarters = total + (GRADIENT_QUARTILES if side else WEIGHT_QUARTILES)
                values = bits_at(slope if side else here[WEIGHT])
                taken = sample(values, size if sloped or side == 0 else 0, indices, first, count, found)
                of = total + side * GRADIENT
                unit = totals[of + L1] / max(totals[of + FINITE], 1.0)
                quartiles(found, taken, unit, starts, 3 * (2 * layer + side), totals, quarters)

    return measure


class Places:
    """Where everything lies that the kernel reads, in one table: one line of the CPU's caches for each layer.

    `table` is int64 (1 + layer, 8): in the first row the addresses of the array of the gradients' addresses and of the
    sampler's arrays, in that of a layer the addresses of its weights and previous weights, contiguous float32, the
    number of values of a filter (0: it has none) and of the layer, and where its sample begins and how many it has.
    """

    def __init__(self, sizes: Integers, lengths: Integers, before: Sequence[int], sampler: Sampler) -> None:
        """Fill in all that stays; weights and gradients are set before each measurement."""
        self._sampler = sampler  # Held, for its addresses are.
        self._gradients: Integers = np.zeros(len(sizes), np.int64)
        self._write = Struct(f"={len(sizes)}q").pack_into
        self.table: Integers = np.zeros((1 + len(sizes), _PLACES), np.int64)
        arrays = (self._gradients, sampler.indices, sampler.keys, sampler.guesses)
        self.table[0, : len(arrays)] = [one.ctypes.data for one in arrays]
        layers = self.table[1:]
        layers[:, BEFORE], layers[:, LENGTH], layers[:, SIZE] = before, lengths, sizes
        layers[:, FIRST], layers[:, COUNT] = sampler.offsets[:-1], np.diff(sampler.offsets)

    def set_weights(self, addresses: Sequence[int]) -> None:
        """Take the addresses of the weights, one a layer."""
        self.table[1:, WEIGHT] = addresses

    def set_gradients(self, addresses: Sequence[int]) -> None:
        """Take the addresses of the gradients, one a layer (0: none): they are others at every step."""
        # numpy takes several times as long to turn a list of numbers into its own.
        self._write(self._gradients.data, 0, *addresses)


measure = kept(_versioned(source_stamp(*_COMPILED_FROM)))
