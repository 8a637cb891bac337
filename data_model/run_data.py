"""A run's families as lazy xarray Datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.families import SNAPSHOTS
from deeptracker.data_model.images import Images
from deeptracker.data_model.lazy import Read, lazy_variable
from deeptracker.data_model.vocabulary import CLASS_STATISTICS, FILTERS, LAYERS, SCALARS, Statistic


def _once(commit: Commit, family: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
    """Return a copy of a commit's lazy Dataset, which is made once: rules ask for the same one many times."""
    if family not in commit.datasets:
        commit.datasets[family] = make()
    return commit.datasets[family].copy(deep=False)


def scalars(commit: Commit) -> xr.Dataset:
    """Return one variable per scalar over `iteration`."""
    return _once(commit, SCALARS, lambda: _scalars(commit))


def _scalars(commit: Commit) -> xr.Dataset:
    axis, reader = _axis(commit, SCALARS), commit.families.get(SCALARS)
    data = {}
    for number, name in enumerate(commit.manifest.scalars if reader else []):

        def read(start: int, stop: int, _: Any, number: int = number) -> NDArray[Any]:
            assert reader is not None
            return reader.records(0, start, stop, number)

        data[name] = lazy_variable(("iteration",), (axis.records,), "float64", read, {})
    return xr.Dataset(data, coords={"iteration": axis.iterations(0, axis.records)})


def layers(commit: Commit, family: str = LAYERS) -> xr.Dataset:
    """Return one variable per statistic of the layers, or of their activations, over (`iteration`, `layer`)."""
    names = [layer.name for layer in commit.manifest.layers]
    statistics = commit.manifest.statistics[family]
    return _once(commit, family, lambda: _family(commit, family, "layer", statistics, {"layer": names}))


def filters(commit: Commit) -> xr.Dataset:
    """Return one variable per statistic over (`iteration`, `filter`); `layer_name` and `channel` say which is which."""
    return _once(commit, FILTERS, lambda: _filters(commit))


def _filters(commit: Commit) -> xr.Dataset:
    all_layers = commit.manifest.layers
    names = np.array([layer.name for layer in all_layers for _ in range(layer.filters)], dtype=object)
    channel = [number for layer in all_layers for number in range(layer.filters)]
    coords = {"layer_name": ("filter", names), "channel": ("filter", np.array(channel, np.int32))}
    return _family(commit, FILTERS, "filter", commit.manifest.filter_statistics, coords)


def _family(
    commit: Commit, family: str, entity: str, statistics: list[Statistic], coords: dict[str, Any]
) -> xr.Dataset:
    axis, reader = _axis(commit, family), commit.families.get(family)
    data = {}
    for number, statistic in enumerate(statistics if reader else []):

        def read(start: int, stop: int, entities: Any, number: int = number) -> NDArray[Any]:
            assert reader is not None
            return reader.records(number, start, stop, entities)

        assert reader is not None
        attrs = {"long_name": statistic.meaning, "units": statistic.unit, "source": statistic.source}
        shape = (axis.records, reader.entry.entities)
        data[statistic.name] = lazy_variable(("iteration", entity), shape, "float32", read, attrs)
    return xr.Dataset(data, coords={"iteration": axis.iterations(0, axis.records), **coords})


def validation(commit: Commit, images: Images) -> xr.Dataset:
    """Return `predicted`, `probability` and `rank` over (`validation`, `image`)."""
    reader, data = commit.validation, {}
    for name, field in commit.validation_fields.items() if reader else ():

        def read(start: int, stop: int, entities: Any, name: str = name) -> NDArray[Any]:
            assert reader is not None
            return reader.rows(name, start, stop, commit.validation_fields[name], (entities,))

        shape = (images.axis.records, len(images.ids))
        data[name] = lazy_variable(("validation", "image"), shape, field.dtype, read, {"long_name": field.meaning})
    return xr.Dataset(
        data,
        coords={
            "iteration": ("validation", images.axis.iterations(0, images.axis.records)),
            "image": images.ids,
            "class": ("image", images.image_class),
        },
    )


def classes(commit: Commit, images: Images) -> xr.Dataset:
    """Return `error`, `loss` and `probability` over (`iteration`, `class`)."""
    reader, axis, data = commit.class_records, images.axis, {}
    for number, statistic in enumerate(CLASS_STATISTICS):

        def read(start: int, stop: int, entities: Any, number: int = number) -> NDArray[Any]:
            if reader is None:
                return images.class_series()[start:stop, number][:, 1 + entities]
            return reader.records(number, start, stop, 1 + entities)

        attrs = {"long_name": statistic.meaning, "units": statistic.unit}
        shape = (axis.records, len(images.class_names))
        data[statistic.name] = lazy_variable(("iteration", "class"), shape, "float32", read, attrs)
    return xr.Dataset(data, coords={"iteration": axis.iterations(0, axis.records), "class": images.class_names})


def snapshot_iterations(commit: Commit) -> NDArray[np.int64]:
    """Return the iterations at which weights were kept."""
    axis = _axis(commit, SNAPSHOTS)
    return axis.iterations(0, axis.records)


def snapshots_of(commit: Commit, layer: int) -> NDArray[np.int64]:
    """Return the numbers of the snapshots that hold a layer."""
    return commit.manifest.snapshot_layers.holding(layer, _axis(commit, SNAPSHOTS).records)


def kernels(commit: Commit, layer: int, snapshot: int) -> NDArray[np.float32]:
    """Return a layer's weights at a snapshot, in the layer's own shape."""
    layers, count = commit.manifest.layers, _axis(commit, SNAPSHOTS).records
    if commit.snapshots is None or not 0 <= snapshot < count:
        raise QueryError(f"This run has {count} snapshots, numbered from 0; number {snapshot} was asked for.")
    holding = snapshots_of(commit, layer)
    if snapshot not in holding:
        some = f"{len(holding)} of the {count} do, see snapshots_of" if len(holding) else "none does"
        raise QueryError(f"Snapshot {snapshot} does not hold the weights of layer {layers[layer].name!r}: {some}.")
    span = commit.manifest.snapshot_layers.place(layer, layers)
    flat = commit.snapshots.rows("weights", snapshot, snapshot + 1, commit.snapshot_field, (span,))
    return np.asarray(flat[0], np.float32).reshape(layers[layer].shape)


def _axis(commit: Commit, name: str) -> IterationAxis:
    entry = commit.manifest.logs.get(name)
    return entry.axis if entry else IterationAxis()


__all__ = [
    "Read",
    "classes",
    "filters",
    "kernels",
    "layers",
    "scalars",
    "snapshot_iterations",
    "snapshots_of",
    "validation",
]
