"""Layers most of whose units put out nothing, where activations are recorded."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.marked import Mask, Span, SpanWatch
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.vocabulary import ACTIVATIONS

STATISTIC = "activation_dead"


def mostly_dead(buckets: xr.Dataset, share: float) -> tuple[Mask, Mask]:
    """Mark buckets (bucket, layer) with a record above the share, and those with nothing else."""
    low, high, count = (np.asarray(buckets[name].values) for name in ("min", "max", "count"))
    return high > share, (low > share) & (count == buckets["record_count"].values[:, None])


class DeadUnits(FollowedRule):
    """Most units of a layer put out nothing above zero for any input of a batch; it lasts until they do again.

    A layer that is like this from its first record on may be meant so: that tells of an episode, and makes none.
    """

    name = param.String(default="dead_units", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "Dead units"
    source: ClassVar[str] = "SageMaker Debugger, DeadRelu: a layer of which more than half of the units are dead"
    standing: ClassVar[Standing] = Standing.STRONG

    share = param.Number(default=0.5, bounds=(0.01, 0.99), doc="Share of a layer's units that are dead.")
    fewest = param.Integer(default=3, bounds=(1, 100_000), doc="Records in a row that it takes.")

    def follow(self) -> _DeadWatch:
        """Return what follows a growing run."""
        return _DeadWatch(self)


class _DeadWatch:
    def __init__(self, rule: DeadUnits) -> None:
        self._rule = rule
        self._watch = SpanWatch(ACTIVATIONS, STATISTIC, lambda buckets: mostly_dead(buckets, rule.share))

    def update(self, run: RunData) -> list[Anomaly]:
        if STATISTIC not in {one.name for one in run.activation_statistics}:
            return []
        iteration = np.asarray(run.activations["iteration"].values, np.int64)
        found = []
        for span in self._watch.update(run):
            first, stop = np.searchsorted(iteration, span[1:])
            if stop - first >= self._rule.fewest:
                found.append(self._told(run, span, int(first), iteration))
        return found

    def _told(self, run: RunData, span: Span, first: int, iteration: np.ndarray) -> Anomaly:
        series, start, stop = span
        layer = run.layer_list[series].name
        until = f" to {stop - 1:,}" if stop <= iteration[-1] else " on"
        message = f"more than {self._rule.share:.0%} of the units of {layer} are dead from iteration {start:,}{until}"
        standing = Standing.WITNESS if first == 0 else self._rule.standing
        return self._rule.anomaly(layer, series, (start, stop), stop - start, message, standing)
