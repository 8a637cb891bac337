"""The shared iteration axis: what the browser does becomes the window, and a live run does not disturb it."""

from __future__ import annotations

import param
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.app.axes import LEAST_INTERVAL, Axes, clamped
from deeptracker.data_model.selection import Selection


class GrowingRun(param.Parameterized):
    """What `Axes` reads of a run."""

    version = param.Integer(default=0)
    iterations = (0, 1000)

    def grow(self, stop: int) -> None:
        self.iterations = (0, stop)
        self.version += 1


@pytest.fixture
def run() -> GrowingRun:
    return GrowingRun()


@pytest.fixture
def axes(run: GrowingRun) -> Axes:
    return Axes(run, Selection())  # type: ignore[arg-type]


def ends(axes: Axes) -> tuple[float, float]:
    return (axes.iterations.start, axes.iterations.end)  # type: ignore[return-value]


def test_what_the_browser_does_becomes_the_window(axes: Axes) -> None:
    axes.iterations.update(start=10.2, end=200.7)
    assert axes.selection.window == (10, 201)
    assert ends(axes) == (10.2, 200.7), "what the browser sent must not be sent back to it"


def test_the_window_moves_the_axis(axes: Axes) -> None:
    axes.selection.window = (100, 300)
    assert ends(axes) == (100, 300)
    axes.selection.window = None
    assert ends(axes) == (0, 1000)


def test_the_whole_run_is_no_window(axes: Axes) -> None:
    axes.iterations.update(start=10, end=20)
    axes.iterations.update(start=0, end=1000)
    assert axes.selection.window is None


def test_at_the_whole_run_the_window_grows(run: GrowingRun, axes: Axes) -> None:
    run.grow(2500)
    assert axes.window == (0, 2500)
    assert ends(axes) == (0, 2500)


def test_a_zoomed_window_stays_where_it_is(run: GrowingRun, axes: Axes) -> None:
    axes.iterations.update(start=500, end=900)
    run.grow(2500)
    assert axes.window == (500, 900)
    assert ends(axes) == (500, 900)
    assert tuple(axes.iterations.bounds) == (0, 2500)
    assert not axes.at_newest


def test_a_part_that_ends_at_the_newest_iteration_slides_along(run: GrowingRun, axes: Axes) -> None:
    alone: list[bool] = []
    axes.iterations.update(start=700, end=1000)
    axes.selection.param.watch(lambda event: alone.append(axes.growing), ["window"])
    run.grow(1200)
    assert (axes.window, ends(axes)) == ((900, 1200), (900, 1200))
    run.grow(1250)
    assert (axes.window, alone, axes.growing) == ((950, 1250), [True, True], False)
    axes.selection.follow = False
    run.grow(2000)
    assert axes.window == (950, 1250)
    axes.to_newest()
    assert (axes.window, axes.at_newest) == ((1700, 2000), True)
    run.grow(2100)
    assert axes.window == (1800, 2100)


def test_zooming_to_the_end_the_browser_knew_slides_along_too(run: GrowingRun, axes: Axes) -> None:
    axes.iterations.update(start=500, end=900)
    run.grow(1100)
    axes.iterations.update(start=800, end=1000)  # all that the browser has heard of so far
    assert (axes.window, ends(axes)) == ((900, 1100), (900, 1100))


def test_a_part_beyond_the_end_known_before_is_no_old_news(run: GrowingRun, axes: Axes) -> None:
    run.grow(2000)
    axes.iterations.update(start=500, end=1500)
    assert (axes.window, ends(axes)) == ((500, 1500), (500, 1500))


def test_a_part_as_long_as_the_run_does_not_reach_below_its_beginning(run: GrowingRun, axes: Axes) -> None:
    axes.selection.follow = False
    axes.selection.window = (0, 1000)
    run.grow(1100)
    axes.to_newest()
    assert axes.window == (100, 1100)


def test_growth_does_not_snap_the_ends_the_browser_chose(run: GrowingRun, axes: Axes) -> None:
    axes.iterations.update(start=10.2, end=200.7)
    run.grow(2500)
    assert ends(axes) == (10.2, 200.7)


def test_zooming_out_to_the_end_the_browser_knew_is_the_whole_run(run: GrowingRun, axes: Axes) -> None:
    axes.iterations.update(start=500, end=900)
    run.grow(2500)
    axes.iterations.update(start=0, end=1000)
    assert axes.selection.window is None
    assert ends(axes) == (0, 2500)


def test_without_following_the_whole_run_stays_what_it_was(run: GrowingRun, axes: Axes) -> None:
    axes.selection.follow = False
    run.grow(2500)
    assert axes.window == (0, 1000)
    axes.selection.reset()
    assert axes.window == (0, 2500)


def test_hostile_windows_are_clamped(axes: Axes) -> None:
    axes.selection.window = (10**15, 10**15 + 5)
    assert axes.window == (1000 - LEAST_INTERVAL, 1000)
    assert ends(axes) == axes.window


def test_an_empty_run_has_an_axis() -> None:
    run = GrowingRun()
    run.iterations = (0, 0)
    axes = Axes(run, Selection())  # type: ignore[arg-type]
    assert ends(axes) == (0, 1)
    run.grow(50)
    assert ends(axes) == (0, 50)


def test_nothing_is_watched_after_closing(run: GrowingRun, axes: Axes) -> None:
    axes.close()
    run.grow(2500)
    axes.selection.window = (5, 50)
    assert ends(axes) == (0, 1000)


reals = st.floats(-1e12, 1e12)


@given(st.tuples(reals, reals), st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)))
def test_clamped_windows_lie_within_and_never_vanish(window: tuple[float, float], run: tuple[int, int]) -> None:
    whole = (run[0], run[0] + run[1])
    start, stop = clamped(window, whole)
    assert whole[0] <= start < stop <= whole[1]
    assert stop - start >= min(LEAST_INTERVAL, run[1])
    assert clamped((start, stop), whole) == (start, stop)
