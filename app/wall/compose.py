"""Composes what is on screen into one image of palette indices: rows of values, or rows of states.

Pure: arrays in, one uint8 image (height, width) out, its first line at the top. The kernels compile once per machine
and are read from the disk's cache after that; `warm_in_background` does it before anybody waits for it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from deeptracker.app.wall import columns as columns_
from deeptracker.app.wall import paint
from deeptracker.app.wall.columns import Columns, bucket_ranges, row_scales
from deeptracker.app.wall.source import Bytes, Flags, Floats, States
from deeptracker.app.wall.states import paint_states


@dataclass(frozen=True)
class Viewport:
    """What is on screen: iterations [first, last), rows [top, bottom) (both may end within a cell), and its pixels.

    `width` and `height` count image pixels, of which `unit` make one CSS pixel.
    """

    first: float
    last: float
    top: float
    bottom: float
    width: int
    height: int
    unit: float = 1.0

    @property
    def row_height(self) -> float:
        """Image pixels per row."""
        return self.height / (self.bottom - self.top)

    @property
    def level(self) -> int:
        """The encoding that the rows' height asks for."""
        return paint.encoding(self.row_height / self.unit)

    def rows(self, count: int) -> tuple[int, int]:
        """Return the rows [first, stop) of `count` that are on screen, wholly or in part."""
        return max(0, math.floor(self.top)), max(0, min(count, math.ceil(self.bottom)))


@dataclass(frozen=True)
class Picture:
    """The image (uint8 height x width), its encoding, and the bottom and top value (no logarithm) of each row."""

    image: Bytes
    level: int
    first_row: int
    scales: Floats


def compose_values(
    columns: Columns, view: Viewport, selected: Flags, lines: Bytes, first_row: int = 0, common: bool = False
) -> Picture:
    """Paint rows of values.

    `columns`, `selected` and `lines` describe the rows from `first_row` on, at least all that are on screen;
    `common` scales all rows on screen alike, so that they can be compared.
    """
    level = view.level
    stop = first_row + columns.flags.shape[0]
    begin, end = max(first_row, math.floor(view.top)), max(first_row, min(stop, math.ceil(view.bottom)))
    part = slice(begin - first_row, max(begin, end) - first_row)
    shown = columns.part(part)
    scales = row_scales(shown, level, common)
    image = np.full((view.height, columns.flags.shape[1]), paint.BLANK, np.uint8)
    if level == paint.POOLED:
        rows_a_pixel = 1 / view.row_height
        paint.paint_pooled(shown.values, shown.flags, selected[part], scales, view.top - begin, rows_a_pixel, image)
    else:
        tops = (np.arange(begin, max(begin, end) + 1) - view.top) * view.row_height
        zeros = np.ones(len(scales), np.bool_) if shown.logarithmic is None else ~shown.logarithmic
        paint.paint_rows(
            shown.values,
            shown.flags,
            selected[part],
            lines[part],
            scales,
            zeros,
            tops,
            level,
            float(view.unit),
            image,
        )
    if shown.logarithmic is not None:
        scales[shown.logarithmic] = 10.0 ** scales[shown.logarithmic]
    return Picture(image, level, begin, scales)


def compose_states(
    states: States, members: Sequence[Sequence[int]], view: Viewport, selected: Flags, lines: Bytes
) -> Picture:
    """Paint rows of states; `members` lists for every row the positions in `states` that it stands for."""
    begin, end = bucket_ranges(states.start, states.stop, view.first, view.last, view.width)
    counts = np.array([0, *(len(row) for row in members)], np.int32)
    flat = np.array([position for row in members for position in row], np.int32)
    image = np.full((view.height, view.width), paint.BLANK, np.uint8)
    offsets = np.cumsum(counts, dtype=np.int32)
    paint_states(states.state, flat, offsets, selected, lines, begin, end, view.top, view.row_height, image)
    level = paint.HEAT if view.row_height / view.unit < 5 else paint.ENVELOPE
    return Picture(image, level, view.rows(len(members))[0], np.empty((0, 2), np.float32))


def warm() -> None:
    """Compile every kernel, or load it from the disk's cache: a first picture then waits for nothing."""
    columns_.warm()
    edges = np.array([0, 1], np.int64)
    one = np.zeros((1, 2), np.float32)
    data = Columns(np.stack([one] * 5), np.zeros((1, 2), np.uint8))
    flags, lines = np.zeros(1, np.bool_), np.zeros(1, np.uint8)
    for height in (0.5, 4.0, 10.0, 40.0):
        view = Viewport(0, 1, 0, 8 / height, 2, 8)
        compose_values(data, view, flags, lines)
    states = States(edges, edges + 1, np.zeros((1, 2), np.uint8))
    compose_states(states, [[0]], Viewport(0, 2, 0, 1, 2, 8), flags, lines)


@cache
def warm_in_background() -> threading.Thread:
    """Start `warm` beside everything else, once per process; return its thread."""
    thread = threading.Thread(target=warm, name="wall kernels", daemon=True)
    thread.start()
    return thread
