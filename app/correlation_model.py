"""What the correlation view shows, as plain arrays: who was anomalous when, in bins and columns of pixels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deeptracker.data_model.anomaly import filter_name
from deeptracker.data_model.correlation import Occurrences, behind, bin_edges, face, strength

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

Window = tuple[int, int]
Counts = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

IMAGE_RULES = {"left": ("left_flip",), "right": ("right_flip",), "both": ("left_flip", "right_flip")}
FILTER_RULES = ("filter_outlier",)


@dataclass(frozen=True)
class Events:
    """Everything the cube counts, of the whole run.

    Rows of `images` are classes, rows of `filters` are positions in `layers`: the layers that have filters, in network
    order. `image_ids` and `filter_names` name the members by their number.
    """

    images: Occurrences
    filters: Occurrences
    validations: Ints
    classes: list[str]
    layers: list[str]
    image_ids: list[str]
    filter_names: list[str]


def gather(run: Run, anomalies: pd.DataFrame, image_rules: Collection[str]) -> Events:
    """Sort the anomalies of a run into the axes of the cube."""
    images = run.images
    ids = [str(name) for name in images["id"].values]
    recorded = [number for number, layer in enumerate(run.layer_list) if layer.filters]
    row_of_layer = np.full(len(run.layer_list) + 1, -1)
    row_of_layer[recorded] = np.arange(len(recorded))
    names = [
        filter_name(layer.name, number) for layer in run.layer_list if layer.filters for number in range(layer.filters)
    ]
    numbers = {name: number for number, name in enumerate(names)}
    return Events(
        images=Occurrences.of(
            anomalies, image_rules, {name: number for number, name in enumerate(ids)}, images["class"].values
        ),
        filters=Occurrences.of(anomalies, FILTER_RULES, numbers, row_of_layer[run.filter_layer]),
        validations=np.asarray(run.validation["iteration"].values, np.int64),
        classes=list(run.class_names),
        layers=[run.layer_list[number].name for number in recorded],
        image_ids=ids,
        filter_names=names,
    )


@dataclass(frozen=True)
class Faces:
    """Two faces over the same bins: counts (class, bin) and (layer, bin), and the bins' edges in iterations."""

    edges: Ints
    classes: Counts
    layers: Counts

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return int(self.classes.shape[1])


def faces(events: Events, window: Window, limit: int | None = None) -> Faces:
    """Count in the bins that touch the window, merged to at most about `limit`."""
    edges = bin_edges(events.validations, window, limit)
    return Faces(
        edges, face(events.images, edges, len(events.classes)), face(events.filters, edges, len(events.layers))
    )


def pairs(events: Events, span: Window) -> xr.Dataset:
    """Say how strongly layers and classes go together over the unmerged bins that touch `span`.

    To the variables of `strength` it adds `excess`: (observed - expected) in standard deviations over all shifts.
    """
    counted = faces(events, span)
    found = strength(counted.layers, counted.classes, events.layers, events.classes)
    deviation = np.sqrt(found["variance"].values)
    more = found["observed"].values - found["expected"].values
    excess = np.divide(more, deviation, out=np.zeros_like(more), where=deviation > 0)
    return found.assign(excess=(("layer", "class"), excess))


def strongest(found: xr.Dataset, most: int) -> list[tuple[int, int]]:
    """Return the (layer, class) pairs that stand out most, by p-value and then by excess; none without excess."""
    excess, p_value = found["excess"].values, found["p_value"].values
    order = np.lexsort((-excess.ravel(), np.nan_to_num(p_value, nan=1.0).ravel()))
    places = [tuple(int(part) for part in np.unravel_index(place, excess.shape)) for place in order[:most]]
    return [(layer, class_) for layer, class_ in places if excess[layer, class_] > 0]


def members(
    events: Events, span: Window, layer: int, class_: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the filters and images behind a pair, as (number, bins shared), most shared first."""
    return behind(events.filters, events.images, bin_edges(events.validations, span), layer, class_)


def members_of_row(found: Occurrences, span: Window, row: int) -> list[tuple[int, int]]:
    """Return the members of one row that were anomalous in a span, as (number, times), most often first."""
    mine = (found.row == row) & (found.iteration >= span[0]) & (found.iteration < span[1])
    numbers, counts = np.unique(found.member[mine], return_counts=True)
    return sorted(zip(numbers.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def to_columns(counts: Counts, edges: Ints, window: tuple[float, float], columns: int) -> npt.NDArray[np.float32]:
    """Stretch bins onto `columns` equal columns of a window: float32 (row, column), NaN where there is no bin.

    Each column shows the highest of the bins that reach into it, so no bin is lost where several share a column.
    """
    rows, bins = counts.shape
    picture = np.full((rows, columns), np.nan, np.float32)
    if bins == 0 or rows == 0:
        return picture
    places = np.linspace(window[0], window[1], columns + 1)
    first = np.searchsorted(edges[1:], places[:-1], side="right")
    last = np.maximum(np.searchsorted(edges[:-1], places[1:], side="left") - 1, first)
    for column in np.flatnonzero((first < bins) & (places[1:] > edges[0])):
        picture[:, column] = counts[:, first[column] : last[column] + 1].max(axis=1)
    return picture


def bin_at(edges: Ints, iteration: float) -> Window | None:
    """Return the bin [start, stop) that holds an iteration, None outside of all."""
    position = int(np.searchsorted(edges, iteration, side="right")) - 1
    return (int(edges[position]), int(edges[position + 1])) if 0 <= position < len(edges) - 1 else None


def described(events: Events, found: xr.Dataset, layer: int, class_: int) -> dict[str, Any]:
    """Return the exact numbers of a pair, by the words a person reads."""
    cell: dict[str, Any] = {str(name): float(found[name].values[layer, class_]) for name in found.data_vars}
    return {"layer": events.layers[layer], "class": events.classes[class_], **cell, "bins": int(found.attrs["bins"])}
