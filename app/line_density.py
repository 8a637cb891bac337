"""Many lines as one picture of their density, by Datashader: no line is ever too thin to be seen. No browser here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import datashader
import numpy as np
import numpy.typing as npt
import xarray as xr

from deeptracker.app.wall.source import Envelope

Floats = npt.NDArray[np.float64]
MOST_POINTS = 1_500_000
"""Corners of all lines together: more are drawn in fewer, wider columns, each still from its lowest to its highest."""
FEWEST_COLUMNS = 120


def columns_for(lines: int, width: int) -> int:
    """Return the columns to draw so many lines in: one a pixel, fewer where the lines are very many."""
    return max(min(width, FEWEST_COLUMNS), min(width, MOST_POINTS // max(2 * lines, 1)))


def narrowed(envelope: Envelope, window: tuple[float, float], columns: int) -> Envelope:
    """Return an envelope with at most one bucket in each of `columns` columns of a window; no low, no high is lost."""
    width = max(window[1] - window[0], 1) / columns
    middle = (envelope.start + envelope.stop) / 2
    first = np.flatnonzero(np.diff(np.floor((middle - window[0]) / width), prepend=-np.inf))
    if len(first) == len(middle):
        return envelope
    low, high = np.fmin.reduceat(envelope.low, first, axis=1), np.fmax.reduceat(envelope.high, first, axis=1)
    last = np.append(first[1:], len(middle)) - 1
    lost = np.logical_or.reduceat(envelope.nonfinite, first, axis=1)
    return Envelope.of(
        envelope.start[first], envelope.stop[last], low, np.asarray((low + high) / 2, np.float32), high, lost
    )


def logarithms(envelope: Envelope) -> Envelope:
    """Return the decimal logarithms of an envelope; what is not above zero has none, and is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        low, middle, high = (
            np.where(part > 0, np.log10(part), np.nan).astype(np.float32)
            for part in (envelope.low, envelope.middle, envelope.high)
        )
    # A bucket that begins at or below zero still shows what of it lies above.
    low = np.where(np.isnan(low), high, low)
    return replace(envelope, low=low, band_low=middle, middle=middle, band_high=middle, high=high)


@dataclass(frozen=True)
class Corners:
    """Lines by their corners: `x` (corner) in iterations, `y` float32 (line, corner)."""

    x: Floats
    y: npt.NDArray[np.float32]


def corners(envelope: Envelope) -> Corners:
    """Return the corners of the lines of an envelope; where buckets hold a single value, one corner each."""
    middle = (envelope.start + envelope.stop) / 2
    if np.array_equal(envelope.low, envelope.high, equal_nan=True):
        return Corners(middle, envelope.low)
    both = np.stack([envelope.low, envelope.high], axis=2).reshape(len(envelope.low), -1)
    return Corners(np.repeat(middle, 2), both)


def limits(envelope: Envelope) -> tuple[float, float]:
    """Return the lowest and the highest finite value with some room around them."""
    known_low, known_high = (part[np.isfinite(part)] for part in (envelope.low, envelope.high))
    if not known_low.size or not known_high.size:
        return (0.0, 1.0)
    low, high = float(known_low.min()), float(known_high.max())
    room = max((high - low) * 0.04, abs(high) * 1e-6, 1e-12)
    return (low - room, high + room)


def density(
    lines: Corners, window: tuple[float, float], values: tuple[float, float], width: int, height: int
) -> npt.NDArray[np.uint32]:
    """Return how often lines pass each pixel: uint32 (row, column), row 0 is the lowest.

    A line of a single corner is a dot. What a line passes is at least 1, however many lines there are.
    """
    canvas = datashader.Canvas(plot_width=width, plot_height=height, x_range=window, y_range=values)
    if not lines.y.size:
        return np.zeros((height, width), np.uint32)
    if len(lines.x) == 1:
        dots = xr.Dataset({"y": ("line", lines.y[:, 0])}, {"line": np.arange(len(lines.y))}).to_dataframe()
        dots["x"] = lines.x[0]
        return np.asarray(canvas.points(dots, "x", "y", datashader.count()).values, np.uint32)
    source = xr.Dataset({"y": (("line", "x"), lines.y)}, {"x": lines.x})
    return np.asarray(canvas.line(source, "x", "y", datashader.count()).values, np.uint32)


def nearest(envelope: Envelope, iteration: float, value: float) -> int | None:
    """Return the row whose envelope passes closest to a point, None where no row is known there."""
    if not len(envelope.start):
        return None
    bucket = int(np.argmin(np.abs((envelope.start + envelope.stop) / 2 - iteration)))
    low, high = envelope.low[:, bucket], envelope.high[:, bucket]
    away = np.maximum(np.maximum(low - value, value - high), 0)
    # Of those that pass the very point, the one whose bucket is the narrowest is meant.
    order = np.lexsort((high - low, np.where(np.isfinite(away), away, np.inf)))
    return int(order[0]) if len(order) and np.isfinite(away[order[0]]) else None


def warm() -> None:
    """Compile what `density` needs, for lines and for dots; the first time in a process it takes seconds."""
    two = Corners(np.array([0.0, 1.0]), np.zeros((1, 2), np.float32))
    density(two, (0, 1), (0, 1), 2, 2)
    density(Corners(np.array([0.0]), np.zeros((1, 1), np.float32)), (0, 1), (0, 1), 2, 2)
