"""Answers queries: finds the family and the entities that are meant, and reads their buckets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.blocks import Blocks, Groups, NetworkTree, Numbers
from deeptracker.data_model.bucket_rows import reduce_levels
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.images import Images
from deeptracker.data_model.query import BucketRange, Plan, ReadBuckets, choose_buckets, labels
from deeptracker.data_model.reduction import AGGREGATES
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS, SCALARS

OVERALL = "validation"
_ENTITY = {**ENTITY, CLASSES: "class", OVERALL: None}
_VALUES_AT_ONCE = 1 << 24
"""Values that are held at once while the series of a block are combined."""


class SeriesReader:
    """Queries over one commit."""

    def __init__(self, commit: Commit, images: Images) -> None:
        """Take the commit and its images."""
        self._commit, self._images = commit, images
        manifest = commit.manifest
        self._variables = {
            SCALARS: manifest.scalars,
            **{family: [one.name for one in statistics] for family, statistics in manifest.statistics.items()},
            OVERALL: [one.name for one in manifest.statistics[CLASSES]],
        }
        self._layer_numbers = {layer.name: number for number, layer in enumerate(manifest.layers)}
        self._layer_names = np.array([*self._layer_numbers, None], dtype=object)[:-1]
        self._all_layers = labels("layer", self._layer_names)
        self._tree = NetworkTree(manifest.layers)

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

    def query(
        self,
        variable: str,
        family: str,
        window: tuple[int, int],
        buckets: int,
        entities: Any,
        blocks: Blocks | None = None,
    ) -> xr.Dataset:
        """Return the buckets of a variable; see `Run.query`."""
        return self.plan(variable, family, window, buckets, entities, blocks).dataset()

    def plan(
        self,
        variable: str,
        family: str,
        window: tuple[int, int],
        buckets: int,
        entities: Any,
        blocks: Blocks | None = None,
    ) -> Plan:
        """Return how a query is to be answered: nothing is read yet."""
        if family == LAYERS and variable in self._variables[ACTIVATIONS]:
            family = ACTIVATIONS
        if family not in self._variables:
            raise QueryError(f"There is no family {family!r}; allowed are {', '.join(self._variables)}.")
        if variable not in self._variables[family]:
            names = ", ".join(self._variables[family]) or "nothing yet"
            raise QueryError(f"{family} have no variable {variable!r}; they have {names}.")
        number = self._variables[family].index(variable)
        span = (int(window[0]), int(window[1]))
        read_of, axis, width = self._derived(number) if family in (CLASSES, OVERALL) else self._stored(family, number)
        chosen = _choose(axis, span, buckets)
        if blocks is not None:
            groups = self._groups(family, blocks)
            wanted = np.unique(np.concatenate([np.empty(0, np.int64), *groups.values()]))
            width = -(-width // chosen.merged)
            step = max(width, _VALUES_AT_ONCE // (len(AGGREGATES) * max(1, len(wanted))) // width * width)
            placed = {name: np.searchsorted(wanted, numbers) for name, numbers in groups.items()}
            return Plan(variable, read_of(_contiguous(wanted)), axis, chosen, groups=placed, step=step)
        numbers = self._entities(family, number, entities)
        single = family in (SCALARS, OVERALL)
        if single:
            return Plan(variable, read_of(numbers), axis, chosen)
        return Plan(variable, read_of(numbers), axis, chosen, _ENTITY[family], self._labels(family, numbers))

    def _stored(self, family: str, number: int) -> tuple[Callable[[Any], ReadBuckets], IterationAxis, int]:
        """Return what reads buckets of some entities, the axis of the records, and how many records a shard has."""
        reader, count = self._commit.families.get(family), self._commit.manifest.entity_count(family)
        statistic = 0 if family == SCALARS else number

        def read_of(entities: Any) -> ReadBuckets:
            def read(part: BucketRange) -> NDArray[Any]:
                if reader is None:
                    return np.empty((0, len(AGGREGATES), len(np.arange(count)[entities])), np.float32)
                return reader.summaries(part.level, part.first, part.stop, statistic, entities, part.merged)

            return read

        return read_of, *((reader.entry.axis, reader.entry.records_per_shard) if reader else (IterationAxis(), 1))

    def _derived(self, number: int) -> tuple[Callable[[Any], ReadBuckets], IterationAxis, int]:
        """Return the same for what follows from the validations: stored, or of runs of before it was, computed."""
        axis, reader = self._images.axis, self._commit.class_records

        def read_of(columns: Any) -> ReadBuckets:
            def read(part: BucketRange) -> NDArray[Any]:
                if reader is not None:
                    return reader.summaries(part.level, part.first, part.stop, number, columns, part.merged)
                series = self._images.class_series()
                values = series[part.first * part.span : part.stop * part.span, number][:, columns]
                return reduce_levels(values.T, part.level, part.merged).transpose(2, 0, 1)

            return read

        return read_of, axis, 1

    def _entities(self, family: str, number: int, entities: Any) -> Any:
        if family == SCALARS:
            return np.array([number])
        if family == OVERALL:
            return np.zeros(1, np.int64)
        if family == CLASSES:
            return 1 + self._class_numbers(entities)  # all images come before the classes
        return self._numbers(family, entities)

    def _groups(self, family: str, blocks: Blocks) -> Groups:
        if family in (SCALARS, OVERALL):
            raise QueryError(f"{family} are no part of the network and have no blocks; leave `blocks` out.")
        if family != CLASSES:
            return self._tree.groups(blocks, filters=family == FILTERS)
        if not isinstance(blocks, Mapping):
            raise QueryError("Classes have no tree; give `blocks` as a mapping of names to lists of classes.")
        return {name: np.unique(1 + self._class_numbers(classes)) for name, classes in blocks.items()}

    def _numbers(self, family: str, entities: Any) -> Any:
        count = self._commit.manifest.entity_count(family)
        if entities is None:
            return slice(0, count, 1)
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

    def _labels(self, family: str, entities: Any) -> xr.Coordinates:
        if family == FILTERS:
            numbers = np.arange(entities.start, entities.stop) if isinstance(entities, slice) else entities
            return labels("filter", numbers)
        if family == CLASSES:
            return labels("class", np.array(self._images.class_names, dtype=object)[entities - 1])
        if isinstance(entities, slice) and entities == slice(0, len(self._layer_names), 1):
            return self._all_layers
        return labels("layer", self._layer_names[entities])


def _contiguous(numbers: Numbers) -> Any:
    """Return sorted numbers as a slice where they are side by side: it is read faster."""
    if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1:
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


def _choose(axis: IterationAxis, window: tuple[int, int], buckets: int) -> BucketRange:
    if not axis.records and window == (0, 0):
        return BucketRange(0, 0, 0)
    return choose_buckets(axis, window[0], window[1], buckets)
