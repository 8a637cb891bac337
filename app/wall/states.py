"""Paints rows of states (right, wrong, flipped) into one image of palette indices, as shares where cells are small."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from deeptracker.app.wall.columns import compiled
from deeptracker.app.wall.source import Bytes, Flags

RIGHT_STEPS, FLIP_STEPS = 16, 12
"""Steps of the share of right states and of flips: index = right + RIGHT_STEPS * flips."""
BLANK, ROW_LINE, BLOCK_LINE, STAGE_LINE, SELECTED_MARK = 224, 225, 226, 227, 230
"""Indices beside the shares, the same as those of rows of values."""
_MISSING = 255


@compiled
def paint_states(
    states: Bytes,
    members: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int32],
    selected: Flags,
    lines: Bytes,
    begin: npt.NDArray[np.int32],
    end: npt.NDArray[np.int32],
    first: float,
    row_height: float,
    out: Bytes,
) -> None:
    """Paint the states (entities, validations) of rows; row r stands for `members[offsets[r]:offsets[r + 1]]`.

    Column c shows the validations [begin[c], end[c]); `first` is the row at the top edge of `out`, `row_height` its
    rows' height in image pixels. A pixel shows the share of right states and of flips among all that it stands for.
    """
    height, width = out.shape
    rows = len(offsets) - 1
    before = -1
    for y in range(height):
        top = first + y / row_height
        row = math.floor(top)
        until = max(row + 1, math.floor(first + (y + 1) / row_height))
        if row < 0 or row >= rows:
            out[y, :] = BLANK
            before = -1
            continue
        single = until == row + 1
        below = row + 1
        if row_height >= 5 and math.floor(first + (y + 1) / row_height) > row:
            line = lines[below] if below < rows else 0
            out[y, :] = STAGE_LINE if line == 2 else (BLOCK_LINE if line == 1 else ROW_LINE)
            before = -1
            continue
        if single and row == before:
            out[y, :] = out[y - 1, :]
            continue
        fill_line(states, members[offsets[row] : offsets[min(rows, until)]], begin, end, out[y])
        any_selected = False
        for each in range(row, min(rows, until)):
            any_selected = any_selected or selected[each]
        if any_selected:
            out[y, : min(6, width)] = SELECTED_MARK
            out[y, max(0, width - 6) :] = SELECTED_MARK
        if 1 <= row_height < 5 and lines[row] == 2 and row != before and row > 0:
            out[y, :] = STAGE_LINE
            before = -1
        else:
            before = row if single else -1


@compiled
def fill_line(
    states: Bytes,
    entities: npt.NDArray[np.int32],
    begin: npt.NDArray[np.int32],
    end: npt.NDArray[np.int32],
    line: Bytes,
) -> None:
    """Fill one line of pixels with the shares of right states and flips of some entities."""
    for column in range(len(line)):
        if column > 0 and begin[column] == begin[column - 1] and end[column] == end[column - 1]:
            line[column] = line[column - 1]
            continue
        right, flips, known = 0, 0, 0
        for entity in entities:
            for validation in range(begin[column], end[column]):
                state = states[entity, validation]
                if state != _MISSING:
                    right += state & 1
                    flips += state >> 1
                    known += 1
        if known == 0:
            line[column] = BLANK
            continue
        # Rounded up: one flip among many never becomes none.
        flip_step = math.ceil(flips / known * (FLIP_STEPS - 1))
        line[column] = int(right / known * (RIGHT_STEPS - 1) + 0.5) + RIGHT_STEPS * flip_step
