"""Densities of lines: a spike of one line among thousands stays, whatever the zoom."""

from __future__ import annotations

import numpy as np
import pytest

from deeptracker.app import line_density
from deeptracker.app.density_plot import value_ticks
from deeptracker.app.line_density import Corners
from deeptracker.app.wall.source import Envelope


def envelope(values: np.ndarray, width: int = 1) -> Envelope:
    """Return the envelope of values (line, iteration) in buckets of `width` iterations."""
    lines, length = values.shape
    parts = values.reshape(lines, length // width, width)
    start = np.arange(0, length, width)
    lost = ~np.isfinite(parts).all(axis=2)
    return Envelope.of(start, start + width, parts.min(axis=2), parts.mean(axis=2), parts.max(axis=2), lost)


@pytest.mark.parametrize(("lines", "window"), [(1, (0, 4096)), (3000, (0, 4096)), (500, (1800, 2100))])
def test_a_spike_of_one_iteration_of_one_line_stays(lines: int, window: tuple[int, int]) -> None:
    values = np.random.default_rng(1).normal(0, 0.01, (lines, 4096)).astype(np.float32)
    values[lines // 2, 2001] = 5
    values[lines // 3, 1900] = -5
    whole = envelope(values, 4)
    part = slice(window[0] // 4, window[1] // 4)
    shown = Envelope(
        whole.start[part],
        whole.stop[part],
        *(getattr(whole, name)[:, part] for name in ("low", "band_low", "middle", "band_high", "high", "nonfinite")),
    )
    columns = line_density.columns_for(lines, 900)
    narrow = line_density.narrowed(shown, window, columns)
    limits = line_density.limits(narrow)
    assert limits[0] < -5
    assert limits[1] > 5
    counts = line_density.density(line_density.corners(narrow), window, limits, 900, 200)
    assert counts.shape == (200, 900)
    height = (np.array([-5, 5]) - limits[0]) / (limits[1] - limits[0]) * 200
    away = 900 / columns + 4 * 900 / (window[1] - window[0])  # a column, and the bucket it is in
    for at, row in ((1900, int(height[0])), (2001, int(height[1]))):
        column = (at - window[0]) / (window[1] - window[0]) * 900
        near = counts[max(row - 1, 0) : row + 2, int(max(column - away, 0)) : int(column + away) + 1]
        assert near.max() >= 1, f"the spike at iteration {at} is not drawn"


def test_narrowing_agrees_with_a_slow_twin() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        lines, buckets, columns = random.integers(1, 9), random.integers(1, 200), random.integers(1, 60)
        values = random.normal(size=(lines, buckets * 3)).astype(np.float32)
        values[random.random(values.shape) < 0.02] = np.nan
        whole = envelope(values, 3)
        first = int(random.integers(0, 50))
        window = (first, first + int(random.integers(1, 700)))
        narrow = line_density.narrowed(whole, window, int(columns))
        column = np.floor(((whole.start + whole.stop) / 2 - window[0]) / (max(window[1] - window[0], 1) / columns))
        assert len(narrow.start) == len(set(column))
        for place, one in enumerate(dict.fromkeys(column)):
            mine = column == one
            for row in range(lines):
                low, high = whole.low[row, mine], whole.high[row, mine]
                known = low[np.isfinite(low)]
                assert np.isnan(narrow.low[row, place]) if not known.size else narrow.low[row, place] == known.min()
                known = high[np.isfinite(high)]
                assert np.isnan(narrow.high[row, place]) if not known.size else narrow.high[row, place] == known.max()
                assert narrow.nonfinite[row, place] == whole.nonfinite[row, mine].any()


def test_single_values_single_records_and_nothing_are_drawn() -> None:
    flat = envelope(np.full((5, 40), 2, np.float32))
    lines = line_density.corners(flat)
    assert lines.y.shape == (5, 40), "one corner where a bucket holds one value"
    counts = line_density.density(lines, (0, 40), (1.5, 2.5), 80, 10)
    assert (counts[5, 2:78] >= 5).all()
    assert (counts.sum(axis=1) > 0).sum() == 1
    dot = line_density.density(Corners(np.array([3.0]), np.full((4, 1), 2, np.float32)), (0, 10), (1, 3), 10, 10)
    assert dot[5, 3] == 4
    assert dot.sum() == 4
    nothing = line_density.density(line_density.corners(Envelope.empty(0)), (0, 1), (0, 1), 4, 3)
    assert nothing.shape == (3, 4)
    assert not nothing.any()


def test_the_line_nearest_to_a_point_is_found() -> None:
    values = np.repeat(np.array([[1.0], [2.0], [8.0]], np.float32), 20, axis=1)
    values[0, 10] = 7
    found = envelope(values)
    assert line_density.nearest(found, 3.2, 1.4) == 0
    assert line_density.nearest(found, 3.2, 1.6) == 1
    assert line_density.nearest(found, 10.4, 6.9) == 0
    assert line_density.nearest(found, 3, 100) == 2
    assert line_density.nearest(Envelope.empty(3), 0, 0) is None


def test_logarithms_leave_out_what_has_none() -> None:
    found = line_density.logarithms(envelope(np.array([[0.1, 10, -1, 0, 1000, 0.01]], np.float32), 2))
    assert np.allclose(found.low[0], [-1, np.nan, -2], equal_nan=True)
    assert np.allclose(found.high[0], [1, np.nan, 3], equal_nan=True)


@pytest.mark.parametrize("span", [(-5.2, 1.1), (0.0, 1.0), (3.0, 3.00001), (-1e-8, 1e9)])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_labels_lie_on_the_axis_and_are_few(span: tuple[float, float], logarithmic: bool) -> None:
    ticks = value_ticks(*span, logarithmic)
    assert 1 <= len(ticks) <= 12
    slack = 1e-6 * (span[1] - span[0])
    assert min(ticks) >= span[0] - slack
    assert max(ticks) <= span[1] + slack
