"""Quartiles from a fixed random sample of every tensor: exact for tensors of at most 1024 values.

A random sample, never a stride: strides meet the periods of convolution weights. The sample is the same at every
iteration, so that the quartiles of unchanged weights do not flicker; its rank error is about .014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeptracker.tracker.compiled import compiled, floats_at
from deeptracker.tracker.kernel import Addresses, Counts, Float32, Float64

SAMPLE = 1024


@compiled
def _gather(
    addresses: Addresses,
    order: Counts,
    sizes: Counts,
    counts: Counts,
    indices: NDArray[np.int64],
    offsets: Counts,
    out: Float32,
) -> None:
    """Copy the sampled values of every tensor, in the given order, to its row; NaN where there is no finite value."""
    for number in range(order.size):
        first, last = offsets[number], offsets[number + 1]
        address = addresses[order[number]]
        filled = first
        if address:
            values = floats_at(address, sizes[number])
            filled += counts[number]
            for position in range(first, filled):
                value = values[indices[position]]
                out[position] = value if np.isfinite(value) else np.nan
        out[filled:last] = np.nan


@compiled
def _quantiles(values: Float32, order: Counts, offsets: Counts, out: Float64) -> None:
    """Write the three quartiles of each sorted row (NaN last), interpolated linearly between neighbours."""
    for number in range(order.size):
        row = values[offsets[number] : offsets[number + 1]]
        count = row.size
        while count and np.isnan(row[count - 1]):
            count -= 1
        for quarter in range(3):
            if count == 0:
                out[order[number], quarter] = np.nan
                continue
            position = (quarter + 1) * 0.25 * (count - 1)
            below = int(position)
            above = min(below + 1, count - 1)
            low, high = np.float64(row[below]), np.float64(row[above])
            out[order[number], quarter] = low + (high - low) * (position - below)


class Quartiles:
    """Samples weights and gradients of tensors of the given sizes, always at the same places.

    Samples of similar length are sorted together: numpy sorts the rows of one matrix on the vector units.
    """

    def __init__(self, sizes: Counts, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        widths = 1 << np.ceil(np.log2(np.clip(sizes, 8, SAMPLE))).astype(np.int64)
        self._order = np.argsort(widths, kind="stable")
        ordered = widths[self._order]
        self._offsets = np.concatenate([[0], np.cumsum(ordered)]).astype(np.int64)
        self._sizes = sizes[self._order]
        self._counts = np.minimum(self._sizes, SAMPLE)
        self._indices = np.zeros(self._offsets[-1], np.int64)
        for first, size, count in zip(self._offsets[:-1], self._sizes, self._counts, strict=True):
            chosen = np.sort(random.choice(size, SAMPLE, replace=False)) if size > SAMPLE else np.arange(size)
            self._indices[first : first + count] = chosen
        self._values = np.empty(self._offsets[-1], np.float32)
        self._samples = [self._of_width(ordered, width) for width in np.unique(ordered)]

    def _of_width(self, ordered: Counts, width: int) -> Float32:
        """Return the samples of one width as a matrix (tensor, width) that shares the memory of all."""
        first, last = np.searchsorted(ordered, [width, width + 1])
        return self._values[self._offsets[first] : self._offsets[last]].reshape(last - first, width)

    def measure(self, addresses: Addresses, out: Float64) -> None:
        """Write q1, median and q3 of every tensor's finite values to `out`, float64 (tensor, 3); 0 means no tensor."""
        _gather(addresses, self._order, self._sizes, self._counts, self._indices, self._offsets, self._values)
        for samples in self._samples:
            samples.sort(axis=1)
        _quantiles(self._values, self._order, self._offsets, out)
