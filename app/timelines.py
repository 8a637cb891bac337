"""Series over the whole run, summarised for one strip, and the axes they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import Run

POINTS = 600
"""Spans a strip is drawn of: less than it has pixels, so that the spread within each is seen."""
LOGARITHMIC_FROM = 30.0
"""Largest over smallest value from which an axis is logarithmic."""


@dataclass(frozen=True)
class Timeline:
    """One series over the whole run: its `label`, and per bucket the middle iteration, low, high and mean."""

    label: str
    x: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns of its data source."""
        return {"x": self.x, "low": self.low, "high": self.high, "mean": self.mean}

    def positive(self) -> Timeline:
        """Return the part that a logarithmic axis can show."""
        shown = self.low > 0
        return Timeline(self.label, self.x[shown], self.low[shown], self.high[shown], self.mean[shown])


EMPTY = Timeline("", *(np.empty(0),) * 4)


def timeline(run: Run, name: str, family: str, label: str) -> Timeline:
    """Return a series of the whole run, empty when the run has none of that name."""
    try:
        found = run.query(name, family=family, buckets=2 * POINTS)
    except QueryError:
        return EMPTY
    usable = found["count"].values > 0
    # A single record lies where it was made; only where several are summarised is their middle meant.
    several = found["record_count"].values > 1
    middle = found["start"].values + several * (found["stop"].values - 1 - found["start"].values) / 2
    low, high, mean = (found[part].values.astype(float)[usable] for part in ("min", "max", "mean"))
    weight = found["count"].values[usable].astype(float)
    return thinned(Timeline(label, middle[usable].astype(float), low, high, mean), weight, run.iterations)


def thinned(values: Timeline, weight: NDArray[np.float64], whole: tuple[int, int], points: int = POINTS) -> Timeline:
    """Return the series summarised to at most `points` equal spans of the run; no low and no high gets lost."""
    if values.x.size <= points:
        return values
    span = ((values.x - whole[0]) * points / (whole[1] - whole[0])).astype(int)
    first = np.flatnonzero(np.diff(span, prepend=-1))
    total = np.add.reduceat(weight, first)
    return Timeline(
        values.label,
        np.add.reduceat(values.x * weight, first) / total,
        np.minimum.reduceat(values.low, first),
        np.maximum.reduceat(values.high, first),
        np.add.reduceat(values.mean * weight, first) / total,
    )


def training_scalar(run: Run) -> str:
    """Return the name of the scalar that stands for the training: see `training_timeline`; empty without scalars."""
    names = sorted(run.scalar_names, key=lambda name: (name != "loss", name.startswith("learning_rate")))
    return names[0] if names else ""


def training_timeline(run: Run) -> Timeline:
    """Return the training loss, or the first scalar that is no learning rate where no `loss` was logged."""
    name = training_scalar(run)
    return timeline(run, name, "scalars", name.replace("_", " ")) if name else EMPTY


def validation_timeline(run: Run) -> Timeline:
    """Return the share of validation images classified wrongly."""
    return timeline(run, "error", "validation", "validation error")


def is_logarithmic(values: Timeline) -> bool:
    """Whether the series spans so much, and is positive, that a logarithmic axis shows it better."""
    if not values.low.size or values.low.min() <= 0:
        return False
    return bool(values.high.max() / values.low.min() >= LOGARITHMIC_FROM)


def limits(values: Timeline, logarithmic: bool, room: float = 0.08) -> tuple[float, float]:
    """Return the ends of an axis on which the whole series stays clear of the frame."""
    if not values.low.size:
        return (0.1, 1.0) if logarithmic else (0.0, 1.0)
    low, high = float(values.low.min()), float(values.high.max())
    if logarithmic:
        spread = max(high / low, 1.1) ** room
        return (low / spread, high * spread)
    spread = max((high - low) * room, abs(high) * 1e-3, 1e-9)
    return (low - spread, high + spread)
