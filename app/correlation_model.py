"""What the correlation view shows of the cube: columns of pixels, and the words of a pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from deeptracker.data_model.cube import EventCube

Window = tuple[int, int]
Counts = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]


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


def described(events: EventCube, found: xr.Dataset, layer: int, class_: int) -> dict[str, Any]:
    """Return the exact numbers of a pair, by the words a person reads."""
    cell: dict[str, Any] = {str(name): float(found[name].values[layer, class_]) for name in found.data_vars}
    return {"layer": events.layers[layer], "class": events.classes[class_], **cell, "bins": int(found.attrs["bins"])}
