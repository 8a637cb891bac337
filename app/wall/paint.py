"""Paints rows of values into one image of palette indices, each row as its height allows.

Heights are in image pixels, thresholds in CSS pixels: `unit` image pixels make one CSS pixel. The indices leave room
for antialiasing without any colour known here: an index says how much of the pixel is covered by what.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from deeptracker.app.wall.columns import compiled
from deeptracker.app.wall.source import Bytes, Flags, Floats

POOLED, HEAT, HORIZON, ENVELOPE = -1, 0, 1, 2
"""Encodings: several rows a pixel, a strip of colour, a horizon chart, an envelope with its band and line."""
HORIZON_FROM, ENVELOPE_FROM = 7.0, 16.0
"""CSS pixels of row height from which a row is a horizon chart, an envelope."""

# The layout of the 256 indices. Envelope pixels count coverages 0..3 of envelope, band and line: e + 4 b + 16 l.
ENVELOPE_BASE, SELECTED_BASE = 0, 64
HEAT_BASE, HEAT_STEPS = 128, 64
HORIZON_BASE, SELECTED_HORIZON_BASE, HORIZON_BANDS = 192, 208, 4
BLANK, ROW_LINE, BLOCK_LINE, STAGE_LINE, NONFINITE_MARK, SPIKE_MARK, SELECTED_MARK, ZERO_LINE = range(224, 232)


def encoding(row_height: float) -> int:
    """Return the encoding of rows that are `row_height` CSS pixels tall."""
    if row_height < 1:
        return POOLED
    if row_height < HORIZON_FROM:
        return HEAT
    return HORIZON if row_height < ENVELOPE_FROM else ENVELOPE


@compiled
def paint_pooled(
    values: Floats,
    flags: Bytes,
    selected: Flags,
    scales: Floats,
    first: float,
    rows_a_pixel: float,
    out: Bytes,
) -> None:
    """Paint `rows_a_pixel` (above 1) rows into each line of `out`; `first` is the row at its top.

    The colour is the mean of the rows' scaled middles; a spike or a non-finite value of any of them is a mark.
    """
    rows, columns = flags.shape
    total = np.empty(columns, np.float32)
    count = np.empty(columns, np.float32)
    marks = np.empty(columns, np.uint8)
    for y in range(out.shape[0]):
        begin = math.floor(first + y * rows_a_pixel)
        end = max(begin + 1, math.floor(first + (y + 1) * rows_a_pixel))
        begin, end = max(0, begin), min(rows, end)
        total[:], count[:], marks[:] = 0, 0, 0
        any_selected = False
        for row in range(begin, end):
            any_selected = any_selected or selected[row]
            low = scales[row, 0]
            factor = np.float32(0) if not scales[row, 1] > low else np.float32(1) / (scales[row, 1] - low)
            for column in range(columns):
                marks[column] |= flags[row, column]
                value = values[2, row, column]
                if value == value:
                    total[column] += min(np.float32(1), max(np.float32(0), (value - low) * factor))
                    count[column] += 1
        for column in range(columns):
            if marks[column] & 1:
                out[y, column] = NONFINITE_MARK
            elif marks[column] & 2:
                out[y, column] = SPIKE_MARK
            elif count[column] > 0:
                share = total[column] / count[column]
                out[y, column] = HEAT_BASE + min(HEAT_STEPS - 1, int(share * HEAT_STEPS))
            else:
                out[y, column] = BLANK
        if any_selected:
            mark_ends(out, y, y + 1)


@compiled
def mark_ends(out: Bytes, top: int, bottom: int) -> None:
    """Mark a selected row at both ends of its lines [top, bottom)."""
    width = min(5, out.shape[1])
    for y in range(max(0, top), min(out.shape[0], bottom)):
        out[y, :width] = SELECTED_MARK
        out[y, out.shape[1] - width :] = SELECTED_MARK


@compiled
def paint_rows(
    values: Floats,
    flags: Bytes,
    selected: Flags,
    lines: Bytes,
    scales: Floats,
    zeros: Flags,
    tops: npt.NDArray[np.float64],
    level: int,
    unit: float,
    out: Bytes,
) -> None:
    """Paint each row between `tops[row]` and `tops[row + 1]` (image pixels from the top) in one encoding.

    `zeros` says on which rows of envelopes the place of zero is marked.
    """
    height = out.shape[0]
    for row in range(flags.shape[0]):
        top, bottom = round(tops[row]), round(tops[row + 1])
        if bottom <= 0 or top >= height or bottom <= top:
            continue
        if level == HEAT:
            paint_heat(values[2, row], flags[row], scales[row], top, bottom, out)
        elif level == HORIZON:
            paint_horizon(values[2, row], flags[row], scales[row], selected[row], top, bottom, out)
        else:
            how = (selected[row], zeros[row])
            paint_envelope(values[:, row], flags[row], scales[row], how, top, bottom, unit, out)
        if selected[row] and level == HEAT:
            mark_ends(out, top, bottom)
        thick = bottom - top >= 2
        if lines[row] > 0 and thick and 0 <= top < height:
            out[top, :] = STAGE_LINE if lines[row] == 2 else BLOCK_LINE


@compiled
def paint_heat(middle: Floats, flags: Bytes, scale: Floats, top: int, bottom: int, out: Bytes) -> None:
    """Paint a row as a strip whose colour is the middle; spikes and non-finite values take the whole height."""
    low = scale[0]
    factor = np.float32(0) if not scale[1] > low else np.float32(HEAT_STEPS) / (scale[1] - low)
    begin, end = max(0, top), min(out.shape[0], bottom)
    for column in range(out.shape[1]):
        value = middle[column]
        if flags[column] & 1:
            index = NONFINITE_MARK
        elif flags[column] & 2:
            index = SPIKE_MARK
        elif value == value:
            step = min(np.float32(HEAT_STEPS - 1), max(np.float32(0), (value - low) * factor))
            index = HEAT_BASE + int(step)
        else:
            index = BLANK
        for y in range(begin, end):
            out[y, column] = index


@compiled
def paint_horizon(
    middle: Floats, flags: Bytes, scale: Floats, selected: bool, top: int, bottom: int, out: Bytes
) -> None:
    """Paint a row as a horizon chart: the value's whole bands as colour, the rest as height in the next colour."""
    base = SELECTED_HORIZON_BASE if selected else HORIZON_BASE
    inner = bottom - top - 1  # the last line separates the rows
    low = scale[0]
    factor = np.float32(0) if not scale[1] > low else np.float32(HORIZON_BANDS) / (scale[1] - low)
    begin, end = max(0, top), min(out.shape[0], top + inner)
    for column in range(out.shape[1]):
        value = middle[column]
        if value != value or flags[column]:
            index = BLANK if not flags[column] else (NONFINITE_MARK if flags[column] & 1 else SPIKE_MARK)
            for y in range(begin, end):
                out[y, column] = index
            continue
        place = min(np.float32(HORIZON_BANDS) - np.float32(1e-3), max(np.float32(0), (value - low) * factor))
        band = int(place)
        crest = top + inner - (place - band) * inner
        for y in range(begin, end):
            covered = min(1.0, max(0.0, y + 1 - crest))
            out[y, column] = base + band * 4 + int(covered * 3 + 0.5)
    if 0 < bottom <= out.shape[0]:
        out[bottom - 1, :] = ROW_LINE


@compiled
def covered(top: float, bottom: float, y: int) -> float:
    """Return how much of the pixel line [y, y + 1) lies in [top, bottom)."""
    return max(0.0, min(bottom, y + 1.0) - max(top, float(y)))


@compiled
def paint_envelope(
    values: Floats,
    flags: Bytes,
    scale: Floats,
    how: tuple[bool, bool],
    top: int,
    bottom: int,
    unit: float,
    out: Bytes,
) -> None:
    """Paint a row as envelope, inner band and middle line over its own scale.

    `how` says whether the row is selected, and whether a faint line stands where it is zero.
    """
    selected, with_zero = how
    height, columns = out.shape
    base = SELECTED_BASE if selected else ENVELOPE_BASE
    margin = (1.0 if bottom - top < 26 * unit else 3.0) * unit
    inner = bottom - top - 1 - 2 * margin
    low, high = float(scale[0]), float(scale[1])
    flat = not high > low
    factor = 0.0 if flat else inner / (high - low)
    foot = bottom - 1 - margin if not flat else top + margin + inner / 2
    begin, end = max(0, top), min(height, bottom - 1)
    for y in range(begin, end):
        out[y, :] = base
    if with_zero and low < 0 < high:
        zero = int(foot + low * factor)
        if begin <= zero < end:
            out[zero, :] = ZERO_LINE
    before = np.nan
    half = 0.62 * unit
    for column in range(columns):
        if math.isnan(values[2, column]):
            before = np.nan
            index = NONFINITE_MARK if flags[column] & 1 else BLANK
            for y in range(begin, end):
                out[y, column] = index
            continue
        highest, lowest = foot - (values[4, column] - low) * factor, foot - (values[0, column] - low) * factor
        above, below = foot - (values[3, column] - low) * factor, foot - (values[1, column] - low) * factor
        line = foot - (values[2, column] - low) * factor
        if math.isnan(before):
            before = line
        line_top, line_bottom = min(before, line) - half, max(before, line) + half
        before = line
        if lowest - highest < 0.6 * unit:
            highest, lowest = highest - 0.3 * unit, lowest + 0.3 * unit
        first = max(begin, math.floor(min(highest, line_top)))
        last = min(end, math.ceil(max(lowest, line_bottom)))
        for y in range(first, last):
            envelope = int(covered(highest, lowest, y) * 3 + 0.5)
            band = int(covered(above, below, y) * 3 + 0.5)
            stroke = int(covered(line_top, line_bottom, y) * 3 + 0.5)
            if envelope + band + stroke > 0:
                out[y, column] = base + envelope + 4 * band + 16 * stroke
        if flags[column] & 1:
            for y in range(begin, min(end, begin + math.ceil(5 * unit))):
                out[y, column] = NONFINITE_MARK
    if 0 < bottom <= height:
        out[bottom - 1, :] = ROW_LINE
