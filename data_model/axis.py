"""The iteration axis of a family: which iteration each record stands for, kept as runs of constant interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import RecordingError

Iterations = NDArray[np.int64]


class IterationAxis:
    """Maps records to iterations and back, in memory proportional to the changes of interval, not to the records.

    A record stands for the iterations from its own up to the next record's; the last one for as many as the interval
    it was recorded with. So records cover the axis without a gap, also where a step was skipped.
    """

    def __init__(self, segments: Sequence[Sequence[int]] = (), records: int = 0) -> None:
        """Take segments of (first record, first iteration, interval), in order, and the number of records."""
        self._segments = [(int(record), int(iteration), int(interval)) for record, iteration, interval in segments]
        self.records = records
        self._cached: Iterations | None = None

    @classmethod
    def from_iterations(cls, iterations: Iterations, interval: int = 1) -> IterationAxis:
        """Build the axis of strictly increasing iterations; the last record stands for `interval` iterations."""
        axis = cls()
        if len(iterations):
            steps = np.append(np.diff(iterations), interval)
            starts = np.flatnonzero(np.append(True, steps[1:] != steps[:-1]))
            for start, stop in zip(starts, np.append(starts[1:], len(iterations)), strict=True):
                axis.extend(iterations[start:stop], int(steps[start]))
        return axis

    def to_json(self) -> list[list[int]]:
        """Return the segments as plain JSON values."""
        return [list(segment) for segment in self._segments]

    def extend(self, iterations: Iterations, interval: int) -> None:
        """Append records at strictly increasing iterations, each standing for `interval` iterations."""
        if not len(iterations):
            return
        if interval < 1:
            raise RecordingError(f"The interval between records was {interval}; it must be 1 or more.")
        before, after = np.append(self.last, iterations[:-1]), iterations
        if np.any(after <= before):
            where = int(np.argmax(after <= before))
            raise RecordingError(
                f"Iteration {after[where]} follows iteration {before[where]}; iterations must increase strictly."
            )
        expected = np.append(self._next(interval), iterations[:-1] + interval)
        for start in np.flatnonzero(iterations != expected):
            self._segments.append((self.records + int(start), int(iterations[start]), interval))
        self.records += len(iterations)
        self._cached = None

    def check(self) -> None:
        """Raise ValueError where the segments are no strictly increasing axis."""
        table = self._table()
        records, starts, intervals = table.T
        lasts = starts[:-1] + (np.diff(records) - 1) * intervals[:-1]
        disordered = np.any(np.diff(records) < 1) or np.any(starts[1:] <= lasts) or np.any(intervals < 1)
        wrong = self.records < 0 or bool(self.records) != bool(len(table)) or np.any(starts < 0)
        if wrong or disordered or (len(table) and (records[0] != 0 or records[-1] >= self.records)):
            raise ValueError(f"no axis of iterations: {self.records} records in segments {table.tolist()[:4]}")

    def truncate(self, records: int) -> None:
        """Forget all records from number `records` on."""
        self._segments = [segment for segment in self._segments if segment[0] < records]
        self.records = min(self.records, records)
        self._cached = None

    @property
    def last(self) -> int:
        """The last record's iteration; -1 when there is none."""
        return int(self.iterations(self.records - 1, self.records)[0]) if self.records else -1

    @property
    def stop(self) -> int:
        """One past the last iteration that the records stand for; 0 when there is none."""
        return self.last + self._segments[-1][2] if self.records else 0

    def _next(self, interval: int) -> int:
        """Return the iteration that would continue the last segment, or -1 where nothing can."""
        return self.stop if self.records and self._segments[-1][2] == interval else -1

    def _table(self) -> Iterations:
        if self._cached is None:
            self._cached = np.array(self._segments, np.int64).reshape(-1, 3)
        return self._cached

    def iterations(self, first: int, stop: int, step: int = 1) -> Iterations:
        """Return the iterations of records first, first + step, ... below stop, (n,) int64."""
        if stop <= first:
            return np.empty(0, np.int64)
        table = self._table()
        begin, end = (int(np.searchsorted(table[:, 0], one, side="right")) - 1 for one in (first, stop - 1))
        if begin == end:  # most runs have one segment: a rule that follows one asks for all of it again and again
            number, start, interval = table[begin].tolist()
            return np.asarray(np.arange(first - number, stop - number, step, dtype=np.int64) * interval + start)
        records = np.arange(first, stop, step, dtype=np.int64)
        segment = np.searchsorted(table[:, 0], records, side="right") - 1
        found: Iterations = table[segment, 1] + (records - table[segment, 0]) * table[segment, 2]
        return found

    def bounds(self, records: NDArray[np.int64]) -> Iterations:
        """Return where each record starts, for records 0..n inclusive: record n starts where n - 1 ends."""
        inside = np.minimum(records, max(0, self.records - 1))
        table = self._table()
        if not len(table):
            return np.zeros(len(records), np.int64)
        segment = np.searchsorted(table[:, 0], inside, side="right") - 1
        starts = table[segment, 1] + (inside - table[segment, 0]) * table[segment, 2]
        return np.where(records >= self.records, self.stop, starts)

    def record_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the records [first, last) that stand for any iteration of [start, stop)."""
        if stop <= start:
            return (0, 0)
        return (
            max(0, self.count_before(start + 1) - 1) if start < self.stop else self.records,
            self.count_before(stop),
        )

    def count_before(self, iteration: int) -> int:
        """Return how many records have an iteration below the given one."""
        table = self._table()
        segment = int(np.searchsorted(table[:, 1], iteration, side="left")) - 1
        if segment < 0:
            return 0
        record, first, interval = (int(value) for value in table[segment])
        stop = int(table[segment + 1, 0]) if segment + 1 < len(table) else self.records
        return min(stop, record + -(-(iteration - first) // interval))
