"""Preallocated rows for a stretch of training: filled by the training thread, written out by the background thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import narrowed, recorded
from deeptracker.tracker.contents import Contents
from deeptracker.tracker.statistics import derive
from deeptracker.tracker.totals import Float64

if TYPE_CHECKING:
    from deeptracker.data_model.writer import RunWriter

Append = Callable[[NDArray[np.int64], NDArray[np.float32], int], None]

_BYTES = 8 << 20
_LONGEST = 1024


class _Rows:
    """Preallocated rows of one family, each with its iteration and the interval it was recorded with."""

    def __init__(self, *shape: int) -> None:
        capacity = max(1, min(_LONGEST, _BYTES // max(8 * math.prod(shape), 1)))
        self._iterations = np.empty(capacity, np.int64)
        self._intervals = np.empty(capacity, np.int64)
        self._values = np.empty((capacity, *shape), np.float64)
        self._count = 0
        self._upcoming: Float64 | None = None

    @property
    def full(self) -> bool:
        return self._count == len(self._values)

    @property
    def upcoming(self) -> Float64 | None:
        """The row that is added next, to be filled before; None where there is no room."""
        if self._upcoming is None and not self.full:
            self._upcoming = self._values[self._count]
        return self._upcoming

    def add(self, iteration: int, interval: int, values: Float64) -> None:
        """Add a row: the upcoming one, which is there already, or a copy."""
        row = self._count
        if values is not self._upcoming:
            self._values[row] = values
        self._iterations[row], self._intervals[row] = iteration, interval
        self._count, self._upcoming = row + 1, None

    def write(self, append: Append, finish: Callable[[Float64], NDArray[np.float32]]) -> None:
        """Append everything, one stretch of constant interval after the other: so the writer takes it."""
        first = 0
        for interval, group in groupby(self._intervals[: self._count].tolist()):
            last = first + sum(1 for _ in group)
            append(self._iterations[first:last], finish(self._values[first:last]), interval)
            first = last

    def clear(self) -> None:
        self._count, self._upcoming = 0, None


class Block:
    """Scalars and rows of each family of up to 1024 iterations, in at most about 8 MB for each family."""

    def __init__(self, contents: Contents) -> None:
        """Allocate for what is recorded; nothing is allocated later but for new scalars."""
        self._contents = contents
        self._iterations = np.empty(_LONGEST, np.int64)
        self._scalars: dict[str, NDArray[np.float64]] = {}
        self._layers = _Rows(len(contents.layers), contents.layer_columns)
        self._filters = _Rows(contents.filters, contents.filter_columns)
        self._activations = _Rows(len(contents.activations), len(contents.layers))
        self.rows = 0

    @property
    def full(self) -> bool:
        """Whether one of the families has no room for another row."""
        return self.rows == _LONGEST or self._layers.full or self._filters.full or self._activations.full

    @property
    def upcoming_layers(self) -> Float64 | None:
        """Where the layers may be measured to, float64 (layer, column), before they are added; None without room."""
        return self._layers.upcoming

    @property
    def upcoming_filters(self) -> Float64 | None:
        """Where the filters may be measured to, float64 (filter, column), before they are added; None without room."""
        return self._filters.upcoming

    def add_layers(self, iteration: int, interval: int, table: Float64) -> None:
        """Keep what the kernel measured: float64 (layer, column of `totals`)."""
        self._layers.add(iteration, interval, table)

    def add_filters(self, iteration: int, interval: int, table: Float64) -> None:
        """Keep what the kernel measured of the filters: float64 (filter, column of `totals`)."""
        self._filters.add(iteration, interval, table)

    def add_activations(self, iteration: int, interval: int, values: Float64) -> None:
        """Keep what was seen of the layers' outputs: float64 (statistic, layer)."""
        self._activations.add(iteration, interval, values)

    def add_scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Keep the scalars of an iteration; names that are not in `values` stay missing. Called last of all."""
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
        self._layers.write(writer.append_layers, partial(derive, self._contents.layer_entries))
        self._filters.write(writer.append_filters, partial(derive, self._contents.filter_entries))
        self._activations.write(writer.append_activations, narrowed)

    def clear(self) -> None:
        """Make room again."""
        for values in self._scalars.values():
            values[: self.rows] = np.nan
        for rows in (self._layers, self._filters, self._activations):
            rows.clear()
        self.rows = 0
