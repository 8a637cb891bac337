"""Preallocated rows for a stretch of training: filled by the training thread, written out by the background thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import recorded
from deeptracker.tracker.statistics import FILTER_ENTRIES, LAYER_ENTRIES, derive
from deeptracker.tracker.totals import FILTER_COLUMNS, LAYER_COLUMNS, Float64

if TYPE_CHECKING:
    from deeptracker.data_model.writer import RunWriter

_BYTES = 8 << 20
_LONGEST = 1024


class Block:
    """Scalars, layers and filters of up to 1024 iterations, in at most about 8 MB for each family."""

    def __init__(self, layers: int, filters: int) -> None:
        """Allocate for a network of that many layers and filters; nothing is allocated later but for new scalars."""
        layer_rows = _capacity(layers * LAYER_COLUMNS * 8)
        filter_rows = _capacity(filters * FILTER_COLUMNS * 8)
        self._iterations = np.empty(_LONGEST, np.int64)
        self._scalars: dict[str, NDArray[np.float64]] = {}
        self._layer_iterations = np.empty(layer_rows, np.int64)
        self._layer_intervals = np.empty(layer_rows, np.int64)
        self._layers = np.empty((layer_rows, layers, LAYER_COLUMNS), np.float64)
        self._filter_iterations = np.empty(filter_rows, np.int64)
        self._filter_intervals = np.empty(filter_rows, np.int64)
        self._filters = np.empty((filter_rows, filters, FILTER_COLUMNS), np.float64)
        self.rows = self._layer_count = self._filter_count = 0

    @property
    def full(self) -> bool:
        """Whether one of the families has no room for another row."""
        return (
            self.rows == _LONGEST or self._layer_count == len(self._layers) or self._filter_count == len(self._filters)
        )

    def add_layers(self, iteration: int, interval: int, table: Float64) -> None:
        """Keep what the kernel measured: float64 (layer, column of `totals`)."""
        self._layers[self._layer_count] = table
        self._layer_iterations[self._layer_count] = iteration
        self._layer_intervals[self._layer_count] = interval
        self._layer_count += 1

    def add_filters(self, iteration: int, interval: int, fill: Callable[[Float64], None]) -> None:
        """Keep what the kernel measured of the filters: `fill` writes float64 (filter, column of `totals`)."""
        fill(self._filters[self._filter_count])
        self._filter_iterations[self._filter_count] = iteration
        self._filter_intervals[self._filter_count] = interval
        self._filter_count += 1

    def add_scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Keep the scalars of an iteration; names that are not in `values` stay missing. Called last of the three."""
        row = self.rows
        for name, value in values.items():
            if name not in self._scalars:
                self._scalars[name] = np.full(_LONGEST, np.nan)
            self._scalars[name][row] = recorded(np.array([value]))[0] if value != value else value
        self._iterations[row] = iteration
        self.rows = row + 1

    def write(self, writer: RunWriter) -> None:
        """Append everything to the run; the statistics are derived here, off the training thread."""
        iterations = self._iterations[: self.rows]
        writer.append_scalars(iterations, {name: values[: self.rows] for name, values in self._scalars.items()})
        for first, last in _stretches(self._layer_intervals[: self._layer_count]):
            values = derive(LAYER_ENTRIES, self._layers[first:last])
            writer.append_layers(self._layer_iterations[first:last], values, int(self._layer_intervals[first]))
        for first, last in _stretches(self._filter_intervals[: self._filter_count]):
            values = derive(FILTER_ENTRIES, self._filters[first:last])
            writer.append_filters(self._filter_iterations[first:last], values, int(self._filter_intervals[first]))

    def clear(self) -> None:
        """Make room again."""
        for values in self._scalars.values():
            values[: self.rows] = np.nan
        self.rows = self._layer_count = self._filter_count = 0


def _capacity(row_bytes: int) -> int:
    return max(1, min(_LONGEST, _BYTES // max(row_bytes, 1)))


def _stretches(intervals: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the [first, last) rows of each stretch of one interval: the writer takes one interval at a time."""
    stretches, first = [], 0
    for _, group in groupby(intervals.tolist()):
        last = first + sum(1 for _ in group)
        stretches.append((first, last))
        first = last
    return stretches
