"""What rows of counts have in common at each time, and what is left of each row when that is taken away.

A network trains as a whole: early on everything moves, a dropped learning rate moves everything at once. Such a course
that all rows share makes every layer coincide with every class, and says nothing about any pair of them. So a row is
judged by its residual from the common course, in units of how far residuals spread at that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

Floats = npt.NDArray[np.float64]

SMOOTH_BINS = 51
"""Bins over which the slow course is averaged: a run has many times as many, a burst fewer."""

_LEAST_VARIANCE = 1e-3
"""Of a residual per expected count; keeps a time at which nothing happens at all from being divided by 0."""


@dataclass(frozen=True)
class Parts:
    """Counts taken apart: `rate` (row,) times `course` (time,) is what was to be expected of a row, float64.

    `own` (row, time) float32 is the residual in units of its spread at that time, with a mean of 0 over time.
    """

    rate: Floats
    course: Floats
    own: npt.NDArray[np.float32]


def take_apart(counts: npt.NDArray[Any]) -> Parts:
    """Take counts (row, time) apart into their common course and each row's own part.

    The course is the slow average of all rows. At a time when the rows leave it together (the square of their summed
    residuals is above the sum of the squares, which is what independent rows would give) it follows them, the more
    the clearer they do: a shock to the whole run is common, a burst of a single row is not.
    """
    # float32 holds counts exactly, and halves the time.
    values = np.asarray(counts, np.float32)
    rate, total = values.sum(axis=1, dtype=np.float64) / max(1, values.shape[1]), values.sum(axis=0, dtype=np.float64)
    if not total.any():
        return Parts(rate, np.ones(values.shape[1]), np.zeros(values.shape, np.float32))
    level = total / total.mean()
    slow = _smooth(level)
    own = values - np.outer(rate, slow).astype(np.float32)
    together, apart = own.sum(axis=0, dtype=np.float64) ** 2, _squares(own)
    share = np.clip(1 - np.divide(apart, together, out=np.ones_like(apart), where=together > 0), 0, 1)
    course = slow + share * (level - slow)
    own -= np.outer(rate, course - slow).astype(np.float32)
    own /= _spread(own, rate)
    own -= own.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    return Parts(rate, course, own)


def _spread(residual: npt.NDArray[np.float32], rate: Floats) -> npt.NDArray[np.float32]:
    """Return how far residuals spread at each time, in units of the root of a row's rate: (row, time).

    The larger of the slow average over all rows, and of what the other rows do right then: a row's own burst must not
    make itself small.
    """
    squares = _squares(residual)
    slow = np.maximum(_smooth(squares) / rate.sum(), _LEAST_VARIANCE)
    others = np.maximum(rate.sum() - rate, _LEAST_VARIANCE * rate.sum())[:, None]
    spread: npt.NDArray[np.float32] = (squares.astype(np.float32) - residual**2) / others.astype(np.float32)
    np.maximum(spread, slow.astype(np.float32), out=spread)
    return np.sqrt(spread, out=spread)


def _squares(values: npt.NDArray[np.float32]) -> Floats:
    return np.asarray(np.einsum("rt,rt->t", values, values), np.float64)


def _smooth(series: Floats) -> Floats:
    """Average over the bins around each, over fewer of them at the ends."""
    width = min(SMOOTH_BINS, len(series))
    inside = uniform_filter1d(np.ones(len(series)), width, mode="constant")
    return np.asarray(uniform_filter1d(series, width, mode="constant") / inside, np.float64)
