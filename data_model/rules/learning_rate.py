"""Changes of the learning rate: landmarks, drawn as such, to which other rules and eyes can refer."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.rules.base import Rule, RunData, Window, clip


def changes(values: npt.NDArray[Any], ratio: float) -> list[tuple[int, int]]:
    """Return spans [first, last] of positions at which a series changed by more than `ratio` from one to the
    next.

    Changes at consecutive positions are one span (a warm-up, the end of a cosine) if they go the same way: a rate that
    is too high for a single step rises, and falls. A change from or to 0 counts.
    """
    before, after = values[:-1], values[1:]
    low, high = np.minimum(before, after), np.maximum(before, after)
    changed = np.flatnonzero((high > low * ratio) & (high > 0)) + 1
    if len(changed) == 0:
        return []
    up = after[changed - 1] > before[changed - 1]
    cuts = np.flatnonzero((np.diff(changed) > 1) | (np.diff(up.astype(np.int8)) != 0)) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(changed, cuts)]


class LearningRateChange(Rule):
    """The learning rate changes markedly from one record to the next. A landmark, not an anomaly."""

    name = param.String(default="learning_rate_change", constant=True, doc="The rule's name in the table.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Learning-rate change"
    source: ClassVar[str] = "DeepTracker paper: learning-rate drops as the landmarks of a training"
    landmark: ClassVar[bool] = True

    ratio = param.Number(
        default=1.5,
        bounds=(1, 100),
        inclusive_bounds=(False, True),
        doc="Factor between two records above which it is a change; slow schedules leave no landmark.",
    )

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return a landmark per change, for every scalar whose name begins with learning_rate; score = |ln
        ratio|."""
        anomalies = []
        scalars = run.scalars
        for index, name in enumerate(map(str, scalars.data_vars)):
            if name.startswith("learning_rate"):
                anomalies += self._of_scalar(scalars, name, index)
        return clip(anomalies, iterations)

    def _of_scalar(self, scalars: xr.Dataset, name: str, index: int) -> list[Anomaly]:
        values = np.asarray(scalars[name].values, np.float64)
        known = np.isfinite(values) & (values >= 0)
        iteration = np.asarray(scalars["iteration"].values, np.int64)[known]
        values = values[known]
        found = []
        for first, last in changes(values, self.ratio):
            old, new = float(values[first - 1]), float(values[last])
            if not self._wanted(old, new):
                continue
            smallest = np.finfo(np.float64).tiny
            score = abs(np.log(max(new, smallest) / max(old, smallest)))
            way = "rose" if new > old else "fell"
            gradual = f" over {iteration[last] - iteration[first] + 1:,} iterations" if last > first else ""
            message = f"{name} {way} from {old:g} to {new:g}{gradual}"
            found.append(self.anomaly(name, index, (iteration[first], iteration[last] + 1), score, message))
        return found

    def _wanted(self, old: float, new: float) -> bool:
        """Whether a change from `old` to `new` is one that is looked for."""
        return True


class LearningRateRise(LearningRateChange):
    """The learning rate is suddenly several times as high. Schedules lower it at once, but raise it in small steps."""

    name = param.String(default="learning_rate_rise", constant=True, doc="The rule's name in the table.")
    title: ClassVar[str] = "Learning rate far up"
    source: ClassVar[str] = "The rate of a warm-up rises by less than this from step to step, from its second step on"
    landmark: ClassVar[bool] = False
    standing: ClassVar[Standing] = Standing.CERTAIN

    ratio = param.Number(default=3.0, bounds=(1.5, 1000), doc="Factor between two records above which it is a rise.")

    def _wanted(self, old: float, new: float) -> bool:
        return new > old > 0
