"""The coordinate arrays that make a run speak for itself when stock xarray opens it."""

from __future__ import annotations

import numpy as np

from deeptracker.data_model.families import ENTITY
from deeptracker.data_model.manifest import Manifest
from deeptracker.data_model.reduction import AGGREGATES
from deeptracker.data_model.tree import ArrayTree
from deeptracker.data_model.vocabulary import ACTIVATIONS, FILTERS, SCALARS

SCALAR_NAMES = 1024


def write_coordinates(tree: ArrayTree, manifest: Manifest) -> None:
    """Write names of statistics, aggregates and entities into each family's group, where its levels inherit them."""
    named = {family: [one.name for one in statistics] for family, statistics in manifest.statistics.items()}
    if not manifest.activation_statistics:
        del named[ACTIVATIONS]
    for family, names in {SCALARS: ["value"], **named}.items():
        tree.create_names(f"{family}/statistic", names, "statistic")
        tree.create_names(f"{family}/aggregate", list(AGGREGATES), "aggregate")
        if ENTITY[family] == "layer":
            tree.create_names(f"{family}/layer", [layer.name for layer in manifest.layers], "layer")
    counts = [layer.filters for layer in manifest.layers]
    owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    first = np.repeat(np.cumsum([0, *counts])[:-1], counts)
    tree.create_from(f"{FILTERS}/layer_of_filter", owner, "filter")
    tree.create_from(f"{FILTERS}/channel", (np.arange(len(owner)) - first).astype(np.int32), "filter")


def write_scalar_names(tree: ArrayTree, manifest: Manifest) -> None:
    """Write the names of the scalars, of which new ones may come while recording.

    Within one chunk of fixed size, so that a reader of an earlier commit still decodes it.
    """
    path, strings = f"{SCALARS}/scalar", np.dtypes.StringDType()
    if path not in tree:
        tree.create(path, shape=(0,), chunks=(SCALAR_NAMES,), dtype=strings, dimension_names=("scalar",))
    tree[path].resize((len(manifest.scalars),))
    tree[path][:] = np.array(manifest.scalars, dtype=strings)
