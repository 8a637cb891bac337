"""Series that are exactly zero for longer than their own past explains.

A filter behind a ReLU has a gradient of exactly zero whenever no input of the batch excites it, and some stay so for
long. So a fixed number of zeros says little: a run of n zeros is unusual when p00^n is below the risk, p00 being the
series' own rate of staying at zero once it is there (with one stay in two moves as the prior).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ZeroRun:
    """A run of zeros of a series: its records [start, stop), and the record at which it became unusual."""

    series: int
    start: int
    noticed: int
    stop: int


class ZeroRuns:
    """The state of a scan; `layer` (series,) are owners, side by side. Where all series of one are 0, none counts."""

    def __init__(self, layer: npt.NDArray[Any], risk: float) -> None:
        series = len(layer)
        self.records = 0
        self._edges = np.append(np.flatnonzero(np.diff(layer, prepend=-1)), series).astype(np.int64)
        self._risk = np.log(risk)
        self._stays = np.tile(np.array([1.0, 2.0]), (series, 1))
        self._run = np.zeros(series, np.int64)
        self._noticed = np.full(series, -1, np.int64)
        self._done: list[ZeroRun] = []

    def advance(self, values: npt.NDArray[np.floating[Any]]) -> None:
        """Take the next records, (records, series); NaN is no record."""
        # A run of a length that no p00 <= 1/2 needs costs nothing: only ends of noticed runs are kept.
        room = values.shape[1] * 2 + 1024
        at = 0
        while at < len(values):
            ended = np.empty((room, 4), np.int64)
            stop, count = _scan(
                values, at, self.records, self._edges, self._risk, self._stays, self._run, self._noticed, ended
            )
            self._done += [ZeroRun(*map(int, row)) for row in ended[:count]]
            at = stop
        self.records += len(values)

    def found(self) -> list[ZeroRun]:
        """Return the unusual runs so far; those that still last end with the last record."""
        open_ = np.flatnonzero(self._noticed >= 0)
        lasting = [
            ZeroRun(int(one), self.records - int(self._run[one]), int(self._noticed[one]), self.records)
            for one in open_
        ]
        return sorted([*self._done, *lasting], key=lambda run: (run.start, run.series))


@numba.njit(cache=True)
def _scan(values, at, before, edges, risk, stays, run, noticed, ended):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the record reached, and how many runs ended; stops early when `ended` may not hold another record's."""
    count = 0
    for record in range(at, values.shape[0]):
        if count + values.shape[1] > ended.shape[0]:
            return record, count
        for owner in range(edges.size - 1):
            dead = True
            for one in range(edges[owner], edges[owner + 1]):
                if values[record, one] != 0:
                    dead = False
                    break
            for one in range(edges[owner], edges[owner + 1]):
                value = values[record, one]
                if value == 0 and not dead:
                    run[one] += 1
                    if noticed[one] < 0 and run[one] * np.log(stays[one, 0] / stays[one, 1]) < risk:
                        noticed[one] = before + record
                elif run[one] > 0 and value == value:
                    stays[one, 0] += run[one] - 1
                    stays[one, 1] += run[one]
                    if noticed[one] >= 0:
                        ended[count, 0] = one
                        ended[count, 1] = before + record - run[one]
                        ended[count, 2] = noticed[one]
                        ended[count, 3] = before + record
                        count += 1
                        noticed[one] = -1
                    run[one] = 0
    return values.shape[0], count
