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
        self._iteration, self._rate = np.zeros(0, np.int64), np.zeros(0)
        self._read = 0

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
        self._iteration = np.append(self._iteration, np.asarray(part["iteration"].values, np.int64)[known])
        self._rate, self._read = np.append(self._rate, rate[known]), records

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
        sums = np.add.reduceat(np.append(self._rate, 0.0), edges)[::2]
        edges = np.column_stack([before, last]).ravel()
        low = np.minimum.reduceat(np.append(self._rate, np.inf), edges)[::2]
        high = np.maximum.reduceat(np.append(self._rate, -np.inf), edges)[::2]
        return sums / (last - first), high > low * STEP
