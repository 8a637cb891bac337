"""Answers queries: finds the family and the entities that are meant, and reads their buckets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.images import Images
from deeptracker.data_model.query import BucketRange, choose_buckets, to_dataset
from deeptracker.data_model.reduction import AGGREGATES, merge_buckets, records_as_buckets
from deeptracker.data_model.validation_results import CLASS_STATISTICS
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS, SCALARS

OVERALL = "validation"
_ENTITY = {**ENTITY, CLASSES: "class", OVERALL: None}


class SeriesReader:
    """Queries over one commit."""

    def __init__(self, commit: Commit, images: Images) -> None:
        """Take the commit and its images."""
        self._commit, self._images = commit, images
        manifest = commit.manifest
        self._variables = {
            SCALARS: manifest.scalars,
            **{family: [one.name for one in statistics] for family, statistics in manifest.statistics.items()},
            CLASSES: list(CLASS_STATISTICS),
            OVERALL: list(CLASS_STATISTICS),
        }
        self._layer_numbers = {layer.name: number for number, layer in enumerate(manifest.layers)}

    def layer_number(self, name: str) -> int:
        """Return the place of a layer in the network."""
        if name not in self._layer_numbers:
            raise QueryError(f"There is no layer {name!r}; this run has {', '.join(self._layer_numbers) or 'none'}.")
        return self._layer_numbers[name]

    def family_of(self, variable: str) -> str:
        """Return the first family that has the variable."""
        for family, names in self._variables.items():
            if variable in names:
                return family
        known = "; ".join(f"{family}: {', '.join(names)}" for family, names in self._variables.items() if names)
        raise QueryError(f"There is no variable {variable!r}; this run has {known}.")

    def query(self, variable: str, family: str, window: tuple[int, int], buckets: int, entities: Any) -> xr.Dataset:
        """Return the buckets of a variable; see `Run.query`."""
        if family == LAYERS and variable in self._variables[ACTIVATIONS]:
            family = ACTIVATIONS
        if family not in self._variables:
            raise QueryError(f"There is no family {family!r}; allowed are {', '.join(self._variables)}.")
        if variable not in self._variables[family]:
            names = ", ".join(self._variables[family]) or "nothing yet"
            raise QueryError(f"{family} have no variable {variable!r}; they have {names}.")
        number = self._variables[family].index(variable)
        start, stop = (int(value) for value in window)
        if family in (CLASSES, OVERALL):
            return self._derived(family, variable, number, (start, stop), buckets, entities)
        if family == SCALARS:
            return self._stored(family, variable, 0, np.array([number]), (start, stop), buckets)
        return self._stored(family, variable, number, self._numbers(family, entities), (start, stop), buckets)

    def _stored(
        self, family: str, variable: str, statistic: int, entities: Any, window: tuple[int, int], buckets: int
    ) -> xr.Dataset:
        reader, count = self._commit.families.get(family), self._commit.manifest.entity_count(family)
        axis = reader.entry.axis if reader else IterationAxis()
        chosen = _choose(axis, window, buckets)

        def read(level: int, first: int, stop: int) -> NDArray[Any]:
            if reader is None:
                return np.empty((0, len(AGGREGATES), len(np.arange(count)[entities])), np.float32)
            return reader.summaries(level, first, stop, statistic, entities)

        scalar = family == SCALARS
        found = to_dataset(read, axis, chosen, variable, None if scalar else _ENTITY[family])
        return found if scalar else found.assign_coords(self._labels(family, entities))

    def _derived(
        self, family: str, variable: str, number: int, window: tuple[int, int], buckets: int, entities: Any
    ) -> xr.Dataset:
        series, axis = self._images.class_series()
        columns = np.array([series.shape[2] - 1]) if family == OVERALL else self._class_numbers(entities)
        chosen = _choose(axis, window, buckets)

        def read(level: int, first: int, stop: int) -> NDArray[Any]:
            span = 8**level
            values = records_as_buckets(series[first * span : stop * span, number][:, columns])
            for _ in range(level):
                values = merge_buckets(values)
            return values

        found = to_dataset(read, axis, chosen, variable, _ENTITY[family])
        if family == OVERALL:
            return found
        names = self._images.class_names
        return found.assign_coords({"class": [names[column] for column in columns]})

    def _numbers(self, family: str, entities: Any) -> Any:
        count = self._commit.manifest.entity_count(family)
        if entities is None:
            return slice(0, count)
        if isinstance(entities, slice):
            return slice(*entities.indices(count))
        numbers = np.array([self.layer_number(one) if isinstance(one, str) else int(one) for one in entities], np.int64)
        if np.any((numbers < 0) | (numbers >= count)):
            raise QueryError(f"{family} are numbered 0 to {count - 1}; {numbers.tolist()} were asked for.")
        return numbers

    def _class_numbers(self, entities: Sequence[str | int] | None) -> NDArray[np.int64]:
        names = self._images.class_names
        if entities is None:
            return np.arange(len(names))
        unknown = [one for one in entities if (one not in names if isinstance(one, str) else not 0 <= one < len(names))]
        if unknown:
            raise QueryError(f"There is no class {unknown[0]!r}; this run has {', '.join(names) or 'none'}.")
        return np.array([names.index(one) if isinstance(one, str) else int(one) for one in entities], np.int64)

    def _labels(self, family: str, entities: Any) -> dict[str, Any]:
        if family == FILTERS:
            return {"filter": np.arange(entities.start, entities.stop) if isinstance(entities, slice) else entities}
        names = np.array(list(self._layer_numbers), dtype=object)
        return {"layer": names[entities]}


def _choose(axis: IterationAxis, window: tuple[int, int], buckets: int) -> BucketRange:
    if not axis.records and window == (0, 0):
        return BucketRange(0, 0, 0)
    return choose_buckets(axis, window[0], window[1], buckets)
