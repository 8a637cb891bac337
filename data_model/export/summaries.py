"""The buckets of a family, as queries give them, to be exported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model.commit import Commit
from deeptracker.data_model.export.choice import Choice
from deeptracker.data_model.export.records import chosen_filters
from deeptracker.data_model.export.source import Source, lazy_blocks
from deeptracker.data_model.families import VALIDATION
from deeptracker.data_model.query import Plan
from deeptracker.data_model.reduction import AGGREGATES
from deeptracker.data_model.run_data import filters
from deeptracker.data_model.series import SeriesReader
from deeptracker.data_model.vocabulary import CLASSES, FILTERS, SCALARS

_ALIGN = 1024
"""Buckets that lie in a file, at most."""


def summaries(commit: Commit, series: SeriesReader, choice: Choice, whole: tuple[int, int]) -> Source:
    """Return the buckets of the chosen statistics, over (`bucket`, `statistic` | `scalar`, entity).

    `whole` is the window where none is chosen, in part or at all. The buckets are those of `Run.query`.
    """
    assert choice.buckets is not None
    kind = "scalar" if choice.family == SCALARS else "statistic"
    names = choice.named(kind, _known(commit, choice.family))
    window = choice.window(whole)
    narrowed = choice.classes if choice.family == CLASSES else choice.layers
    entities = chosen_filters(commit, choice) if choice.family == FILTERS else narrowed
    plans = [series.plan(name, choice.family, window, choice.buckets, entities, choice.blocks) for name in names]
    dataset = _dataset(plans, names, kind) if plans else xr.Dataset(coords={"bucket": np.zeros(0, np.int64)})
    if "filter" in dataset.dims:
        of_all = filters(commit).coords
        dataset = dataset.assign_coords(
            {name: ("filter", of_all[name].values[dataset["filter"].values]) for name in ("layer_name", "channel")}
        )
    return Source(choice.family, dataset, "bucket", _ALIGN)


def _known(commit: Commit, family: str) -> list[str]:
    manifest = commit.manifest
    if family == SCALARS:
        return manifest.scalars
    return [one.name for one in manifest.statistics[CLASSES if family == VALIDATION else family]]


class _Together:
    """Reads all statistics of some buckets at once, and keeps the last ones: five variables ask for the same."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans, self._last = plans, (0, 0)
        self._found: list[xr.Dataset] = []

    def read(self, aggregate: str, start: int, stop: int) -> NDArray[np.generic]:
        if self._last != (start, stop) or not self._found:
            self._found, self._last = [plan.part(start, stop) for plan in self._plans], (start, stop)
        return np.stack([one[aggregate].values for one in self._found], axis=1)


def _dataset(plans: Sequence[Plan], names: Sequence[str], kind: str) -> xr.Dataset:
    first = plans[0].part(0, 0)
    count = plans[0].chosen.stop - plans[0].chosen.first
    together = _Together(plans)
    data = {}
    for aggregate in AGGREGATES:

        def read(start: int, stop: int, aggregate: str = aggregate) -> NDArray[np.generic]:
            return together.read(aggregate, start, stop)

        one = first[aggregate]
        shape = (count, len(names), *one.shape[1:])
        data[aggregate] = lazy_blocks(("bucket", kind, *map(str, one.dims[1:])), shape, one.dtype, read)
    along = plans[0].bounds()
    coords = {**along, kind: np.array(names, dtype=object)}
    coords |= {str(name): value for name, value in first.coords.items() if "bucket" not in value.dims}
    return xr.Dataset(data, coords=coords, attrs={"records_per_bucket": plans[0].chosen.span})
