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
def _gather(addresses: Addresses, sizes: Counts, indices: NDArray[np.int64], offsets: Counts, out: Float32) -> None:
    """Copy the sampled values of every tensor to its row; NaN where there is no finite value."""
    for number in range(addresses.size):
        first, last = offsets[number], offsets[number + 1]
        out[first:last] = np.nan
        if addresses[number]:
            values = floats_at(addresses[number], sizes[number])
            for position in range(first, last):
                index = indices[position]
                if index >= 0 and np.isfinite(values[index]):
                    out[position] = values[index]


@compiled
def _quantiles(rows: Float32, out: Float64) -> None:
    """Write the three quartiles of each sorted row (NaN last), interpolated linearly between neighbours."""
    for number in range(rows.shape[0]):
        row = rows[number]
        count = row.size
        while count and np.isnan(row[count - 1]):
            count -= 1
        for quarter in range(3):
            if count == 0:
                out[number, quarter] = np.nan
                continue
            position = (quarter + 1) * 0.25 * (count - 1)
            below = int(position)
            above = min(below + 1, count - 1)
            low, high = np.float64(row[below]), np.float64(row[above])
            out[number, quarter] = low + (high - low) * (position - below)


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
        self._indices = np.full(self._offsets[-1], -1, np.int64)
        for first, size in zip(self._offsets[:-1], self._sizes, strict=True):
            chosen = np.sort(random.choice(size, SAMPLE, replace=False)) if size > SAMPLE else np.arange(size)
            self._indices[first : first + len(chosen)] = chosen
        self._values = np.empty(self._offsets[-1], np.float32)
        self._sorted = np.empty((len(sizes), 3), np.float64)
        self._groups = self._group(ordered)

    def _group(self, ordered: Counts) -> list[tuple[Float32, Float64]]:
        """Return, per width, the samples as a matrix (tensor, width) and where their quartiles go."""
        groups = []
        for width in np.unique(ordered):
            first, last = np.searchsorted(ordered, [width, width + 1])
            samples = self._values[self._offsets[first] : self._offsets[last]].reshape(last - first, width)
            groups.append((samples, self._sorted[first:last]))
        return groups

    def measure(self, addresses: Addresses, out: Float64) -> None:
        """Write q1, median and q3 of every tensor's finite values to `out`, float64 (tensor, 3); 0 means no tensor."""
        _gather(addresses[self._order], self._sizes, self._indices, self._offsets, self._values)
        for samples, quartiles in self._groups:
            samples.sort(axis=1)
            _quantiles(samples, quartiles)
        out[self._order] = self._sorted
