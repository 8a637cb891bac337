"""Gradients that are far too small: from the start against the other layers, or at all."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import param

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.record_blocks import BLOCK, read_blocks
from deeptracker.data_model.robust import TO_DEVIATION
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.vocabulary import LAYERS

STATISTIC = "gradient_std"
LOOKS = ((2, 5), (5, 8))
"""Blocks of the two looks: both must find a layer behind the others."""


def decades_behind(spread: npt.NDArray[np.float64], outlying: float) -> npt.NDArray[np.float64]:
    """Return by how many decades each layer lies below the middle layer, 0 where that is no outlier among them.

    `spread` (layers,) is the typical spread of each layer's gradient; `outlying` the robust z that makes an outlier.
    """
    level = np.log10(np.maximum(spread, 1e-30))
    below = np.nanmedian(level) - level
    width = TO_DEVIATION * np.nanmedian(np.abs(below))
    return np.where(below > outlying * width, below, 0.0)


class VanishingGradient(FollowedRule):
    """From the start a layer's gradient is ten times smaller than that of the middle layer: badly initialised."""

    name = param.String(default="vanishing_gradient", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "Vanishing gradient from the start"
    source: ClassVar[str] = "SageMaker Debugger, PoorWeightInitialization (variance across layers), made robust"
    standing: ClassVar[Standing] = Standing.CERTAIN

    factor = param.Number(default=10.0, bounds=(1.5, 1e6), doc="Times smaller than the middle layer's gradient.")
    z = param.Number(default=3.5, bounds=(1, 100), doc="Robust z among the layers that it must have too.")

    def follow(self) -> _StartWatch:
        """Return what follows a growing run."""
        return _StartWatch(self)


class _StartWatch:
    def __init__(self, rule: VanishingGradient) -> None:
        self._rule = rule
        self._found: list[Anomaly] | None = None

    def update(self, run: RunData) -> list[Anomaly]:
        last = LOOKS[-1][1]
        if self._found is None and run.layers.sizes.get("iteration", 0) >= last * BLOCK:
            known = STATISTIC in {one.name for one in run.layer_statistics}
            self._found = self._look(run, last) if known else []
        return self._found or []

    def _look(self, run: RunData, last: int) -> list[Anomaly]:
        iteration = np.asarray(run.layers["iteration"].values[: last * BLOCK], np.int64)
        spread = read_blocks(run, LAYERS, STATISTIC, iteration, 0, last).mean
        looks = [decades_behind(np.median(spread[first:stop], axis=0), self._rule.z) for first, stop in LOOKS]
        behind = np.minimum(*looks)
        found = []
        for number in np.flatnonzero(behind > np.log10(self._rule.factor)).tolist():
            layer = run.layer_list[number].name
            message = (
                f"the gradient of {layer} is {10 ** behind[number]:.3g} times smaller than that of the middle layer, "
                "from the start"
            )
            span = (int(iteration[LOOKS[0][0] * BLOCK]), int(iteration[-1]) + 1)
            found.append(self._rule.anomaly(layer, number, span, behind[number], message))
        return found
