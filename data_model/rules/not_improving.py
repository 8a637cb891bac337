"""A training loss that has stopped falling: over a long stretch it is no lower than over the one before."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import param

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.record_blocks import BLOCK, read_blocks, whole_blocks
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.rules.loss_change import training_losses
from deeptracker.data_model.vocabulary import SCALARS

Floats = npt.NDArray[np.float64]


def standstills(loss: Floats, least: float) -> list[tuple[int, int]]:
    """Return the spans [first, stop) of stretches in which the loss did not fall, those side by side joined.

    `loss` (stretches,) are means; it fell where one is below the one before by the share `least` of its size.
    """
    with np.errstate(invalid="ignore"):
        still = np.diff(loss) > -least * np.abs(loss[:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
    return [(int(first) + 1, int(stop) + 1) for first, stop in edges.reshape(-1, 2)]


class NotImproving(FollowedRule):
    """The mean loss of a long stretch is no lower than that of the one before: it is trained out, or stuck.

    Every training comes to this, so it tells of an episode and makes none.
    """

    name = param.String(default="not_improving", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "Loss not improving"
    source: ClassVar[str] = "SageMaker Debugger, LossNotDecreasing, over stretches long enough for the noise of batches"

    stretch = param.Integer(default=1024, bounds=(BLOCK, 10_000_000), step=BLOCK, doc="Records that are averaged.")
    least = param.Number(default=0.01, bounds=(0, 1), doc="Share of the loss by which it must fall, at least.")

    def follow(self) -> _LossWatch:
        """Return what follows a growing run."""
        return _LossWatch(self)


class _LossWatch:
    def __init__(self, rule: NotImproving) -> None:
        self._rule = rule
        self._means: dict[str, list[float]] = {}

    def update(self, run: RunData) -> list[Anomaly]:
        """Return what the stretches completed since the last call show."""
        blocks = max(self._rule.stretch // BLOCK, 1)
        iteration = np.asarray(run.scalars["iteration"].values, np.int64) if run.scalar_names else np.zeros(0, np.int64)
        found = []
        for name in training_losses(run):
            means = self._means.setdefault(name, [])
            for number in range(len(means), whole_blocks(len(iteration)) // blocks):
                read = read_blocks(run, SCALARS, name, iteration, number * blocks, (number + 1) * blocks).mean
                means.append(float(np.mean(read[np.isfinite(read)])) if np.isfinite(read).any() else np.nan)
            found += [
                self._anomaly(run, name, np.array(means), span, iteration, blocks * BLOCK)
                for span in standstills(np.array(means), self._rule.least)
            ]
        return found

    def _anomaly(
        self, run: RunData, name: str, means: Floats, span: tuple[int, int], iteration: npt.NDArray[np.int64], each: int
    ) -> Anomaly:
        first, stop = span
        start, end = int(iteration[first * each]), int(iteration[stop * each - 1]) + 1
        before, now = means[first - 1], means[stop - 1]
        message = f"{name} did not fall over {end - start:,} iterations (mean {now:.4g}, after {before:.4g})"
        return self._rule.anomaly(name, list(run.scalar_names).index(name), (start, end), stop - first, message)
