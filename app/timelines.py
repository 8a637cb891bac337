"""Series over the whole run, summarised for one strip, and the axes they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.run import Run

BUCKETS = 1500
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


EMPTY = Timeline("", *(np.empty(0),) * 4)


def timeline(run: Run, name: str, family: str, label: str) -> Timeline:
    """Return a series of the whole run, empty when the run has none of that name."""
    try:
        found = run.query(name, family=family, buckets=BUCKETS)
    except QueryError:
        return EMPTY
    usable = found["count"].values > 0
    middle = (found["start"].values + found["stop"].values - 1) / 2
    low, high, mean = (found[part].values.astype(float)[usable] for part in ("min", "max", "mean"))
    return Timeline(label, middle[usable].astype(float), low, high, mean)


def training_timeline(run: Run) -> Timeline:
    """Return the training loss, or the first scalar that is no learning rate where no `loss` was logged."""
    names = sorted(run.scalar_names, key=lambda name: (name != "loss", name.startswith("learning_rate")))
    return timeline(run, names[0], "scalars", names[0].replace("_", " ")) if names else EMPTY


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
