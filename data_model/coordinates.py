"""The coordinate arrays that make a run speak for itself when stock xarray opens it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.image_states import COUNTED
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.reduction import AGGREGATES
from deeptracker.data_model.state_layout import STATES
from deeptracker.data_model.tree import ArrayTree
from deeptracker.data_model.vocabulary import ACTIVATIONS, CLASSES, FILTERS, SCALARS

ALL_IMAGES = "all images"
"""Stands before the classes in their family."""


def write_coordinates(tree: ArrayTree, manifest: Manifest) -> None:
    """Write names of statistics, aggregates and entities into each family's group, where its levels inherit them."""
    named = {family: [one.name for one in statistics] for family, statistics in manifest.statistics.items()}
    del named[CLASSES]
    if not manifest.activation_statistics:
        del named[ACTIVATIONS]
    for family, names in {SCALARS: ["value"], **named}.items():
        tree.create_names(f"{family}/statistic", names, "statistic")
        tree.create_names(f"{family}/aggregate", list(AGGREGATES), "aggregate")
        if ENTITY[family] == "layer":
            tree.create_names(f"{family}/layer", [layer.name for layer in manifest.layers], "layer")
    owner, channel = _filters(manifest)
    tree.create_from(f"{FILTERS}/layer_of_filter", owner, "filter")
    tree.create_from(f"{FILTERS}/channel", channel, "filter")


def coordinates(manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Return what the coordinate arrays of a run hold, by their paths; a run need not have all of them."""
    owner, channel = _filters(manifest)
    found: dict[str, NDArray[Any]] = {f"{FILTERS}/layer_of_filter": owner, f"{FILTERS}/channel": channel}
    names = {f"{SCALARS}/scalar": manifest.scalars, f"{SCALARS}/statistic": ["value"]}
    for family, entity in ENTITY.items():
        names[f"{family}/aggregate"] = list(AGGREGATES)
        if family in manifest.statistics:
            names[f"{family}/statistic"] = [one.name for one in manifest.statistics[family]]
        if entity == "layer":
            names[f"{family}/layer"] = [layer.name for layer in manifest.layers]
    names[f"{CLASSES}/class"] = [ALL_IMAGES, *manifest.class_names]
    names[f"{STATES}/counted"] = list(COUNTED)
    return found | {path: np.array(one, dtype=np.dtypes.StringDType()) for path, one in names.items()}


def extend_layers(tree: ArrayTree, manifest: Manifest) -> None:
    """Write the names of layers that have joined, and which filters are theirs."""
    for family, entity in ENTITY.items():
        if entity == "layer" and f"{family}/layer" in tree:
            tree.extend_names(f"{family}/layer", [layer.name for layer in manifest.layers])
    owner, channel = _filters(manifest)
    tree.extend(f"{FILTERS}/layer_of_filter", owner)
    tree.extend(f"{FILTERS}/channel", channel)


def write_states(tree: ArrayTree) -> None:
    """Write what the numbers of a count of states are."""
    if f"{STATES}/counted" not in tree:
        tree.create_names(f"{STATES}/counted", list(COUNTED), "counted")


def extend_classes(tree: ArrayTree, manifest: Manifest) -> None:
    """Write the names of the classes, of which new ones may come with new images; all images together come first."""
    names = [ALL_IMAGES, *manifest.class_names]
    if f"{CLASSES}/class" in tree:
        if tree[f"{CLASSES}/class"].shape[0] < len(names):
            tree.extend_names(f"{CLASSES}/class", names)
        return
    tree.create_names(f"{CLASSES}/statistic", [one.name for one in manifest.statistics[CLASSES]], "statistic")
    tree.create_names(f"{CLASSES}/aggregate", list(AGGREGATES), "aggregate")
    tree.create_names(f"{CLASSES}/class", names, "class")


def extend_scalars(tree: ArrayTree, manifest: Manifest) -> None:
    """Write the names of the scalars, of which new ones may come while recording."""
    path = f"{SCALARS}/scalar"
    if path not in tree:
        tree.create_names(path, manifest.scalars, "scalar")
    else:
        tree.extend_names(path, manifest.scalars)


def _filters(manifest: Manifest) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return each filter's layer, and its number within the layer."""
    counts = [layer.filters for layer in manifest.layers]
    owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    first = np.repeat(np.cumsum([0, *counts])[:-1], counts)
    return owner, (np.arange(len(owner)) - first).astype(np.int32)
