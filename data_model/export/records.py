"""The records of each family as they were recorded, to be exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deeptracker.data_model import run_data
from deeptracker.data_model.commit import Commit
from deeptracker.data_model.errors import QueryError
from deeptracker.data_model.export.choice import IMAGES, Choice, some
from deeptracker.data_model.export.source import NOT_RECORDED, Source, lazy_blocks
from deeptracker.data_model.families import MISSING_RESULT, SNAPSHOTS, VALIDATION
from deeptracker.data_model.images import Images
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, LAYERS, SCALARS


def records(commit: Commit, images: Images, choice: Choice) -> Source:
    """Return the chosen records of a family as a Source; QueryError for what there is not."""
    if choice.family == SNAPSHOTS:
        return _snapshots(commit, choice)
    if choice.family == IMAGES:
        return Source(IMAGES, _images(commit, images, choice), "image", 256)
    dataset = _DATASETS[choice.family](commit, images)
    names = choice.named("scalar" if choice.family == SCALARS else "statistic", [str(name) for name in dataset])
    dim = VALIDATION if choice.family == VALIDATION else "iteration"
    window = _window(dataset["iteration"].values, choice.iterations)
    dataset = dataset.drop_vars([name for name in dataset if name not in names])
    dataset = (dataset[names] if names else dataset).isel({dim: window, **_entities(commit, images, choice)})
    entry = commit.manifest.logs.get(choice.family)
    return Source(choice.family, dataset, dim, entry.records_per_shard if entry else 1)


def _filters(commit: Commit) -> xr.Dataset:
    dataset = run_data.filters(commit)
    return dataset.assign_coords(filter=np.arange(dataset.sizes["filter"]))


def _validation(commit: Commit, images: Images) -> xr.Dataset:
    dataset = run_data.validation(commit, images).assign_coords(class_name=("image", _class_names(images)))
    for name in ("predicted", "rank"):
        if name in dataset:
            dataset[name].attrs[NOT_RECORDED] = MISSING_RESULT
    return dataset


_DATASETS: dict[str, Callable[[Commit, Images], xr.Dataset]] = {
    SCALARS: lambda commit, _: run_data.scalars(commit),
    LAYERS: lambda commit, _: run_data.layers(commit),
    ACTIVATIONS: lambda commit, _: run_data.layers(commit, ACTIVATIONS),
    FILTERS: lambda commit, _: _filters(commit),
    CLASSES: run_data.classes,
    VALIDATION: _validation,
}


def _window(iterations: NDArray[np.int64], wanted: tuple[int | None, int | None] | None) -> slice:
    """Return the records at iterations [start, stop)."""
    start, stop = wanted or (None, None)
    if start is not None and stop is not None and stop <= start:
        raise QueryError(f"The window [{start}, {stop}) is empty; its stop must lie above its start.")
    first = 0 if start is None else int(np.searchsorted(iterations, start))
    return slice(first, len(iterations) if stop is None else int(np.searchsorted(iterations, stop)))


def _entities(commit: Commit, images: Images, choice: Choice) -> dict[str, NDArray[np.int64]]:
    """Return the numbers of the entities chosen, by dimension; nothing where all are wanted."""
    if choice.family in (LAYERS, ACTIVATIONS) and choice.layers is not None:
        return {"layer": numbers_of(choice.layers, [layer.name for layer in commit.manifest.layers], "layer")}
    if choice.family == FILTERS and (chosen := chosen_filters(commit, choice)) is not None:
        return {"filter": chosen}
    if choice.family == CLASSES and choice.classes is not None:
        return {"class": numbers_of(choice.classes, images.class_names, "class")}
    if choice.family == VALIDATION and (chosen := chosen_images(images, choice)) is not None:
        return {"image": chosen}
    return {}


def chosen_filters(commit: Commit, choice: Choice) -> NDArray[np.int64] | None:
    """Return the numbers of the filters that are named, or that the layers named have; None for all."""
    count = commit.manifest.entity_count(FILTERS)
    if choice.filters is not None:
        chosen = np.asarray(choice.filters, np.int64)
        if np.any((chosen < 0) | (chosen >= count)):
            raise QueryError(f"Filters are numbered 0 to {count - 1}; {some(choice.filters)} were asked for.")
        return chosen
    if choice.layers is None:
        return None
    layers = commit.manifest.layers
    wanted = numbers_of(choice.layers, [layer.name for layer in layers], "layer")
    owner = np.repeat(np.arange(len(layers)), [layer.filters for layer in layers])
    return np.flatnonzero(np.isin(owner, wanted))


def chosen_images(images: Images, choice: Choice) -> NDArray[np.int64] | None:
    """Return the numbers of the images that are named, or of the classes named; None for all."""
    chosen = np.arange(len(images.ids))
    if choice.images is not None:
        chosen = numbers_of(choice.images, [str(one) for one in images.ids], "image")
    if choice.classes is not None:
        classes = numbers_of(choice.classes, images.class_names, "class")
        chosen = chosen[np.isin(images.image_class[chosen], classes)]
    return chosen if choice.images is not None or choice.classes is not None else None


def numbers_of(names: Sequence[str], known: Sequence[str], what: str) -> NDArray[np.int64]:
    """Return the places of names among those there are; QueryError for one there is not."""
    place = {name: number for number, name in enumerate(known)}
    unknown = [name for name in names if name not in place]
    if unknown:
        raise QueryError(f"There is no {what} {unknown[0]!r}; this run has {some(known)}.")
    return np.array([place[name] for name in names], np.int64)


def _class_names(images: Images) -> NDArray[Any]:
    names = np.array([*images.class_names, ""], dtype=object)
    return names[np.where(images.image_class < 0, len(names) - 1, images.image_class)]


def _images(commit: Commit, images: Images, choice: Choice) -> xr.Dataset:
    """Return the class of every image and its picture, over `image`."""
    data: dict[str, Any] = {"class": ("image", images.image_class), "class_name": ("image", _class_names(images))}
    shape = commit.manifest.thumbnail_shape
    if shape and len(images.ids):
        known = commit.read("images/has_thumbnail")[: len(images.ids)].astype(bool)
        known = np.pad(known, (0, len(images.ids) - len(known)))

        def read(start: int, stop: int) -> NDArray[Any]:
            there = commit.read("images/thumbnail", slice(start, stop))
            return np.concatenate([there, np.zeros((stop - start - len(there), *there.shape[1:]), np.uint8)])

        dims = ("image", "height", "width", "colour")
        data["has_thumbnail"] = ("image", known)
        data["thumbnail"] = lazy_blocks(dims, (len(images.ids), *shape), np.uint8, read, {"long_name": "small picture"})
    dataset = xr.Dataset(data, coords={"image": images.ids})
    chosen = chosen_images(images, choice)
    return dataset if chosen is None else dataset.isel(image=chosen)


def _snapshots(commit: Commit, choice: Choice) -> Source:
    """Return the weights kept: a variable per layer, in its own shape; as tables, a row per weight."""
    layers = commit.manifest.layers
    kept = sorted(commit.manifest.snapshot_layers.order) if commit.snapshots is not None else []
    if choice.layers is not None:
        known = [layers[number].name for number in kept]
        kept = [kept[number] for number in numbers_of(choice.layers, known, "layer with snapshots")]
    iterations = run_data.snapshot_iterations(commit)
    window = _window(iterations, choice.iterations)
    data, tables = {}, []
    for number in kept:
        layer = layers[number]
        read = partial(_weights, commit, number)
        shape = (len(iterations), *layer.shape)
        dims = ("snapshot", *(f"{layer.name}.{axis}" for axis in range(len(layer.shape))))
        attrs = {"long_name": f"weights of {layer.name} ({layer.kind})"}
        data[layer.name] = lazy_blocks(dims, shape, np.float32, read, attrs)
        tables.append(_weight_rows(commit, number, iterations, window))
    coords = {"iteration": ("snapshot", iterations)}
    dataset = xr.Dataset(data, coords=coords).isel(snapshot=window)
    empty = xr.Dataset({"value": (("snapshot", "weight"), np.zeros((0, 0), np.float32))})
    empty = empty.assign_coords(iteration=("snapshot", np.zeros(0, np.int64)), layer="", weight=np.zeros(0, np.int64))
    return Source(SNAPSHOTS, dataset, "snapshot", 1, tables or [empty])


def _weights(commit: Commit, layer: int, start: int, stop: int) -> NDArray[np.float32]:
    """Return a layer's weights at snapshots [start, stop), in its own shape; plain NaN where they were not kept."""
    manifest = commit.manifest
    assert commit.snapshots is not None
    span = manifest.snapshot_layers.place(layer, manifest.layers)
    flat = commit.snapshots.rows("weights", start, stop, commit.snapshot_field, (span,))
    return np.asarray(flat, np.float32).reshape(stop - start, *manifest.layers[layer].shape)


def _weight_rows(commit: Commit, number: int, iterations: NDArray[np.int64], window: slice) -> xr.Dataset:
    """Return a layer's weights in the snapshots that hold them, over (`snapshot`, `weight`)."""
    layer = commit.manifest.layers[number]

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return _weights(commit, number, start, stop).reshape(stop - start, -1)

    value = lazy_blocks(("snapshot", "weight"), (len(iterations), layer.size), np.float32, read)
    coords = {"iteration": ("snapshot", iterations), "layer": layer.name, "weight": np.arange(layer.size)}
    holding = run_data.snapshots_of(commit, number)
    inside = holding[(holding >= window.start) & (holding < window.stop)]
    return xr.Dataset({"value": value}, coords=coords).isel(snapshot=inside)
