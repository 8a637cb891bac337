"""The learning rate of a growing run, and where it takes a step: there, what was normal before says little."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP = 1.2
"""Factor between the largest and the smallest rate of a span that makes it a landmark; slow schedules stay below."""
PREFIX = "learning_rate"


class HasScalars(Protocol):
    """A run, as far as its scalars go."""

    @property
    def scalars(self) -> xr.Dataset:
        """One variable per scalar over `iteration`."""
        ...


class LearningRateTrack:
    """Reads the first learning rate of a run, only what is new at each `update`; 1 where a run logs none."""

    def __init__(self) -> None:
        self._iterations, self._rates = np.zeros(0, np.int64), np.zeros(0)  # with room for more
        self._known = self._read = 0

    @property
    def _iteration(self) -> Ints:
        return self._iterations[: self._known]

    @property
    def _rate(self) -> Floats:
        return self._rates[: self._known]

    def update(self, run: HasScalars) -> None:
        """Read what is new."""
        scalars = run.scalars
        names = [str(name) for name in scalars.data_vars if str(name).startswith(PREFIX)]
        records = scalars.sizes.get("iteration", 0)
        if not names or records <= self._read:
            return
        part = scalars[names[0]].isel(iteration=slice(self._read, records))
        rate = np.asarray(part.values, np.float64)
        known = np.isfinite(rate)
        start, self._known, self._read = self._known, self._known + int(known.sum()), records
        if self._known > len(self._rates):
            room = max(2 * len(self._rates), self._known)
            self._iterations, self._rates = np.resize(self._iterations, room), np.resize(self._rates, room)
        self._iterations[start : self._known] = np.asarray(part["iteration"].values, np.int64)[known]
        self._rates[start : self._known] = rate[known]

    @property
    def stop(self) -> int:
        """One past the last iteration whose rate is known; what lies later cannot be judged yet."""
        return int(self._iteration[-1]) + 1 if len(self._iteration) else np.iinfo(np.int64).max

    def of_spans(self, start: Ints, stop: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return the mean rate in spans of iterations [start, stop), and whether each holds a landmark.

        A span is compared with the rate right before it too, so a step between two spans is one of the second.
        """
        if len(self._rate) == 0 or len(start) == 0:
            return np.ones(len(start)), np.zeros(len(start), np.bool_)
        last = np.maximum(np.searchsorted(self._iteration, stop, "left"), 1)
        first = np.minimum(np.searchsorted(self._iteration, start, "left"), last - 1)
        before = np.maximum(first - 1, 0)
        edges = np.column_stack([first, last]).ravel()
        # Only what the spans hold, and a value at the end for the last of them to stop at.
        begin, end = int(before[0]), int(last[-1])
        part, edges = np.append(self._rate[begin:end], 0.0), edges - begin
        sums = np.add.reduceat(part, edges)[::2]
        edges = np.column_stack([before, last]).ravel() - begin
        part[-1] = np.inf
        low = np.minimum.reduceat(part, edges)[::2]
        part[-1] = -np.inf
        high = np.maximum.reduceat(part, edges)[::2]
        return sums / (last - first), high > low * STEP
