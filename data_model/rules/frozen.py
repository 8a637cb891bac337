"""Layers that stop changing, although they changed before."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.marked import Mask, Span, SpanWatch
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.vocabulary import LAYERS

STATISTIC = "relative_change_l2"


def unchanged(buckets: xr.Dataset) -> tuple[Mask, Mask]:
    """Mark buckets (bucket, layer) with a record in which nothing changed, and those with nothing else."""
    low, high, count = (np.asarray(buckets[name].values) for name in ("min", "max", "count"))
    return low == 0, (high == 0) & (count == buckets["record_count"].values[:, None])


class _StillRule(FollowedRule):
    """What the two rules share: the stretches in which a layer does not change."""

    kind: ClassVar[Kind] = Kind.LAYER
    source: ClassVar[str] = "SageMaker Debugger, UnchangedTensor, but for changes of exactly 0"
    standing: ClassVar[Standing] = Standing.CERTAIN

    fewest = param.Integer(default=3, bounds=(1, 100_000), doc="Iterations without a change that it takes.")

    def follow(self) -> _StillWatch:
        """Return what follows a growing run."""
        return _StillWatch(self)

    @abstractmethod
    def told(self, layer: str, number: int, still: Still) -> Anomaly | None:
        """Return what the rule has to say of a stretch."""


class FrozenLayer(_StillRule):
    """A layer's weights do not change at all for some records in a row; it lasts until they change again.

    A layer that has not changed since recording began was frozen on purpose, as far as a rule can tell, and where no
    layer changes at all (a learning rate of 0) none of them is singled out: these explain, and make no episode.
    """

    name = param.String(default="frozen_layer", constant=True, doc="The rule's name in the table of anomalies.")
    title: ClassVar[str] = "Frozen layer"

    def told(self, layer: str, number: int, still: Still) -> Anomaly | None:
        """Return the stretch."""
        since = f"stopped changing at iteration {still.start:,}"
        since = "has not changed since recording began" if still.from_start else since
        until = f", and changes again from iteration {still.stop:,} on" if still.ended else ""
        standing = Standing.WITNESS if still.from_start or still.together else self.standing
        span = (still.start, still.stop)
        return self.anomaly(layer, number, span, still.stop - still.start, f"{layer} {since}{until}", standing)


class ThawedLayer(_StillRule):
    """A layer that did not change changes again."""

    name = param.String(default="thawed_layer", constant=True, doc="The rule's name in the table of anomalies.")
    title: ClassVar[str] = "Thawed layer"

    def told(self, layer: str, number: int, still: Still) -> Anomaly | None:
        """Return the end of the stretch."""
        if not still.ended:
            return None
        length = still.stop - still.start
        message = (
            f"{layer} changes again from iteration {still.stop:,} on, after {length:,} iterations without a change"
        )
        standing = Standing.WITNESS if still.together else self.standing
        return self.anomaly(layer, number, (still.stop, still.stop + 1), length, message, standing)


@dataclass(frozen=True)
class Still:
    """A stretch [start, stop) in which a layer did not change; `together` with all other layers."""

    start: int
    stop: int
    from_start: bool
    ended: bool
    together: bool


class _StillWatch:
    def __init__(self, rule: _StillRule) -> None:
        self._rule = rule
        self._watch = SpanWatch(LAYERS, STATISTIC, unchanged)

    def update(self, run: RunData) -> list[Anomaly]:
        if STATISTIC not in {one.name for one in run.layer_statistics}:
            return []
        spans = [span for span in self._watch.update(run) if span[2] - span[1] >= self._rule.fewest]
        last = int(run.layers["iteration"].values[-1]) if spans else 0
        told = [self._told(run, span, spans, last) for span in spans]
        return [one for one in told if one is not None]

    def _told(self, run: RunData, span: Span, spans: list[Span], last: int) -> Anomaly | None:
        series, start, stop = span
        together = sum(other[1:] == span[1:] for other in spans) == len(run.layer_list) > 1
        still = Still(start, stop, start <= run.iterations[0], stop <= last, together)
        return self._rule.told(run.layer_list[series].name, series, still)
