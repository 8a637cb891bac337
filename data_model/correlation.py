"""What the correlation cube is made of: bins, counts in bins, and how strongly layers and classes go together.

Class x iteration counts anomalous images, layer x iteration counts outlier filters, and layer x class says
how much more often the two come together than independent shifts of time would make them. Bins lie between
consecutive validations: an image found flipped at a validation flipped somewhere after the one before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from deeptracker.data_model.circular_shift import shift_test
from deeptracker.data_model.common_part import take_apart
from deeptracker.data_model.significance import benjamini_hochberg

Ints = npt.NDArray[np.int64]

FEWEST_BINS = 20
"""Below this many bins no pair is judged: n shifts alone give no p-value below 1 / n."""

MEANING = {
    "observed": (
        "coincidences",
        "sum over bins of anomalous images of the class times outlier filters of the layer",
    ),
    "expected": (
        "coincidences",
        "mean of the same over all circular shifts of what layer and class do apart from the course that all layers, "
        "and all classes, have in common",
    ),
    "lift": ("", "observed / expected"),
    "excess": (
        "standard deviations",
        "the same for the parts of layer and class that are their own, each in units of its spread at that time",
    ),
    "p_value": (
        "",
        "share of the circular shifts by up to a quarter of the bins with that excess or more; where none has it, from "
        "a Pareto tail",
    ),
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

    @cached_property
    def in_time(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Return iteration, row, member, and the iteration at which the member was anomalous before, in order of time.

        That iteration (the least int64 where there is none) tells whether an occurrence is its member's first in a
        bin, however wide the bin is: so no zoom has to sort again.
        """
        # One number for all three is sorted ten times as fast as three keys.
        width = int(self.member.max(initial=0)) + 1
        start = int(self.iteration.min(initial=0))
        length = int(self.iteration.max(initial=0)) - start + 1
        whose, when = np.divmod(np.sort((self.row * width + self.member) * length + self.iteration - start), length)
        iteration = when + start
        before = np.full(len(whose), np.iinfo(np.int64).min)
        same = whose[1:] == whose[:-1]
        before[1:][same] = iteration[:-1][same]
        order = np.argsort(iteration)
        row, member = np.divmod(whose[order], width)
        return iteration[order], row, member, before[order]

    def firsts(self, edges: Ints) -> tuple[Ints, Ints, Ints]:
        """Return bin, row and member of every occurrence that is its member's first in a bin."""
        if len(edges) < 2:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
        iteration, row, member, before = self.in_time
        places = np.searchsorted(iteration, edges)
        part = slice(int(places[0]), int(places[-1]))
        position = np.repeat(np.arange(len(edges) - 1), np.diff(places))
        first = before[part] < edges[position]
        return position[first], row[part][first], member[part][first]

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
    position, row, _ = occurrences.firsts(edges)
    return np.bincount(row * bins + position, minlength=rows * bins).reshape(rows, bins).astype(np.int32)


def member_face(occurrences: Occurrences, edges: Ints, row: int) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Return the members of a row that were anomalous between the edges, and in which bins: int32 (member, bin)."""
    bins = max(len(edges) - 1, 0)
    position, rows, member = occurrences.firsts(edges)
    mine = rows == row
    members, place = np.unique(member[mine], return_inverse=True)
    size = len(members) * bins
    return members, np.bincount(place * bins + position[mine], minlength=size).reshape(-1, bins).astype(np.int32)


def strength(
    layer_face: npt.NDArray[Any], class_face: npt.NDArray[Any], layers: Sequence[str], classes: Sequence[str]
) -> xr.Dataset:
    """Say how strongly layers and classes go together: the variables of `MEANING` over (layer, class),
    float64.

    The faces are counts over the same bins, unmerged. With fewer than `FEWEST_BINS` bins, p and q are NaN; a
    pair in which nothing can coincide by any shift has p and q of 1 and is not counted as a pair that was
    tested.
    """
    bins = layer_face.shape[1]
    observed = np.asarray(layer_face, np.float64) @ np.asarray(class_face, np.float64).T
    layer_parts, class_parts = take_apart(layer_face), take_apart(class_face)
    together = float(layer_parts.course @ class_parts.course)
    expected = np.outer(layer_parts.rate, class_parts.rate) * together if bins else np.zeros_like(observed)
    found = shift_test(layer_parts.own, class_parts.own)
    tested = np.isfinite(found.p_value)
    p_value, q_value = np.where(tested, found.p_value, 1.0), np.ones_like(found.p_value)
    q_value[tested] = benjamini_hochberg(p_value[tested])
    if bins < FEWEST_BINS:
        p_value[:], q_value[:] = np.nan, np.nan
    values = {
        "observed": observed,
        "expected": expected,
        "lift": np.divide(observed, expected, out=np.full_like(p_value, np.nan), where=expected > 0),
        "excess": found.excess,
        "p_value": p_value,
        "q_value": q_value,
    }
    described = {
        name: (("layer", "class"), values[name], {"units": units, "long_name": meaning})
        for name, (units, meaning) in MEANING.items()
    }
    return xr.Dataset(described, coords={"layer": list(layers), "class": list(classes)}, attrs={"bins": bins})


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
    position, rows, member = found.firsts(edges)
    return position[rows == row], member[rows == row]


def _ranked(position: Ints, member: Ints, shared: Ints) -> list[tuple[int, int]]:
    members, counts = np.unique(member[np.isin(position, shared)], return_counts=True)
    return sorted(zip(members.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
