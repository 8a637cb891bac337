"""Single events as points: each is on the picture, at its place, whatever the zoom."""

from __future__ import annotations

import numpy as np
import pytest

from deeptracker.app import event_raster
from deeptracker.data_model.correlation import Occurrences


def test_members_lie_side_by_side_in_their_row() -> None:
    rows = np.array([1, 0, 1, -1, 1])
    found = event_raster.offsets(rows, 3)
    assert np.isnan(found[3])
    assert found[1] == pytest.approx(0)
    assert (np.diff(found[[0, 2, 4]]) > 0.25).all()
    assert np.nanmax(np.abs(found)) < 0.5


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [1, 40, 5000])
def test_every_event_is_on_the_picture_at_its_place(sign: int, count: int) -> None:
    random = np.random.default_rng(count)
    member = random.integers(0, 400, count)
    rows = np.repeat(np.arange(8), 50)
    events = Occurrences(random.integers(0, 100_000, count), rows[member], member)
    offset = event_raster.offsets(rows, 8)
    ends = (-0.5, 7.5) if sign > 0 else (-7.5, 0.5)
    for window, span in (((0, 100_000), ends), ((20_000, 20_900), (sign * 3 - 0.5, sign * 3 + 0.5))):
        picture = event_raster.raster(events, offset, sign, window, span, (700, 300))
        assert picture.shape == (300, 700)
        expected = np.zeros_like(picture)
        for at, row, one in zip(events.iteration, events.row, events.member, strict=True):
            x = (at + 0.5 - window[0]) / (window[1] - window[0]) * 700
            y = (sign * (row + offset[one]) - span[0]) / (span[1] - span[0]) * 300
            if 0 <= x < 700 and 0 <= y < 300:
                assert picture[int(y), int(x)] >= 1, "an event is hidden"
                expected[int(y), int(x)] += 1
        assert picture.max() == expected.max()
        assert (picture >= 1).sum() <= 25 * (expected >= 1).sum(), "spread further than was asked for"


def test_what_lies_under_the_mouse_is_found() -> None:
    rows = np.array([0, 0, 1, 1])
    events = Occurrences(np.array([10, 500, 500]), np.array([0, 1, 0]), np.array([1, 2, 0]))
    offset = event_raster.offsets(rows, 2)
    pixel = (1.0, 0.01)
    assert event_raster.nearest(events, offset, 1, (501.5, 1 + offset[2]), pixel) == (1, 2, 500)
    assert event_raster.nearest(events, offset, 1, (500.5, offset[0] + 0.02), pixel) == (0, 0, 500)
    assert event_raster.nearest(events, offset, -1, (10.5, -offset[1]), pixel) == (0, 1, 10)
    assert event_raster.nearest(events, offset, 1, (300, 0.5), pixel) is None
    nothing = np.empty(0, np.int64)
    assert event_raster.nearest(Occurrences(nothing, nothing, nothing), offset, 1, (0, 0), pixel) is None


def test_no_event_is_an_empty_picture() -> None:
    nothing = np.empty(0, np.int64)
    picture = event_raster.raster(Occurrences(nothing, nothing, nothing), np.zeros(0), 1, (0, 10), (0, 1), (5, 4))
    assert picture.shape == (4, 5)
    assert not picture.any()
