"""Where in its training a run is at each iteration: counted in iterations, epochs or samples seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from deeptracker.data_model.errors import QueryError

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

Floats = npt.NDArray[np.float64]


class Align(StrEnum):
    """What runs are laid side by side by."""

    ITERATION = "iteration"
    EPOCH = "epoch"
    SAMPLES = "samples"


SOURCES = {
    Align.EPOCH: "a scalar `epoch` nor a parameter `iterations per epoch` nor the parameters `batch size` and "
    "`training images`",
    Align.SAMPLES: "a scalar `samples` (seen so far) nor a parameter `batch size`",
}
HOW = {
    Align.EPOCH: "recorder.log(epoch=epoch), or Recorder(..., parameters={'batch size': 64, 'training images': 50000})",
    Align.SAMPLES: "recorder.log(samples=seen), or Recorder(..., parameters={'batch size': 64})",
}


@dataclass(frozen=True)
class Course:
    """A run's course: at `iterations` it is at `positions`, both increasing; straight lines between and beyond.

    A position counts what was done before the iteration: 0 at the beginning.
    """

    iterations: Floats
    positions: Floats

    def position(self, iteration: npt.ArrayLike) -> Floats:
        """Return the positions of iterations, float64."""
        return _along(np.asarray(iteration, np.float64), self.iterations, self.positions)

    def iteration(self, position: npt.ArrayLike) -> Floats:
        """Return the iterations, in fractions, that are at positions."""
        return _along(np.asarray(position, np.float64), self.positions, self.iterations)


def _along(at: Floats, x: Floats, y: Floats) -> Floats:
    """Interpolate, and go on beyond both ends with the slope there."""
    inside = np.interp(at, x, y)
    before = y[0] + (at - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
    after = y[-1] + (at - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.where(at < x[0], before, np.where(at > x[-1], after, inside))


def course_of(run: Run, align: Align) -> Course:
    """Return the course of a run; QueryError, which says how to log it, where the run does not tell."""
    if align is Align.ITERATION:
        return _steady(1.0)
    name = str(align)
    if name in run.scalar_names:
        series = run.scalars[name]
        return _from_scalar(run, name, np.asarray(series["iteration"].values), np.asarray(series.values))
    known = _numbers(dict(run.description.parameters))
    batch, images = known.get("batch size"), known.get("training images")
    if align is Align.SAMPLES and batch:
        return _steady(batch)
    if align is Align.EPOCH and known.get("iterations per epoch"):
        return _steady(1 / known["iterations per epoch"])
    if align is Align.EPOCH and batch and images:
        return _steady(1 / np.ceil(images / batch))
    raise QueryError(f"{run.name} does not tell its {name}: it has neither {SOURCES[align]}. Log it: {HOW[align]}.")


def _steady(slope: float) -> Course:
    return Course(np.array([0.0, 1.0]), np.array([0.0, float(slope)]))


def _numbers(parameters: Mapping[str, object]) -> dict[str, float]:
    """Return the positive numbers among parameters; `batch_size`, `batch-size` and `Batch size` are the same."""
    found = {}
    for key, value in parameters.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            found[key.lower().replace("_", " ").replace("-", " ")] = float(value)
    return found


def _from_scalar(run: Run, name: str, iterations: npt.NDArray[np.int64], values: Floats) -> Course:
    """Take the iterations at which the scalar gets a new value: so whole epochs are passed at an even pace."""
    known = np.isfinite(values)
    iterations, values = iterations[known], values[known]
    new = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.zeros(0, np.int64)
    if np.any(np.diff(values) < 0):
        where = int(iterations[1:][np.diff(values) < 0][0])
        raise QueryError(f"{run.name}: the scalar {name!r} falls at iteration {where:,}; it must only grow.")
    if len(new) < 2:
        raise QueryError(f"{run.name}: the scalar {name!r} has fewer than two values; nothing can be aligned by it.")
    return Course(iterations[new].astype(np.float64), values[new].astype(np.float64))
