"""Single events of the cube as points, rasterised by Datashader: a row per class or layer, in it a line per member."""

from __future__ import annotations

import datashader
import numpy as np
import numpy.typing as npt
import pandas as pd

from deeptracker.data_model.correlation import Occurrences

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MARGIN = 0.06
"""Share of a row that stays free above and below its members."""
DOT, FEW_DOT, FEW = 3, 5, 3000
"""Pixels of a single event in both directions, so that it is seen and can be pointed at; larger where they are few."""


def offsets(row_of_member: Ints, rows: int) -> Floats:
    """Return where each member lies within its row, between -0.5 and 0.5, in the order of their numbers.

    `row_of_member` is int64 (member), -1 for one without a row, which gets NaN.
    """
    place = np.full(len(row_of_member), np.nan)
    order = np.argsort(row_of_member, kind="stable")
    sorted_rows = row_of_member[order]
    first = np.searchsorted(sorted_rows, np.arange(rows))
    count = np.searchsorted(sorted_rows, np.arange(rows), side="right") - first
    known = sorted_rows >= 0
    row = sorted_rows[known]
    number = np.arange(len(sorted_rows))[known] - first[row]
    place[order[known]] = ((number + 0.5) / count[row] - 0.5) * (1 - 2 * MARGIN)
    return place


def raster(
    events: Occurrences,
    offset: Floats,
    sign: int,
    window: tuple[float, float],
    rows: tuple[float, float],
    size: tuple[int, int],
) -> npt.NDArray[np.uint32]:
    """Return how many events lie at each pixel: uint32 (line, column), line 0 at `rows[0]`; `size` is (width, height).

    A row lies at `sign` times its number, its members about it by their `offset`. Events are spread to `DOT`
    pixels; a pixel that several reach counts the most of what lies together, so that no event hides another.
    """
    width, height = size
    inside = (events.iteration >= window[0] - 1) & (events.iteration < window[1] + 1)
    points = pd.DataFrame(
        {
            "x": events.iteration[inside] + 0.5,
            "y": sign * (events.row[inside] + offset[events.member[inside]]),
        }
    )
    canvas = datashader.Canvas(plot_width=width, plot_height=height, x_range=window, y_range=rows)
    if points.empty:
        return np.zeros((height, width), np.uint32)
    counts = np.asarray(canvas.points(points, "x", "y", datashader.count()).values, np.uint32)
    dot = FEW_DOT if len(points) < FEW else DOT
    return spread(spread(counts, dot).T, dot).T


def spread(counts: npt.NDArray[np.uint32], size: int) -> npt.NDArray[np.uint32]:
    """Return the most that lies within `size` pixels along the last axis, about each pixel."""
    half = size // 2
    padded = np.pad(counts, ((0, 0), (half, size - 1 - half)))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, size, axis=1).max(axis=2), np.uint32)


def nearest(
    events: Occurrences, offset: Floats, sign: int, at: tuple[float, float], pixel: tuple[float, float], reach: int = 6
) -> tuple[int, int, int] | None:
    """Return (row, member, iteration) of the event nearest to a point, None where none is within `reach` pixels.

    `at` is the point and `pixel` the size of a pixel, both in iterations and rows.
    """
    if not len(events.iteration):
        return None
    across = (events.iteration + 0.5 - at[0]) / pixel[0]
    up = (sign * (events.row + offset[events.member]) - at[1]) / pixel[1]
    away = np.nan_to_num(np.hypot(across, up), nan=np.inf)
    best = int(away.argmin())
    if away[best] > reach:
        return None
    return int(events.row[best]), int(events.member[best]), int(events.iteration[best])
