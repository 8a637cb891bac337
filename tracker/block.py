"""Preallocated rows for a stretch of training: filled by the training thread, written out by the background thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.missing import narrowed, recorded
from deeptracker.tracker.contents import Contents
from deeptracker.tracker.plan import Due, Intervals
from deeptracker.tracker.statistics import derive
from deeptracker.tracker.totals import INTERVAL, Float64

if TYPE_CHECKING:
    from deeptracker.data_model.writer import RunWriter

Append = Callable[[NDArray[np.int64], NDArray[np.float32], int], None]

_BYTES = 8 << 20
_LONGEST = 1024


class Taken(NamedTuple):
    """What is recorded of one step, beside the tables of layers and filters."""

    iteration: int
    due: Due
    intervals: Intervals
    activations: Float64 | None
    scalars: Mapping[str, float]


class _Rows:
    """Preallocated rows of one family, each with its iteration and the interval it was recorded with."""

    def __init__(self, *shape: int) -> None:
        self._capacity = max(1, min(_LONGEST, _BYTES // max(8 * math.prod(shape), 1)))
        self._values = np.empty((self._capacity, *shape), np.float64)
        # Iteration and interval of each row: a list takes them in a fraction of the time that arrays need.
        self._marks: list[tuple[int, int]] = []
        self.upcoming: Float64 | None = self._values[0]
        """The row that is added next, to be filled before; None where there is no room."""

    def add(self, iteration: int, interval: int, values: Float64) -> None:
        """Add a row: the upcoming one, which is there already, or a copy."""
        row = len(self._marks)
        if values is not self.upcoming:
            self._values[row] = values
        upcoming = self._values[row + 1] if row + 1 < self._capacity else None
        # No call among these: after one, a signal could get in.
        self._marks += ((iteration, interval),)
        self.upcoming = upcoming

    def write(self, append: Append, finish: Callable[[Float64, int], NDArray[np.float32]]) -> None:
        """Append everything, one stretch of constant interval after the other: so the writer takes it."""
        first = 0
        for interval, group in groupby(self._marks, itemgetter(1)):
            iterations = np.array([iteration for iteration, _ in group], np.int64)
            last = first + len(iterations)
            append(iterations, finish(self._values[first:last], interval), interval)
            first = last

    def clear(self) -> None:
        self._marks = []
        self.upcoming = self._values[0]


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
        without_room = self._layers.upcoming is None or self._filters.upcoming is None
        return without_room or self._activations.upcoming is None or self.rows == _LONGEST

    @property
    def upcoming(self) -> tuple[Float64 | None, Float64 | None]:
        """Where layers and filters may be measured to before they are added; None without room.

        Float64 (layer, column of `totals`), and (filter, column of `totals`).
        """
        return self._layers.upcoming, self._filters.upcoming

    def add(self, taken: Taken, table: Float64, rows: Float64) -> None:
        """Keep what was recorded of a step, with what the kernel measured.

        `table` is float64 (layer, column of `totals`), `rows` float64 (filter, column of `totals`); only what is due
        of them is looked at.
        """
        iteration, due, intervals, activations, scalars = taken
        if due.layers:
            self._layers.add(iteration, intervals.layers, table)
        if due.filters:
            self._filters.add(iteration, intervals.filters, rows)
        if activations is not None:
            self._activations.add(iteration, intervals.activations, activations)
        self._add_scalars(iteration, scalars)

    def _add_scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Keep the scalars of an iteration; names that are not in `values` stay missing. Called last of all."""
        row = self.rows
        for name, value in values.items():
            column = self._scalars.get(name)
            if column is None:
                column = self._scalars[name] = np.full(_LONGEST, np.nan)
            column[row] = value if value == value else recorded(np.array([value]))[0]
        self._iterations[row] = iteration
        self.rows = row + 1

    def write(self, writer: RunWriter) -> None:
        """Append everything to the run; the statistics are derived here, off the training thread."""
        iterations = self._iterations[: self.rows]
        writer.append_scalars(iterations, {name: values[: self.rows] for name, values in self._scalars.items()})
        self._layers.write(writer.append_layers, self._derive_layers)
        self._filters.write(writer.append_filters, lambda rows, _: derive(self._contents.filter_entries, rows))
        self._activations.write(writer.append_activations, lambda values, _: narrowed(values))

    def _derive_layers(self, tables: Float64, interval: int) -> NDArray[np.float32]:
        tables[..., INTERVAL] = interval
        return derive(self._contents.layer_entries, tables)

    def clear(self) -> None:
        """Make room again."""
        for values in self._scalars.values():
            values[: self.rows] = np.nan
        for rows in (self._layers, self._filters, self._activations):
            rows.clear()
        self.rows = 0
