"""The iteration axis against the plain list of iterations it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptracker.data_model.axis import IterationAxis
from deeptracker.data_model.errors import RecordingError

portions = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=8)


def build(parts: list[tuple[int, int, int]]) -> tuple[IterationAxis, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    axis, iterations, at = IterationAxis(), [], 0
    for count, interval, gap in parts:
        new = at + gap + interval * np.arange(count)
        axis.extend(new, interval)
        iterations.append(new)
        at = int(new[-1]) + interval
    return axis, np.concatenate(iterations)


@given(portions)
def test_records_map_to_their_iterations_and_back(parts: list[tuple[int, int, int]]) -> None:
    axis, iterations = build(parts)
    axis.check()
    np.testing.assert_array_equal(axis.iterations(0, axis.records), iterations)
    assert axis.last == iterations[-1]
    assert axis.stop == iterations[-1] + parts[-1][1]
    again = IterationAxis(axis.to_json(), axis.records)
    np.testing.assert_array_equal(again.iterations(0, again.records), iterations)
    np.testing.assert_array_equal(IterationAxis.from_iterations(iterations).iterations(0, len(iterations)), iterations)


@given(portions, st.integers(0, 700), st.integers(1, 300))
def test_a_window_takes_the_records_that_stand_for_it(
    parts: list[tuple[int, int, int]], start: int, width: int
) -> None:
    axis, iterations = build(parts)
    first, stop = axis.record_range(start, start + width)
    ends = np.append(iterations[1:], axis.stop)
    expected = np.flatnonzero((iterations < start + width) & (ends > start))
    np.testing.assert_array_equal(np.arange(first, stop), expected)


@given(portions, st.integers(0, 200))
def test_truncated_it_is_the_axis_of_the_first_records(parts: list[tuple[int, int, int]], records: int) -> None:
    axis, iterations = build(parts)
    axis.truncate(records)
    axis.check()
    np.testing.assert_array_equal(axis.iterations(0, axis.records), iterations[:records])


def test_iterations_must_increase() -> None:
    axis = IterationAxis()
    axis.extend(np.arange(5), 1)
    for wrong in (np.array([4]), np.array([7, 7]), np.array([9, 8])):
        with pytest.raises(RecordingError, match="increase strictly"):
            axis.extend(wrong, 1)
    with pytest.raises(RecordingError, match="increase strictly"):
        IterationAxis().extend(np.array([-1]), 1)
    with pytest.raises(RecordingError, match="must be 1 or more"):
        axis.extend(np.array([10]), 0)
