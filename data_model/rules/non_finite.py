"""Any recorded NaN or Inf: in a scalar, and in the weights or gradients of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import param
import xarray as xr

from deeptracker.data_model.anomaly import Anomaly, Kind
from deeptracker.data_model.rules.base import Rule, RunData, Window, clip

Mask = npt.NDArray[np.bool_]
Read = Callable[[tuple[int, int], int], xr.Dataset]
Judge = Callable[[xr.Dataset], tuple[Mask, Mask]]

COARSE, FINE = 1500, 65_536
"""Buckets of the first look at the whole window, and of the second into what is not clear from it."""

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


def marked_spans(read: Read, judge: Judge, iterations: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return (series, start, stop) of the records that `judge` marks, exact to the record.

    A look at coarse buckets clears most of a run and finds where everything is marked; only what is mixed is
    read record by record.
    """
    found: list[tuple[int, int, int]] = []
    pending = [(iterations, COARSE)] if iterations[0] < iterations[1] else []
    while pending:
        window, buckets = pending.pop()
        seen = read(window, buckets)
        hot, full = judge(seen)
        start, stop = seen["start"].values, seen["stop"].values
        bucket, series = np.nonzero(hot & full)
        found += zip(series.tolist(), start[bucket].tolist(), stop[bucket].tolist(), strict=True)
        mixed: Mask = np.any(hot & ~full, axis=1)
        for first, last in _pieces(mixed, seen["record_count"].values):
            inside = (int(start[first]), int(stop[last]))
            found = [span for span in found if not inside[0] <= span[1] < inside[1]]
            pending.append((inside, FINE))
    return _joined(found)


def _pieces(mixed: Mask, records: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut runs of mixed buckets into pieces [first, last] of at most `FINE` records."""
    first, held = -1, 0
    for bucket, wanted in enumerate(mixed):
        if first >= 0 and (not wanted or held + records[bucket] > FINE):
            yield first, bucket - 1
            first, held = -1, 0
        if wanted:
            first, held = (bucket if first < 0 else first), held + int(records[bucket])
    if first >= 0:
        yield first, len(mixed) - 1


def _joined(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Join spans of the same series that meet."""
    joined: list[tuple[int, int, int]] = []
    for series, start, stop in sorted(found):
        if joined and joined[-1][0] == series and joined[-1][2] >= start:
            joined[-1] = (series, joined[-1][1], max(stop, joined[-1][2]))
        else:
            joined.append((series, start, stop))
    return joined


class _NonFinite(Rule):
    """What the two rules share: their source."""

    source: ClassVar[str] = "SageMaker Debugger, ExplodingTensor: any NaN or Inf"


class NonFiniteScalar(_NonFinite):
    """A scalar was recorded as NaN or Inf."""

    name = param.String(default="non_finite_scalar", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.SCALAR
    title: ClassVar[str] = "NaN or Inf in a scalar"

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return one anomaly per unbroken stretch; score = its length in iterations."""
        window = run.iterations if iterations is None else iterations
        found = []
        for index, name in enumerate(run.scalar_names):

            def read(inside: tuple[int, int], buckets: int, name: str = name) -> xr.Dataset:
                return run.query(name, family="scalars", iterations=inside, buckets=buckets)

            for _, start, stop in marked_spans(read, broken_values, window):
                message = f"{name} was NaN or infinite from iteration {start:,} to {stop - 1:,}"
                found.append(self.anomaly(name, index, (start, stop), stop - start, message))
        return clip(found, iterations)


class NonFiniteLayer(_NonFinite):
    """Weights or gradients of a layer held NaN or Inf."""

    name = param.String(default="non_finite_layer", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.LAYER
    title: ClassVar[str] = "NaN or Inf in a layer"

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return one anomaly per unbroken stretch, layer and tensor; score = its length in iterations."""
        window = run.iterations if iterations is None else iterations
        found = []
        for statistic in run.layer_statistics:
            if not statistic.name.endswith(SUFFIX):
                continue
            tensor = statistic.name.removesuffix(SUFFIX)

            def read(inside: tuple[int, int], buckets: int, name: str = statistic.name) -> xr.Dataset:
                return run.query(name, family="layers", iterations=inside, buckets=buckets)

            for series, start, stop in marked_spans(read, counted_values, window):
                layer = run.layer_list[series].name
                message = f"{tensor}s of {layer} held NaN or Inf from iteration {start:,} to {stop - 1:,}"
                found.append(self.anomaly(layer, series, (start, stop), stop - start, message))
        return clip(found, iterations)
