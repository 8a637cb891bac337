"""The correlation cube: iteration x class x layer, seen as three faces.

Class x iteration counts anomalous images, layer x iteration counts outlier filters, and layer x class says
how much more often the two come together than independent shifts of time would make them. Bins lie between
consecutive validations: an image found flipped at a validation flipped somewhere after the one before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deeptracker.data_model.circular_shift import coincidences
from deeptracker.data_model.significance import benjamini_hochberg, gamma_tail

Ints = npt.NDArray[np.int64]

FEWEST_BINS = 20
"""Below this many bins no pair is judged: the least p-value that n shifts can give is 1 / n."""

MEANING = {
    "observed": (
        "coincidences",
        "sum over bins of anomalous images of the class times outlier filters of the layer",
    ),
    "expected": ("coincidences", "mean of the same over all circular shifts of time"),
    "variance": ("coincidences^2", "variance of the same over all circular shifts of time"),
    "lift": ("", "observed / expected"),
    "p_value": ("", "probability of the observed count or more under circular shifts (gamma approximation)"),
    "q_value": ("", "p-value corrected for the number of pairs (Benjamini-Hochberg)"),
}


@dataclass(frozen=True)
class Occurrences:
    """Where and when members of rows were anomalous; int64 arrays with one entry per occurrence.

    A member is an image and its row the class, or a filter and its row the layer.
    """

    iteration: Ints
    row: Ints
    member: Ints

    @classmethod
    def of(
        cls,
        anomalies: pd.DataFrame,
        rules: Collection[str],
        number: Mapping[str, int],
        row_of: npt.NDArray[Any],
    ) -> Occurrences:
        """Gather what some rules found from the table of anomalies.

        `number` gives the number of an image or filter by its name in the table, `row_of` the row (class or
        layer) of each number. Names that are not in `number` are left out.
        """
        rows = anomalies[anomalies["rule"].isin(list(rules)) & anomalies["entity"].isin(list(number))]
        member = np.array([number[name] for name in rows["entity"]], np.int64)
        return cls(np.asarray(rows["start"], np.int64), np.asarray(row_of, np.int64)[member], member)


def bin_edges(
    validations: npt.NDArray[Any], iterations: tuple[int, int] | None = None, limit: int | None = None
) -> Ints:
    """Return the edges (int64) of the bins between consecutive validations that touch `iterations` [start,
    stop).

    A bin is [edge, next edge) and ends right after its validation. With a `limit`, 2, 4, 8 … neighbours are
    merged until at most about that many bins remain (one more where the window cuts a merged bin); merged
    bins do not move when the window does. Fewer than two edges: no bin yet.
    """
    edges = np.asarray(validations, np.int64) + 1
    if len(edges) < 2:
        return np.empty(0, np.int64)
    first, last = 0, len(edges) - 1
    if iterations is not None:
        first = max(int(np.searchsorted(edges, iterations[0], side="right")) - 1, 0)
        last = min(int(np.searchsorted(edges, iterations[1], side="left")), last)
    if first >= last:
        return np.empty(0, np.int64)
    merged = 1
    while limit is not None and (last - first) > limit * merged:
        merged *= 2
    first, last = first // merged * merged, min(-(-last // merged) * merged, len(edges) - 1)
    chosen = np.arange(first, last, merged)
    return np.asarray(edges[np.append(chosen, last)])


def face(occurrences: Occurrences, edges: Ints, rows: int) -> npt.NDArray[np.int32]:
    """Count the distinct members of each row that were anomalous in each bin: int32 (row, bin)."""
    bins = max(len(edges) - 1, 0)
    position = np.searchsorted(edges, occurrences.iteration, side="right") - 1
    inside = (position >= 0) & (position < bins)
    found = np.stack([occurrences.row[inside], position[inside], occurrences.member[inside]])
    row, column, _ = np.unique(found, axis=1)
    counts = np.bincount(row * bins + column, minlength=rows * bins)
    return counts.reshape(rows, bins).astype(np.int32)


def strength(
    layer_face: npt.NDArray[Any], class_face: npt.NDArray[Any], layers: Sequence[str], classes: Sequence[str]
) -> xr.Dataset:
    """Say how strongly layers and classes go together: the variables of `MEANING` over (layer, class),
    float64.

    The faces are counts over the same bins, unmerged. With fewer than `FEWEST_BINS` bins, p and q are NaN; a
    pair in which nothing can coincide by any shift has p and q of 1 and is not counted as a pair that was
    tested.
    """
    found = coincidences(layer_face, class_face)
    p_value = gamma_tail(found.observed, found.expected, found.variance)
    q_value = np.ones_like(p_value)
    tested = found.variance > 0
    q_value[tested] = benjamini_hochberg(p_value[tested])
    if layer_face.shape[1] < FEWEST_BINS:
        p_value[:], q_value[:] = np.nan, np.nan
    values = {
        "observed": found.observed,
        "expected": found.expected,
        "variance": found.variance,
        "lift": np.divide(found.observed, found.expected, out=np.full_like(p_value, np.nan), where=found.expected > 0),
        "p_value": p_value,
        "q_value": q_value,
    }
    described = {
        name: (("layer", "class"), values[name], {"units": units, "long_name": meaning})
        for name, (units, meaning) in MEANING.items()
    }
    return xr.Dataset(
        described,
        coords={"layer": list(layers), "class": list(classes)},
        attrs={"bins": int(layer_face.shape[1])},
    )


def behind(
    layer_found: Occurrences, class_found: Occurrences, edges: Ints, layer: int, class_index: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the filters and the images behind a cell, as (number, bins shared) with the most shared first.

    A bin is shared when at least one filter of the layer and one image of the class were anomalous in it.
    """
    filters = _by_bin(layer_found, edges, layer)
    images = _by_bin(class_found, edges, class_index)
    shared = np.intersect1d(filters[0], images[0])
    return _ranked(*filters, shared), _ranked(*images, shared)


def _by_bin(found: Occurrences, edges: Ints, row: int) -> tuple[Ints, Ints]:
    bins = max(len(edges) - 1, 0)
    position = np.searchsorted(edges, found.iteration, side="right") - 1
    mine = (found.row == row) & (position >= 0) & (position < bins)
    pairs = np.unique(np.stack([position[mine], found.member[mine]]), axis=1)
    return pairs[0], pairs[1]


def _ranked(position: Ints, member: Ints, shared: Ints) -> list[tuple[int, int]]:
    members, counts = np.unique(member[np.isin(position, shared)], return_counts=True)
    return sorted(zip(members.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
