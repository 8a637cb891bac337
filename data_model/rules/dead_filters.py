"""Filters that get no gradient any more, or do not change any more, while their layer does."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import param

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing, filter_name
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.zero_runs import ZeroRun, ZeroRuns

CHUNK_VALUES = 4_000_000


class _SilentFilter(FollowedRule):
    """What the two rules share: a statistic of filters that is exactly 0 for longer than their own past explains."""

    kind: ClassVar[Kind] = Kind.FILTER
    standing: ClassVar[Standing] = Standing.WEAK
    statistic: ClassVar[str]
    words: ClassVar[str]

    risk = param.Number(
        default=1e-5, bounds=(1e-15, 0.1), doc="Chance, over all filters, that a run of zeros is found for nothing."
    )

    def follow(self) -> _SilentWatch:
        """Return what follows a growing run."""
        return _SilentWatch(self)


class DeadFilter(_SilentFilter):
    """A filter's gradient is exactly 0 for longer than it ever stayed so: no input excites it any more."""

    name = param.String(default="dead_filter", constant=True, doc="The rule's name in the table of anomalies.")
    title: ClassVar[str] = "Dead filter"
    source: ClassVar[str] = "SageMaker Debugger, DeadRelu, by the gradient, against the filter's own past"
    statistic: ClassVar[str] = "gradient_l2"
    words: ClassVar[str] = "gets no gradient"


class FrozenFilter(_SilentFilter):
    """A filter does not change at all, for longer than it ever did not, while others of its layer do."""

    name = param.String(default="frozen_filter", constant=True, doc="The rule's name in the table of anomalies.")
    title: ClassVar[str] = "Frozen filter"
    source: ClassVar[str] = "SageMaker Debugger, UnchangedTensor, by filter, against the filter's own past"
    statistic: ClassVar[str] = "relative_change_l2"
    words: ClassVar[str] = "does not change"


class _SilentWatch:
    def __init__(self, rule: _SilentFilter) -> None:
        self._rule = rule
        self._runs: ZeroRuns | None = None
        self._filters = -1

    def update(self, run: RunData) -> list[Anomaly]:
        """Return what the filters recorded since the last call show."""
        layer = np.asarray(run.filter_layer)
        filters = run.filters
        if self._rule.statistic not in filters or not len(layer):
            return []
        if self._runs is None or len(layer) != self._filters:
            self._runs, self._filters = ZeroRuns(layer, self._rule.risk / len(layer)), len(layer)
        series, records = filters[self._rule.statistic], filters.sizes["iteration"]
        rows = max(CHUNK_VALUES // len(layer), 64)
        while self._runs.records < records:
            part = slice(self._runs.records, min(self._runs.records + rows, records))
            self._runs.advance(np.ascontiguousarray(series.isel(iteration=part).values))
        found = self._runs.found()
        iteration = np.asarray(filters["iteration"].values, np.int64) if found else np.zeros(0, np.int64)
        return [self._anomaly(run, one, iteration, layer) for one in found]

    def _anomaly(self, run: RunData, one: ZeroRun, iteration: np.ndarray, layer: np.ndarray) -> Anomaly:
        owner = int(layer[one.series])
        name, local = run.layer_list[owner].name, int(one.series - np.searchsorted(layer, owner))
        ended = one.stop < len(iteration)
        start, stop = int(iteration[one.start]), int(iteration[one.stop]) if ended else run.iterations[1]
        until = f" to {stop - 1:,}" if ended else " on"
        message = f"filter {local} of {name} {self._rule.words} from iteration {start:,}{until}"
        return self._rule.anomaly(filter_name(name, local), one.series, (start, stop), one.stop - one.start, message)
