"""Filters whose weights suddenly change far more, or far less, than those of their layer mates.

Both tests work on the residual r = ln(relative change) - median over the layer at that record, so that what
moves a whole layer (a learning-rate drop, a spike of the loss) is no outlier:

- far from the mates: |r| beyond a threshold times the layer's own spread of r at that record;
- far from its own past: r beyond a threshold times the filter's spread of r over its last records, and beyond
  every one of them by at least the threshold times the floor. So a filter that always differs, freezes or
  flickers is reported when it begins to, not again and again.

Spread is 1.4826 times the median absolute deviation, never below a floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import param

from deeptracker.data_model.anomaly import Anomaly, Kind, filter_name
from deeptracker.data_model.robust import centre_and_spread, median, spread
from deeptracker.data_model.rules.base import Rule, RunData, Window, clip, spans

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

NO_CHANGE = 1e-12
"""A relative change below this is read as no change at all; keeps the logarithm finite for frozen filters."""

CHUNK_VALUES = 4_000_000


@dataclass(frozen=True)
class Thresholds:
    """When a filter is an outlier; see the Params of `FilterOutliers`."""

    mates: float
    own_past: float
    floor: float
    past_records: int
    fewest_records: int
    fewest_mates: int


@dataclass(frozen=True)
class Outliers:
    """Outliers by record and filter (int64), their residual and both robust z-scores (float64)."""

    record: Ints
    filter: Ints
    residual: npt.NDArray[np.float64]
    mates_z: npt.NDArray[np.float64]
    own_z: npt.NDArray[np.float64]


def log_change(values: Floats) -> Floats:
    """Return ln(relative change), with no change read as `NO_CHANGE` and everything not finite as NaN."""
    with np.errstate(invalid="ignore"):
        change = np.log(np.maximum(values, values.dtype.type(NO_CHANGE)))
    change[~np.isfinite(values)] = np.nan
    return change


def residuals(values: Floats, layer: npt.NDArray[Any], limits: Thresholds) -> tuple[Floats, Floats]:
    """Return r and its robust z among the layer mates, both (record, filter) as `values` (relative changes).

    `layer` is the layer of each filter, filters of a layer side by side. In layers with fewer than
    `limits.fewest_mates` filters r is NaN.
    """
    residual, score = np.full_like(values, np.nan), np.full_like(values, np.nan)
    edges = np.flatnonzero(np.diff(layer)) + 1
    for first, stop in zip([0, *edges], [*edges, len(layer)], strict=True):
        if stop - first < limits.fewest_mates:
            continue
        change = log_change(np.ascontiguousarray(values[:, first:stop]))
        change -= median(change)[:, None]
        least = np.maximum(spread(change), limits.floor)
        residual[:, first:stop] = change
        score[:, first:stop] = change / least[:, None]
    return residual, score


def outliers(values: Floats, layer: npt.NDArray[Any], limits: Thresholds, skip: int = 0) -> Outliers:
    """Find outliers in relative changes (record, filter); the first `skip` records only serve as the past.

    The past is looked up only for the few candidates that are already far from their mates, so the whole
    search costs two medians per record and layer.
    """
    residual, score = residuals(values, layer, limits)
    with np.errstate(invalid="ignore"):
        record, column = np.nonzero(np.abs(score) > limits.mates)
    judged = (record >= skip) & (record >= limits.fewest_records)
    record, column = record[judged], column[judged]
    own = _own_past(residual, record, column, limits)
    far = np.abs(own) > limits.own_past
    record, column = record[far], column[far]
    return Outliers(
        record.astype(np.int64),
        column.astype(np.int64),
        residual[record, column].astype(np.float64),
        score[record, column].astype(np.float64),
        own[far],
    )


def _own_past(residual: Floats, record: Ints, column: Ints, limits: Thresholds) -> npt.NDArray[np.float64]:
    """Return robust z of candidates against their last records; 0 where one was as extreme, or too few are."""
    own = np.zeros(len(record))
    step = max(CHUNK_VALUES // limits.past_records, 1)
    back = np.arange(-limits.past_records, 0)
    for first in range(0, len(record), step):
        part = slice(first, first + step)
        position = record[part, None] + back
        past = residual[np.maximum(position, 0), column[part, None]].astype(np.float64)
        past[position < 0] = np.nan
        now = residual[record[part], column[part]].astype(np.float64)
        centre, width = centre_and_spread(past)
        known = np.isfinite(past)
        enough = known.sum(axis=1) >= limits.fewest_records
        above = now - np.where(known, past, -np.inf).max(axis=1)
        below = np.where(known, past, np.inf).min(axis=1) - now
        novel = np.maximum(above, below) >= limits.own_past * limits.floor
        score = (now - centre) / np.maximum(width, limits.floor)
        own[part] = np.where(enough & novel, score, 0)
    return own


class FilterOutliers(Rule):
    """A filter's relative change is far from its layer mates at that iteration and from its own past."""

    name = param.String(default="filter_outlier", constant=True, doc="The rule's name in the table of anomalies.")
    kind: ClassVar[Kind] = Kind.FILTER
    title: ClassVar[str] = "Filter outlier"
    source: ClassVar[str] = (
        "DeepTracker paper (filters against their layer); Iglewicz and Hoaglin 1993 (robust z above 3.5)"
    )

    mates_z = param.Number(
        default=3.5,
        bounds=(1, 100),
        doc="Robust z among its layer mates above which a filter's change is far.",
    )
    own_z = param.Number(default=3.5, bounds=(1, 100), doc="Robust z among its own past above which it is far.")
    floor = param.Number(
        default=0.1,
        bounds=(1e-3, 10),
        doc="Least spread of ln(relative change): with z = 3.5, a factor of e^0.35 = 1.4 is never far.",
    )
    past_records = param.Integer(default=64, bounds=(4, 4096), doc="Last records a filter is compared with.")
    fewest_records = param.Integer(default=16, bounds=(2, 4096), doc="Records needed before a filter is judged.")
    fewest_mates = param.Integer(default=8, bounds=(3, 4096), doc="Filters a layer needs for them to be judged.")
    statistic = param.String(default="relative_change_l2", doc="The filter statistic that is searched.")

    def find(self, run: RunData, iterations: Window = None) -> list[Anomaly]:
        """Return one anomaly per record and filter, in chunks of bounded memory; score = the lesser robust
        z."""
        filters = run.filters
        if self.statistic not in filters:
            return []
        series = filters[self.statistic]
        start, stop = spans(np.asarray(filters["iteration"].values, np.int64))
        layer = np.asarray(run.filter_layer)
        first, last = _touching(start, stop, iterations)
        limits = Thresholds(
            self.mates_z, self.own_z, self.floor, self.past_records, self.fewest_records, self.fewest_mates
        )
        rows = max(CHUNK_VALUES // max(len(layer), 1), 2 * self.past_records)
        anomalies: list[Anomaly] = []
        for begin in range(first, last, rows):
            context = max(begin - self.past_records, 0)
            values = np.asarray(series.isel(iteration=slice(context, min(begin + rows, last))).values)
            found = outliers(values, layer, limits, skip=begin - context)
            anomalies += self._described(found, context, run, (start, stop))
        return clip(anomalies, iterations)

    def _described(self, found: Outliers, context: int, run: RunData, span: tuple[Ints, Ints]) -> list[Anomaly]:
        layer = np.asarray(run.filter_layer)
        described = []
        for position, (record, number) in enumerate(zip(found.record + context, found.filter, strict=True)):
            owner = layer[number]
            name, local = run.layer_list[owner].name, int(number - np.searchsorted(layer, owner))
            factor = float(np.exp(found.residual[position]))
            described.append(
                self.anomaly(
                    filter_name(name, local),
                    number,
                    (span[0][record], span[1][record]),
                    min(abs(found.mates_z[position]), abs(found.own_z[position])),
                    f"filter {local} of {name} {_in_words(factor)}",
                )
            )
        return described


def _in_words(factor: float) -> str:
    if factor < 1e-3:
        return "all but stopped changing, unlike its layer mates"
    only = "only " if factor < 1 else ""
    return f"changed {only}{factor:.3g} times as much as the middle filter of its layer"


def _touching(start: Ints, stop: Ints, iterations: Window) -> tuple[int, int]:
    """Return the records [first, last) whose spans touch the window."""
    if iterations is None:
        return 0, len(start)
    return int(np.searchsorted(stop, iterations[0], "right")), int(np.searchsorted(start, iterations[1], "left"))
