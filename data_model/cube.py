"""The correlation cube of a run: iteration x class x layer, down to image and filter, at any zoom.

It is an index of events (which image flipped, which filter moved out of line, when); its three faces are counted from
it for any window in milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deeptracker.data_model.anomaly import filter_name
from deeptracker.data_model.correlation import Occurrences, behind, bin_edges, face, member_face, strength
from deeptracker.data_model.image_events import flips

if TYPE_CHECKING:
    from deeptracker.data_model.run import Run

Span = tuple[int, int]
Counts = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]

IMAGE_RULES = {"left": ("left_flip",), "right": ("right_flip",), "both": ("left_flip", "right_flip")}
FILTER_RULES = ("filter_outlier",)


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


@dataclass(frozen=True)
class EventCube:
    """Everything the cube counts, of the whole run.

    Rows of `images` are classes, rows of `filters` are positions in `layers`: the layers that have filters, in network
    order. `image_ids` and `filter_names` name the members by their number, `image_rows` and `filter_rows` are the rows
    they belong to.
    """

    images: Occurrences
    filters: Occurrences
    validations: Ints
    classes: list[str]
    layers: list[str]
    image_ids: list[str]
    filter_names: list[str]
    image_rows: Ints
    filter_rows: Ints

    def faces(self, window: Span | None = None, limit: int | None = None) -> Faces:
        """Count in the bins that touch the window [start, stop), merged to at most about `limit`."""
        edges = bin_edges(self.validations, window, limit)
        return Faces(edges, face(self.images, edges, len(self.classes)), face(self.filters, edges, len(self.layers)))

    def image_face(
        self, class_: int, window: Span | None = None, limit: int | None = None
    ) -> tuple[Ints, Ints, Counts]:
        """Return a class's face down to its images: edges, image numbers, and in which bins each was anomalous."""
        edges = bin_edges(self.validations, window, limit)
        return edges, *member_face(self.images, edges, class_)

    def filter_face(
        self, layer: int, window: Span | None = None, limit: int | None = None
    ) -> tuple[Ints, Ints, Counts]:
        """Return a layer's face down to its filters: edges, filter numbers, and in which bins each was anomalous."""
        edges = bin_edges(self.validations, window, limit)
        return edges, *member_face(self.filters, edges, layer)

    def pairs(self, span: Span | None = None, without: Sequence[Span] = ()) -> xr.Dataset:
        """Say how strongly layers and classes go together over the unmerged bins that touch `span`, see `strength`.

        Bins that touch a span of `without` are left out, an episode for instance that the whole run went through.
        """
        counted = self.faces(span)
        start, stop = counted.edges[:-1], counted.edges[1:]
        kept = np.ones(counted.bins, bool)
        for first, last in without:
            kept &= (stop <= first) | (start >= last)
        return strength(counted.layers[:, kept], counted.classes[:, kept], self.layers, self.classes)

    def behind(self, span: Span | None, layer: int, class_: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the filters and images behind a pair, as (number, bins shared), most shared first."""
        return behind(self.filters, self.images, bin_edges(self.validations, span), layer, class_)


def strongest(found: xr.Dataset, most: int) -> list[tuple[int, int]]:
    """Return the (layer, class) pairs that stand out most, by p-value and then by excess; none without excess."""
    excess, p_value = found["excess"].values, found["p_value"].values
    order = np.lexsort((-excess.ravel(), np.nan_to_num(p_value, nan=1.0).ravel()))
    places = [tuple(int(part) for part in np.unravel_index(place, excess.shape)) for place in order[:most]]
    return [(layer, class_) for layer, class_ in places if excess[layer, class_] > 0]


def members_of_row(found: Occurrences, span: Span, row: int) -> list[tuple[int, int]]:
    """Return the members of one row that were anomalous in a span, as (number, times), most often first."""
    mine = (found.row == row) & (found.iteration >= span[0]) & (found.iteration < span[1])
    numbers, counts = np.unique(found.member[mine], return_counts=True)
    return sorted(zip(numbers.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def cube_of_table(run: Run, anomalies: pd.DataFrame, image_rules: Collection[str]) -> EventCube:
    """Build the cube from a table of anomalies that are known already."""
    ids = [str(name) for name in run.images["id"].values]
    numbers = {name: number for number, name in enumerate(ids)}
    images = Occurrences.of(anomalies, image_rules, numbers, run.images["class"].values)
    return _cube(run, images, anomalies)


def cube_of_run(run: Run, images: str, stable: int) -> EventCube:
    """Build the cube from the records themselves; `images` is a key of `IMAGE_RULES`, `stable` the rules' k.

    Flips are taken as arrays, in portions: a table of millions of them with a sentence each would not fit.
    """
    parts = []
    for numbers, results in run.result_portions():
        found = flips(results.correct)
        passing = {"left": found.left(stable), "right": found.right(stable)}
        chosen = passing.get(images, passing["left"] | passing["right"])
        image = found.image[chosen]
        iteration, row = results.iteration[found.validation[chosen]], results.image_class[image]
        parts.append(np.stack([iteration, row.astype(np.int64), numbers[image]]))
    together = np.concatenate([np.empty((3, 0), np.int64), *parts], axis=1)
    return _cube(run, Occurrences(*together), run.anomalies(FILTER_RULES))


def _cube(run: Run, images: Occurrences, anomalies: pd.DataFrame) -> EventCube:
    layers = run.layer_list
    recorded = [number for number, layer in enumerate(layers) if layer.filters]
    row_of_layer = np.full(len(layers) + 1, -1)
    row_of_layer[recorded] = np.arange(len(recorded))
    names = [filter_name(layer.name, number) for layer in layers for number in range(layer.filters)]
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(names)}
    return EventCube(
        images=images,
        filters=Occurrences.of(anomalies, FILTER_RULES, numbers, row_of_layer[run.filter_layer]),
        validations=np.asarray(run.validation["iteration"].values, np.int64),
        classes=list(run.class_names),
        layers=[layers[number].name for number in recorded],
        image_ids=[str(name) for name in run.images["id"].values],
        filter_names=names,
        image_rows=np.asarray(run.images["class"].values, np.int64),
        filter_rows=row_of_layer[run.filter_layer].astype(np.int64),
    )
