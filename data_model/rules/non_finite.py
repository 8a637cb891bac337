"""Any recorded NaN or Inf: in a scalar, and in the weights or gradients of a layer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind, Standing
from deeptracker.data_model.marked import Mask, SpanWatch
from deeptracker.data_model.rules.base import FollowedRule, RunData
from deeptracker.data_model.vocabulary import LAYERS, SCALARS

SUFFIX = "_nonfinite"
"""A layer statistic with this ending counts NaN and Inf among a layer's values."""


def broken_values(buckets: xr.Dataset) -> tuple[Mask, Mask]:
    """Mark buckets (bucket, series) with a recorded NaN or Inf, and those with nothing else."""
    nonfinite, records = _columns(buckets, "nonfinite"), buckets["record_count"].values[:, None]
    return nonfinite > 0, nonfinite == records


def counted_values(buckets: xr.Dataset) -> tuple[Mask, Mask]:
    """The same for a statistic that counts NaN and Inf: any count above 0, and every count above 0."""
    lowest, highest = _columns(buckets, "min"), _columns(buckets, "max")
    count, records = _columns(buckets, "count"), buckets["record_count"].values[:, None]
    return highest > 0, (lowest > 0) & (count == records)


def _columns(buckets: xr.Dataset, name: str) -> npt.NDArray[np.float64]:
    values = np.asarray(buckets[name].values)
    return values.reshape(len(values), -1)


class _NonFinite(FollowedRule):
    """What the two rules share: their source."""

    source: ClassVar[str] = "SageMaker Debugger, ExplodingTensor: any NaN or Inf"
    standing: ClassVar[Standing] = Standing.CERTAIN


class NonFiniteScalar(_NonFinite):
    """A scalar was recorded as NaN or Inf: one finding per unbroken stretch; score = its length in iterations."""

    name = param.String(default="non_finite_scalar", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "NaN or Inf in a scalar"

    def follow(self) -> _ScalarWatch:
        """Return what follows a growing run."""
        return _ScalarWatch(self)


class _ScalarWatch:
    def __init__(self, rule: NonFiniteScalar) -> None:
        self._rule = rule
        self._watches: dict[str, SpanWatch] = {}

    def update(self, run: RunData) -> list[Anomaly]:
        found = []
        for index, name in enumerate(run.scalar_names):
            watch = self._watches.setdefault(name, SpanWatch(SCALARS, name, broken_values))
            for _, start, stop in watch.update(run):
                message = f"{name} was NaN or infinite from iteration {start:,} to {stop - 1:,}"
                found.append(self._rule.anomaly(name, index, (start, stop), stop - start, message))
        return found


class NonFiniteLayer(_NonFinite):
    """Weights or gradients of a layer held NaN or Inf: one finding per stretch and tensor; score = its length."""

    name = param.String(default="non_finite_layer", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "NaN or Inf in a layer"

    def follow(self) -> _LayerWatch:
        """Return what follows a growing run."""
        return _LayerWatch(self)


class _LayerWatch:
    def __init__(self, rule: NonFiniteLayer) -> None:
        self._rule = rule
        self._watches: dict[str, SpanWatch] = {}

    def update(self, run: RunData) -> list[Anomaly]:
        found = []
        for name in (one.name for one in run.layer_statistics if one.name.endswith(SUFFIX)):
            tensor = name.removesuffix(SUFFIX)
            watch = self._watches.setdefault(name, SpanWatch(LAYERS, name, counted_values))
            for series, start, stop in watch.update(run):
                layer = run.layer_list[series].name
                message = f"{tensor}s of {layer} held NaN or Inf from iteration {start:,} to {stop - 1:,}"
                found.append(self._rule.anomaly(layer, series, (start, stop), stop - start, message))
        return found
