"""Slow, readable twins of the wall's kernels: one pixel at a time, straight from what each encoding means."""

import math

import numpy as np

from deeptracker.app.wall import paint, states


def columns_twin(envelope, first, last, count):
    rows = envelope.low.shape[0]
    values = np.full((5, rows, count), np.nan, np.float32)
    nonfinite = np.zeros((rows, count), bool)
    for row in range(rows):
        for column in range(count):
            left, right = (
                first + (last - first) * column / count,
                first + (last - first) * (column + 1) / count,
            )
            inside = (envelope.stop > left) & (envelope.start < right)
            nonfinite[row, column] = envelope.nonfinite[row, inside].any()
            known = inside & np.isfinite(envelope.middle[row])
            if not known.any():
                continue
            share = np.minimum(right, envelope.stop[known]) - np.maximum(left, envelope.start[known])
            values[0, row, column] = envelope.low[row, known].min()
            values[4, row, column] = envelope.high[row, known].max()
            for kind, field in ((1, "band_low"), (2, "middle"), (3, "band_high")):
                values[kind, row, column] = np.average(getattr(envelope, field)[row, known], weights=share)
    return values, nonfinite


def overlap(top, bottom, y):
    return max(0.0, min(bottom, y + 1) - max(top, y))


def level_step(value, scale, steps):
    low, high = scale
    share = (value - low) / (high - low) if high > low else 0.0
    return int(min(steps - 1, max(0, share * steps)))


def heat_twin(columns, scales, row, column):
    if columns.flags[row, column]:
        return paint.NONFINITE_MARK if columns.flags[row, column] & 1 else paint.SPIKE_MARK
    value = columns.values[2, row, column]
    return paint.BLANK if math.isnan(value) else paint.HEAT_BASE + level_step(value, scales[row], paint.HEAT_STEPS)


def horizon_twin(columns, scales, row, column, y, top, bottom, selected):
    """Index at image line y of a row that lies between the lines top and bottom."""
    if y == bottom - 1:
        return paint.ROW_LINE
    if columns.flags[row, column]:
        return paint.NONFINITE_MARK if columns.flags[row, column] & 1 else paint.SPIKE_MARK
    value = columns.values[2, row, column]
    if math.isnan(value):
        return paint.BLANK
    low, high = scales[row]
    place = (value - low) / (high - low) * paint.HORIZON_BANDS if high > low else 0.0
    place = min(paint.HORIZON_BANDS - 1e-3, max(0.0, place))
    band, inner = int(place), bottom - top - 1
    crest = top + inner - (place - band) * inner
    base = paint.SELECTED_HORIZON_BASE if selected else paint.HORIZON_BASE
    return base + 4 * band + int(min(1.0, max(0.0, y + 1 - crest)) * 3 + 0.5)


def envelope_twin(columns, scales, row, column, y, top, bottom, selected):
    """Index at image line y of a row that lies between the lines top and bottom, at one image pixel per CSS pixel."""
    if y == bottom - 1:
        return paint.ROW_LINE
    low, high = (float(value) for value in scales[row])
    margin = 1 if bottom - top < 26 else 3
    inner = bottom - top - 1 - 2 * margin

    def place(value):
        return bottom - 1 - margin - (value - low) * inner / (high - low) if high > low else top + margin + inner / 2

    values = columns.values[:, row, column]
    nonfinite = columns.flags[row, column] & 1
    if math.isnan(values[2]):
        return paint.NONFINITE_MARK if nonfinite else paint.BLANK
    if nonfinite and y < top + 5:
        return paint.NONFINITE_MARK
    before = columns.values[2, row, column - 1] if column else math.nan
    line, line_before = place(values[2]), place(values[2] if math.isnan(before) else before)
    highest, lowest = place(values[4]), place(values[0])
    if lowest - highest < 0.6:
        highest, lowest = highest - 0.3, lowest + 0.3
    envelope = int(overlap(highest, lowest, y) * 3 + 0.5)
    band = int(overlap(place(values[3]), place(values[1]), y) * 3 + 0.5)
    stroke = int(overlap(min(line, line_before) - 0.62, max(line, line_before) + 0.62, y) * 3 + 0.5)
    base = paint.SELECTED_BASE if selected else paint.ENVELOPE_BASE
    if envelope + band + stroke:
        return base + envelope + 4 * band + 16 * stroke
    return paint.ZERO_LINE if low < 0 < high and y == int(place(0.0)) else base


def states_twin(data, members, begin, end, first, row_height, y, column):
    """Index of a pixel without separators or selection."""
    row = math.floor(first + y / row_height)
    until = max(row + 1, math.floor(first + (y + 1) / row_height))
    if row < 0 or row >= len(members):
        return states.BLANK
    entities = [entity for each in members[row:until] for entity in each]
    cells = data[entities, begin[column] : end[column]].ravel()
    cells = cells[cells != 255]
    if not cells.size:
        return states.BLANK
    right, flips = (cells & 1).sum() / cells.size, (cells >> 1).sum() / cells.size
    step = int(right * (states.RIGHT_STEPS - 1) + 0.5)
    return step + states.RIGHT_STEPS * math.ceil(flips * (states.FLIP_STEPS - 1))
