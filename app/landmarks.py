"""Landmarks of a run: the iterations where its learning rate takes a step. Drawn everywhere, no anomalies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

STEP = 1.5
"""The factor between neighbouring records that makes a step; smooth schedules stay far below it."""
MOST_SPANS = 64
"""Spans looked into; a learning rate that jumps more often than this has no landmarks but a pattern."""


@dataclass(frozen=True)
class Landmark:
    """Something that was done to the training at an iteration, with the words to show."""

    iteration: int
    label: str


def steps(iterations: np.ndarray, values: np.ndarray) -> list[tuple[int, float, float]]:
    """Return (iteration, before, after) wherever neighbouring positive values differ by the factor STEP."""
    usable = np.isfinite(values) & (values > 0)
    iterations, values = iterations[usable], values[usable]
    jumps = np.flatnonzero(np.abs(np.diff(np.log(values))) >= np.log(STEP) * (1 - 1e-9))
    return [(int(iterations[at + 1]), float(values[at]), float(values[at + 1])) for at in jumps]


def landmarks(run: Run) -> list[Landmark]:
    """Return the steps of every learning rate the run logged, in order of iteration.

    Goes down the index instead of reading every record: only spans that hold a jump are looked into.
    """
    found = []
    for name in run.scalar_names:
        if name.startswith("learning_rate"):
            found += [
                Landmark(iteration, f"{name.replace('_', ' ')} {before:.3g} → {after:.3g}")
                for iteration, before, after in _steps_within(run, name, run.iterations)
            ]
    return sorted(found, key=lambda landmark: landmark.iteration)


def _steps_within(run: Run, name: str, span: tuple[int, int]) -> list[tuple[int, float, float]]:
    coarse = run.query(name, iterations=span)
    if coarse.sizes["bucket"] == 0:
        return []
    if int(coarse["record_count"].max()) <= 1:
        return steps(coarse["start"].values, coarse["mean"].values)
    found: list[tuple[int, float, float]] = []
    spans = _spans_with_jumps(coarse)
    for inner in spans[:MOST_SPANS]:
        if inner != span:
            found += [step for step in _steps_within(run, name, inner) if step not in found]
    return found


def _spans_with_jumps(coarse: xr.Dataset) -> list[tuple[int, int]]:
    """Return the buckets, together with their left neighbour, in which the value jumps."""
    low, high = coarse["min"].values, coarse["max"].values
    usable = np.isfinite(low) & (low > 0)
    start, stop = coarse["start"].values[usable], coarse["stop"].values[usable]
    low, high = low[usable], high[usable]
    below, above = np.minimum(low[1:], low[:-1]), np.maximum(high[1:], high[:-1])
    at = np.flatnonzero(above / below >= STEP)
    return [(int(start[i]), int(stop[i + 1])) for i in at]
